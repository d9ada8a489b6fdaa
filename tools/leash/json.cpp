// JSON of what the commands find. The shape is documented in docs/cli.md and kept: members are added, not changed.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "output.hpp"

namespace leash::cli {

namespace {

using json = nlohmann::ordered_json;

std::string text(const json& j) { return j.dump(2, ' ', false, json::error_handler_t::replace); }

json frame_json(id f, const symbols& s) {
  if (f == none) return nullptr;
  return {{"function", s.function(f)}, {"file", s.file(f)}, {"line", s.frame_of(f).line}};
}

json stack_json(id stack, const symbols& s) {
  json all = json::array();
  if (stack == none) return all;
  for (id f : s.frames(stack)) all.push_back(frame_json(f, s));
  return all;
}

json state_json(id state, const symbols& s) { return state == none ? json(nullptr) : json(s.text(state)); }

json finding_json(const finding& f, const symbols& s) {
  json labels = json::array();
  for (const auto& [l, n] : f.labels) labels.push_back({{"labels", l}, {"count", n}});
  return {{"grade", name_of(f.verdict)},
          {"score", f.score},
          {"count", f.count},
          {"state", state_json(f.state, s)},
          {"kind", name_of(f.kind)},
          {"wait", frame_json(f.key.wait, s)},
          {"entry", f.key.entry == none ? json(nullptr) : json(s.text(f.key.entry))},
          {"created_by", frame_json(f.creator, s)},
          {"longest_seconds", f.longest},
          {"counts", f.counts},
          {"grows", f.grows},
          {"growth_per_minute", f.growth_per_minute},
          {"why", f.why},
          {"hint", f.hint},
          {"labels", labels},
          {"stack", stack_json(f.stack, s)}};
}

}  // namespace

std::string to_json(const std::vector<analysis>& all, const symbols& s, const show_options& o) {
  json targets = json::array();
  std::size_t proven = 0, suspected = 0;
  for (const analysis& a : all) {
    json findings = json::array();
    for (const finding& f : a.findings) {
      if (o.all || f.verdict <= grade::suspect) findings.push_back(finding_json(f, s));
    }
    proven += a.count_of(grade::proven);
    suspected += a.count_of(grade::suspect);
    targets.push_back({{"target", a.target},
                       {"error", a.error},
                       {"goroutines", a.total},
                       {"snapshots", a.snapshots},
                       {"minutes", a.minutes},
                       {"proof", {{"given", a.proof_was_given}, {"why_not", a.proof_was_given ? "" : a.why_no_proof}}},
                       {"notes", a.notes},
                       {"findings", findings}});
  }
  return text({{"proven", proven}, {"suspected", suspected}, {"targets", targets}});
}

std::string dump_json(const profile& p, const symbols& s, const std::vector<std::uint32_t>& groups) {
  json all = json::array();
  for (std::uint32_t n : groups) {
    const group& g = p.groups[n];
    json labels = json::array();
    for (const label_count& l : p.labels) {
      if (l.group == n) labels.push_back({{"labels", s.text(l.labels)}, {"count", l.count}});
    }
    all.push_back({{"count", g.count},
                   {"state", state_json(g.state, s)},
                   {"leaked", g.leaked},
                   {"locked_to_thread", g.locked},
                   {"longest_seconds", g.longest},
                   {"created_by", frame_json(s.stack_of(g.stack).creator, s)},
                   {"labels", labels},
                   {"elided", s.stack_of(g.stack).elided},
                   {"stack", stack_json(g.stack, s)}});
  }
  return text({{"target", p.source}, {"goroutines", p.total}, {"cut", p.cut}, {"groups", all}});
}

std::string top_json(const profile& p, const std::vector<site>& sites, const symbols& s) {
  json all = json::array();
  for (const site& at : sites) {
    all.push_back({{"count", at.count},
                   {"state", state_json(at.state, s)},
                   {"kind", name_of(at.kind)},
                   {"wait", frame_json(at.key.wait, s)},
                   {"entry", at.key.entry == none ? json(nullptr) : json(s.text(at.key.entry))}});
  }
  const auto time = std::chrono::duration_cast<std::chrono::milliseconds>(p.taken.time_since_epoch()).count();
  return json{{"target", p.source}, {"unix_ms", time}, {"goroutines", p.total}, {"places", all}}.dump(
      -1, ' ', false, json::error_handler_t::replace);
}

std::string saved_json(const std::string& target, const std::string& file, std::size_t bytes) {
  return text({{"target", target}, {"file", file}, {"bytes", bytes}});
}

std::vector<knot_kind> read_knots(const std::string& json_text) {
  std::vector<knot_kind> all;
  try {
    const json answer = json::parse(json_text);
    for (const json& k : answer.at("kinds"))
      all.push_back({k.at("knots").get<std::uint64_t>(), k.at("goroutines").get<std::uint64_t>(),
                     std::to_string(k.at("ids").at(0).get<std::uint64_t>())});
  } catch (const json::exception&) {
    all.clear();
  }
  return all;
}

std::vector<told_leak> read_told(const std::string& json_text) {
  const auto place_of = [](const json& j) {
    return told_leak::place{j.at("file").get<std::string>(), j.at("line").get<std::uint32_t>()};
  };
  std::vector<told_leak> all;
  try {
    const json answer = json::parse(json_text);
    for (const json& l : answer.at("leaks")) {
      told_leak one;
      const std::string name = l.at("name").get<std::string>();
      one.who =
          "goroutine " + std::to_string(l.at("id").get<std::uint64_t>()) + (name.empty() ? "" : " (" + name + ")");
      one.why = l.at("why").get<std::string>();
      one.started = place_of(l.at("spawned_at"));
      for (const json& f : l.at("stack")) one.stack.push_back(place_of(f));
      all.push_back(std::move(one));
    }
  } catch (const json::exception&) {
    all.clear();
  }
  return all;
}

std::string read_picture(const std::string& json_text) {
  try {
    return json::parse(json_text).at("svg").get<std::string>();
  } catch (const json::exception&) {
    return {};
  }
}

std::vector<std::string> read_discovery(const std::string& json_text) {
  std::vector<std::string> all;
  try {
    for (const json& group : json::parse(json_text)) {
      std::string scheme = "http";
      if (const auto labels = group.find("labels"); labels != group.end()) scheme = labels->value("__scheme__", scheme);
      for (const json& t : group.at("targets")) {
        const std::string host = t.get<std::string>();
        all.push_back(host.find("://") == host.npos ? scheme + "://" + host : host);
      }
    }
  } catch (const json::exception& e) {
    throw input_error(std::string("it is no list of targets as Prometheus reads it: ") + e.what());
  }
  std::ranges::sort(all);
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

std::string fleet_json(const fleet_view& v) {
  json instances = json::array(), findings = json::array();
  for (const look& l : v.instances) {
    instances.push_back(
        {{"instance", l.instance}, {"unix_s", l.time}, {"goroutines", l.goroutines}, {"error", l.error}});
  }
  for (const fleet_finding& f : v.findings) {
    findings.push_back({{"grade", name_of(f.verdict)},
                        {"root_mean_square", f.root_mean_square},
                        {"total", f.total},
                        {"most", f.most},
                        {"most_at", f.most_at},
                        {"instances", f.instances},
                        {"rising", f.rising},
                        {"proven", f.proven},
                        {"proven_at", f.proven_at},
                        {"state", f.site.state},
                        {"kind", f.site.kind},
                        {"wait", {{"function", f.site.function}, {"file", f.site.file}, {"line", f.site.line}}},
                        {"entry", f.site.entry},
                        {"why", f.why}});
  }
  return text({{"answered", v.answered}, {"instances", instances}, {"findings", findings}});
}

}  // namespace leash::cli
