// One pass of the marker, and what came of it.
//
//   scan      every parked goroutine: its waits, and the self-certifying handles in frozen memory        scan.cpp
//   totals    for each object met: how many handles there are in all. total - found > 0: somebody unseen holds one
//   validate  the park words again: what moved since its scan is live, with all it holds
//   mark      from what is live to what that can complete, to the fixpoint; the rest is leaked            mark.cpp
//   knots     who among the leaked waits for whom: core and dependents                                     core.cpp
#pragma once
#include <atomic>
#include <cstdint>
#include <leash/leak.hpp>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "graph.hpp"
#include "picture.hpp"

namespace leash {

inline constexpr std::size_t described_at_once = 10'000;  // leaks of one report

struct leak_pass {
  graph known;
  huge_array<std::uint32_t> dead;                              // nodes that were proved, core first
  huge_array<std::uint32_t> component;                         // by node
  std::size_t core = 0;                                        // how many of `dead` are core
  std::vector<std::pair<std::uint32_t, std::uint32_t>> needs;  // who waits for whom, by position in dead; for few only

  /// only: the runtime to look at, or null for all. confined: also what is not proven from counts alone. in_haste: somebody
  /// waits for it, so a second processor may be used.
  explicit leak_pass(const runtime* only, bool confined = true, bool in_haste = true);
};

/// In haste, so many slabs of goroutines (some 300 each) are read ahead on a thread of their own. Tests lower it.
extern std::atomic<std::size_t> read_ahead_from;
void scan_all(graph&, const runtime* only, bool in_haste);
void mark_all(graph&, bool confined);
void find_knots(leak_pass&);

/// Behind a leak_report.
struct leak_findings {
  leak_pass pass;
  std::once_flag described, identified;
  std::vector<leak> leaks;                 // in the order in which they are told
  std::vector<std::uint32_t> order;        // which of pass.dead each of them is
  std::vector<std::uint32_t> knots;        // of each core, as in `leaks`: the number of its knot
  std::vector<std::uint32_t> knot_begins;  // where in `leaks`, by knot
  leak_picture picture;
  explicit leak_findings(leak_pass&& p) : pass(std::move(p)) {}
  void describe();
  /// Positions in `leaks`: the knot's own; and who waits for it, directly or not, the nearest first (none: there are more
  /// than described_at_once leaks).
  std::vector<std::uint32_t> members_of(std::uint32_t knot);
  std::vector<std::uint32_t> who_waits_for(std::uint32_t knot);
  /// When described.
  std::unordered_map<std::uint32_t, const goroutine_info*> who_is_who() const;
  /// By position in pass.dead. 0: it was cut short, from outside, before anybody asked; its slot may be another
  /// goroutine's.
  const std::vector<std::uint64_t>& ids();

 private:
  std::vector<std::uint64_t> ids_;
};

leak_report make_report(leak_pass&&);
#if LEASH_SENTINEL
/// Notes which frames and blocks nobody can reach any more: a handle there that is used all the same ends the program.
void seal(const leak_pass&);
#endif
leak_report find_leaks_of(const runtime*, bool confined = true, bool in_haste = true);
/// Told of every report that is not empty, whoever asked for it, on the thread that did: to be quick about. Set by the
/// room of the debug endpoints; null: nobody.
extern std::atomic<void (*)(const leak_report&)> leaks_proved;
/// True if a leak that is only confined has waited for less than that.
bool has_young_confined(const leak_report&, nanoseconds) noexcept;
/// Held during a pass, and while what it found is looked at: passes take turns.
std::mutex& pass_lock() noexcept;
/// The first phase of a pass, under pass_lock(): it has a number, and everything is read.
void read_all(graph& known, const runtime* only, bool in_haste);

/// "FILE:LINE".
std::string site(std::source_location);
/// "goroutine 7 (name)".
std::string call_name(const goroutine_info&);
/// As it stands in a report.
void write_leak(std::ostream&, const leak&);
/// Why a parked node that is not leaked may still be completed, and how far from a proof that is: 0 it will end by
/// itself ... 1 nothing but a capability that lies out of sight stands against it.
struct live_reason {
  std::string why;
  double doubt = 0;
};
live_reason why_live(const graph&, std::uint32_t node, bool in_words = true);

/// The core goroutines of a report that a reclaim unwinds; killed by this call. Each holds a ref_watch.
std::vector<goroutine_core*> kill_victims(const leak_report&, const reclaim_options&);
/// Kills all that the report names, for a runtime that can do nothing any more. How many go on, to unwind.
std::size_t kill_all(const leak_report&);

}  // namespace leash
