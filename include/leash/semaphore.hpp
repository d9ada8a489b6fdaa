// semaphore: a number of permits; first come, first served, so that large requests are not starved.
#pragma once
#include <atomic>
#include <cstddef>
#include <leash/call_site.hpp>
#include <leash/handle.hpp>
#include <leash/wait.hpp>
#include <source_location>

namespace leash {

struct semaphore_core : object {
  spin_lock lock;
  std::atomic<std::uint32_t> holders{0};  // permit objects; changed under the lock
  std::size_t available;
  std::size_t const total;
  counted_queue queue;
  semaphore_core(std::size_t n, std::source_location where) noexcept
      : object(object_type::semaphore, where), available(n), total(n) {}
  LEASH_NOINLINE void release(std::size_t n) noexcept;
};

/// Admits holders of up to n permits at a time.
class semaphore {
 public:
  explicit semaphore(std::size_t n, std::source_location where = std::source_location::current())
      : core_(new semaphore_core(n, where)) {}
  semaphore(const semaphore&) = delete;
  semaphore& operator=(const semaphore&) = delete;
  /// Destroying it while permits are out or wanted ends the program with a message.
  ~semaphore();

  /// One or more permits; gives them back when it dies. May move between goroutines and threads.
  class [[nodiscard]] permit : handle {
   public:
    permit() noexcept {}
    permit(permit&& o) noexcept { take(o); }
    LEASH_INLINE LEASH_AT_CALLER permit& operator=(permit&& o) noexcept {
      if (this != &o) {
        release();
        take(o);
      }
      return *this;
    }
    LEASH_INLINE LEASH_AT_CALLER ~permit() { release(); }
    /// Gives back early. Idempotent.
    LEASH_INLINE LEASH_AT_CALLER void release() noexcept {
      if (object* c = handle::release(capability::permit)) static_cast<semaphore_core*>(c)->release(n_);
    }
    explicit operator bool() const noexcept { return get() != nullptr; }
    std::size_t count() const noexcept { return get() != nullptr ? n_ : 0; }

   private:
    friend class semaphore_wait;
    permit(semaphore_core* c, std::size_t n) noexcept : handle(c, capability::permit), n_(n) {}
    void take(permit& o) noexcept {
      n_ = o.n_;
      if (object* c = o.handle::release(capability::permit)) certify(c, capability::permit);
    }
    std::size_t n_ = 0;
  };

  class acquire_operation;
  /// Waits for n permits at once.
  ///
  /// Suspends when: fewer than n are free or others wait already. Wait reason: `semaphore`. Cancellation: first.
  /// Selectable. Thread safety and ordering: what was done before a permit was given back happens before the return of
  /// who gets it. Errors: std::invalid_argument if n is more than the semaphore has.
  acquire_operation acquire(std::size_t n = 1, std::source_location where = std::source_location::current());
  /// Permits that are free now.
  std::size_t available() const noexcept;
  /// Goroutines in line now. Any thread.
  std::size_t waiting() const noexcept { return core_->queue.size().load(std::memory_order_acquire); }

 private:
  semaphore_core* core_;
};
template <>
inline constexpr bool takes_call_site<semaphore> = true;

class semaphore_wait : public waiter {
 public:
  template <class Op>
  explicit semaphore_wait(Op& op) noexcept : waiter(wait_reason::semaphore), n_(op.n_) {
    what = op.core_;
  }
  spin_lock& lock() noexcept { return core()->lock; }
  bool claim() noexcept;
  void complete() const noexcept {}
  void enqueue() noexcept { core()->queue.push(this); }
  void remove() noexcept;
  void won() const noexcept {}
  semaphore::permit result() noexcept { return semaphore::permit(core(), n_); }
  std::size_t wanted() const noexcept { return n_; }

 private:
  semaphore_core* core() const noexcept { return static_cast<semaphore_core*>(what); }
  std::size_t n_;
};

class [[nodiscard]] semaphore::acquire_operation : public operation_base {
 public:
  using wait_type = semaphore_wait;
  using value_type = semaphore::permit;
  using result_type = semaphore::permit;
  static constexpr bool must_use = true;

 private:
  friend class semaphore;
  friend class semaphore_wait;
  acquire_operation(semaphore_core* c, std::size_t n) noexcept : core_(c), n_(n) {}
  [[maybe_unused]] semaphore_core* core_;
  [[maybe_unused]] std::size_t n_;
};

inline semaphore::acquire_operation semaphore::acquire(std::size_t n, std::source_location where) {
  if (n > core_->total) throw_invalid("semaphore::acquire: more permits than the semaphore has", where);
  return acquire_operation(core_, n);
}

}  // namespace leash
