// A one-word lock for sections of a few dozen instructions that never run user code.
//
// Spins briefly; a holder that was preempted is given the processor (sched_yield), and a lock that stays taken is slept
// for. Unlocking is a plain store. Not recursive, not fair.
//
// A lone worker, which is the only one of its run, takes locks without a locked instruction until another thread takes one:
// a Dekker pair for each lock. The worker says that it is in, light fence, and looks whether the lock is taken or it is
// alone no more; the other takes the lock, tells the worker that it is alone no more, heavy fence, and waits until the
// worker is not in.
//
//  L1. Only the lone worker writes in_. It unlocks as it locked: in_ is 1 only if it entered alone.
//  L2. somebody_alone becomes false after the heavy fence of whoever ended it: who sees false sees each in_ that was
//      written by somebody who thought to be alone.
//  L3. It becomes true before its worker enters for the first time, with a fence in between: who saw false before has its
//      lock taken visibly.
#pragma once
#include <atomic>
#include <cstdint>
#include <leash/platform.hpp>

#if defined(__clang__)
#define LEASH_TSA(x) __attribute__((x))
#else
#define LEASH_TSA(x)
#endif

namespace leash {

enum class loneliness : std::uint8_t { never, over, lasts };
#if LEASH_TSAN  // it knows no asymmetric fences
inline constexpr std::atomic<loneliness> alone_here{loneliness::never};
#else
/// Of this thread, as a worker.
extern constinit thread_local std::atomic<loneliness> alone_here __attribute__((tls_model("initial-exec")));
#endif
/// Some worker is alone.
extern constinit std::atomic<bool> somebody_alone;

/// The calling thread is the only worker of its run while this lives.
class lone_worker {
 public:
  explicit lone_worker(bool is_alone) noexcept;
  lone_worker(const lone_worker&) = delete;
  ~lone_worker();

 private:
  bool const begun_;
};

class LEASH_TSA(capability("spin_lock")) spin_lock {
 public:
  constexpr spin_lock() noexcept {}
  spin_lock(const spin_lock&) = delete;
  spin_lock& operator=(const spin_lock&) = delete;

  LEASH_INLINE void lock() noexcept LEASH_TSA(acquire_capability()) {
    if (alone_here.load(std::memory_order_relaxed) == loneliness::lasts && enter_alone()) return;
    // Acquire: sees what the last holder wrote before its release in unlock().
    if (taken_.exchange(1, std::memory_order_seq_cst) != 0) [[unlikely]]
      wait();
    keep_out();
  }
  /// May fail without need while another thread tries.
  LEASH_INLINE bool try_lock() noexcept LEASH_TSA(try_acquire_capability(true)) {
    if (is_locked()) return false;
    if (alone_here.load(std::memory_order_relaxed) == loneliness::lasts && enter_alone()) return true;
    return try_take();
  }
  LEASH_INLINE void unlock() noexcept LEASH_TSA(release_capability()) {
    bool const entered_alone =
        alone_here.load(std::memory_order_relaxed) != loneliness::never && in_.load(std::memory_order_relaxed) != 0;
    (entered_alone ? in_ : taken_).store(0, std::memory_order_release);
  }
  bool is_locked() const noexcept {
    return taken_.load(std::memory_order_relaxed) != 0 || in_.load(std::memory_order_relaxed) != 0;
  }

 private:
  LEASH_INLINE bool enter_alone() noexcept {
    in_.store(1, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // ORD alone-1 light: nobody is alone without membarrier
    if (taken_.load(std::memory_order_acquire) == 0 && alone_here.load(std::memory_order_relaxed) == loneliness::lasts)
        [[likely]]
      return true;
    in_.store(0, std::memory_order_release);
    return false;
  }
  /// After taking it: the lone worker is not in it, nor comes in.
  LEASH_INLINE void keep_out() noexcept {
    if (somebody_alone.load(std::memory_order_seq_cst) || in_.load(std::memory_order_acquire) != 0) [[unlikely]]
      keep_out_slowly();
  }
  LEASH_COLD void keep_out_slowly() noexcept;
  LEASH_NOINLINE bool try_take() noexcept;
  LEASH_COLD void wait() noexcept;

  alignas(4) std::atomic<std::uint8_t> taken_{0};
  std::atomic<std::uint8_t> in_{0};
};

class LEASH_TSA(scoped_lockable) spin_guard {
 public:
  explicit spin_guard(spin_lock& l) noexcept LEASH_TSA(acquire_capability(l)) : lock_(l) { l.lock(); }
  spin_guard(const spin_guard&) = delete;
  spin_guard& operator=(const spin_guard&) = delete;
  ~spin_guard() LEASH_TSA(release_capability()) { lock_.unlock(); }

 private:
  spin_lock& lock_;
};

}  // namespace leash
