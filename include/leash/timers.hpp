// A worker's armed timers: a hierarchical wheel.
//
// A timer lives in its owner (a waiter, a context, an after_func) and stands in the list of a slot. Level 0 has 4096
// slots of one grain each, each level above 64 slots of 64 times the grains. A timer goes to the level of the highest
// group of bits in which its time differs from the wheel's; when the wheel comes to a slot above level 0, its timers
// move down. So arming, disarming and firing are O(1), without touching other timers but a neighbour in a list, and
// most timers (up to 268 ms) never move. A grain is 65.5 us in real time, 1 ns under simulation; a timer never fires
// before its time.
//
// A slot has four lists, its lanes, filled in turns and emptied side by side: of a single list the next timer is known only
// when the one before has come into the cache, and a million sleepers' timers lie anywhere.
//
// Rejected: a heap. With a million timers each removal moved ten entries, each a cache miss in somebody's frame.
//
// Everything happens under the wheel's lock, also the waker's claim of a sleeper: whoever takes a timer out under the
// lock knows that the wheel's side is done with it.
#pragma once
#include <atomic>
#include <cstdint>
#include <leash/clock.hpp>
#include <leash/goroutine.hpp>
#include <leash/spin_lock.hpp>

namespace leash {

class timer_wheel;

/// Embedded in whatever waits for a time.
struct timer_entry {
  std::int64_t when = 0;        // ns on the runtime's clock
  timer_entry* next = nullptr;  // in its lane of its slot
  timer_entry* prev = nullptr;
  timer_wheel* wheel = nullptr;  // set when armed first
  std::uint16_t place = 0;       // slot + 1, counted over all levels; 0: not armed
  std::uint8_t lane = 0;
  bool upkeep = false;          // nobody waits for it: the program may be judged as if it were not there
  const void* wakes = nullptr;  // what expire() looks at first, if that is known: fetched early
  /// Runs under the wheel's lock when the time has come (place is 0 then): must be short, lock nothing else, and must
  /// not run user code. Returns a goroutine that it claimed, to be scheduled after the lock is given back; or null. A
  /// timer that has more to do returns null after prepending itself to `later` (by next), and gets fire() called
  /// without the lock.
  goroutine_core* (*expire)(timer_entry*, timer_entry*& later) = nullptr;
  void (*fire)(timer_entry*) = nullptr;
  /// The runtime has ended: the timer stands in no wheel any more and never fires. Only for what may be armed then.
  void (*abandon)(timer_entry*) = nullptr;
};

class timer_wheel {
 public:
  timer_wheel() = default;
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;

  /// Before use: the time, and the grain as a power of two of nanoseconds.
  void start(std::int64_t now, int grain_bits) noexcept;

  spin_lock& lock() noexcept { return lock_; }
  /// Under the lock.
  void arm(timer_entry*, std::int64_t when) noexcept;
  /// Under the lock. False: it was not armed (fired or stopped).
  bool disarm(timer_entry*) noexcept;

  /// When expire() has something to do next (a timer, or timers to move down); INT64_MAX: no timer. Any thread, may be
  /// stale.
  std::int64_t next_time() const noexcept { return next_.load(std::memory_order_relaxed); }
  /// Takes out everything due and wakes it. Any thread; not under the lock. The number of timers taken out.
  std::size_t expire(std::int64_t now);

  /// Takes out everything and abandons it; when nobody uses the wheel any more.
  void abandon_all();

  std::size_t size() const noexcept { return count_.load(std::memory_order_relaxed); }
  /// Without those that are upkeep. Any thread, may be stale.
  std::size_t awaited() const noexcept { return awaited_.load(std::memory_order_relaxed); }

 private:
  // Level 0 has 12 bits of the time, each one above 6; all slots are in one row.
  static constexpr int low_bits = 12, low_slots = 1 << low_bits, levels = 10;
  static constexpr int slot_count = low_slots + (levels - 1) * 64;
  static constexpr int shift_of(int level) noexcept { return level == 0 ? 0 : low_bits + (level - 1) * 6; }
  static constexpr int first_of(int level) noexcept { return level == 0 ? 0 : low_slots + (level - 1) * 64; }
  static constexpr std::uint8_t lanes = 4;
  struct slot_lists {
    timer_entry* first[lanes]{};
    bool empty() const noexcept {
      for (timer_entry* t : first)
        if (t != nullptr) return false;
      return true;
    }
  };
  void mark(int slot) noexcept;
  void unmark(int slot) noexcept;
  void insert(timer_entry*) noexcept;
  void unlink(timer_entry*) noexcept;
  void count(std::ptrdiff_t armed, std::ptrdiff_t awaited) noexcept;
  /// The next slot to come to: its time in grains; false: nothing is armed.
  bool next_slot(int& slot, std::uint64_t& at) const noexcept;
  void publish() noexcept;
  std::uint64_t grain_of(std::int64_t when) const noexcept {
    return when <= 0 ? 0 : (static_cast<std::uint64_t>(when) + (std::uint64_t{1} << grain_bits_) - 1) >> grain_bits_;
  }

  spin_lock lock_;
  int grain_bits_ = 16;
  std::uint64_t now_ = 0;  // in grains
  std::atomic<std::int64_t> next_{INT64_MAX};
  std::atomic<std::size_t> count_{0}, awaited_{0};
  std::uint64_t occupied_[slot_count / 64]{};  // a bit for each slot
  std::uint64_t occupied_words_ = 0;           // of level 0
  std::uint8_t next_lane_ = 0;
  slot_lists slots_[slot_count];
};

}  // namespace leash
