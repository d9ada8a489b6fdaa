// The classic leaks, planted one by one, and what becomes of each.
#pragma once
#include <cstddef>
#include <leash/leash.hpp>
#include <string>
#include <vector>

namespace demo {

enum class fate { not_writable, harmless, ended, reclaimed, unsolved };

struct planted {
  const char* title;
  const char* written;  // what the programmer did
  fate expected;
  leash::task<> (*body)();
};

/// What was seen of each leak, in the order of the acts; the table at the end is made from it.
struct finding {
  std::string title;
  fate expected, seen;
};
using findings = std::vector<finding>;

/// Leaks that the compiler refuses, or that do no harm.
void unwritable_act(findings& all);

/// Plants each leak in a living program: an observer goroutine finds, shows and reclaims it.
/// full_reports: shows each proof as the library prints it.
leash::task<> leaks_act(findings& all, bool full_reports);

/// The one that is a leak only if nobody at all could cancel it: a program of its own, which heals itself.
/// Blocks; not on a worker.
void lonely_context_act(findings& all, unsigned workers, bool full_reports);

/// Prints the table; true if every leak met its expected fate.
bool print_findings(const findings& all);

}  // namespace demo
