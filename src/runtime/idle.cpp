// Workers without work: spinning, watching, sleeping, and being woken.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <leash/worker.hpp>

#include "scheduler.hpp"

namespace leash {
namespace {

constexpr int spin_rounds = 40;
constexpr std::uint32_t shortest_poll = 100, longest_poll = 1000;  // microseconds

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t until) noexcept {
  timespec t{};
  if (until != INT64_MAX) {
    t.tv_sec = until / 1'000'000'000;
    t.tv_nsec = until % 1'000'000'000;
  }
  // Absolute time on the monotonic clock, which is steady_clock's.
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_BITSET_PRIVATE, expected,
          until == INT64_MAX ? nullptr : &t, nullptr, FUTEX_BITSET_MATCH_ANY);
}
void futex_wake(std::atomic<std::uint32_t>& word) noexcept {
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

std::int64_t earliest_timer(const runtime& rt) noexcept {
  std::int64_t t = INT64_MAX;
  for (std::uint32_t i = 0; i < rt.worker_count; ++i) t = std::min(t, rt.workers[i].timers.next_time());
  return t;
}

bool anything_to_do(const runtime& rt) noexcept {
  if (rt.stopping.load(std::memory_order_acquire) || rt.global_count.load(std::memory_order_acquire) != 0 ||
      rt.fresh_chunks.load(std::memory_order_acquire) != 0)
    return true;
  for (std::uint32_t i = 0; i < rt.worker_count; ++i)
    if (!rt.workers[i].queue.empty() || !rt.workers[i].fresh.empty()) return true;
  return false;
}

void unlink_sleeper(runtime& rt, worker& w) noexcept {
  for (worker** at = &rt.sleepers; *at != nullptr; at = &(*at)->next_sleeper)
    if (*at == &w) {
      *at = w.next_sleeper;
      break;
    }
  w.asleep = false;
  if (rt.sentry == &w) {
    rt.sentry = nullptr;
    rt.sentry_until.store(INT64_MAX, std::memory_order_relaxed);
    rt.idle.fetch_and(~runtime::has_sentry, std::memory_order_relaxed);
  }
}

// Looks after workers that do not get on. True: found something to run here.
goroutine_core* keep_watch(worker& w) noexcept {
  runtime& rt = *w.rt;
  std::int64_t const now = look_at_clock(rt);
  for (std::uint32_t i = 0; i < rt.worker_count; ++i)
    if (rt.workers[i].timers.next_time() <= now) rt.workers[i].timers.expire(now);
  if (rt.hooks.tick != nullptr) rt.hooks.tick(&rt, now);
  goroutine_core* found = nullptr;
  for (std::uint32_t i = 0; i < rt.worker_count; ++i) {
    worker& other = rt.workers[i];
    if (&other == &w) continue;
    std::uint32_t const tick = other.tick.load(std::memory_order_relaxed);
    if (found == nullptr && tick == other.watched_tick.load(std::memory_order_relaxed) &&
        other.next.load(std::memory_order_relaxed) != nullptr) {
      found = other.next.exchange(nullptr, std::memory_order_acq_rel);  // ORD next-1
    }
    other.watched_tick.store(tick, std::memory_order_relaxed);
  }
  return found;
}

// The worker leaves with something to run. Who saw it look for work, or keep watch, relied on it: if nobody else looks
// or is on watch, somebody must see to what is queued, waits in a next slot or is armed.
goroutine_core* leave(runtime& rt, goroutine_core* found) noexcept {
  std::uint32_t const i = rt.idle.load(std::memory_order_relaxed);
  if ((i & runtime::sleeper_mask) == 0 || (i & (runtime::spinner_mask | runtime::has_sentry)) != 0) return found;
  // As in sleep_until: a pusher that saw this one look, or on watch, is seen here.
  heavy_fence();
  bool more = anything_to_do(rt);
  for (std::uint32_t k = 0; k < rt.worker_count && !more; ++k)
    more = rt.workers[k].next.load(std::memory_order_relaxed) != nullptr;
  if (std::int64_t const timer = earliest_timer(rt); !more && timer != INT64_MAX) {
    std::lock_guard guard(rt.idle_lock);
    more = timer < rt.sentry_until.load(std::memory_order_relaxed);  // otherwise the sentry gets up in time
  }
  if (more) rt.wake_one();
  return found;
}

}  // namespace

void runtime::wake_one() noexcept {
  worker* chosen = nullptr;
  {
    std::lock_guard guard(idle_lock);
    for (worker* s = sleepers; s != nullptr; s = s->next_sleeper)
      if (chosen == nullptr || chosen == sentry) chosen = s;  // the sentry only if it is the only one
    if (chosen == nullptr) return;
    unlink_sleeper(*this, *chosen);
    idle.fetch_add(one_spinner - one_sleeper, std::memory_order_relaxed);
    chosen->wake_word.store(1, std::memory_order_release);
  }
  futex_wake(chosen->wake_word);
}

void runtime::stop() noexcept {
  stopping.store(true, std::memory_order_release);
  heavy_fence();
  for (;;) {
    {
      std::lock_guard guard(idle_lock);
      if (sleepers == nullptr) return;
    }
    wake_one();
  }
}

