// Figures of each runtime of the process: what metrics and the page tell of schedulers, timers and blocking pools.
#pragma once
#include <cstdint>
#include <leash/blocking.hpp>
#include <vector>

namespace leash::debug {

struct runtime_figures {
  std::uint64_t serial = 0, spawned = 0, ended = 0;
  std::size_t live = 0, timers = 0;
  std::uint32_t workers = 0, sleeping = 0, looking = 0, in_flight = 0;
  blocking_pool::figures blocking;
};

/// Takes the locks of the blocking pools, each for a moment.
std::vector<runtime_figures> look_at_runtimes();

}  // namespace leash::debug
