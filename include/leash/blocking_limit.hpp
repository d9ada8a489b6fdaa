// blocking_limit: how many blocking calls of one kind may run at a time.
#pragma once
#include <leash/blocking.hpp>
#include <leash/semaphore.hpp>
#include <source_location>
#include <utility>

namespace leash {

/// A kind of blocking calls, of which so many may be on the blocking pool at once: so that calls of one kind that hang (a
/// dead file server) leave threads for the others. The pool as a whole is limited by options::blocking_threads.
///
/// Thread safety: any number of goroutines at once, of several runtimes too. Must outlive the calls.
class blocking_limit {
 public:
  /// Errors: std::invalid_argument for 0.
  explicit blocking_limit(std::size_t most, std::source_location where = std::source_location::current())
      : places_(checked(most, where), where) {}
  /// Calls that could start now.
  std::size_t available() const noexcept { return places_.available(); }
  /// For the library.
  semaphore& places() noexcept { return places_; }

 private:
  static std::size_t checked(std::size_t most, std::source_location where) {
    if (most == 0) throw_invalid("blocking_limit: at least one call must be possible", where);
    return most;
  }
  semaphore places_;
};

template <class F>
task<std::invoke_result_t<F&>> run_limited(semaphore& places, F f) {
  auto const place = co_await places.acquire();
  co_return co_await blocking(std::move(f));
}

/// As blocking(f), once fewer than the limit's calls run; first come, first served.
///
/// Suspends: always. Wait reasons: `semaphore`, then `blocking`. The place is given back when f has returned, whatever
/// became of its caller. Else as blocking(f).
template <std::invocable F>
task<std::invoke_result_t<std::decay_t<F>&>> blocking(blocking_limit& kind, F&& f) {
  return run_limited<std::decay_t<F>>(kind.places(), std::forward<F>(f));
}

}  // namespace leash
