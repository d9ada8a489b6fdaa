#include <sys/syscall.h>
#include <unistd.h>

#include <leash/fence.hpp>

namespace leash {
namespace {
constexpr int register_private_expedited = 1 << 4;
constexpr int private_expedited = 1 << 3;

bool ask_kernel() noexcept {
#if defined(__NR_membarrier)
  return syscall(__NR_membarrier, register_private_expedited, 0, 0) == 0;
#else
  return false;
#endif
}
}  // namespace

// Before any other static object: a thread that a constructor starts already relies on it.
constinit bool membarrier_works = false;
namespace {
struct ask_first {
  ask_first() noexcept { membarrier_works = ask_kernel(); }
};
__attribute__((init_priority(101))) ask_first asked;
}  // namespace

void heavy_fence() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
#if defined(__NR_membarrier)
  if (membarrier_works) syscall(__NR_membarrier, private_expedited, 0, 0);
#endif
}

}  // namespace leash
