// A one-word lock for sections of a few dozen instructions that never run user code.
//
// Spins briefly; a holder that was preempted is given the processor (sched_yield), and a lock that stays taken is slept
// for. Unlocking is a plain store. Not recursive, not fair.
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

class LEASH_TSA(capability("spin_lock")) spin_lock {
 public:
  constexpr spin_lock() noexcept {}
  spin_lock(const spin_lock&) = delete;
  spin_lock& operator=(const spin_lock&) = delete;

  LEASH_INLINE void lock() noexcept LEASH_TSA(acquire_capability()) {
    // Acquire: sees what the last holder wrote before its release in unlock().
    if (taken_.exchange(1, std::memory_order_acquire) != 0) [[unlikely]]
      wait();
  }
  LEASH_INLINE bool try_lock() noexcept LEASH_TSA(try_acquire_capability(true)) {
    return taken_.load(std::memory_order_relaxed) == 0 && taken_.exchange(1, std::memory_order_acquire) == 0;
  }
  LEASH_INLINE void unlock() noexcept LEASH_TSA(release_capability()) { taken_.store(0, std::memory_order_release); }
  bool is_locked() const noexcept { return taken_.load(std::memory_order_relaxed) != 0; }

 private:
  LEASH_COLD void wait() noexcept;

  std::atomic<std::uint32_t> taken_{0};
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
