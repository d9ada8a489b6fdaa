// /debug/leash/api/leaks and knot: what is proved leaked, and the picture of each knot.
//
// Knots whose goroutines wait and were started at the same places are one kind, counted together: a program that leaks makes the
// same knot again and again. A knot is asked for by the id of one of its goroutines, for numbers change as knots come and go.
#include <algorithm>
#include <map>

#include "api.hpp"
#include "leak/paint.hpp"
#include "leak/pass.hpp"
#include "profiles.hpp"

namespace leash::debug {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_in_graph = 200, most_kinds = 50, listed_knots = 200, described_members = 50,
                      described_waiters = 20;

void write_place(json& j, const frame_info& f) {
  j.object()
      .key("function")
      .text(plain_function(f.function))
      .key("file")
      .text(f.file)
      .key("line")
      .number(f.line)
      .end_object();
}

/// All of the report can be told one by one.
bool is_described(const leak_report* r) { return r != nullptr && !r->empty() && r->size() <= described_at_once; }

void write_by_place(json& j, const leaked& l) {
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
}

/// Where goroutines wait and were started, and how many do.
using members = std::map<std::string, std::pair<std::uint64_t, const leak*>>;

members members_of(const leak_report& r, std::uint32_t knot) {
  members all;
  for (std::uint32_t k : r.findings->members_of(knot)) {
    leak const& l = r[k];
    const frame_info* const at = own_frame(l.who);
    std::string key = l.who.wait + '\n' + site_of(l.who.spawned_at) + '\n';
    if (at != nullptr) (key += at->file) += ':' + std::to_string(at->line);
    auto& [count, one] = all[std::move(key)];
    ++count;
    one = &l;
  }
  return all;
}

struct kind {
  members of_each;
  std::vector<std::uint32_t> knots;
  std::uint64_t goroutines = 0;
};

void write_kinds(json& j, const leak_report& r) {
  std::map<std::string, kind> kinds;
  std::size_t const knots = r.knots();
  for (std::uint32_t knot = 0; knot < knots; ++knot) {
    members m = members_of(r, knot);
    std::string key;
    std::uint64_t goroutines = 0;
    for (auto& [place, count] : m) {
      ((key += place) += '\t') += std::to_string(count.first) + '\n';
      goroutines += count.first;
    }
    kind& k = kinds[std::move(key)];
    if (k.knots.empty()) k.of_each = std::move(m);
    k.knots.push_back(knot);
    k.goroutines += goroutines;
  }
  std::vector<const kind*> order;
  for (auto& [key, k] : kinds) order.push_back(&k);
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) {
    return a->goroutines != b->goroutines ? a->goroutines > b->goroutines : a->knots[0] < b->knots[0];
  });
  j.key("knots").number(knots).key("kinds").array();
  for (std::size_t i = 0; i < std::min(order.size(), most_kinds); ++i) {
    kind const& k = *order[i];
    j.object().key("knots").number(k.knots.size()).key("goroutines").number(k.goroutines).key("members").array();
    for (auto& [place, count] : k.of_each) {
      j.object().key("count").number(count.first).key("state").text(count.second->who.wait);
      if (const frame_info* at = own_frame(count.second->who)) write_place(j.key("at"), *at);
      j.key("spawned_at").place(count.second->who.spawned_at).end_object();
    }
    j.end_array().key("ids").array();  // of one goroutine of each knot
    for (std::size_t n = 0; n < std::min(k.knots.size(), listed_knots); ++n)
      j.number(r[r.findings->knot_begins[k.knots[n]]].who.id);
    j.end_array().end_object();
  }
  j.end_array().key("more_kinds").number(order.size() - std::min(order.size(), most_kinds));
}

void write_leak(json& j, const leak_report& r, std::size_t k) {
  leak const& one = r[k];
  j.object();
  write_row(j, one.who);
  j.key("role").text(one.role == leak_role::core ? "core" : "dependent");
  j.key("grade").text(one.grade == leak_grade::proven ? "proven" : "confined");
  j.key("why").text(one.why);
  if (k < r.findings->knots.size()) j.key("knot").number(r.findings->knots[k]);
  j.end_object();
}

}  // namespace

reply leak_list(viewer& v, const request& q) {
  leaked_ptr const l = v.leaks(1s);
  const leak_report* const r = v.report();
  std::size_t const offset = number(q["offset"], 0, deepest_page), limit = number(q["limit"], 50, most_rows);
  return json_at_once([&](json& j) {
    j.object().key("total").number(l->all.size());
    j.key("proven").number(l->proven_core + l->proven_dependent);
    j.key("confined").number(l->confined_core + l->confined_dependent);
    j.key("core").number(l->proven_core + l->confined_core);
    j.key("took_ms").real(std::chrono::duration<double, std::milli>(l->took).count());
    j.key("age_ms").real(std::chrono::duration<double, std::milli>(steady::now() - l->at).count());
    write_by_place(j, *l);
    bool const described = is_described(r);
    j.key("described").boolean(described || l->all.empty());
    if (described) write_kinds(j, *r);
    j.key("leaks").array();
    if (described)
      for (std::size_t i = offset; i < std::min(r->size(), offset + limit); ++i) write_leak(j, *r, i);
    j.end_array().key("offset").number(offset);
    if (described && r->size() <= most_in_graph) j.key("dot").text(r->to_dot());
    j.end_object();
  });
}

reply one_knot(viewer& v, const request& q) {
  std::size_t const id = number(q["id"], 0, SIZE_MAX);
  (void)v.leaks(1s);
  const leak_report* const r = v.report();
  if (!is_described(r)) return failure(404, "no such knot");
  leak_findings& f = *r->findings;
  std::size_t k = 0;
  while (k < f.knots.size() && (*r)[k].who.id != id) ++k;
  if (k == f.knots.size()) return failure(404, "no such knot");
  std::uint32_t const knot = f.knots[k];
  auto const own = f.members_of(knot), waiters = f.who_waits_for(knot);
  return json_at_once([&](json& j) {
    j.object().key("id").number(id).key("members").number(own.size()).key("dependents").number(waiters.size());
    j.key("svg").text(r->to_svg(knot)).key("leaks").array();
    for (std::size_t i = 0; i < std::min(own.size(), described_members); ++i) write_leak(j, *r, own[i]);
    for (std::size_t i = 0; i < std::min(waiters.size(), described_waiters); ++i) write_leak(j, *r, waiters[i]);
    j.end_array().end_object();
  });
}

}  // namespace leash::debug
