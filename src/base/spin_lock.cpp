#include <sched.h>
#include <time.h>

#include <leash/fence.hpp>
#include <leash/spin_lock.hpp>
#include <mutex>
#include <utility>

namespace leash {

#if !LEASH_TSAN
constinit thread_local std::atomic<loneliness> alone_here __attribute__((tls_model("initial-exec"))) =
    loneliness::never;
#endif
constinit std::atomic<bool> somebody_alone{false};

namespace {

constinit std::mutex lonely_lock;
constinit std::atomic<loneliness>* lonely = nullptr;  // under lonely_lock: whoever is alone

/// Of that thread; null: of whoever is.
void end_loneliness(const std::atomic<loneliness>* of) noexcept {
  std::lock_guard guard(lonely_lock);
  if (lonely == nullptr || (of != nullptr && of != lonely)) return;
  std::exchange(lonely, nullptr)->store(loneliness::over, std::memory_order_relaxed);
  heavy_fence();                                           // ORD alone-1
  somebody_alone.store(false, std::memory_order_seq_cst);  // L2
}

bool begin_loneliness() noexcept {
#if LEASH_TSAN
  return false;
#else
  if (!membarrier_works) return false;
  std::lock_guard guard(lonely_lock);
  if (lonely != nullptr || alone_here.load(std::memory_order_relaxed) != loneliness::never) return false;
  lonely = &alone_here;
  somebody_alone.store(true, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // L3
  alone_here.store(loneliness::lasts, std::memory_order_relaxed);
  return true;
#endif
}

}  // namespace

lone_worker::lone_worker(bool is_alone) noexcept : begun_(is_alone && begin_loneliness()) {}
lone_worker::~lone_worker() {
#if !LEASH_TSAN
  if (!begun_) return;
  end_loneliness(&alone_here);
  alone_here.store(loneliness::never, std::memory_order_relaxed);
#endif
}

namespace {

// Contended: the other side gets the cache line to itself for a while, in which it does dozens of operations. Trying at
// once makes the line travel with each of them.
class patience {
 public:
  void wait() noexcept {
    for (int i = 0; i < pauses_; ++i) cpu_relax();
    if (pauses_ < 256) {
      pauses_ *= 2;
    } else if (++rounds_ < 60) {
      sched_yield();
    } else {
      timespec nap{0, 20'000};
      nanosleep(&nap, nullptr);
    }
  }

 private:
  int pauses_ = 16, rounds_ = 0;
};

}  // namespace

void spin_lock::wait() noexcept {
  for (patience p;;) {
    p.wait();
    if (taken_.load(std::memory_order_relaxed) == 0 && taken_.exchange(1, std::memory_order_seq_cst) == 0) return;
  }
}

void spin_lock::keep_out_slowly() noexcept {
  end_loneliness(nullptr);
  for (patience p; in_.load(std::memory_order_acquire) != 0;) p.wait();
}

bool spin_lock::try_take() noexcept {
  if (taken_.exchange(1, std::memory_order_seq_cst) != 0) return false;
  if (somebody_alone.load(std::memory_order_seq_cst)) end_loneliness(nullptr);
  if (in_.load(std::memory_order_acquire) == 0) return true;
  taken_.store(0, std::memory_order_release);  // the worker may be in it for long
  return false;
}

}  // namespace leash
