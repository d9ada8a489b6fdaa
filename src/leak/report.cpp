// Reports: what a pass found, in words, JSON, as a graph and as a picture.
#include <algorithm>
#include <leash/trace.hpp>
#include <mutex>
#include <numeric>
#include <ostream>
#include <sstream>
#include <unordered_map>

#include "../observe/frozen.hpp"
#include "../observe/looking.hpp"
#include "../observe/text.hpp"
#include "paint.hpp"

namespace leash {

namespace {

void json_string(std::ostream& out, std::string_view s) {
  std::string text;
  append_json(text, s);
  out << text;
}
enum class dot_text { label, tooltip };
// Graphviz knows XML's entities, no tab, and some letters behind a backslash; in a tooltip also behind two.
void dot_string(std::ostream& out, std::string_view s, dot_text where) {
  std::string text;
  for (char c : s) {
    if (c == '\\' && where == dot_text::tooltip) text += c;
    text += c == '&' ? "&amp;" : c == '\t' ? " " : std::string_view(&c, 1);
  }
  json_string(out, text);
}

}  // namespace

std::string site(std::source_location l) { return std::string(l.file_name()) + ":" + std::to_string(l.line()); }

std::string call_name(const goroutine_info& g) {
  std::string s = "goroutine " + std::to_string(g.id);
  if (!g.name.empty()) s += " (" + one_line(g.name) + ")";
  return s;
}

std::mutex& pass_lock() noexcept {
  static std::mutex lock;
  return lock;
}

void read_all(graph& known, const runtime* only, bool in_haste) {
  // Verdicts count from here on: whatever is cut short later may wake the judged, and makes a new generation.
  judged_anything.store(true, std::memory_order_relaxed);
  known.generation = verdict_generation();
  known.pass = current_pass.load(std::memory_order_relaxed) + 1;
  current_pass.store(known.pass, std::memory_order_relaxed);
  heavy_fence();  // who does not see the new number when it leaves, did all that it did before this
  scan_all(known, only, in_haste);
}

leak_pass::leak_pass(const runtime* only, bool confined, bool in_haste) {
  read_all(known, only, in_haste);
  mark_all(known, confined);
  find_knots(*this);
}

const std::vector<std::uint64_t>& leak_findings::ids() {
  std::call_once(identified, [&] {
    ids_.reserve(pass.dead.size());
    for (std::uint32_t i : pass.dead) {
      goroutine_core* g = pass.known.goroutine_at(i);
      std::uint64_t const id = frozen::read(g->id);
      std::atomic_thread_fence(std::memory_order_acquire);
      ids_.push_back(g->park.load(std::memory_order_relaxed) == pass.known.words[i] ? id : 0);
    }
  });
  return ids_;
}

namespace {

/// Where the leaks of `f` stand in the report: cores before dependents, knot by knot in the order of the smallest id,
/// within a knot and among the dependents by id. The pass has them as they lie in memory.
std::vector<std::uint32_t> reading_order(leak_findings& f) {
  leak_pass const& p = f.pass;
  auto const& ids = f.ids();
  std::unordered_map<std::uint32_t, std::uint64_t> smallest;
  for (std::size_t d = 0; d < p.core; ++d) {
    auto const [at, fresh] = smallest.try_emplace(p.component[p.dead[d]], ids[d]);
    if (!fresh) at->second = std::min(at->second, ids[d]);
  }
  struct place {
    std::uint64_t knot, id;
    std::uint32_t d;
    auto operator<=>(const place&) const = default;
  };
  std::vector<place> all(p.dead.size());
  for (std::uint32_t d = 0; d < all.size(); ++d)
    all[d] = {d < p.core ? smallest.at(p.component[p.dead[d]]) : UINT64_MAX, ids[d], d};
  std::sort(all.begin(), all.end());
  std::vector<std::uint32_t> order(all.size());
  std::transform(all.begin(), all.end(), order.begin(), [](const place& at) { return at.d; });
  return order;
}

}  // namespace

known_goroutines leak_findings::who_is_who() const {
  known_goroutines infos;
  infos.reserve(leaks.size());
  for (std::size_t k = 0; k < leaks.size(); ++k) infos.emplace(pass.dead[order[k]], &leaks[k].who);
  return infos;
}

void leak_findings::describe() {
  std::call_once(described, [&] {
    order = reading_order(*this);
    leaks.resize(pass.dead.size());
    pass.known.index_holders(false);
    for (std::size_t k = 0; k < order.size(); ++k) {
      std::uint32_t const d = order[k];
      std::uint32_t const node = pass.dead[d];
      goroutine_core* g = pass.known.goroutine_at(node);
      leak& l = leaks[k];
      l.role = d < pass.core ? leak_role::core : leak_role::dependent;
      l.grade = pass.known.flags[node] & node_flag::confined ? leak_grade::confined : leak_grade::proven;
      if (g->park.load(std::memory_order_acquire) == pass.known.words[node]) look_at(g, nullptr, l.who);
      l.who.id = ids()[d];
      if (d >= pass.core) continue;
      if (k == 0 || pass.component[node] != pass.component[pass.dead[order[k - 1]]])
        knot_begins.push_back(graph::size32(k));
      knots.push_back(graph::size32(knot_begins.size() - 1));
    }
    known_goroutines const infos = who_is_who();
    explainer words(pass.known, infos);
    for (std::size_t k = 0; k < order.size(); ++k) {
      leaks[k].why = words.why_leaked(pass.dead[order[k]]);
      leaks[k].premises = words.premises_of(pass.dead[order[k]]);
    }
    std::vector<std::uint32_t> first(std::min(leaks.size(), drawn_leaks));
    std::iota(first.begin(), first.end(), 0u);
    picture = paint(*this, words, first);
    picture.left_out = leaks.size() - first.size();
  });
}

std::vector<std::uint32_t> leak_findings::who_waits_for(std::uint32_t knot) {
  describe();
  std::vector<std::uint32_t> place(order.size());  // in the report, by position in pass.dead
  for (std::uint32_t k = 0; k < order.size(); ++k) place[order[k]] = k;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> waiters;  // of whom, who: by place
  for (auto& [from, to] : pass.needs)
    if (from >= pass.core) waiters.emplace_back(place[to], place[from]);
  std::sort(waiters.begin(), waiters.end());
  std::vector<bool> seen(order.size());
  std::vector<std::uint32_t> all(members_of(knot));
  std::size_t const members = all.size();
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto at = std::lower_bound(waiters.begin(), waiters.end(), std::pair(all[i], 0u));
    for (; at != waiters.end() && at->first == all[i]; ++at) {
      if (seen[at->second]) continue;
      seen[at->second] = true;
      all.push_back(at->second);
    }
  }
  all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(members));
  return all;
}

