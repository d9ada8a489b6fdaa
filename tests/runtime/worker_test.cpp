// What the workers do: sleep when idle, share the work, and give frames back.
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace leash::test::worker_tests {

using steady = std::chrono::steady_clock;

std::chrono::nanoseconds cpu_time() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}
std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t mapped = 0, resident = 0;
  statm >> mapped >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

TEST(Worker, AnIdleProgramUsesNoProcessorTime) {
  for (unsigned workers : {1u, 2u, 4u}) {
    options o;
    o.workers = workers;
    std::chrono::nanoseconds used = run(o, []() -> task<std::chrono::nanoseconds> {
      auto [tx, rx] = channel<int>();
      std::chrono::nanoseconds used{};
      co_await with_scope([&](scope& s) -> task<> {
        for (int i = 0; i < 100; ++i)
          s.go(named("waiter"), [](receiver<int> from) -> task<> { (void)co_await from.recv(); }, rx.dup());
        co_await parked("waiter", "chan receive", 100);
        co_await sleep(50ms);  // the workers settle
        auto before = cpu_time();
        co_await sleep(300ms);
        used = cpu_time() - before;
        tx.close();
      });
      co_return used;
    });
    EXPECT_LT(used, 20ms) << "at " << workers << " workers";
  }
}

/// Keeps the worker busy, without a wait, until `flag` or for ten seconds.
bool compute_until(const std::atomic<bool>& flag) {
  for (auto end = steady::now() + 10s; steady::now() < end;)
    if (flag) return true;
  return false;
}

TEST(Worker, AChildStartsElsewhereWhileItsParentComputes) {
  for (int round = 0; round < 20; ++round)
    run_at(2, []() -> task<> {
      std::atomic<bool> started = false;
      co_await with_scope([&](scope& s) -> task<> {
        s.go([](std::atomic<bool>& started) { started = true; }, std::ref(started));
        EXPECT_TRUE(compute_until(started));
        co_return;
      });
    });
}

TEST(Worker, AWokenGoroutineRunsElsewhereWhileItsWakerComputes) {
  for (int round = 0; round < 20; ++round)
    run_at(2, []() -> task<> {
      std::atomic<bool> woken = false;
      auto [tx, rx] = channel<int>();
      co_await with_scope([&, to = std::move(tx), from = std::move(rx)](scope& s) mutable -> task<> {
        s.go(
            named("sleeper"),
            [](receiver<int> r, std::atomic<bool>& woken) -> task<> {
              (void)co_await r.recv();
              woken = true;
            },
            std::move(from), std::ref(woken));
        co_await parked("sleeper", "chan receive");
        EXPECT_TRUE(co_await to.send(1));
        EXPECT_TRUE(compute_until(woken));
      });
    });
}

TEST(Worker, ATimerFiresWhileAnotherWorkerComputes) {
  run_at(2, []() -> task<> {
    std::atomic<bool> fired = false;
    timer t = after_func(1ms, [&fired] { fired = true; });
    EXPECT_TRUE(compute_until(fired));
    co_return;
  });
}

TEST(Worker, WorkIsSharedAmongIdleWorkers) {
  run_at(2, []() -> task<> {
    std::atomic<int> running = 0, together = 0;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 2; ++i)
        s.go(
            [](std::atomic<int>& running, std::atomic<int>& together) {
              ++running;
              for (auto end = steady::now() + 10s; running < 2 && steady::now() < end;) {
              }
              if (running == 2) ++together;
            },
            std::ref(running), std::ref(together));
      co_return;
    });
    EXPECT_EQ(together, 2);
  });
}

TEST(Worker, TwoYieldersDoNotStarveAThird) {
  run_at(1, []() -> task<> {
    std::atomic<bool> stop = false;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 2; ++i)
        s.go(
            [](std::atomic<bool>& stop) -> task<> {
              while (!stop) co_await yield();
            },
            std::ref(stop));
      s.go(
          [](std::atomic<bool>& stop) -> task<> {
            co_await sleep(1ms);
            stop = true;
          },
          std::ref(stop));
      co_return;
    });
    EXPECT_TRUE(stop);
  });
}

LEASH_TEST_REAL(Worker, TwoHundredThousandGoroutinesWaitAndEnd) {
  constexpr int n = 200'000;
  auto [tx, rx] = channel<int>();
  std::atomic<int> ended = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < n; ++i)
      s.go(
          [](receiver<int> from, std::atomic<int>& ended) -> task<> {
            (void)co_await from.recv();
            ++ended;
          },
          rx.dup(), std::ref(ended));
    EXPECT_EQ(num_goroutines(), n + 1u);
    co_await yield();
    tx.close();
  });
  EXPECT_EQ(ended, n);
  EXPECT_EQ(num_goroutines(), 1u);
}

LEASH_TEST_REAL(Worker, TwoHundredThousandGoroutinesOneAfterTheOther) {
  int sum = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 200'000; ++i) sum += (co_await s.go([] { return 1; }).join()).value_or(0);
  });
  EXPECT_EQ(sum, 200'000);
}

/// Frames made here, destroyed wherever the other side runs.
task<> hand_over(int items) {
  auto [tx, rx] = channel<task<int>>(64);
  co_await with_scope([&, to = std::move(tx), from = std::move(rx)](scope& s) mutable -> task<> {
    s.go(
        [](receiver<task<int>> r) -> task<> {
          while (auto t = co_await r.recv()) (void)co_await std::move(*t);
        },
        std::move(from));
    auto make = [](int i) -> task<int> { co_return i; };
    for (int i = 0; i < items; ++i)
      if (!co_await to.send(make(i))) break;
    to.close();
  });
}

TEST(Worker, FramesFreedOnAnotherWorkerAreUsedAgain) {
  run_at(2, []() -> task<> {
    for (int round = 0; round < 5; ++round) co_await hand_over(20'000);
    std::size_t resident = resident_bytes(), slabs = arena::mapped_bytes();
    for (int round = 0; round < 50; ++round) co_await hand_over(20'000);
    EXPECT_LT(resident_bytes(), resident + (16u << 20));
    EXPECT_LT(arena::mapped_bytes(), slabs + (16u << 20));
  });
}

TEST(Worker, ManyRunsDoNotAddUp) {
  auto once = [] { run_at(2, [] { return hand_over(1'000); }); };
  for (int i = 0; i < 20; ++i) once();
  std::size_t resident = resident_bytes(), slabs = arena::mapped_bytes();
  for (int i = 0; i < 300; ++i) once();
#if LEASH_ASAN  // it keeps what was freed for a while
  (void)resident;
#else
  EXPECT_LT(resident_bytes(), resident + (16u << 20));
#endif
  EXPECT_LT(arena::mapped_bytes(), slabs + (16u << 20));
}

}  // namespace leash::test::worker_tests
