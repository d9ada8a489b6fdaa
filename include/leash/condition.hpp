// condition: waiting for a predicate over what a mutex protects.
#pragma once
#include <concepts>
#include <leash/body.hpp>
#include <leash/call_site.hpp>
#include <leash/mutex.hpp>
#include <source_location>

namespace leash {

struct condition_core : placed_object {
  spin_lock lock;
  wait_queue queue;
  condition_core(const void* home, std::source_location where) noexcept
      : placed_object(object_type::condition, home, where) {}
};

/// Wakes goroutines that wait for a predicate to become true.
///
/// Thread safety: notify from any thread, with or without the mutex held; notify after changing what the predicate
/// reads.
class condition {
 public:
  explicit condition(std::source_location where = std::source_location::current())
      : core_(new condition_core(this, where)) {}
  condition(const condition&) = delete;
  condition& operator=(const condition&) = delete;
  ~condition();

  /// Waits until pred() is true, which is called with the mutex held.
  ///
  /// Suspends when: pred() is false. Wait reason: `sync.Cond.Wait`. The mutex is free meanwhile.
  /// Cancellation: first, even if pred() is true already; the mutex is locked again before the goroutine unwinds, so
  /// `held` holds it in every case.
  /// Errors: what pred throws, with the mutex held; std::logic_error if `held` is empty.
  template <std::predicate P>
  task<> wait(mutex::guard& held, P pred, std::source_location where = std::source_location::current()) {
    co_await unwind_if_cancelled{};
    while (!pred()) {
      mutex_core* m = held.core();
      if (m == nullptr) throw_misuse("condition::wait with a guard that holds nothing", where);
      task<> parked = park(m);  // what may throw comes before the mutex is let go
      held.surrender();
      body_result<void> const r = co_await boundary_wait<void>(std::move(parked));
      co_await relock(m);
      held = mutex::guard(m);
      if (r.cut) co_await unwind_further{};
    }
  }
  void notify_one() noexcept;
  void notify_all() noexcept;

 private:
  class park_wait : public waiter {
   public:
    template <class Op>
    explicit park_wait(Op& op) noexcept : waiter(wait_reason::cond_wait), mutex_(op.mutex) {
      what = op.core;
    }
    spin_lock& lock() noexcept { return static_cast<condition_core*>(what)->lock; }
    bool claim() const noexcept { return false; }
    void complete() const noexcept {}
    void enqueue() noexcept {
      static_cast<condition_core*>(what)->queue.push(this);
      // In the queue now: a notify that follows the unlock finds it. Nothing waits for this lock while holding the
      // queue's.
      mutex_->unlock();
      mutex_ = nullptr;
    }
    void remove() noexcept { static_cast<condition_core*>(what)->queue.remove(this); }
    void won() const noexcept {}
    std::monostate result() const noexcept { return {}; }
    ~park_wait() {
      if (mutex_ != nullptr) mutex_->unlock();  // cancelled before it waited
    }

   private:
    mutex_core* mutex_;
  };
  struct park_operation : operation_base {
    using wait_type = park_wait;
    using value_type = std::monostate;
    using result_type = void;
    condition_core* core;
    mutex_core* mutex;
    park_operation(condition_core* c, mutex_core* m) noexcept : core(c), mutex(m) {}
  };
  class relock_wait : public mutex_wait {
   public:
    static constexpr bool outlives_context = true;
    static constexpr bool uncancellable = true;
    template <class Op>
    explicit relock_wait(Op& op) noexcept : mutex_wait(op) {
      uncancellable_ = true;
    }
    std::monostate result() const noexcept { return {}; }
  };
  struct relock_operation : operation_base {
    using wait_type = relock_wait;
    using value_type = std::monostate;
    using result_type = void;
    mutex_core* core_;
    explicit relock_operation(mutex_core* m) noexcept : core_(m) {}
  };
  task<> park(mutex_core* m) { co_await park_operation(core_, m); }
  static relock_operation relock(mutex_core* m) noexcept { return relock_operation(m); }

  condition_core* core_;
};
template <>
inline constexpr bool takes_call_site<condition> = true;

}  // namespace leash
