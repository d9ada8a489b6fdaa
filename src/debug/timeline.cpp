#include "timeline.hpp"

#include <algorithm>

#include "runtime/scheduler.hpp"

namespace leash::debug {

timeline::timeline(trace t) : places(1), trace_(std::move(t)) { entries.reserve(trace_.events.size()); }

bool timeline::step() {
  for (std::size_t n = 0; n < 20'000 && next_ < trace_.events.size(); ++n) take(trace_.events[next_++]);
  if (next_ < trace_.events.size()) return true;
  trace_.events = {};
  // Names, and those to which nothing happened.
  if (looked_at_ >= most_looked_at) return false;
  return frozen::for_some_slots(at_, 4096, [&](goroutine_core* g) { look(g); });
}

void timeline::look(const goroutine_core* g) {
  if (looked_at_ >= most_looked_at) return;
  if (!look_at(g, nullptr, looking_tick(), seen_, 8)) return;
  ++looked_at_;
  auto const known = by_id_.find(seen_.id);
  if (known != by_id_.end()) {
    goroutine& o = goroutines[known->second];
    o.name = seen_.name;
    o.spawned_at = seen_.spawned_at;
    return;
  }
  // Nothing is known of it: it has waited all the time, or came after the recording's end.
  if (!seen_.waiting || std::int64_t{seen_.since} <= (steady_now() - trace_.from) / 1'000'000) return;
  goroutine& o = goroutines[goroutine_of(seen_.id)];
  o.name = seen_.name;
  o.spawned_at = seen_.spawned_at;
  o.first = o.now = state::waiting;
  o.first_reason = seen_.reason;
  if (seen_.depth != 0) o.first_where = seen_.frames[0];
}

std::uint32_t timeline::goroutine_of(std::uint64_t id) {
  auto [it, fresh] = by_id_.try_emplace(id, static_cast<std::uint32_t>(goroutines.size()));
  if (fresh) goroutines.emplace_back().id = id;
  return it->second;
}

std::uint32_t timeline::place_of(const trace_event& e) {
  if (e.worker == trace_event::foreign) return 0;
  for (std::uint32_t i = 1; i < places.size(); ++i)
    if (places[i].runtime == e.worker_of && places[i].worker == e.worker) return i;
  places.push_back({e.worker_of, e.worker});
  return static_cast<std::uint32_t>(places.size() - 1);
}

void timeline::begins(goroutine& g, state s, std::uint32_t place, const trace_event& e) {
  g.first = g.now = s;
  if (s == state::running) {
    g.first_place = g.place = place;
    places[place].running = static_cast<std::uint32_t>(&g - goroutines.data());
    places[place].touched = true;
  }
  if (s == state::waiting) {
    g.first_reason = e.reason;
    g.first_where = e.where;
  }
}

timeline::entry& timeline::add(const trace_event& e, what kind, std::uint32_t g, std::uint32_t place) {
  entry& n = entries.emplace_back();
  n.at = std::max(e.at, entries.size() > 1 ? entries[entries.size() - 2].at : trace_.from);
  n.kind = kind;
  n.goroutine = g;
  n.place = place;
  return n;
}

void timeline::make_stop(const trace_event& e, what kind, std::uint32_t g, wait_reason reason,
                         std::source_location where) {
  goroutine& o = goroutines[g];
  entry& n = add(e, kind, g, o.place);
  n.reason = reason;
  n.where = where;
  places[o.place].running = nowhere;
  o.place = nowhere;
  if (kind == what::block) o.block = static_cast<std::uint32_t>(entries.size() - 1);
  o.now = kind == what::block ? state::waiting : kind == what::yield ? state::runnable : state::dead;
}

void timeline::make_runnable(const trace_event& e, std::uint32_t g) {
  if (goroutines[g].now == state::running) make_stop(e, what::yield, g, wait_reason::none, {});
  if (goroutines[g].now != state::waiting) return;
  add(e, what::unblock, g, 0);
  goroutines[g].now = state::runnable;
}

void timeline::make_run(const trace_event& e, std::uint32_t g, std::uint32_t place) {
  if (places[place].running == g) return;
  // Its record of stopping is missing.
  if (places[place].running != nowhere) make_stop(e, what::block, places[place].running, wait_reason::none, {});
  make_runnable(e, g);
  (void)add(e, what::start, g, place);
  goroutines[g].now = state::running;
  goroutines[g].place = place;
  places[place].running = g;
  places[place].touched = true;
}

std::uint32_t timeline::by_of(const trace_event& e, std::uint32_t place) {
  if (e.by == 0 || place == 0) return nowhere;
  std::uint32_t const g = goroutine_of(e.by);
  if (goroutines[g].now == state::none && !places[place].touched) begins(goroutines[g], state::running, place, e);
  return places[place].running == g ? g : nowhere;
}

void timeline::take_timer(const trace_event& e, std::uint32_t place) {
  if (e.kind == trace_kind::fire) {
    auto const armed = timers_.extract(e.goroutine);
    places[place].fired = armed ? armed.mapped() : 0;
    return;
  }
  timers_[e.goroutine] = ++last_timer_;
  std::uint32_t const by = by_of(e, place);
  entry& n = add(e, what::arm, nowhere, place);
  n.by = by;
  n.where = e.where;
  n.reason = e.reason;
  n.timer = last_timer_;
  n.to_go = e.epoch;
}

void timeline::take(const trace_event& e) {
  std::uint32_t const place = place_of(e);
  if (e.kind == trace_kind::arm || e.kind == trace_kind::fire) return take_timer(e, place);
  std::uint32_t const fired = std::exchange(places[place].fired, 0);
  if (e.kind == trace_kind::cancel) {
    std::uint32_t const by = by_of(e, place);
    entry& n = add(e, what::cancel, nowhere, place);
    n.by = by;
    n.where = e.where;
    n.timer = fired;
    return;
  }
  // Before the goroutine that it happened to: the list may grow.
  bool const by_others = e.kind == trace_kind::create || e.kind == trace_kind::wake || e.kind == trace_kind::leak;
  std::uint32_t const by = by_others ? by_of(e, place) : nowhere;
  std::uint32_t const g = goroutine_of(e.goroutine);
  goroutine& o = goroutines[g];
  if (o.now == state::dead) return;
  auto const heard = [&] {
    o.epoch = e.epoch;
    o.epoch_known = true;
  };
  auto const newer = [&] { return !o.epoch_known || static_cast<std::int32_t>(e.epoch - o.epoch) > 0; };
  switch (e.kind) {
    case trace_kind::create: {
      o.spawned_at = e.where;
      if (o.now != state::none) return;  // it got its place in the scope
      o.now = state::runnable;
      heard();
      entry& n = add(e, what::create, g, place);
      n.by = by;
      n.where = e.where;
      n.timer = fired;
      return;
    }
    case trace_kind::run:
      if (o.now == state::none) begins(o, state::runnable, nowhere, e);
      heard();
      make_run(e, g, place);
      return;
    case trace_kind::wake: {
      if (!newer()) return;  // its run was noted before
      if (o.now == state::none) begins(o, state::waiting, nowhere, e);
      if (o.now == state::running)  // its worker has not noted yet that it parked
        make_stop(e, what::block, g, e.reason, e.where);
      heard();
      if (o.now != state::waiting) return;
      if (o.block != nowhere && entries[o.block].reason == wait_reason::none) {
        entries[o.block].reason = e.reason;
        entries[o.block].where = e.where;
      }
      o.now = state::runnable;
      entry& n = add(e, what::unblock, g, place);
      n.by = by;
      n.reason = e.reason;
      n.where = e.where;
      n.cut = e.cut;
      return;
    }
    case trace_kind::leak:
      if (o.now == state::none) begins(o, state::waiting, nowhere, {});
      if (o.spawned_at.line() == 0) o.spawned_at = e.where;
      if (o.leaked) return;
      o.leaked = true;
      add(e, what::leak, g, place).by = by;
      return;
    case trace_kind::park:
    case trace_kind::yield:
    case trace_kind::end: {
      if (e.kind == trace_kind::park && o.epoch_known && static_cast<std::int32_t>(e.epoch - o.epoch) < 0)
        return;  // it has been put where it belongs, when the wake was seen
      if (o.now == state::none && !places[place].touched) begins(o, state::running, place, e);
      if (o.now == state::none) begins(o, state::runnable, nowhere, e);
      make_run(e, g, place);
      what const kind = e.kind == trace_kind::park    ? what::block
                        : e.kind == trace_kind::yield ? what::yield
                                                      : what::end;
      make_stop(e, kind, g, e.reason, e.where);
      entry& n = entries.back();
      n.callers = e.callers;
      n.caller_count = e.caller_count;
      n.cut = e.cut;
      return;
    }
    case trace_kind::cancel:
    case trace_kind::arm:
    case trace_kind::fire:
      return;
  }
}

}  // namespace leash::debug
