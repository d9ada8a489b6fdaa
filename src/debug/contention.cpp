// Block and mutex profiles in Go's forms: how often goroutines waited somewhere, and for how long; and, of locks and permits,
// who let them wait.
//
// The stack in a mutex profile is that of who gave the lock back. A guard's destructor knows no line, but its code was called from
// somewhere: debug information tells the line of it. In the coroutine that holds the guard, that is the line to show, instead of
// that of its last await; in a function that the coroutine called, it is one frame more.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <leash/trace.hpp>

#include "native_symbols.hpp"
#include "observe/looking.hpp"
#include "pprof_table.hpp"
#include "profiles.hpp"
#include "recorded.hpp"
#include "runtime/observing.hpp"

namespace leash::debug {

namespace {

using steady = std::chrono::steady_clock;

constexpr std::int64_t usual_rate = 10'000, least_rate = 1'000;  // ns

/// As in Go: not what waits for time or for the outside.
bool counts(wait_reason r) noexcept {
  switch (r) {
    case wait_reason::none:
    case wait_reason::sleep:
    case wait_reason::ticker:
    case wait_reason::io:
    case wait_reason::blocking:
    case wait_reason::foreign:
    case wait_reason::start:
      return false;
    default:
      return true;
  }
}

std::uint64_t address_of(const void* p) noexcept { return reinterpret_cast<std::uintptr_t>(p); }

/// What came between two looks.
std::vector<wait_site> difference(std::vector<wait_site> after, const std::vector<wait_site>& before) {
  std::map<std::vector<std::uint64_t>, const wait_site*> known;
  auto const key = [](const wait_site& s) {
    std::vector<std::uint64_t> k{static_cast<std::uint64_t>(s.reason), address_of(s.released_at)};
    for (auto l : s.stack) k.push_back(std::bit_cast<std::uint64_t>(l));
    return k;
  };
  for (auto& s : before) known.emplace(key(s), &s);
  for (auto& s : after)
    if (auto it = known.find(key(s)); it != known.end()) {
      s.count -= it->second->count;
      s.nanoseconds -= it->second->nanoseconds;
    }
  return after;
}

std::int64_t whole(double d) noexcept { return static_cast<std::int64_t>(std::llround(std::max(d, 0.0))); }

struct shown_frame {
  std::string name, whole, file;
  std::uint32_t line = 0;
  explicit shown_frame(std::source_location l)
      : name(plain_function(l.function_name())), whole(l.function_name()), file(l.file_name()), line(l.line()) {}
  explicit shown_frame(native_symbols::found f)
      : name(std::move(f.name)), whole(std::move(f.whole)), file(std::move(f.line.file)), line(f.line.line) {}
};

/// Of the call from which what was waited for was given back.
std::uint64_t call_before(const void* return_address) noexcept { return address_of(return_address) - 1; }

std::string_view name_in(std::string_view path) noexcept { return path.substr(path.rfind('/') + 1); }

/// Innermost first.
std::vector<shown_frame> frames_of(const wait_site& s, native_symbols& symbols) {
  std::vector<shown_frame> all(s.stack.begin(), s.stack.end());
  if (s.released_at == nullptr) return all;
  native_symbols::found by = symbols.at(call_before(s.released_at));
  // GCC cannot be told that what is inlined belongs to the caller's line: a line of the library says nothing.
  if (is_library_file(by.line.file)) by.line = {};
  if (s.coroutine != nullptr && symbols.at(address_of(s.coroutine)).whole == by.whole) {
    if (by.line.line == 0) return all;
    // The path that the compiler was told to show stays.
    if (name_in(all.front().file) != name_in(by.line.file)) all.front().file = std::move(by.line.file);
    all.front().line = by.line.line;
  } else {
    all.emplace(all.begin(), std::move(by));
  }
  return all;
}

constexpr std::string_view beyond = "(in more places than are kept apart)";

std::string as_protobuf(const std::vector<wait_site>& sites, native_symbols& symbols,
                        std::chrono::nanoseconds duration) {
  pprof_table table;
  table.put_sample_type("contentions", "count");
  table.put_sample_type("delay", "nanoseconds");
  table.put_period("contentions", "count", 1);
  table.put_time(std::chrono::system_clock::now() - duration, duration);
  for (auto& s : sites) {
    std::vector<std::uint64_t> ids;
    for (auto& f : frames_of(s, symbols)) ids.push_back(table.location_of(f.name, f.whole, f.file, f.line));
    if (ids.empty()) ids.push_back(table.location_of(beyond, beyond, "", 0));
    table.begin_sample();
    table.put_locations(ids);
    table.put_values({whole(s.count), whole(s.nanoseconds)});
    if (s.reason != wait_reason::none) table.put_label("state", name_of(s.reason));
    table.end_sample();
  }
  std::string out;
  table.pass_on(out, true);
  return out;
}

std::string as_text(std::vector<wait_site> sites, native_symbols& symbols, bool mutexes) {
  std::sort(sites.begin(), sites.end(), [](auto& a, auto& b) { return a.nanoseconds > b.nanoseconds; });
  std::string out = mutexes ? "--- mutex:\ncycles/second=1000000000\nsampling period=1\n"
                            : "--- contention:\ncycles/second=1000000000\n";
  std::map<std::string, std::size_t> numbers;
  for (auto& s : sites) {
    out += std::to_string(whole(s.nanoseconds)) + " " + std::to_string(whole(s.count)) + " @";
    std::string lines;
    for (auto& f : frames_of(s, symbols)) {
      std::string const text = f.name + "+0x0\t" + f.file + ":" + std::to_string(f.line);
      char at[24];
      std::snprintf(at, sizeof at, "%#zx", numbers.try_emplace(text, numbers.size() + 1).first->second);
      out += std::string(" ") + at;
      lines += std::string("#\t") + at + "\t" + text + "\n";
    }
    out += "\n" + lines + "\n";
  }
  return out;
}

class contention_source final : public source {
 public:
  contention_source(recording_place place, bool mutexes, bool text, std::optional<double> seconds, nanoseconds rate)
      : place_(std::move(place)),
        mutexes_(mutexes),
        text_(text),
        from_(steady::now()),
        until_(seconds ? from_ + as_time(*seconds) : from_) {
    if (!seconds) return;
    collecting_.emplace(rate);
    before_ = so_far();
  }
  bool more(std::string& out) override {
    if (!sites_) {
      if (steady::now() < until_) return true;
      took_ = steady::now() - from_;
      sites_ = difference(so_far(), before_);
      collecting_.reset();
      std::erase_if(*sites_, [](auto& s) {
        bool const other = s.reason != wait_reason::none && !counts(s.reason);
        return other || whole(s.count) == 0;
      });
      for (auto& s : *sites_)
        if (s.released_at != nullptr) symbols_.want_line(call_before(s.released_at));
      return true;
    }
    if (symbols_.find_lines()) return true;
    out += text_ ? as_text(*std::move(sites_), symbols_, mutexes_) : as_protobuf(*sites_, symbols_, took_);
    return false;
  }
  steady::time_point not_before() const override { return until_; }

