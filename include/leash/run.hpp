// run: a runtime, its root goroutine, and the thread that waits for both.
#pragma once
#include <functional>
#include <leash/leak.hpp>
#include <leash/scope.hpp>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace leash {

enum class leak_action : std::uint8_t { report, reclaim, abort };

/// Every member has a default. The environment of the process goes before them: LEASH_WORKERS, LEASH_BLOCKING_THREADS,
/// LEASH_LEAK_CHECK_EVERY, LEASH_LEAK_ACTION, LEASH_STUCK_AFTER (docs/environment.md).
struct options {
  unsigned workers = 0;           // 0: as many as the process may use processors
  unsigned blocking_threads = 0;  // the most threads for blocking(); 0: 256
  std::function<void(const leak_report&)> on_leak =
      {};  // told of leaks that were not reported before; on a worker, or the thread of the periodic checks: be short. Empty: they go to stderr, unless a
           // test's leak_watch takes them
  // 0: looked for only when everything is at rest. Checks are made on a thread of their own. One that takes long is made
  // less often: less than a hundredth of a processor's time goes into them.
  nanoseconds leak_check_every = {};
  leak_action action = leak_action::report;
  nanoseconds stuck_after = std::chrono::seconds(10);  // see suspects()
};

/// All that is left can provably never move again. Everything was unwound before it is thrown.
class deadlock_error : public std::runtime_error {
 public:
  explicit deadlock_error(leak_report r);
  const leak_report& report() const noexcept { return *report_; }

 private:
  std::shared_ptr<const leak_report> report_;
};

/// A runtime, between its making and its end; for the library.
class program {
 public:
  program(const options&, std::source_location where, simulation* = nullptr);
  program(const program&) = delete;
  ~program();
  runtime& rt() noexcept;
  scope& root_scope() noexcept;
  /// Runs until every goroutine has ended. Throws what a goroutine left behind, or deadlock_error.
  void run(goroutine_core* root);

 private:
  struct state;
  std::unique_ptr<state> s_;
};

/// Starts the root goroutine, at `where`, and runs until all have ended.
template <class F, class... Args>
body_t<F, kept_t<Args>...> run_program(std::source_location where, program& p, F&& f, Args&&... args) {
  using R = body_t<F, kept_t<Args>...>;
  auto* g = make_goroutine(p.rt().index, where, std::forward<F>(f), std::forward<Args>(args)...);
  goroutine<R> handle(g);
  p.run(g);
  if (!(g->bits & g_completed)) throw std::runtime_error("leash::run: the root goroutine was cancelled");
  if constexpr (std::is_reference_v<R>) {
    return static_cast<R>(*g->value);
  } else if constexpr (!std::is_void_v<R>) {
    return std::move(*g->value);
  }
}
template <class F, class... Args>
body_t<F, kept_t<Args>...> run_with(std::source_location where, const options& o, F&& f, Args&&... args) {
  program p(o, where);
  if constexpr (operation<F>) {
    return run_program(where, p, kept_body<F>(std::forward<F>(f)).start());  // it cannot be moved in; it outlives run
  } else {
    return run_program(where, p, std::forward<F>(f), std::forward<Args>(args)...);
  }
}

/// Runs `f(args...)` as the root goroutine of a new runtime. Blocks the thread, which becomes its first worker.
///
/// Parameters: f, a callable that returns a task or a plain value; f and args are moved in and kept.
/// Returns: what f returned, once every goroutine has ended.
/// Errors: f's exception, or that of a goroutine under the runtime's root; deadlock_error when all that is left is
///   leaked, proven or confined, after everything was unwound; std::logic_error inside a run; std::invalid_argument for
///   options, or variables of the environment, that cannot be met.
/// Thread safety: several runtimes may exist at once, on threads of their own.
#define LEASH_RUN(types, parameters, kept_types, forwarded)                                          \
  template <LEASH_PLAIN types>                                                                       \
  body_t<LEASH_PLAIN kept_types> run(const options& o, LEASH_PLAIN parameters,                       \
                                     std::source_location where = std::source_location::current()) { \
    return run_with(where, o, LEASH_PLAIN forwarded);                                                \
  }                                                                                                  \
  template <LEASH_PLAIN types>                                                                       \
    requires(!std::same_as<std::remove_cvref_t<F>, options>)                                         \
  body_t<LEASH_PLAIN kept_types> run(LEASH_PLAIN parameters,                                         \
                                     std::source_location where = std::source_location::current()) { \
    return run_with(where, options{}, LEASH_PLAIN forwarded);                                        \
  }
LEASH_EACH_ARITY(LEASH_RUN, class)
#undef LEASH_RUN
template <class F, class... Args>
  requires(sizeof...(Args) > 6)
body_t<F, kept_t<Args>...> run(const options& o, F&& f, Args&&... args) {
  return run_with(std::source_location::current(), o, std::forward<F>(f), std::forward<Args>(args)...);
}
template <class F, class... Args>
  requires(sizeof...(Args) > 6 && !std::same_as<std::remove_cvref_t<F>, options>)
body_t<F, kept_t<Args>...> run(F&& f, Args&&... args) {
  return run_with(std::source_location::current(), options{}, std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace leash
