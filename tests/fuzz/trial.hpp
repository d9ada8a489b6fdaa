// One plan against the truth: find_leaks() at random moments and at rest, each verdict compared with all that the plan
// could still do; then everything is reclaimed.
#pragma once
#include <map>

#include "interpreter.hpp"
#include "reference.hpp"
#include "rules.hpp"

namespace leash::test::fuzz {

enum class failure : std::uint8_t {
  none,
  false_alarm,    // reported, and some continuation completes its wait
  missed,         // leaked by the rules, and not reported
  unsound_rules,  // leaked by the rules, and some continuation completes its wait
  divergence,     // the library and the model disagree about a step
  stray,          // unwound, but not reported
  left_behind,    // goroutines after the end
};
const char* name_of(failure);

/// Goroutines that are leaked in truth, and those of them that were reported.
struct recall {
  std::size_t leaked = 0, found = 0;
};
struct tally {
  std::size_t plans = 0, gave_up = 0, states = 0, runs = 0, looks = 0, looks_at_rest = 0, reclaimed = 0;
  recall at_rest, running;                                    // running: while others still run
  std::map<std::string, recall> by_wait;                      // at rest
  std::map<std::string, std::size_t> missed, missed_running;  // by what hides them
  std::size_t after_cut = 0;  // reported; only the cancelling of another leaked one frees it
};

struct outcome {
  failure what = failure::none;
  std::string about;
};

struct settings {
  std::size_t limit = 30'000;  // states
  unsigned schedules = 2;      // of each plan
  flaw detector = flaw::none;  // which instead of find_leaks() is compared with the truth; none: find_leaks()
};

/// Explores the plan, then runs it under several schedules from `seed` on.
outcome try_plan(const plan&, std::uint64_t seed, const settings&, tally&);

/// The smallest plan found from this one, by taking out goroutines and steps, that fails in the same way.
plan shrink(plan, std::uint64_t seed, const settings&, failure what);

}  // namespace leash::test::fuzz
