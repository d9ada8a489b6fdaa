// Simulated runs: one worker, virtual time, a schedule drawn from a seed; the same seed gives the same run.
#pragma once
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <leash/run.hpp>
#include <optional>
#include <utility>

namespace leash::testing {

/// A schedule from a seed: even seeds choose among the runnable goroutines at random, odd ones by random priorities
/// that change at a few random steps (probabilistic concurrency testing), which finds rare orders of few events sooner.
class seeded_schedule {
 public:
  explicit seeded_schedule(std::uint64_t seed);
  simulation& sim() noexcept { return sim_; }

 private:
  std::uint64_t next() noexcept;
  std::size_t choose(const std::vector<goroutine_core*>& ready);

  simulation sim_;
  std::uint64_t seed_, state_;
  std::uint64_t first_id_ = 0;
  std::uint64_t step_ = 0, next_change_ = 0, lowered_ = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> low_;  // goroutines whose priority was lowered, in that order
  std::uint64_t last_ = 0, in_a_row_ = 0;
};

/// Runs f as leash::run does, on one worker, in virtual time (a sleep takes none), with the schedule of `seed`.
///
/// Deterministic: calls of blocking() and handles used by other threads aside. Returns and throws as run.
template <class F>
body_t<F> simulate(std::uint64_t seed, const options& o, F&& f,
                   std::source_location where = std::source_location::current()) {
  seeded_schedule schedule(seed);
  program p(o, &schedule.sim());
  return run_program(where, p, std::forward<F>(f));
}
template <class F>
body_t<F> simulate(std::uint64_t seed, F&& f, std::source_location where = std::source_location::current()) {
  return simulate(seed, options{}, std::forward<F>(f), where);
}

struct explore_options {
  std::size_t schedules = 1000;
};

struct exploration {
  std::size_t schedules = 0;                  // run
  std::optional<std::uint64_t> failing_seed;  // simulate(*failing_seed, f) repeats the failure
  std::exception_ptr error;                   // what came out of it
  bool leaked = false;                        // a leak or a deadlock
};

exploration explore_seeds(const explore_options&, const std::function<void(std::uint64_t, const options&)>& run_one);

/// Runs f under many schedules; stops at the first that throws, leaks or deadlocks, and prints its seed.
template <class F>
exploration explore(const explore_options& o, F&& f) {
  return explore_seeds(o, [&f](std::uint64_t seed, const options& with) {
    simulate(seed, with, [&f]() -> decltype(auto) { return f(); });
  });
}

}  // namespace leash::testing
