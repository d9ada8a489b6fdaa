// What the endpoints know of the process, and who answers which path. All of it runs on the server's thread.
//
// A look at all goroutines (a census) is shared by all who ask within a short time, and so is a pass of the marker: how
// often they are made is bounded by what they cost, however many requests there are.
#pragma once
#include <chrono>
#include <deque>
#include <functional>
#include <leash/leak.hpp>
#include <memory>
#include <optional>
#include <unordered_map>

#include "gather.hpp"
#include "leaked.hpp"
#include "reply.hpp"

namespace leash::debug {

using steady = std::chrono::steady_clock;

struct census {
  census() : all({.labels = false, .site = true}) {}
  gathering all;
  steady::time_point began = steady::now(), at;
  std::chrono::nanoseconds took{};  // of processing, without what was done in between
  /// Works for some milliseconds. False: done.
  bool step();
};
using census_ptr = std::shared_ptr<const census>;

/// One column of the picture over time.
struct sample {
  std::int64_t unix_ms = 0;
  steady::time_point at;
  std::uint64_t total = 0;
  std::optional<std::size_t> leaked;  // none: nobody had looked lately
  std::vector<std::pair<std::uint8_t, std::uint64_t>> states;
  std::uint64_t timers = 0, pool_threads = 0, pool_busy = 0, pool_queued = 0;  // of all runtimes
};

/// How many goroutines of one spawn site there were.
struct track {
  std::source_location where;
  std::uint64_t now = 0;
  std::uint32_t oldest = 0, newest = 0;  // milliseconds of life
  std::deque<std::uint32_t> counts;      // the last is that of the last sample
  std::size_t none_for = 0;              // samples
};

class viewer {
 public:
  static constexpr std::size_t most_samples = 600, most_tracks = 4096, fitted_samples = 120;

  reply answer(const request&);
  /// Called every second or so. False: a census is under way, call again soon.
  bool tick();

  /// One that is young enough, or null.
  census_ptr known_census() const;
  void take(std::shared_ptr<census>);
  /// Runs a pass unless one is young enough: `longest_age` and many times what it took.
  leaked_ptr leaks(std::chrono::milliseconds longest_age);
  /// The report of the last pass, if it was kept: it holds memory for each goroutine.
  const leak_report* report() const noexcept { return report_ ? &*report_ : nullptr; }
  /// As last known, of whatever age; may be null.
  const leaked_ptr& last_leaks() const noexcept { return leaked_; }

  const std::deque<sample>& history() const noexcept { return history_; }
  const std::unordered_map<std::uint64_t, track>& tracks() const noexcept { return tracks_; }
  /// Goroutines more in a minute, by the line that fits the last samples best.
  double growth_per_minute(const track&) const noexcept;
  std::uint64_t requests = 0, refused = 0;
  std::size_t trace_memory = 0;  // see serve_options

 private:
  std::shared_ptr<const census> census_;
  std::shared_ptr<census> under_way_;
  void count_by_site(const census&);
  steady::time_point next_census_{};
  leaked_ptr leaked_;
  std::optional<leak_report> report_;
  std::deque<sample> history_;
  std::unordered_map<std::uint64_t, track> tracks_;
};

/// Waits for a census, then writes.
std::unique_ptr<source> after_census(viewer&, std::function<void(const census&, std::string& out)>);

// metrics.cpp
reply metrics(viewer&);
// The page's API: a function each, in the source of that name. goroutines.cpp has suspects too, overview.cpp about and
// growth.
reply about();
reply overview(viewer&);
reply growth(viewer&);
reply goroutine_list(viewer&, const request&);
reply suspect_list(viewer&);
reply leak_list(viewer&, const request&);
reply one_knot(viewer&, const request&);
reply flame(viewer&, const request&);
reply scope_tree(viewer&);
// Made from src/debug/page/ when this is built.
extern const std::string_view page_html;

}  // namespace leash::debug
