// Looking: who is there, in what wait, since when, with the async stack from the wait to the start.
#pragma once
#include <cstdint>
#include <iosfwd>
#include <leash/context.hpp>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leash {

/// One coroutine of an async stack: the function, and the line of the co_await that it is suspended in.
struct frame_info {
  std::string function;
  std::string file;
  unsigned line = 0;
};

struct goroutine_info {
  std::uint64_t id = 0;
  std::string name;         // named(...)
  std::string state;        // running, runnable, waiting
  std::string wait;         // what it waits in, in Go's words where Go has them; empty unless waiting
  clock::time_point since;  // of the wait; a few milliseconds exact
  nanoseconds waited{};     // since then, when it was looked at
  std::source_location spawned_at;
  std::vector<frame_info> stack;                            // innermost first; waiting only
  std::vector<std::pair<std::string, std::string>> labels;  // innermost first
  std::uint64_t parent = 0;                                 // the goroutine that owns its scope; 0: the root
};

/// Goroutines that have not ended: of this runtime on a worker, of all runtimes elsewhere. Any thread. O(workers).
std::size_t num_goroutines();
/// All of them. Does not stop the workers: each goroutine is consistent in itself. Any thread. Linear.
std::vector<goroutine_info> goroutines();
/// Writes all of them in the manner of Go's debug=2 dump, one after the other: bounded memory.
void dump(std::ostream&);
/// True in destructors that run because their goroutine is being unwound (cancelled or reclaimed), where
/// std::uncaught_exceptions() does not tell.
bool unwinding() noexcept;

/// Puts a label on the running goroutine, and on those it starts meanwhile, for as long as it lives. Of a key or value, as of
/// a name, the first 4096 bytes are shown.
class [[nodiscard]] label {
 public:
  label(std::string_view key, std::string_view value, std::source_location where = std::source_location::current());
  label(const label&) = delete;
  label& operator=(const label&) = delete;

 private:
  local_scope set_;
};

/// While it lives, the running goroutine is not chosen as the victim of a reclaim: one that must end in order. It is
/// reported as any other.
class [[nodiscard]] unreclaimable {
 public:
  explicit unreclaimable(std::source_location where = std::source_location::current());
  unreclaimable(const unreclaimable&) = delete;
  unreclaimable& operator=(const unreclaimable&) = delete;

 private:
  local_scope set_;
};
/// For the library: read while g is parked.
bool is_unreclaimable(const goroutine_core* g) noexcept;

}  // namespace leash
