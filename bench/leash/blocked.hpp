// What the rows over a million blocked goroutines share.
#pragma once

#include <atomic>

#include "harness.hpp"

namespace bench {

/// Goroutines that are about to park, or have.
inline std::atomic<std::size_t> arrived{0};

/// Returns when `want` goroutines have arrived at their wait.
inline leash::task<> await_arrivals(std::size_t want) {
  while (arrived.load(std::memory_order_relaxed) != want) co_await leash::yield();
}

}  // namespace bench
