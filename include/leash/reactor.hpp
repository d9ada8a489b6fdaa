// What workers without work wait in instead of their futexes: the place where the outside world reports (sockets, timers of the
// kernel, processes). The scheduler knows no more of it than this; leash::net brings one.
//
// Each worker has a *place* in it, and waits in its own. What is reported there is handled by the worker itself, so that what
// belongs together stays on one processor; another worker looks there only if that one does not get on.
//
// Invariants
//  R1. Whoever calls poll() or wait() holds the place's `turn`: what a place runs never runs twice at once.
//  R2. A goroutine that the reactor claims is handed over by hand_back(), and becomes runnable when the reactor has returned.
//  R3. interrupt() is kept: called while nobody waits in that place, it makes the next wait() there return at once.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>

namespace leash {

struct goroutine_core;
struct runtime;
struct worker;

class reactor {
 public:
  explicit reactor(std::uint32_t places) : turns(std::make_unique<turn[]>(places)) {}
  reactor(const reactor&) = delete;
  virtual ~reactor() = default;

  /// Runs what is ready, without waiting.
  virtual void poll(std::uint32_t place) noexcept = 0;
  /// Waits until something is ready and runs that, if not all that is; until interrupted; or until the time has come (on the
  /// steady clock; INT64_MAX: never).
  virtual void wait(std::uint32_t place, std::int64_t until) noexcept = 0;
  /// Any thread.
  virtual void interrupt(std::uint32_t place) noexcept = 0;
  /// From now on at least one of those who wait returns each millisecond; or no longer. Any thread, not two at once.
  virtual void tick(bool on) noexcept = 0;

  struct alignas(64) turn {
    std::mutex lock;
  };
  std::unique_ptr<turn[]> const turns;
};

/// Something outside that was counted in runtime::in_flight has ended, and the caller has claimed the goroutine that waited for
/// it. Any thread; inside the reactor the goroutine becomes runnable when that returns.
void hand_back(goroutine_core*) noexcept;
/// It has ended, and there is no goroutine to wake for it.
void ended_outside(std::uint16_t runtime_index) noexcept;

/// Polls a place, if the runtime has a reactor and nobody uses that place now. What it woke is for take_completed.
void poll_reactor(worker&, std::uint32_t place) noexcept;

}  // namespace leash
