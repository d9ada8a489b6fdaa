// Boundaries: where an ended context's unwinding stops, and what may still run there.
//
// Each is a coroutine whose frame awaits the body through a boundary link. When the body is cut short the frame goes
// on, does its clean-up, and either returns (it was its own end) or unwinds further.
#pragma once
#include <chrono>
#include <leash/body.hpp>
#include <leash/cancel.hpp>
#include <leash/context.hpp>
#include <source_location>

namespace leash {

/// The time `d` from now on the runtime's clock; throws std::invalid_argument if d is negative.
std::int64_t time_after(nanoseconds d, const runtime*, const char* what, std::source_location where);

template <class Rep, class Period>
constexpr nanoseconds clamp_duration(std::chrono::duration<Rep, Period> d) noexcept {
  using wide = std::chrono::duration<double>;
  if (std::chrono::duration_cast<wide>(d) >= std::chrono::duration_cast<wide>(nanoseconds::max()))
    return nanoseconds::max();
  if (std::chrono::duration_cast<wide>(d) <= std::chrono::duration_cast<wide>(nanoseconds::min()))
    return nanoseconds::min();
  return std::chrono::ceil<nanoseconds>(d);
}

/// Runs the body in a context of its own; the library's.
template <class R, class B>
task<maybe_t<R>> run_bounded(kept_body<B> body, std::int64_t when, nanoseconds within, bool shield,
                             canceller_core* source, std::source_location where) {
  goroutine_core* g = co_await this_goroutine{};
  struct source_ref {
    canceller_core* held;
    ~source_ref() {
      if (held != nullptr) unhold(held);
    }
  } ref{source};
  if (within != nanoseconds::max()) when = time_after(within, runtime_at(g->runtime_index), "with_timeout", where);
  entered_context here(g, when, shield, where);
  if (source != nullptr) here.attach(source);
  body_result<R> r = co_await boundary_wait<R>(body.start());
  if (r.cut && !here.is_own_end()) co_await unwind_further{};
  if (r.cut) r.error = take_carried(g);
  if (r.error) std::rethrow_exception(std::move(r.error));
  co_return r.take();
}

/// Runs `body` for at most `d`.
///
/// Parameters: d, a duration >= 0; body, moved in and kept.
/// Returns: what the body returned; nullopt (void: false) if the time ended first and the body was unwound. An outer,
/// earlier
///   end goes to the outer boundary. A body that returns without waiting is never cut short.
/// Cancellation: waits in the body observe this context. Complexity: one timer.
/// Errors: the body's exception; std::invalid_argument for a negative duration.
template <class Rep, class Period, class B>
task<maybe_t<body_t<B>>> with_timeout(std::chrono::duration<Rep, Period> d, B&& body,
                                      std::source_location where = std::source_location::current()) {
  nanoseconds const within = clamp_duration(d);
  if (within < nanoseconds::zero()) throw_invalid("with_timeout: a negative duration", where);
  return run_bounded<body_t<B>>(kept_body<B>(std::forward<B>(body)), INT64_MAX, within, false, nullptr, where);
}

/// As with_timeout, until a point of leash::now()'s clock; one that has passed ends the body at its first wait.
template <class B>
task<maybe_t<body_t<B>>> with_deadline(clock::time_point at, B&& body,
                                       std::source_location where = std::source_location::current()) {
  return run_bounded<body_t<B>>(kept_body<B>(std::forward<B>(body)), at.time_since_epoch().count(), nanoseconds::max(),
                                false, nullptr, where);
}

/// Runs `body` until the source cancels. Returns as with_timeout.
/// Errors: the body's exception; std::logic_error if the source was moved from.
template <class B>
task<maybe_t<body_t<B>>> with_cancel(cancel_source& source, B&& body,
                                     std::source_location where = std::source_location::current()) {
  canceller_core* core = source.core();
  if (core == nullptr) throw_misuse("with_cancel: the cancel_source was moved from", where);
  kept_body<B> kept(std::forward<B>(body));
  core->refs.fetch_add(1, std::memory_order_relaxed);
  return run_bounded<body_t<B>>(std::move(kept), INT64_MAX, nanoseconds::max(), false, core, where);
}

/// Runs `body` shielded from every end outside, but for at most `bound`: for clean-up that must wait.
/// Returns: as with_timeout. Errors: as with_timeout.
template <class Rep, class Period, class B>
task<maybe_t<body_t<B>>> shielded(std::chrono::duration<Rep, Period> bound, B&& body,
                                  std::source_location where = std::source_location::current()) {
  nanoseconds const within = clamp_duration(bound);
  if (within < nanoseconds::zero()) throw_invalid("shielded: a negative bound", where);
  return run_bounded<body_t<B>>(kept_body<B>(std::forward<B>(body)), INT64_MAX, within, true, nullptr, where);
}

template <class R, class V, class B>
task<R> run_with_value(V value, kept_body<B> body) {
  goroutine_core* g = co_await this_goroutine{};
  local_value* outer = g->locals.get();
  auto* node = local_value::make(local_value::kind::value, outer, {}, {});
  node->type = &typeid(V);
  node->data = std::make_shared<const V>(std::move(value));
  local_scope set(g, node);
  co_return co_await body.start();
}

/// Runs `body` with a value of type V in its context and in that of every goroutine started from it.
/// Returns: what the body returns.
template <class V, class B>
task<body_t<B>> with_value(V&& value, B&& body) {
  return run_with_value<body_t<B>, std::decay_t<V>>(std::forward<V>(value), kept_body<B>(std::forward<B>(body)));
}

/// Throws `outer`; with `inner` nested in it if its type is one of the standard library's. Of another type nothing can be
/// derived here.
[[noreturn]] LEASH_COLD void rethrow_nested(std::exception_ptr outer, const std::exception_ptr& inner);

enum class outcome : std::uint8_t { returned, threw, cancelled };

template <class R, class B, class C>
task<R> run_finally(kept_body<B> body, C cleanup, nanoseconds bound, std::source_location where) {
  body_result<R> r;
  try {
    task<R> started = body.start();
    r = co_await boundary_wait<R>(std::move(started));
  } catch (...) {
    r.error = std::current_exception();
  }
  outcome const how = r.cut ? outcome::cancelled : r.error ? outcome::threw : outcome::returned;
  std::exception_ptr late;
  {
    using call = decltype([](C& f, outcome o) -> decltype(auto) { return f(o); });
    auto run = [&]() -> decltype(auto) { return call{}(cleanup, how); };
    try {
      (void)co_await shielded(bound, std::ref(run), where);
    } catch (...) {
      late = std::current_exception();
    }
  }
  if (late && r.cut) carry_error(co_await this_goroutine{}, std::move(late));
  if (late) {
    if (!r.error) std::rethrow_exception(std::move(late));
    rethrow_nested(std::move(late), r.error);
  }
  if (r.cut) co_await unwind_further{};
  if (r.error) std::rethrow_exception(std::move(r.error));
  if constexpr (std::is_reference_v<R>) {
    co_return **r.value;
  } else if constexpr (!std::is_void_v<R>) {
    co_return std::move(*r.value);
  }
}

/// Runs `body`, then `cleanup(outcome)`, however the body ends: returned, threw, or was cut short. The clean-up may
/// wait: it is shielded, for at most `bound`.
///
/// Returns: what the body returned. Errors: the body's exception; the clean-up's own goes before it, whatever its type,
///   with the body's nested inside (std::rethrow_if_nested) if its type is one of the standard library's, else alone; if
///   the body was cancelled, it comes out where the unwinding ends. std::invalid_argument for a negative bound. After a
///   cancelled body unwinding goes on once the clean-up has ended.
template <class B, class C>
  requires std::invocable<std::decay_t<C>&, outcome>
task<body_t<B>> finally(B&& body, C&& cleanup, nanoseconds bound = std::chrono::seconds(5),
                        std::source_location where = std::source_location::current()) {
  if (bound < nanoseconds::zero()) throw_invalid("finally: a negative bound", where);
  return run_finally<body_t<B>, B, std::decay_t<C>>(kept_body<B>(std::forward<B>(body)), std::forward<C>(cleanup),
                                                    bound, where);
}

}  // namespace leash
