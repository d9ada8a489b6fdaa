// The clock, sleeps and yields.
#include <string>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

task<> sleepers_wake_in_order_of_their_times() {
  std::vector<int> order;
  co_await with_scope([&](scope& s) -> task<> {
    const auto start = now() + 20ms;  // all are asleep before the first is due
    for (int i : {3, 1, 4, 0, 2}) {
      s.go(
          [&order](clock::time_point at, int i) -> task<> {
            co_await sleep_until(at);
            EXPECT_GE(now(), at);
            order.push_back(i);  // one worker
          },
          start + i * 5ms, i);
    }
    co_return;
  });
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}
TEST(Sleep, sleepers_wake_in_order_of_their_times_1) { run_at(1, sleepers_wake_in_order_of_their_times); }
TEST(Sleep, sleepers_wake_in_order_of_their_times_simulated) { run_simulated(sleepers_wake_in_order_of_their_times); }

LEASH_TEST(Sleep, nobody_wakes_early) {
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 200; ++i) {
      s.go(
          [](nanoseconds d) -> task<> {
            const auto start = now();
            co_await sleep(d);
            EXPECT_GE(now() - start, d);
          },
          nanoseconds(i * 50us));
    }
    co_return;
  });
}

LEASH_TEST(Sleep, sleeping_for_no_time_returns) {
  co_await sleep(0ns);
  co_await sleep(1ns);
}

LEASH_TEST(Sleep, a_negative_duration_is_refused_and_the_message_says_where) {
  bool refused = false;
  try {
    co_await sleep(-1ms);
  } catch (const std::logic_error& e) {
    refused = true;
    EXPECT_NE(std::string(e.what()).find("sleep_test.cpp"), std::string::npos) << e.what();
  }
  EXPECT_TRUE(refused);
}

LEASH_TEST(Sleep, until_a_time_in_the_past_returns) {
  const auto start = now();
  co_await sleep_until(start - 1h);
  co_await sleep_until(start);
  co_await sleep_until(clock::time_point{});
  EXPECT_LT(now() - start, 10s);
}

LEASH_TEST(Sleep, a_long_sleep_ends_at_once_when_cancelled) {
  const auto start = now();
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 50; ++i) s.go(named("sleeper"), []() -> task<> { co_await sleep(24h); });
    EXPECT_TRUE(co_await parked("sleeper", "sleep", 50));
    s.cancel("enough");
  });
  EXPECT_LT(now() - start, 1h);
}

LEASH_TEST(Clock, never_goes_back) {
  co_await with_scope([&](scope& s) -> task<> {
    auto [tx, rx] = channel<clock::time_point>();
    s.go(
        [](sender<clock::time_point> to) -> task<> {
          for (int i = 0; i < 500; ++i) EXPECT_TRUE(co_await to.send(now()));
        },
        std::move(tx));
    auto last = now();
    while (auto t = co_await rx.recv()) {
      const auto here = now();
      EXPECT_LE(*t, here);  // what was read before the send is not later than what is read after the receive
      EXPECT_GE(*t, clock::time_point{});
      EXPECT_LE(last, here);
      last = here;
    }
  });
}

LEASH_TEST_REAL(Clock, advances_with_the_steady_clock) {
  const auto a = now();
  const auto real = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - real < 5ms) co_await yield();
  EXPECT_GE(now() - a, 4ms);
}

TEST(Clock, goes_on_between_runs_and_outside_of_them) {
  const auto a = now();
  run_at(1, []() -> task<> { co_await sleep(1ms); });
  EXPECT_GE(now() - a, 1ms);
}

// At one worker, those who yield take turns: nobody gets far ahead.
TEST(Yield, turns_go_round) {
  run_at(1, []() -> task<> {
    constexpr int goroutines = 5, each = 2000;
    std::vector<int> done(goroutines, 0);
    int furthest = 0;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < goroutines; ++i) {
        s.go(
            [&](int i) -> task<> {
              while (done[i] < each) {
                ++done[i];
                for (int other : done) furthest = std::max(furthest, done[i] - other);
                co_await yield();
              }
            },
            i);
      }
      co_return;
    });
    EXPECT_LE(furthest, 100);
  });
}

LEASH_TEST(Yield, those_who_yield_do_not_starve_the_rest) {
  std::atomic<bool> done = false;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 4; ++i)
      s.go([&]() -> task<> {
        while (!done) co_await yield();
      });
    auto [tx, rx] = channel<int>();
    s.go(
        [](sender<int> to) -> task<> {
          for (int i = 0; i < 100; ++i) EXPECT_TRUE(co_await to.send(i));
        },
        std::move(tx));
    while (co_await rx.recv()) {
    }
    done = true;
  });
}

}  // namespace
}  // namespace leash
