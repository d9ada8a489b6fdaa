// Reports, and reclaim.
#include <algorithm>
#include <mutex>
#include <ostream>
#include <sstream>
#include <thread>
#include <unordered_map>

#include "../observe/looking.hpp"
#include "pass.hpp"

namespace leash {

namespace {

std::mutex pass_lock;  // passes take turns

const char* noun(object_type t, std::uint8_t which) {
  switch (t) {
    case object_type::channel:
      return which == 0 ? "sender" : "receiver";
    case object_type::mutex:
      return "guard";
    case object_type::shared_mutex:
      return "guard";
    case object_type::semaphore:
      return "permit";
    case object_type::wait_group:
      return "token";
    case object_type::once:
      return "running call";
    case object_type::cancel_source:
      return "cancel source";
    default:
      return "member";
  }
}
const char* type_name(object_type t) {
  switch (t) {
    case object_type::channel:
      return "channel";
    case object_type::mutex:
      return "mutex";
    case object_type::shared_mutex:
      return "shared_mutex";
    case object_type::semaphore:
      return "semaphore";
    case object_type::wait_group:
      return "wait_group";
    case object_type::once:
      return "once";
    case object_type::cancel_source:
      return "cancel source";
    case object_type::scope:
      return "scope";
    default:
      return "object";
  }
}

std::string call_name(const goroutine_info& g) {
  std::string s = "goroutine " + std::to_string(g.id);
  if (!g.name.empty()) s += " (" + g.name + ")";
  return s;
}

std::string site(std::source_location l) { return std::string(l.file_name()) + ":" + std::to_string(l.line()); }

// Who holds what a wait needs, and why that helps nobody.
std::string explain(const leak_pass& p, std::uint32_t node,
                    const std::unordered_map<std::uint32_t, const goroutine_info*>& infos) {
  marked_node const& n = p.nodes[node];
  std::ostringstream out;
  auto name = [&](std::uint32_t i) {
    auto it = infos.find(i);
    return i == node ? std::string("itself") : it != infos.end() ? call_name(*it->second) : std::string("a goroutine");
  };
  if (n.waits == 0) {
    out << "waits for nothing that could happen: no case can fire, and nobody can cancel it";
    return out.str();
  }
  bool first = true;
  for (std::uint32_t w = n.first_wait; w < n.first_wait + n.waits; ++w) {
    wait_edge const& wait = p.waits[w];
    if (!first) out << "; and ";
    first = false;
    if (wait.which == 2) {
      out << "waits for the end of " << name(wait.object);
      if (wait.object == node)
        out << ": only its own end could wake it";
      else
        out << ", which is leaked itself";
      continue;
    }
    marked_object const& o = p.objects[wait.object];
    object_type const t = o.type;
    if (t == object_type::scope) {
      out << (wait.which == 0 ? "waits for the members of its scope, of which none can end"
                              : "only its own scopes could cancel it");
      continue;
    }
    out << "waits for the " << type_name(t);
    if (o.made_at.line() != 0) out << " made at " << site(o.made_at);
    std::uint32_t const holders = o.found[wait.which];
    if (holders == 0) {
      out << ", of which no " << noun(t, wait.which) << " is left";
      continue;
    }
    out << ", whose " << (holders == 1 ? "only " : "") << (holders == 1 ? "" : std::to_string(holders) + " ")
        << noun(t, wait.which) << (holders == 1 ? " is held by " : "s are held by ");
    int listed = 0;
    for (std::uint32_t e = o.first_holder; e != 0; e = p.edges[e - 1].next_of_object) {
      if (p.edges[e - 1].which != wait.which) continue;
      if (listed == 8) {
        out << " and others";
        break;
      }
      if (listed++ > 0) out << ", ";
      std::uint32_t const holder = p.edges[e - 1].node;
      out << name(holder);
      auto it = infos.find(holder);
      if (holder != node && it != infos.end()) out << ", which waits in " << it->second->wait;
    }
  }
  return out.str();
}

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

void leak_findings::describe() {
  std::call_once(described, [&] {
    leaks.resize(pass.dead.size());
    std::unordered_map<std::uint32_t, const goroutine_info*> infos;
    infos.reserve(pass.dead.size());
    for (std::size_t d = 0; d < pass.dead.size(); ++d) {
      marked_node const& n = pass.nodes[pass.dead[d]];
      leak& l = leaks[d];
      l.role = d < pass.core ? leak_role::core : leak_role::dependent;
      l.grade = leak_grade::proven;
      if (n.g->park.load(std::memory_order_acquire) == n.word) look_at(n.g, nullptr, l.who);
      l.who.id = ids[d];
      infos.emplace(pass.dead[d], &l.who);
    }
    for (std::size_t d = 0; d < pass.dead.size(); ++d) leaks[d].why = explain(pass, pass.dead[d], infos);
  });
}

leak_report make_report(leak_pass&& p) {
  leak_report report;
  if (p.dead.empty()) return report;
  report.findings = std::make_shared<leak_findings>();
  leak_findings& f = *report.findings;
  f.pass = std::move(p);
  f.ids.reserve(f.pass.dead.size());
  for (std::uint32_t i : f.pass.dead) {
    goroutine_core* g = f.pass.nodes[i].g;
    f.ids.push_back(g->id);
#if LEASH_SENTINEL
    g->judged_in.store(verdict_generation(), std::memory_order_relaxed);
    g->judged.store(f.pass.nodes[i].word, std::memory_order_relaxed);
#endif
  }
  if (f.ids.size() <= 10'000) f.describe();
  return report;
}

leak_report find_leaks_of(const runtime* only) {
  std::lock_guard guard(pass_lock);
  leak_pass pass;
  pass.run(only);
  return make_report(std::move(pass));
}

leak_report find_leaks() { return find_leaks_of(this_worker != nullptr ? this_worker->rt : nullptr); }

std::size_t leak_report::size() const noexcept { return findings == nullptr ? 0 : findings->ids.size(); }
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
      out << "  g" << findings->ids[from] << " -> g" << findings->ids[to] << ";\n";
  out << "}\n";
  return out.str();
}

// --- reclaim
// --------------------------------------------------------------------------------------------------------------------

bool kill(goroutine_core* g, std::uint64_t word, bool watch) noexcept {
  forget_verdicts();
  reclaimed_anything.store(true, std::memory_order_relaxed);
  if (state_of(word) != park_state::parked) {
    // A scope's final join, say: it goes on unwinding when its members have ended.
    if (g->park.load(std::memory_order_acquire) != word) return false;
    g->killed.store(1, std::memory_order_release);
    return true;
  }
  if (!g->park.compare_exchange_strong(word, next_epoch(word, park_state::active), std::memory_order_acq_rel))
    return false;
  g->killed.store(1, std::memory_order_relaxed);
  if (watch) g->refs.fetch_or(ref_watch, std::memory_order_relaxed);
  g->bits |= g_cut;
  schedule_last(g);
  return true;
}

std::vector<std::pair<goroutine_core*, std::uint64_t>> kill_victims(const leak_report& r) {
  std::vector<std::pair<goroutine_core*, std::uint64_t>> victims;
  if (r.findings == nullptr) return victims;
  leak_findings& f = *r.findings;
  // One of each knot: the newest that may be chosen. The order of ids makes the choice the same in every run of a
  // schedule.
  std::unordered_map<std::uint32_t, std::size_t> chosen;
  for (std::size_t d = 0; d < f.pass.core; ++d) {
    marked_node const& n = f.pass.nodes[f.pass.dead[d]];
    runtime* rt = runtime_at(n.g->runtime_index);
    bool const root = rt == nullptr || n.g == rt->root;
    if (root || n.frames_live || state_of(n.word) != park_state::parked) continue;
    auto [it, fresh] = chosen.try_emplace(f.pass.component[d], d);
    if (!fresh && f.ids[it->second] < f.ids[d]) it->second = d;
  }
  std::vector<std::size_t> in_order;
  for (auto& [component, d] : chosen) in_order.push_back(d);
  std::sort(in_order.begin(), in_order.end(), [&](std::size_t a, std::size_t b) { return f.ids[a] < f.ids[b]; });
  for (std::size_t d : in_order) {
    marked_node const& n = f.pass.nodes[f.pass.dead[d]];
    if (kill(n.g, n.word, true)) victims.emplace_back(n.g, f.ids[d]);
  }
  return victims;
}

void kill_all(const leak_report& r) {
  if (r.findings == nullptr) return;
  leak_findings& f = *r.findings;
  f.describe();
  for (std::uint32_t i : f.pass.dead) kill(f.pass.nodes[i].g, f.pass.nodes[i].word, false);
}

namespace {

bool ended(const std::pair<goroutine_core*, std::uint64_t>& v) noexcept {
  return state_of(v.first->park.load(std::memory_order_acquire)) == park_state::done;
}

// Waits for the end of a goroutine that the caller holds a ref_watch of.
struct end_operation : operation_base {
  class wait_type : public waiter {
   public:
    explicit wait_type(end_operation& op) noexcept : waiter(wait_reason::goroutine_join), target_(op.target) {}
    spin_lock& lock() noexcept { return join_lock_of(target_); }
    bool claim() noexcept { return state_of(target_->park.load(std::memory_order_acquire)) == park_state::done; }
    void complete() const noexcept {}
    void enqueue() noexcept { push_joiner(target_, this); }
    void remove() noexcept { remove_joiner(target_, this); }
    void won() const noexcept {}
    std::monostate result() const noexcept { return {}; }

   private:
    goroutine_core* target_;
  };
  using value_type = std::monostate;
  using result_type = void;
  goroutine_core* target;
  explicit end_operation(goroutine_core* g) noexcept : target(g) {}
};

struct watched {
  std::vector<std::pair<goroutine_core*, std::uint64_t>> all;
  explicit watched(std::vector<std::pair<goroutine_core*, std::uint64_t>> v) : all(std::move(v)) {}
  watched(watched&&) = default;
  ~watched() {
    for (auto& v : all) drop_ref(v.first, ref_watch);
  }
};

}  // namespace

task<std::size_t> reclaim_operation::as_task() {
  return [](leak_report r) -> task<std::size_t> {
    watched victims(kill_victims(r));
    for (auto& v : victims.all) co_await end_operation(v.first);
    co_return victims.all.size();
  }(std::move(report_));
}

std::size_t reclaim_operation::wait() {
  if (this_worker != nullptr)
    throw_misuse("reclaim(...).wait() blocks its thread: on a worker co_await the operation instead");
  watched victims(kill_victims(report_));
  while (!std::all_of(victims.all.begin(), victims.all.end(), ended))
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  return victims.all.size();
}

}  // namespace leash
