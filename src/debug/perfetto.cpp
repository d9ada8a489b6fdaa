// Perfetto's TrackEvent protobuf, for ui.perfetto.dev.
//
//   process
//     worker N                    what runs there: a slice for each turn
//     goroutine 12 (name) FILE:LINE   its states as slices: runnable, running, or what it waits for
//     goroutines, runnable, running   counters
//
// A goroutine's track does not merge with others of the same name. A flow goes from who wakes ("send", "receive", "wake": an
// instant on its track) to the turn that begins by it. Names and lines are interned, in the packet that first needs them.
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <map>
#include <protozero/pbf_writer.hpp>

#include "observe/text.hpp"
#include "profiles.hpp"
#include "traces.hpp"

namespace leash::debug {

namespace {

namespace field {
using tag = protozero::pbf_tag_type;
constexpr tag packet = 1;                                                                       // Trace
constexpr tag timestamp = 8, sequence = 10, event = 11, interned = 12, flags = 13, clock = 58,  // TracePacket
    descriptor = 60;
constexpr tag uuid = 1, name = 2, process = 3, parent = 5, counter = 8, sibling_merge = 15;    // TrackDescriptor
constexpr tag pid = 1, process_name = 6;                                                       // ProcessDescriptor
constexpr tag unit = 3;                                                                        // CounterDescriptor
constexpr tag annotation = 4, type = 9, name_iid = 10, track = 11, category = 22, value = 30,  // TrackEvent
    location_iid = 34, flow = 47, flow_end = 48;
constexpr tag annotation_name = 10, annotation_text = 6;  // DebugAnnotation
constexpr tag event_names = 2, locations = 4;             // InternedData
constexpr tag iid = 1, text = 2;                          // EventName
constexpr tag file = 2, function = 3, line = 4;           // SourceLocation
}  // namespace field

constexpr std::uint64_t merge_none = 2, unit_count = 2, clock_monotonic = 3, state_cleared = 1, needs_state = 2;
enum event_type : std::uint8_t { slice_begin = 1, slice_end = 2, instant = 3, counter_value = 4 };

class writer final : public trace_source {
 public:
  using trace_source::trace_source;

 private:
  // Tracks: 1 the process, 2.. counters, then places, then goroutines.
  enum counted : std::uint8_t { all, runnable, running, counters };
  static constexpr std::int64_t counter_every = 20'000;  // ns

  static std::uint64_t counter_track(int c) { return 2 + static_cast<std::uint64_t>(c); }
  std::uint64_t place_track(std::uint32_t p) const { return 2 + counters + p; }
  std::uint64_t track_of(std::uint32_t g) const { return 2 + counters + line_.places.size() + g; }

  void begin(std::string& out) override {
    described_.assign(line_.goroutines.size(), false);
    open_.assign(line_.goroutines.size(), false);
    flow_.assign(line_.goroutines.size(), 0);
    {
      protozero::pbf_writer trace(out), packet(trace, field::packet);
      packet.add_uint32(field::sequence, 1);
      packet.add_uint32(field::flags, state_cleared);
      protozero::pbf_writer d(packet, field::descriptor);
      d.add_uint64(field::uuid, 1);
      protozero::pbf_writer p(d, field::process);
      p.add_int32(field::pid, getpid());
      p.add_string(field::process_name, "leash");
    }
    static constexpr const char* names[counters] = {"goroutines", "runnable", "running"};
    for (int c = 0; c < counters; ++c) describe(out, counter_track(c), names[c], true);
    for (std::uint32_t p = 0; p < line_.places.size(); ++p) {
      auto const& o = line_.places[p];
      describe(out, place_track(p),
               p == 0 ? "other threads"
                      : "worker " + std::to_string(o.worker) +
                            (o.runtime > 1 ? " of run " + std::to_string(o.runtime) : std::string()),
               false);
    }
    std::int64_t const t = line_.from();
    for (std::uint32_t g = 0; g < line_.goroutines.size(); ++g) {
      auto const& o = line_.goroutines[g];
      using state = timeline::state;
      if (o.first == state::none) continue;
      ++count_[all];
      if (o.first == state::runnable) runnable_from(out, t, g);
      if (o.first == state::running) running_from(out, t, g, o.first_place);
      if (o.first == state::waiting) waiting_from(out, t, g, o.first_reason, o.first_where);
    }
    put_counters(out, t);
  }

