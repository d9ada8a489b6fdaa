// with_shutdown: SIGINT and SIGTERM become cancellation, in two steps: the first drains, the second ends.
#pragma once
#include <csignal>
#include <leash/cancel.hpp>
#include <leash/scope.hpp>
#include <leash/sleep.hpp>
#include <memory>
#include <source_location>
#include <string_view>
#include <utility>
#include <vector>

namespace leash {

struct shutdown_options {
  std::vector<int> signals = {SIGINT, SIGTERM};
  nanoseconds drain_within = std::chrono::seconds(30);  // after the first signal; then what still runs is cancelled
  // A signal that follows the first one so soon is the same request: timeout(1) sends each twice.
  nanoseconds same_request = {};
};

struct shutdown_state;

/// Waits for the end of a channel. Gives nothing.
class requested_wait : public recv_wait<std::monostate> {
 public:
  using recv_wait::recv_wait;
  std::monostate result() noexcept { return (void)recv_wait::result(), std::monostate{}; }
};
class [[nodiscard]] requested_operation : public recv_operation<std::monostate> {
 public:
  using wait_type = requested_wait;
  using value_type = std::monostate;
  using result_type = void;
  using recv_operation::recv_operation;
};

/// What the body of with_shutdown is told by. Thread safety: any number of goroutines and threads at once.
class shutdown_request {
 public:
  shutdown_request(const shutdown_request&) = delete;
  shutdown_request& operator=(const shutdown_request&) = delete;
  ~shutdown_request();

  /// Waits until draining begins; at once if it has. Selectable. Wait reason: `chan receive`. Cancellation: first.
  requested_operation requested() noexcept { return requested_operation(asked_.channel()); }
  bool is_requested() const noexcept;
  /// The first signal that came; 0: none, or request().
  int signal() const noexcept;
  /// As if a signal came: the first request drains, the next one ends. Any thread.
  void request(std::string_view why = "a shutdown was requested");
  /// Runs `body` until draining begins: for what takes work in, as accept loops. Returns and throws as with_cancel.
  template <class B>
  task<maybe_t<body_t<B>>> until_requested(B&& body, std::source_location where = std::source_location::current()) {
    return with_cancel(drain_source(), std::forward<B>(body), where);
  }

  /// For the library.
  explicit shutdown_request(const shutdown_options&, std::source_location where);
  cancel_source& end_source() noexcept;

 private:
  cancel_source& drain_source() noexcept;
  std::shared_ptr<shutdown_state> state_;
  receiver<std::monostate> asked_;
};

template <class R, class B>
task<maybe_t<R>> run_shutdown(shutdown_options o, kept_body<B> body, std::source_location where) {
  shutdown_request stop(o, where);
  maybe_t<R> result{};
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("shutdown"), [&stop, bound = o.drain_within]() -> task<> {
      co_await stop.requested();
      co_await sleep(bound);
      stop.end_source().cancel("draining took longer than allowed");
    });
    auto run = [&] { return body.start(stop); };
    result = co_await with_cancel(stop.end_source(), std::move(run), where);
    s.cancel("the body of with_shutdown has ended");
  });
  co_return result;
}

/// Runs `body(shutdown_request&)` with the signals of the options caught: the first drains, the second ends.
///
/// First signal: `requested()` completes and what runs in `until_requested` is cancelled; the rest goes on, to finish what
/// it has begun. Second signal, or drain_within after the first: the whole body is cancelled. When it returns, the signals
/// are what they were before. Several may be under way in a process: each signal reaches all of them.
///
/// Returns: what the body returned; nullopt (void: false) if it was cut short by the second step.
/// Cancellation: from outside reaches the body. Errors: the body's exception; std::system_error if a signal cannot be
/// caught; std::invalid_argument for a negative duration. Thread safety: nothing runs in the signal handler but a
/// semaphore's post; a thread of its own tells the goroutines. While the body runs, a signal may come: who waits for
/// requested() is live in the proof, and run() does not end by deadlock_error.
template <class B>
  requires(!std::same_as<std::remove_cvref_t<B>, shutdown_options>)
task<maybe_t<body_t<B, shutdown_request&>>> with_shutdown(
    const shutdown_options& o, B&& body, std::source_location where = std::source_location::current()) {
  if (o.drain_within < nanoseconds::zero() || o.same_request < nanoseconds::zero())
    throw_invalid("with_shutdown: a negative duration", where);
  return run_shutdown<body_t<B, shutdown_request&>>(o, kept_body<B>(std::forward<B>(body)), where);
}
template <class B>
task<maybe_t<body_t<B, shutdown_request&>>> with_shutdown(
    B&& body, std::source_location where = std::source_location::current()) {
  return run_shutdown<body_t<B, shutdown_request&>>(shutdown_options{}, kept_body<B>(std::forward<B>(body)), where);
}

}  // namespace leash
