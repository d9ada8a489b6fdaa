// What the last pass of the marker proved, kept small: for marks in dumps, for counts, for profiles of leaks.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <leash/goroutine.hpp>
#include <memory>
#include <vector>

namespace leash::debug {

struct leaked {
  struct one {
    const goroutine_core* g;
    std::uint64_t word;  // while its park word is that, the verdict holds: it is never taken back
    bool core, confined;
  };
  std::vector<one> all;  // by g
  std::size_t proven_core = 0, proven_dependent = 0, confined_core = 0, confined_dependent = 0;
  std::uint64_t passes = 0;  // made by this server so far
  std::chrono::steady_clock::time_point at;
  std::chrono::nanoseconds took{};

  bool holds(const goroutine_core* g, std::uint64_t word) const noexcept {
    auto it = std::lower_bound(all.begin(), all.end(), g, [](const one& o, auto* p) { return o.g < p; });
    return it != all.end() && it->g == g && it->word == word;
  }
};
using leaked_ptr = std::shared_ptr<const leaked>;

}  // namespace leash::debug
