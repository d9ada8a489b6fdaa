// The leak corpus: small programs that leak in Go, as users of leash would write them, and what leash makes of each.
//
// A kernel is a coroutine that takes `fixed`: false, it keeps the cause of the bug; true, it is the smallest correct
// program beside it, its twin. A row claims what becomes of the kernel, and registers the tests that show it:
//
//   explored    under many simulated schedules; whatever leaks is proved, named as claimed, reclaimed, and gone
//   twin        under as many: nothing is reported, nothing is left; then at 1, 2 and 4 workers
//   at_workers  the kernel at 1, 2 and 4 workers, watched by a live observer
//   replayed    the kernel as a whole program: explore finds a schedule that leaks, and its seed repeats it
//
// One kernel may have several rows, one for each form in which it can be written. All of it goes into docs/leaks.md:
// run this program with LEASH_LEAKS_TABLE=docs/leaks.md to write that anew.
#pragma once
#include <cstddef>
#include <functional>
#include <leash/leash.hpp>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "support/support.hpp"

namespace leash::test::corpus {

struct unit {};

/// What Go's detector is expected to do with the program.
enum class go_says { always, sometimes, never, not_run };

enum class answer {
  cannot_be_written,  // the compiler or the first use refuses it
  ends,               // the kernel ends by itself
  proved,             // named, proved and reclaimed under a live observer
  program,            // as proved, as a whole program: whoever observes it could end its context, so it would be live
  live                // must never be reported
};

struct claim {
  answer what;
  std::vector<std::string> core, dependent;  // named in every schedule that leaks, and in this role only
  std::vector<std::string> either = {};      // may be named, or not
  leak_grade grade = leak_grade::proven;
  std::string file = {};  // cannot_be_written: of tests/compile, if a compiler refuses it
  bool in_every_schedule = false;
};

inline claim ends_by_itself() { return {answer::ends, {}, {}}; }
inline claim never_reported() { return {answer::live, {}, {}}; }
/// Its first use throws std::logic_error.
inline claim throws_at_once() { return {answer::cannot_be_written, {}, {}}; }
inline claim refused_by_the_compiler(std::string file) {
  claim c{answer::cannot_be_written, {}, {}};
  c.file = std::move(file);
  return c;
}
inline claim proved(std::vector<std::string> core, std::vector<std::string> dependent = {"kernel"},
                    std::vector<std::string> either = {}) {
  return {answer::proved, std::move(core), std::move(dependent), std::move(either)};
}
inline claim confined(std::vector<std::string> core, std::vector<std::string> dependent = {"kernel"},
                      std::vector<std::string> either = {}) {
  return {answer::proved, std::move(core), std::move(dependent), std::move(either), leak_grade::confined};
}
/// Where Go's word is not known.
inline claim in_every_schedule(claim c) {
  c.in_every_schedule = true;
  return c;
}
/// Its root is "kernel" too, but has no name.
inline claim proved_as_program(std::vector<std::string> core, std::vector<std::string> dependent = {}) {
  return {answer::program, std::move(core), std::move(dependent)};
}

struct tally {
  std::size_t explored = 0;
  std::size_t leaking = 0;  // schedules with a report
  std::size_t proved = 0;   // of these: as claimed, and nothing was left
};

using kernel_type = task<> (*)(bool fixed);

struct row {
  std::string set, name, form;
  go_says go;
  claim expected;
  kernel_type kernel;  // null: not in this tree, or not in this language
  std::source_location where;
  tally as_it_was, as_fixed;

  /// Registers the row's tests; for a variable at namespace scope.
  row(std::string set, std::string name, std::string form, go_says go, claim expected, kernel_type kernel,
      std::source_location where = std::source_location::current());
  row(const row&) = delete;

  bool in_every_schedule() const { return go == go_says::always || expected.in_every_schedule; }
  bool leaks() const { return expected.what == answer::proved || expected.what == answer::program; }
};

/// All of them, in the order of the table.
std::vector<const row*> rows();

// ---- what kernels share -------------------------------------------------------------------------------------------
/// Whether a goroutine owns an end that it was started with, or uses the one in the frame of who started it.
enum class end { given, lent };
template <end e, class End>
auto hand(End& x) {
  if constexpr (e == end::given)
    return std::move(x);
  else
    return std::ref(x);
}

template <class Held>
task<> keep_asleep(Held) {
  co_await sleep(std::chrono::hours(1));
}

}  // namespace leash::test::corpus
