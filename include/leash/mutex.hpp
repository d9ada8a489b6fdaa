// mutex: exclusion held through a guard; and guarded<T>, the data that it protects.
//
// state: bit 0 LOCKED, bit 1 WAITERS (the queue may not be empty), bit 2 POISONED.
//
//   operation          from          to             who
//   lock, fast         0             LOCKED         anybody, one CAS
//   unlock, fast       LOCKED        0              the holder, one CAS
//   lock, slow         LOCKED|..     ..|WAITERS     under the queue's lock
//   unlock, slow       ..|WAITERS    see below      under the queue's lock
//
// An unlock with waiters sets the lock free and wakes the first waiter, which tries again when it runs (a goroutine
// that is running already may take the lock before it: handing it over would make every lock operation a switch). A
// waiter that came too late a few times, or stands in a select, is handed the lock.
//
// Invariants
//  M1. WAITERS is set whenever the queue is not empty; changed only under the queue's lock.
//  M2. Whoever finds LOCKED clear may take it, by CAS.
#pragma once
#include <atomic>
#include <leash/call_site.hpp>
#include <leash/handle.hpp>
#include <leash/wait.hpp>
#include <optional>
#include <source_location>
#include <utility>

namespace leash {

struct mutex_core : object {
  static constexpr std::uint32_t locked = 1, waiters = 2, poisoned = 4;
  std::atomic<std::uint32_t> state{0};
  spin_lock lock;
  wait_queue queue;
  explicit mutex_core(std::source_location where) noexcept : object(object_type::mutex, where) {}

  // Without a look first: a load behind the locked instruction that wrote the word last holds the next one up.
  LEASH_INLINE bool try_lock() noexcept {
    std::uint32_t free = 0;
    return state.compare_exchange_strong(free, locked, std::memory_order_acquire, std::memory_order_relaxed);
  }
  LEASH_INLINE LEASH_AT_CALLER void unlock() noexcept {
    std::uint32_t held = locked;
    if (reclaimed_anything.load(std::memory_order_relaxed) ||
        !state.compare_exchange_strong(held, 0, std::memory_order_release, std::memory_order_relaxed)) [[unlikely]] {
      unlock_slow();
    }
  }
  bool try_lock_slow() noexcept;               // with other bits set
  LEASH_NOINLINE void unlock_slow() noexcept;  // the profile of who held it tells the line that calls it
};

class mutex_wait : public retrying_waiter {
 public:
  static constexpr bool yields_first = true;
  template <class Op>
  explicit mutex_wait(Op& op) noexcept : retrying_waiter(wait_reason::mutex_lock) {
    what = op.core_;
    retry = &mutex_wait::try_again;
  }
  LEASH_INLINE bool fast() noexcept { return core()->try_lock() || spin(); }
  spin_lock& lock() noexcept { return core()->lock; }
  bool claim() noexcept;
  void complete() const noexcept {}
  void enqueue() noexcept;
  void remove() noexcept { core()->queue.remove(this); }
  void won() const noexcept {}

 protected:
  mutex_core* core() const noexcept { return static_cast<mutex_core*>(what); }
  bool uncancellable_ = false;

 private:
  bool spin() noexcept;
  static bool try_again(retrying_waiter*);
};

/// Mutual exclusion between goroutines.
///
/// Held only through a guard, which may move between goroutines and threads and unlocks when it dies. Not recursive: a
/// goroutine that locks what it holds waits for itself, which the leak proof reports.
/// Destroying it while it is held or waited for ends the program with a message.
class mutex {
 public:
  explicit mutex(std::source_location where = std::source_location::current()) : core_(new mutex_core(where)) {}
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;
  ~mutex();

  class lock_operation;

  /// Holds the mutex; unlocks it when it dies.
  class [[nodiscard]] guard : handle {
   public:
    guard() noexcept {}
    guard(guard&& o) noexcept { take(o); }
    LEASH_INLINE LEASH_AT_CALLER guard& operator=(guard&& o) noexcept {
      if (this != &o) {
        unlock();
        take(o);
      }
      return *this;
    }
    LEASH_INLINE LEASH_AT_CALLER ~guard() { unlock(); }
    /// Unlocks early. Idempotent.
    LEASH_INLINE LEASH_AT_CALLER void unlock() noexcept {
      if (object* c = release(capability::guard)) static_cast<mutex_core*>(c)->unlock();
    }
    bool owns_lock() const noexcept { return get() != nullptr; }
    explicit operator bool() const noexcept { return owns_lock(); }
    /// True if its former holder was reclaimed while holding it: what the mutex protects may be half changed.
    bool poisoned() const noexcept {
      return get() != nullptr && (core()->state.load(std::memory_order_relaxed) & mutex_core::poisoned) != 0;
    }

   private:
    friend class mutex;
    friend class mutex_guard_wait;
    friend class condition;
    template <class T>
    friend class guarded;
    explicit guard(mutex_core* c) noexcept : handle(c, capability::guard) {}
    mutex_core* core() const noexcept { return static_cast<mutex_core*>(get()); }
    mutex_core* surrender() noexcept { return static_cast<mutex_core*>(release(capability::guard)); }
    void take(guard& o) noexcept {
      if (object* c = o.release(capability::guard)) certify(c, capability::guard);
    }
  };

