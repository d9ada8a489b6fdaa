// Rows of find_leaks() over a million blocked goroutines: its time by shape, and what other goroutines notice of it.
#include <time.h>

#include <atomic>
#include <functional>
#include <vector>

#include "blocked.hpp"

namespace bench {
namespace {

using namespace std::chrono_literals;
using leash::receiver, leash::scope, leash::sender, leash::task, leash::with_scope;

task<> wait_holding(receiver<int> in, sender<int> out) {
  arrived.fetch_add(1, std::memory_order_relaxed);
  if (auto v = co_await in.recv()) (void)co_await out.send(*v);
}

task<> sleep_holding(sender<int> out) {
  arrived.fetch_add(1, std::memory_order_relaxed);
  co_await leash::sleep(1h);
  (void)co_await out.send(1);
}

// A shape starts n goroutines in s and returns how many of them leak.
using shape = std::size_t (*)(scope& s, std::size_t n);

// Two goroutines hold the senders that the other one waits for, n/2 times.
std::size_t pairs(scope& s, std::size_t n) {
  for (std::size_t i = 0; i < n / 2; ++i) {
    auto [a_tx, a_rx] = leash::channel<int>();
    auto [b_tx, b_rx] = leash::channel<int>();
    s.go(wait_holding, std::move(a_rx), std::move(b_tx));
    s.go(wait_holding, std::move(b_rx), std::move(a_tx));
  }
  return n / 2 * 2;
}

// Each goroutine holds the sender that the one before it waits for; the last holds that of the first but waits itself.
std::size_t ring(scope& s, std::size_t n) {
  auto [out, first] = leash::channel<int>();
  for (std::size_t i = 0; i < n - 1; ++i) {
    auto [tx, rx] = leash::channel<int>();
    s.go(wait_holding, std::move(rx), std::move(out));
    out = std::move(tx);
  }
  s.go(wait_holding, std::move(first), std::move(out));
  return n;
}

// As the ring, but the last one sleeps: nobody leaks, and the proof of it runs through every link.
std::size_t chain(scope& s, std::size_t n) {
  auto [end, nobody] = leash::channel<int>();
  auto [out, first] = leash::channel<int>();
  s.go(wait_holding, std::move(first), std::move(end));
  for (std::size_t i = 0; i < n - 2; ++i) {
    auto [tx, rx] = leash::channel<int>();
    s.go(wait_holding, std::move(rx), std::move(out));
    out = std::move(tx);
  }
  s.go(sleep_holding, std::move(out));
  return 0;
}

// Milliseconds of the first pass over n goroutines; the rest of the program is idle.
task<double> first_pass(shape make, std::size_t n) {
  n -= n % 2;
  double took = 0;
  co_await with_scope([&](scope& s) -> task<> {
    const std::size_t leaked = make(s, n);
    co_await await_arrivals(n);
    co_await leash::sleep(50ms);
    auto start = clock::now();
    const auto report = leash::find_leaks();
    took = ns_since(start) / 1e6;
    require(report.size() == leaked, "find_leaks: not as many leaks as were made");
    s.cancel("measured");
  });
  co_return took;
}
const row pairs_1m("find_leaks_pairs_1m_ms", [] { return first_pass(pairs, count(million)); });
const row ring_1m("find_leaks_ring_1m_ms", [] { return first_pass(ring, count(million)); });
const row chain_1m("find_leaks_chain_1m_ms", [] { return first_pass(chain, count(million)); });
const row pairs_10k("find_leaks_pairs_10k_ms", [] { return first_pass(pairs, 10'000); });
const row ring_10k("find_leaks_ring_10k_ms", [] { return first_pass(ring, 10'000); });
const row chain_10k("find_leaks_chain_10k_ms", [] { return first_pass(chain, 10'000); });
const row pairs_100k("find_leaks_pairs_100k_ms", [] { return first_pass(pairs, 100'000); });
const row ring_100k("find_leaks_ring_100k_ms", [] { return first_pass(ring, 100'000); });
const row chain_100k("find_leaks_chain_100k_ms", [] { return first_pass(chain, 100'000); });
const row chain_1k("find_leaks_chain_1k_ms", [] { return first_pass(chain, 1000); });

// Nanoseconds for each of n goroutines until what one reclaim unwinds, and what that frees, has ended and is joined.
task<double> reclaimed(shape make, std::size_t n) {
  n -= n % 2;
  double took = 0;
  co_await with_scope([&](scope& s) -> task<> {
    (void)make(s, n);
    co_await await_arrivals(n);
    co_await leash::sleep(50ms);
    const auto report = leash::find_leaks();
    require(report.size() == n, "find_leaks: not as many leaks as were made");
    auto start = clock::now();
    require(co_await leash::reclaim(report) != 0, "reclaim: nobody was unwound");
    co_await s.join();
    took = ns_since(start) / static_cast<double>(n);
  });
  co_return took;
}
const row reclaim_pairs("reclaim_pairs_1m", [] { return reclaimed(pairs, count(million)); });
const row reclaim_ring("reclaim_ring_1m", [] { return reclaimed(ring, count(million)); });

// Delays in ns: how much later than asked a goroutine went on.
struct delays {
  std::vector<std::uint32_t> samples;
  std::size_t taken = 0;
  explicit delays(std::size_t most) : samples(most, 0) {}
  void add(double ns) { samples[taken++] = static_cast<std::uint32_t>(std::clamp(ns, 0.0, 4e9)); }
  double at(double share) {
    if (taken == 0) return 0;
    auto nth = samples.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(taken - 1));
    std::nth_element(samples.begin(), nth, samples.begin() + static_cast<std::ptrdiff_t>(taken));
    return *nth;
  }
};

task<> sample_yields(delays& into, const std::atomic<bool>& over) {
  while (!over && into.taken < into.samples.size()) {
    auto start = clock::now();
    co_await leash::yield();
    into.add(ns_since(start));
  }
}

task<> sample_sleeps(delays& into, const std::atomic<bool>& over) {
  while (!over && into.taken < into.samples.size()) {
    auto start = clock::now();
    co_await leash::sleep(1ms);
    into.add(ns_since(start) - 1e6);
  }
}

// Samples beside five passes in a row, made off the workers, or beside nothing for as long as five passes may take.
template <class Sampler>
task<> sample(Sampler sampler, bool with_pass, const char* p50, const char* p99, const char* max) {
  delays noticed(32 * million);
  std::atomic<bool> over = false;
  co_await with_scope([&](scope& s) -> task<> {
    auto child = s.go(sampler, std::ref(noticed), std::cref(over));
    if (with_pass) {
      for (int i = 0; i < 5; ++i) (void)co_await leash::blocking([] { return leash::find_leaks().size(); });
    } else {
      co_await leash::sleep(750ms);
    }
    over = true;
    (void)co_await child.join();
  });
  print_also(p50, noticed.at(0.5));
  print_also(p99, noticed.at(0.99));
  print_also(max, noticed.at(1));
}

// The row's own value is the number of goroutines that the passes looked at.
const row latency("find_leaks_latency", []() -> task<double> {
  const std::size_t n = count(million) / 2 * 2;
  co_await with_scope([&](scope& s) -> task<> {
    (void)pairs(s, n);
    co_await await_arrivals(n);
    co_await sample(sample_sleeps, false, "latency_sleep_alone_p50", "latency_sleep_alone_p99",
                    "latency_sleep_alone_max");
    co_await sample(sample_sleeps, true, "latency_sleep_pass_p50", "latency_sleep_pass_p99", "latency_sleep_pass_max");
    co_await sample(sample_yields, false, "latency_yield_alone_p50", "latency_yield_alone_p99",
                    "latency_yield_alone_max");
    co_await sample(sample_yields, true, "latency_yield_pass_p50", "latency_yield_pass_p99", "latency_yield_pass_max");
    s.cancel("measured");
  });
  co_return static_cast<double>(n);
});

double cpu_ns(clockid_t of) {
  timespec t{};
  clock_gettime(of, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

// Ping-pong for ten seconds beside 100,000 goroutines that are blocked, none of them leaked; for one worker. To be run
// with LEASH_LEAK_CHECK_EVERY=1s and without: the difference is what the checks cost. In processor time, so that it can
// be told on a busy machine too: of the worker for a round trip, and of all other threads per second.
const row pingpong_beside_100k("pingpong_beside_100k", []() -> task<double> {
  const auto long_enough = 10s / static_cast<double>(divide);
  double per_trip = 0, others = 0;
  co_await with_scope([&](scope& s) -> task<> {
    (void)chain(s, 100'000);
    co_await await_arrivals(100'000);
    co_await pingpong(count(100'000));
    std::size_t trips = 0;
    const auto start = clock::now();
    const double worker = cpu_ns(CLOCK_THREAD_CPUTIME_ID), all = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (; clock::now() - start < long_enough; trips += 10'000) co_await pingpong(10'000);
    const double used = cpu_ns(CLOCK_THREAD_CPUTIME_ID) - worker;
    per_trip = used / static_cast<double>(trips);
    others = (cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - all - used) / ns_since(start);
    s.cancel("measured");
  });
  print_also("pingpong_beside_100k_other_threads_percent", 100 * others);
  co_return per_trip;
});

}  // namespace
}  // namespace bench