std::vector<std::uint32_t> leak_findings::members_of(std::uint32_t knot) {
  describe();
  if (knot >= knot_begins.size()) return {};
  std::size_t const end = knot + 1 < knot_begins.size() ? knot_begins[knot + 1] : knots.size();
  std::vector<std::uint32_t> all(end - knot_begins[knot]);
  std::iota(all.begin(), all.end(), knot_begins[knot]);
  return all;
}

// Events and conditions whose waiters were judged: whoever uses one now, breaks a premise (rule 8).
static void note_places(const graph& known, std::uint32_t node) {
  known.for_each_wait(node, [&](const graph_wait& w) {
    if (w.which != 0) return;
    object_type const t = known.objects[w.object].type();
    if (t == object_type::event || t == object_type::condition)
      note_unreachable(known.object_at<placed_object>(w.object), known.generation);
  });
}

// For who records what happens: the first thousand.
static void record_leaks(const leak_pass& p) {
  for (std::size_t d = 0; d < std::min<std::size_t>(p.dead.size(), 1000); ++d) {
    goroutine_core* g = p.known.goroutine_at(p.dead[d]);
    std::uint64_t const word = p.known.words[p.dead[d]], id = frozen::read(g->id);
    std::source_location const where = frozen::read(g->spawned_at);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (g->park.load(std::memory_order_relaxed) == word) note_leak(id, word, where);
  }
}

