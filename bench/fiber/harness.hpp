// The Boost.Fiber side of the comparison: fiber_bench --row NAME --workers N prints one line "name workers value".
// The shapes and counts are those of bench/leash; a row that Boost.Fiber cannot do prints null.
#pragma once

#include <algorithm>
#include <array>
#include <boost/fiber/all.hpp>
#include <chrono>
#include <cstddef>
#include <optional>

namespace bench {

inline constexpr std::size_t million = 1'000'000;

/// Counts are divided by this under --divide, for a quick look.
inline std::size_t divide = 1;
inline std::size_t count(std::size_t n) { return std::max<std::size_t>(n / divide, 8); }

/// nullopt: not possible here (no such operation, or the memory is not there).
using value = std::optional<double>;

/// What a thread without work does. Each row takes what serves Boost.Fiber better.
enum class idle { sleep, spin };

/// A row registers itself under its name.
struct row {
  using function = value (*)();
  row(const char* name, function measure, idle when_idle = idle::sleep);
};

/// Small stacks from malloc: only pages that are touched count. Below 32 KiB the first call through the dynamic linker,
/// which saves every vector register on the stack, overflows it.
inline boost::fibers::fixedsize_stack small_stack() { return boost::fibers::fixedsize_stack(32 * 1024); }

/// Whether `fibers` stacks fit in the memory that is free now.
bool fits(std::size_t fibers);

template <class F, class... Args>
boost::fibers::fiber start(F&& f, Args&&... args) {
  return boost::fibers::fiber(boost::fibers::launch::post, std::allocator_arg, small_stack(), std::forward<F>(f),
                              std::forward<Args>(args)...);
}

using clock = std::chrono::steady_clock;
inline double ns_since(clock::time_point start) {
  return std::chrono::duration<double, std::nano>(clock::now() - start).count();
}

/// Runs op warm and then three times measured; the median, in ns per operation.
template <class Op>
double per_op(std::size_t warm, std::size_t n, Op op) {
  op(count(warm));
  n = count(n);
  std::array<double, 3> took{};
  for (double& t : took) {
    auto start = clock::now();
    op(n);
    t = ns_since(start) / static_cast<double>(n);
  }
  std::sort(took.begin(), took.end());
  return took[1];
}

}  // namespace bench