  void put(const timeline::entry& e, std::string& out) override {
    using what = timeline::what;
    std::int64_t const t = e.at;
    std::uint32_t const g = e.goroutine;
    switch (e.kind) {
      case what::create:
        ++count_[all];
        woken(out, e, "go");
        if (e.timer != 0) flow_[g] = flow_of_timer(e.timer);
        runnable_from(out, t, g);
        break;
      case what::unblock:
        close(out, t, g);
        woken(out, e,
              e.cut                                   ? "cancel"
              : e.reason == wait_reason::chan_receive ? "send"
              : e.reason == wait_reason::chan_send    ? "receive"
                                                      : "wake");
        runnable_from(out, t, g);
        break;
      case what::start:
        close(out, t, g);
        --count_[runnable];
        running_from(out, t, g, e.place);
        break;
      case what::yield:
        stop(out, t, g, e.place);
        runnable_from(out, t, g);
        break;
      case what::block:
        stop(out, t, g, e.place);
        waiting_from(out, t, g, e.reason, e.where, &e);
        break;
      case what::end:
        stop(out, t, g, e.place);
        point(out, t, track_of(g), e.cut ? "ended without a result" : "ended", {});
        --count_[all];
        break;
      case what::cancel:
        point(out, e, "context ended", 0, e.timer != 0 ? flow_of_timer(e.timer) : 0);
        break;
      case what::arm:
        timer_flows_.push_back(++flows_);
        point(out, e, e.reason == wait_reason::context_done ? "deadline" : "after_func", flows_, 0, &e);
        break;
      case what::leak:
        describe_goroutine(out, g);
        point(out, t, track_of(g), "proved leaked", e.where);
        break;
    }
    if (t - counted_at_ >= counter_every) put_counters(out, t);
  }

  void end(std::string& out) override {
    std::int64_t const t = line_.to();
    put_counters(out, t);
    for (std::uint32_t g = 0; g < line_.goroutines.size(); ++g) close(out, t, g);
    for (std::uint32_t p = 0; p < line_.places.size(); ++p)
      if (line_.places[p].running != timeline::nowhere) packet(out, t, place_track(p), slice_end, {}, {});
  }

  // --- states

  void runnable_from(std::string& out, std::int64_t t, std::uint32_t g) {
    ++count_[runnable];
    open(out, t, g, "runnable", {});
  }
  void running_from(std::string& out, std::int64_t t, std::uint32_t g, std::uint32_t place) {
    ++count_[running];
    open(out, t, g, "running", {}, nullptr, std::exchange(flow_[g], 0));
    packet(out, t, place_track(place), slice_begin, name_of_goroutine(g), {});
  }
  void waiting_from(std::string& out, std::int64_t t, std::uint32_t g, wait_reason r, std::source_location where,
                    const timeline::entry* e = nullptr) {
    open(out, t, g, r == wait_reason::none ? "waiting" : name_of(r), where, e);
  }
  void stop(std::string& out, std::int64_t t, std::uint32_t g, std::uint32_t place) {
    --count_[running];
    close(out, t, g);
    packet(out, t, place_track(place), slice_end, {}, {});
  }
  /// Who did it shows it on its track, with a flow to the turn that comes of it.
  void woken(std::string& out, const timeline::entry& e, const char* how) {
    if (e.by == timeline::nowhere) return;
    flow_[e.goroutine] = ++flows_;
    packet(out, e.at, track_of(e.by), instant, how, e.where, flows_);
  }
  void point(std::string& out, std::int64_t t, std::uint64_t track, const char* what, std::source_location where) {
    packet(out, t, track, instant, what, where);
  }
  /// On the track of who did it.
  void point(std::string& out, const timeline::entry& e, const char* what, std::uint64_t flow, std::uint64_t flow_end,
             const timeline::entry* tells = nullptr) {
    if (e.by != timeline::nowhere) describe_goroutine(out, e.by);
    packet(out, e.at, e.by != timeline::nowhere ? track_of(e.by) : place_track(e.place), instant, what, e.where, flow,
           flow_end, tells);
  }
  std::uint64_t flow_of_timer(std::uint32_t timer) const { return timer_flows_[timer - 1]; }
  void open(std::string& out, std::int64_t t, std::uint32_t g, std::string_view state, std::source_location where,
            const timeline::entry* e = nullptr, std::uint64_t flow_end = 0) {
    describe_goroutine(out, g);
    open_[g] = true;
    packet(out, t, track_of(g), slice_begin, state, where, 0, flow_end, e);
  }
  void close(std::string& out, std::int64_t t, std::uint32_t g) {
    if (!open_[g]) return;
    open_[g] = false;
    packet(out, t, track_of(g), slice_end, {}, {});
  }

  // --- packets

