#include "looking.hpp"

#include <algorithm>
#include <leash/looking.hpp>
#include <leash/scope.hpp>
#include <ostream>

#include "frozen.hpp"
#include "sighting.hpp"
#include "text.hpp"

namespace leash {

bool look_at(const goroutine_core* g, const runtime* only, goroutine_info& info) {
  sighting s;
  if (!look_at(g, only, looking_tick(), s)) return false;
  info = {};
  info.id = s.id;
  info.name = std::move(s.name);
  info.spawned_at = s.spawned_at;
  info.parent = s.parent;
  info.state = s.waiting ? "waiting" : s.state();
  if (s.waiting) {
    info.wait = s.state();
    info.waited = std::chrono::milliseconds(s.since);
    info.since = now() - info.waited;
  }
  for (std::size_t i = 0; i < s.depth; ++i)
    info.stack.push_back(
        {s.frames[i].function_name(), s.frames[i].file_name(), static_cast<unsigned>(s.frames[i].line())});
  s.labels.resize(s.label_count);
  info.labels = std::move(s.labels);
  return true;
}

static const runtime* of_caller() noexcept { return this_worker != nullptr ? this_worker->rt : nullptr; }

std::size_t num_goroutines() {
  if (this_worker != nullptr) return this_worker->rt->live_goroutines();
  std::size_t n = 0;
  for_each_runtime([&](runtime& rt) { n += rt.live_goroutines(); });
  return n;
}

std::vector<goroutine_info> goroutines() {
  std::vector<goroutine_info> all;
  frozen::for_each_slot([&](goroutine_core* g) {
    goroutine_info info;
    if (look_at(g, of_caller(), info)) all.push_back(std::move(info));
  });
  std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.id < b.id; });
  return all;
}

bool is_library_file(std::string_view file) noexcept {
  if (!file.ends_with(".hpp")) return false;
  std::string_view const folder = file.substr(0, file.rfind('/') == std::string_view::npos ? 0 : file.rfind('/'));
  return folder == "leash" || folder.ends_with("/leash");
}

std::string age_of_wait(const goroutine_info& g) {
  auto const minutes = std::chrono::duration_cast<std::chrono::minutes>(g.waited).count();
  return g.state == "waiting" && minutes >= 1 ? ", " + std::to_string(minutes) + " minutes" : std::string();
}

void write_goroutine(std::ostream& out, const goroutine_info& g, std::string_view mark, std::string_view indent) {
  out << indent << "goroutine " << g.id << " [" << (g.state == "waiting" ? g.wait : g.state) << mark << age_of_wait(g)
      << "]";
  if (!g.name.empty() || !g.labels.empty()) {
    out << " {";
    const char* separator = "";
    if (!g.name.empty()) {
      out << "name: " << one_line(g.name);
      separator = ", ";
    }
    for (auto& [key, value] : g.labels) {
      out << separator << one_line(key) << ": " << one_line(value);
      separator = ", ";
    }
    out << "}";
  }
  out << ":\n";
  for (auto& f : g.stack) out << indent << f.function << "\n" << indent << "\t" << f.file << ":" << f.line << "\n";
  out << indent << "created by goroutine " << g.parent << "\n"
      << indent << "\t" << g.spawned_at.file_name() << ":" << g.spawned_at.line() << "\n";
}

void dump(std::ostream& out) {
  frozen::for_each_slot([&](goroutine_core* g) {
    goroutine_info info;
    if (!look_at(g, of_caller(), info)) return;
    write_goroutine(out, info, "", "");
    out << "\n";
  });
}

bool unwinding() noexcept {
  return this_worker != nullptr && this_worker->current != nullptr && (this_worker->current->bits & g_unwinding) != 0;
}

static local_value* make_label(goroutine_core* g, std::string_view key, std::string_view value) {
  return local_value::make(local_value::kind::label, g->locals.get(), key, value);
}

label::label(std::string_view key, std::string_view value, std::source_location where)
    : set_(running_goroutine("label", where), make_label(running_goroutine("label", where), key, value)) {}

static local_value* make_keep(goroutine_core* g) {
  auto* v = local_value::make(local_value::kind::keep, g->locals.get(), {}, {});
  v->owner = g->id;
  return v;
}

unreclaimable::unreclaimable(std::source_location where)
    : set_(running_goroutine("unreclaimable", where), make_keep(running_goroutine("unreclaimable", where))) {}

LEASH_READS_FROZEN bool is_unreclaimable(const goroutine_core* g) noexcept {
  std::uint64_t const id = frozen::read(g->id);
  local_value* v = frozen::read(g->locals).get();
  for (int i = 0; v != nullptr && arena::contains(v) && i < 1000; ++i, v = frozen::read(v->shown))
    if (frozen::read(v->what) == local_value::kind::keep && frozen::read(v->owner) == id) return true;
  return false;
}

}  // namespace leash
