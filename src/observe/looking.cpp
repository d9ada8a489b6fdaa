#include "looking.hpp"

#include <algorithm>
#include <bit>
#include <leash/looking.hpp>
#include <leash/scope.hpp>
#include <ostream>

#include "frozen.hpp"

namespace leash {

namespace {

constexpr std::size_t deepest = 256;  // frames of one stack that are kept

// Copies text that may be freed meanwhile, without asking a sanitizer.
LEASH_READS_FROZEN std::string copy_text(const char* from, std::size_t n) {
  std::string s;
  if (n > 4096 || !arena::contains(from)) return s;
  s.resize(n);
  for (std::size_t i = 0; i < n; ++i) s[i] = *const_cast<const volatile char*>(from + i);
  return s;
}

void read_locals(const goroutine_core* g, std::uint64_t id, goroutine_info& info) {
  local_value* v = frozen::read(g->locals).get();
  for (int i = 0; v != nullptr && arena::contains(v) && i < 1000; ++i, v = frozen::read(v->shown)) {
    auto const* text = reinterpret_cast<const char*>(v + 1);
    std::uint32_t const key_bytes = frozen::read(v->key_bytes), text_bytes = frozen::read(v->text_bytes);
    local_value::kind const what = frozen::read(v->what);
    if (what == local_value::kind::name && frozen::read(v->owner) == id && info.name.empty()) {
      info.name = copy_text(text, text_bytes);
    } else if (what == local_value::kind::label) {
      info.labels.emplace_back(copy_text(text, key_bytes), copy_text(text + key_bytes, text_bytes));
    }
  }
}

std::uint64_t owner_id(scope_core* s) {
  if (s == nullptr) return 0;
  goroutine_core* owner = frozen::read(s->owner);
  return owner != nullptr && arena::contains(owner) ? frozen::read(owner->id) : 0;
}

wait_reason reason_of(const goroutine_core* g) {
  std::uint16_t const n = frozen::read(g->wait_count);
  if (n != 1) return wait_reason::select;
  waiter* w = frozen::waiter_of(g, 0);
  return w != nullptr ? frozen::read(w->reason) : wait_reason::none;
}

bool is_running(const goroutine_core* g, std::uint16_t rt_index) {
  bool found = false;
  visit_runtime(rt_index, [&](runtime& rt) {
    for (std::uint32_t i = 0; i < rt.worker_count; ++i) found |= frozen::read(rt.workers[i].current) == g;
  });
  return found;
}

}  // namespace

bool look_at(const goroutine_core* g, const runtime* only, goroutine_info& info) {
  for (int attempt = 0; attempt < 16; ++attempt) {
    std::uint64_t const word = g->park.load(std::memory_order_acquire);
    park_state const s = state_of(word);
    if (s == park_state::free || s == park_state::done) return false;
    std::uint16_t const rt_index = frozen::read(g->runtime_index);
    if (only != nullptr && rt_index != only->index) return false;
    info = {};
    info.id = frozen::read(g->id);
    info.spawned_at = frozen::read(g->spawned_at);
    info.parent = owner_id(frozen::read(g->home).get());
    read_locals(g, info.id, info);
    if (frozen::waits(word)) {
      std::source_location frames[deepest];
      std::size_t n = 0;
      for (promise_base* p = frozen::read(g->leaf); p != nullptr && arena::contains(p) && n < deepest;
           p = frozen::parent_of(p))
        frames[n++] = frozen::where_of(p);
      wait_reason const reason = reason_of(g);
      std::uint32_t const ago = coarse_tick() - frozen::read(g->parked_at);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (g->park.load(std::memory_order_relaxed) != word) continue;  // it moved: what was read may be anything
      info.state = "waiting";
      info.wait = name_of(reason);
      info.waited = std::chrono::milliseconds(std::min<std::uint32_t>(ago, INT32_MAX));
      info.since = now() - info.waited;
      for (std::size_t i = 0; i < n; ++i)
        info.stack.push_back(
            {frames[i].function_name(), frames[i].file_name(), static_cast<unsigned>(frames[i].line())});
      return true;
    }
    bool const running = is_running(g, rt_index);
    std::atomic_thread_fence(std::memory_order_acquire);
    std::uint64_t const after = g->park.load(std::memory_order_relaxed);
    if (state_of(after) == park_state::free || state_of(after) == park_state::done) return false;
    if (frozen::read(g->id) != info.id) continue;
    info.state = running ? "running" : "runnable";
    return true;
  }
  info.state = "running";
  info.stack.clear();
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

void write_goroutine(std::ostream& out, const goroutine_info& g, std::string_view mark, std::string_view indent) {
  auto const minutes = std::chrono::duration_cast<std::chrono::minutes>(g.waited).count();
  out << indent << "goroutine " << g.id << " [" << (g.state == "waiting" ? g.wait : g.state) << mark;
  if (g.state == "waiting" && minutes >= 1) out << ", " << minutes << " minutes";
  out << "]";
  if (!g.name.empty() || !g.labels.empty()) {
    out << " {";
    const char* separator = "";
    if (!g.name.empty()) {
      out << "name: " << g.name;
      separator = ", ";
    }
    for (auto& [key, value] : g.labels) {
      out << separator << key << ": " << value;
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
