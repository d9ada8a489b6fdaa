// simulate: the seed, and nothing else, decides.
#include <cstdio>
#include <set>
#include <thread>

#include "programs.hpp"
#include "support/support.hpp"

namespace leash::test::simulate_tests {

using leash::testing::record;
using leash::testing::recording;
using leash::testing::simulate;

// Moves whatever a process keeps between runs: ids, free lists, clocks, verdicts.
void disturb(int how_much) {
  run(with_workers(2), [&]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 50 * how_much; ++i) s.go([]() -> task<> { co_await yield(); });
      co_await sleep(100us);
    });
  });
  options o = with_workers(1, leaks::are_expected);
  o.action = leak_action::reclaim;
  try {
    run(o, [] { return programs::two_locks(false); });
    simulate(3, o, [] { return programs::two_locks(false); });
  } catch (const deadlock_error&) {
  }
  for (int i = 0; i < how_much; ++i)
    simulate(static_cast<std::uint64_t>(i), [] { return programs::everything(nullptr); });
}

TEST(Simulate, the_same_seed_gives_the_same_steps_whatever_ran_before) {
  std::set<std::string> different;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    std::string log, again_log;
    recording const first = record(seed, [&] { return programs::everything(&log); });
    disturb(1 + static_cast<int>(seed % 3));
    recording const again = record(seed, [&] { return programs::everything(&again_log); });
    EXPECT_FALSE(first.error);
    EXPECT_EQ(log, again_log) << "seed " << seed;
    EXPECT_EQ(programs::text_of(first), programs::text_of(again)) << "seed " << seed;
    different.insert(log);
  }
  EXPECT_GT(different.size(), 20u) << "seeds must differ";
}

TEST(Simulate, the_same_seed_gives_the_same_steps_beside_other_runtimes) {
  recording const first = record(17, [] { return programs::everything(nullptr); });
  std::atomic<bool> over = false;
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i)
    others.emplace_back([&, i] {
      while (!over) {
        run(with_workers(1), [] { return programs::everything(nullptr); });
        simulate(static_cast<std::uint64_t>(i), [] { return programs::everything(nullptr); });
      }
    });
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(programs::text_of(first), programs::text_of(record(17, [] { return programs::everything(nullptr); })));
  over = true;
  for (auto& t : others) t.join();
}

TEST(Simulate, a_recorded_schedule_repeats_the_run) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::string log, again_log;
    recording const drawn = record(seed, [&] { return programs::everything(&log); });
    recording const again = record(drawn.schedule, [&] { return programs::everything(&again_log); });
    EXPECT_EQ(log, again_log);
    EXPECT_EQ(programs::text_of(drawn), programs::text_of(again));
  }
}

std::string in_another_process(const std::string& name, const std::string& how) {
  std::string const command = std::string(REPLAY_PROGRAM) + " " + name + " '" + how + "' 2>/dev/null";
  std::FILE* out = ::popen(command.c_str(), "r");
  std::string text;
  char buffer[4096];
  for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, out)) != 0;) text.append(buffer, n);
  EXPECT_EQ(::pclose(out), 0);
  return text;
}

TEST(Simulate, a_seed_means_the_same_in_another_process) {
  for (std::uint64_t seed : {1u, 2u, 3u, 4u, 77u, 78u}) {
    disturb(1);
    recording const here = record(seed, [] { return programs::everything(nullptr); });
    EXPECT_EQ(in_another_process("everything", std::to_string(seed)), programs::text_of(here));
    EXPECT_EQ(in_another_process("everything", here.schedule), programs::text_of(here));
  }
}

TEST(Simulate, ids_count_from_one) {
  for (int i = 0; i < 3; ++i) {
    simulate(static_cast<std::uint64_t>(i), []() -> task<> {
      co_await with_scope([](scope& s) -> task<> {
        auto h = s.go([]() -> task<> { co_return; });
        EXPECT_EQ(h.id(), 2u);
        co_return;
      });
    });
    disturb(1);
  }
}

TEST(Simulate, nothing_really_sleeps) {
  auto const before = std::chrono::steady_clock::now();
  auto const slept = simulate(5, []() -> task<nanoseconds> {
    auto const start = now();
    auto nap = [](nanoseconds d) -> task<> { co_await sleep(d); };
    co_await gather(nap(5h), nap(1h), nap(30h));
    co_return now() - start;
  });
  EXPECT_EQ(slept, 30h);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 10s);
}

TEST(Simulate, a_blocking_call_is_a_step_of_the_schedule) {
  // Whether the call or the other goroutine comes first is up to the seed; both happen, and each seed repeats.
  auto order = [](std::uint64_t seed) {
    return simulate(seed, []() -> task<std::string> {
      std::string order;
      co_await with_scope([&](scope& s) -> task<> {
        s.go([&]() -> task<> { co_await blocking([&] { order += "c"; }); });
        s.go([&]() -> task<> {
          order += "o";
          co_await yield();
          order += "o";
        });
        co_return;
      });
      co_return order;
    });
  };
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    std::string const first = order(seed);
    for (int i = 0; i < 3; ++i) ASSERT_EQ(order(seed), first) << "seed " << seed;
    seen.insert(first);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"coo", "oco", "ooc"}));
}

TEST(Simulate, virtual_time_stands_still_while_a_call_blocks) {
  auto const late = simulate(1, []() -> task<bool> {
    co_return (co_await with_timeout(
        1ms, []() -> task<> { co_await blocking([] { std::this_thread::sleep_for(20ms); }); })) == false;
  });
  EXPECT_FALSE(late);
}

TEST(Simulate, a_call_that_waits_for_a_goroutine_does_not_hang) {
  std::atomic<bool> flag = false;
  simulate(2, [&]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> {
        co_await blocking([&] {
          while (!flag) std::this_thread::sleep_for(1ms);
        });
      });
      s.go([&]() -> task<> {
        co_await sleep(5ms);
        flag = true;
      });
      co_return;
    });
  });
  EXPECT_TRUE(flag);
}

TEST(Simulate, a_call_may_start_a_run_of_its_own) {
  EXPECT_EQ(simulate(1,
                     []() -> task<int> {
                       co_return co_await blocking([] { return simulate(2, []() -> task<int> { co_return 5; }); });
                     }),
            5);
}

TEST(Simulate, refuses_a_text_that_is_no_schedule) {
  for (const char* text : {"1", "1:", "1:0", "x", "2:1 1:1", "1:1,2:1", "1:1 ", " 1:1", "1:-1"})
    EXPECT_THROW(simulate(std::string_view(text), [] {}), std::invalid_argument) << text;
  EXPECT_NO_THROW(simulate(std::string_view(), [] {}));
  EXPECT_NO_THROW(simulate("1:1 2:3", [] {}));
}

TEST(Simulate, select_is_fair_among_ready_cases) {
  int taken[3] = {0, 0, 0};
  for (std::uint64_t seed = 0; seed < 600; ++seed)
    simulate(seed, [&]() -> task<> {
      auto [a, from_a] = channel<int>(1);
      auto [b, from_b] = channel<int>(1);
      auto [c, from_c] = channel<int>(1);
      (void)a.try_send(0), (void)c.try_send(0);
      ++taken[(co_await select(from_a.recv(), from_b.recv(), from_c.recv())).index()];
    });
  EXPECT_EQ(taken[1], 0);
  EXPECT_GT(taken[0], 220);
  EXPECT_GT(taken[2], 220);
}

}  // namespace leash::test::simulate_tests
