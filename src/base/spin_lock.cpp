#include <sched.h>
#include <time.h>

#include <leash/spin_lock.hpp>

namespace leash {

void spin_lock::wait() noexcept {
  // Contended: the other side gets the cache line to itself for a while, in which it does dozens of operations. Trying at
  // once makes the line travel with each of them.
  int pauses = 16;
  for (int round = 0;; ++round) {
    for (int i = 0; i < pauses; ++i) cpu_relax();
    if (taken_.load(std::memory_order_relaxed) == 0 && taken_.exchange(1, std::memory_order_acquire) == 0) return;
    if (pauses < 256) {
      pauses *= 2;
    } else if (round < 64) {
      sched_yield();
    } else {
      timespec nap{0, 20'000};
      nanosleep(&nap, nullptr);
    }
  }
}

}  // namespace leash
