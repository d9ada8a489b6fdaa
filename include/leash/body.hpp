// A body, wherever one is asked for: a task, an operation, or a callable that returns a task or a plain value.
#pragma once
#include <concepts>
#include <functional>
#include <leash/task.hpp>
#include <memory>
#include <type_traits>
#include <utility>
#include <variant>

namespace leash {

template <class T>
struct value_of {
  using type = T;
};
template <class T>
struct value_of<task<T>> {
  using type = T;
};
template <operation Op>
struct value_of<Op> {
  using type = typename Op::result_type;
};

template <class B, class... A>
struct body_traits {};
template <class B, class... A>
  requires(!operation<B> && !is_task<B> && std::invocable<B&, A...>)
struct body_traits<B, A...> {
  using type = typename value_of<std::remove_cvref_t<std::invoke_result_t<B&, A...>>>::type;
};
template <class B, class... A>
  requires(!operation<B> && !is_task<B> && std::invocable<B&, A...> &&
           std::is_reference_v<std::invoke_result_t<B&, A...>>)
struct body_traits<B, A...> {
  using type = std::invoke_result_t<B&, A...>;
};
template <class T, class... A>
struct body_traits<task<T>, A...> {
  using type = T;
};
template <operation Op, class... A>
struct body_traits<Op, A...> {
  using type = typename Op::result_type;
};
/// What a body gives.
template <class B, class... A>
using body_t = typename body_traits<std::remove_cvref_t<B>, A...>::type;

/// void as a value.
template <class T>
using regular_t = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
struct maybe_of {
  using type = std::optional<T>;
};
template <class T>
struct maybe_of<T&> {
  using type = std::optional<std::reference_wrapper<T>>;
};
template <>
struct maybe_of<void> {
  using type = bool;
};
/// The result of what may be cut short: optional<T>; for void a bool, false: cut short.
template <class T>
using maybe_t = typename maybe_of<T>::type;

/// A body, moved in and kept; an operation is referred to (it lives until the end of the expression that awaits it).
template <class B>
class kept_body {
  static constexpr bool is_operation = operation<B>;
  using held = std::conditional_t<is_operation, std::remove_reference_t<B>*, std::decay_t<B>>;

 public:
  explicit kept_body(B&& b) : body_(take(std::forward<B>(b))) {}
  kept_body(kept_body&&) = default;

  /// The body as a task; once. The callable is kept here until the task has ended.
  template <class... A>
  task<body_t<B, A...>> start(A&&... args) {
    if constexpr (is_operation) {
      return await_operation(body_);
    } else if constexpr (is_task<held>) {
      return std::move(body_);
    } else if constexpr (is_task<std::remove_cvref_t<std::invoke_result_t<held&, A...>>>) {
      return std::invoke(body_, std::forward<A>(args)...);
    } else {
      return call<A...>(body_, args...);
    }
  }

 private:
  static held take(B&& b) {
    if constexpr (is_operation)
      return std::addressof(b);
    else
      return std::forward<B>(b);
  }
  template <class Op>
  static task<typename Op::result_type> await_operation(Op* op) {
    co_return co_await std::move(*op);
  }
  template <class... A>
  static task<body_t<B, A...>> call(held& f, std::remove_reference_t<A>&... args) {
    if constexpr (operation<std::remove_cvref_t<std::invoke_result_t<held&, A...>>>) {
      co_return co_await std::invoke(f, std::forward<A>(args)...);
    } else {
      co_return std::invoke(f, std::forward<A>(args)...);
    }
  }

  held body_;
};

/// How a body ended.
template <class T>
struct body_result {
  bool cut = false;
  std::exception_ptr error;
  std::optional<std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, regular_t<T>>> value;

  /// The value as what may be cut short gives it.
  maybe_t<T> take() {
    if constexpr (std::is_void_v<T>) {
      return !cut;
    } else if constexpr (std::is_reference_v<T>) {
      return cut ? maybe_t<T>() : maybe_t<T>(**value);
    } else {
      return cut ? maybe_t<T>() : maybe_t<T>(std::move(*value));
    }
  }
};

/// Awaits a task as a boundary: unwinding stops here, and the awaiting frame goes on with result.cut.
template <class T>
class [[nodiscard]] boundary_wait {
 public:
  using leash_awaiter = void;
  explicit boundary_wait(task<T> t) noexcept {
    link_.child = std::move(t).release();
    link_.kind = link_kind::boundary;
  }
  boundary_wait(boundary_wait&&) = delete;
  void adopt(promise_base&) const noexcept {}
  bool await_ready() const noexcept { return false; }
  template <class P>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) noexcept {
    return descend(&link_, h.promise(), std::coroutine_handle<promise<T>>::from_address(link_.child.address()));
  }
  body_result<T> await_resume() {
    body_result<T> r;
    if (link_.cut) {
      r.cut = true;
      return r;
    }
    std::exchange(link_.child, {}).destroy();
    r.error = std::move(link_.error);
    if constexpr (std::is_void_v<T>) {
      if (!r.error) r.value.emplace();
    } else if constexpr (std::is_reference_v<T>) {
      if (!r.error) r.value.emplace(link_.value);
    } else {
      if (!r.error) r.value.emplace(std::move(*link_.value));
    }
    return r;
  }

 private:
  await_link_of<T> link_;
};

/// Goes on unwinding from the frame that awaits this.
struct unwind_further {
  using leash_awaiter = void;
  void adopt(promise_base&) const noexcept {}
  bool await_ready() const noexcept { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P>) const noexcept {
    unwind_here();
  }
  void await_resume() const noexcept {}
};

/// A wait that never waits: cancellation is delivered here.
struct unwind_if_cancelled {
  using leash_awaiter = void;
  goroutine_core* g = nullptr;
  void adopt(promise_base& p) noexcept { g = p.who; }
  bool await_ready() const noexcept { return !context_ended(g); }
  void await_suspend(std::coroutine_handle<>) const noexcept { unwind_here(); }
  void await_resume() const noexcept {}
};

/// Where the awaiting frame itself is awaited.
struct awaited_at {
  using leash_awaiter = void;
  std::source_location where;
  void adopt(promise_base& p) noexcept { where = p.up != nullptr ? p.up->parent->where : p.who->spawned_at; }
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  std::source_location await_resume() const noexcept { return where; }
};

/// The goroutine that the awaiting frame belongs to.
struct this_goroutine {
  using leash_awaiter = void;
  goroutine_core* g = nullptr;
  void adopt(promise_base& p) noexcept { g = p.who; }
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  goroutine_core* await_resume() const noexcept { return g; }
};

}  // namespace leash
