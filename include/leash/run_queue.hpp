// A worker's bounded queue of runnable goroutines: one owner at the tail, the owner and thieves at the head.
//
// head and tail count up for ever; slot i % capacity. Only the owner writes tail; every taker moves head by CAS, but for
// an owner that no thief can be beside.
//  Q1. Slots head..tail-1 are full. A taker reads a slot before its CAS; the CAS fails if the slot was taken meanwhile,
//  and the owner does not overwrite a slot before it has seen the head beyond it.
// Rejected: a Chase-Lev deque, whose owner takes the newest: it is one CAS cheaper at times, but not first in first
// out.
#pragma once
#include <cstddef>
#include <cstdint>
#include <leash/atomics.hpp>
#include <leash/platform.hpp>

namespace leash {

template <class T, std::size_t Capacity = 256, class Atomics = atomics>
class run_queue {
 public:
  /// `first`: where the indices start. Any will do, also one from which they soon wrap around.
  constexpr explicit run_queue(std::uint32_t first = 0) noexcept : head_(first), tail_(first) {}

  /// Owner only. False: full.
  LEASH_INLINE bool push(T* item) noexcept {
    std::uint32_t const tail = tail_.load(std::memory_order_relaxed);
    // ORD queue-1 acquire: a taker that moved head has finished reading the slot that is reused now.
    if (tail - head_.load(std::memory_order_acquire) >= Capacity) return false;
    slots_[tail % Capacity].store(item, std::memory_order_relaxed);
    // ORD queue-2 release: publishes the slot to takers.
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  /// Owner only. Null: empty. alone: there are no thieves.
  LEASH_INLINE T* pop(bool alone = false) noexcept {
    std::uint32_t head = head_.load(std::memory_order_acquire);
    if (alone) {
      if (head == tail_.load(std::memory_order_relaxed)) return nullptr;
      head_.store(head + 1, std::memory_order_relaxed);
      return slots_[head % Capacity].load(std::memory_order_relaxed);
    }
    for (;;) {
      if (head == tail_.load(std::memory_order_relaxed)) return nullptr;
      T* item = slots_[head % Capacity].load(std::memory_order_relaxed);
      // ORD queue-1 release: the slot was read before it can be reused.
      if (head_.compare_exchange_weak(head, head + 1, std::memory_order_acq_rel, std::memory_order_acquire))
        return item;
    }
  }
  /// Owner only: a hint of what pop() will give after `ahead` others; null: nothing yet.
  LEASH_INLINE T* peek(std::uint32_t ahead) const noexcept {
    std::uint32_t const head = head_.load(std::memory_order_relaxed);
    if (tail_.load(std::memory_order_relaxed) - head <= ahead) return nullptr;
    return slots_[(head + ahead) % Capacity].load(std::memory_order_relaxed);
  }
  /// Any thread: moves up to half into `out`; the number moved.
  std::uint32_t steal(T** out, std::uint32_t at_most) noexcept {
    std::uint32_t head = head_.load(std::memory_order_acquire);
    for (;;) {
      // ORD queue-2 acquire: sees the slots up to tail.
      std::uint32_t const tail = tail_.load(std::memory_order_acquire);
      std::uint32_t n = tail - head;
      if (n > Capacity) {  // head was read before, tail after others moved on
        head = head_.load(std::memory_order_acquire);
        continue;
      }
      n = n - n / 2;
      if (n > at_most) n = at_most;
      if (n == 0) return 0;
      for (std::uint32_t i = 0; i < n; ++i) out[i] = slots_[(head + i) % Capacity].load(std::memory_order_relaxed);
      // ORD queue-1 release: the slots were read before they can be reused.
      if (head_.compare_exchange_weak(head, head + n, std::memory_order_acq_rel, std::memory_order_acquire)) return n;
    }
  }
  /// How many are there; a hint.
  std::uint32_t size() const noexcept {
    return tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_relaxed);
  }
  bool empty() const noexcept { return head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_relaxed); }

 private:
  static_assert((Capacity & (Capacity - 1)) == 0, "slots must go on in order where the indices wrap around");
  template <class V>
  using atomic = typename Atomics::template atomic<V>;

  atomic<std::uint32_t> head_;
  alignas(64) atomic<std::uint32_t> tail_;
  atomic<T*> slots_[Capacity]{};
};

}  // namespace leash
