// One pass of the marker. See pass.cpp.
#pragma once
#include <cstdint>
#include <leash/leak.hpp>
#include <leash/scope.hpp>
#include <mutex>
#include <vector>

namespace leash {

struct marked_object {
  object* what = nullptr;
  std::source_location made_at;  // copied: what is not leaked may be gone when the report is written
  // Read once, with the totals: later the slot may be another object's.
  object_type type = object_type::none;
  goroutine_core* owner = nullptr;  // scope: who runs its body; lineage: who started it, if that still runs
  lineage* up = nullptr;
  std::uint32_t found[2] = {0, 0};  // handles in frames of parked goroutines, by class (class_of_capability)
  std::uint32_t first_waiter = 0;   // index + 1 into waits
  std::uint32_t first_holder = 0;   // index + 1 into edges
  std::uint8_t live = 0;            // bit per class: a capability of it may still be used
};

struct held_edge {  // node holds a handle of a class of an object
  std::uint32_t node, object;
  std::uint32_t next_of_object;  // index + 1
  std::uint8_t which;
};

struct wait_edge {  // node waits for capabilities of a class of an object, or (class 2) for another node's end
  std::uint32_t node, object;
  std::uint32_t next_of_object;  // index + 1
  std::uint8_t which;
};

struct marked_node {
  goroutine_core* g;
  std::uint64_t word;
  std::uint32_t first_edge, edges;  // into edges
  std::uint32_t first_wait, waits;  // into waits
  std::uint32_t joiners = 0;        // index + 1 into waits: who waits for its end
  // Read while the word was valid: the slot may be another goroutine's when the mark comes by (rule 5).
  scope_core* home = nullptr;
  lineage *kin = nullptr, *own_kin = nullptr;
  std::uint32_t first_owned = 0, owned = 0;  // into owned: scopes that it runs
  bool live = false, frames_live = false, ancestors_done = false;
};

struct leak_pass {
  std::vector<marked_node> nodes;
  std::vector<marked_object> objects;
  std::vector<held_edge> edges;
  std::vector<wait_edge> waits;
  std::vector<scope_core*> owned;
  std::vector<std::uint32_t> dead;                             // nodes that were proved, core first
  std::vector<std::uint32_t> component;                        // by position in dead
  std::size_t core = 0;                                        // how many of `dead` are core
  std::size_t members = 0;                                     // goroutines seen at all
  std::vector<std::pair<std::uint32_t, std::uint32_t>> needs;  // who waits for whom, by position in dead; for few only

  /// only: the runtime to look at, or null for all.
  void run(const runtime* only);
};

/// Behind a leak_report.
struct leak_findings {
  leak_pass pass;
  std::once_flag described;
  std::vector<leak> leaks;
  std::vector<std::uint64_t> ids;  // by position in pass.dead, as found
  void describe();
};

leak_report make_report(leak_pass&&);
leak_report find_leaks_of(const runtime*);

/// The core goroutines of a report that a reclaim unwinds; killed by this call. Each holds a ref_watch.
std::vector<std::pair<goroutine_core*, std::uint64_t>> kill_victims(const leak_report&);
/// Kills all that the report names, for a runtime that can do nothing any more.
void kill_all(const leak_report&);
/// Marks g as reclaimed and, if it is parked in a wait that can be cut, hands it to a worker to unwind. False: it
/// moved.
bool kill(goroutine_core* g, std::uint64_t word, bool watch) noexcept;

}  // namespace leash
