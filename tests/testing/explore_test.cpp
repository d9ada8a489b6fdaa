// explore: finds what it should, says when it has seen everything, and makes failures short.
#include <set>

#include "programs.hpp"
#include "support/support.hpp"

namespace leash::test::explore_tests {

using leash::testing::exploration;
using leash::testing::explore;
using leash::testing::explore_options;
using leash::testing::record;
using leash::testing::simulate;
using leash::testing::strategy;

std::string text(const exploration& r) {
  std::ostringstream out;
  out << r.schedules << " schedules, complete " << r.complete << ", schedule \"" << r.schedule << "\"\n";
  for (auto& s : r.steps) out << s << "\n";
  return out.str();
}

TEST(Explore, a_program_without_a_choice_is_complete_after_one_schedule) {
  int runs = 0;
  auto const r = explore({.strategy = strategy::exhaustive}, [&]() -> task<> {
    ++runs;
    co_await sleep(1s);
  });
  EXPECT_TRUE(r.complete);
  EXPECT_EQ(r.schedules, 1u);
  EXPECT_EQ(runs, 1);
  EXPECT_FALSE(r.failing_seed || r.error || r.leaked);
}

TEST(Explore, runs_as_many_schedules_as_asked) {
  for (strategy how : {strategy::mixed, strategy::random, strategy::pct}) {
    std::size_t runs = 0;
    auto const r = explore({.schedules = 37, .strategy = how}, [&]() -> task<> {
      ++runs;
      co_await yield();
    });
    EXPECT_EQ(r.schedules, 37u);
    EXPECT_EQ(runs, 37u);
    EXPECT_FALSE(r.failing_seed || r.error || r.leaked);
  }
}

// All interleavings of a counted program: a multinomial coefficient.
TEST(Explore, exhaustive_runs_every_interleaving_once) {
  auto count = [](int goroutines, int steps, unsigned preemptions) {
    std::multiset<std::string> seen;
    auto const r =
        explore({.schedules = 100'000, .strategy = strategy::exhaustive, .preemptions = preemptions}, [&]() -> task<> {
          std::string order;
          co_await with_scope([&](scope& s) -> task<> {
            for (int i = 0; i < goroutines; ++i)
              s.go([&, i]() -> task<> {
                for (int k = 0; k < steps; ++k) {
                  if (k != 0) co_await yield();
                  order += static_cast<char>('a' + i);
                }
              });
            co_return;
          });
          seen.insert(order);
        });
    EXPECT_TRUE(r.complete) << text(r);
    EXPECT_EQ(r.schedules, seen.size());
    std::set<std::string> const distinct(seen.begin(), seen.end());
    EXPECT_EQ(distinct.size(), seen.size()) << "a schedule was run twice";
    return distinct.size();
  };
  EXPECT_EQ(count(2, 2, 99), 6u);
  EXPECT_EQ(count(2, 3, 99), 20u);
  EXPECT_EQ(count(3, 2, 99), 90u);
  EXPECT_LT(count(3, 2, 1), 90u);
}

TEST(Explore, exhaustive_takes_every_ready_case_of_a_select) {
  std::multiset<std::size_t> taken;
  auto const r = explore({.strategy = strategy::exhaustive}, [&]() -> task<> {
    auto [a, from_a] = channel<int>(1);
    auto [b, from_b] = channel<int>(1);
    auto [c, from_c] = channel<int>(1);
    (void)a.try_send(0), (void)c.try_send(0);
    taken.insert((co_await select(from_a.recv(), from_b.recv(), from_c.recv(), sleep(1s))).index());
  });
  EXPECT_TRUE(r.complete);
  EXPECT_EQ(taken, (std::multiset<std::size_t>{0, 2}));
}

TEST(Explore, exhaustive_covers_a_correct_program) {
  auto const r =
      explore({.schedules = 20'000, .strategy = strategy::exhaustive}, [] { return programs::lost_update(true, 2); });
  EXPECT_TRUE(r.complete) << text(r);
  EXPECT_FALSE(r.failing_seed || r.error || r.leaked);
  EXPECT_GT(r.schedules, 10u);
}

TEST(Explore, exhaustive_finds_what_its_correct_twin_has_not) {
  auto const r = explore({.strategy = strategy::exhaustive}, [] { return programs::lost_update(false, 2); });
  ASSERT_TRUE(r.failing_seed) << text(r);
  EXPECT_FALSE(r.leaked);
  EXPECT_THROW(std::rethrow_exception(r.error), std::logic_error);
  EXPECT_LE(std::count(r.schedule.begin(), r.schedule.end(), ':'), 1) << r.schedule;
}

TEST(Explore, a_bound_of_no_preemptions_misses_what_needs_one) {
  auto body = [] { return programs::lost_update(false); };
  auto const none = explore({.strategy = strategy::exhaustive, .preemptions = 0}, body);
  EXPECT_TRUE(none.complete);
  EXPECT_FALSE(none.failing_seed);
  EXPECT_TRUE(explore({.strategy = strategy::exhaustive, .preemptions = 1}, body).failing_seed);
}

TEST(Explore, says_when_it_has_not_covered_everything) {
  auto const r =
      explore({.schedules = 20, .strategy = strategy::exhaustive}, [] { return programs::everything(nullptr); });
  EXPECT_FALSE(r.complete);
  EXPECT_EQ(r.schedules, 20u);
}

// Of 20 searches, how many find it.
int found_by(strategy how, std::size_t schedules, int n, bool twice) {
  int found = 0;
  for (std::uint64_t first = 1; first <= 2'000'000; first += 100'000) {
    auto const r = explore({.schedules = schedules, .strategy = how, .first_seed = first, .shorten = 0},
                           [=] { return programs::rare_order(n, twice); });
    found += r.failing_seed.has_value() ? 1 : 0;
  }
  return found;
}

TEST(Explore, priorities_find_a_rare_order_that_random_choices_miss) {
  EXPECT_GE(found_by(strategy::pct, 300, 40, false), 15);
  EXPECT_LE(found_by(strategy::random, 300, 40, false), 5) << "the negative control";
}

TEST(Explore, a_systematic_search_finds_two_preemptions_far_apart) {
  auto const r =
      explore({.schedules = 1500, .strategy = strategy::exhaustive}, [] { return programs::rare_order(30, true); });
  ASSERT_TRUE(r.failing_seed);
  EXPECT_EQ(std::count(r.schedule.begin(), r.schedule.end(), ':'), 2) << r.schedule;
  EXPECT_LE(found_by(strategy::random, 300, 30, true), 5) << "the negative control";
}

TEST(Explore, a_failure_is_made_as_short_as_it_can_be) {
  for (strategy how : {strategy::random, strategy::pct, strategy::exhaustive, strategy::mixed}) {
    auto const r = explore({.schedules = 3000, .strategy = how}, [] { return programs::two_locks(false); });
    ASSERT_TRUE(r.failing_seed);
    EXPECT_TRUE(r.leaked);
    EXPECT_THROW(std::rethrow_exception(r.error), deadlock_error);
    EXPECT_LE(std::count(r.schedule.begin(), r.schedule.end(), ':'), 1) << r.schedule;
    EXPECT_LE(r.steps.size(), 12u) << text(r);
    EXPECT_TRUE(std::any_of(r.steps.begin(), r.steps.end(), [](auto& s) { return s.name == "ba"; })) << text(r);
  }
}

TEST(Explore, a_long_failing_schedule_is_made_short_without_a_search) {
  // Needs four deviations at least, more than the search for few ones reaches in so many runs.
  auto body = []() -> task<> {
    int turns = 0, last = 0;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 1; i <= 2; ++i)
        s.go([&, i]() -> task<> {
          for (int k = 0; k < 12; ++k) {
            auto [tx, rx] = channel<int>(1);
            (void)co_await tx.send(1);
            turns = last != i ? turns + 1 : turns;
            last = i;
          }
        });
      co_return;
    });
    if (turns >= 6) throw std::logic_error("many turns");
  };
  auto const r = explore({.strategy = strategy::random, .shorten = 300}, body);
  ASSERT_TRUE(r.failing_seed);
  EXPECT_LE(std::count(r.schedule.begin(), r.schedule.end(), ':'), 6) << r.schedule;
  EXPECT_THROW(simulate(*r.failing_seed, body), std::logic_error);
  EXPECT_THROW(simulate(r.schedule, body), std::logic_error);
}

