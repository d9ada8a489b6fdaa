// The scheduler's queues: making goroutines runnable, and finding them.
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <leash/blocking.hpp>
#include <leash/trace.hpp>
#include <leash/worker.hpp>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include "scheduler.hpp"

namespace leash {

constinit thread_local worker* this_worker __attribute__((tls_model("initial-exec"))) = nullptr;

namespace {

constexpr std::size_t max_runtimes = 4096;
std::atomic<runtime*> runtimes[max_runtimes];
std::shared_mutex runtimes_lock;

std::atomic<std::uint64_t> ids{1};

constexpr std::uint32_t chain_limit = 64;
constexpr std::uint32_t look_around_every = 61;
constexpr std::int64_t short_turn = 1'000;  // ns that a goroutine runs, at most, if it mostly hands over to others
constexpr std::uint32_t most_woken = 31;    // that run in a row while new ones wait
constexpr std::int64_t longest_fresh = 5'000'000;  // ns that the oldest new goroutine waits while newer ones run

void push_local(worker& w, goroutine_core* g) noexcept {
  if (!w.queue.push(g)) [[unlikely]] {
    // Full: half of it goes to the others, with this one at the end.
    goroutine_core* out[129];
    std::uint32_t n = w.queue.steal(out, 128);
    out[n++] = g;
    w.rt->inject(out, n);
    return;
  }
  w.rt->notify();
}

void push_fresh(worker& w, goroutine_core* g) noexcept {
  if (!w.fresh.push(g)) [[unlikely]] {
    // Full: the oldest half goes to the others.
    auto* c = new (arena::allocate(arena::kind::frame, sizeof(goroutine_chunk))) goroutine_chunk;
    while (c->last < goroutine_chunk::capacity) {
      goroutine_core* oldest = w.fresh.steal();
      if (oldest == nullptr && w.fresh.empty()) break;
      if (oldest != nullptr) c->items[c->last++] = oldest;
    }
    (void)w.fresh.push(g);  // there is room now, and only the owner pushes
    w.rt->overflow_fresh(c);
  }
  w.rt->notify();
}

// The next but one is on its way into the cache while the next one runs.
LEASH_INLINE goroutine_core* pop_queue(worker& w) noexcept {
  goroutine_core* g = w.queue.pop(w.single);
  if (g == nullptr) return nullptr;
  if (goroutine_core* soon = w.queue.peek(2)) {
    __builtin_prefetch(soon);
    __builtin_prefetch(reinterpret_cast<const std::byte*>(soon) + 64);
  }
#if !LEASH_TSAN  // a thief may have it by now: then this reads an old frame's address, to no effect
  if (goroutine_core* then = w.queue.peek(0)) __builtin_prefetch(then->leaf);
#endif
  return g;
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
  coarse_milliseconds.store(static_cast<std::uint32_t>(now / 1'000'000), std::memory_order_relaxed);
  return now;
}

clock::time_point clock::now() noexcept {
  return time_point(nanoseconds(runtime_now(this_worker != nullptr ? this_worker->rt : nullptr)));
}

std::uint64_t new_goroutine_id_slow(std::uint16_t runtime_index) noexcept {
  worker* w = this_worker;
  if (w == nullptr) {
    runtime* rt = runtime_at(runtime_index);
    return (rt != nullptr && rt->sim != nullptr ? rt->next_id : ids).fetch_add(1, std::memory_order_relaxed);
  }
  if (w->rt->sim != nullptr) return w->rt->next_id.fetch_add(1, std::memory_order_relaxed);
  std::uint64_t const portion = 256;
  w->id = ids.fetch_add(portion, std::memory_order_relaxed);
  w->last_id = w->id + portion;
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

std::uint64_t runtime::in_flight() const noexcept {
  // As above: one that ends in between is counted.
  std::uint64_t over = foreign_over.load(std::memory_order_acquire), begun = 0;
  for (std::uint32_t i = 0; i < worker_count; ++i) over += workers[i].over.load(std::memory_order_acquire);
  for (std::uint32_t i = 0; i < worker_count; ++i) begun += workers[i].begun.load(std::memory_order_relaxed);
  return begun - over;
}

void runtime::end_outside(std::uint64_t n) noexcept {
  worker* w = this_worker;
  if (w != nullptr && w->rt == this)
    w->over.store(w->over.load(std::memory_order_relaxed) + n, std::memory_order_release);
  else
    foreign_over.fetch_add(n, std::memory_order_release);
}

// --- making runnable

static void free_chunks(goroutine_chunk* c) noexcept {
  while (c != nullptr) {
    goroutine_chunk* next = c->next;
    arena::deallocate(arena::kind::frame, c, sizeof(goroutine_chunk));
    c = next;
  }
}

runtime::~runtime() {
  free_chunks(global_head);
  free_chunks(fresh_oldest);
}

void runtime::inject(goroutine_core* const* all, std::size_t n) noexcept {
  static_assert(sizeof(goroutine_chunk) <= arena::small_limit);
  goroutine_chunk* spare = nullptr;
  for (std::size_t done = 0;;) {
    {
      spin_guard guard(global_lock);
      while (done < n) {
        if (global_tail == nullptr || global_tail->last == goroutine_chunk::capacity) {
          if (spare == nullptr) break;
          (global_tail != nullptr ? global_tail->next : global_head) = spare;
          global_tail = std::exchange(spare, nullptr);
        }
        global_tail->items[global_tail->last++] = all[done++];
        global_count.store(global_count.load(std::memory_order_relaxed) + 1, std::memory_order_release);
      }
    }
    if (done == n) break;
    spare = new (arena::allocate(arena::kind::frame, sizeof(goroutine_chunk))) goroutine_chunk;  // not under the lock
  }
  if (spare != nullptr) arena::deallocate(arena::kind::frame, spare, sizeof(goroutine_chunk));
  // Threads that are no workers push here only, so an only worker needs no heavy fence to go to sleep.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  notify();
}

void runtime::inject(goroutine_core* g) noexcept { inject(&g, 1); }

void runtime::overflow_fresh(goroutine_chunk* c) noexcept {
  if (c->last == 0) {  // thieves were quicker
    arena::deallocate(arena::kind::frame, c, sizeof(goroutine_chunk));
    return;
  }
  spin_guard guard(global_lock);
  c->prev = fresh_newest;
  (fresh_newest != nullptr ? fresh_newest->next : fresh_oldest) = c;
  fresh_newest = c;
  fresh_chunks.store(fresh_chunks.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

/// By a thread that is none of rt's workers.
static void schedule_from_outside(runtime& rt, goroutine_core* g) {
  visit const until_told(rt);
  if (observed_everywhere.load(std::memory_order_relaxed) != 0 && rt.sim == nullptr) [[unlikely]]
    note_wake(nullptr, g);
  rt.inject(g);
}

/// What is recorded, or simulated, when g becomes runnable. True: the simulation has it, and there is no more to do.
LEASH_INLINE static bool is_unusual(worker& w, goroutine_core* g) {
  if (w.unusual.load(std::memory_order_relaxed) == 0) [[likely]]
    return false;
  if (w.rt->sim != nullptr) {
    w.rt->sim->ready.push_back(g);
    return true;
  }
  note_wake(&w, g);
  return false;
}

void schedule(goroutine_core* g) {
  runtime* rt = runtime_at(g->runtime_index);
  worker* w = this_worker;
  if (w == nullptr || w->rt != rt) return schedule_from_outside(*rt, g);
  if (is_unusual(*w, g)) return;
  if (goroutine_core* before = w->next.exchange(g)) {
    // What is pushed out waits among its like.
    (before->bits & g_started) != 0 ? push_local(*w, before) : push_fresh(*w, before);
  } else if (!w->single) {
    rt->notify_watch();
  }
}

void schedule_last(goroutine_core* g) {
  runtime* rt = runtime_at(g->runtime_index);
  worker* w = this_worker;
  if (w == nullptr || w->rt != rt) return schedule_from_outside(*rt, g);
  if (is_unusual(*w, g)) return;
  push_local(*w, g);
}

void schedule_completed(worker& w, goroutine_core* g) noexcept {
  if (is_unusual(w, g)) return;
  if (!w.queue.push(g)) [[unlikely]]
    push_local(w, g);
}

void schedule_yielded(worker& w, goroutine_core* g) noexcept {
  if (w.rt->sim == nullptr) [[likely]] {
    // Who has not begun goes first: behind the overflow queue a goroutine that polls (`while (!done) co_await yield();`)
    // has one turn in look_around_every until they have begun, not all turns but one in most_woken.
    if (!w.fresh.empty() || w.rt->fresh_chunks.load(std::memory_order_relaxed) != 0) {
      w.rt->inject(g);
      return;
    }
    // Alone on its worker it goes on at once: nobody is woken to take it away. Whatever else comes here is told of by
    // whoever brings it, and then found together with this one.
    if (w.queue.empty() && w.next.empty() && w.rt->global_count.load(std::memory_order_relaxed) == 0) {
      (void)w.queue.push(g);  // an empty queue has room
      return;
    }
  }
  w.rt->sim != nullptr ? w.rt->sim->ready.push_back(g) : push_local(w, g);
}

// --- finding

goroutine_core* take_global(worker& w) noexcept {
  runtime& rt = *w.rt;
  if (rt.global_count.load(std::memory_order_acquire) == 0) return nullptr;
  goroutine_core* taken[goroutine_chunk::capacity];
  std::uint32_t n = 0;
  goroutine_chunk* empty = nullptr;
  {
    spin_guard guard(rt.global_lock);
    std::size_t const count = rt.global_count.load(std::memory_order_relaxed);
    if (count == 0) return nullptr;
    goroutine_chunk* c = rt.global_head;
    if (c->first == c->last) {  // used up, and kept as the tail until now
      empty = c;
      c = rt.global_head = c->next;
    }
    std::size_t const fair = rt.worker_count == 1 ? count : count / rt.worker_count + 1;
    while (n < fair && c->first < c->last) taken[n++] = c->items[c->first++];
    rt.global_count.store(count - n, std::memory_order_relaxed);
    if (c->first == c->last && c->next == nullptr) c->first = c->last = 0;  // the tail: filled again from the front
  }
  if (empty != nullptr) arena::deallocate(arena::kind::frame, empty, sizeof(goroutine_chunk));
  for (std::uint32_t i = 1; i < n; ++i) {
    if (i < 4) __builtin_prefetch(taken[i]);
    if (!w.queue.push(taken[i])) rt.inject(taken[i]);
  }
  return taken[0];
}

goroutine_core* take_overflowed(worker& w, bool newest) noexcept {
  runtime& rt = *w.rt;
  if (rt.fresh_chunks.load(std::memory_order_acquire) == 0) return nullptr;
  goroutine_chunk* c = nullptr;
  {
    spin_guard guard(rt.global_lock);
    c = newest ? rt.fresh_newest : rt.fresh_oldest;
    if (c == nullptr) return nullptr;
    (c->prev != nullptr ? c->prev->next : rt.fresh_oldest) = c->next;
    (c->next != nullptr ? c->next->prev : rt.fresh_newest) = c->prev;
    rt.fresh_chunks.store(rt.fresh_chunks.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  }
  // The newest of them runs now; the others as if they had been started here.
  goroutine_core* g = c->items[--c->last];
  while (c->first < c->last)
    if (goroutine_core* older = c->items[c->first++]; !w.fresh.push(older)) rt.inject(older);
  arena::deallocate(arena::kind::frame, c, sizeof(goroutine_chunk));
  return g;
}

/// Since `w` last looked there.
static bool makes_short_turns(worker& w, const worker& victim) noexcept {
  std::uint32_t const tick = victim.tick.load(std::memory_order_relaxed);
  std::int64_t const now = steady_now();
  auto& [last_tick, last_time] = w.seen[victim.index];
  std::uint32_t const turns = tick - std::exchange(last_tick, tick);
  return turns * short_turn >= now - std::exchange(last_time, now);
}

goroutine_core* steal_work(worker& w, stealing how) noexcept {
  runtime& rt = *w.rt;
  if (goroutine_core* g = take_global(w)) return g;
  if (goroutine_core* g = take_overflowed(w, false)) return g;
  if (how == stealing::patiently) w.left_some = false;
  std::uint32_t const n = rt.worker_count;
  std::uint32_t const start = static_cast<std::uint32_t>(w.next_random() % n);
  for (std::uint32_t i = 0; i < n; ++i) {
    worker& victim = rt.workers[(start + i) % n];
    if (&victim == &w) continue;
    if (goroutine_core* g = victim.fresh.steal()) {
      // Half of them at once: one at a time would keep the owner's cache lines on the way between the two.
      for (std::size_t more = victim.fresh.size() / 2; more > 0; --more) {
        goroutine_core* next = victim.fresh.steal();
        if (next == nullptr) break;
        if (!w.fresh.push(next)) rt.inject(next);
      }
      return g;
    }
    std::size_t const waiting = how == stealing::new_ones ? 0 : victim.queue.size();
    if (waiting == 0) continue;
    if (how == stealing::patiently && waiting < long_queue && makes_short_turns(w, victim)) {
      w.left_some = true;
      continue;
    }
    goroutine_core* out[128];
    if (std::uint32_t const taken = victim.queue.steal(out, 128)) {
      for (std::uint32_t k = 1; k < taken; ++k)
        if (!w.queue.push(out[k])) rt.inject(out[k]);
      return out[0];
    }
  }
  return nullptr;
}

// Makes a call of blocking() on a thread of the pool, and waits for its end: a step like any other. One that does not
// end soon may be waiting for a goroutine of this run, so the run goes on without it.
static void make_simulated_call(worker& w, blocking_job* job) noexcept {
  runtime& rt = *w.rt;
  std::uint64_t const before = rt.in_flight();
  try {
    rt.blocking->submit(job);
  } catch (...) {
    job->run(job);  // no thread is to be had
  }
  std::int64_t const until = steady_now() + (rt.sim->call_outlasted ? 0 : 100'000'000);
  while (rt.in_flight() >= before) {
    if (steady_now() >= until) {
      rt.sim->call_outlasted = true;
      return;
    }
    if (rt.global_count.load(std::memory_order_acquire) != 0)
      std::this_thread::yield();  // it has ended, or is about to
    else
      sleep_until(w, until);
  }
}

goroutine_core* find_simulated(worker& w) noexcept {
  runtime& rt = *w.rt;
  simulation& s = *rt.sim;
  std::int64_t idle_since = 0;
  if (w.tick.load(std::memory_order_relaxed) % look_around_every == 0) poll_reactor(w, w.index);
  for (;;) {
    if (goroutine_core* g = take_completed(w)) s.ready.push_back(g);
    while (goroutine_core* g = take_global(w)) {
      s.ready.push_back(g);
      while (goroutine_core* more = w.queue.pop(w.single)) s.ready.push_back(more);
    }
    if (!s.ready.empty()) {
      if (idle_since != 0) s.now = std::min(w.timers.next_time(), s.now + steady_now() - idle_since);
      idle_since = 0;
      std::size_t const i = s.choose(s.ready);
      goroutine_core* g = s.ready[i];
      s.ready.erase(s.ready.begin() + static_cast<std::ptrdiff_t>(i));
      s.yielded = false;
      auto const call = std::find_if(s.calls.begin(), s.calls.end(), [g](auto& c) { return c.first == g; });
      if (call == s.calls.end()) return g;
      blocking_job* job = call->second;
      s.calls.erase(call);
      make_simulated_call(w, job);
      continue;
    }
    if (rt.stopping.load(std::memory_order_acquire)) return nullptr;
    std::int64_t const next = w.timers.next_time();
    std::int64_t real = INT64_MAX;
    if (rt.in_flight() == 0) {
      if (w.timers.awaited() == 0 && rt.hooks.quiet != nullptr && (rt.hooks.quiet(&rt) || !s.ready.empty())) continue;
    } else if (next != INT64_MAX) {
      // Something outside is under way: until it ends, time passes here as it does there.
      if (idle_since == 0) idle_since = steady_now();
      real = idle_since + std::max<std::int64_t>(next - s.now, 0);
      if (steady_now() < real) {
        sleep_until(w, real);
        continue;
      }
    }
    if (next != INT64_MAX) {
      if (s.check_due <= next) {
        std::uint32_t const steps = w.tick.load(std::memory_order_relaxed);
        if (s.checked && s.steps_checked == steps) {
          // Nothing has run since the last check: those until the next timer would find the same.
          s.check_due += ((next - s.check_due) / s.check_every + 1) * s.check_every;
          continue;
        }
        s.now = std::max(s.now, s.check_due);
        s.check_due = s.now + s.check_every;
        s.checked = true;
        s.steps_checked = steps;
        look_at_clock(rt);
        rt.hooks.tick(&rt);
        continue;
      }
      if (next > s.now) s.now = next;
      look_at_clock(rt);
      w.timers.expire(s.now);
      idle_since = 0;
      continue;
    }
    // Something outside must move first: a blocking call, a foreign thread.
    sleep_until(w, INT64_MAX);
  }
}

// --- runtimes

runtime* runtime_at(std::uint16_t index) noexcept { return runtimes[index].load(std::memory_order_acquire); }

void for_each_runtime(const std::function<void(runtime&)>& f) {
  std::shared_lock guard(runtimes_lock);
  for (auto& r : runtimes)
    if (runtime* rt = r.load(std::memory_order_acquire)) f(*rt);
}

void visit_runtime(std::uint16_t index, const std::function<void(runtime&)>& f) {
  if (index >= max_runtimes) return;
  std::shared_lock guard(runtimes_lock);
  if (runtime* rt = runtime_at(index)) f(*rt);
}

void register_runtime(runtime& rt) {
  static std::uint64_t serials = 0;
  std::lock_guard guard(runtimes_lock);
  rt.serial = ++serials;
  for (std::size_t i = 0; i < max_runtimes; ++i)
    if (runtimes[i].load(std::memory_order_relaxed) == nullptr) {
      rt.index = static_cast<std::uint16_t>(i);
      observe_runtime(rt);
      runtimes[i].store(&rt, std::memory_order_release);
      return;
    }
  throw std::runtime_error("leash: more than 4096 runtimes at once");
}

void unregister_runtime(runtime& rt) noexcept {
  forget_runtime(rt);
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
    if (rt.sim != nullptr) w.unusual.store(is_simulated, std::memory_order_relaxed);
    w.seen = std::make_unique<ticks_seen[]>(count);
    w.timers.start(runtime_now(&rt), rt.sim != nullptr ? 0 : 16);
    w.random = rt.sim != nullptr ? rt.sim->seed : 0x9e3779b97f4a7c15u * (i + 1);
  }
  look_at_clock(rt);  // before the first goroutine is made
}

static void work(worker& w) noexcept {
  this_worker = &w;
  w.thread.store(static_cast<std::int32_t>(gettid()), std::memory_order_relaxed);
  while (goroutine_core* g = find_work(w)) run_goroutine(w, g);
  w.thread.store(0, std::memory_order_relaxed);
  this_worker = nullptr;
}

void run_workers(runtime& rt) {
  std::vector<std::thread> threads;
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
  {
    lone_worker const alone(rt.worker_count == 1);
    work(rt.workers[0]);
  }
  for (auto& t : threads) t.join();
  while (rt.visitors.load(std::memory_order_acquire) != 0) std::this_thread::yield();
}

/// New goroutines are taken newest first, and after those that were woken: the oldest must get its turn. By time, not by
/// count: each one that is begun too early keeps all that it starts alive at once.
static goroutine_core* take_overdue(worker& w, std::int64_t now) noexcept {
  if (w.rt->fresh_chunks.load(std::memory_order_relaxed) != 0 && now - w.overflow_since > longest_fresh) {
    w.overflow_since = now;
    return take_overflowed(w, false);
  }
  if (std::int64_t const oldest = w.fresh.oldest(); oldest != w.fresh_oldest || w.fresh.empty()) {
    w.fresh_oldest = oldest;
    w.fresh_since = now;
    return nullptr;
  }
  return now - w.fresh_since > longest_fresh ? w.fresh.steal() : nullptr;
}

static goroutine_core* take_fresh(worker& w) noexcept {
  w.since_fresh = 0;
  if (goroutine_core* g = w.fresh.pop(w.single)) return g;
  return take_overflowed(w, true);
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
    poll_reactor(w, w.index);
    if (goroutine_core* g = take_completed(w)) return g;
    // Who sleeps may be woken by events each time that it should look around.
    if (rt.ticking.load(std::memory_order_relaxed))
      if (goroutine_core* g = look_after_others(w, now)) return g;
    if (goroutine_core* g = take_overdue(w, now)) return g;
    if (goroutine_core* g = take_global(w)) return g;
  }
  if (++w.since_fresh > most_woken) [[unlikely]] {  // goroutines that wake each other must not keep new ones waiting
    if (goroutine_core* g = take_fresh(w)) return g;
  }
  if (w.chain < chain_limit) [[likely]] {
    if (goroutine_core* g = w.next.take()) {
      ++w.chain;
      return g;
    }
  }
  w.chain = 0;
  if (goroutine_core* g = pop_queue(w)) return g;
  if (goroutine_core* g = take_fresh(w)) return g;
  if (goroutine_core* g = take_global(w)) return g;
  if (goroutine_core* g = w.next.take()) return g;
  if (rt.stopping.load(std::memory_order_acquire)) return nullptr;
  return idle(w);
}

}  // namespace leash
