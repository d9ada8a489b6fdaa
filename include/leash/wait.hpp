// How a goroutine waits, and how an operation is written.
//
// An operation (`rx.recv()`) is a small descriptor. Awaiting it builds its *wait* in the frame: a waiter and the place
// for the result. A wait W has
//
//   W(op)                   takes what it needs
//   bool disabled()         an empty end: a case that never fires in select, misuse alone; optional
//   bool fast()             completes without the lock, or returns false; optional
//   spin_lock& lock()       the lock of what is waited for
//   bool claim()            under the lock: decides to complete now, if possible, and takes its part
//   void complete()         after the lock is given back: moves values, wakes the partner. The only place for user code
//   void enqueue()          under the lock: stands in the queue
//   void remove()           under the lock: leaves the queue, if it still stands there
//   void won()              in the goroutine, after a waker completed it
//   value_type result()
//
// Alone:  cancelled? -> unwind.  fast()  or  lock, claim, unlock, complete  or  enqueue, publish parked, unlock.
// Select: the same over all cases, with all locks taken in the order of their addresses (select.hpp).
//
// A waker takes a waiter out of the queue under the lock and claims its goroutine by one CAS (goroutine.hpp, G1); if
// that fails the waiter was cancelled or won elsewhere, and the waker goes on to the next one. So for any waker,
// canceller and timer exactly one wins, and who wins finds everything in place.
//
// Cancellation sets `ended` in the context, runs a heavy fence and then tries to claim each parked member. A goroutine
// that parks publishes parked, light fence, and looks at `ended`. One of the two sees the other: no member sleeps
// through it.
#pragma once
#include <coroutine>
#include <cstdint>
#include <exception>
#include <leash/fence.hpp>
#include <leash/goroutine.hpp>
#include <leash/platform.hpp>
#include <leash/spin_lock.hpp>
#include <leash/worker.hpp>
#include <memory>
#include <source_location>
#include <type_traits>
#include <utility>
#include <variant>

namespace leash {

enum class wait_reason : std::uint8_t {
  none,
  chan_receive,
  chan_send,
  select,
  forever,
  mutex_lock,
  rw_lock,
  rw_rlock,
  cond_wait,
  wait_group,
  sleep,
  io,
  scope_join,
  goroutine_join,
  context_done,
  event,
  semaphore,
  once,
  ticker,
  blocking,
  foreign,
  start,
};
inline constexpr std::size_t wait_reasons = 22;
const char* name_of(wait_reason) noexcept;

/// Somebody uses an event or condition. If a verdict rests on nobody reaching it any more, that is a breach of the
/// premise: said once on the standard error, and no verdict rests on objects made at that place again (rule 8).
LEASH_COLD void breach(const placed_object*) noexcept;
extern std::atomic<bool> any_unreachable;
LEASH_INLINE void reached(const placed_object* o) noexcept {
  if (any_unreachable.load(std::memory_order_relaxed)) [[unlikely]]
    breach(o);
}
/// By all that a pass of this generation of verdicts could see, nobody reaches the object any more. It may be gone by
/// now: the note is kept beside it.
void note_unreachable(const object*, std::uint32_t generation);
/// True if it was, and no newer verdicts are wanted since.
bool noted_unreachable(const object*) noexcept;
/// True if an object made there (what lies in a block: in one made there) was reached though it could not be.
bool breached(std::source_location) noexcept;

/// Set once anything was reclaimed: guards look at their goroutine's fate only then.
extern std::atomic<bool> reclaimed_anything;

struct waiter {
  waiter* next;  // in a queue
  waiter* prev;
  goroutine_core* who = nullptr;
  object* what = nullptr;  // what it waits for; a goroutine_core for goroutine_join; null: nothing that can be named
  wait_reason reason;
  std::atomic<bool> queued{
      false};               // written under the lock of what is waited for; false: no waker will touch this any more
  std::uint16_t index = 0;  // its case in a select
  std::uint8_t state = 0;   // the awaiter's own
  std::uint8_t extra = 0;   // the operation's own

