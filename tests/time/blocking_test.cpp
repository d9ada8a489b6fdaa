// Blocking calls run on their own threads: the workers go on, and cancellation waits for the call to return.
#include <stdexcept>
#include <string>
#include <thread>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

void spin_until(const std::atomic<bool>& flag) {
  for (const auto end = std::chrono::steady_clock::now() + 20s; !flag; std::this_thread::sleep_for(100us))
    if (std::chrono::steady_clock::now() > end) throw std::runtime_error("nobody set the flag");
}

LEASH_TEST_REAL(Blocking, gives_the_value_of_the_call) {
  const auto worker = std::this_thread::get_id();
  EXPECT_EQ(co_await blocking([] { return std::string("value"); }), "value");
  EXPECT_NE(co_await blocking([] { return std::this_thread::get_id(); }), worker);
  int side_effect = 0;
  co_await blocking([&] { side_effect = 1; });
  EXPECT_EQ(side_effect, 1);
  auto p = co_await blocking([] { return std::make_unique<int>(2); });
  EXPECT_EQ(*p, 2);
}

LEASH_TEST_REAL(Blocking, rethrows_what_the_call_threw) {
  EXPECT_THROW(co_await blocking([] { throw std::runtime_error("from the pool"); }), std::runtime_error);
}

LEASH_TEST_REAL(Blocking, other_goroutines_run_meanwhile) {
  std::atomic<bool> flag = false;
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(named("caller"), [&]() -> task<> { co_await blocking([&] { spin_until(flag); }); });
    EXPECT_TRUE(co_await parked("caller", "blocking"));
    flag = true;  // at one worker too
    EXPECT_TRUE(co_await h.join());
  });
}

LEASH_TEST_REAL(Blocking, cancellation_is_delivered_when_the_call_returns) {
  std::atomic<bool> flag = false, returned = false, went_on = false, unwound = false;
  struct on_exit {
    explicit on_exit(std::atomic<bool>& f) : flag(f) {}
    ~on_exit() { flag = true; }
    std::atomic<bool>& flag;
  };
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(named("caller"), [&]() -> task<> {
      on_exit mark(unwound);
      co_await blocking([&] {
        spin_until(flag);
        returned = true;
      });
      went_on = true;
    });
    EXPECT_TRUE(co_await parked("caller", "blocking"));
    s.cancel("enough");
    flag = true;
  });
  EXPECT_TRUE(returned);
  EXPECT_TRUE(unwound);
  EXPECT_FALSE(went_on);
}

LEASH_TEST_REAL(Blocking, a_cancelled_call_keeps_its_frame_until_it_returns) {
  std::atomic<bool> flag = false;
  auto r = co_await with_timeout(1ms, [&]() -> task<int> {
    std::string local(100, 'x');
    auto n = co_await blocking([&] {
      std::this_thread::sleep_for(20ms);  // well past the deadline, still using the caller's frame
      flag = local == std::string(100, 'x');
      return int(local.size());
    });
    co_return n;
  });
  EXPECT_EQ(r, std::nullopt);
  EXPECT_TRUE(flag);
}

LEASH_TEST_REAL(Blocking, in_an_ended_context_the_call_is_not_made) {
  std::atomic<bool> called = false;
  cancel_source cs;
  EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
    cs.cancel("before");
    co_await blocking([&] { called = true; });
  }));
  EXPECT_FALSE(called);
}

TEST(Blocking, many_calls_share_few_threads) {
  for (unsigned workers : {1u, 2u, 4u}) {
    options o = with_workers(workers);
    o.blocking_threads = 3;
    std::atomic<int> inside = 0, most = 0, calls = 0;
    run(o, [&]() -> task<> {
      co_await with_scope([&](scope& s) -> task<> {
        for (int i = 0; i < 1000; ++i) {
          s.go([&]() -> task<> {
            co_await blocking([&] {
              const int n = ++inside;
              for (int seen = most; seen < n && !most.compare_exchange_weak(seen, n);) {
              }
              ++calls;
              std::this_thread::yield();
              --inside;
            });
          });
        }
        co_return;
      });
    });
    EXPECT_EQ(calls, 1000);
    EXPECT_LE(most, 3);
    EXPECT_EQ(num_goroutines(), 0u);
  }
}

}  // namespace
}  // namespace leash
