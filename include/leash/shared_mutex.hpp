// shared_mutex: many readers or one writer; first come, first served.
//
// One queue for both. A reader that comes while a writer waits stands behind it, so writers are not starved; a release
// wakes the writer at the head, or all readers up to the next writer.
//
// Invariants
//  R1. writer implies readers == 0.
//  R2. The queue's head can never be admitted at once: each release admits what it can.
#pragma once
#include <atomic>
#include <leash/call_site.hpp>
#include <leash/handle.hpp>
#include <leash/wait.hpp>
#include <source_location>

namespace leash {

struct shared_mutex_core : object {
  spin_lock lock;
  bool writer = false;
  bool poisoned = false;
  std::uint32_t readers = 0;
  std::atomic<std::uint32_t> holders{0};  // guards, of both kinds; changed under the lock
  counted_queue queue;
  explicit shared_mutex_core(std::source_location where) noexcept : object(object_type::shared_mutex, where) {}
  bool admit(bool shared) noexcept {
    if (writer || !queue.empty() || (!shared && readers != 0)) return false;
    take(shared);
    return true;
  }
  void take(bool shared) noexcept {
    shared ? void(++readers) : void(writer = true);
    holders.store(holders.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  LEASH_NOINLINE void release(bool shared) noexcept;
};

class shared_mutex_wait : public waiter {
 public:
  shared_mutex_wait(shared_mutex_core* c, bool shared) noexcept
      : waiter(shared ? wait_reason::rw_rlock : wait_reason::rw_lock) {
    what = c;
  }
  spin_lock& lock() noexcept { return core()->lock; }
  bool claim() noexcept { return core()->admit(reason == wait_reason::rw_rlock); }
  void complete() const noexcept {}
  void enqueue() noexcept { core()->queue.push(this); }
  void remove() noexcept;
  void won() const noexcept {}

 protected:
  shared_mutex_core* core() const noexcept { return static_cast<shared_mutex_core*>(what); }
};

/// Shared (reading) or exclusive (writing) access. Held only through guards, which may move between goroutines and
/// threads. Not recursive: not even a second shared lock while a writer waits. Destroying it in use ends the program
/// with a message.
class shared_mutex {
 public:
  explicit shared_mutex(std::source_location where = std::source_location::current())
      : core_(new shared_mutex_core(where)) {}
  shared_mutex(const shared_mutex&) = delete;
  shared_mutex& operator=(const shared_mutex&) = delete;
  ~shared_mutex();

  template <bool Shared>
  class [[nodiscard]] basic_guard : handle {
    static constexpr capability kind = Shared ? capability::shared_guard : capability::guard;

   public:
    basic_guard() noexcept {}
    basic_guard(basic_guard&& o) noexcept { take(o); }
    LEASH_INLINE LEASH_AT_CALLER basic_guard& operator=(basic_guard&& o) noexcept {
      if (this != &o) {
        unlock();
        take(o);
      }
      return *this;
    }
    LEASH_INLINE LEASH_AT_CALLER ~basic_guard() { unlock(); }
    /// Unlocks early. Idempotent.
    LEASH_INLINE LEASH_AT_CALLER void unlock() noexcept {
      if (object* c = release(kind)) static_cast<shared_mutex_core*>(c)->release(Shared);
    }
    bool owns_lock() const noexcept { return get() != nullptr; }
    explicit operator bool() const noexcept { return owns_lock(); }
    /// True if its last writer was reclaimed while writing.
    bool poisoned() const noexcept { return get() != nullptr && static_cast<shared_mutex_core*>(get())->poisoned; }

   private:
    friend class shared_mutex;
    explicit basic_guard(shared_mutex_core* c) noexcept : handle(c, kind) {}
    void take(basic_guard& o) noexcept {
      if (object* c = o.release(kind)) certify(c, kind);
    }
  };
  using guard = basic_guard<false>;
  using shared_guard = basic_guard<true>;

  template <bool Shared>
  class [[nodiscard]] lock_operation : public operation_base {
   public:
    class wait_type : public shared_mutex_wait {
     public:
      explicit wait_type(lock_operation& op) noexcept : shared_mutex_wait(op.core_, Shared) {}
      basic_guard<Shared> result() noexcept { return basic_guard<Shared>(core()); }
    };
    using value_type = basic_guard<Shared>;
    using result_type = basic_guard<Shared>;
    static constexpr bool must_use = true;

   private:
    friend class shared_mutex;
    explicit lock_operation(shared_mutex_core* c) noexcept : core_(c) {}
    shared_mutex_core* core_;
  };

  /// Waits for exclusive access. Wait reason: `sync.RWMutex.Lock`. Cancellation: first. Selectable.
  lock_operation<false> lock() noexcept { return lock_operation<false>(core_); }
  /// Waits for shared access. Wait reason: `sync.RWMutex.RLock`. Cancellation: first. Selectable.
  lock_operation<true> lock_shared() noexcept { return lock_operation<true>(core_); }

 private:
  shared_mutex_core* core_;
};
template <>
inline constexpr bool takes_call_site<shared_mutex> = true;

}  // namespace leash
