#include <sys/random.h>
#include <time.h>

#include <cstdio>
#include <leash/handle.hpp>

namespace leash {

static std::uint64_t random_secret() noexcept {
  std::uint64_t s = 0;
  if (getrandom(&s, sizeof s, GRND_NONBLOCK) != sizeof s) {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    s = static_cast<std::uint64_t>(t.tv_nsec) * 0x9e3779b97f4a7c15u ^ reinterpret_cast<std::uint64_t>(&s);
  }
  return s;
}
constinit std::atomic<std::uint32_t> current_pass{1};
constinit std::uint64_t handle_secret = 0;
namespace {
struct draw_first {
  draw_first() noexcept { handle_secret = random_secret(); }
};
__attribute__((init_priority(101))) draw_first drawn;
}  // namespace

#if LEASH_SENTINEL
constinit std::atomic<void (*)(const void* at, object*, capability)> check_use{nullptr};
#endif

void broken_handle(const void* at) {
  char text[200];
  std::snprintf(
      text, sizeof text,
      "the handle at %p was copied or overwritten bit by bit (memcpy, memory corruption, or a compiler that copies "
      "temporaries of coroutines); handles must be moved",
      at);
  fatal(text);
}

}  // namespace leash
