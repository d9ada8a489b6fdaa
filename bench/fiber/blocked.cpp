// Rows over a million fibers that are blocked in pop on one channel.
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <vector>

#include "harness.hpp"

namespace bench {
namespace {

using channel = boost::fibers::buffered_channel<int>;

// Fibers that are about to park, or have.
std::atomic<std::size_t> arrived{0};

// Starts n fibers that wait on `ch` and returns when all of them do.
void park(channel& ch, std::vector<boost::fibers::fiber>& all, std::size_t n) {
  const std::size_t want = arrived + n;
  for (std::size_t i = 0; i < n; ++i) {
    all.push_back(start([&ch] {
      arrived.fetch_add(1, std::memory_order_relaxed);
      int v = 0;
      (void)ch.pop(v);
    }));
  }
  while (arrived.load(std::memory_order_relaxed) != want) boost::this_fiber::yield();
}

double resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t size = 0, resident = 0;
  statm >> size >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

template <class Measure>
value over_a_million(Measure measure) {
  const std::size_t n = count(million);
  if (!fits(n)) return {};
  channel ch(2);
  std::vector<boost::fibers::fiber> all;
  all.reserve(n + 1000);
  park(ch, all, 1000);
  const double result = measure([&] { park(ch, all, n); }) / static_cast<double>(n);
  ch.close();
  for (auto& f : all) f.join();
  return result;
}

const row bytes_per_blocked("bytes_per_blocked", [] {
  return over_a_million([](auto park_all) {
    const double before = resident_bytes();
    park_all();
    return resident_bytes() - before;
  });
});

// On fresh memory: the first million of the process.
const row create_block_1m("create_block_1m", [] {
  return over_a_million([](auto park_all) {
    auto start = clock::now();
    park_all();
    return ns_since(start);
  });
});

}  // namespace
}  // namespace bench
