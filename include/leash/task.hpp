// task<T>: a lazy coroutine, and the frames of a goroutine.
//
// A goroutine's frames form a chain: each awaited frame points at the await_link in the frame that awaits it. The
// result, or the exception, is written straight into that link (or, for the outermost frame, into the goroutine's
// block), so that a frame holds no room for it.
//
// Unwinding destroys the frames of the chain leaf first, iteratively, up to the next *boundary*: a link whose frame
// asked to be resumed with "your body was cut short" instead of being destroyed (with_timeout, with_scope, finally...).
//
// Invariants
//  T1. up == nullptr exactly for the outermost frame of a goroutine and for tasks that were not started.
//  T2. All promises are aligned to at most 16 bytes, so a frame starts 16 bytes before its promise.
#pragma once
#include <coroutine>
#include <cstddef>
#include <exception>
#include <leash/arena.hpp>
#include <leash/goroutine.hpp>
#include <leash/platform.hpp>
#include <leash/wait.hpp>
#include <leash/worker.hpp>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>
#include <variant>

namespace leash {

template <class T = void>
class task;

enum class link_kind : std::uint8_t { plain, boundary };

/// In the frame that awaits another one.
struct await_link {
  promise_base* parent = nullptr;
  std::coroutine_handle<> child;  // null once the child's frame is gone
  std::exception_ptr error;
  link_kind kind = link_kind::plain;
  bool cut = false;  // boundary: the body was unwound

  await_link() noexcept {}
  await_link(const await_link&) = delete;
  ~await_link() {
    if (child) child.destroy();
  }
};

/// The place for a result, in a link or in a goroutine's block.
template <class T>
struct result_place {
  std::optional<T> value;
};
template <class T>
  requires(alignof(T) > 16)
struct result_place<T> {  // T2: kept out of frames and blocks, which are aligned to 16
  struct box {
    std::unique_ptr<T> held;
    template <class... A>
    void emplace(A&&... a) {
      held = std::make_unique<T>(std::forward<A>(a)...);
    }
    T& operator*() const { return *held; }
    explicit operator bool() const { return held != nullptr; }
  } value;
};
template <class T>
struct result_place<T&> {
  T* value = nullptr;
};
template <>
struct result_place<void> {};

template <class T>
struct await_link_of : await_link, result_place<T> {};

/// The block of a goroutine whose body returns T; the callable follows in a derived class.
template <class T>
struct goroutine_of : goroutine_core, result_place<T> {
  using goroutine_core::goroutine_core;
};

/// The exception that ended a goroutine; to its scope.
void root_failed(goroutine_core*, std::exception_ptr) noexcept;
void root_finished(goroutine_core*) noexcept;
[[noreturn]] LEASH_COLD void throwing_while_unwinding();
[[noreturn]] LEASH_COLD void awaited_empty_task(std::source_location);

struct promise_base : arena::allocated<arena::kind::frame> {
  await_link* up = nullptr;
  goroutine_core* who = nullptr;
  std::source_location where;  // of the co_await that the frame is suspended in

  promise_base() noexcept {}
  promise_base(const promise_base&) = delete;

  std::coroutine_handle<> handle() noexcept {
    return std::coroutine_handle<>::from_address(reinterpret_cast<std::byte*>(this) - 2 * sizeof(void*));
  }

  std::suspend_always initial_suspend() noexcept { return {}; }
  struct final_awaiter {
    bool await_ready() const noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) const noexcept {
      promise_base& p = h.promise();
      if (await_link* link = p.up) [[likely]] {
        p.who->leaf = link->parent;
        return link->parent->handle();
      }
      root_finished(p.who);
      return std::noop_coroutine();
    }
    void await_resume() const noexcept {}
  };
  final_awaiter final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept {
    if (who->bits & g_unwinding) throwing_while_unwinding();
    if (up != nullptr) {
      up->error = std::current_exception();
    } else {
      root_failed(who, std::current_exception());
    }
  }

  template <class A>
  decltype(auto) await_transform(A&& a, std::source_location at = std::source_location::current());
};

