// Schedules of simulated runs: where choices come from, and how a schedule is written down.
//
// A run is a sequence of *choices*: which goroutine makes the next step, where two or more could; which case a select
// tries first, where two or more seem to be ready. Each choice has a default, so that a run is known by its
// *deviations*: at the at-th choice, the by-th option after the default one.
//
//   choice                                           default                    a deviation is
//   the one that ran last could go on                it                         a preemption
//   it could, but asked for yield(), or the first    the longest in line        a preemption
//     in line was passed over 500 times
//   it waits or has ended                            the longest in line        free
//   among ready cases                                drawn, always the same     free
//
// Invariants
//  X1. The defaults are fair: a run without deviations, and so one with finitely many, ends if the program does.
//  X2. A choice depends on the seed (or deviations) and on the choices before it, on nothing else: no address, no id
//      that another run could move, no clock.
//  X3. Replaying the deviations of a run gives the run.
#pragma once
#include <cstdint>
#include <leash/testing.hpp>
#include <leash/worker.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace leash::testing {

struct deviation {
  std::uint32_t at, by;  // by >= 1
  bool operator==(const deviation&) const = default;
};
using deviations = std::vector<deviation>;

/// "12:1 40:2": at choice 12 the first option after the default, at choice 40 the second.
std::string text_of(const deviations&);
/// Throws std::invalid_argument.
deviations deviations_of(std::string_view text);

/// Seeds whose top byte is all ones spell out deviations, if these are few enough: 4 bits: width of a gap - 1,
/// 3 bits: width of a `by` - 1, then the deviations, from bit 0 on; a `by` of 0 ends them.
std::optional<std::uint64_t> seed_of(const deviations&);
/// Nothing: the seed is to be drawn from.
std::optional<deviations> deviations_of(std::uint64_t seed);

/// What seeds are drawn by: even ones at random, odd ones with priorities.
constexpr bool draws_priorities(std::uint64_t seed) noexcept { return seed % 2 == 1; }
/// Priorities: they change at steps before this one. From 4 to some 3000, in steps of a half.
constexpr std::uint64_t horizon(std::uint64_t seed) noexcept {
  std::uint64_t const n = seed / 2 % 20;
  return (n % 2 == 0 ? 4u : 6u) << n / 2;
}

struct choice {
  std::uint32_t options, by;
  bool preemption;  // a deviation here is one
};

/// The choices of one run.
class simulator {
 public:
  explicit simulator(std::uint64_t seed);
  explicit simulator(deviations);
  simulator(const simulator&) = delete;

  simulation sim;
  // Set before the run:
  bool record_choices = false, record_steps = false;
  std::uint64_t most_steps = UINT64_MAX;  // then the root's context is ended
  // After it:
  std::vector<choice> choices;
  std::vector<step> steps;
  std::uint64_t count = 0;  // of steps
  bool endless = false;

  deviations made() const;

 private:
  enum class policy : std::uint8_t { follow, random, priorities };
  struct known {
    std::uint64_t epoch = 0;  // of its park word when it ran last
    bool yielded = false;
  };
  void connect();
  std::uint64_t draw() noexcept;
  std::size_t next_step(const std::vector<goroutine_core*>&);
  std::size_t pick(const std::vector<goroutine_core*>&);
  std::size_t by_priority(const std::vector<goroutine_core*>&, bool could_go_on, std::size_t last);
  void lower(const std::vector<goroutine_core*>&, std::size_t i);
  std::uint64_t priority(const goroutine_core*) const;
  std::size_t next_case(std::size_t n);
  std::size_t settle(std::size_t usual, std::size_t wanted, std::size_t n, bool preemption);
  std::size_t followed(std::size_t usual, std::size_t n);
  void note(goroutine_core*);

  policy policy_;
  deviations script_;
  std::size_t next_deviation_ = 0;
  std::uint64_t seed_ = 0, state_ = 0;
  std::uint32_t choice_count_ = 0;
  std::uint64_t case_count_ = 0;
  std::uint64_t last_ = 0;                     // the goroutine that ran last
  std::vector<std::uint64_t> priorities_;      // of those that are ready, in their order
  std::size_t before_ = 0;                     // how many others were ready then
  std::uint64_t front_ = 0, passed_over_ = 0;  // who waits longest, and how many choices passed it over
  std::vector<std::uint64_t> changes_;         // steps, ascending
  std::size_t next_change_ = 0;
  std::uint64_t lowest_ = UINT64_MAX / 4;                     // below all priorities that are drawn
  std::unordered_map<std::uint64_t, std::uint64_t> lowered_;  // by id
  std::unordered_map<std::uint64_t, known> known_;            // by id
};

}  // namespace leash::testing
