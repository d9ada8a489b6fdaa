// How what is noted of goroutines is turned on and off while workers run.
//
// A worker's hooks test worker::unusual, a byte that is 0 when nothing is noted. What they then write is used inside a
// section: the worker says that it is in one, light fence, and looks at `unusual` again. Who turns something off clears
// its bit on every worker, heavy fence, and waits for each that is in a section: after that no worker writes what it was
// for, and it may be freed. A Dekker pair; model: tests/model/observing_test.cpp.
#pragma once
#include <leash/trace.hpp>
#include <leash/worker.hpp>
#include <mutex>

#include "scheduler.hpp"

namespace leash {

/// The calling worker notes something.
class section {
 public:
  explicit section(worker& w) noexcept : w_(w) {
    w.trace.noting.store(true, std::memory_order_relaxed);
    light_fence();
    // ORD observe-1 acquire: what who turned it on had made ready.
    on_ = w.unusual.load(std::memory_order_acquire);
  }
  section(const section&) = delete;
  // ORD observe-2 release: what was written in it, to who waits for its end.
  ~section() { w_.trace.noting.store(false, std::memory_order_release); }
  bool has(std::uint8_t what) const noexcept { return (on_ & what) != 0; }

 private:
  worker& w_;
  std::uint8_t on_;
};

/// A thread that is no worker of the runtime concerned notes something: one at a time.
class foreign_section {
 public:
  foreign_section() noexcept LEASH_TSA(no_thread_safety_analysis) {
    lock_.lock();
    on_ = observed_everywhere.load(std::memory_order_acquire);
  }
  foreign_section(const foreign_section&) = delete;
  ~foreign_section() LEASH_TSA(no_thread_safety_analysis) { lock_.unlock(); }
  bool has(std::uint8_t what) const noexcept { return (on_ & what) != 0; }

 private:
  static spin_lock lock_;
  std::uint8_t on_;
};

/// Taken by who turns things on or off, or takes what was noted.
std::mutex& observing_lock() noexcept;
/// Under observing_lock. `what` is ready.
void observe(std::uint8_t what) noexcept;
/// Under observing_lock. Afterwards nobody writes what it was for.
void unobserve(std::uint8_t what) noexcept;

/// The clock of records: the processor's counter where the kernel itself trusts it, else the steady clock.
std::uint64_t note_ticks() noexcept;
/// Two readings of both clocks; what lies between them is where they say.
class tick_scale {
 public:
  tick_scale() noexcept;
  /// To be called again when ticks are to be turned into time.
  void measure() noexcept;
  std::int64_t time_of(std::uint64_t ticks) const noexcept;

 private:
  std::uint64_t ticks_;
  std::int64_t time_;
  double scale_ = 1;
};

/// The wait that g is or was parked in; of a goroutine whose memory may be anyone's, only if `word` holds after it.
wait_reason reason_of_wait(const goroutine_core* g) noexcept;

// wait_profile.cpp; in a section with observe_waits
/// g was parked just now, with that word; its memory may be anyone's.
void note_wait_begins(const goroutine_core* g, std::uint64_t word) noexcept;
/// By the owner of g, which waited until now.
void note_wait_ended(const goroutine_core* g) noexcept;
/// As wait_profiling::take and holders, of whoever collects; empty: nobody does.
std::vector<wait_site> waits_so_far();
std::vector<wait_site> holders_so_far();

}  // namespace leash
