// every: periodic jobs, that skip or make up for the times they miss.
#include <stdexcept>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

std::int64_t seconds_since(clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::seconds>(now() - start).count();
}

// In virtual time the times are exact. `takes`: seconds of each run.
std::vector<std::int64_t> times(every_options o, std::vector<int> takes) {
  std::vector<std::int64_t> at;
  leash::testing::simulate(1, [&]() -> task<> {
    auto const start = now();
    std::size_t run = 0;
    co_await every(10s, o, [&]() -> task<bool> {
      at.push_back(seconds_since(start));
      co_await sleep(std::chrono::seconds(takes[run]));
      co_return ++run < takes.size();
    });
  });
  return at;
}

TEST(Every, runs_at_multiples_of_the_period_whatever_a_run_takes) {
  EXPECT_EQ(times({}, {0, 3, 9, 0}), (std::vector<std::int64_t>{10, 20, 30, 40}));
  EXPECT_EQ(times({.at_once = true}, {0, 3, 0}), (std::vector<std::int64_t>{0, 10, 20}));
}
TEST(Every, skips_the_times_that_a_long_run_has_missed) {
  EXPECT_EQ(times({.missed_runs = missed_runs::skip}, {25, 10, 0, 0}), (std::vector<std::int64_t>{10, 40, 60, 70}));
}
TEST(Every, makes_up_for_the_times_that_a_long_run_has_missed) {
  EXPECT_EQ(times({.missed_runs = missed_runs::catch_up}, {25, 0, 0, 0, 0}),
            (std::vector<std::int64_t>{10, 35, 35, 40, 50}));
}

LEASH_TEST(Every, plain_callables_end_it_with_false) {
  int runs = 0;
  co_await every(1ms, [&] { return ++runs < 3; });
  EXPECT_EQ(runs, 3);
}
LEASH_TEST(Every, cancellation_ends_it_between_runs_and_in_a_run) {
  std::atomic<int> runs = 0;
  EXPECT_FALSE(co_await with_timeout(5ms, every(1h, {.at_once = true}, [&] { ++runs; })));
  EXPECT_EQ(runs, 1);
  EXPECT_FALSE(co_await with_timeout(5ms, every(1h, {.at_once = true}, [&]() -> task<> {
                                       ++runs;
                                       co_await sleep(1h);
                                     })));
  EXPECT_EQ(runs, 2);
}
LEASH_TEST(Every, an_exception_ends_it_and_a_period_of_zero_is_refused) {
  bool threw = false;
  try {
    co_await every(1ms, []() -> task<> {
      throw std::runtime_error("job");
      co_return;
    });
  } catch (const std::runtime_error&) {
    threw = true;
  }
  EXPECT_TRUE(threw);
  EXPECT_THROW((void)every(0s, [] {}), std::invalid_argument);
}

}  // namespace
}  // namespace leash
