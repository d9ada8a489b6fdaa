// sleep, sleep_until, yield, ticker.
#pragma once
#include <chrono>
#include <leash/clock.hpp>
#include <leash/timers.hpp>
#include <leash/wait.hpp>
#include <source_location>

namespace leash {

class sleep_wait : public waiter {
 public:
  template <class Op>
  explicit sleep_wait(Op& op) noexcept : waiter(wait_reason::sleep), when_(op.when_), relative_(op.relative_) {
    timer_.self = this;
  }
  spin_lock& lock() noexcept {
    if (wheel_ == nullptr) prepare();
    return wheel_->lock();
  }
  /// A hint without the lock, for select.
  bool likely_ready() noexcept {
    (void)lock();
    return when_ <= now_;
  }
  bool claim() noexcept { return when_ <= now_; }
  void complete() const noexcept {}
  void enqueue();
  void remove() noexcept;
  void won() const noexcept {}
  std::monostate result() const noexcept { return {}; }

 private:
  struct entry : timer_entry {
    sleep_wait* self = nullptr;
  };
  void prepare() noexcept;
  static goroutine_core* expire(timer_entry*, timer_entry*&) noexcept;

  entry timer_;
  timer_wheel* wheel_ = nullptr;
  std::int64_t when_;
  std::int64_t now_ = 0;
  bool relative_;
};

class [[nodiscard]] sleep_operation : public operation_base {
 public:
  using wait_type = sleep_wait;
  using value_type = std::monostate;
  using result_type = void;
  sleep_operation(std::int64_t when, bool relative) noexcept : when_(when), relative_(relative) {}

 private:
  friend class sleep_wait;
  [[maybe_unused]] std::int64_t when_;
  [[maybe_unused]] bool relative_;
};

/// Sleeps for at least d, counted from when it is awaited.
///
/// Suspends when: d > 0. Wait reason: `sleep`. Cancellation: first; ends the sleep. Selectable.
/// Complexity: O(log n) in the worker's armed timers.  Errors: std::invalid_argument for a negative duration.
template <class Rep, class Period>
sleep_operation sleep(std::chrono::duration<Rep, Period> d,
                      std::source_location where = std::source_location::current()) {
  if (d < d.zero()) throw_invalid("sleep: a negative duration", where);
  auto const wide = std::chrono::duration<double, std::nano>(d).count();
  return sleep_operation(wide >= 9.2e18 ? INT64_MAX : std::chrono::ceil<nanoseconds>(d).count(), true);
}
/// Sleeps until a point of leash::now()'s clock; returns at once if it has passed.
inline sleep_operation sleep_until(clock::time_point at) noexcept {
  return sleep_operation(at.time_since_epoch().count(), false);
}

/// Lets every other runnable goroutine of this worker run first. A wait: cancellation is delivered here.
class [[nodiscard]] yield_operation : public operation_base {
 public:
  using result_type = void;
  using leash_awaiter = void;
  void adopt(promise_base& p) noexcept;
  bool await_ready() const noexcept { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P>) noexcept {
    if (context_ended(g_)) [[unlikely]] {
      unwind_here();
    } else {
      yield_here();
    }
  }
  void await_resume() const noexcept {}

 private:
  goroutine_core* g_ = nullptr;
};
inline yield_operation yield() noexcept { return {}; }

/// Ticks every `d`. Ticks that nobody takes are dropped: next() gives the latest one that is due, as Go's Ticker does.
///
/// Thread safety: one goroutine at a time awaits next(). Errors: std::invalid_argument if d <= 0.
class ticker {
 public:
  template <class Rep, class Period>
  explicit ticker(std::chrono::duration<Rep, Period> d, std::source_location where = std::source_location::current())
      : ticker(std::chrono::ceil<nanoseconds>(d).count(), where) {}
  ticker(const ticker&) = delete;
  ticker& operator=(const ticker&) = delete;
  ~ticker() = default;

  class next_operation;
  /// Waits for the next tick. Selectable. Wait reason: `ticker`.
  next_operation next() noexcept;

 private:
  ticker(std::int64_t period, std::source_location where);
  friend class ticker_wait;
  std::int64_t period_;
  std::int64_t due_;
};

class ticker_wait : public sleep_wait {
 public:
  template <class Op>
  explicit ticker_wait(Op& op) noexcept : sleep_wait(op), ticker_(op.ticker_) {
    reason = wait_reason::ticker;
  }
  void complete() noexcept { advance(); }
  void won() noexcept { advance(); }

 private:
  void advance() noexcept;
  ticker* ticker_;
};

class [[nodiscard]] ticker::next_operation : public operation_base {
 public:
  using wait_type = ticker_wait;
  using value_type = std::monostate;
  using result_type = void;

 private:
  friend class ticker;
  friend class sleep_wait;
  friend class ticker_wait;
  explicit next_operation(ticker* t) noexcept : when_(t->due_), ticker_(t) {}
  [[maybe_unused]] std::int64_t when_;
  [[maybe_unused]] bool relative_ = false;
  [[maybe_unused]] ticker* ticker_;
};
inline ticker::next_operation ticker::next() noexcept { return next_operation(this); }

}  // namespace leash
