// Which line of the user's waits, and for what: stacks become sites. A site is where goroutines wait (the leaf-most line that
// is not the standard library's) together with what they were started as, and where if the format tells.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "profile.hpp"

namespace leash::cli {

/// What kind of goroutines wait there, as far as the stack alone tells.
enum class nature {
  ordinary,  // waits for other goroutines: these are the ones that leak
  lock,      // waits for a mutex
  join,      // waits for goroutines to end: wait groups, scopes
  never,     // a nil channel: nothing can end this
  timer,     // sleeps: it wakes by itself
  io,        // waits for the network or a file
  accept,    // waits for connections
  signal,    // waits for signals
  active,    // runs, may run, or is in a system call
  main,      // the program's first goroutine
  runtime,   // Go's own
};
std::string_view name_of(nature n);

bool is_standard(std::string_view function, std::string_view file);
std::string_view package_of(std::string_view function);

struct site_key {
  id wait = none;     // a frame
  id entry = none;    // a text: the function the goroutine was started with
  id creator = none;  // a frame; none where not all profiles tell
  auto operator<=>(const site_key&) const = default;
};

struct site {
  site_key key;
  id state = none;    // of most of its goroutines
  id creator = none;  // of most of them
  id stack = none;    // of most of them
  nature kind = nature::ordinary;
  std::uint64_t count = 0;
  std::uint64_t leaked = 0;
  std::uint64_t timed = 0;    // of these, with a known wait
  std::uint32_t longest = 0;  // seconds
  std::vector<std::uint32_t> groups;
};

/// Sites of one profile, the largest first. `creators`: whether they separate sites.
std::vector<site> sites_of(const profile& p, const symbols& s, bool creators);

struct stack_sight {
  site_key key;
  nature kind;
};
/// What one stack shows. `state` as in group.
stack_sight look_at(id stack, id state, const symbols& s);

}  // namespace leash::cli
