// Suspects: what may leak, but cannot be proved to; ranked, and never called proven.
#pragma once
#include <leash/leak.hpp>
#include <string>
#include <vector>

namespace leash {

/// A goroutine that looks as if it leaked.
struct suspect {
  goroutine_info who;
  std::string why;   // what is suspicious, and why it could not be proved: what to change so that it can
  double score = 0;  // 0 hardly ... 1 most
};

/// Goroutines of this runtime (from a thread that is no worker: of all runtimes) that for longer than
/// options::stuck_after
///   - are blocked, though not provably leaked: with what stands against a proof,
///   - have not reached a wait: they compute, spin on operations that are always ready, or are not given a worker,
///   - live on after their context has ended, or wait in a blocking call,
///   - hold up a scope as its last member;
/// and members of a spawn site whose goroutines grow in number, the oldest first.
///
/// Returns: the most suspicious first, at most 1000. Waits that end by themselves (a sleep, a ticker, a deadline) count
/// for growth only. Leaked goroutines (find_leaks) are none of them.
/// Complexity: as find_leaks, and a few microseconds for each suspect. Thread safety: any thread.
std::vector<suspect> suspects();

}  // namespace leash
