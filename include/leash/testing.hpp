// Testing: simulated runs that can be repeated, exploring schedules, and tests that fail by a proof of a leak.
//
//   simulate(seed, f)          one run: one worker, virtual time, the schedule of a seed
//   explore({...}, f)          many schedules; the first that fails is shortened, printed, and can be repeated
//   record(seed, f)            one run, step by step
//   expect_no_leaks()          fails the test if a goroutine of it is provably leaked
//   <leash/testing_gtest.hpp>, <leash/testing_catch2.hpp>, <leash/testing_doctest.hpp>: every test expects no leaks
//
// A simulated run switches goroutines at waits only, and at any of them. What two threads could do to each other between
// two waits it does not show.
#pragma once
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iosfwd>
#include <leash/run.hpp>
#include <memory>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leash::testing {

// --- simulated runs

class simulator;

/// A simulated run's schedule, before and during it; for the library.
class simulated_run {
 public:
  explicit simulated_run(std::uint64_t seed);
  explicit simulated_run(std::string_view schedule);
  simulated_run(const simulated_run&) = delete;
  ~simulated_run();
  simulation* sim() noexcept;
  simulator& chooser() noexcept { return *chooser_; }

 private:
  std::unique_ptr<simulator> chooser_;
};

/// Runs f as leash::run does, on one worker, in virtual time, with the schedule of `seed`.
///
/// Deterministic: the seed, and nothing else, decides who makes each step, which ready case a select takes and which
/// ids goroutines get; what ran before in the process has no part in it. Even seeds choose at random, odd ones by
/// priorities that change at a few random steps; those from 0xff00'0000'0000'0000 on spell out a schedule.
/// Time stands still while any goroutine can run, then jumps to the next timer: nothing really sleeps. A call of
/// blocking() is one step: it is made on a thread of the pool, when the schedule says so, while everything else waits.
/// Not determined: what threads of the program's own do with handles, awaitables that leash does not know, and the rest
/// of a run in which a call of blocking() takes longer than 0.1 s (it may wait for a goroutine, so the run goes on
/// without it, in real time until it returns).
/// Returns and throws as run. Options: workers and the environment are ignored; leak_check_every counts in virtual time:
/// a check is made when time would pass the point at which it is due.
template <class F>
body_t<F> simulate(std::uint64_t seed, const options& o, F&& f,
                   std::source_location where = std::source_location::current()) {
  simulated_run chosen(seed);
  program p(o, where, chosen.sim());
  return run_program(where, p, std::forward<F>(f));
}
template <class F>
body_t<F> simulate(std::uint64_t seed, F&& f, std::source_location where = std::source_location::current()) {
  return simulate(seed, options{}, std::forward<F>(f), where);
}

/// As simulate with a seed; `schedule` is one that explore or record gave: "12:1 40:2", at the 12th choice the first
/// option after the default, at the 40th the second.
/// Errors: std::invalid_argument for another text.
template <class F>
body_t<F> simulate(std::string_view schedule, const options& o, F&& f,
                   std::source_location where = std::source_location::current()) {
  simulated_run chosen(schedule);
  program p(o, where, chosen.sim());
  return run_program(where, p, std::forward<F>(f));
}
template <class F>
body_t<F> simulate(std::string_view schedule, F&& f, std::source_location where = std::source_location::current()) {
  return simulate(schedule, options{}, std::forward<F>(f), where);
}

/// One step of a simulated run: a goroutine from where it was chosen to its next wait.
struct step {
  std::uint64_t goroutine = 0;  // its id; the root's is 1
  std::string name;             // named(...)
  std::string file;             // where it goes on from: its wait; before the first, who started it; the root: empty
  unsigned line = 0;
  std::string waited;  // what it waited in, in Go's words; "start", "yield"; empty: it could have gone on at once
  bool operator==(const step&) const = default;
};
std::ostream& operator<<(std::ostream&, const step&);

/// A simulated run, looked back upon.
struct recording {
  std::vector<step> steps;
  std::string schedule;      // simulate(schedule, f) repeats it
  std::exception_ptr error;  // what came out of it
  bool leaked = false;       // a leak or a deadlock
};

// --- exploring

/// How explore chooses schedules.
enum class strategy : std::uint8_t {
  mixed,       // a quarter exhaustive, then random and pct in turn
  random,      // at every choice any option
  pct,         // probabilistic concurrency testing: random priorities, changed at a few random steps
  exhaustive,  // all schedules, those with the fewest deviations from the default first
};

