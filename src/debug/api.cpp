// /debug/leash/api/*: what the page shows, as JSON. Lists are paged (offset, limit) and counted here, so that the page is as quick
// with a million goroutines as with ten.
#include <algorithm>
#include <charconv>
#include <leash/suspects.hpp>
#include <map>

#include "json.hpp"
#include "leak/pass.hpp"
#include "observe/looking.hpp"
#include "profiles.hpp"
#include "viewer.hpp"

namespace leash::debug {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_rows = 500, deepest_page = 10'000, most_sites = 100, most_scopes = 100'000;
constexpr std::size_t most_in_graph = 200;

std::size_t number(std::string_view s, std::size_t otherwise, std::size_t most) {
  std::size_t n = 0;
  if (s.empty() || std::from_chars(s.data(), s.data() + s.size(), n).ec != std::errc{}) return otherwise;
  return std::min(n, most);
}

reply as_json(std::unique_ptr<source> s) {
  reply r;
  r.type = "application/json";
  r.stream = std::move(s);
  return r;
}
template <class F>
reply json_at_once(F f) {
  reply r;
  r.type = "application/json";
  json j(r.body);
  f(j);
  return r;
}

void write_labels(json& j, const std::vector<std::pair<std::string, std::string>>& labels, std::size_t n) {
  j.key("labels").object();
  for (std::size_t i = 0; i < n; ++i) {
    bool const hidden = std::any_of(labels.begin(), labels.begin() + static_cast<std::ptrdiff_t>(i),
                                    [&](auto& l) { return l.first == labels[i].first; });
    if (!hidden) j.key(labels[i].first).text(labels[i].second);
  }
  j.end_object();
}

void write_row(json& j, const sighting& s, bool leaked) {
  j.object().key("id").number(s.id).key("name").text(s.name).key("state").text(s.state());
  j.key("waiting").boolean(s.waiting).key("since_ms").number(s.since).key("age_ms").number(s.born);
  j.key("parent").number(s.parent).key("leaked").boolean(leaked).key("spawned_at").place(s.spawned_at);
  write_labels(j, s.labels, s.label_count);
  j.key("stack").array();
  for (std::size_t i = 0; i < s.depth; ++i) j.place(s.frames[i]);
  j.end_array().end_object();
}
void write_row(json& j, const goroutine_info& g) {
  j.key("id").number(g.id).key("name").text(g.name).key("state").text(g.wait.empty() ? g.state : g.wait);
  j.key("since_ms").number(static_cast<std::uint64_t>(std::max<std::int64_t>(0, g.waited.count() / 1'000'000)));
  j.key("parent").number(g.parent).key("spawned_at").place(g.spawned_at);
  write_labels(j, g.labels, g.labels.size());
  j.key("stack").array();
  for (auto& f : g.stack) {
    j.object().key("function").text(plain_function(f.function)).key("file").text(f.file).key("line").number(f.line);
    j.end_object();
  }
  j.end_array();
}

// ---- goroutines ------------------------------------------------------------------------------------------------------

/// All given conditions must hold.
struct filter {
  std::string state, text, site, label_key, label_value, id;
  bool any_value = true, leaked_only = false;
  std::uint64_t least_age = 0;  // milliseconds: of the wait, of life for those that do not wait

