// An asymmetric fence: cheap on the side that runs often, dear on the side that runs seldom.
//
// A Dekker pair is two sides that each store one word and then load the other's. Without a fence between store and load
// both may miss each other. light_fence() on the frequent side costs nothing (it only stops the compiler) because
// heavy_fence() on the rare side makes the kernel run a full barrier on every other thread of this process
// (membarrier(2)). Where the kernel has no membarrier both are full fences.
//
// Guarantee, for a thread A: store x; light_fence(); load y   and a thread B: store y; heavy_fence(); load x
// (atomics, any order): at least one of the two loads sees the other side's store.
#pragma once
#include <atomic>
#include <leash/platform.hpp>

namespace leash {

extern bool membarrier_works;  // set before main; false: light_fence is a full fence

LEASH_INLINE void light_fence() noexcept {
  if (membarrier_works) [[likely]] {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  } else {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
}

/// About 1-5 us when other threads run.
void heavy_fence() noexcept;

}  // namespace leash