/// Every member has a default.
struct explore_options {
  std::size_t schedules = 1000;  // at most; exhaustive ends earlier when there are no more
  testing::strategy strategy = testing::strategy::mixed;
  unsigned preemptions = 2;  // exhaustive: at most so many times another runs although the last one could go on
  std::uint64_t first_seed = 1;
  std::size_t most_steps = 10'000'000;  // a run with more is cancelled, and fails
  std::size_t shorten = 500;            // runs spent on shortening a schedule that fails
  options run = {};                     // of each run
};

struct exploration {
  std::size_t schedules = 0;                  // run, without those that shortened the failing one
  std::optional<std::uint64_t> failing_seed;  // simulate(*failing_seed, f) repeats the failure, in any process
  std::exception_ptr error;                   // what came out of it
  bool leaked = false;                        // a leak or a deadlock
  bool complete = false;                      // every schedule up to the bound on preemptions was run
  std::string schedule;                       // the shortest that was found to fail: simulate(schedule, f)
  std::vector<step> steps;                    // its steps
};

/// For the library: a run of f, however often.
using run_once = std::function<void(simulation&, const options&)>;
exploration explore_schedules(const explore_options&, const run_once&);
recording record_run(simulated_run&, const options&, const run_once&);

template <class F>
run_once repeatedly(F& f, std::source_location where) {
  return [&f, where](simulation& sim, const options& with) {
    program p(with, where, &sim);
    run_program(where, p, [&f]() -> decltype(auto) { return f(); });
  };
}

/// Runs f under many schedules, and stops at the first that fails: an exception comes out, goroutines leak, or nothing
/// can move any more.
///
/// f is called once for each schedule, and should do the same each time but for the schedule. The failing schedule is
/// made shorter as long as it fails in the same way (fewer deviations from the default: go on with the same goroutine,
/// else take the one that waits longest), then printed on stderr with its seed, error and steps.
/// Returns: see exploration. complete says that no other schedule exists within the bound: of those that a simulated run
/// can have, see simulate.
/// Errors: std::logic_error inside a run. What f throws is a result.
template <class F>
exploration explore(const explore_options& o, F&& f, std::source_location where = std::source_location::current()) {
  return explore_schedules(o, repeatedly(f, where));
}

/// Runs f once, as simulate, and notes each step. Throws nothing of what f throws.
template <class F>
recording record(std::uint64_t seed, const options& o, F&& f,
                 std::source_location where = std::source_location::current()) {
  simulated_run chosen(seed);
  return record_run(chosen, o, repeatedly(f, where));
}
template <class F>
recording record(std::uint64_t seed, F&& f, std::source_location where = std::source_location::current()) {
  return record(seed, options{}, std::forward<F>(f), where);
}
template <class F>
recording record(std::string_view schedule, const options& o, F&& f,
                 std::source_location where = std::source_location::current()) {
  simulated_run chosen(schedule);
  return record_run(chosen, o, repeatedly(f, where));
}
template <class F>
recording record(std::string_view schedule, F&& f, std::source_location where = std::source_location::current()) {
  return record(schedule, options{}, std::forward<F>(f), where);
}

// --- tests that expect no leaks

struct watch_state;

/// Collects the leaks of the runs that belong to it: those started on its thread during its life (of nested watches,
/// the inner one's), and, while no other thread has a watch, those started on other threads.
///
/// A leak counts if it was proved in such a run and nobody was told (its options had no on_leak, run did not throw
/// deadlock_error), or if it is provable when take() is called, in a run that still goes on.
class leak_watch {
 public:
  leak_watch();
  leak_watch(const leak_watch&) = delete;
  ~leak_watch();
  /// The reports since its making or the last take(); empty: no leak. On the watch's thread. Linear in goroutines, if
  /// any of its runs still goes on.
  std::string take();

 private:
  std::shared_ptr<watch_state> state_;
};

/// What expect_no_leaks throws where no test framework is known.
class leaks_found : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Makes the running test fail. The default prints the text and throws leaks_found, which any framework takes for a
/// failure; the adapters' handlers let the test go on.
using failure_handler = void (*)(const std::string& text, std::source_location where);
/// Returns the handler before. nullptr: the default. Any thread.
failure_handler set_failure_handler(failure_handler) noexcept;

/// Fails the test if a goroutine is provably leaked, with the whole report.
///
/// In a goroutine: of its own runtime, now. Elsewhere: of the thread's innermost leak_watch, see take(); without one, of
/// all runs of the process that belong to no watch. Proof, not comparison: goroutines that still work are no leaks,
/// so nothing has to be ignored, waited for or tried again.
void expect_no_leaks(std::source_location where = std::source_location::current());

}  // namespace leash::testing
