// Rows over locks and timers.
#include <functional>

#include "harness.hpp"

namespace bench {
namespace {

using leash::scope, leash::task, leash::with_scope;

task<> lock_often(leash::mutex& m, std::size_t& counter, std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) {
    auto guard = co_await m.lock();
    ++counter;
  }
}

task<> lock_unlock(std::size_t goroutines, std::size_t n) {
  leash::mutex m;
  std::size_t counter = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (std::size_t g = 0; g < goroutines; ++g) s.go(lock_often, std::ref(m), std::ref(counter), n / goroutines);
    co_return;
  });
  require(counter == n / goroutines * goroutines, "mutex: wrong count");
}
const row mutex_alone("mutex_alone",
                      [] { return per_op(million, 10 * million, [](std::size_t n) { return lock_unlock(1, n); }); });
const row mutex_8("mutex_8",
                  [] { return per_op(million, 10 * million, [](std::size_t n) { return lock_unlock(8, n); }); });

// The i-th sleeper's time, spread over 0..100 ms; the same formula on every side.
std::chrono::nanoseconds nap(std::size_t i) {
  return std::chrono::nanoseconds((static_cast<std::uint32_t>(i) * 2654435761ULL & 0xffffffffU) * 100'000'000 >> 32);
}

task<> sleep_once(std::chrono::nanoseconds d) { co_await leash::sleep(d); }

task<> all_sleep(std::size_t n) {
  co_await with_scope([n](scope& s) -> task<> {
    for (std::size_t i = 0; i < n; ++i) s.go(sleep_once, nap(i));
    co_return;
  });
}
const row timers_1m("timers_1m", [] { return per_op(100'000, million, all_sleep); });

}  // namespace
}  // namespace bench
