#include "sighting.hpp"

#include <algorithm>
#include <leash/context.hpp>
#include <leash/scope.hpp>

#include "frozen.hpp"
#include "runtime/scheduler.hpp"

namespace leash {

namespace {

constexpr std::size_t longest_text = 4096;  // of longer names and labels the beginning is seen

// Copies text that may be freed meanwhile, without asking a sanitizer.
LEASH_READS_FROZEN void copy_text(const char* from, std::size_t n, std::string& to) {
  to.clear();
  if (!arena::contains(from)) return;
  n = std::min(n, longest_text);
  to.resize(n);
  for (std::size_t i = 0; i < n; ++i) to[i] = *const_cast<const volatile char*>(from + i);
}

void read_locals(const goroutine_core* g, sighting& s) {
  local_value* v = frozen::read(g->locals).get();
  for (int i = 0; v != nullptr && arena::contains(v) && i < 1000; ++i, v = frozen::read(v->shown)) {
    auto const* text = reinterpret_cast<const char*>(v + 1);
    std::uint32_t const key_bytes = frozen::read(v->key_bytes), text_bytes = frozen::read(v->text_bytes);
    local_value::kind const what = frozen::read(v->what);
    if (what == local_value::kind::name && frozen::read(v->owner) == s.id && s.name.empty()) {
      copy_text(text, text_bytes, s.name);
    } else if (what == local_value::kind::label) {
      if (s.label_count == s.labels.size()) s.labels.emplace_back();
      auto& [key, value] = s.labels[s.label_count++];
      copy_text(text, key_bytes, key);
      copy_text(text + key_bytes, text_bytes, value);
    }
  }
}

void read_scope(const goroutine_core* g, sighting& s) {
  scope_core* home = frozen::read(g->home).get();
  s.scope = home;
  s.parent = 0;
  s.parent_scope = nullptr;
  s.scope_made_at = {};
  if (home == nullptr) return;
  s.scope_made_at = frozen::read(home->made_at);
  goroutine_core* owner = frozen::read(home->owner);
  if (owner == nullptr || !arena::contains(owner)) return;
  s.parent = frozen::read(owner->id);
  s.parent_scope = frozen::read(owner->home).get();
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

std::uint32_t ago(std::uint32_t tick, std::uint32_t then) noexcept {
  std::uint32_t const d = tick - then;
  return d > INT32_MAX ? 0 : d;  // a tick that is a little ahead
}

}  // namespace

std::string_view sighting::state() const noexcept {
  return waiting ? name_of(reason) : running ? "running" : "runnable";
}

std::uint32_t looking_tick() noexcept {
  return this_worker != nullptr ? coarse_tick() : static_cast<std::uint32_t>(steady_now() / 1'000'000);
}

bool look_at(const goroutine_core* g, const runtime* only, std::uint32_t tick, sighting& s, std::size_t most_frames) {
  for (int attempt = 0; attempt < 16; ++attempt) {
    std::uint64_t const word = g->park.load(std::memory_order_acquire);
    park_state const state = state_of(word);
    if (state == park_state::free || state == park_state::done) return false;
    std::uint16_t const rt_index = frozen::read(g->runtime_index);
    if (only != nullptr && rt_index != only->index) return false;
    s.word = word;
    s.id = frozen::read(g->id);
    s.spawned_at = frozen::read(g->spawned_at);
    s.born = ago(tick, frozen::read(g->born));
    s.waiting = s.running = false;
    s.depth = 0;
    s.since = 0;
    s.reason = wait_reason::none;
    s.name.clear();
    s.label_count = 0;
    read_scope(g, s);
    read_locals(g, s);
    if (frozen::waits(word)) {
      std::size_t n = 0;
      for (promise_base* p = frozen::read(g->leaf); p != nullptr && arena::contains(p) && n < most_frames;
           p = frozen::parent_of(p))
        s.frames[n++] = frozen::where_of(p);
      wait_reason const reason = reason_of(g);
      std::uint32_t const since = ago(tick, frozen::read(g->parked_at));
      std::atomic_thread_fence(std::memory_order_acquire);
      if (g->park.load(std::memory_order_relaxed) != word) continue;  // it moved: what was read may be anything
      s.waiting = true;
      s.reason = reason;
      s.since = since;
      s.depth = n;
      return true;
    }
    bool const running = is_running(g, rt_index);
    std::atomic_thread_fence(std::memory_order_acquire);
    std::uint64_t const after = g->park.load(std::memory_order_relaxed);
    if (state_of(after) == park_state::free || state_of(after) == park_state::done) return false;
    if (frozen::read(g->id) != s.id) continue;
    s.running = running;
    return true;
  }
  s.running = true;
  return true;
}

}  // namespace leash