template <class T>
struct promise : promise_base {
  static_assert(!std::is_rvalue_reference_v<T>, "a task cannot return an rvalue reference");
  task<T> get_return_object() noexcept;
  template <class U = T>
    requires std::convertible_to<U, T>
  void return_value(U&& value) {
    result_place<T>& place = up != nullptr ? static_cast<result_place<T>&>(*static_cast<await_link_of<T>*>(up))
                                           : *static_cast<goroutine_of<T>*>(who);
    if constexpr (std::is_reference_v<T>) {
      T r = static_cast<U&&>(value);
      place.value = std::addressof(r);
    } else {
      place.value.emplace(std::forward<U>(value));
    }
  }
};
template <>
struct promise<void> : promise_base {
  task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
};

/// Starts `child` in place of its awaiter.
template <class P>
LEASH_INLINE std::coroutine_handle<> descend(await_link* link, promise_base& parent,
                                             std::coroutine_handle<P> child) noexcept {
  link->parent = &parent;
  promise_base& p = child.promise();
  p.up = link;
  p.who = parent.who;
  parent.who->leaf = &p;
  return child;
}

/// Awaits a task in place.
template <class T>
class [[nodiscard]] task_wait {
 public:
  using leash_awaiter = void;
  explicit task_wait(std::coroutine_handle<promise<T>> h) noexcept { link_.child = h; }
  task_wait(task_wait&&) = delete;
  bool await_ready() const noexcept { return false; }
  template <class P>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) noexcept {
    return descend(&link_, h.promise(), std::coroutine_handle<promise<T>>::from_address(link_.child.address()));
  }
  T await_resume() {
    // The frame goes now, in any case: results and exceptions are here already.
    std::exchange(link_.child, {}).destroy();
    if (link_.error) [[unlikely]]
      std::rethrow_exception(std::move(link_.error));
    if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*link_.value);
    } else if constexpr (!std::is_void_v<T>) {
      return std::move(*link_.value);
    }
  }

 private:
  await_link_of<T> link_;
};

/// A coroutine that returns T and runs as part of the goroutine that awaits it. Lazy: nothing happens before it is
/// awaited.
///
/// A task that is dropped without having been awaited destroys its coroutine. It is awaited once, as an rvalue:
/// `co_await f(x)` or `co_await std::move(t)`; what may be awaited in place may take references.
/// Thread safety: as any value. Complexity: one frame from a per-thread free list. Errors: std::bad_alloc from the
/// call.
template <class T>
class [[nodiscard]] task {
 public:
  using promise_type = promise<T>;
  using result_type = T;

  task(task&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      if (frame_) frame_.destroy();
      frame_ = std::exchange(other.frame_, {});
    }
    return *this;
  }
  ~task() {
    if (frame_) frame_.destroy();
  }
  /// False after a move or an await.
  explicit operator bool() const noexcept { return static_cast<bool>(frame_); }

  /// Only a coroutine that is no goroutine gets here; goroutines await through their promise.
  operation_base::no_goroutine operator co_await() && noexcept { return {}; }

  /// For the library: takes the coroutine out.
  std::coroutine_handle<promise_type> release() && noexcept { return std::exchange(frame_, {}); }

 private:
  friend promise<T>;
  explicit task(std::coroutine_handle<promise_type> h) noexcept : frame_(h) {}
  std::coroutine_handle<promise_type> frame_;
};

template <class T>
task<T> promise<T>::get_return_object() noexcept {
  static_assert(alignof(promise) <= 16);
  return task<T>(std::coroutine_handle<promise>::from_promise(*this));
}
inline task<void> promise<void>::get_return_object() noexcept {
  return task<void>(std::coroutine_handle<promise>::from_promise(*this));
}

// --- what may be awaited

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

template <class T>
struct value_of_task {
  using type = T;
};
template <class T>
struct value_of_task<task<T>> {
  using type = T;
};

void foreign_end(goroutine_core*) noexcept;
/// Foreign awaitables: uncancellable. The goroutine is resumed on its own runtime whichever thread completes the
/// awaitable.
struct foreign_resumer {
  struct promise_type : arena::allocated<arena::kind::frame> {
    goroutine_core* who;
    explicit promise_type(goroutine_core* g) noexcept : who(g) {}
    foreign_resumer get_return_object() noexcept { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    // The goroutine is handed back from the final suspension, not before: then it may destroy this coroutine.
    struct hand_back {
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<promise_type> h) const noexcept { foreign_end(h.promise().who); }
      void await_resume() const noexcept {}
    };
    hand_back final_suspend() noexcept { return {}; }
    void unhandled_exception() noexcept { std::terminate(); }
    void return_void() noexcept {}
  };
  std::coroutine_handle<promise_type> handle;
};
foreign_resumer make_foreign_resumer(goroutine_core*);
void foreign_begin(goroutine_core*, waiter*) noexcept;
void foreign_cancel(goroutine_core*) noexcept;