  explicit filter(const request& q)
      : state(q["state"]), text(q["q"]), site(q["site"]), leaked_only(q["leaked"] == "1") {
    id = q["id"];
    std::string_view const label = q["label"];
    std::size_t const equals = label.find('=');
    label_key = label.substr(0, equals);
    any_value = equals == label.npos;
    if (!any_value) label_value = label.substr(equals + 1);
    least_age = number(q["min_age"], 0, 1'000'000'000) * 1000;
  }
  static bool has(std::string_view s, std::string_view part) { return s.find(part) != s.npos; }
  static bool at(std::source_location l, std::string_view wanted) {
    char line[16];
    std::snprintf(line, sizeof line, ":%u", static_cast<unsigned>(l.line()));
    return has(std::string(l.file_name()) + line, wanted);
  }
  bool holds(const sighting& s) const {
    if (!state.empty() && s.state() != state && !(state == "waiting" && s.waiting)) return false;
    if ((s.waiting ? s.since : s.born) < least_age) return false;
    if (!id.empty() && std::to_string(s.id) != id) return false;
    if (!site.empty() && !at(s.spawned_at, site)) {
      auto const end = s.frames + std::min(s.depth, site_depth);
      if (std::none_of(s.frames, end, [&](auto f) { return at(f, site); })) return false;
    }
    auto const labels_end = s.labels.begin() + static_cast<std::ptrdiff_t>(s.label_count);
    if (!label_key.empty()) {
      bool found = label_key == name_label && !s.name.empty() && (any_value || s.name == label_value);
      found |= std::any_of(s.labels.begin(), labels_end,
                           [&](auto& l) { return l.first == label_key && (any_value || l.second == label_value); });
      if (!found) return false;
    }
    return text.empty() || mentions(s);
  }
  bool mentions(const sighting& s) const {
    if (has(s.name, text) || has(s.state(), text) || at(s.spawned_at, text) || has(std::to_string(s.id), text) ||
        has(s.spawned_at.function_name(), text))
      return true;
    for (std::size_t i = 0; i < s.label_count; ++i)
      if (has(s.labels[i].first + "=" + s.labels[i].second, text)) return true;
    for (std::size_t i = 0; i < s.depth; ++i)
      if (has(s.frames[i].function_name(), text) || at(s.frames[i], text)) return true;
    return false;
  }
};

class rows final : public source {
 public:
  rows(viewer& v, const request& q)
      : filter_(q),
        offset_(number(q["offset"], 0, deepest_page)),
        limit_(number(q["limit"], 50, most_rows)),
        tick_(looking_tick()),
        leaked_(filter_.leaked_only ? v.leaks(1s) : v.last_leaks()) {}

  bool more(std::string& out) override {
    bool const all = !frozen::for_some_slots(at_, 4096, [&](goroutine_core* g) { look(g); });
    if (!all) return true;
    std::sort_heap(first_.begin(), first_.end());
    json j(out);
    j.object().key("total").number(looked_at_).key("matching").number(matching_).key("offset").number(offset_);
    j.key("limit").number(limit_).key("goroutines").array();
    for (std::size_t i = offset_; i < first_.size(); ++i)
      if (look_at(first_[i].g, nullptr, tick_, seen_) && seen_.id == first_[i].id)
        write_row(j, seen_, is_leaked(first_[i].g));
    j.end_array().end_object();
    return false;
  }

 private:
  struct entry {  // less: comes first: the longest wait, then the older goroutine
    std::uint32_t since;
    std::uint64_t id;
    const goroutine_core* g;
    bool operator<(const entry& o) const noexcept { return since != o.since ? since > o.since : id < o.id; }
  };
  bool is_leaked(const goroutine_core* g) const { return leaked_ != nullptr && leaked_->holds(g, seen_.word); }
  void look(const goroutine_core* g) {
    if (!look_at(g, nullptr, tick_, seen_)) return;
    ++looked_at_;
    if (!filter_.holds(seen_) || (filter_.leaked_only && !is_leaked(g))) return;
    ++matching_;
    entry const e{seen_.since, seen_.id, g};
    if (offset_ + limit_ == 0) return;
    if (first_.size() == offset_ + limit_) {  // a heap, the last of those kept on top
      if (!(e < first_.front())) return;
      std::pop_heap(first_.begin(), first_.end());
      first_.pop_back();
    }
    first_.push_back(e);
    std::push_heap(first_.begin(), first_.end());
  }

  filter filter_;
  std::size_t offset_, limit_;
  std::uint32_t tick_;
  leaked_ptr leaked_;
  frozen::slot_cursor at_;
  sighting seen_;
  std::uint64_t looked_at_ = 0, matching_ = 0;
  std::vector<entry> first_;
};

// ---- scopes ----------------------------------------------------------------------------------------------------------

class scopes final : public source {
 public:
  explicit scopes(const request& q)
      : offset_(number(q["offset"], 0, deepest_page)),
        limit_(number(q["limit"], 50, most_rows)),
        tick_(looking_tick()) {}

