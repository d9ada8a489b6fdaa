#include <sched.h>
#include <time.h>

#include <leash/spin_lock.hpp>

namespace leash {

void spin_lock::wait() noexcept {
  for (int round = 0;; ++round) {
    for (int i = 0; i < 64; ++i) {
      if (taken_.load(std::memory_order_relaxed) == 0 && taken_.exchange(1, std::memory_order_acquire) == 0) return;
      cpu_relax();
    }
    if (round < 64) {
      sched_yield();
    } else {
      timespec nap{0, 20'000};
      nanosleep(&nap, nullptr);
    }
  }
}

}  // namespace leash