  explicit waiter(wait_reason r) noexcept : reason(r) {}
  waiter(const waiter&) = delete;
  waiter& operator=(const waiter&) = delete;
};

/// A waiter whose goroutine, when it runs next, must try again before it is resumed (g_retry): locks that let running
/// goroutines barge in. Only for waits that are no select.
struct retrying_waiter : waiter {
  /// In the goroutine's worker. True: go on; false: it parked again, or unwinds.
  bool (*retry)(retrying_waiter*) = nullptr;
  using waiter::waiter;
};

/// First in, first out; under the lock of what is waited for.
class wait_queue {
 public:
  /// Exact under the lock; a hint without it.
  bool empty() const noexcept { return head_.load(std::memory_order_relaxed) == nullptr; }
  waiter* front() const noexcept { return head_.load(std::memory_order_relaxed); }
  waiter* back() const noexcept { return tail_; }
  void push(waiter* w) noexcept {
    w->next = nullptr;
    w->prev = tail_;
    tail_ != nullptr ? void(tail_->next = w) : head_.store(w, std::memory_order_relaxed);
    tail_ = w;
    w->queued.store(true, std::memory_order_relaxed);
  }
  void remove(waiter* w) noexcept {
    if (!w->queued.load(std::memory_order_relaxed)) return;
    w->prev != nullptr ? void(w->prev->next = w->next) : head_.store(w->next, std::memory_order_relaxed);
    (w->next != nullptr ? w->next->prev : tail_) = w->prev;
    // ORD waiter-1 release: the last touch; its goroutine may destroy the waiter now.
    w->queued.store(false, std::memory_order_release);
  }
  /// Takes out the first waiter whose goroutine could be claimed (the caller owns it then), dropping those that could
  /// not.
  waiter* claim_first() noexcept {
    while (waiter* w = front()) {
      // The claim comes before the removal: as long as the waiter is queued its goroutine cannot get past this lock, so
      // the park word is still that of this wait.
      bool const claimed = w->who->try_claim();
      if (claimed) w->who->winner = w->index;
      remove(w);
      if (claimed) return w;
    }
    return nullptr;
  }

