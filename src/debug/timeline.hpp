// A recording, made consistent: what writers of traces need, and readers of traces insist on.
//
// Records of several threads do not always come in the order of what they tell. Who is woken at once may be noted as woken,
// even as running elsewhere, before the worker that parked it notes that; the beginning of a recording finds goroutines
// in any state; records may be missing. Here every goroutine goes from state to state as it should: what was noted late
// is put where it belongs (epochs tell), and what is missing is filled in.
//
// Invariants
//  L1. entries are ordered by time.
//  L2. A goroutine: created or there at first; start from runnable; block, yield and end from running; unblock from
//      waiting.
//  L3. A place (a worker) runs one goroutine at a time, and `by` is the one that it runs, or 0.
#pragma once
#include <leash/trace.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "observe/frozen.hpp"
#include "observe/sighting.hpp"

namespace leash::debug {

class timeline {
 public:
  enum class what : std::uint8_t { create, start, block, yield, unblock, end, cancel, leak, arm };
  enum class state : std::uint8_t { none, runnable, running, waiting, dead };
  static constexpr std::uint32_t nowhere = UINT32_MAX;

  struct entry {
    std::int64_t at = 0;
    std::uint32_t goroutine = nowhere;  // index into goroutines
    std::uint32_t by = nowhere;
    std::uint32_t place = 0;  // index into places
    std::uint32_t callers = 0;
    std::uint32_t timer = 0;  // arm: its number; create, cancel: of the timer that it comes of; 0: of none
    std::uint32_t to_go = 0;  // arm: microseconds
    std::source_location where;
    std::uint8_t caller_count = 0;
    what kind = what::start;
    wait_reason reason = wait_reason::none;
    bool cut = false;
  };
  struct goroutine {
    std::uint64_t id = 0;
    std::source_location spawned_at;  // line 0: not known
    state first = state::none;        // none: it was created in between
    std::uint32_t first_place = nowhere;
    wait_reason first_reason = wait_reason::none;
    std::source_location first_where;
    std::string name;
    // while building
    state now = state::none;
    std::uint32_t place = nowhere, epoch = 0, block = nowhere;  // block: its last entry of that kind
    bool epoch_known = false, leaked = false;
  };
  struct place {
    std::uint64_t runtime = 0;  // serial; 0: threads that are no workers
    std::uint32_t worker = trace_event::foreign;
    std::uint32_t running = nowhere;
    std::uint32_t fired = 0;  // the timer that came last, until something else does
    bool touched = false;
  };

  explicit timeline(trace t);
  /// Works for some milliseconds. False: it is ready.
  bool step();

  std::vector<entry> entries;
  std::vector<goroutine> goroutines;
  std::vector<place> places;  // 0: threads that are no workers
  const std::vector<std::source_location>& callers() const noexcept { return trace_.callers; }
  std::int64_t from() const noexcept { return trace_.from; }
  std::int64_t to() const noexcept { return trace_.to; }
  std::uint64_t overwritten() const noexcept { return trace_.overwritten; }
  std::uint64_t lost() const noexcept { return trace_.lost; }

  /// Goroutines beyond these are shown only if something happened to them, and without their names.
  static constexpr std::size_t most_looked_at = 100'000;

 private:
  void take(const trace_event&);
  void look(const goroutine_core*);
  std::uint32_t goroutine_of(std::uint64_t id);
  std::uint32_t place_of(const trace_event&);
  std::uint32_t by_of(const trace_event&, std::uint32_t place);
  void begins(goroutine&, state, std::uint32_t place, const trace_event&);
  entry& add(const trace_event&, what, std::uint32_t g, std::uint32_t place);
  void make_run(const trace_event&, std::uint32_t g, std::uint32_t place);
  void make_stop(const trace_event&, what, std::uint32_t g, wait_reason, std::source_location);
  void make_runnable(const trace_event&, std::uint32_t g);
  void take_timer(const trace_event&, std::uint32_t place);

  trace trace_;
  std::size_t next_ = 0;
  frozen::slot_cursor at_;
  sighting seen_;
  std::size_t looked_at_ = 0;
  std::unordered_map<std::uint64_t, std::uint32_t> by_id_;
  std::unordered_map<std::uint64_t, std::uint32_t> timers_;  // that are set
  std::uint32_t last_timer_ = 0;
};

}  // namespace leash::debug