  bool more(std::string& out) override {
    bool const all = !frozen::for_some_slots(at_, 8192, [&](goroutine_core* g) { look(g); });
    if (!all) return true;
    std::vector<const scope_row*> order;
    for (auto& [scope, row] : rows_) order.push_back(&row);
    std::sort(order.begin(), order.end(), [](auto* a, auto* b) {
      return a->members != b->members ? a->members > b->members : a->oldest > b->oldest;
    });
    json j(out);
    j.object().key("total").number(rows_.size()).key("left_out").number(left_out_).key("offset").number(offset_);
    j.key("scopes").array();
    for (std::size_t i = offset_; i < std::min(order.size(), offset_ + limit_); ++i) {
      scope_row const& r = *order[i];
      j.object().key("owner").number(r.owner).key("members").number(r.members).key("waiting").number(r.waiting);
      j.key("oldest_ms").number(r.oldest).key("made_at").place(r.made_at).end_object();
    }
    j.end_array().end_object();
    return false;
  }

 private:
  struct scope_row {
    std::uint64_t owner = 0, members = 0, waiting = 0;
    std::uint32_t oldest = 0;
    std::source_location made_at;
  };
  void look(const goroutine_core* g) {
    if (!look_at(g, nullptr, tick_, seen_, 0)) return;
    auto it = rows_.find(seen_.scope);
    if (it == rows_.end()) {
      if (rows_.size() == most_scopes) {
        ++left_out_;
        return;
      }
      it = rows_.try_emplace(seen_.scope).first;
      it->second.owner = seen_.parent;
      it->second.made_at = seen_.scope_made_at;
    }
    scope_row& r = it->second;
    ++r.members;
    r.waiting += seen_.waiting;
    r.oldest = std::max(r.oldest, seen_.born);
  }

  std::size_t offset_, limit_;
  std::uint32_t tick_;
  frozen::slot_cursor at_;
  sighting seen_;
  std::uint64_t left_out_ = 0;  // goroutines
  std::unordered_map<const void*, scope_row> rows_;
};

// ---- leaks -----------------------------------------------------------------------------------------------------------

/// To which knot each leak of a described report belongs, counted in the order of the report; none for the dependents.
std::vector<std::uint32_t> knots_of(const leak_report& r) {
  leak_findings const& f = *r.findings;
  std::vector<std::uint32_t> of;
  std::unordered_map<std::uint32_t, std::uint32_t> numbers;
  for (std::size_t k = 0; k < r.size() && r[k].role == leak_role::core; ++k) {
    std::uint32_t const component = f.pass.component[f.pass.dead[f.order[k]]];
    of.push_back(numbers.try_emplace(component, static_cast<std::uint32_t>(numbers.size())).first->second);
  }
  return of;
}

void write_leaks(json& j, const leaked& l, const leak_report* r, std::size_t offset, std::size_t limit) {
  j.object().key("total").number(l.all.size());
  j.key("proven").number(l.proven_core + l.proven_dependent);
  j.key("confined").number(l.confined_core + l.confined_dependent);
  j.key("core").number(l.proven_core + l.confined_core);
  j.key("took_ms").real(std::chrono::duration<double, std::milli>(l.took).count());
  j.key("age_ms").real(std::chrono::duration<double, std::milli>(steady::now() - l.at).count());

  // By place, for all of them, however many.
  gathering by_place({.labels = false, .site = true});
  for (auto& one : l.all) by_place.look(one.g, one.word);
  auto groups = by_place.groups();
  std::sort(groups.begin(), groups.end(), [](auto& a, auto& b) { return a.count > b.count; });
  j.key("sites").array();
  for (std::size_t i = 0; i < std::min(groups.size(), most_sites); ++i) {
    auto& g = groups[i];
    j.object().key("count").number(g.count).key("state").text(gathering::state_name(g.state));
    j.key("longest_ms").number(g.longest);
    if (!g.beyond) j.key("at").place(g.depth != 0 ? by_place.frame(g, 0) : by_place.spawned_at(g));
    if (!g.beyond) j.key("spawned_at").place(by_place.spawned_at(g));
    j.end_object();
  }
  j.end_array();

  bool const described = r != nullptr && !r->empty() && r->size() <= described_at_once;
  j.key("described").boolean(described || l.all.empty());
  j.key("leaks").array();
  if (described) {
    auto const knots = knots_of(*r);
    for (std::size_t i = offset; i < std::min(r->size(), offset + limit); ++i) {
      leak const& one = (*r)[i];
      j.object();
      write_row(j, one.who);
      j.key("role").text(one.role == leak_role::core ? "core" : "dependent");
      j.key("grade").text(one.grade == leak_grade::proven ? "proven" : "confined");
      j.key("why").text(one.why);
      if (i < knots.size()) j.key("knot").number(knots[i]);
      j.end_object();
    }
  }
  j.end_array().key("offset").number(offset);
  // The first of them, however many there are; for Graphviz all, where that is still a graph to look at.
  if (described) j.key("svg").text(r->to_svg());
  if (described && r->size() <= most_in_graph) j.key("dot").text(r->to_dot());
  j.end_object();
}

}  // namespace

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

