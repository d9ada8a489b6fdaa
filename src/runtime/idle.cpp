// Workers without work: spinning, watching, sleeping, and being woken.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <leash/reactor.hpp>
#include <leash/trace.hpp>
#include <leash/worker.hpp>
#include <utility>

#include "scheduler.hpp"

namespace leash {
namespace {

constexpr int spin_rounds = 40;    // some 15 to 40 us
constexpr int longest_spin = 320;  // rounds, while there is a queue that is left to its owner
constexpr int queue_round = 8;     // the queues of others are looked at in each of these
constexpr std::uint32_t shortest_poll = 100, longest_poll = 1000;  // microseconds
constexpr std::int64_t tick_at_least = 700'000;                    // nanoseconds; they come each millisecond

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

bool any_timer_awaited(const runtime& rt) noexcept {
  for (std::uint32_t i = 0; i < rt.worker_count; ++i)
    if (rt.workers[i].timers.awaited() != 0) return true;
  return false;
}

bool anything_to_do(const runtime& rt) noexcept {
  if (rt.stopping.load(std::memory_order_acquire) || rt.global_count.load(std::memory_order_acquire) != 0 ||
      rt.fresh_chunks.load(std::memory_order_acquire) != 0)
    return true;
  for (std::uint32_t i = 0; i < rt.worker_count; ++i)
    if (!rt.workers[i].queue.empty() || !rt.workers[i].fresh.empty()) return true;
  return false;
}

bool ticks(const runtime& rt) noexcept { return rt.ticking.load(std::memory_order_relaxed); }

// Whoever sleeps looks up each millisecond from now on. Under idle_lock.
void start_ticking(runtime& rt) noexcept {
  if (ticks(rt) || rt.worker_count == 1 || rt.sim != nullptr) return;
  rt.ticking.store(true, std::memory_order_relaxed);
  rt.idle.fetch_or(runtime::has_sentry, std::memory_order_relaxed);
  rt.io.load(std::memory_order_relaxed)->tick(true);
}

// True: a millisecond is over, and it is this one that looks around. Nothing has moved meanwhile: nobody does so any more.
bool is_my_look(runtime& rt, std::int64_t now) noexcept {
  std::lock_guard guard(rt.idle_lock);
  if (!ticks(rt)) return true;
  if (now - rt.looked_at < tick_at_least) return false;
  rt.looked_at = now;
  std::uint64_t const steps = rt.steps();
  if (std::exchange(rt.looked_steps, steps) == steps &&
      (rt.idle.load(std::memory_order_relaxed) & runtime::sleeper_mask) + 1 == rt.worker_count) {
    rt.ticking.store(false, std::memory_order_relaxed);
    rt.idle.fetch_and(~runtime::has_sentry, std::memory_order_relaxed);
    rt.io.load(std::memory_order_relaxed)->tick(false);
  }
  return true;
}

// What that takes from `idle`: in one step, for who sees a sleeper and no sentry wakes somebody.
std::uint32_t unlink_sleeper(runtime& rt, worker& w) noexcept {
  for (worker** at = &rt.sleepers; *at != nullptr; at = &(*at)->next_sleeper)
    if (*at == &w) {
      *at = w.next_sleeper;
      break;
    }
  w.asleep = false;
  if (rt.sentry == &w) {
    rt.sentry = nullptr;
    rt.sentry_until.store(INT64_MAX, std::memory_order_relaxed);
    if (!ticks(rt)) return runtime::one_sleeper + (rt.idle.load(std::memory_order_relaxed) & runtime::has_sentry);
  }
  return runtime::one_sleeper;
}

// To wake a sleeper: the first under idle_lock.
void take_out(runtime& rt, worker& w) noexcept {
  rt.idle.fetch_add(runtime::one_spinner - unlink_sleeper(rt, w), std::memory_order_relaxed);
  w.wake_word.store(1, std::memory_order_release);
}
void get_up(runtime& rt, worker& w, bool in_place) noexcept {
  in_place ? rt.io.load(std::memory_order_acquire)->interrupt(w.index) : futex_wake(w.wake_word);
}

}  // namespace

goroutine_core* look_after_others(worker& w, std::int64_t now) noexcept {
  runtime& rt = *w.rt;
  if (!is_my_look(rt, now)) return nullptr;
  goroutine_core* found = nullptr;
  for (std::uint32_t i = 0; i < rt.worker_count; ++i) {
    worker& other = rt.workers[i];
    if (&other == &w) continue;
    std::uint32_t const tick = other.tick.load(std::memory_order_relaxed);
    if (tick == other.watched_tick.load(std::memory_order_relaxed)) {
      poll_reactor(w, i);
      if (found == nullptr && !other.next.empty()) found = other.next.steal();
    }
    other.watched_tick.store(tick, std::memory_order_relaxed);
  }
  if (goroutine_core* g = take_completed(w)) found == nullptr ? void(found = g) : schedule_completed(w, g);
  return found;
}

namespace {

// By all means but going to sleep.
goroutine_core* look_for_work(worker& w, bool spin) noexcept {
  runtime& rt = *w.rt;
  poll_reactor(w, w.index);
  if (goroutine_core* g = take_completed(w)) return g;
  // Where there is a reactor, nobody hears of events while it spins; and what others push wakes it in its place.
  if (spin && rt.io.load(std::memory_order_relaxed) == nullptr) {
    std::uint32_t const spinners =
        (rt.idle.load(std::memory_order_relaxed) & runtime::spinner_mask) / runtime::one_spinner;
    if (spinners * 2 < rt.worker_count) {
      rt.idle.fetch_add(runtime::one_spinner, std::memory_order_relaxed);
      goroutine_core* found = nullptr;
      w.left_some = false;
      for (int round = 1; round <= (w.left_some ? longest_spin : spin_rounds) && found == nullptr &&
                          !rt.stopping.load(std::memory_order_relaxed);
           ++round) {
        found = steal_work(w, round % queue_round == 0 ? stealing::patiently : stealing::new_ones);
        for (int i = 0; i < 16 && found == nullptr; ++i) cpu_relax();
      }
      std::uint32_t const before = rt.idle.fetch_sub(runtime::one_spinner, std::memory_order_acq_rel);
      if (found != nullptr) {
        // The last one that looked for work has found some: if there is more, somebody must look for that.
        if ((before & runtime::spinner_mask) == runtime::one_spinner && anything_to_do(rt)) rt.notify();
        return found;
      }
    }
  }
  if (goroutine_core* g = steal_work(w, stealing::anything)) return g;
  if (goroutine_core* g = w.queue.pop(w.single)) return g;
  return w.fresh.pop(w.single);
}

// Looks after timers, and after workers that do not get on. Not null: found something to run here.
goroutine_core* keep_watch(worker& w) noexcept {
  runtime& rt = *w.rt;
  std::int64_t const now = look_at_clock(rt);
  for (std::uint32_t i = 0; i < rt.worker_count; ++i)
    if (rt.workers[i].timers.next_time() <= now) rt.workers[i].timers.expire(now);
  poll_reactor(w, w.index);
  if (goroutine_core* g = take_completed(w)) return g;
  return look_after_others(w, now);
}

// The worker leaves with something to run. Who saw it look for work, or keep watch, relied on it: if nobody else looks
// or is on watch, somebody must see to what is queued, waits in a next slot or is armed.
goroutine_core* leave(runtime& rt, goroutine_core* found) noexcept {
  std::uint32_t const i = rt.idle.load(std::memory_order_relaxed);
  if ((i & runtime::sleeper_mask) == 0 || (i & (runtime::spinner_mask | runtime::has_sentry)) != 0) return found;
  // As in sleep_until: a pusher that saw this one look, or on watch, is seen here.
  heavy_fence();
  bool more = anything_to_do(rt);
  for (std::uint32_t k = 0; k < rt.worker_count && !more; ++k) more = !rt.workers[k].next.empty();
  if (std::int64_t const timer = earliest_timer(rt); !more && timer != INT64_MAX) {
    std::lock_guard guard(rt.idle_lock);
    more = timer < rt.sentry_until.load(std::memory_order_relaxed);  // otherwise the sentry gets up in time
  }
  // Nobody would hear of what comes to this one's place, and it may compute for long.
  if (!more && rt.io.load(std::memory_order_relaxed) != nullptr && rt.in_flight() != 0) {
    std::lock_guard guard(rt.idle_lock);
    start_ticking(rt);
  }
  if (more) rt.wake_one();
  return found;
}

}  // namespace

void runtime::wake_one() noexcept {
  worker* chosen = nullptr;
  bool in_place = false;
  {
    std::lock_guard guard(idle_lock);
    for (worker* s = sleepers; s != nullptr; s = s->next_sleeper)
      if (chosen == nullptr || chosen == sentry) chosen = s;  // the sentry only if there is no other
    if (chosen == nullptr) return;
    in_place = chosen->in_place;
    take_out(*this, *chosen);
  }
  get_up(*this, *chosen, in_place);
}

reactor& runtime::use_reactor(std::shared_ptr<reactor> r) {
  std::lock_guard guard(idle_lock);
  if (io_owner != nullptr) return *io_owner;
  io_owner = std::move(r);
  io.store(io_owner.get(), std::memory_order_release);
  // Who sleeps on its futex goes to its place.
  while (sleepers != nullptr) {
    worker& w = *sleepers;
    take_out(*this, w);
    get_up(*this, w, false);
  }
  return *io_owner;
}

void poll_reactor(worker& w, std::uint32_t place) noexcept {
  reactor* io = w.rt->io.load(std::memory_order_acquire);
  if (io == nullptr) return;
  std::unique_lock turn(io->turns[place].lock, std::try_to_lock);
  if (!turn) return;
  w.in_reactor = true;
  io->poll(place);
  w.in_reactor = false;
}

void hand_back(goroutine_core* g) noexcept {
  worker* w = this_worker;
  if (w != nullptr && w->in_reactor && w->rt->index == g->runtime_index) {
    g->next = nullptr;
    (w->completed != nullptr ? w->last_completed->next : w->completed) = g;
    w->last_completed = g;
    return;
  }
  std::uint16_t const rt = g->runtime_index;
  schedule(g);
  ended_outside(rt);
}

void ended_outside(std::uint16_t runtime_index) noexcept { runtime_at(runtime_index)->end_outside(); }

goroutine_core* take_completed(worker& w) noexcept {
  goroutine_core* const first = std::exchange(w.completed, nullptr);
  if (first == nullptr) return nullptr;
  if (w.unusual.load(std::memory_order_relaxed) != 0 && w.rt->sim == nullptr) [[unlikely]]
    note_wake(&w, first);
  std::uint32_t n = 1;
  for (goroutine_core* g = first->next; g != nullptr; ++n) {
    goroutine_core* next = g->next;
    schedule_completed(w, g);
    g = next;
  }
  // A few are run here before another worker would have got up.
  if (n > long_queue)
    w.rt->notify();
  else if (n > 1)
    w.rt->notify_watch();
  w.rt->end_outside(n);
  return first;
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
  reactor* io = nullptr;
  bool ticking = false;
  {
    std::lock_guard guard(rt.idle_lock);
    w.wake_word.store(0, std::memory_order_relaxed);
    w.next_sleeper = rt.sleepers;
    rt.sleepers = &w;
    w.asleep = true;
    bool const all_asleep = (rt.idle.load(std::memory_order_relaxed) & runtime::sleeper_mask) + 1 == rt.worker_count;
    std::uint32_t joins = runtime::one_sleeper;
    io = rt.io.load(std::memory_order_acquire);
    w.in_place = io != nullptr;
    if (rt.sim == nullptr) {
      bool const polls = io == nullptr && !all_asleep;
      if (polls) until = std::min(until, steady_now() + std::int64_t{w.poll} * 1000);
      // In a reactor nobody sleeps for a time that short: setting the processor's timer costs more than most events do.
      if (io != nullptr && !ticks(rt) && (!all_asleep || rt.steps() != rt.looked_steps)) start_ticking(rt);
      ticking = ticks(rt);
      if (rt.sentry == nullptr || until < rt.sentry_until.load(std::memory_order_relaxed)) {
        rt.sentry = &w;
        rt.sentry_until.store(until, std::memory_order_relaxed);
        // On watch only while it polls. One that sleeps for long was set to it when all slept; the first to fill a next
        // slot after that wakes somebody to keep watch.
        joins += (polls || ticking ? runtime::has_sentry : 0) -
                 (rt.idle.load(std::memory_order_relaxed) & runtime::has_sentry);
      } else {
        until = INT64_MAX;
      }
    }
    // In one step, see unlink_sleeper. Release: who finds all asleep finds what they wait for, too.
    rt.idle.fetch_add(joins, std::memory_order_release);
  }
  // The other half of the Dekker pair in notify(): a pusher that missed this sleeper is seen here. While somebody looks up
  // each millisecond it would be found soon in any case; the fence stops the other processors. An only worker sleeps while
  // no worker pushes, and inject() has a fence of its own.
  if (rt.worker_count == 1)
    std::atomic_thread_fence(std::memory_order_seq_cst);
  else if (!ticking)
    heavy_fence();
  while (!anything_to_do(rt)) {
    if (io != nullptr) {
      std::lock_guard turn(io->turns[w.index].lock);  // who polls there now does not for long
      // Who polled may have taken its interrupt; it would be found a millisecond later.
      if (w.wake_word.load(std::memory_order_acquire) != 0) break;
      w.in_reactor = true;
      io->wait(w.index, until);
      w.in_reactor = false;
      break;
    }
    if (w.wake_word.load(std::memory_order_acquire) != 0 || (until != INT64_MAX && steady_now() >= until)) break;
    futex_wait(w.wake_word, 0, until);
  }
  std::lock_guard guard(rt.idle_lock);
  if (w.asleep) {
    rt.idle.fetch_sub(unlink_sleeper(rt, w), std::memory_order_relaxed);
  } else {
    rt.idle.fetch_sub(runtime::one_spinner, std::memory_order_relaxed);  // its waker counted it as looking for work
  }
}

goroutine_core* idle(worker& w) noexcept {
  runtime& rt = *w.rt;
  bool spin = rt.worker_count > 1;
  w.poll = shortest_poll;
  for (;;) {
    // What has happened outside is heard when going to sleep, too, which takes no time then: where there is nothing else to do
    // nobody asks first. But nothing is quiet before somebody has asked.
    bool const asks = rt.io.load(std::memory_order_relaxed) == nullptr || rt.in_flight() == 0 || anything_to_do(rt);
    if (asks) {
      if (goroutine_core* g = look_for_work(w, spin)) return leave(rt, g);
    }
    if (rt.stopping.load(std::memory_order_acquire)) return nullptr;

    std::int64_t until = earliest_timer(rt);
    bool const last = (rt.idle.load(std::memory_order_acquire) & runtime::sleeper_mask) + 1 == rt.worker_count;
    if (last && asks && !any_timer_awaited(rt) && rt.in_flight() == 0 && rt.hooks.quiet != nullptr) {
      std::int64_t const now = look_at_clock(rt);
      if (now >= rt.quiet_again.load(std::memory_order_relaxed)) {
        bool const moved = rt.hooks.quiet(&rt);
        std::int64_t const after = steady_now();
        rt.quiet_again.store(after + std::max<std::int64_t>(1'000'000, 20 * (after - now)), std::memory_order_relaxed);
        if (moved) {
          rt.quiet_again.store(0, std::memory_order_relaxed);
          if (goroutine_core* g = w.next.take()) return leave(rt, g);
          spin = false;
          continue;
        }
        until = std::min(until, rt.quiet_due.load(std::memory_order_relaxed));
      } else {
        // look again then, if nothing happens before
        until = std::min(until, rt.quiet_again.load(std::memory_order_relaxed));
      }
    }
    sleep_until(w, until);
    if (rt.stopping.load(std::memory_order_acquire) && !anything_to_do(rt)) return nullptr;
    if (goroutine_core* g = take_completed(w)) return leave(rt, g);
    if (goroutine_core* g = keep_watch(w)) {
      w.poll = shortest_poll;
      return leave(rt, g);
    }
    if (goroutine_core* g = w.next.take()) return leave(rt, g);
    spin = w.wake_word.load(std::memory_order_relaxed) != 0;
    if (!spin) w.poll = std::min(w.poll * 2, longest_poll);
  }
}

}  // namespace leash
