// Stress runs: rounds of a random program at 1, 2, 4 and 8 workers, for a fraction of a second each;
// for LEASH_LONG=1 a minute each. A failing round names its seed.
#pragma once
#include <random>

#include "support/support.hpp"

namespace leash::test {

template <class Program>
void stress(Program program) {
  const auto budget = long_run() ? std::chrono::milliseconds(60'000) : std::chrono::milliseconds(100);
  for (unsigned workers : {1u, 2u, 4u, 8u}) {
    const auto end = std::chrono::steady_clock::now() + budget;
    for (unsigned seed = 1; seed == 1 || std::chrono::steady_clock::now() < end; ++seed) {
      run_at(workers, [&]() -> task<> { co_await program(seed); });
      ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed << " at " << workers << " workers";
    }
  }
}

/// A channel of random capacity.
template <class T>
std::pair<sender<T>, receiver<T>> random_channel(std::mt19937& random) {
  constexpr std::size_t capacities[] = {0, 0, 1, 2, 16};
  const auto pick = random() % 6;
  if (pick == 5) return channel<T>(unbounded);
  return channel<T>(capacities[pick]);
}

/// Which of n values arrived, and that none did twice.
class tally {
 public:
  explicit tally(std::size_t n) : seen_(n) {}
  void arrived(int v) {
    if (v < 0 || std::size_t(v) >= seen_.size())
      ADD_FAILURE() << "never sent: " << v;
    else if (seen_[std::size_t(v)]++ != 0)
      ADD_FAILURE() << "arrived twice: " << v;
  }
  std::size_t count() const {
    std::size_t n = 0;
    for (const auto& s : seen_) n += s != 0;
    return n;
  }

 private:
  std::vector<std::atomic<int>> seen_;
};

}  // namespace leash::test
