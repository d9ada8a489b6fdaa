#include "sites.hpp"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace leash::cli {

std::string_view name_of(nature n) {
  switch (n) {
    case nature::ordinary:
      return "waiting";
    case nature::lock:
      return "lock";
    case nature::join:
      return "join";
    case nature::never:
      return "nil channel";
    case nature::timer:
      return "sleep";
    case nature::io:
      return "I/O";
    case nature::accept:
      return "accept loop";
    case nature::signal:
      return "signal wait";
    case nature::active:
      return "active";
    case nature::main:
      return "main";
    case nature::runtime:
      return "runtime";
  }
  return "";
}

namespace {

/// First elements of the import paths of Go's standard library.
constexpr std::array<std::string_view, 49> standard = {
    "archive", "bufio",    "bytes",   "cmp",    "compress", "container", "context", "crypto",  "database", "debug",
    "embed",   "encoding", "errors",  "expvar", "flag",     "fmt",       "go",      "hash",    "html",     "image",
    "index",   "internal", "io",      "iter",   "log",      "maps",      "math",    "mime",    "net",      "os",
    "path",    "plugin",   "reflect", "regexp", "runtime",  "slices",    "sort",    "strconv", "strings",  "structs",
    "sync",    "syscall",  "testing", "text",   "time",     "unicode",   "unique",  "vendor",  "weak"};

/// The qualified name in a C++ signature: "a::f" of "task<b<c>> a::f(int, d)".
std::string_view cpp_name(std::string_view signature) {
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t i = 0; i < signature.size(); ++i) {
    if (signature[i] == '<') ++depth;
    if (signature[i] == '>') --depth;
    if (depth == 0 && signature[i] == ' ') begin = i + 1;
    if (depth == 0 && signature[i] == '(') return signature.substr(begin, i - begin);
  }
  return {};
}

/// "<...>/leash/<name>.hpp": profiles of leash programs give functions without parameters, so it is the file that tells.
bool is_leash_header(std::string_view file) {
  const std::size_t slash = file.rfind('/');
  if (slash == file.npos || !file.ends_with(".hpp")) return false;
  const std::string_view folder = file.substr(0, slash);
  return folder == "leash" || folder.ends_with("/leash");
}

/// Not the standard library, but only ways to wait: the line of interest is the caller's.
bool is_plumbing(std::string_view function, std::string_view file) {
  return function.starts_with("golang.org/x/sync/") || cpp_name(function).starts_with("leash::") ||
         is_leash_header(file);
}

bool is_wrapper(std::string_view function) {
  for (std::string_view mark : {".gowrap", ".deferwrap"}) {
    const std::size_t at = function.rfind(mark);
    if (at != function.npos && function.find_first_not_of("0123456789", at + mark.size()) == function.npos) return true;
  }
  return false;
}

nature nature_of_state(std::string_view state) {
  if (state.ends_with("(nil chan)")) return nature::never;
  if (state.ends_with(" (durable)")) state.remove_suffix(10);
  struct word {
    std::string_view state;
    nature kind;
  };
  static constexpr word words[] = {{"chan receive", nature::ordinary},
                                   {"chan send", nature::ordinary},
                                   {"select", nature::ordinary},
                                   {"select (no cases)", nature::ordinary},
                                   {"sync.Cond.Wait", nature::ordinary},
                                   {"semacquire", nature::ordinary},
                                   {"sync.Mutex.Lock", nature::lock},
                                   {"sync.RWMutex.Lock", nature::lock},
                                   {"sync.RWMutex.RLock", nature::lock},
                                   {"sync.WaitGroup.Wait", nature::join},
                                   {"scope join", nature::join},
                                   {"goroutine join", nature::join},
                                   {"IO wait", nature::io},
                                   {"sleep", nature::timer},
                                   {"ticker", nature::timer},
                                   {"running", nature::active},
                                   {"runnable", nature::active},
                                   {"syscall", nature::active},
                                   {"blocking", nature::active},
                                   {"preempted", nature::active},
                                   {"copystack", nature::active},
                                   {"dead", nature::active},
                                   {"coroutine", nature::active},
                                   {"idle", nature::runtime},
                                   {"finalizer wait", nature::runtime},
                                   {"cleanup wait", nature::runtime},
                                   {"force gc (idle)", nature::runtime},
                                   {"GOMAXPROCS updater (idle)", nature::runtime}};
  for (const word& w : words) {
    if (w.state == state) return w.kind;
  }
  if (state.starts_with("GC ") || state.starts_with("garbage collection")) return nature::runtime;
  return nature::ordinary;
}

}  // namespace

std::string_view package_of(std::string_view function) {
  // Generic arguments and receivers come after the first dot behind the last slash of the path; paths end before those.
  const std::size_t stop = std::min({function.find('('), function.find('['), function.size()});
  const std::size_t slash = function.substr(0, stop).rfind('/');
  const std::size_t dot = function.find('.', slash == function.npos ? 0 : slash);
  return function.substr(0, dot);
}

