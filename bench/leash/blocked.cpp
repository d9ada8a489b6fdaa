// Rows over a million goroutines that are blocked in recv on one channel: their bytes, their making, their cancelling.
#include "blocked.hpp"

#include <unistd.h>

#include <fstream>
#include <functional>

namespace bench {
namespace {

using leash::receiver, leash::scope, leash::task, leash::with_scope;

task<> block(receiver<int>& rx) {
  arrived.fetch_add(1, std::memory_order_relaxed);
  (void)co_await rx.recv();
}

// Starts n goroutines that wait on rx and returns when all of them do.
task<> park(scope& s, receiver<int>& rx, std::size_t n) {
  const std::size_t want = arrived + n;
  for (std::size_t i = 0; i < n; ++i) s.go(block, std::ref(rx));
  co_await await_arrivals(want);
}

double resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t size = 0, resident = 0;
  statm >> size >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

const row bytes_per_blocked("bytes_per_blocked", []() -> task<double> {
  auto [tx, rx] = leash::channel<int>();
  const std::size_t n = count(million);
  double grown = 0;
  co_await with_scope([&](scope& s) -> task<> {
    co_await park(s, rx, 1000);
    const double before = resident_bytes();
    co_await park(s, rx, n);
    grown = resident_bytes() - before;
    s.cancel("measured");
  });
  co_return grown / static_cast<double>(n);
});

// On fresh memory: the first million of the process.
const row create_block_1m("create_block_1m", []() -> task<double> {
  auto [tx, rx] = leash::channel<int>();
  const std::size_t n = count(million);
  double took = 0;
  co_await with_scope([&](scope& s) -> task<> {
    co_await park(s, rx, 1000);
    auto start = clock::now();
    co_await park(s, rx, n);
    took = ns_since(start);
    s.cancel("measured");
  });
  co_return took / static_cast<double>(n);
});

// From the cancel to the end of the scope, when all of them have been unwound and joined.
const row cancel_1m("cancel_1m", []() -> task<double> {
  auto [tx, rx] = leash::channel<int>();
  const std::size_t n = count(million);
  clock::time_point start;
  co_await with_scope([&](scope& s) -> task<> {
    co_await park(s, rx, n);
    start = clock::now();
    s.cancel("measured");
  });
  co_return ns_since(start) / static_cast<double>(n);
});

}  // namespace
}  // namespace bench
