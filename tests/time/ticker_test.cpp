// Tickers: one pending tick at most, as in Go; and timers that run a function.
#include <memory>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

LEASH_TEST(Ticker, ticks_once_per_period) {
  const auto start = now();
  ticker t(2ms);
  for (int i = 1; i <= 5; ++i) {
    co_await t.next();
    EXPECT_GE(now() - start, i * 2ms);
  }
}

LEASH_TEST(Ticker, a_slow_reader_finds_one_tick_and_not_many) {
  ticker t(5ms);
  co_await sleep(52ms);
  const auto late = now();
  co_await t.next();  // the one that was kept
  co_await t.next();
  co_await t.next();
  EXPECT_GE(now() - late, 5ms);  // a period lies between the last two
}

#ifdef LEASH_HAS_SIMULATE
TEST(Ticker, keeps_its_rhythm_in_virtual_time_simulated) {
  run_simulated([]() -> task<> {
    const auto start = now();
    ticker t(10ms);
    co_await t.next();
    EXPECT_EQ(now() - start, 10ms);
    co_await sleep(35ms);  // to 45: the ticks of 20, 30 and 40 become one
    co_await t.next();
    EXPECT_EQ(now() - start, 45ms);
    co_await t.next();
    EXPECT_EQ(now() - start, 50ms);
    co_await t.next();
    EXPECT_EQ(now() - start, 60ms);
  });
}
#endif

LEASH_TEST(Ticker, a_period_must_be_positive) {
  EXPECT_THROW(ticker(0ns), std::logic_error);
  EXPECT_THROW(ticker(-1ms), std::logic_error);
  co_return;
}

LEASH_TEST(Ticker, a_cancelled_next_leaves_the_ticker_usable) {
  ticker t(3ms);
  EXPECT_FALSE(co_await with_timeout(1us, [&]() -> task<> {
    co_await t.next();
    co_await forever();
  }));
  co_await t.next();
  co_await t.next();
}

LEASH_TEST(AfterFunc, fires_once_and_not_early) {
  std::atomic<int> fired = 0;
  const auto start = now();
  timer t = after_func(3ms, [&] {
    ++fired;
    EXPECT_GE(now() - start, 3ms);
  });
  EXPECT_TRUE(co_await eventually([&] { return fired == 1; }, "the timer"));
  co_await sleep(10ms);
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(t.stop());
}

LEASH_TEST(AfterFunc, its_function_runs_in_a_goroutine_and_may_wait) {
  auto [tx, rx] = channel<int>();
  timer t = after_func(1ms, [&]() -> task<> {
    co_await sleep(1ms);
    EXPECT_TRUE(co_await tx.send(3));
  });
  EXPECT_EQ(co_await rx.recv(), 3);
  EXPECT_TRUE(co_await eventually([] { return num_goroutines() == 1; }, "the timer's goroutine to end"));
}

LEASH_TEST(AfterFunc, stopped_in_time_it_never_fires) {
  std::atomic<int> fired = 0;
  timer t = after_func(5ms, [&] { ++fired; });
  if (t.stop()) {
    EXPECT_FALSE(t.stop());
    co_await sleep(20ms);
    EXPECT_EQ(fired, 0);
  } else {
    EXPECT_TRUE(co_await eventually([&] { return fired == 1; }));  // this thread was away for 5 ms
  }
  timer far = after_func(1h, [&] { ++fired; });
  EXPECT_TRUE(far.stop());
}

LEASH_TEST(AfterFunc, stopped_or_dropped_it_lets_go_of_its_function_at_once) {
  auto kept = std::make_shared<int>(0);
  timer stopped = after_func(1h, [kept] {});
  EXPECT_EQ(kept.use_count(), 2);
  EXPECT_TRUE(stopped.stop());
  EXPECT_EQ(kept.use_count(), 1);
  {
    timer dropped = after_func(1h, [kept] {});
    EXPECT_EQ(kept.use_count(), 2);
  }
  EXPECT_EQ(kept.use_count(), 1);
  timer replaced = after_func(1h, [kept] {});
  replaced = after_func(1h, [] {});
  EXPECT_EQ(kept.use_count(), 1);
  co_return;
}

LEASH_TEST(AfterFunc, fired_it_lets_go_of_its_function) {
  auto kept = std::make_shared<std::atomic<int>>(0);
  timer t = after_func(1ms, [kept] { ++*kept; });
  EXPECT_TRUE(co_await eventually([&] { return *kept == 1 && kept.use_count() == 1; }, "the function to go"));
}

LEASH_TEST(AfterFunc, stop_races_with_firing_and_one_wins) {
  for (int i = 0; i < 100; ++i) {
    std::atomic<int> fired = 0;
    timer t = after_func(std::chrono::microseconds(i % 10 * 20), [&] { ++fired; });
    co_await sleep(std::chrono::microseconds(i % 7 * 20));
    const bool stopped = t.stop();
    EXPECT_TRUE(co_await eventually([&] { return fired == (stopped ? 0 : 1); }));
    EXPECT_TRUE(co_await eventually([] { return num_goroutines() == 1; }));
    EXPECT_EQ(fired, stopped ? 0 : 1);
  }
}

}  // namespace
}  // namespace leash
