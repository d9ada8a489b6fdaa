// The atomics that templated code takes by default; a model checker passes its own in their place.
#pragma once
#include <atomic>
#include <leash/fence.hpp>
#include <leash/platform.hpp>

namespace leash {

struct atomics {
  template <class T>
  using atomic = std::atomic<T>;
  LEASH_INLINE static void fence(std::memory_order order) noexcept { std::atomic_thread_fence(order); }
  LEASH_INLINE static void light_barrier() noexcept { light_fence(); }
  static void heavy_barrier() noexcept { heavy_fence(); }
};

}  // namespace leash