  std::string name_of_goroutine(std::uint32_t g) const {
    auto const& o = line_.goroutines[g];
    std::string s = "goroutine " + std::to_string(o.id);
    if (!o.name.empty()) s += " (" + o.name + ")";
    if (o.spawned_at.line() != 0) s += " " + site_of(o.spawned_at);
    return valid_utf8(s);
  }
  void describe_goroutine(std::string& out, std::uint32_t g) {
    if (described_[g]) return;
    described_[g] = true;
    describe(out, track_of(g), name_of_goroutine(g), false);
  }
  static void describe(std::string& out, std::uint64_t track, const std::string& name, bool is_counter) {
    protozero::pbf_writer trace(out), packet(trace, field::packet);
    packet.add_uint32(field::sequence, 1);
    protozero::pbf_writer d(packet, field::descriptor);
    d.add_uint64(field::uuid, track);
    d.add_uint64(field::parent, 1);
    d.add_string(field::name, name);
    d.add_uint64(field::sibling_merge, merge_none);
    if (is_counter) {
      protozero::pbf_writer c(d, field::counter);
      c.add_uint64(field::unit, unit_count);
    }
  }
  void put_counters(std::string& out, std::int64_t t) {
    counted_at_ = t;
    for (int c = 0; c < counters; ++c) {
      if (count_[c] == shown_[c] && t != line_.from()) continue;
      shown_[c] = count_[c];
      protozero::pbf_writer trace(out), packet(trace, field::packet);
      head(packet, t);
      protozero::pbf_writer e(packet, field::event);
      e.add_uint64(field::type, counter_value);
      e.add_uint64(field::track, counter_track(c));
      e.add_int64(field::value, count_[c]);
    }
  }
  static void head(protozero::pbf_writer& packet, std::int64_t t) {
    packet.add_uint64(field::timestamp, static_cast<std::uint64_t>(t));
    packet.add_uint64(field::clock, clock_monotonic);
    packet.add_uint32(field::sequence, 1);
    packet.add_uint32(field::flags, needs_state);
  }
  void packet(std::string& out, std::int64_t t, std::uint64_t track, event_type type, std::string_view name,
              std::source_location where, std::uint64_t flow = 0, std::uint64_t flow_end = 0,
              const timeline::entry* tells = nullptr) {
    protozero::pbf_writer trace(out), packet(trace, field::packet);
    head(packet, t);
    std::string fresh;
    std::uint64_t const name_number = name.empty() ? 0 : number_of(name, fresh);
    std::uint64_t const line_number = where.line() == 0 ? 0 : number_of(where, fresh);
    if (!fresh.empty()) packet.add_message(field::interned, fresh);
    protozero::pbf_writer e(packet, field::event);
    e.add_uint64(field::type, type);
    e.add_uint64(field::track, track);
    if (type != slice_end) e.add_string(field::category, "leash");
    if (name_number != 0) e.add_uint64(field::name_iid, name_number);
    if (line_number != 0) e.add_uint64(field::location_iid, line_number);
    if (flow != 0) e.add_fixed64(field::flow, flow);
    if (flow_end != 0) e.add_fixed64(field::flow_end, flow_end);
    if (tells == nullptr) return;
    auto const note = [&](const std::string& key, const std::string& text) {
      protozero::pbf_writer a(e, field::annotation);
      a.add_string(field::annotation_name, key);
      a.add_string(field::annotation_text, valid_utf8(text));
    };
    if (tells->timer != 0) note("due in", time_text(tells->to_go));
    for (std::size_t i = 0; i < tells->caller_count; ++i) {
      std::source_location const l = line_.callers()[tells->callers + i];
      note("called from " + std::to_string(i + 1), plain_function(l.function_name()) + " " + site_of(l));
    }
  }
  std::uint64_t number_of(std::string_view name, std::string& fresh_data) {
    auto [it, fresh] = names_.try_emplace(std::string(name), names_.size() + 1);
    if (fresh) {
      protozero::pbf_writer data(fresh_data), n(data, field::event_names);
      n.add_uint64(field::iid, it->second);
      n.add_string(field::text, it->first);
    }
    return it->second;
  }
  std::uint64_t number_of(std::source_location l, std::string& fresh_data) {
    auto [it, fresh] = lines_.try_emplace(std::bit_cast<std::uint64_t>(l), lines_.size() + 1);
    if (fresh) {
      protozero::pbf_writer data(fresh_data), n(data, field::locations);
      n.add_uint64(field::iid, it->second);
      n.add_string(field::file, valid_utf8(l.file_name()));
      n.add_string(field::function, valid_utf8(plain_function(l.function_name())));
      n.add_uint32(field::line, l.line());
    }
    return it->second;
  }

  std::vector<bool> described_, open_;  // by goroutine
  std::vector<std::uint64_t> flow_;     // by goroutine: that leads to its next turn; 0: none
  std::uint64_t flows_ = 0;
  std::vector<std::uint64_t> timer_flows_;  // by number of the timer, from 1
  std::int64_t count_[counters]{}, shown_[counters]{};
  std::int64_t counted_at_ = INT64_MIN / 2;
  std::map<std::string, std::uint64_t, std::less<>> names_;
  std::map<std::uint64_t, std::uint64_t> lines_;
};

}  // namespace

std::unique_ptr<source> perfetto_trace(trace t) { return std::make_unique<writer>(std::move(t)); }

}  // namespace leash::debug
