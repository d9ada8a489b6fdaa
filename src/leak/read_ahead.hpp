// Reads the slabs of a large pass ahead of it, on a thread of its own.
//
// More than half of the time of a pass is reading what nobody has touched for long. An idle processor can do a part of
// that meanwhile; where none is idle the pass is as quick as alone (ahead_ring.hpp).
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>
#include <thread>
#include <vector>

#include "ahead_ring.hpp"
#include "helper_thread.hpp"
#include "reading.hpp"

namespace leash {

class read_ahead {
 public:
  read_ahead() noexcept = default;
  ~read_ahead() { stop(); }

  /// `slabs` stays as it is until stop(); `slots` is copied.
  void start(const std::vector<goroutine_slab>& slabs, const slot_map& slots, const graph_object* records,
             const runtime* only) {
    thread_ = start_helper([this, &slabs, own = slots, records, only]() mutable {
      try {
        frozen_reader reader(own, records);
        read_all(slabs, reader, only);
      } catch (const std::bad_alloc&) {  // the pass goes on alone
      }
    });
  }
  /// What was read of slab i, whose turn it is; null: nothing yet. Until done(i).
  const slab_reading* take(std::uint32_t i) const noexcept { return readings_.take(i); }
  void done(std::uint32_t i) noexcept {
    readings_.done(i);
    readings_.turn().notify_one();
  }
  void stop() noexcept {
    if (!thread_.joinable()) return;
    done(last_turn);
    thread_.join();
  }

 private:
  static constexpr std::uint32_t size = 16, lead = 3;
  static constexpr std::uint32_t last_turn = UINT32_MAX - 2 * size;

  void read_all(const std::vector<goroutine_slab>& slabs, frozen_reader& reader, const runtime* only) {
    for (std::uint32_t next = 0; next < slabs.size();) {
      std::uint32_t const turn = readings_.turn().load(std::memory_order_relaxed);
      std::uint32_t const i = readings_.begin(next);
      if (i == readings_.not_yet) {
        readings_.turn().wait(turn, std::memory_order_relaxed);
      } else {
        if (i >= slabs.size()) return;
        reader.read(slabs[i], only, readings_.place_of(i));
        readings_.publish(i);
        next = i + 1;
      }
    }
  }

  std::thread thread_;
  ahead_ring<slab_reading, size, lead> readings_;
};

}  // namespace leash