  /// Waits until no one else holds the mutex, and holds it.
  ///
  /// Suspends when: it is held. Wait reason: `sync.Mutex.Lock`. Cancellation: first; a lock that was won is delivered.
  /// Selectable. Thread safety and ordering: what the last holder did before unlocking happens before the return.
  /// Complexity: one CAS uncontended, no allocation.
  lock_operation lock() noexcept;
  /// A guard, or nothing if it is held. From any thread.
  std::optional<guard> try_lock() noexcept {
    if (core_->try_lock() || core_->try_lock_slow()) return guard(core_);
    return std::nullopt;
  }

 private:
  template <class T>
  friend class guarded;
  mutex_core* core_;
};

template <>
inline constexpr bool takes_call_site<mutex> = true;

class mutex_guard_wait : public mutex_wait {
 public:
  using mutex_wait::mutex_wait;
  mutex::guard result() noexcept { return mutex::guard(core()); }
};

class [[nodiscard]] mutex::lock_operation : public operation_base {
 public:
  using wait_type = mutex_guard_wait;
  using value_type = mutex::guard;
  using result_type = mutex::guard;
  static constexpr bool must_use = true;
  LEASH_INLINE bool try_now() noexcept { return core_->try_lock(); }
  LEASH_INLINE mutex::guard now() noexcept { return mutex::guard(core_); }

 private:
  friend class mutex;
  friend class mutex_wait;
  explicit lock_operation(mutex_core* c) noexcept : core_(c) {}
  [[maybe_unused]] mutex_core* core_;
};
inline mutex::lock_operation mutex::lock() noexcept { return lock_operation(core_); }

/// A value and the mutex that protects it: reached only through a guard.
template <class T>
class guarded {
 public:
  guarded(call_site at = std::source_location::current())
    requires std::default_initializable<T>
      : mutex_(at) {}
  /// As T(args...).
#define LEASH_GUARDED(types, parameters, kept_types, forwarded)                                                     \
  template <LEASH_PLAIN types>                                                                                      \
  explicit guarded(LEASH_PLAIN parameters, call_site at = std::source_location::current())                          \
    requires(!std::same_as<std::remove_cvref_t<F>, guarded> && decltype(can_make<T>(LEASH_PLAIN forwarded))::value) \
      : mutex_(at), value_(LEASH_PLAIN forwarded) {}
  LEASH_EACH_ARITY(LEASH_GUARDED, class)
#undef LEASH_GUARDED
  template <class... A>
    requires(sizeof...(A) > 7 && std::constructible_from<T, A...>)
  explicit guarded(A&&... args) : value_(std::forward<A>(args)...) {}
  guarded(const guarded&) = delete;
  guarded& operator=(const guarded&) = delete;

  class [[nodiscard]] guard {
   public:
    guard(guard&& o) noexcept : held_(std::move(o.held_)), value_(o.value_) {}
    LEASH_INLINE LEASH_AT_CALLER ~guard() = default;
    LEASH_INLINE LEASH_AT_CALLER guard& operator=(guard&& o) noexcept {
      held_ = std::move(o.held_);
      value_ = o.value_;
      return *this;
    }
    T* operator->() const noexcept { return value_; }
    T& operator*() const noexcept { return *value_; }
    bool poisoned() const noexcept { return held_.poisoned(); }

   private:
    friend class guarded;
    guard(mutex::guard g, T* v) noexcept : held_(std::move(g)), value_(v) {}
    mutex::guard held_;
    T* value_;
  };
  class lock_wait : public mutex_wait {
   public:
    template <class Op>
    explicit lock_wait(Op& op) noexcept : mutex_wait(op), value_(op.value_) {}
    guard result() noexcept { return make_guard(core(), value_); }

   private:
    T* value_;
  };
  class [[nodiscard]] lock_operation : public operation_base {
   public:
    using wait_type = lock_wait;
    using value_type = guard;
    using result_type = guard;
    static constexpr bool must_use = true;
    LEASH_INLINE bool try_now() noexcept { return core_->try_lock(); }
    LEASH_INLINE guard now() noexcept { return make_guard(core_, value_); }

   private:
    friend class guarded;
    friend class mutex_wait;
    friend class lock_wait;
    lock_operation(mutex_core* c, T* v) noexcept : core_(c), value_(v) {}
    [[maybe_unused]] mutex_core* core_;
    [[maybe_unused]] T* value_;
  };
  /// As mutex::lock; the guard gives access to the value.
  lock_operation lock() noexcept { return lock_operation(mutex_.core_, &value_); }

 private:
  static guard make_guard(mutex_core* c, T* v) noexcept { return guard(mutex::guard(c), v); }
  mutex mutex_;
  T value_{};
};
template <class T>
inline constexpr bool takes_call_site<guarded<T>> = true;

}  // namespace leash