bool is_standard(std::string_view function, std::string_view file) {
  const std::string_view package = package_of(function);
  const std::string_view first = package.substr(0, package.find('/'));
  if (std::ranges::find(standard, first) == standard.end()) return false;
  if (file.empty() || !file.starts_with('/') || first == "vendor")
    return true;  // built with -trimpath: "net/http/server.go"
  // A module of the user's may be called so too: then its files do not lie under .../src/<package>/. The runtime implements
  // functions of other packages.
  const std::size_t at = file.rfind(package);
  return (at != file.npos && file.substr(0, at).ends_with("/src/")) || file.find("/src/runtime/") != file.npos;
}

stack_sight look_at(id stack_number, id state_id, const symbols& s) {
  const std::span<const id> frames = s.frames(stack_number);
  const stack& st = s.stack_of(stack_number);
  const std::string_view state = s.text(state_id);
  stack_sight out{{}, nature_of_state(state)};
  out.key.creator = st.creator;

  // The root: what `go` started, without what Go puts around it.
  std::size_t end = frames.size();
  bool first_goroutine = false;
  while (end > 0) {
    const std::string_view f = s.function(frames[end - 1]);
    if (f == "runtime.main") first_goroutine = true;
    if (f != "runtime.goexit" && f != "runtime.main" && !is_wrapper(f)) break;
    --end;
  }
  bool all_runtime = true, accepts = false, signals = false;
  std::size_t wait = end, leaf = end;
  for (std::size_t i = 0; i < end; ++i) {
    const std::string_view f = s.function(frames[i]);
    const bool of_runtime =
        f.starts_with("runtime.") || f.starts_with("runtime/") || f.starts_with("internal/runtime/");
    if (!of_runtime) {
      all_runtime = false;
      if (leaf == end && !f.starts_with("internal/") && !f.starts_with("sync.")) leaf = i;
    }
    if (f.starts_with("os/signal.")) signals = true;
    if (f.ends_with(".Accept") || f.ends_with(".accept")) accepts = accepts || is_standard(f, s.file(frames[i]));
    if (wait == end && !is_plumbing(f, s.file(frames[i])) && !is_standard(f, s.file(frames[i]))) wait = i;
  }
  if (wait == end) wait = leaf;  // only the standard library's: its own line is shown
  if (wait == end && end > 0) wait = 0;
  if (wait < end) out.key.wait = frames[wait];
  if (end > 0) {
    out.key.entry = s.frame_of(frames[end - 1]).function;
    if (st.creator == none && s.text(out.key.entry) == "main.main") first_goroutine = true;
  }
  // What is visible only from the whole stack.
  if (signals) {
    out.kind = nature::signal;
  } else if (end == 0 || all_runtime) {
    if (!first_goroutine && out.kind != nature::never) out.kind = nature::runtime;
  } else if (first_goroutine) {
    out.kind = out.kind == nature::active ? nature::active : nature::main;
  } else if (out.kind == nature::io && accepts) {
    out.kind = nature::accept;
  }
  return out;
}

std::vector<site> sites_of(const profile& p, const symbols& s, bool creators) {
  struct vote {
    std::map<id, std::uint64_t> states, creators, stacks;
    std::map<nature, std::uint64_t> kinds;
  };
  std::vector<site> sites;
  std::vector<vote> votes;
  numbering by_key;
  for (std::uint32_t i = 0; i < p.groups.size(); ++i) {
    const group& g = p.groups[i];
    stack_sight seen = look_at(g.stack, g.state, s);
    const id creator = seen.key.creator;
    if (!creators) seen.key.creator = none;
    const std::uint64_t hash = mix(mix(seen.key.wait, seen.key.entry), seen.key.creator);
    const id n =
        by_key.find_or_add(hash, static_cast<id>(sites.size()), [&](id k) { return sites[k].key == seen.key; });
    if (n == sites.size()) {
      sites.push_back({});
      votes.push_back({});
      sites[n].key = seen.key;
    }
    site& at = sites[n];
    at.count += g.count;
    if (g.leaked) at.leaked += g.count;
    at.timed += g.timed;
    at.longest = std::max(at.longest, g.longest);
    at.groups.push_back(i);
    votes[n].states[g.state] += g.count;
    votes[n].creators[creator] += g.count;
    votes[n].stacks[g.stack] += g.count;
    votes[n].kinds[seen.kind] += g.count;
  }
  auto winner = [](const auto& counts) {
    return std::ranges::max_element(counts, {}, [](const auto& pair) { return pair.second; })->first;
  };
  for (std::size_t n = 0; n < sites.size(); ++n) {
    sites[n].state = winner(votes[n].states);
    sites[n].creator = winner(votes[n].creators);
    sites[n].stack = winner(votes[n].stacks);
    sites[n].kind = winner(votes[n].kinds);
  }
  std::ranges::sort(
      sites, [](const site& a, const site& b) { return a.count != b.count ? a.count > b.count : a.key < b.key; });
  return sites;
}

}  // namespace leash::cli
