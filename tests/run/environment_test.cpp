// What the environment says about a run goes before its options; nonsense is refused before anything runs. Each test
// looks at a process of its own, whose environment it sets.
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>

#include "support/support.hpp"

namespace leash::test::environment_tests {

using variables = std::initializer_list<std::pair<const char*, const char*>>;

void set(variables all) {
  for (auto [name, value] : all) ::setenv(name, value, 1);
}

/// In the child: sets the environment, runs, and ends; what it says on stderr is what the test looks at.
template <class F>
[[noreturn]] void run_with(variables all, const options& o, F body) {
  set(all);
  try {
    run(o, std::move(body));
  } catch (const std::exception& e) {
    std::cerr << "threw " << e.what() << std::endl;
    std::_Exit(3);
  }
  std::cerr << "ended" << std::endl;
  std::_Exit(0);
}

task<> says_that_it_runs() {
  std::cerr << "runs ";
  co_return;
}

/// Two that wait for each other, beside one that goes on for a while.
task<> leaks_beside_a_sleeper(nanoseconds for_so_long) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [a, from_a] = channel<int>();
    auto [b, from_b] = channel<int>();
    auto wait = [](receiver<int> rx, sender<int>) -> task<> { (void)co_await rx.recv(); };
    s.go(named("planted"), wait, std::move(from_a), std::move(b));
    s.go(named("planted"), wait, std::move(from_b), std::move(a));
    co_await sleep(for_so_long);
    s.cancel();
  });
}

TEST(EnvironmentDeathTest, WithoutAnyTheOptionsCount) {
  options o;
  o.workers = 3;
  EXPECT_EXIT(run_with({}, o,
                       []() -> task<> {
                         std::cerr << this_worker->rt->worker_count << " workers ";
                         co_return;
                       }),
              ::testing::ExitedWithCode(0), "^3 workers ended");
}

TEST(EnvironmentDeathTest, SaysHowManyWorkers) {
  options o;
  o.workers = 3;
  auto body = []() -> task<> {
    std::cerr << this_worker->rt->worker_count << " workers ";
    co_return;
  };
  EXPECT_EXIT(run_with({{"LEASH_WORKERS", "2"}}, o, body), ::testing::ExitedWithCode(0), "^2 workers ended");
  EXPECT_EXIT(run_with({{"LEASH_WORKERS", ""}}, o, body), ::testing::ExitedWithCode(0), "^3 workers ended");
}

TEST(EnvironmentDeathTest, SaysWhenSomethingIsStuck) {
  auto body = []() -> task<> {
    std::cerr << this_worker->rt->stuck_after << " ms ";
    co_return;
  };
  EXPECT_EXIT(run_with({{"LEASH_STUCK_AFTER", "1m2s3ms"}}, {}, body), ::testing::ExitedWithCode(0), "^62003 ms ended");
  EXPECT_EXIT(run_with({{"LEASH_STUCK_AFTER", "0"}}, {}, body), ::testing::ExitedWithCode(0), "^0 ms ended");
  EXPECT_EXIT(run_with({{"LEASH_STUCK_AFTER", "2h"}}, {}, body), ::testing::ExitedWithCode(0), "^7200000 ms ended");
}

// A program that asks for no checks has none: the twin of the next test.
TEST(EnvironmentDeathTest, WithoutChecksALeakIsNotLookedForWhileSomethingMoves) {
  EXPECT_EXIT(run_with({}, {}, [] { return leaks_beside_a_sleeper(100ms); }), ::testing::ExitedWithCode(0), "^ended");
}

TEST(EnvironmentDeathTest, TurnsChecksOnAndTheReportIsWrittenThoughNobodyAskedForIt) {
  EXPECT_EXIT(run_with({{"LEASH_LEAK_CHECK_EVERY", "10ms"}}, {}, [] { return leaks_beside_a_sleeper(500ms); }),
              ::testing::ExitedWithCode(0), "^leash: 2 goroutines are leaked: 2 core.*planted(.|\n)*ended");
}

