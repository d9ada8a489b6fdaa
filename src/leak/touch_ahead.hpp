// Touches the memory of a large pass ahead of it, on a thread of its own.
//
// Fresh memory is zeroed, and on a virtual machine often provided, only when it is touched: half of the time of a first
// pass. An idle processor can do that part meanwhile. Where none is idle, or the kernel does not know how (before 5.14),
// the pass touches its memory itself, as it comes to it.
#pragma once
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

#include "helper_thread.hpp"

namespace leash {

class touch_ahead {
 public:
  static constexpr std::size_t page = std::size_t{2} << 20;
  static constexpr std::size_t worth_it = 8 * page;  // in all

  struct area {
    void* at;
    std::size_t bytes;
  };
  touch_ahead() noexcept = default;
  ~touch_ahead() { stop(); }

  /// They are used from their beginnings, all at the same pace, and stay where they are until stop().
  void start(std::vector<area> areas) {
    std::size_t all = 0;
    for (area const& a : areas) all += a.bytes;
    if (all < worth_it) return;
    thread_ = start_helper([this, areas = std::move(areas)] { touch(areas); });
  }
  void stop() noexcept {
    if (!thread_.joinable()) return;
    over_.store(true, std::memory_order_relaxed);
    thread_.join();
  }

 private:
  void touch(const std::vector<area>& areas) noexcept {
    std::size_t steps = 0;
    for (area const& a : areas) steps = std::max(steps, (a.bytes + page - 1) / page);
    for (std::size_t i = 0; i < steps; ++i)
      for (area const& a : areas) {
        std::size_t const pages = (a.bytes + page - 1) / page;
        for (std::size_t p = pages * i / steps; p < pages * (i + 1) / steps; ++p)
          if (over_.load(std::memory_order_relaxed) || !touch_page(static_cast<std::byte*>(a.at) + p * page)) return;
      }
  }
  static bool touch_page(void* at) noexcept {
#ifdef MADV_POPULATE_WRITE
    return madvise(at, page, MADV_POPULATE_WRITE) == 0;  // as if written to, with what is there
#else
    return false;
#endif
  }

  std::thread thread_;
  std::atomic<bool> over_{false};
};

}  // namespace leash
