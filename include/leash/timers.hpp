// A worker's heap of armed timers. Four children to a node: one cache line of keys a level.
//
// A timer lives in its owner (a waiter, a context, an after_func); the heap refers to it. Everything happens under the
// heap's lock, also the waker's CAS of a sleeper: whoever takes the timer out under the lock, after that knows that the
// heap's side is done with it.
#pragma once
#include <atomic>
#include <cstdint>
#include <leash/clock.hpp>
#include <leash/goroutine.hpp>
#include <leash/spin_lock.hpp>
#include <vector>

namespace leash {

class timer_heap;
struct worker;

/// Embedded in whatever waits for a time.
struct timer_entry {
  std::int64_t when = 0;       // ns on the runtime's clock
  timer_heap* heap = nullptr;  // set when armed first
  std::uint32_t index = 0;     // its place + 1; 0: not armed
  /// Runs under the heap's lock when the time has come (index is 0 then): must be short, lock nothing else, and must
  /// not run user code. Returns a goroutine that it claimed, to be scheduled after the lock is given back; or null. A
  /// timer that has more to do returns null after appending itself to `later`, and gets fire() called without the lock.
  goroutine_core* (*expire)(timer_entry*, timer_entry*& later) = nullptr;
  void (*fire)(timer_entry*) = nullptr;
  timer_entry* next_later = nullptr;
};

class timer_heap {
 public:
  timer_heap() { entries_.reserve(64); }
  timer_heap(const timer_heap&) = delete;
  timer_heap& operator=(const timer_heap&) = delete;

  spin_lock& lock() noexcept { return lock_; }
  /// Under the lock. Throws std::bad_alloc.
  void arm(timer_entry*, std::int64_t when);
  /// Under the lock. False: it was not armed (fired or stopped).
  bool disarm(timer_entry*) noexcept;

  /// The earliest time, or INT64_MAX. Any thread, may be stale.
  std::int64_t next_time() const noexcept { return next_.load(std::memory_order_relaxed); }
  /// Takes out everything due and wakes it. Any thread; not under the lock. The number of timers taken out.
  std::size_t expire(std::int64_t now);

  std::size_t size() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  struct key {
    std::int64_t when;
    timer_entry* entry;
  };
  void place(std::size_t i, key k) noexcept {
    entries_[i] = k;
    k.entry->index = static_cast<std::uint32_t>(i + 1);
  }
  void sift_up(std::size_t i, key) noexcept;
  void sift_down(std::size_t i, key) noexcept;
  void take_out(std::size_t i) noexcept;
  void publish() noexcept {
    next_.store(entries_.empty() ? INT64_MAX : entries_.front().when, std::memory_order_relaxed);
    count_.store(entries_.size(), std::memory_order_relaxed);
  }

  spin_lock lock_;
  std::atomic<std::int64_t> next_{INT64_MAX};
  std::atomic<std::size_t> count_{0};
  std::vector<key> entries_;
};

}  // namespace leash
