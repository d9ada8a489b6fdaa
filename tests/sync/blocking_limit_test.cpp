// blocking_limit: so many calls of one kind at a time, whatever the pool could do.
#include <condition_variable>
#include <mutex>
#include <stdexcept>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

/// A door on which threads of the pool block.
class door {
 public:
  void pass() {
    std::unique_lock guard(lock_);
    ++inside_;
    wake_.wait(guard, [&] { return open_; });
    --inside_;
  }
  void open() {
    std::lock_guard guard(lock_);
    open_ = true;
    wake_.notify_all();
  }
  int inside() {
    std::lock_guard guard(lock_);
    return inside_;
  }

 private:
  std::mutex lock_;
  std::condition_variable wake_;
  bool open_ = false;
  int inside_ = 0;
};

LEASH_TEST_REAL(BlockingLimit, a_kind_that_hangs_leaves_threads_for_the_others) {
  blocking_limit slow(2), quick(1);
  door d;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 6; ++i) s.go(named("slow"), [&]() -> task<> { co_await blocking(slow, [&] { d.pass(); }); });
    EXPECT_TRUE(co_await parked("slow", "semaphore", 4));
    co_await eventually([&] { return d.inside() == 2; }, "two calls to be made");
    EXPECT_EQ(slow.available(), 0u);
    EXPECT_EQ(co_await blocking(quick, [] { return 5; }), 5);
    EXPECT_EQ(d.inside(), 2);
    d.open();
  });
  EXPECT_EQ(slow.available(), 2u);
}

LEASH_TEST_REAL(BlockingLimit, a_call_whose_caller_is_cancelled_keeps_its_place_until_it_returns) {
  blocking_limit kind(1);
  door d;
  cancel_source cs;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("first"), [&]() -> task<> {
      EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> { co_await blocking(kind, [&] { d.pass(); }); }));
    });
    co_await eventually([&] { return d.inside() == 1; }, "the call to be made");
    cs.cancel();
    EXPECT_FALSE(co_await with_timeout(5ms, [&]() -> task<> { co_await blocking(kind, [] {}); }));
    d.open();
    co_await blocking(kind, [] {});
  });
}

LEASH_TEST(BlockingLimit, exceptions_and_results_come_out_and_a_limit_of_zero_is_refused) {
  blocking_limit kind(1);
  bool threw = false;
  try {
    co_await blocking(kind, [] { throw std::runtime_error("call"); });
  } catch (const std::runtime_error&) {
    threw = true;
  }
  EXPECT_TRUE(threw);
  int x = 1;
  int& r = co_await blocking(kind, [&]() -> int& { return x; });
  EXPECT_EQ(&r, &x);
  EXPECT_THROW(blocking_limit(0), std::invalid_argument);
}

// The pool as a whole is an option of the run.
TEST(BlockingLimit, the_pool_has_no_more_threads_than_the_run_allows) {
  options o = with_workers(2);
  o.blocking_threads = 2;
  run(o, []() -> task<> {
    std::atomic<int> inside = 0, most = 0;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 20; ++i)
        s.go([&]() -> task<> {
          co_await blocking([&] {
            int const n = ++inside;
            for (int seen = most; n > seen && !most.compare_exchange_weak(seen, n);) {
            }
            std::this_thread::sleep_for(1ms);
            --inside;
          });
        });
      co_return;
    });
    EXPECT_LE(most, 2);
  });
}

}  // namespace
}  // namespace leash
