// try_go: a scope with a limit that takes what it has a place for, and says so.
#include <memory>
#include <stdexcept>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

LEASH_TEST(TryGo, refuses_beyond_the_limit_and_takes_again_when_one_has_ended) {
  event go;
  std::atomic<int> ran = 0;
  co_await with_scope({.max_children = 2}, [&](scope& s) -> task<> {
    auto work = [&]() -> task<> {
      co_await go.wait();
      ++ran;
    };
    auto a = s.try_go(work);
    auto b = s.try_go(named("second"), work);
    CO_ASSERT_TRUE(a && b);
    EXPECT_FALSE(s.try_go(work));
    auto held = std::make_unique<int>(1);
    EXPECT_FALSE(s.try_go([](std::unique_ptr<int>) {}, std::move(held)));
    EXPECT_TRUE(held);  // what was refused was not touched
    go.set();
    co_await a->join();
    co_await b->join();
    co_await eventually([&] { return bool(s.try_go(work)); }, "a place");
  });
  EXPECT_EQ(ran, 3);
}

LEASH_TEST(TryGo, without_a_limit_it_always_starts) {
  std::atomic<int> ran = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(s.try_go([&] { ++ran; }));
    co_return;
  });
  EXPECT_EQ(ran, 100);
}

LEASH_TEST(TryGo, those_that_wait_for_a_place_come_first) {
  event go;
  co_await with_scope({.max_children = 1}, [&](scope& s) -> task<> {
    auto first = s.try_go([&]() -> task<> { co_await go.wait(); });
    CO_ASSERT_TRUE(first.has_value());
    auto in_line = s.go(named("in line"), [&]() -> task<> { co_await sleep(1h); });
    go.set();
    co_await first->join();
    EXPECT_TRUE(co_await parked("in line", "sleep"));
    EXPECT_FALSE(s.try_go([] {}));
    s.cancel();
  });
}

LEASH_TEST(TryGo, a_start_that_throws_gives_its_place_back) {
  co_await with_scope({.max_children = 1}, [&](scope& s) -> task<> {
    int local = 0;
    bool threw = false;
    try {
      (void)s.try_go([&local] { ++local; });
    } catch (const std::logic_error&) {
      threw = true;
    }
    EXPECT_TRUE(threw);
    try {
      (void)co_await s.start([&local] { ++local; });
      threw = false;
    } catch (const std::logic_error&) {
    }
    EXPECT_TRUE(threw);
    auto h = s.try_go([] { return 3; });
    CO_ASSERT_TRUE(h.has_value());
    EXPECT_EQ(co_await h->join(), 3);
  });
}

LEASH_TEST(TryGo, never_more_than_the_limit_run_at_a_time) {
  std::atomic<int> running = 0, most = 0, shed = 0, done = 0;
  co_await with_scope({.max_children = 3}, [&](scope& s) -> task<> {
    for (int i = 0; i < 300; ++i) {
      auto h = s.try_go([&]() -> task<> {
        int const n = ++running;
        for (int seen = most; n > seen && !most.compare_exchange_weak(seen, n);) {
        }
        co_await yield();
        --running;
        ++done;
      });
      if (!h) ++shed;
      if (i % 3 == 0) co_await yield();
    }
  });
  EXPECT_LE(most, 3);
  EXPECT_EQ(done + shed, 300);
}

}  // namespace
}  // namespace leash