    j.key("history").object().key("at").array();
    for (auto& s : v.history()) j.number(static_cast<std::uint64_t>(s.unix_ms));
    j.end_array().key("leaked").array();
    for (auto& s : v.history()) j.number(s.leaked);
    j.end_array().key("states").object();
    std::map<std::uint8_t, bool> seen;
    for (auto& s : v.history())
      for (auto& [state, count] : s.states) seen[state] = true;
    for (auto& [state, yes] : seen) {
      j.key(gathering::state_name(state)).array();
      for (auto& s : v.history()) {
        auto it = std::find_if(s.states.begin(), s.states.end(), [&](auto& p) { return p.first == state; });
        j.number(it == s.states.end() ? 0 : it->second);
      }
      j.end_array();
    }
    j.end_object().end_object();

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

reply goroutine_list(viewer& v, const request& q) { return as_json(std::make_unique<rows>(v, q)); }
reply scope_list(viewer&, const request& q) { return as_json(std::make_unique<scopes>(q)); }

reply leak_list(viewer& v, const request& q) {
  leaked_ptr const l = v.leaks(1s);
  return json_at_once([&](json& j) {
    write_leaks(j, *l, v.report(), number(q["offset"], 0, deepest_page), number(q["limit"], 50, most_rows));
  });
}

reply suspect_list(viewer&) {
  auto const all = suspects();
  return json_at_once([&](json& j) {
    j.object().key("total").number(all.size()).key("suspects").array();
    for (auto& s : all) {
      if (&s - all.data() == 200) break;
      j.object();
      write_row(j, s.who);
      j.key("why").text(s.why).key("score").real(s.score).end_object();
    }
    j.end_array().end_object();
  });
}

reply growth(viewer& v) {
  return as_json(after_census(v, [&v](const census&, std::string& out) {
    std::vector<std::pair<double, const track*>> order;
    for (auto& [where, t] : v.tracks()) order.emplace_back(t.growth_per_minute(), &t);
    std::sort(order.begin(), order.end(),
              [](auto& a, auto& b) { return a.first != b.first ? a.first > b.first : a.second->now > b.second->now; });
    if (order.size() > 200) order.resize(200);
    json j(out);
    j.object().key("total").number(v.tracks().size()).key("sites").array();
    for (auto& [per_minute, t] : order) {
      j.object().key("spawned_at").place(t->where).key("count").number(t->now).key("per_minute").real(per_minute);
      j.key("oldest_ms").number(t->oldest).key("newest_ms").number(t->now == 0 ? 0 : t->newest);
      j.key("counts").array();
      for (auto& [at, count] : t->counts) j.number(count);
      j.end_array().end_object();
    }
    j.end_array().end_object();
  }));
}

}  // namespace leash::debug