constinit std::atomic<void (*)(const leak_report&)> leaks_proved{nullptr};

leak_report make_report(leak_pass&& p) {
  leak_report report;
  if (p.dead.empty()) return report;
  report.findings = std::make_shared<leak_findings>(std::move(p));
  leak_findings& f = *report.findings;
  if (f.pass.known.any_placed)
    for (std::uint32_t i : f.pass.dead) note_places(f.pass.known, i);
#if LEASH_SENTINEL
  for (std::uint32_t i : f.pass.dead) {
    goroutine_core* g = f.pass.known.goroutine_at(i);
    if (f.pass.known.flags[i] & node_flag::confined) continue;
    g->judged_in.store(f.pass.known.generation, std::memory_order_relaxed);
    g->judged.store(f.pass.known.words[i], std::memory_order_relaxed);
  }
  seal(f.pass);
#endif
  if (f.pass.dead.size() <= described_at_once) f.describe();
  if ((observed_everywhere.load(std::memory_order_relaxed) & observe_trace) != 0) record_leaks(f.pass);
  return report;
}

leak_report find_leaks_of(const runtime* only, bool confined, bool in_haste) {
  leak_report report;
  {
    std::lock_guard guard(pass_lock());
    report = make_report(leak_pass(only, confined, in_haste));
  }
  if (!report.empty())
    if (auto* tell = leaks_proved.load(std::memory_order_acquire)) tell(report);
  return report;
}

bool has_young_confined(const leak_report& r, nanoseconds settled) noexcept {
  if (r.findings == nullptr || !r.findings->pass.known.any_in_frames) return false;
  graph const& known = r.findings->pass.known;
  auto const limit = static_cast<std::uint32_t>(settled.count() / 1'000'000);
  return std::any_of(r.findings->pass.dead.begin(), r.findings->pass.dead.end(), [&](std::uint32_t i) {
    return (known.flags[i] & node_flag::confined) != 0 &&
           coarse_tick() - frozen::read(known.goroutine_at(i)->parked_at) < limit;
  });
}

leak_report find_leaks() { return find_leaks_of(this_worker != nullptr ? this_worker->rt : nullptr); }

std::size_t leak_report::size() const noexcept { return findings == nullptr ? 0 : findings->pass.dead.size(); }
const leak* leak_report::begin() const {
  if (findings == nullptr) return nullptr;
  findings->describe();
  return findings->leaks.data();
}

void write_leak(std::ostream& out, const leak& l) {
  out << (l.role == leak_role::core ? "core" : "dependent") << ", "
      << (l.grade == leak_grade::proven ? "proven" : "confined") << ": " << call_name(l.who) << " " << l.why << "\n";
  write_goroutine(out, l.who, " (leaked)", "  ");
}

std::ostream& operator<<(std::ostream& out, const leak_report& r) {
  std::size_t const core = static_cast<std::size_t>(
      std::count_if(r.begin(), r.end(), [](const leak& l) { return l.role == leak_role::core; }));
  if (r.empty()) return out << "no goroutine is provably leaked\n";
  out << r.size() << (r.size() == 1 ? " goroutine is" : " goroutines are") << " leaked: " << core << " core, "
      << r.size() - core << " dependent\n";
  for (const leak& l : r) {
    out << "\n";
    write_leak(out, l);
  }
  return out;
}

const char* name_of(leak_premise p) noexcept {
  static constexpr const char* names[] = {"frames", "tracked memory", "contexts", "confinement"};
  return names[static_cast<std::size_t>(p)];
}

