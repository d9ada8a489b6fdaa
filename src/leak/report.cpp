// Reports: what a pass found, in words, JSON and as a graph.
#include <algorithm>
#include <mutex>
#include <ostream>
#include <sstream>

#include "../observe/frozen.hpp"
#include "../observe/looking.hpp"
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

void leak_findings::describe() {
  std::call_once(described, [&] {
    leaks.resize(pass.dead.size());
    pass.known.index_holders(false);
    known_goroutines infos;
    infos.reserve(pass.dead.size());
    for (std::size_t d = 0; d < pass.dead.size(); ++d) {
      std::uint32_t const node = pass.dead[d];
      goroutine_core* g = pass.known.goroutine_at(node);
      leak& l = leaks[d];
      l.role = d < pass.core ? leak_role::core : leak_role::dependent;
      l.grade = pass.known.flags[node] & node_flag::confined ? leak_grade::confined : leak_grade::proven;
      if (g->park.load(std::memory_order_acquire) == pass.known.words[node]) look_at(g, nullptr, l.who);
      l.who.id = ids()[d];
      infos.emplace(node, &l.who);
    }
    for (std::size_t d = 0; d < pass.dead.size(); ++d) leaks[d].why = why_leaked(pass.known, pass.dead[d], infos);
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
#endif
  if (f.pass.dead.size() <= described_at_once) f.describe();
  return report;
}

leak_report find_leaks_of(const runtime* only, bool confined) {
  std::lock_guard guard(pass_lock());
  return make_report(leak_pass(only, confined));
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
    if (!l.who.stack.empty()) text += "\n" + l.who.stack.front().file + ":" + std::to_string(l.who.stack.front().line);
    json_string(out, text);
    out << (l.role == leak_role::core ? ", color=red" : "") << "];\n";
  }
  if (findings != nullptr)
    for (auto& [from, to] : findings->pass.needs)
      out << "  g" << findings->ids()[from] << " -> g" << findings->ids()[to] << ";\n";
  out << "}\n";
  return out.str();
}

}  // namespace leash