 private:
  std::vector<wait_site> so_far() const { return mutexes_ ? holders_so_far() : waits_so_far(); }

  recording_place place_;
  bool mutexes_, text_;
  steady::time_point from_, until_;
  std::optional<wait_profiling> collecting_;
  std::vector<wait_site> before_;
  std::optional<std::vector<wait_site>> sites_;  // once it is over
  steady::duration took_{};
  native_symbols symbols_;
};

}  // namespace

reply contention_profile(const request& q, bool mutexes) {
  std::optional<double> seconds;
  if (!q["seconds"].empty()) {
    seconds = seconds_of(q, "seconds", 0, longest_profile);
    if (!seconds) return refuse_seconds(longest_profile);
  }
  std::int64_t rate = usual_rate;
  if (std::string_view const s = q["rate"]; !s.empty()) {
    auto const [end, error] = std::from_chars(s.data(), s.data() + s.size(), rate);
    if (error != std::errc() || end != s.data() + s.size() || rate < least_rate || rate > 1'000'000'000)
      return failure(400, "rate: nanoseconds, from 1000 to 1000000000");
  }
  std::string_view const debug = q["debug"];
  if (!debug.empty() && debug != "0" && debug != "1") return failure(400, "debug: 0 or 1");
  recording_place place;
  if (!place) return too_many_recordings();
  reply r;
  if (debug != "1") {
    r.type = "application/octet-stream";
    r.headers.emplace_back("Content-Disposition",
                           std::string("attachment; filename=\"") + (mutexes ? "mutex" : "block") + "\"");
  }
  r.stream = std::make_unique<contention_source>(std::move(place), mutexes, debug == "1", seconds, nanoseconds(rate));
  return r;
}

}  // namespace leash::debug