TEST(EnvironmentDeathTest, MakesALeakEndTheProgram) {
  EXPECT_EXIT(run_with({{"LEASH_LEAK_CHECK_EVERY", "10ms"}, {"LEASH_LEAK_ACTION", "abort"}}, {},
                       [] { return leaks_beside_a_sleeper(1h); }),
              ::testing::KilledBySignal(SIGABRT), "2 goroutines are leaked");
}

TEST(EnvironmentDeathTest, ReclaimsWhatTheOptionsOnlyReport) {
  auto body = []() -> task<> {
    co_await with_scope([](scope& s) {
      auto [tx, rx] = channel<int>();
      s.go([](receiver<int> rx, sender<int>) -> task<> { (void)co_await rx.recv(); }, std::move(rx), std::move(tx));
    });
    std::cerr << "went on ";
  };
  options o;
  o.workers = 1;  // the report comes before what the reclaim sets free
  EXPECT_EXIT(run_with({}, o, body), ::testing::ExitedWithCode(3), "^threw deadlock");
  EXPECT_EXIT(run_with({{"LEASH_LEAK_ACTION", "reclaim"}}, o, body), ::testing::ExitedWithCode(0),
              "^leash: 2 goroutines are leaked(.|\n)*went on ended");
}

TEST(EnvironmentDeathTest, DoesNotReachASimulatedRun) {
  auto simulated = [] {
    set({{"LEASH_WORKERS", "many"}});
    testing::simulate(1, says_that_it_runs);
    std::_Exit(0);
  };
  EXPECT_EXIT(simulated(), ::testing::ExitedWithCode(0), "^runs ");
}

TEST(EnvironmentDeathTest, NonsenseIsRefusedBeforeAnythingRuns) {
  constexpr const char* duration =
      "allowed: a duration of whole numbers and the units ns, us, ms, s, m, h, as 500ms or 1m30s; 0: ";
  struct {
    const char *name, *value;
    std::string allowed;
  } const all[] = {
      {"LEASH_WORKERS", "many", "allowed: a whole number from 0 .the default. to 1024"},
      {"LEASH_WORKERS", "2.5", "allowed: a whole number"},
      {"LEASH_WORKERS", " 2", "allowed: a whole number"},
      {"LEASH_WORKERS", "-1", "allowed: a whole number"},
      {"LEASH_WORKERS", "1025", "allowed: a whole number"},
      {"LEASH_WORKERS", "99999999999999999999", "allowed: a whole number"},
      {"LEASH_BLOCKING_THREADS", "100001", "allowed: a whole number from 0 .the default. to 100000"},
      {"LEASH_LEAK_CHECK_EVERY", "10", duration},
      {"LEASH_LEAK_CHECK_EVERY", "10 s", duration},
      {"LEASH_LEAK_CHECK_EVERY", "-1s", duration},
      {"LEASH_LEAK_CHECK_EVERY", "1.5s", duration},
      {"LEASH_LEAK_CHECK_EVERY", "10parsecs", duration},
      {"LEASH_LEAK_CHECK_EVERY", "10s5", duration},
      {"LEASH_LEAK_CHECK_EVERY", "s", duration},
      {"LEASH_LEAK_CHECK_EVERY", "9223372036854775807s", duration},
      {"LEASH_LEAK_CHECK_EVERY", "2562047h9999m", duration},
      {"LEASH_STUCK_AFTER", "soon", duration},
      {"LEASH_LEAK_ACTION", "Reclaim", "allowed: report, reclaim or abort"},
  };
  for (auto& one : all) {
    EXPECT_EXIT(
        run_with({{one.name, one.value}}, {}, says_that_it_runs), ::testing::ExitedWithCode(3),
        "^threw leash: the environment variable " + std::string(one.name) + " is \"" + one.value + "\"; " + one.allowed)
        << one.name << "=" << one.value;
  }
}

// Nobody catches it: the message is the last that the program says.
TEST(EnvironmentDeathTest, NonsenseEndsAProgramThatDoesNotCatch) {
  auto program = []() noexcept {
    set({{"LEASH_LEAK_ACTION", "ignore"}});
    run(says_that_it_runs);
  };
  EXPECT_EXIT(program(), ::testing::KilledBySignal(SIGABRT),
              "LEASH_LEAK_ACTION is \"ignore\"; allowed: report, reclaim or abort");
}

}  // namespace leash::test::environment_tests