std::string leak_report::to_json() const {
  std::ostringstream out;
  out << "{\"leaks\": [";
  const char* separator = "";
  for (const leak& l : *this) {
    out << separator << "{\"id\": " << l.who.id << ", \"name\": ";
    separator = ", ";
    json_string(out, l.who.name);
    out << ", \"role\": \"" << (l.role == leak_role::core ? "core" : "dependent") << "\", \"grade\": \""
        << (l.grade == leak_grade::proven ? "proven" : "confined") << "\", \"state\": ";
    json_string(out, l.who.state);
    out << ", \"wait\": ";
    json_string(out, l.who.wait);
    out << ", \"since_ms\": " << l.who.waited.count() / 1'000'000 << ", \"parent\": " << l.who.parent
        << ", \"spawned_at\": ";
    json_string(out, site(l.who.spawned_at));
    out << ", \"why\": ";
    json_string(out, l.why);
    out << ", \"premises\": [";
    const char* comma = "";
    for (leak_premise p : l.premises) out << std::exchange(comma, ", ") << '"' << name_of(p) << '"';
    out << "]";
    out << ", \"labels\": {";
    comma = "";
    for (auto& [k, v] : l.who.labels) {
      out << comma;
      json_string(out, k);
      out << ": ";
      json_string(out, v);
      comma = ", ";
    }
    out << "}, \"stack\": [";
    comma = "";
    for (auto& f : l.who.stack) {
      out << comma << "{\"function\": ";
      json_string(out, f.function);
      out << ", \"file\": ";
      json_string(out, f.file);
      out << ", \"line\": " << f.line << "}";
      comma = ", ";
    }
    out << "]}";
  }
  out << "]}";
  return out.str();
}

std::string leak_report::to_dot() const {
  std::ostringstream out;
  out << "digraph leaks {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n";
  for (const leak& l : *this) {
    out << "  g" << l.who.id << " [label=";
    std::string text = call_name(l.who) + "\n" + l.who.wait + age_of_wait(l.who);
    if (const frame_info* at = own_frame(l.who)) text += "\n" + at->file + ":" + std::to_string(at->line);
    dot_string(out, text, dot_text::label);
    std::ostringstream story;
    write_leak(story, l);
    out << ", tooltip=";
    dot_string(out, story.str(), dot_text::tooltip);
    out << (l.role == leak_role::core ? ", color=red" : "") << "];\n";
  }
  std::vector<std::pair<std::uint64_t, std::uint64_t>> needs;
  if (findings != nullptr)
    for (auto& [from, to] : findings->pass.needs) needs.emplace_back(findings->ids()[from], findings->ids()[to]);
  std::sort(needs.begin(), needs.end());
  for (auto& [from, to] : needs) out << "  g" << from << " -> g" << to << ";\n";
  out << "}\n";
  return out.str();
}

std::string leak_report::to_svg() const {
  (void)begin();
  return draw(findings != nullptr ? findings->picture : leak_picture{});
}

std::size_t leak_report::knots() const {
  (void)begin();
  return findings != nullptr ? findings->knot_begins.size() : 0;
}

std::string leak_report::to_svg(std::size_t knot) const {
  if (knot >= knots()) throw std::out_of_range("leash::leak_report::to_svg: there are fewer knots");
  leak_findings& f = *findings;
  auto which = f.members_of(graph::size32(knot));
  auto const waiters = f.who_waits_for(graph::size32(knot));
  which.insert(which.end(), waiters.begin(), waiters.end());
  std::size_t const all = which.size();
  which.resize(std::min(all, drawn_leaks));
  known_goroutines const infos = f.who_is_who();
  explainer words(f.pass.known, infos);
  leak_picture p = paint(f, words, which);
  p.left_out = all - which.size();
  return draw(p);
}

}  // namespace leash
