// gather: all of several tasks at once.  race: the first of several.
#pragma once
#include <atomic>
#include <leash/scope.hpp>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <variant>

namespace leash {

template <class T>
task<> run_into(task<T> t, std::optional<regular_t<T>>* place) {
  if constexpr (std::is_void_v<T>) {
    co_await std::move(t);
    place->emplace();
  } else {
    place->emplace(co_await std::move(t));
  }
}

/// Runs the tasks as goroutines of one scope and waits for all.
///
/// Returns: a tuple of their results (void: std::monostate). Errors: the first exception cancels the others and is
/// rethrown; std::runtime_error if one of them was reclaimed. Cancellation: reaches all of them.
template <class... T>
task<std::tuple<regular_t<T>...>> gather(task<T>... tasks) {
  std::tuple<std::optional<regular_t<T>>...> results;
  auto all = std::make_tuple(std::move(tasks)...);
  co_await with_scope([&](scope& s) -> task<> {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      ((void)s.go(run_into<T>, std::move(std::get<I>(all)), &std::get<I>(results)), ...);
    }(std::index_sequence_for<T...>{});
    co_return;
  });
  if (![&]<std::size_t... I>(std::index_sequence<I...>) {
        return (std::get<I>(results).has_value() && ...);
      }(std::index_sequence_for<T...>{})) {
    throw std::runtime_error("a gathered task was reclaimed: it waited for what can never happen");
  }
  co_return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return std::tuple<regular_t<T>...>(std::move(*std::get<I>(results))...);
  }(std::index_sequence_for<T...>{});
}

template <std::size_t I, class T, class Result>
task<> race_into(task<T> t, std::optional<Result>* place, std::atomic<bool>* won, scope* s) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(t);
      if (!won->exchange(true)) place->emplace(std::in_place_index<I>);
    } else {
      auto v = co_await std::move(t);
      if (!won->exchange(true)) place->emplace(std::in_place_index<I>, std::move(v));
    }
  } catch (...) {
    if (!won->load()) throw;  // a loser's error is no one's business any more
  }
  s->cancel("the race was won");
}

/// Runs the tasks as goroutines of one scope until the first one returns; the rest is cancelled and joined.
///
/// Returns: a variant of all results, whose index says who won. Errors: an exception before there is a winner.
template <class... T>
  requires(sizeof...(T) > 0)
task<std::variant<regular_t<T>...>> race(task<T>... tasks) {
  using result = std::variant<regular_t<T>...>;
  std::optional<result> place;
  std::atomic<bool> won = false;
  auto all = std::make_tuple(std::move(tasks)...);
  (void)co_await with_scope([&](scope& s) -> task<> {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      ((void)s.go(race_into<I, T, result>, std::move(std::get<I>(all)), &place, &won, &s), ...);
    }(std::index_sequence_for<T...>{});
    co_return;
  });
  if (!place) throw std::runtime_error("a race without a winner: its tasks were reclaimed");
  co_return std::move(*place);
}

}  // namespace leash
