// Reports: what a pass found, in words, JSON, as a graph and as a picture.
#include <algorithm>
#include <leash/trace.hpp>
#include <mutex>
#include <ostream>
#include <sstream>
#include <unordered_map>

#include "../observe/frozen.hpp"
#include "../observe/looking.hpp"
#include "capability.hpp"
#include "explain.hpp"
#include "pass.hpp"

namespace leash {

namespace {

void json_string(std::ostream& out, std::string_view s) {
  out << '"';
  for (char c : s) {
    switch (c) {
      case '"':
        out << "\\\"";
        break;
      case '\\':
        out << "\\\\";
        break;
      case '\n':
        out << "\\n";
        break;
      case '\t':
        out << "\\t";
        break;
      case '\r':
        out << "\\r";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          char buffer[8];
          std::snprintf(buffer, sizeof buffer, "\\u%04x", c);
          out << buffer;
        } else {
          out << c;
        }
    }
  }
  out << '"';
}

/// The innermost frame that is not the library's, else the innermost; null: there is none.
const frame_info* own_frame(const goroutine_info& g) {
  for (const frame_info& f : g.stack)
    if (!is_library_file(f.file)) return &f;
  return g.stack.empty() ? nullptr : &g.stack.front();
}

}  // namespace

std::string site(std::source_location l) { return std::string(l.file_name()) + ":" + std::to_string(l.line()); }

std::string call_name(const goroutine_info& g) {
  std::string s = "goroutine " + std::to_string(g.id);
  if (!g.name.empty()) s += " (" + g.name + ")";
  return s;
}

std::mutex& pass_lock() noexcept {
  static std::mutex lock;
  return lock;
}

leak_pass::leak_pass(const runtime* only, bool confined) {
  // Verdicts count from here on: whatever is cut short later may wake the judged, and makes a new generation.
  judged_anything.store(true, std::memory_order_relaxed);
  known.generation = verdict_generation();
  known.pass = current_pass.load(std::memory_order_relaxed) + 1;
  current_pass.store(known.pass, std::memory_order_relaxed);
  heavy_fence();  // who does not see the new number when it leaves, did all that it did before this
  scan_all(known, only);
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

/// Draws what the first leaks wait for, and who holds that.
class painter {
 public:
  painter(leak_findings& f, explainer& words) : f_(f), g_(f.pass.known), to_(f.picture), words_(words) {}

  void paint() {
    std::size_t const n = std::min(f_.leaks.size(), drawn_leaks);
    to_.left_out = f_.leaks.size() - n;
    for (std::size_t k = 0; k < n; ++k) {
      leak const& l = f_.leaks[k];
      leak_picture::box b;
      b.what = l.role == leak_role::core ? leak_picture::box::kind::core : leak_picture::box::kind::dependent;
      if (l.role == leak_role::core) b.knot = knot_of(f_.pass.component[f_.pass.dead[f_.order[k]]]);
      b.head = call_name(l.who);
      b.lines.push_back(l.who.wait);
      if (const frame_info* at = own_frame(l.who)) b.lines.push_back(at->file + ":" + std::to_string(at->line));
      b.story = call_name(l.who) + " " + l.why;
      box_of_node_.emplace(f_.pass.dead[f_.order[k]], graph::size32(to_.boxes.size()));
      to_.boxes.push_back(std::move(b));
    }
    for (std::size_t k = 0; k < n; ++k) add_waits(f_.pass.dead[f_.order[k]], graph::size32(k));
  }

 private:
  using kind = leak_picture::link::kind;

  std::uint32_t knot_of(std::uint32_t component) {
    return knots_.try_emplace(component, graph::size32(knots_.size())).first->second;
  }
  void link(std::uint32_t from, std::uint32_t to, kind what) {
    for (auto& l : to_.links)
      if (l.from == from && l.to == to && l.what == what) return;
    to_.links.push_back({from, to, what});
  }

  void add_waits(std::uint32_t node, std::uint32_t box) {
    std::uint32_t placed = none;  // the event or condition; the waits after it say where that lies
    g_.for_each_wait(node, [&](const graph_wait& w) {
      if (w.which == graph_wait::cancels) return;
      if (w.which == graph_wait::joins || w.which == graph_wait::frames) {
        auto const target = box_of_node_.find(w.object);
        if (target == box_of_node_.end()) return;
        bool const lies_there = w.which == graph_wait::frames && placed != none;
        link(lies_there ? placed : box, target->second, lies_there ? kind::held : kind::waits);
        return;
      }
      graph_object const& o = g_.objects[w.object];
      if (has_contents(o.type()) && placed != none) {
        std::uint32_t const memory = box_of(w.object, to_.boxes[box].knot);
        if (memory == none) return;
        link(placed, memory, kind::held);
        add_holders(w.object, w.which, memory, 0);
        return;
      }
      std::uint32_t const what = box_of(w.object, to_.boxes[box].knot);
      if (what == none) return;
      link(box, what, kind::waits);
      if (is_placed(o.type())) {
        placed = what;
      } else if (o.type() == object_type::scope) {
        for (auto& [member, at] : in_order(box_of_node_))
          if (g_.home_of(member) == w.object) link(what, at, kind::held);
      } else {
        add_holders(w.object, w.which, what, 0);
      }
    });
  }

  void add_holders(std::uint32_t object, std::uint32_t which, std::uint32_t box, int depth) {
    auto const holders = words_.holders(object, which);
    for (std::size_t i = 0; i < std::min(holders.size(), explainer::told_holders); ++i) {
      if (g_.kind_of(holders[i]) == node_kind::goroutine) {
        auto const at = box_of_node_.find(holders[i]);
        if (at != box_of_node_.end()) link(box, at->second, kind::held);
        continue;
      }
      std::uint32_t const k = g_.object_of(holders[i]);
      std::uint32_t const memory = box_of(k, to_.boxes[box].knot);
      if (memory == none || memory == box) continue;
      link(box, memory, kind::held);
      if (depth == 4) continue;
      bool const buffer = g_.kind_of(holders[i]) == node_kind::buffer;
      if (!buffer) add_holders(k, 0, memory, depth + 1);
      add_holders(k, 1, memory, depth + 1);
    }
  }

  /// none: there are too many.
  std::uint32_t box_of(std::uint32_t object, std::uint32_t knot) {
    bool const full = to_.boxes.size() >= drawn_boxes;
    auto const [at, fresh] = box_of_object_.try_emplace(object, full ? none : graph::size32(to_.boxes.size()));
    if (fresh && full) ++to_.objects_left_out;
    if (fresh && !full) {
      leak_picture::box b;
      b.knot = knot;
      b.story = name_object(g_, object);
      std::size_t const place = b.story.find(" made at ");
      b.head = b.story.substr(0, place);
      if (place != std::string::npos) b.lines.push_back(b.story.substr(place + std::string_view(" made at ").size()));
      to_.boxes.push_back(std::move(b));
    }
    return at->second;
  }

  static std::vector<std::pair<std::uint32_t, std::uint32_t>> in_order(
      const std::unordered_map<std::uint32_t, std::uint32_t>& boxes) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> all(boxes.begin(), boxes.end());
    std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.second < b.second; });
    return all;
  }

  leak_findings& f_;
  graph& g_;
  leak_picture& to_;
  explainer& words_;
  std::unordered_map<std::uint32_t, std::uint32_t> knots_, box_of_node_, box_of_object_;
};

}  // namespace