 private:
  std::atomic<waiter*> head_{nullptr};
  waiter* tail_ = nullptr;
};

/// Under the queue's lock: claims everybody in it. After the lock is given back: schedule_all.
goroutine_core* claim_all(wait_queue&) noexcept;
/// Makes a list of claimed goroutines (by next) runnable, behind those that are already.
void schedule_all(goroutine_core*) noexcept;

/// A queue whose length can be read without its lock. A place counts until left(): who lets others in on its way out
/// keeps it until it has, so that the leak marker does not see it gone and them still parked.
class counted_queue : public wait_queue {
 public:
  void push(waiter* w) noexcept {
    size_.store(size_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    wait_queue::push(w);
  }
  /// The places that are to be left: 1, or 0 if it did not stand here.
  std::uint32_t take_out(waiter* w) noexcept {
    if (!w->queued.load(std::memory_order_relaxed)) return 0;
    wait_queue::remove(w);
    return 1;
  }
  void left(std::uint32_t places) noexcept {
    // Release: whoever sees the shorter line sees who was let in.
    if (places != 0) size_.store(size_.load(std::memory_order_relaxed) - places, std::memory_order_release);
  }
  void remove(waiter*) = delete;
  waiter* claim_first() = delete;
  /// For who reads it without the lock: with acquire.
  const std::atomic<std::uint32_t>& size() const noexcept { return size_; }

 private:
  std::atomic<std::uint32_t> size_{0};
};

LEASH_INLINE bool context_ended(const goroutine_core* g) noexcept {
  return g->ctx->ended.load(std::memory_order_relaxed) != 0;
}

/// Of a goroutine that was published as parked, and may have gone on since and left this context: then the answer means
/// nothing, and its park word is another one.
LEASH_READS_FROZEN inline bool may_have_ended(const context_flag* c) noexcept {
  return *reinterpret_cast<const volatile std::uint8_t*>(&c->ended) != 0;
}

/// Publishes that `g` waits in w; the caller holds the lock(s), and must give them back and return to the worker at
/// once. False: the context ended meanwhile and g was taken back: it must unwind.
LEASH_INLINE bool publish_parked(goroutine_core* g, waiter* w, std::uint16_t count, park_state how) noexcept {
  g->wait = w;
  g->wait_count = count;
  g->parked_at = coarse_tick();
  std::uint64_t word = with_state(g->park.load(std::memory_order_relaxed), how);
  context_flag* const ctx = g->ctx;  // g is no longer ours to read once it is published
  // Release: the frames and the waiters, to whoever claims or scans. ORD park-1
  g->park.store(word, std::memory_order_release);
  light_fence();
  if (how == park_state::parked && may_have_ended(ctx)) [[unlikely]] {
    // This very wait or none: g may have been unwound and be parked elsewhere by now.
    if (g->park.compare_exchange_strong(word, next_epoch(word, park_state::active), std::memory_order_acq_rel)) {
      g->bits |= g_cut;
      return false;
    }
  }
  return true;
}

/// From await_suspend, after publish_parked returned false: hands g to the worker to unwind.
void hand_over_cut(goroutine_core* g) noexcept;
/// From await_suspend: g's context has ended; unwind from here.
LEASH_INLINE void unwind_here() noexcept { this_worker->after = after_resume::unwind; }
/// From await_suspend: let others run, then go on.
LEASH_INLINE void yield_here() noexcept { this_worker->after = after_resume::yield; }

/// An operation completed at once: true if the goroutine may go on without yielding.
LEASH_INLINE bool within_budget(goroutine_core* g) noexcept { return --g->budget != 0; }

[[noreturn]] LEASH_COLD void awaited_outside(std::source_location);
[[noreturn]] LEASH_COLD void awaited_twice(std::source_location);

/// Base of all operations: neither copyable nor movable, awaited once, in a goroutine.
class operation_base {
 public:
  operation_base(operation_base&&) = delete;
  operation_base& operator=(operation_base&&) = delete;

  /// Only a coroutine that is no goroutine gets here.
  struct no_goroutine {
    bool await_ready(std::source_location at = std::source_location::current()) const { awaited_outside(at); }
    void await_suspend(std::coroutine_handle<>) const {}
    void await_resume() const {}
  };
  no_goroutine operator co_await() const noexcept { return {}; }

  /// For the library: throws if it was awaited before.
  void consume(std::source_location at) {
    if (used_) [[unlikely]]
      awaited_twice(at);
    used_ = true;
  }
  bool mark_used() noexcept { return std::exchange(used_, true); }

 protected:
  operation_base() noexcept {}
  ~operation_base() = default;

 private:
  bool used_ = false;
};

/// What a body may be besides a task and a callable.
template <class Op>
concept operation = std::is_base_of_v<operation_base, std::remove_cvref_t<Op>> &&
                    requires { typename std::remove_cvref_t<Op>::result_type; };
template <class Op>
concept selectable = requires {
  typename std::remove_cvref_t<Op>::wait_type;
  typename std::remove_cvref_t<Op>::value_type;
};

/// The awaiter of one operation.
template <class Op>
class [[nodiscard]] single_wait {
  using W = typename Op::wait_type;

 public:
  using leash_awaiter = void;
  single_wait(Op& op, goroutine_core* g, std::source_location at) : wait_(op) {
    wait_.who = g;
    if constexpr (requires { wait_.disabled(); }) {
      if (wait_.disabled()) [[unlikely]]
        throw_misuse(W::empty_message, at);
    }
  }
  single_wait(single_wait&&) = delete;
  ~single_wait() {
    // ORD waiter-1 acquire: whoever took it out of the queue is done with it.
    if (wait_.queued.load(std::memory_order_acquire)) [[unlikely]]
      leave();
  }

