// The line of the user that makes or starts something, behind any arguments.
#pragma once
#include <concepts>
#include <source_location>
#include <type_traits>
#include <utility>

namespace leash {

/// As std::source_location, but of a type that nobody passes by accident: an argument of the user's that is a
/// source_location stays one.
struct call_site {
  std::source_location where;
  call_site(std::source_location w) noexcept : where(w) {}
  operator std::source_location() const noexcept { return where; }
};

/// T is one of the library's, whose constructor takes the call site behind its other arguments: what makes a T for the
/// user hands its own on.
template <class T>
inline constexpr bool takes_call_site = false;

/// Of what its decltype says: T can be made of these.
template <class T, class... A>
std::bool_constant<std::constructible_from<T, A...>> can_make(A&&...);

// A default argument can tell the call site only behind a fixed number of parameters: up to six arguments behind the
// first know it. X(template parameters, parameters, body_t's arguments, forwarded)
#define LEASH_PLAIN(...) __VA_ARGS__
#define LEASH_EACH_ARITY(X, C)                                                                                    \
  X((class F), (F && f), (F), (std::forward<F>(f)))                                                               \
  X((class F, C A0), (F && f, A0 && a0), (F, kept_t<A0>), (std::forward<F>(f), std::forward<A0>(a0)))             \
  X((class F, C A0, C A1), (F && f, A0 && a0, A1 && a1), (F, kept_t<A0>, kept_t<A1>),                             \
    (std::forward<F>(f), std::forward<A0>(a0), std::forward<A1>(a1)))                                             \
  X((class F, C A0, C A1, C A2), (F && f, A0 && a0, A1 && a1, A2 && a2), (F, kept_t<A0>, kept_t<A1>, kept_t<A2>), \
    (std::forward<F>(f), std::forward<A0>(a0), std::forward<A1>(a1), std::forward<A2>(a2)))                       \
  X((class F, C A0, C A1, C A2, C A3), (F && f, A0 && a0, A1 && a1, A2 && a2, A3 && a3),                          \
    (F, kept_t<A0>, kept_t<A1>, kept_t<A2>, kept_t<A3>),                                                          \
    (std::forward<F>(f), std::forward<A0>(a0), std::forward<A1>(a1), std::forward<A2>(a2), std::forward<A3>(a3))) \
  X((class F, C A0, C A1, C A2, C A3, C A4), (F && f, A0 && a0, A1 && a1, A2 && a2, A3 && a3, A4 && a4),          \
    (F, kept_t<A0>, kept_t<A1>, kept_t<A2>, kept_t<A3>, kept_t<A4>),                                              \
    (std::forward<F>(f), std::forward<A0>(a0), std::forward<A1>(a1), std::forward<A2>(a2), std::forward<A3>(a3),  \
     std::forward<A4>(a4)))                                                                                       \
  X((class F, C A0, C A1, C A2, C A3, C A4, C A5),                                                                \
    (F && f, A0 && a0, A1 && a1, A2 && a2, A3 && a3, A4 && a4, A5 && a5),                                         \
    (F, kept_t<A0>, kept_t<A1>, kept_t<A2>, kept_t<A3>, kept_t<A4>, kept_t<A5>),                                  \
    (std::forward<F>(f), std::forward<A0>(a0), std::forward<A1>(a1), std::forward<A2>(a2), std::forward<A3>(a3),  \
     std::forward<A4>(a4), std::forward<A5>(a5)))

}  // namespace leash
