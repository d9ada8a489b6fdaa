// The leash side of the comparison: leash_bench --row NAME --workers N prints one line "name workers value".
// One row in one process, so that memory and timers of one do not disturb the next. ../README.md says what each
// measures.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <leash/leash.hpp>
#include <utility>

namespace bench {

inline constexpr std::size_t million = 1'000'000;

/// Counts are divided by this under --divide, for a quick look.
inline std::size_t divide = 1;
inline std::size_t count(std::size_t n) { return std::max<std::size_t>(n / divide, 8); }

/// A row registers itself under its name. Its measure is run as the root goroutine.
struct row {
  using function = leash::task<double> (*)();
  row(const char* name, function measure);
};

/// A line beside the row's own: for rows that measure several things at once.
void print_also(const char* name, double value);

/// Stops the program: what was measured did not do its work.
void require(bool holds, const char* what);

using clock = std::chrono::steady_clock;
inline double ns_since(clock::time_point start) {
  return std::chrono::duration<double, std::nano>(clock::now() - start).count();
}

/// n round trips between two goroutines.
leash::task<> pingpong(std::size_t n);

/// Runs op(n) warm and then three times measured; the median, in ns per operation.
template <class Op>
leash::task<double> per_op(std::size_t warm, std::size_t n, Op op) {
  co_await op(count(warm));
  n = count(n);
  std::array<double, 3> took{};
  for (double& t : took) {
    auto start = clock::now();
    co_await op(n);
    t = ns_since(start) / static_cast<double>(n);
  }
  std::sort(took.begin(), took.end());
  co_return took[1];
}

}  // namespace bench
