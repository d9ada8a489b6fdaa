// A worker's slot for the goroutine that runs next: its owner fills and empties it all the time, others take from it seldom.
//
// The owner exchanges by a load and a store while nobody else wants to take. Dekker pair: the owner says that it is at it,
// light fence, and looks whether somebody wants to; who wants to says so, heavy fence, and looks whether the owner is at it:
// then it gives up. From then on both exchange by one instruction. An owner that lost its processor at it keeps what is
// there until it is back.
//
//  N1. Only the owner writes at_it_. Only who turned wanted_ on turns it off.
//  N2. The owner writes item_ by a plain store only while at_it_, after it saw wanted_ false. Another thread changes item_
//      only while wanted_, by an exchange, after the heavy fence and after it saw at_it_ false.
// Rejected: an exchange by everybody. It costs two locked instructions for each hand-over, a fifth of a ping-pong.
#pragma once
#include <atomic>
#include <leash/atomics.hpp>
#include <leash/platform.hpp>

namespace leash {

template <class T, class Atomics = atomics>
class next_slot {
 public:
  /// Owner only: what was there.
  LEASH_INLINE T* exchange(T* item) noexcept {
    at_it_.store(true, std::memory_order_relaxed);
    Atomics::light_barrier();
    T* before;
    // ORD next-2 acquire: sees the slot as who wanted to take left it.
    if (!wanted_.load(std::memory_order_acquire)) [[likely]] {
      before = item_.load(std::memory_order_relaxed);
      item_.store(item, std::memory_order_release);  // ORD next-1: hands over the goroutine, and what its waker wrote
    } else {
      before = item_.exchange(item, std::memory_order_acq_rel);  // ORD next-1
    }
    at_it_.store(false, std::memory_order_release);  // ORD next-3: the slot is as the owner left it
    return before;
  }
  /// Owner only; null: it is empty.
  LEASH_INLINE T* take() noexcept { return empty() ? nullptr : exchange(nullptr); }
  /// Any other thread; null: it is empty, or somebody else is at it. Costs a heavy fence.
  T* steal() noexcept {
    if (wanted_.exchange(true, std::memory_order_acquire)) return nullptr;
    Atomics::heavy_barrier();
    T* item = nullptr;
    if (!at_it_.load(std::memory_order_acquire))                  // ORD next-3
      item = item_.exchange(nullptr, std::memory_order_acq_rel);  // ORD next-1
    wanted_.store(false, std::memory_order_release);              // ORD next-2
    return item;
  }
  /// A hint.
  bool empty() const noexcept { return item_.load(std::memory_order_relaxed) == nullptr; }

 private:
  template <class V>
  using atomic = typename Atomics::template atomic<V>;

  atomic<T*> item_{nullptr};
  atomic<bool> at_it_{false}, wanted_{false};
};

}  // namespace leash
