// From profiles of one process to a ranked list: what is proved, what is suspected, and why. docs/design/cli.md has the rules.
//
// Only the process itself can prove a leak (Go's goroutineleak profile, leash). All else here is judged from outside, by
// growth first, then by count and age; sites that are known to wait idly are ranked down, and each says why.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sites.hpp"

namespace leash::cli {

/// What was seen of one process, oldest first.
struct observation {
  std::string target;
  std::vector<profile> snapshots;
  std::optional<profile> proof;  // its goroutineleak profile, taken before the last snapshot
  std::string why_no_proof;
  std::vector<std::string> notes;  // what the user should know of how it was taken
};

enum class grade { proven, suspect, watch, idle };
std::string_view name_of(grade g);

struct finding {
  site_key key;
  grade verdict = grade::idle;
  double score = 0;
  nature kind = nature::ordinary;
  id state = none, creator = none, stack = none;
  std::uint64_t count = 0;   // in the last snapshot; of a proven one: those proved
  std::uint64_t leaked = 0;  // of these, proved
  std::uint32_t longest = 0;
  std::vector<std::uint64_t> counts;  // in every snapshot
  bool grows = false;                 // by the rules, though perhaps as load does
  double growth_per_minute = 0;       // 0 where no time is known
  std::vector<std::string> why;
  std::string hint;
  std::vector<std::pair<std::string, std::uint64_t>> labels;  // of most of its goroutines
};

struct analysis {
  std::string target;
  std::string error;              // not empty: it could not be looked at
  std::vector<finding> findings;  // ranked, all sites
  std::uint64_t total = 0;
  bool asked_for_proof = false, proof_was_given = false;
  double minutes = 0;  // from the first to the last snapshot
  std::size_t snapshots = 0;
  std::string why_no_proof;
  std::vector<std::string> notes;

  std::size_t count_of(grade g) const;
};

/// `ignore`: places whose stack, or creator, names such a function or file are never suspects.
analysis analyse(const observation& o, const symbols& s, const std::vector<std::string>& ignore = {});

/// Counts of four looks or more that rise, and do not fall back: growth, not load.
bool rises_steadily(const std::vector<std::uint64_t>& counts);

std::string duration_text(double seconds);
/// "1,234,567"
std::string grouped(std::uint64_t n);
/// "1,234 goroutines"
std::string plural(std::uint64_t n, const std::string& one, const std::string& many = {});

}  // namespace leash::cli