TEST(Explore, failing_seed_and_schedule_repeat_the_failure) {
  for (strategy how : {strategy::random, strategy::pct, strategy::exhaustive, strategy::mixed}) {
    auto body = [] { return programs::lost_update(false, 3); };
    auto const r = explore({.schedules = 3000, .strategy = how}, body);
    ASSERT_TRUE(r.failing_seed);
    EXPECT_THROW(simulate(*r.failing_seed, body), std::logic_error);
    EXPECT_THROW(simulate(r.schedule, body), std::logic_error);
    EXPECT_EQ(record(*r.failing_seed, body).steps, r.steps);
  }
}

TEST(Explore, a_found_seed_fails_in_another_process) {
  for (strategy how : {strategy::random, strategy::pct, strategy::exhaustive}) {
    auto const r = explore({.schedules = 3000, .strategy = how}, [] { return programs::two_locks(false); });
    ASSERT_TRUE(r.failing_seed);
    std::string const command =
        std::string(REPLAY_PROGRAM) + " two_locks " + std::to_string(*r.failing_seed) + " | grep -q leaked";
    EXPECT_EQ(std::system(command.c_str()), 0);
  }
}

TEST(Explore, a_leak_beside_others_that_go_on_is_a_failure) {
  auto body = [](bool leaks) {
    return [leaks]() -> task<> {
      co_await with_scope([&](scope& s) -> task<> {
        auto [tx, rx] = channel<int>();
        s.go(
            [](receiver<int> r, sender<int>) -> task<> {
              (void)co_await r.recv();  // with both ends it waits for itself
            },
            std::move(rx), leaks ? std::move(tx) : sender<int>());
        co_await sleep(1s);
      });
    };
  };
  auto const bad = explore({.schedules = 5}, body(true));
  EXPECT_TRUE(bad.leaked);
  EXPECT_TRUE(bad.failing_seed);
  auto const good = explore({.schedules = 50}, body(false));
  EXPECT_FALSE(good.leaked || good.failing_seed || good.error);
}

