#include <leash/outside.hpp>
#include <leash/reactor.hpp>
#include <leash/worker.hpp>
#include <optional>
#include <utility>

namespace leash {

namespace {

// A line each: what is waited for on one worker must not move the lines of another.
struct alignas(64) outside_lock {
  spin_lock lock;
};
outside_lock outside_locks[64];

template <class F>
bool any_outside(goroutine_core* g, F f) noexcept {
  waiter** all = reinterpret_cast<waiter**>(g->wait);
  for (std::uint16_t i = 0; i < g->wait_count; ++i) {
    waiter* w = g->wait_count == 1 ? g->wait : all[i];
    if (w->reason == wait_reason::io && f(static_cast<outside_wait*>(w))) return true;
  }
  return false;
}

}  // namespace

outside_wait::~outside_wait() {
  if (now() == stage::running) fatal("a wait for I/O was destroyed while its operation runs");
}

spin_lock& outside_wait::lock_of(const outside_wait* w) noexcept {
  return outside_locks[(reinterpret_cast<std::uintptr_t>(w) >> 5) % 64].lock;
}

void outside_wait::begin() noexcept {
  stage_.store(stage::running, std::memory_order_relaxed);
  parts_ = 1;
  runtime_at(who->runtime_index)->begin_outside();
  how_->start(this);
}

void outside_wait::enqueue() noexcept {
  queued.store(true, std::memory_order_relaxed);
  who->bits |= g_retry;  // see run_goroutine
}

bool outside_wait::begin_part(outside_wait* w) noexcept {
  spin_guard guard(lock_of(w));
  if (w->now() != stage::running) return false;
  ++w->parts_;
  return true;
}

void outside_wait::ended_part(outside_wait* w) noexcept {
  goroutine_core* g = w->who;
  std::uint16_t const rt = g->runtime_index;
  std::optional<visit> until_told;  // once it can be seen that the operation has ended, the runtime may end
  if (this_worker == nullptr || this_worker->rt->index != rt) until_told.emplace(*runtime_at(rt));
  bool claimed = false;
  {
    spin_guard guard(lock_of(w));
    if (--w->parts_ != 0) return;
    w->stage_.store(stage::ended, std::memory_order_relaxed);
    // As in wait_queue::claim_first: while it is queued or awaited its goroutine cannot get past this lock, so the park word
    // is still that of this wait.
    if (w->queued.load(std::memory_order_relaxed)) {
      claimed = g->try_claim();
      if (claimed) g->winner = w->index;
      w->queued.store(false, std::memory_order_release);
    } else if (w->awaited_) {
      w->awaited_ = false;
      claimed = g->try_claim();
    }
  }
  claimed ? hand_back(g) : ended_outside(rt);
}

bool waits_outside(const goroutine_core* g) noexcept {
  return g->wait_count > 1 || (g->wait_count == 1 && g->wait->reason == wait_reason::io);
}

bool settle(goroutine_core* g) noexcept {
  using stage = outside_wait::stage;
  // No end that comes from now on wakes it.
  bool const runs = any_outside(g, [](outside_wait* w) {
    spin_guard guard(outside_wait::lock_of(w));
    w->queued.store(false, std::memory_order_relaxed);
    return w->now() == stage::running;
  });
  if (!runs) return true;
  any_outside(g, [](outside_wait* w) {
    bool ask = false;
    {
      spin_guard guard(outside_wait::lock_of(w));
      w->queued.store(false, std::memory_order_relaxed);
      ask = w->now() == stage::running && !std::exchange(w->asked_, true);
    }
    if (ask) w->how_->cancel(w);  // it cannot be gone: this goroutine is its owner
    return false;
  });
  // One after the other: whichever ends last wakes it last.
  return !any_outside(g, [g](outside_wait* w) {
    spin_guard guard(outside_wait::lock_of(w));
    if (w->now() != stage::running) return false;
    w->awaited_ = true;
    (void)publish_parked(g, g->wait, g->wait_count, park_state::held);
    return true;
  });
}

bool ended_with_result(goroutine_core* g) noexcept {
  return any_outside(g, [g](outside_wait* w) {
    if (w->now() != outside_wait::stage::ended || w->how_->cut_short(w)) return false;
    g->winner = w->index;
    return true;
  });
}

}  // namespace leash
