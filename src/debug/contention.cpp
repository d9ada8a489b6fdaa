// Block and mutex profiles in Go's forms: how often goroutines waited somewhere, and for how long.
//
// The stack is that of who waited, in both: who let it wait, as Go's mutex profile has it, is not known when a lock is
// given back by a destructor.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <leash/trace.hpp>

#include "pprof_table.hpp"
#include "profiles.hpp"
#include "recorded.hpp"
#include "runtime/observing.hpp"

namespace leash::debug {

namespace {

using steady = std::chrono::steady_clock;

constexpr std::int64_t usual_rate = 10'000, least_rate = 1'000;  // ns

bool is_lock(wait_reason r) noexcept {
  return r == wait_reason::mutex_lock || r == wait_reason::rw_lock || r == wait_reason::rw_rlock;
}
/// As in Go: not what waits for time or for the outside.
bool counts(wait_reason r, bool mutexes) noexcept {
  if (mutexes) return is_lock(r);
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

/// What came between two looks.
std::vector<wait_site> difference(std::vector<wait_site> after, const std::vector<wait_site>& before) {
  std::map<std::pair<int, std::vector<std::uint64_t>>, const wait_site*> known;
  auto const key = [](const wait_site& s) {
    std::pair<int, std::vector<std::uint64_t>> k{static_cast<int>(s.reason), {}};
    for (auto l : s.stack) k.second.push_back(std::bit_cast<std::uint64_t>(l));
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

std::string as_protobuf(const std::vector<wait_site>& sites, std::chrono::nanoseconds duration) {
  pprof_table table;
  table.put_sample_type("contentions", "count");
  table.put_sample_type("delay", "nanoseconds");
  table.put_period("contentions", "count", 1);
  table.put_time(std::chrono::system_clock::now() - duration, duration);
  for (auto& s : sites) {
    std::vector<std::uint64_t> ids;
    for (auto l : s.stack) ids.push_back(table.location_of(l));
    constexpr std::string_view beyond = "(in more places than are kept apart)";
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

std::string as_text(std::vector<wait_site> sites, bool mutexes) {
  std::sort(sites.begin(), sites.end(), [](auto& a, auto& b) { return a.nanoseconds > b.nanoseconds; });
  std::string out = mutexes ? "--- mutex:\ncycles/second=1000000000\nsampling period=1\n"
                            : "--- contention:\ncycles/second=1000000000\n";
  std::map<std::uint64_t, std::size_t> numbers;
  for (auto& s : sites) {
    out += std::to_string(whole(s.nanoseconds)) + " " + std::to_string(whole(s.count)) + " @";
    std::string lines;
    for (auto l : s.stack) {
      char at[24];
      std::snprintf(at, sizeof at, "%#zx",
                    numbers.try_emplace(std::bit_cast<std::uint64_t>(l), numbers.size() + 1).first->second);
      out += std::string(" ") + at;
      lines += std::string("#\t") + at + "\t" + plain_function(l.function_name()) + "+0x0\t" + site_of(l) + "\n";
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
    before_ = collecting_->take();
  }
  bool more(std::string& out) override {
    if (steady::now() < until_) return true;
    std::vector<wait_site> sites = difference(waits_so_far(), before_);
    collecting_.reset();
    std::erase_if(sites, [this](auto& s) {
      bool const other = s.stack.empty() ? false : !counts(s.reason, mutexes_);
      return other || whole(s.count) == 0;
    });
    out += text_ ? as_text(std::move(sites), mutexes_) : as_protobuf(sites, steady::now() - from_);
    return false;
  }
  steady::time_point not_before() const override { return until_; }

 private:
  recording_place place_;
  bool mutexes_, text_;
  steady::time_point from_, until_;
  std::optional<wait_profiling> collecting_;
  std::vector<wait_site> before_;
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
  if (debug != "" && debug != "0" && debug != "1") return failure(400, "debug: 0 or 1");
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