TEST(Explore, a_reclaimed_leak_is_a_failure_without_an_exception) {
  explore_options o{.schedules = 5};
  o.run.action = leak_action::reclaim;
  auto const r = explore(o, []() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      auto [tx, rx] = channel<int>();
      s.go([](receiver<int> r, sender<int>) -> task<> { (void)co_await r.recv(); }, std::move(rx), std::move(tx));
      co_return;
    });
  });
  EXPECT_TRUE(r.leaked);
  EXPECT_FALSE(r.error);
  EXPECT_TRUE(r.failing_seed);
}

TEST(Explore, a_run_without_end_fails) {
  explore_options o{.schedules = 3};
  o.most_steps = 10'000;
  auto const r = explore(o, []() -> task<> {
    for (;;) co_await yield();
  });
  EXPECT_TRUE(r.failing_seed);
  EXPECT_TRUE(r.error);
}

TEST(Explore, goroutines_that_spin_do_not_keep_others_from_running) {
  for (strategy how : {strategy::mixed, strategy::random, strategy::pct, strategy::exhaustive}) {
    auto const r = explore({.schedules = 200, .strategy = how, .most_steps = 100'000}, []() -> task<> {
      bool flag = false;
      auto [tx, rx] = channel<int>(1);
      rx.drop();
      co_await with_scope([&, tx = std::move(tx)](scope& s) mutable -> task<> {
        for (int i = 0; i < 2; ++i)
          s.go([&]() -> task<> {
            while (!flag) co_await yield();
          });
        s.go(
            [&](sender<int> dead) -> task<> {
              while (!flag) (void)co_await dead.send(1);
            },
            std::move(tx));
        s.go([&]() -> task<> {
          co_await yield();
          flag = true;
        });
        co_return;
      });
    });
    EXPECT_FALSE(r.failing_seed) << text(r);
  }
}

TEST(Explore, says_that_a_failure_does_not_repeat) {
  int calls = 0;
  auto const r = explore({.schedules = 10}, [&]() -> task<> {
    if (++calls == 3) throw std::runtime_error("the third call");
    co_return;
  });
  EXPECT_EQ(r.schedules, 3u);
  EXPECT_TRUE(r.error);
  EXPECT_TRUE(r.failing_seed);
}

TEST(Explore, steps_name_the_goroutine_its_line_and_its_wait) {
  auto const r = explore({.strategy = strategy::exhaustive}, [] { return programs::two_locks(false); });
  ASSERT_FALSE(r.steps.empty());
  EXPECT_EQ(r.steps.front().goroutine, 1u);
  EXPECT_EQ(r.steps.front().waited, "start");
  for (auto& s : r.steps) {
    if (s.goroutine != 1) {
      EXPECT_NE(s.line, 0u);
      EXPECT_NE(s.file.find("programs.hpp"), std::string::npos) << s;
      EXPECT_FALSE(s.name.empty());
    }
  }
}

TEST(Explore, prints_the_seed_and_the_steps) {
  ::testing::internal::CaptureStderr();
  auto const r = explore({.strategy = strategy::exhaustive}, [] { return programs::two_locks(false); });
  std::string const printed = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(printed.find("simulate(0x"), std::string::npos) << printed;
  EXPECT_NE(printed.find("simulate(\"" + r.schedule + "\", f)"), std::string::npos) << printed;
  EXPECT_NE(printed.find("(ba) at "), std::string::npos) << printed;
  EXPECT_NE(printed.find("deadlock"), std::string::npos) << printed;
  EXPECT_LT(std::count(printed.begin(), printed.end(), '\n'), 120);
}

TEST(Explore, is_refused_inside_a_goroutine) {
  run([]() -> task<> {
    EXPECT_THROW(explore({}, []() -> task<> { co_return; }), std::logic_error);
    EXPECT_THROW(simulate(1, []() -> task<> { co_return; }), std::logic_error);
    co_return;
  });
}

}  // namespace leash::test::explore_tests
