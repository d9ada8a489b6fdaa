// The proof: which goroutines can never be completed, why, and their reclaim.
//
// A pass reads parked goroutines without stopping anybody, in this order: (1) their waits and frames, against the park
// word; (2) the totals that the objects keep; (3) the park words again. A goroutine whose word changed takes no part.
// The rules of soundness are numbered in src/leak/scan.cpp and mark.cpp, and in docs/design/proof.md with the interleavings behind
// them.
#pragma once
#include <cstddef>
#include <iosfwd>
#include <leash/looking.hpp>
#include <leash/spawn.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace leash {

enum class leak_role : std::uint8_t { core, dependent };
/// proven: from counts alone. confined: also that what lives in a frame is reached by reference only from its owner's
/// family.
enum class leak_grade : std::uint8_t { proven, confined };

/// What a verdict takes for granted of how the program uses references, beside what handles count (docs/design/premises.md).
enum class leak_premise : std::uint8_t {
  frames,  // handles in a frame are used by reference only by its goroutine, those it started and their callbacks
  tracked_memory,  // who refers to a part of a tracked value has a handle to it, or borrows from somebody who has
  contexts,        // contexts end by deadlines, sources, and the owners and members of scopes
  confinement,     // as `frames`, of events and conditions, which have no handles
};
const char* name_of(leak_premise) noexcept;

/// A goroutine whose wait nothing the program can still do will complete.
struct leak {
  goroutine_info who;
  leak_role role;  // core: part of a terminal knot; dependent: waits, directly or not, for the core
  leak_grade grade;
  std::string why;                     // what it waits for, who holds what could complete it, and why they cannot
  std::vector<leak_premise> premises;  // those of this verdict itself; whom it waits for has its own
};

struct leak_findings;  // the marker's own

/// What a pass proved: a range of leak. Core first: knots in the order of their smallest goroutine id, within a knot by
/// id; then the dependents by id. Empty: nothing is provably leaked now. A value; stays readable
/// after the run.
///
/// Up to 10,000 leaks are described when they are found; a larger report reads its goroutines when it is first looked
/// into, and knows only the ids of those that have ended by then.
class leak_report {
 public:
  leak_report() = default;
  std::size_t size() const noexcept;
  bool empty() const noexcept { return size() == 0; }
  const leak* begin() const;
  const leak* end() const { return begin() + size(); }
  const leak& operator[](std::size_t i) const { return begin()[i]; }
  /// An object {"leaks": [...]}; the fields of leak and goroutine_info.
  std::string to_json() const;
  /// A graph for Graphviz: who waits for whom.
  std::string to_dot() const;
  /// A picture: self-contained SVG, for light and dark. The knots as rings of goroutines and what they wait for, the
  /// dependents to their left; the first 40 leaks. Who points at a box reads the why.
  std::string to_svg() const;
  /// How many knots there are: groups of core goroutines that only each other could wake.
  std::size_t knots() const;
  /// The picture of one knot, numbered in the order of the report from 0, and of who waits for it, the nearest first; 40 goroutines
  /// at most. For as long as what was proved is still there.  Errors: std::out_of_range.
  std::string to_svg(std::size_t knot) const;

  /// For the library.
  std::shared_ptr<leak_findings> findings;
};
std::ostream& operator<<(std::ostream&, const leak_report&);

/// Runs the detection now, over everything parked in this runtime (from a thread that is no worker: over all runtimes).
///
/// Does not stop the workers. Complexity: linear in goroutines and the handles in their frames; about 0.1 us for each.
/// Thread safety: any thread; passes take turns.
leak_report find_leaks();

leak_report reclaimed(const goroutine_core*);  // for the library

struct reclaim_options {
  bool confined = false;  // also what is only confined
};

/// Awaited, or waited for off the workers, it unwinds what the report proved leaked.
class [[nodiscard]] reclaim_operation : public operation_base {
 public:
  using result_type = std::size_t;
  reclaim_operation(leak_report r, reclaim_options o) : report_(std::move(r)), options_(o) {}
  /// Off the workers: blocks the thread until the victims have ended. The number of them.
  std::size_t wait(std::source_location where = std::source_location::current());
  /// How a goroutine awaits it.
  task<std::size_t> as_task();

 private:
  leak_report report_;
  reclaim_options options_;
};

/// Unwinds proven goroutines, as goroutines on their workers: destructors run, locks are released (and poisoned),
/// scopes they own are cancelled and joined. Waits until they have ended. To its scope and its join a victim looks like
/// one that was cancelled; with scope_options::leaks_fail both throw leaked_error.
///
/// Victims: the core goroutines of the report that have no live descendants, one of each knot (the newest); the root
/// never. One that another reclaim unwinds is that one's. What they free may wake others: look again.
/// Returns: how many ended. Cut short, it unwinds the others all the same, and waits for none.
inline reclaim_operation reclaim(const leak_report& r, const reclaim_options& o = {}) {
  return reclaim_operation(r, o);
}

/// What ended a goroutine that was reclaimed: thrown by its scope and its join if the scope was made with leaks_fail.
class leaked_error : public std::runtime_error {
 public:
  leaked_error(const std::string& what, leak_report r)
      : std::runtime_error(what), report_(std::make_shared<const leak_report>(std::move(r))) {}
  /// The report by which it was reclaimed: it and all that were leaked with it.
  const leak_report& report() const noexcept { return *report_; }

 private:
  std::shared_ptr<const leak_report> report_;
};

/// The report by which the goroutine is being or was reclaimed; empty: it was not (or the whole program was unwound,
/// which deadlock_error tells). Any thread; of an empty handle: empty.
template <class T>
leak_report reclaimed(const goroutine<T>& h) {
  return reclaimed(h.core());
}

}  // namespace leash
