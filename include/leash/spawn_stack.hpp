// A worker's goroutines that have not run yet: the owner takes the newest, thieves the oldest (a Chase-Lev deque,
// bounded).
//
// Newest first keeps a tree of goroutines deep instead of wide: what runs next is still in the cache, and few are alive
// at a time. Thieves get the oldest, usually the root of much work.
//
// top counts up, by CAS of thieves (and of the owner for the last item); bottom belongs to the owner. Slot i %
// capacity.
//  D1. Slots top..bottom-1 are full. D2. The owner announces bottom - 1 before it looks at top, thieves read top before
//  bottom, all four in the one order of sequentially consistent operations (no fence: an exchange and plain loads where
//  loads keep their order): of an owner and a thief that want the same last item, at least one sees the other.
#pragma once
#include <cstddef>
#include <cstdint>
#include <leash/atomics.hpp>
#include <leash/platform.hpp>

namespace leash {

template <class T, std::size_t Capacity = 256, class Atomics = atomics>
class spawn_stack {
 public:
  /// Owner only. False: full.
  LEASH_INLINE bool push(T* item) noexcept {
    std::int64_t const bottom = bottom_.load(std::memory_order_relaxed);
    // ORD stack-1 acquire: a thief that moved top has finished reading the slot that is reused now.
    if (bottom - top_.load(std::memory_order_acquire) >= static_cast<std::int64_t>(Capacity)) return false;
    slots_[static_cast<std::size_t>(bottom) % Capacity].store(item, std::memory_order_relaxed);
    // ORD stack-2 release: publishes the slot, and what it points to.
    bottom_.store(bottom + 1, std::memory_order_release);
    return true;
  }
  /// Owner only: the newest; null: empty. `alone`: there are no thieves.
  LEASH_INLINE T* pop(bool alone) noexcept {
    std::int64_t const bottom = bottom_.load(std::memory_order_relaxed) - 1;
    if (top_.load(std::memory_order_relaxed) > bottom) return nullptr;
    // ORD stack-2: for a thief that reads this value.
    if (alone) {
      bottom_.store(bottom, std::memory_order_release);
    } else {
      (void)bottom_.exchange(bottom, std::memory_order_seq_cst);  // D2: the load below must not pass this
    }
    std::int64_t top = top_.load(std::memory_order_seq_cst);
    if (top < bottom) return slots_[static_cast<std::size_t>(bottom) % Capacity].load(std::memory_order_relaxed);
    T* item = nullptr;
    if (top == bottom) {
      item = slots_[static_cast<std::size_t>(bottom) % Capacity].load(std::memory_order_relaxed);
      if (!top_.compare_exchange_strong(top, top + 1, std::memory_order_acq_rel, std::memory_order_relaxed))
        item = nullptr;
    }
    bottom_.store(bottom + 1, std::memory_order_release);  // ORD stack-2
    return item;
  }
  /// Any thread: the oldest; null: empty, or somebody else was quicker.
  T* steal() noexcept {
    std::int64_t top = top_.load(std::memory_order_seq_cst);  // D2: before the load of bottom
    // ORD stack-2 acquire: sees the slot.
    if (top >= bottom_.load(std::memory_order_seq_cst)) return nullptr;
    T* item = slots_[static_cast<std::size_t>(top) % Capacity].load(std::memory_order_relaxed);
    // ORD stack-1 release: the slot was read before it can be reused.
    return top_.compare_exchange_strong(top, top + 1, std::memory_order_acq_rel, std::memory_order_relaxed) ? item
                                                                                                            : nullptr;
  }
  /// A number that changes when the oldest is taken; a hint.
  std::int64_t oldest() const noexcept { return top_.load(std::memory_order_relaxed); }
  /// A hint.
  std::size_t size() const noexcept {
    std::int64_t const n = bottom_.load(std::memory_order_relaxed) - top_.load(std::memory_order_relaxed);
    return n > 0 ? static_cast<std::size_t>(n) : 0;
  }
  bool empty() const noexcept {
    return top_.load(std::memory_order_relaxed) >= bottom_.load(std::memory_order_relaxed);
  }

 private:
  template <class V>
  using atomic = typename Atomics::template atomic<V>;

  atomic<std::int64_t> top_{0};
  alignas(64) atomic<std::int64_t> bottom_{0};
  atomic<T*> slots_[Capacity]{};
};

}  // namespace leash