void sleep_until(worker& w, std::int64_t until) noexcept {
  runtime& rt = *w.rt;
  {
    std::lock_guard guard(rt.idle_lock);
    w.wake_word.store(0, std::memory_order_relaxed);
    w.next_sleeper = rt.sleepers;
    rt.sleepers = &w;
    w.asleep = true;
    rt.idle.fetch_add(runtime::one_sleeper, std::memory_order_relaxed);
    bool const all_asleep = (rt.idle.load(std::memory_order_relaxed) & runtime::sleeper_mask) == rt.worker_count;
    if (rt.sim == nullptr) {
      if (!all_asleep) until = std::min(until, steady_now() + std::int64_t{w.poll} * 1000);
      if (rt.sentry == nullptr || until < rt.sentry_until.load(std::memory_order_relaxed)) {
        rt.sentry = &w;
        rt.sentry_until.store(until, std::memory_order_relaxed);
        // On watch only while it polls. One that sleeps for long was set to it when all slept; the first to fill a next
        // slot after that wakes somebody to keep watch.
        if (!all_asleep) rt.idle.fetch_or(runtime::has_sentry, std::memory_order_relaxed);
      }
    }
  }
  // The other half of the Dekker pair in notify(): a pusher that missed this sleeper is seen here.
  heavy_fence();
  for (;;) {
    if (anything_to_do(rt)) break;
    {
      std::lock_guard guard(rt.idle_lock);
      if (!w.asleep) break;
      if (rt.sim == nullptr && rt.sentry != &w) until = INT64_MAX;
    }
    if (until != INT64_MAX && steady_now() >= until) break;
    futex_wait(w.wake_word, 0, until);
    if (w.wake_word.load(std::memory_order_acquire) != 0) break;
  }
  std::lock_guard guard(rt.idle_lock);
  if (w.asleep) {
    unlink_sleeper(rt, w);
    rt.idle.fetch_sub(runtime::one_sleeper, std::memory_order_relaxed);
  } else {
    rt.idle.fetch_sub(runtime::one_spinner, std::memory_order_relaxed);  // its waker counted it as looking for work
  }
}

goroutine_core* idle(worker& w) noexcept {
  runtime& rt = *w.rt;
  bool spin = rt.worker_count > 1;
  w.poll = shortest_poll;
  for (;;) {
    if (spin) {
      std::uint32_t const spinners =
          (rt.idle.load(std::memory_order_relaxed) & runtime::spinner_mask) / runtime::one_spinner;
      if (spinners * 2 < rt.worker_count) {
        rt.idle.fetch_add(runtime::one_spinner, std::memory_order_relaxed);
        goroutine_core* found = nullptr;
        for (int round = 0; round < spin_rounds && found == nullptr && !rt.stopping.load(std::memory_order_relaxed);
             ++round) {
          found = steal_work(w, true);
          for (int i = 0; i < 16 && found == nullptr; ++i) cpu_relax();
        }
        std::uint32_t const before = rt.idle.fetch_sub(runtime::one_spinner, std::memory_order_acq_rel);
        if (found != nullptr) {
          // The last one that looked for work has found some: if there is more, somebody must look for that.
          if ((before & runtime::spinner_mask) == runtime::one_spinner && anything_to_do(rt)) rt.notify();
          return leave(rt, found);
        }
      }
    }
    if (goroutine_core* g = steal_work(w, false)) return leave(rt, g);
    if (goroutine_core* g = w.queue.pop()) return leave(rt, g);
    if (goroutine_core* g = w.fresh.pop(w.single)) return leave(rt, g);
    if (rt.stopping.load(std::memory_order_acquire)) return nullptr;

    std::int64_t until = earliest_timer(rt);
    bool const last = (rt.idle.load(std::memory_order_relaxed) & runtime::sleeper_mask) + 1 == rt.worker_count;
    if (last && until == INT64_MAX && rt.in_flight.load(std::memory_order_acquire) == 0 && rt.hooks.quiet != nullptr) {
      std::int64_t const now = look_at_clock(rt);
      if (now >= rt.quiet_again.load(std::memory_order_relaxed)) {
        bool const moved = rt.hooks.quiet(&rt);
        std::int64_t const after = steady_now();
        rt.quiet_again.store(after + std::max<std::int64_t>(1'000'000, 20 * (after - now)), std::memory_order_relaxed);
        if (moved) {
          rt.quiet_again.store(0, std::memory_order_relaxed);
          if (goroutine_core* g = w.next.exchange(nullptr, std::memory_order_acq_rel)) return leave(rt, g);
          spin = false;
          continue;
        }
        until = rt.quiet_due.load(std::memory_order_relaxed);
      } else {
        until = rt.quiet_again.load(std::memory_order_relaxed);  // look again then, if nothing happens before
      }
    }
    if (last && rt.hooks.tick != nullptr && rt.steps() != rt.ticked_steps.load(std::memory_order_relaxed))
      until = std::min(until, rt.tick_due.load(std::memory_order_relaxed));
    sleep_until(w, until);
    if (rt.stopping.load(std::memory_order_acquire) && !anything_to_do(rt)) return nullptr;
    if (goroutine_core* g = keep_watch(w)) {
      w.poll = shortest_poll;
      return leave(rt, g);
    }
    if (goroutine_core* g = w.next.exchange(nullptr, std::memory_order_acq_rel)) return leave(rt, g);
    spin = w.wake_word.load(std::memory_order_relaxed) != 0;
    if (!spin) w.poll = std::min(w.poll * 2, longest_poll);
  }
}

}  // namespace leash
