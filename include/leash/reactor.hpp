// What a worker without work may wait in instead of its futex: the place where the outside world reports (sockets, timers
// of the kernel, processes). The scheduler knows no more of it than this; leash::net brings one.
//
// Invariants
//  R1. Whoever calls poll() or wait() holds `turn`: what the reactor runs never runs twice at once. It may run on any worker.
//  R2. A goroutine that the reactor claims is handed over by hand_back(), and becomes runnable when the reactor has returned.
//  R3. interrupt() is kept: called while nobody waits, it makes the next wait() return at once.
#pragma once
#include <cstdint>
#include <mutex>

namespace leash {

struct goroutine_core;
struct runtime;
struct worker;

class reactor {
 public:
  reactor() = default;
  reactor(const reactor&) = delete;
  virtual ~reactor() = default;

  /// Runs what is ready, without waiting.
  virtual void poll() noexcept = 0;
  /// Waits until something is ready and runs that, if not all that is; until interrupted; or until the time has come (on the
  /// steady clock; INT64_MAX: never).
  virtual void wait(std::int64_t until) noexcept = 0;
  /// Any thread.
  virtual void interrupt() noexcept = 0;

  std::mutex turn;
};

/// Something outside that was counted in runtime::in_flight has ended, and the caller has claimed the goroutine that waited for
/// it. Any thread; inside the reactor the goroutine becomes runnable when that returns.
void hand_back(goroutine_core*) noexcept;
/// It has ended, and there is no goroutine to wake for it.
void ended_outside(std::uint16_t runtime_index) noexcept;

/// Uses the reactor, if the runtime has one and nobody else uses it now. True: it was used; what it woke is runnable.
bool poll_reactor(worker&) noexcept;

}  // namespace leash
