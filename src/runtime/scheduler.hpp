// Between the scheduler's sources.
#pragma once
#include <leash/worker.hpp>

namespace leash {

inline constexpr std::uint16_t operations_per_resumption = 256;
inline constexpr std::uint32_t long_queue = 16;  // woken goroutines of which some are better moved at once

/// Runs g until it parks, yields or ends.
void run_goroutine(worker&, goroutine_core* g) noexcept;
/// To the back of its worker's queue, and nobody is woken for it: one word about all that was completed is enough.
void schedule_completed(worker&, goroutine_core* g) noexcept;
/// Sends the goroutine that ran on this worker to the back of its queue.
void schedule_yielded(worker&, goroutine_core* g) noexcept;
/// The next goroutine to run; null when the runtime stops. Sleeps.
goroutine_core* find_work(worker&) noexcept;
goroutine_core* find_simulated(worker&) noexcept;
/// What a worker takes from others: what has not begun or belongs to nobody; also what waits in their queues, but for
/// short ones whose owners make short turns (what waits there is run before it would be moved); or anything.
enum class stealing : std::uint8_t { new_ones, patiently, anything };
/// Looks for work without sleeping.
goroutine_core* steal_work(worker&, stealing) noexcept;
goroutine_core* take_global(worker&) noexcept;
/// A chunk of new goroutines that overflowed: the newest or the oldest, into the worker's own stack.
goroutine_core* take_overflowed(worker&, bool newest) noexcept;

/// Nothing was found: spins, keeps watch, sleeps. Null when the runtime stops.
goroutine_core* idle(worker&) noexcept;
/// Joins the sleepers until woken, or until the time has come; returns at once if there is work or the runtime stops.
void sleep_until(worker&, std::int64_t until) noexcept;

/// What waits in the places and next slots of workers that do not get on. Null: nothing, or others have just looked.
goroutine_core* look_after_others(worker&, std::int64_t now) noexcept;

/// What the reactor has woken: one of them, the others are in the queue. Null: nothing.
goroutine_core* take_completed(worker&) noexcept;

std::int64_t steady_now() noexcept;
/// Reads the clock and moves the coarse tick.
std::int64_t look_at_clock(runtime&) noexcept;

}  // namespace leash
