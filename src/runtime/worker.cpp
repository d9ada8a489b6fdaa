// The scheduler's queues: making goroutines runnable, and finding them.
#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <leash/blocking.hpp>
#include <leash/worker.hpp>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include "scheduler.hpp"

namespace leash {

thread_local worker* this_worker __attribute__((tls_model("initial-exec"))) = nullptr;

namespace {

constexpr std::size_t max_runtimes = 4096;
std::atomic<runtime*> runtimes[max_runtimes];
std::shared_mutex runtimes_lock;

std::atomic<std::uint64_t> ids{1};
std::atomic<std::uint32_t> milliseconds{0};

constexpr std::uint32_t chain_limit = 64;
constexpr std::uint32_t look_around_every = 61;

void push_local(worker& w, goroutine_core* g) noexcept {
  if (!w.queue.push(g)) [[unlikely]] {
    // Full: half of it goes to the others, with this one at the end.
    goroutine_core* out[128];
    std::uint32_t const n = w.queue.steal(out, 128);
    if (n == 0) {
      w.rt->inject_list(g, g, 1);
      return;
    }
    for (std::uint32_t i = 0; i + 1 < n; ++i) out[i]->next = out[i + 1];
    out[n - 1]->next = g;
    w.rt->inject_list(out[0], g, n + 1);
  }
  w.rt->notify();
}

}  // namespace

std::int64_t steady_now() noexcept {
  return std::chrono::duration_cast<nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::int64_t runtime_now(const runtime* rt) noexcept {
  return rt != nullptr && rt->sim != nullptr ? rt->sim->now : steady_now();
}

std::int64_t look_at_clock(runtime& rt) noexcept {
  std::int64_t const now = runtime_now(&rt);
  milliseconds.store(static_cast<std::uint32_t>(now / 1'000'000), std::memory_order_relaxed);
  return now;
}

clock::time_point clock::now() noexcept {
  return time_point(nanoseconds(runtime_now(this_worker != nullptr ? this_worker->rt : nullptr)));
}

std::uint32_t coarse_tick() noexcept { return milliseconds.load(std::memory_order_relaxed); }

std::uint64_t new_goroutine_id() noexcept {
  worker* w = this_worker;
  if (w == nullptr) return ids.fetch_add(1, std::memory_order_relaxed);
  if (w->id == w->last_id) {
    std::uint64_t const portion = w->rt->sim != nullptr ? 1 : 256;
    w->id = ids.fetch_add(portion, std::memory_order_relaxed);
    w->last_id = w->id + portion;
  }
  return w->id++;
}

void count_spawned(runtime* rt) noexcept {
  worker* w = this_worker;
  if (w != nullptr && w->rt == rt) {
    w->spawned.store(w->spawned.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  } else {
    rt->foreign_spawned.fetch_add(1, std::memory_order_relaxed);
  }
}

std::size_t runtime::live_goroutines() const noexcept {
  // Ends first: a goroutine that ends in between is counted as live rather than missed.
  std::uint64_t ended = 0, spawned = 0;
  for (std::uint32_t i = 0; i < worker_count; ++i) ended += workers[i].ended.load(std::memory_order_acquire);
  for (std::uint32_t i = 0; i < worker_count; ++i) spawned += workers[i].spawned.load(std::memory_order_relaxed);
  return static_cast<std::size_t>(spawned + foreign_spawned.load(std::memory_order_relaxed) - ended);
}

// --- making runnable
// ----------------------------------------------------------------------------------------------------

void runtime::inject_list(goroutine_core* first, goroutine_core* last, std::size_t n) noexcept {
  last->next = nullptr;
  spin_guard guard(global_lock);
  (global_tail != nullptr ? global_tail->next : global_head) = first;
  global_tail = last;
  global_count.store(global_count.load(std::memory_order_relaxed) + n, std::memory_order_release);
}

void runtime::inject(goroutine_core* g) noexcept {
  inject_list(g, g, 1);
  notify();
}

void schedule(goroutine_core* g) {
  runtime* rt = runtime_at(g->runtime_index);
  worker* w = this_worker;
  if (w == nullptr || w->rt != rt) {
    rt->inject(g);
    return;
  }
  if (rt->sim != nullptr) [[unlikely]] {
    rt->sim->ready.push_back(g);
    return;
  }
  goroutine_core* before;
  if (w->single) {
    before = w->next.load(std::memory_order_relaxed);
    w->next.store(g, std::memory_order_relaxed);
  } else {
    // ORD next-1 acq_rel: hands the goroutine, and what its waker wrote, to whoever takes it.
    before = w->next.exchange(g, std::memory_order_acq_rel);
  }
  if (before != nullptr) {
    push_local(*w, before);
  } else if (!w->single) {
    rt->notify_watch();
  }
}

void schedule_last(goroutine_core* g) {
  runtime* rt = runtime_at(g->runtime_index);
  worker* w = this_worker;
  if (w == nullptr || w->rt != rt) {
    rt->inject(g);
  } else if (rt->sim != nullptr) [[unlikely]] {
    rt->sim->ready.push_back(g);
  } else {
    push_local(*w, g);
  }
}

// --- finding
// --------------------------------------------------------------------------------------------------------------

LEASH_INLINE static goroutine_core* take_next(worker& w) noexcept {
  goroutine_core* g = w.next.load(std::memory_order_relaxed);
  if (g == nullptr) return nullptr;
  if (w.single) {
    w.next.store(nullptr, std::memory_order_relaxed);
    return g;
  }
  return w.next.exchange(nullptr, std::memory_order_acq_rel);  // ORD next-1; null: the sentry was quicker
}

goroutine_core* take_global(worker& w) noexcept {
  runtime& rt = *w.rt;
  if (rt.global_count.load(std::memory_order_acquire) == 0) return nullptr;
  goroutine_core* first = nullptr;
  goroutine_core* rest = nullptr;
  {
    spin_guard guard(rt.global_lock);
    std::size_t const count = rt.global_count.load(std::memory_order_relaxed);
    if (count == 0) return nullptr;
    std::size_t const n = std::min<std::size_t>({count, count / rt.worker_count + 1, 128});
    first = rt.global_head;
    goroutine_core* last = first;
    for (std::size_t i = 1; i < n; ++i) last = last->next;
    rt.global_head = last->next;
    if (rt.global_head == nullptr) rt.global_tail = nullptr;
    last->next = nullptr;
    rt.global_count.store(count - n, std::memory_order_relaxed);
    rest = first->next;
  }
  while (rest != nullptr) {
    goroutine_core* g = rest;
    rest = g->next;
    if (!w.queue.push(g)) rt.inject(g);
  }
  return first;
}

goroutine_core* steal_work(worker& w) noexcept {
  runtime& rt = *w.rt;
  if (goroutine_core* g = take_global(w)) return g;
  std::uint32_t const n = rt.worker_count;
  std::uint32_t const start = static_cast<std::uint32_t>(w.next_random() % n);
  for (std::uint32_t i = 0; i < n; ++i) {
    worker& victim = rt.workers[(start + i) % n];
    if (&victim == &w) continue;
    goroutine_core* out[128];
    if (std::uint32_t const taken = victim.queue.steal(out, 128)) {
      for (std::uint32_t k = 1; k < taken; ++k)
        if (!w.queue.push(out[k])) rt.inject(out[k]);
      return out[0];
    }
  }
  return nullptr;
}

goroutine_core* find_simulated(worker& w) noexcept {
  runtime& rt = *w.rt;
  simulation& s = *rt.sim;
  for (;;) {
    while (goroutine_core* g = take_global(w)) {
      s.ready.push_back(g);
      while (goroutine_core* more = w.queue.pop()) s.ready.push_back(more);
    }
    if (!s.ready.empty()) {
      std::size_t const i = s.ready.size() == 1 ? 0 : s.choose(s.ready);
      goroutine_core* g = s.ready[i];
      s.ready.erase(s.ready.begin() + static_cast<std::ptrdiff_t>(i));
      return g;
    }
    if (rt.stopping.load(std::memory_order_acquire)) return nullptr;
    if (rt.in_flight.load(std::memory_order_acquire) == 0) {
      if (std::int64_t const next = w.timers.next_time(); next != INT64_MAX) {
        if (next > s.now) s.now = next;
        look_at_clock(rt);
        w.timers.expire(s.now);
        continue;
      }
      if (rt.hooks.quiet != nullptr && rt.hooks.quiet(&rt)) continue;
    }
    // Something outside must move first: a blocking call, a foreign thread.
    sleep_until(w, INT64_MAX);
  }
}

// --- runtimes
// ---------------------------------------------------------------------------------------------------------------

runtime* runtime_at(std::uint16_t index) noexcept { return runtimes[index].load(std::memory_order_acquire); }

void for_each_runtime(const std::function<void(runtime&)>& f) {
  std::shared_lock guard(runtimes_lock);
  for (auto& r : runtimes)
    if (runtime* rt = r.load(std::memory_order_acquire)) f(*rt);
}

void register_runtime(runtime& rt) {
  std::lock_guard guard(runtimes_lock);
  for (std::size_t i = 0; i < max_runtimes; ++i)
    if (runtimes[i].load(std::memory_order_relaxed) == nullptr) {
      rt.index = static_cast<std::uint16_t>(i);
      runtimes[i].store(&rt, std::memory_order_release);
      return;
    }
  throw std::runtime_error("leash: more than 4096 runtimes at once");
}

void unregister_runtime(runtime& rt) noexcept {
  std::lock_guard guard(runtimes_lock);
  runtimes[rt.index].store(nullptr, std::memory_order_release);
}

void prepare_workers(runtime& rt, std::uint32_t count) {
  rt.workers = std::make_unique<worker[]>(count);
  rt.worker_count = count;
  for (std::uint32_t i = 0; i < count; ++i) {
    worker& w = rt.workers[i];
    w.rt = &rt;
    w.index = i;
    w.single = count == 1;
    w.random = rt.sim != nullptr ? rt.sim->seed : 0x9e3779b97f4a7c15u * (i + 1);
  }
}

static void work(worker& w) noexcept {
  this_worker = &w;
  while (goroutine_core* g = find_work(w)) run_goroutine(w, g);
  this_worker = nullptr;
}

void run_workers(runtime& rt) {
  std::vector<std::thread> threads;

  look_at_clock(rt);
  try {
    threads.reserve(rt.worker_count - 1);
    for (std::uint32_t i = 1; i < rt.worker_count; ++i)
      threads.emplace_back([&rt, i] {
        pthread_setname_np(pthread_self(), ("leash-" + std::to_string(i)).c_str());
        work(rt.workers[i]);
      });
  } catch (const std::system_error&) {
    // The machine gives no more threads: go on with those there are. What the missing ones would run, the others steal.
  }
  work(rt.workers[0]);
  for (auto& t : threads) t.join();
}

goroutine_core* find_work(worker& w) noexcept {
  runtime& rt = *w.rt;
  if (rt.sim != nullptr) return find_simulated(w);
  std::uint32_t const tick = w.tick.load(std::memory_order_relaxed);
  if (tick % 8 == 0 && w.timers.next_time() != INT64_MAX) {
    std::int64_t const now = look_at_clock(rt);
    if (w.timers.next_time() <= now) w.timers.expire(now);
  }
  if (tick % look_around_every == 0) {
    std::int64_t const now = look_at_clock(rt);
    for (std::uint32_t i = 0; i < rt.worker_count; ++i)
      if (rt.workers[i].timers.next_time() <= now) rt.workers[i].timers.expire(now);
    if (rt.hooks.tick != nullptr) rt.hooks.tick(&rt, now);
    if (goroutine_core* g = take_global(w)) return g;
  }
  if (w.chain < chain_limit) [[likely]] {
    if (goroutine_core* g = take_next(w)) {
      ++w.chain;
      return g;
    }
  }
  w.chain = 0;
  if (goroutine_core* g = w.queue.pop()) return g;
  if (goroutine_core* g = take_global(w)) return g;
  if (goroutine_core* g = take_next(w)) return g;
  if (rt.stopping.load(std::memory_order_acquire)) return nullptr;
  return idle(w);
}

}  // namespace leash
