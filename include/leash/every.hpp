// every: a job that runs at a fixed period.
#pragma once
#include <leash/body.hpp>
#include <leash/sleep.hpp>
#include <source_location>
#include <type_traits>
#include <utility>

namespace leash {

/// What becomes of the times that passed while a run took longer than the period.
enum class missed_runs : std::uint8_t {
  skip,      // they are dropped: the next run is at the next multiple of the period that lies ahead
  catch_up,  // they are made up for, one after the other, at once
};

struct every_options {
  leash::missed_runs missed_runs = leash::missed_runs::skip;
  bool at_once = false;  // the first run is now; else after one period
};

template <class F>
task<> run_every(std::int64_t period, every_options o, F f) {
  using result = value_of<std::remove_cvref_t<std::invoke_result_t<F&>>>::type;
  std::int64_t due = now().time_since_epoch().count() + (o.at_once ? 0 : period);
  for (;;) {
    co_await sleep_until(clock::time_point(nanoseconds(due)));
    if constexpr (std::is_same_v<result, bool>) {
      if constexpr (is_task<std::remove_cvref_t<std::invoke_result_t<F&>>>) {
        if (!co_await f()) co_return;
      } else {
        if (!f()) co_return;
      }
    } else if constexpr (is_task<std::remove_cvref_t<std::invoke_result_t<F&>>>) {
      (void)co_await f();
    } else {
      (void)f();
    }
    due += period;
    std::int64_t const t = now().time_since_epoch().count();
    if (o.missed_runs == missed_runs::skip && due <= t) due += (t - due) / period * period + period;
  }
}

/// Calls f again and again, one period apart, in the goroutine that awaits this; runs never overlap.
///
/// Parameters: f, a callable, plain or returning a task, moved in and kept; one that gives a bool ends the job with false.
/// Times are multiples of the period from the start on, whatever a run takes: a late run does not move those after it.
/// Suspends: until each run is due. Wait reason: `sleep`. Returns: when f said false; else never.
/// Cancellation: first, between runs and at the waits of f. Errors: f's exception ends the job; std::invalid_argument for
/// a period that is not positive.
template <class Rep, class Period, class F>
  requires std::invocable<std::decay_t<F>&>
task<> every(std::chrono::duration<Rep, Period> period, every_options o, F&& f,
             std::source_location where = std::source_location::current()) {
  auto const p = std::chrono::ceil<nanoseconds>(period);
  if (p <= nanoseconds::zero()) throw_invalid("every: the period must be positive", where);
  return run_every<std::decay_t<F>>(p.count(), o, std::forward<F>(f));
}
template <class Rep, class Period, class F>
  requires std::invocable<std::decay_t<F>&>
task<> every(std::chrono::duration<Rep, Period> period, F&& f,
             std::source_location where = std::source_location::current()) {
  return every(period, every_options{}, std::forward<F>(f), where);
}

}  // namespace leash
