// leash_demo: real concurrent work on a real tree, then the classic leaks, and what becomes of them.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <leash/leash.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "interrupt.hpp"
#include "leaks.hpp"
#include "page.hpp"
#include "pipeline.hpp"
#include "service.hpp"
#include "term.hpp"

namespace demo {
namespace {

constexpr int misused = 2;
constexpr unsigned most_workers = 1024;

constexpr std::string_view usage =
    R"(usage: demo [OPTIONS] [DIR]

Counts the words of all files below DIR with a pipeline of goroutines, then plants
the classic leaks one by one and shows how each is dealt with, then runs a service
with a database, a queue and clients for a moment. On a terminal it then serves a page
on which a program that works and leaks can be watched, until ^C.
DIR: /usr/share/doc, /usr/include or /usr/share/common-licenses, whichever is there.

  --workers N      scheduler threads (default: as many as there are processors)
  --pipeline-only  only the count
  --leaks-only     only the leaks
  --page           the page too when this is no terminal
  --once           the page for one round only: all ends by itself
  --full           each proof as the library prints it, with stacks
  --no-color       plain text on a terminal too (so does NO_COLOR in the environment)
  -h, --help       this text

^C ends it cleanly at any moment (exit code 130); a second one at once.
Exit codes: 0 all went as expected, 1 it did not, 2 wrong usage.
)";

struct settings {
  std::string root;
  unsigned workers = std::max(1u, std::thread::hardware_concurrency());
  bool pipeline = true, leaks = true, page = false, once = false, full_reports = false, colour = true;
};

int complain(const std::string& text) {
  std::fprintf(stderr, "demo: %s\nTry 'demo --help'.\n", printable(text).c_str());
  return misused;
}

bool is_open_directory(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode) && ::access(path.c_str(), R_OK | X_OK) == 0;
}

/// Nothing, or the exit code after a message.
std::optional<int> choose_root(settings& s) {
  if (s.root.empty()) {
    for (const char* path : {"/usr/share/doc", "/usr/include", "/usr/share/common-licenses"}) {
      if (!is_open_directory(path)) continue;
      s.root = path;
      return std::nullopt;
    }
    return complain("none of the default trees is here: name a DIR");
  }
  struct stat st;
  if (::stat(s.root.c_str(), &st) != 0) return complain(s.root + ": " + std::strerror(errno));
  if (!S_ISDIR(st.st_mode)) return complain(s.root + ": not a directory");
  if (::access(s.root.c_str(), R_OK | X_OK) != 0) return complain(s.root + ": " + std::strerror(errno));
  return std::nullopt;
}

std::optional<int> read_workers(settings& s, std::string_view text) {
  unsigned n = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc{} || end != text.data() + text.size() || n == 0 || n > most_workers)
    return complain("--workers takes a number from 1 to " + std::to_string(most_workers) + ", not '" +
                    std::string(text) + "'");
  s.workers = n;
  return std::nullopt;
}

/// Nothing, or the exit code when there is no more to do.
std::optional<int> read_arguments(settings& s, int argc, char** argv) {
  bool options = true, only_pipeline = false, only_leaks = false, has_root = false;
  for (int i = 1; i < argc; ++i) {
    std::string_view arg = argv[i];
    if (options && arg == "--") {
      options = false;
    } else if (!options || !arg.starts_with('-') || arg == "-") {
      if (has_root) return complain("one DIR at a time: '" + s.root + "' and '" + std::string(arg) + "'");
      if (arg.empty()) return complain("the DIR is an empty word");
      s.root = arg;
      has_root = true;
    } else if (arg == "-h" || arg == "--help") {
      std::fputs(usage.data(), stdout);
      return 0;
    } else if (arg == "--workers") {
      if (i + 1 == argc) return complain("--workers takes a number");
      if (auto code = read_workers(s, argv[++i])) return code;
    } else if (arg.starts_with("--workers=")) {
      if (auto code = read_workers(s, arg.substr(arg.find('=') + 1))) return code;
    } else if (arg == "--no-color") {
      s.colour = false;
    } else if (arg == "--page") {
      s.page = true;
    } else if (arg == "--once") {
      s.once = true;
    } else if (arg == "--full") {
      s.full_reports = true;
    } else if (arg == "--pipeline-only") {
      only_pipeline = true;
    } else if (arg == "--leaks-only") {
      only_leaks = true;
    } else {
      return complain("no such option: " + std::string(arg));
    }
  }
  if (only_pipeline && only_leaks) return complain("--pipeline-only and --leaks-only exclude each other");
  if (s.page && !has_page())
    return complain(
        "there is no page: built without leash::debug (Debian: libboost1.81-dev libprotozero-dev zlib1g-dev)");
  if (only_leaks && has_root) return complain("--leaks-only reads no DIR");
  s.pipeline = !only_leaks;
  s.leaks = !only_pipeline;
  return s.pipeline ? choose_root(s) : std::nullopt;
}

void set_up_terminal(const settings& s) {
  const char* kind = std::getenv("TERM");
  const char* no_colour = std::getenv("NO_COLOR");
  term.live = ::isatty(STDOUT_FILENO) && kind && std::string_view(kind) != "dumb";
  term.colours = term.live && s.colour && !(no_colour && *no_colour);
}

leash::task<> acts(const settings& s, findings& found, const std::atomic<bool>& stop) {
  if (s.pipeline) co_await pipeline_act(s.root, s.workers, stop);
  if (!s.leaks) co_return;
  unwritable_act(found);
  co_await leaks_act(found, s.full_reports);
}

int play(const settings& s) {
  interrupt ctrl_c;
  findings found;
  if (s.pipeline && s.leaks)
    say("leash on " + std::to_string(s.workers) + (s.workers == 1 ? " worker" : " workers") +
        ": real work first, then the classic leaks. ^C ends it cleanly at any moment.");
  bool good = true;
  leash::options o;
  o.workers = s.workers;
  leash::run(
      o, [&]() -> leash::task<> { (void)co_await leash::with_cancel(ctrl_c.source, acts(s, found, ctrl_c.stopped)); });
  if (s.leaks && !ctrl_c.signal()) lonely_context_act(found, s.workers, s.full_reports);
  if (s.leaks && !ctrl_c.signal()) good = print_findings(found);
  if (has_service() && s.pipeline && s.leaks && !ctrl_c.signal()) good = service_act(s.workers, ctrl_c) && good;
  bool const page = has_page() && (s.page || s.once || (term.live && s.leaks && s.pipeline));
  if (page && !ctrl_c.signal()) good = page_act(s.workers, s.once, ctrl_c) && good;

  std::size_t left = leash::num_goroutines();
  std::string count = std::to_string(left) + (left == 1 ? " goroutine left" : " goroutines left");
  if (int signal = ctrl_c.signal()) {
    say("\n" + yellow("interrupted") + ": ended within " + fixed(ctrl_c.since().count() * 1e3, 0) + " ms");
    say(count);
    return 128 + signal;
  }
  say("\n" + (left == 0 ? green(count) : red(count)));
  return good && left == 0 ? 0 : 1;
}

}  // namespace
}  // namespace demo

int main(int argc, char** argv) {
  demo::settings s;
  if (auto code = demo::read_arguments(s, argc, argv)) return *code;
  demo::set_up_terminal(s);
  try {
    return demo::play(s);
  } catch (const leash::deadlock_error& stuck) {
    std::fprintf(stderr, "demo: %s\n", stuck.what());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "demo: %s\n", e.what());
  }
  return 1;
}