void leak_findings::describe() {
  std::call_once(described, [&] {
    order = reading_order(*this);
    leaks.resize(pass.dead.size());
    pass.known.index_holders(false);
    known_goroutines infos;
    infos.reserve(pass.dead.size());
    for (std::size_t k = 0; k < order.size(); ++k) {
      std::uint32_t const d = order[k];
      std::uint32_t const node = pass.dead[d];
      goroutine_core* g = pass.known.goroutine_at(node);
      leak& l = leaks[k];
      l.role = d < pass.core ? leak_role::core : leak_role::dependent;
      l.grade = pass.known.flags[node] & node_flag::confined ? leak_grade::confined : leak_grade::proven;
      if (g->park.load(std::memory_order_acquire) == pass.known.words[node]) look_at(g, nullptr, l.who);
      l.who.id = ids()[d];
      infos.emplace(node, &l.who);
    }
    explainer words(pass.known, infos);
    for (std::size_t k = 0; k < order.size(); ++k) leaks[k].why = words.why_leaked(pass.dead[order[k]]);
    painter(*this, words).paint();
  });
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

leak_report find_leaks_of(const runtime* only, bool confined) {
  leak_report report;
  {
    std::lock_guard guard(pass_lock());
    report = make_report(leak_pass(only, confined));
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

std::ostream& operator<<(std::ostream& out, const leak_report& r) {
  std::size_t const core = static_cast<std::size_t>(
      std::count_if(r.begin(), r.end(), [](const leak& l) { return l.role == leak_role::core; }));
  if (r.empty()) return out << "no goroutine is provably leaked\n";
  out << r.size() << (r.size() == 1 ? " goroutine is" : " goroutines are") << " leaked: " << core << " core, "
      << r.size() - core << " dependent\n";
  for (const leak& l : r) {
    out << "\n"
        << (l.role == leak_role::core ? "core" : "dependent") << ", "
        << (l.grade == leak_grade::proven ? "proven" : "confined") << ": " << call_name(l.who) << " " << l.why << "\n";
    write_goroutine(out, l.who, " (leaked)", "  ");
  }
  return out;
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
    out << ", \"parent\": " << l.who.parent << ", \"spawned_at\": ";
    json_string(out, site(l.who.spawned_at));
    out << ", \"why\": ";
    json_string(out, l.why);
    out << ", \"labels\": {";
    const char* comma = "";
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
    std::string text = call_name(l.who) + "\n" + l.who.wait;
    if (const frame_info* at = own_frame(l.who)) text += "\n" + at->file + ":" + std::to_string(at->line);
    json_string(out, text);
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

}  // namespace leash
