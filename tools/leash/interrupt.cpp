#include "interrupt.hpp"

#include <algorithm>
#include <csignal>
#include <thread>

namespace leash::cli {

namespace {
volatile std::sig_atomic_t asked = 0;
}

void heed_interrupts() {
  struct sigaction a{};
  a.sa_handler = [](int) { asked = 1; };
  a.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &a, nullptr);
  sigaction(SIGTERM, &a, nullptr);
}

bool interrupted() { return asked != 0; }

bool wait_until(std::chrono::steady_clock::time_point t) {
  for (auto now = std::chrono::steady_clock::now(); now < t && !interrupted(); now = std::chrono::steady_clock::now())
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(t - now, std::chrono::milliseconds(50)));
  return !interrupted();
}

}  // namespace leash::cli
