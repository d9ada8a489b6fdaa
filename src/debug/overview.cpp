// /debug/leash/api/about: which program this is; overview and growth: how many goroutines, over time, by state and by the line that started them.
#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "api.hpp"
#include "runtimes.hpp"

namespace leash::debug {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t charted_sites = 9;

template <class F>
void write_series(json& j, const viewer& v, std::string_view name, F f) {
  j.key(name).array();
  for (auto& s : v.history()) j.number(static_cast<std::uint64_t>(f(s)));
  j.end_array();
}

void write_history(json& j, const viewer& v) {
  j.key("history").object();
  write_series(j, v, "at", [](auto& s) { return s.unix_ms; });
  write_series(j, v, "total", [](auto& s) { return s.total; });
  j.key("leaked").array();
  for (auto& s : v.history()) {
    if (s.leaked) {
      j.number(*s.leaked);
    } else {
      j.null();
    }
  }
  j.end_array();
  write_series(j, v, "timers", [](auto& s) { return s.timers; });
  write_series(j, v, "pool_threads", [](auto& s) { return s.pool_threads; });
  write_series(j, v, "pool_busy", [](auto& s) { return s.pool_busy; });
  write_series(j, v, "pool_queued", [](auto& s) { return s.pool_queued; });
  std::map<std::uint8_t, bool> seen;
  for (auto& s : v.history())
    for (auto& [state, count] : s.states) seen[state] = true;
  j.key("states").object();
  for (auto& [state, yes] : seen) {
    write_series(j, v, gathering::state_name(state), [&, wanted = state](auto& s) {
      auto it = std::find_if(s.states.begin(), s.states.end(), [&](auto& p) { return p.first == wanted; });
      return it == s.states.end() ? 0 : it->second;
    });
  }
  j.end_object();

  // The sites that had most, all in all; the page shows what is missing to the total as others.
  std::vector<std::pair<std::uint64_t, const track*>> order;
  for (auto& [where, t] : v.tracks()) {
    std::uint64_t sum = 0;
    for (std::uint32_t n : t.counts) sum += n;
    order.emplace_back(sum, &t);
  }
  std::size_t const n = std::min(order.size(), charted_sites);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n), order.end(),
                    [](auto& a, auto& b) { return a.first > b.first; });
  j.key("sites").array();
  for (std::size_t i = 0; i < n; ++i) {
    track const& t = *order[i].second;
    j.object().key("spawned_at").place(t.where).key("counts").array();
    for (std::size_t k = t.counts.size(); k < v.history().size(); ++k) j.number(0);
    for (std::uint32_t count : t.counts) j.number(count);
    j.end_array().end_object();
  }
  j.end_array().end_object();
}

void write_runtimes(json& j) {
  j.key("runtimes").array();
  for (auto& r : look_at_runtimes()) {
    j.object().key("serial").number(r.serial).key("goroutines").number(r.live);
    j.key("spawned").number(r.spawned).key("ended").number(r.ended).key("workers").number(r.workers);
    j.key("sleeping").number(r.sleeping).key("looking").number(r.looking).key("timers").number(r.timers);
    j.key("pool_threads").number(r.blocking.threads).key("pool_busy").number(r.blocking.threads - r.blocking.idle);
    j.key("pool_queued").number(r.blocking.waiting).key("in_flight").number(r.in_flight).end_object();
  }
  j.end_array();
}

}  // namespace

reply about() {
  char host[256] = "";
  (void)::gethostname(host, sizeof host - 1);
  return json_at_once([&](json& j) {
    j.object().key("program").text(program_invocation_short_name).key("host").text(host);
    j.key("pid").number(static_cast<std::uint64_t>(::getpid())).end_object();
  });
}

reply overview(viewer& v) {
  return as_json(after_census(v, [&v](const census& c, std::string& out) {
    json j(out);
    auto const& all = c.all;
    j.object().key("goroutines").number(all.total());
    leaked_ptr const l = v.leaks(2s);
    j.key("leaked").object().key("proven").number(l->proven_core + l->proven_dependent);
    j.key("confined").number(l->confined_core + l->confined_dependent).end_object();
    std::map<std::string_view, std::pair<std::uint64_t, std::uint32_t>> states;
    for (auto& g : all.groups()) {
      auto& [count, longest] = states[gathering::state_name(g.state)];
      count += g.count;
      longest = std::max(longest, g.longest);
    }
    j.key("states").array();
    for (auto& [name, s] : states)
      j.object().key("state").text(name).key("count").number(s.first).key("longest_ms").number(s.second).end_object();
    j.end_array();

    write_history(j, v);
    write_runtimes(j);

    auto groups = all.groups();
    std::sort(groups.begin(), groups.end(), [](auto& a, auto& b) { return a.count > b.count; });
    j.key("sites").array();
    for (std::size_t i = 0; i < std::min(groups.size(), most_sites); ++i) {
      auto& g = groups[i];
      if (g.beyond) continue;
      j.object().key("count").number(g.count).key("state").text(gathering::state_name(g.state));
      j.key("longest_ms").number(g.longest);
      j.key("at").place(g.depth != 0 ? all.frame(g, 0) : all.spawned_at(g));
      j.key("spawned_at").place(all.spawned_at(g)).end_object();
    }
    j.end_array().key("more_sites").number(groups.size() - std::min(groups.size(), most_sites)).end_object();
  }));
}

reply growth(viewer& v) {
  return as_json(after_census(v, [&v](const census&, std::string& out) {
    std::vector<std::pair<double, const track*>> order;
    for (auto& [where, t] : v.tracks()) order.emplace_back(v.growth_per_minute(t), &t);
    std::sort(order.begin(), order.end(),
              [](auto& a, auto& b) { return a.first != b.first ? a.first > b.first : a.second->now > b.second->now; });
    if (order.size() > 200) order.resize(200);
    json j(out);
    j.object().key("total").number(v.tracks().size()).key("sites").array();
    for (auto& [per_minute, t] : order) {
      j.object().key("spawned_at").place(t->where).key("count").number(t->now).key("per_minute").real(per_minute);
      j.key("oldest_ms").number(t->oldest).key("newest_ms").number(t->now == 0 ? 0 : t->newest);
      j.key("counts").array();
      for (std::size_t i = t->counts.size() - std::min(t->counts.size(), v.fitted_samples); i < t->counts.size(); ++i)
        j.number(t->counts[i]);
      j.end_array().end_object();
    }
    j.end_array().end_object();
  }));
}

}  // namespace leash::debug
