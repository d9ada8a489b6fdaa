// The slow sides of the locks and counters: releasing, waking, destroying.
#include <leash/condition.hpp>
#include <leash/once.hpp>
#include <leash/semaphore.hpp>
#include <leash/shared_mutex.hpp>
#include <leash/trace.hpp>
#include <leash/wait_group.hpp>

namespace leash {

namespace {

bool current_is_killed() noexcept {
  return reclaimed_anything.load(std::memory_order_relaxed) && this_worker != nullptr &&
         this_worker->current != nullptr && this_worker->current->killed.load(std::memory_order_relaxed) != 0;
}

}  // namespace

// --- condition

condition::~condition() {
  {
    spin_guard guard(core_->lock);
    if (!core_->queue.empty()) fatal("a condition was destroyed while a goroutine waits for it");
  }
  delete core_;
}

void condition::notify_one() noexcept {
  reached(core_);
  waiter* w = nullptr;
  {
    spin_guard guard(core_->lock);
    w = core_->queue.claim_first();
  }
  if (w != nullptr) schedule(w->who);
}

void condition::notify_all() noexcept {
  reached(core_);
  goroutine_core* all = nullptr;
  {
    spin_guard guard(core_->lock);
    all = claim_all(core_->queue);
  }
  schedule_all(all);
}

// --- shared_mutex

// Under the lock: admits the head of the queue and whom it lets in beside it. Leaves `places` in the queue after that.
static goroutine_core* admit_waiters(shared_mutex_core& c, std::uint32_t places) noexcept {
  goroutine_core* first = nullptr;
  goroutine_core** last = &first;
  while (waiter* w = c.queue.front()) {
    bool const shared = w->reason == wait_reason::rw_rlock;
    if (c.writer || (!shared && c.readers != 0)) break;
    bool const claimed = w->who->try_claim();
    goroutine_core* const g = w->who;
    if (claimed) g->winner = w->index;
    places += c.queue.take_out(w);
    if (!claimed) continue;
    c.take(shared);
    *last = g;
    last = &g->next;
  }
  *last = nullptr;
  c.queue.left(places);
  return first;
}

void shared_mutex_core::release(bool shared) noexcept {
  goroutine_core* woken = nullptr;
  {
    spin_guard guard(lock);
    if (shared) {
      --readers;
    } else {
      poisoned = current_is_killed();
      writer = false;
    }
    note_release_of(this, queue, __builtin_return_address(0));
    woken = admit_waiters(*this, 0);
    // After the last claim: the marker must not see the guard gone and its waiters still parked.
    holders.store(holders.load(std::memory_order_relaxed) - 1, std::memory_order_release);
  }
  schedule_all(woken);
}

void shared_mutex_wait::remove() noexcept {
  // A writer that gives up may have kept readers behind it waiting. Called under the lock, in a goroutine that goes on
  // running, so scheduling others from here is fine.
  schedule_all(admit_waiters(*core(), core()->queue.take_out(this)));
}

shared_mutex::~shared_mutex() {
  {
    spin_guard guard(core_->lock);
    if (core_->writer || core_->readers != 0) fatal("a shared_mutex was destroyed while it was held");
    if (!core_->queue.empty()) fatal("a shared_mutex was destroyed while a goroutine waits for it");
  }
  delete core_;
}

// --- semaphore

// As admit_waiters.
static goroutine_core* grant_waiters(semaphore_core& c, std::uint32_t places) noexcept {
  goroutine_core* first = nullptr;
  goroutine_core** last = &first;
  while (waiter* w = c.queue.front()) {
    std::size_t const wanted = static_cast<semaphore_wait*>(w)->wanted();
    if (wanted > c.available) break;
    bool const claimed = w->who->try_claim();
    goroutine_core* const g = w->who;
    if (claimed) g->winner = w->index;
    places += c.queue.take_out(w);
    if (!claimed) continue;
    c.available -= wanted;
    c.holders.fetch_add(1, std::memory_order_relaxed);
    *last = g;
    last = &g->next;
  }
  *last = nullptr;
  c.queue.left(places);
  return first;
}

void semaphore_core::release(std::size_t n) noexcept {
  goroutine_core* woken = nullptr;
  {
    spin_guard guard(lock);
    available += n;
    note_release_of(this, queue, __builtin_return_address(0));
    woken = grant_waiters(*this, 0);
    // After the last claim: the marker must not see the permit gone and its waiters still parked.
    holders.fetch_sub(1, std::memory_order_release);
  }
  schedule_all(woken);
}

bool semaphore_wait::claim() noexcept {
  if (!core()->queue.empty() || core()->available < n_) return false;
  core()->available -= n_;
  core()->holders.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void semaphore_wait::remove() noexcept {
  // A large request that gives up may have kept small ones waiting.
  schedule_all(grant_waiters(*core(), core()->queue.take_out(this)));
}

std::size_t semaphore::available() const noexcept {
  spin_guard guard(core_->lock);
  return core_->available;
}

semaphore::~semaphore() {
  {
    spin_guard guard(core_->lock);
    if (core_->available != core_->total) fatal("a semaphore was destroyed while permits of it were out");
    if (!core_->queue.empty()) fatal("a semaphore was destroyed while a goroutine waits for it");
  }
  delete core_;
}

// --- wait_group, event

void unhold(wait_group_core* c) noexcept {
  if (c->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete c;
}

void wait_group_core::drop_token() noexcept {
  // Acquire and release: the last one passes on what all others did.
  if (tokens.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    goroutine_core* woken = nullptr;
    {
      spin_guard guard(lock);
      if (tokens.load(std::memory_order_acquire) == 0) woken = claim_all(queue);
    }
    schedule_all(woken);
  }
  unhold(this);
}

wait_group::~wait_group() {
  {
    spin_guard guard(core_->lock);
    if (!core_->queue.empty()) fatal("a wait_group was destroyed while a goroutine waits for it");
  }
  unhold(core_);
}

void event::set() noexcept {
  reached(core_);
  goroutine_core* woken = nullptr;
  {
    spin_guard guard(core_->lock);
    if (core_->set.load(std::memory_order_relaxed)) return;
    core_->set.store(true, std::memory_order_release);
    woken = claim_all(core_->queue);
  }
  schedule_all(woken);
}

event::~event() {
  {
    spin_guard guard(core_->lock);
    if (!core_->queue.empty()) fatal("an event was destroyed while a goroutine waits for it");
  }
  delete core_;
}

// --- once

bool once_wait::claim() noexcept {
  if (core()->done.load(std::memory_order_acquire)) {
    extra = 0;
    return true;
  }
  if (core()->running) return false;
  core()->running = true;
  core()->calls.store(1, std::memory_order_relaxed);
  extra = 1;
  return true;
}

void once_core::end_call(bool completed) noexcept {
  goroutine_core* woken = nullptr;
  {
    spin_guard guard(lock);
    if (completed) {
      done.store(true, std::memory_order_release);
      running = false;
      woken = claim_all(queue);
    } else if (waiter* w = queue.claim_first()) {
      woken = w->who;  // its turn: it stays running
      woken->next = nullptr;
    } else {
      running = false;
    }
    if (!running) calls.store(0, std::memory_order_release);
  }
  schedule_all(woken);
}

once::~once() {
  {
    spin_guard guard(core_->lock);
    if (core_->running) fatal("a once was destroyed while a call of it runs");
  }
  delete core_;
}

}  // namespace leash
