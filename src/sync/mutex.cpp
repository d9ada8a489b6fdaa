#include <leash/mutex.hpp>
#include <leash/task.hpp>
#include <leash/trace.hpp>

namespace leash {

namespace {
constexpr std::uint8_t patience = 4;  // failed tries after which a waiter is handed the lock
}

mutex::~mutex() {
  {
    // Through the lock in any case: the unlock before this may still be giving it back.
    spin_guard guard(core_->lock);
    if (core_->state.load(std::memory_order_relaxed) & mutex_core::locked)
      fatal("a mutex was destroyed while it was held; let its guard die first");
    if (!core_->queue.empty()) fatal("a mutex was destroyed while a goroutine waits for it");
  }
  delete core_;
}

bool mutex_core::try_lock_slow() noexcept {
  std::uint32_t s = state.load(std::memory_order_relaxed);
  while (!(s & locked))
    if (state.compare_exchange_weak(s, s | locked, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  return false;
}

void mutex_core::unlock_slow() noexcept {
  bool const poison = reclaimed_anything.load(std::memory_order_relaxed) && this_worker != nullptr &&
                      this_worker->current != nullptr &&
                      this_worker->current->killed.load(std::memory_order_relaxed) != 0;
  goroutine_core* woken = nullptr;
  {
    spin_guard guard(lock);
    std::uint32_t const mark = poison ? poisoned : 0;  // a normal unlock clears what the one before left
    bool handed = false;
    note_release_of(this, queue, __builtin_return_address(0));
    // A claim ends a wait for good; whom it finds gets the lock itself, or another chance.
    if (waiter* w = queue.claim_first()) {
      woken = w->who;
      handed = w->state == 0 || w->extra >= patience;
      if (!handed) woken->bits |= g_retry;
    }
    std::uint32_t const queued = queue.empty() ? 0 : waiters;
    // Release: what the holder did, to the next one. Nobody else changes state while LOCKED is set and the queue's lock
    // held.
    state.store(queued | mark | (handed ? locked : 0), std::memory_order_release);
  }
  if (woken != nullptr) schedule(woken);
}

bool mutex_wait::claim() noexcept {
  // Fails only by setting WAITERS in a word that has LOCKED: so the holder's unlock will come to the queue's lock (M1).
  std::uint32_t s = core()->state.load(std::memory_order_relaxed);
  for (;;) {
    std::uint32_t const wanted = s & mutex_core::locked ? s | mutex_core::waiters : s | mutex_core::locked;
    if (core()->state.compare_exchange_weak(s, wanted, std::memory_order_acquire, std::memory_order_relaxed))
      return !(s & mutex_core::locked);
  }
}

void mutex_wait::enqueue() noexcept { core()->queue.push(this); }

bool mutex_wait::spin() noexcept {
  if (this_worker->single) return false;
  // As spin_lock::wait: the holder's side has the cache line to itself for a while, and may lock again in it.
  for (int pauses = 16; pauses <= 256; pauses *= 2) {
    for (int i = 0; i < pauses; ++i) cpu_relax();
    std::uint32_t const s = core()->state.load(std::memory_order_relaxed);
    if (s == 0 && core()->try_lock()) return true;
    if (s & mutex_core::waiters) return false;
  }
  return false;
}

bool mutex_wait::try_again(retrying_waiter* w) LEASH_TSA(no_thread_safety_analysis) {
  auto* self = static_cast<mutex_wait*>(w);
  mutex_core* c = self->core();
  goroutine_core* g = self->who;
  if (c->try_lock()) return true;
  c->lock.lock();
  if (self->claim()) {
    c->lock.unlock();
    return true;
  }
  if (self->extra < patience) ++self->extra;
  self->enqueue();
  self->state = 3;  // single_wait's `woken`
  bool const parked = publish_parked(g, self, 1, self->uncancellable_ ? park_state::held : park_state::parked);
  c->lock.unlock();
  if (!parked) hand_over_cut(g);
  return false;
}

}  // namespace leash
