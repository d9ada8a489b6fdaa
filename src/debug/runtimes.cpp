#include "runtimes.hpp"

#include <leash/worker.hpp>

namespace leash::debug {

std::vector<runtime_figures> look_at_runtimes() {
  std::vector<runtime_figures> all;
  for_each_runtime([&](runtime& rt) {
    runtime_figures f;
    f.serial = rt.serial;
    f.workers = rt.worker_count;
    for (std::uint32_t i = 0; i < rt.worker_count; ++i) f.ended += rt.workers[i].ended.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    f.spawned = rt.foreign_spawned.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < rt.worker_count; ++i) {
      f.spawned += rt.workers[i].spawned.load(std::memory_order_relaxed);
      f.timers += rt.workers[i].timers.size();
    }
    f.live = rt.live_goroutines();
    std::uint32_t const idle = rt.idle.load(std::memory_order_relaxed);
    f.sleeping = idle & runtime::sleeper_mask;
    f.looking = (idle & runtime::spinner_mask) / runtime::one_spinner;
    f.in_flight = static_cast<std::uint32_t>(rt.in_flight());
    if (rt.blocking != nullptr) f.blocking = rt.blocking->look();
    all.push_back(std::move(f));
  });
  return all;
}

}  // namespace leash::debug