template <class A>
decltype(auto) awaiter_of(A&& a) {
  if constexpr (requires { std::forward<A>(a).operator co_await(); }) {
    return std::forward<A>(a).operator co_await();
  } else if constexpr (requires { operator co_await(std::forward<A>(a)); }) {
    return operator co_await(std::forward<A>(a));
  } else {
    return static_cast<A&&>(a);
  }
}

template <class A>
class foreign_wait {
  using awaiter = decltype(awaiter_of(std::declval<A>()));

 public:
  using leash_awaiter = void;
  foreign_wait(A&& a, goroutine_core* g) : inner_(awaiter_of(std::forward<A>(a))), waiter_(wait_reason::foreign) {
    waiter_.who = g;
  }
  foreign_wait(foreign_wait&&) = delete;
  ~foreign_wait() {
    if (resumer_) resumer_.destroy();
  }
  bool await_ready() {
    if (context_ended(waiter_.who)) [[unlikely]] {
      cut_ = true;
      return false;
    }
    return inner_.await_ready();
  }
  template <class P>
  bool await_suspend(std::coroutine_handle<P>) {
    goroutine_core* g = waiter_.who;
    if (cut_) {
      unwind_here();
      return true;
    }
    resumer_ = make_foreign_resumer(g).handle;
    foreign_begin(g, &waiter_);
    using result = decltype(inner_.await_suspend(std::coroutine_handle<>(resumer_)));
    try {
      if constexpr (std::is_void_v<result>) {
        inner_.await_suspend(std::coroutine_handle<>(resumer_));
      } else if constexpr (std::is_same_v<result, bool>) {
        if (!inner_.await_suspend(std::coroutine_handle<>(resumer_))) {
          foreign_cancel(g);
          return false;
        }
      } else {
        std::coroutine_handle<> const next = inner_.await_suspend(std::coroutine_handle<>(resumer_));
        next.resume();
      }
    } catch (...) {
      foreign_cancel(g);
      throw;
    }
    return true;
  }
  decltype(auto) await_resume() { return inner_.await_resume(); }

 private:
  awaiter inner_;
  waiter waiter_;
  std::coroutine_handle<> resumer_;
  bool cut_ = false;
};

/// An awaiter of the library's own, by reference: what await_transform returns must not have an operator co_await.
template <class A>
struct native_wait {
  A& inner;
  bool await_ready() { return inner.await_ready(); }
  template <class P>
  decltype(auto) await_suspend(std::coroutine_handle<P> h) {
    return inner.await_suspend(h);
  }
  decltype(auto) await_resume() { return inner.await_resume(); }
};

template <class A>
decltype(auto) promise_base::await_transform(A&& a, std::source_location at) {
  using plain = std::remove_cvref_t<A>;
  where = at;
  if constexpr (is_task<plain>) {
    static_assert(!std::is_lvalue_reference_v<A>, "a task is awaited as an rvalue: co_await std::move(t)");
    auto frame = std::forward<A>(a).release();
    if (!frame) awaited_empty_task(at);
    return task_wait<typename plain::result_type>(frame);
  } else if constexpr (requires { a.as_task(); }) {
    a.consume(at);
    return task_wait<typename plain::result_type>(a.as_task().release());
  } else if constexpr (requires { typename plain::leash_awaiter; }) {
    a.adopt(*this);
    return native_wait<plain>{a};
  } else if constexpr (selectable<plain>) {
    static_assert(!std::is_lvalue_reference_v<A>, "an operation is awaited as an rvalue: co_await rx.recv()");
    a.consume(at);
    if constexpr (requires { a.try_now(); }) {
      return quick_wait<plain>(a, who, at);
    } else {
      return single_wait<plain>(a, who, at);
    }
  } else {
    return foreign_wait<A>(std::forward<A>(a), who);
  }
}

}  // namespace leash
