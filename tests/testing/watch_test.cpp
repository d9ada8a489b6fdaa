// Watches: each run's leaks reach the watch it belongs to, and no other; expect_no_leaks asks it.
#include <atomic>
#include <thread>
#include <vector>

#include "support/support.hpp"
#include "testing/frameworks/scenes.hpp"

namespace leash::test::watch_tests {

using leash::testing::expect_no_leaks;
using leash::testing::leak_watch;
using leash::testing::leaks_found;

TEST(Watch, sees_a_leak_that_nobody_was_told_of) {
  leak_watch watch;
  scenes::reclaimed(true);
  std::string const text = watch.take();
  EXPECT_NE(text.find("core, proven: goroutine"), std::string::npos) << text;
  EXPECT_NE(text.find("(waiting)"), std::string::npos) << text;
  EXPECT_EQ(watch.take(), "") << "told once";
  scenes::reclaimed(false);
  EXPECT_EQ(watch.take(), "");
}

TEST(Watch, is_not_told_what_others_are) {
  leak_watch watch;
  EXPECT_TRUE(scenes::reclaimed_and_told());
  EXPECT_TRUE(scenes::deadlocked());
  EXPECT_TRUE(leash::testing::explore({.schedules = 3}, [] { return scenes::start_waiting(true); }).leaked);
  EXPECT_EQ(watch.take(), "");
}

TEST(Watch, is_not_told_of_a_leak_that_deadlock_error_tells_in_the_end) {
  leak_watch watch;
  options o = {.workers = 2, .leak_check_every = 1ms};
  EXPECT_THROW(run(o,
                   []() -> task<> {
                     co_await with_scope([](scope& s) -> task<> {
                       s.go(scenes::start_waiting, true);
                       for (int i = 0; i < 30; ++i) co_await sleep(1ms);  // the leak is seen long before the end
                     });
                   }),
               deadlock_error);
  EXPECT_EQ(watch.take(), "");
}

TEST(Watch, sees_what_is_still_parked_in_a_run_that_goes_on) {
  for (bool leaks : {true, false}) {
    leak_watch watch;
    scenes::background behind(leaks);
    std::string const text = watch.take();
    EXPECT_EQ(!text.empty(), leaks) << text;
    EXPECT_EQ(watch.take(), "") << "told once";
  }
}

TEST(Watch, of_nested_ones_the_inner_is_told) {
  leak_watch outer;
  {
    leak_watch inner;
    scenes::reclaimed(true);
    EXPECT_NE(inner.take(), "");
  }
  EXPECT_EQ(outer.take(), "");
  scenes::reclaimed(true);
  EXPECT_NE(outer.take(), "");
}

TEST(Watch, runs_on_threads_of_the_test_belong_to_it) {
  leak_watch watch;
  std::thread([] { scenes::reclaimed(true); }).join();
  EXPECT_NE(watch.take(), "");
}

TEST(Watch, tests_at_the_same_time_do_not_see_each_others_leaks) {
  std::atomic<int> right = 0;
  std::vector<std::thread> tests;
  for (int i = 0; i < 8; ++i)
    tests.emplace_back([&, leaks = i % 2 == 0] {
      for (int round = 0; round < 50; ++round) {
        leak_watch watch;
        scenes::reclaimed(leaks);
        if (!watch.take().empty() == leaks) ++right;
      }
    });
  for (auto& t : tests) t.join();
  EXPECT_EQ(right, 8 * 50);
}

TEST(ExpectNoLeaks, throws_the_report_where_no_framework_is_known) {
  leak_watch watch;
  EXPECT_NO_THROW(expect_no_leaks());
  scenes::reclaimed(true);
  try {
    expect_no_leaks();
    ADD_FAILURE() << "did not throw";
  } catch (const leaks_found& e) {
    EXPECT_NE(std::string(e.what()).find("watch_test.cpp"), std::string::npos);
    EXPECT_NE(std::string(e.what()).find("core, proven"), std::string::npos);
  }
  EXPECT_NO_THROW(expect_no_leaks());
}

TEST(ExpectNoLeaks, works_without_a_watch) {
  scenes::reclaimed(false);
  EXPECT_NO_THROW(expect_no_leaks());
  scenes::reclaimed(true);
  EXPECT_THROW(expect_no_leaks(), leaks_found);
  EXPECT_NO_THROW(expect_no_leaks());
}

TEST(ExpectNoLeaks, in_a_goroutine_looks_at_its_runtime) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed)
    leash::testing::simulate(seed, []() -> task<> {
      co_await with_scope([](scope& s) -> task<> {
        auto [tx, rx] = channel<int>();
        s.go(named("waits"), [](receiver<int> r) -> task<> { (void)co_await r.recv(); }, std::move(rx));
        co_await sleep(1s);
        expect_no_leaks();  // blocked, but the sender is here
        (void)co_await tx.send(1);
      });
    });
}

TEST(ExpectNoLeaks, goes_through_the_handler) {
  static std::string seen;
  auto const before = leash::testing::set_failure_handler(
      [](const std::string& text, std::source_location where) { seen = where.file_name() + (": " + text); });
  EXPECT_EQ(before, nullptr);
  scenes::reclaimed(true);
  expect_no_leaks();
  leash::testing::set_failure_handler(nullptr);
  EXPECT_NE(seen.find("watch_test.cpp: 2 goroutines are leaked"), std::string::npos) << seen;
}

}  // namespace leash::test::watch_tests
