// The runtime's clock: steady, virtual under simulation.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>

namespace leash {

using nanoseconds = std::chrono::nanoseconds;

struct clock {
  using duration = nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<clock>;
  static constexpr bool is_steady = true;
  static time_point now() noexcept;
};

/// The time on the clock of the runtime that the caller runs in; outside of one, the steady clock.
///
/// Thread safety: any thread. Complexity: one clock read (about 25 ns), none under simulation.
inline clock::time_point now() noexcept { return clock::now(); }

extern std::atomic<std::uint32_t> coarse_milliseconds;
/// Milliseconds of the runtime's clock, mod 2^32, as last seen by some worker; cheap, a few milliseconds old at most
/// while workers run.
inline std::uint32_t coarse_tick() noexcept { return coarse_milliseconds.load(std::memory_order_relaxed); }

}  // namespace leash
