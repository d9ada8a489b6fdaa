// What the attacks on the proof share: rounds of a program at 2 and 4 workers, for a fraction of a second each (a
// minute each for LEASH_LONG=1), while another thread looks for leaks all the time. A wrong proof ends the program
// (LEASH_SENTINEL); where nothing leaks, a report is a failure too.
#pragma once
#include <random>

#include "kernel.hpp"
#include "leak/pass.hpp"

namespace leash::test {

inline void spin(int n) {
  for (volatile int i = 0; i < n; i = i + 1) {
  }
}

/// Looks for leaks without a pause until it goes.
class looking_all_the_time {
 public:
  explicit looking_all_the_time(leaks expected)
      : looker_([this, expected] {
          while (!over_.load(std::memory_order_relaxed)) {
            // Each other time with the thread that reads ahead.
            read_ahead_from = passes_.load(std::memory_order_relaxed) % 2 == 0 ? SIZE_MAX : 0;
            leak_report r = find_leaks();
            if (expected == leaks::are_false_alarms) EXPECT_EQ(r.size(), 0u) << text(r);
            passes_.fetch_add(1, std::memory_order_relaxed);
          }
        }) {}
  ~looking_all_the_time() {
    over_.store(true, std::memory_order_relaxed);
    looker_.join();
    EXPECT_GT(passes_.load(), 0);
  }

 private:
  std::atomic<bool> over_{false};
  std::atomic<int> passes_{0};
  std::thread looker_;
};

/// Sleeps with a full buffer: a pass that looks into many of those takes longer, and more happens between its phases.
inline task<> weigh_down() {
  auto [in, out] = channel<sender<int>>(1);
  auto [tx, rx] = channel<int>();
  EXPECT_EQ(in.try_send(std::move(tx)), try_result::done);
  co_await sleep(1h);
}

template <class Round>
void attack(Round round, leaks expected = leaks::are_false_alarms) {
  const auto budget = long_run() ? std::chrono::milliseconds(60'000) : std::chrono::milliseconds(400);
  for (unsigned workers : {2u, 4u}) {
    std::mt19937 random(workers);
    const auto end = std::chrono::steady_clock::now() + budget;
    looking_all_the_time looking(expected);
    run_at(
        workers,
        [&]() -> task<> {
          co_await round(random);  // what comes later lies where this did: before what sleeps, so it is read earlier
          co_await with_scope([&](scope& s) -> task<> {
            for (int i = 0; workers == 4 && i < 300; ++i) s.go(weigh_down);
            while (std::chrono::steady_clock::now() < end && !::testing::Test::HasFailure()) co_await round(random);
            s.cancel();
          });
        },
        expected);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace leash::test