  // Where an operation can complete without more ado, that much is part of the awaiting coroutine.
  LEASH_INLINE bool await_ready() {
    if constexpr (requires { wait_.fast(); } && !requires { W::yields_first; }) {
      goroutine_core* g = wait_.who;
      if (!context_ended(g) && g->budget > 1 && wait_.fast()) [[likely]] {
        --g->budget;
        return true;
      }
    }
    return ready_by_lock();
  }
  template <class P>
  void await_suspend(std::coroutine_handle<P>) LEASH_TSA(no_thread_safety_analysis) {
    goroutine_core* g = wait_.who;
    if (wait_.state == waiting) [[likely]] {
      wait_.enqueue();
      spin_lock& l = wait_.lock();
      wait_.state = woken;
      bool const parked = publish_parked(g, &wait_, 1, how());
      l.unlock();
      if (!parked) [[unlikely]]
        hand_over_cut(g);
    } else if (wait_.state == ready) {
      yield_here();
    } else if (wait_.state == retry) {
      g->wait = &wait_;
      g->wait_count = 1;
      g->bits |= g_retry;
      yield_here();
    } else {
      unwind_here();
    }
  }
  typename Op::result_type await_resume() {
    if (wait_.state == woken) wait_.won();
    if constexpr (!std::is_void_v<typename Op::result_type>) {
      return wait_.result();
    } else if constexpr (requires { W::runs_outside; }) {
      (void)wait_.result();  // may throw
    }
  }
  [[nodiscard]] typename Op::result_type await_resume()
    requires requires { Op::must_use; }
  {
    if (wait_.state == woken) wait_.won();
    return wait_.result();
  }

 private:
  enum : std::uint8_t { waiting, ready, cut, woken, retry };
  static constexpr park_state how() {
    if constexpr (requires { W::uncancellable; })
      return park_state::held;
    else
      return park_state::parked;
  }
  // Returns false with the lock taken, for await_suspend.
  bool ready_by_lock() LEASH_TSA(no_thread_safety_analysis) {
    goroutine_core* g = wait_.who;
    if constexpr (!requires { W::outlives_context; }) {
      if (context_ended(g)) [[unlikely]] {
        wait_.state = cut;
        return false;
      }
    }
    if constexpr (requires { W::yields_first; }) {
      // A lock is not held across a yield: that would make a queue of everybody else.
      if (!within_budget(g)) [[unlikely]] {
        wait_.state = retry;
        return false;
      }
      if (wait_.fast()) {
        wait_.state = ready;
        return true;
      }
    }
    spin_lock& l = wait_.lock();
    l.lock();
    if (wait_.claim()) {
      l.unlock();
      wait_.complete();
      return finish_now(g);
    }
    return false;
  }
  bool finish_now(goroutine_core* g) {
    wait_.state = ready;
    return within_budget(g);
  }
  LEASH_NOINLINE void leave() LEASH_TSA(no_thread_safety_analysis) {
    spin_lock& l = wait_.lock();
    l.lock();
    wait_.remove();
    l.unlock();
  }

  W wait_;
};

/// The awaiter of an operation that mostly completes at once: `bool op.try_now()` does, or changes nothing, and
/// `op.now()` gives the result. Only if it does not is the wait built.
template <class Op>
class [[nodiscard]] quick_wait {
 public:
  using leash_awaiter = void;
  quick_wait(Op& op, goroutine_core* g, std::source_location at) : op_(op), g_(g) { (void)at; }
  quick_wait(quick_wait&&) = delete;
  ~quick_wait() {
    if (built_) [[unlikely]]
      std::destroy_at(&slow_);
  }
  bool await_ready() {
    if (!context_ended(g_) && g_->budget > 1 && op_.try_now()) [[likely]] {
      --g_->budget;
      return true;
    }
    std::construct_at(&slow_, op_, g_, std::source_location());
    built_ = true;
    return slow_.await_ready();
  }
  template <class P>
  void await_suspend(std::coroutine_handle<P> h) {
    slow_.await_suspend(h);
  }
  [[nodiscard]] typename Op::result_type await_resume() {
    if (built_) [[unlikely]]
      return slow_.await_resume();
    return op_.now();
  }

 private:
  Op& op_;
  goroutine_core* g_;
  bool built_ = false;
  union {
    single_wait<Op> slow_;
  };
};

}  // namespace leash
