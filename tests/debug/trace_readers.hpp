// Readers of the two forms of traces, as strict as a test wants: what does not fit together throws.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace leash::test {

// --- Perfetto

struct perfetto_event {
  std::int64_t at = 0;
  std::uint64_t track = 0;
  int type = 0;  // 1 a slice begins, 2 ends, 3 instant, 4 counter
  std::string name, file;
  std::uint32_t line = 0;
  std::vector<std::uint64_t> flows, flows_end;
  std::int64_t value = 0;
  std::map<std::string, std::string> notes;
};
struct perfetto_track {
  std::string name;
  std::uint64_t parent = 0, merge = 0, unit = 0;
  bool counter = false, process = false;
  std::vector<perfetto_event> events;
};
struct perfetto_read {
  std::map<std::uint64_t, perfetto_track> tracks;
  std::size_t flows = 0;  // that begin somewhere and end somewhere else
  const perfetto_track* named(std::string_view part) const {
    for (auto& [id, t] : tracks)
      if (t.name.find(part) != t.name.npos) return &t;
    return nullptr;
  }
};
/// Throws std::exception where it is damaged: tracks that are not described, slices that end without a begin or in another
/// order, time that runs back, interned numbers and flows from nowhere.
perfetto_read read_perfetto(const std::string& bytes);

// --- Go's version 1

struct go_event {
  std::uint8_t kind = 0;
  std::int64_t at = 0;
  std::uint64_t place = 0, goroutine = 0;  // goroutine: that ran there
  std::vector<std::uint64_t> arguments;    // without the time
  std::vector<std::string> stack;          // "function file:line"
  bool has_stack = false;
  std::string text;  // of a log
};
struct go_read {
  std::vector<go_event> events;  // in the order of what happened
  std::set<std::uint64_t> goroutines, places;
  std::map<std::uint64_t, std::string> started_at;  // goroutine: its first frame
  std::size_t count(std::uint8_t kind) const {
    std::size_t n = 0;
    for (auto& e : events) n += e.kind == kind;
    return n;
  }
};
/// Throws std::exception where Go's reader would refuse it: broken varints and lengths, events that no order makes consistent,
/// time that runs back, a place that runs two goroutines, texts and stacks that are not defined.
go_read read_go_trace(const std::string& bytes);

}  // namespace leash::test
