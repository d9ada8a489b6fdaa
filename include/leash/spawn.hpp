// What go() stores: the callable and its arguments behind the goroutine's control block; and the handle to its end.
#pragma once
#include <concepts>
#include <functional>
#include <leash/body.hpp>
#include <leash/context.hpp>
#include <leash/signature.hpp>
#include <memory>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace leash {

/// A view that is passed to a goroutine as it is: whoever says borrow() vouches that what it looks at lives long
/// enough.
template <class T>
struct borrowed {
  T value;
  explicit borrowed(T v) : value(std::move(v)) {}
};
template <class T>
borrowed<std::decay_t<T>> borrow(T&& view) {
  return borrowed<std::decay_t<T>>(std::forward<T>(view));
}

/// A goroutine's name, for dumps, reports and profiles: s.go(named("keeper"), f).
struct [[nodiscard]] named {
  std::string name;
  explicit named(std::string_view n) : name(n) {}
};

/// How a kept argument is passed: a std::ref as T&, a borrowed view as the view, all else as an rvalue.
template <class A>
struct kept_argument {
  using type = A;
  static A&& pass(A& a) noexcept { return static_cast<A&&>(a); }
};
template <class T>
struct kept_argument<std::reference_wrapper<T>> {
  using type = T&;
  static T& pass(std::reference_wrapper<T>& a) noexcept { return a.get(); }
};
template <class T>
struct kept_argument<borrowed<T>> {
  using type = T;
  static T&& pass(borrowed<T>& a) noexcept { return std::move(a.value); }
};
template <class A>
using kept_t = typename kept_argument<std::decay_t<A>>::type;

/// A callable or argument that is aligned to more than a goroutine's block: kept on the heap.
template <class T>
struct aligned_apart {
  std::unique_ptr<T> held;
  template <class U>
    requires std::constructible_from<T, U>
  explicit aligned_apart(U&& u) : held(std::make_unique<T>(std::forward<U>(u))) {}
  aligned_apart(aligned_apart&&) noexcept = default;
  template <class... A>
  std::invoke_result_t<T&, A...> operator()(A&&... a) {
    return std::invoke(*held, std::forward<A>(a)...);
  }
};
template <class F>
F& callable_in(F& f) noexcept {
  return f;
}
template <class F>
F& callable_in(aligned_apart<F>& f) noexcept {
  return *f.held;
}
template <class T>
struct kept_argument<aligned_apart<T>> {
  using type = T;
  static T&& pass(aligned_apart<T>& a) noexcept { return std::move(*a.held); }
};
template <class T>
using stored_t = std::conditional_t<(alignof(std::decay_t<T>) > 16), aligned_apart<std::decay_t<T>>, std::decay_t<T>>;

template <class A>
inline constexpr bool is_view = false;
template <class C, class Tr>
inline constexpr bool is_view<std::basic_string_view<C, Tr>> = true;
template <class T, std::size_t N>
inline constexpr bool is_view<std::span<T, N>> = true;
/// What may be handed to a goroutine: anything that can be moved in, but no view of something else (use borrow or a
/// copy).
template <class A>
concept kept = std::constructible_from<std::decay_t<A>, A> && !is_view<std::decay_t<A>>;

/// Whose bytes show what it points to: pointers, references, closures and other plain classes of nothing else. Padding, an
/// empty optional or the unused end of a short string keep what lay there before, which may look like an address; numbers,
/// code and plain handles (their object is in the arena) hold none.
template <class A>
inline constexpr bool shows_addresses =
    std::has_unique_object_representations_v<A> && !std::is_empty_v<A> && !std::is_arithmetic_v<A> &&
    !std::is_enum_v<A> && !std::is_base_of_v<handle, A> &&
    !(std::is_pointer_v<A> && std::is_function_v<std::remove_pointer_t<A>>);

template <class F, class... Args>
struct goroutine_block : goroutine_of<body_t<F, kept_t<Args>...>> {
  using R = body_t<F, kept_t<Args>...>;
  using base = goroutine_of<R>;
  union {
    std::tuple<F, Args...> call;
  };

  template <class F2, class... A2>
  goroutine_block(std::uint64_t word, std::uint16_t rt, std::source_location where, F2&& f, A2&&... args)
      : base(&type_of, word, new_goroutine_id(rt), rt, where), call(std::forward<F2>(f), std::forward<A2>(args)...) {
    if constexpr (!std::is_trivially_destructible_v<std::tuple<F, Args...>>) this->bits = g_has_callable;
  }
  ~goroutine_block() {}

  static void start(goroutine_core* g) {
    auto& self = *static_cast<goroutine_block*>(g);
    try {
      if constexpr (is_task<F>) {
        adopt(g, std::move(std::get<0>(self.call)));
      } else {
        using raw = decltype(self.invoke(std::index_sequence_for<Args...>{}));
        constexpr bool gives_task = is_task<std::remove_cvref_t<raw>>;
        if constexpr (gives_task &&
                      !may_make_temporaries<std::remove_reference_t<decltype(callable_in(std::declval<F&>()))>,
                                            kept_t<Args>...>()) {
          adopt(g, self.invoke(std::index_sequence_for<Args...>{}));
        } else if constexpr (gives_task || operation<raw>) {
          adopt(g, self.await_it());
        } else if constexpr (std::is_void_v<raw>) {
          self.invoke(std::index_sequence_for<Args...>{});
          root_finished(g);
        } else if constexpr (std::is_reference_v<raw>) {
          self.value = std::addressof(self.invoke(std::index_sequence_for<Args...>{}));
          root_finished(g);
        } else {
          self.value.emplace(self.invoke(std::index_sequence_for<Args...>{}));
          root_finished(g);
        }
      }
    } catch (...) {
      root_failed(g, std::current_exception());
      root_finished(g);
    }
  }
  static void drop_callable(goroutine_core* g) noexcept { std::destroy_at(&static_cast<goroutine_block*>(g)->call); }
  static void drop_result(goroutine_core* g) noexcept {
    std::destroy_at(static_cast<result_place<R>*>(static_cast<base*>(g)));
  }
  static std::size_t callable_bytes(const goroutine_core* g, const std::byte*& begin) noexcept {
    begin = reinterpret_cast<const std::byte*>(&static_cast<const goroutine_block*>(g)->call);
    return sizeof(std::tuple<F, Args...>);
  }
  static void each_address(const goroutine_core* g, void* to, void (*f)(void*, const std::byte*, std::size_t)) {
    std::apply(
        [&](const auto&... part) {
          auto const look = [&]<class A>(const A& a) {
            if constexpr (shows_addresses<A>) f(to, reinterpret_cast<const std::byte*>(std::addressof(a)), sizeof(A));
          };
          (look(part), ...);
        },
        static_cast<const goroutine_block*>(g)->call);
  }
  static const goroutine_type type_of;

 private:
  template <std::size_t... I>
  decltype(auto) invoke(std::index_sequence<I...>) {
    return std::invoke(std::get<0>(call), kept_argument<Args>::pass(std::get<I + 1>(call))...);
  }
  template <std::size_t I>
  decltype(auto) argument() noexcept {
    return kept_argument<std::tuple_element_t<I, std::tuple<Args...>>>::pass(std::get<I + 1>(call));
  }
  // Called here, and not by std::invoke: what the call makes of the arguments lives as long as what it returns is awaited.
  template <std::size_t... I>
  task<R> await_it(std::index_sequence<I...>) {
    co_return co_await callable_in(std::get<0>(call))(argument<I>()...);
  }
  template <std::size_t... I>
  task<R> await_member(std::index_sequence<0, I...>) {
    co_return co_await (member_owner<F>(argument<0>()).*std::get<0>(call))(argument<I>()...);
  }
  task<R> await_it() {
    if constexpr (std::is_member_function_pointer_v<F>) {
      return await_member(std::index_sequence_for<Args...>{});
    } else {
      return await_it(std::index_sequence_for<Args...>{});
    }
  }
  static void adopt(goroutine_core* g, task<R> t) {
    auto frame = std::move(t).release();
    if (!frame) awaited_empty_task(g->spawned_at);
    promise_base& p = frame.promise();
    p.who = g;
    p.where = g->spawned_at;
    g->leaf = &p;
  }
};
template <class F, class... Args>
const goroutine_type goroutine_block<F, Args...>::type_of = {
    sizeof(goroutine_block), &start,
    &drop_callable,          std::is_trivially_destructible_v<result_place<R>> ? nullptr : &drop_result,
    &callable_bytes,         (shows_addresses<F> || ... || shows_addresses<Args>) ? &each_address : nullptr};

/// Makes a goroutine, not yet started: callable and arguments are moved into its block. Throws std::bad_alloc.
template <class F, class... Args>
auto* make_goroutine(std::uint16_t runtime_index, std::source_location where, F&& f, Args&&... args) {
  using block = goroutine_block<stored_t<F>, stored_t<Args>...>;
  static_assert(alignof(block) <= 16);
  void* memory = arena::allocate(arena::kind::goroutine, sizeof(block));
  auto* before = static_cast<goroutine_core*>(memory);
  // The park word outlives the slot's users: it is read before the constructor writes it again.
  std::uint64_t const word = before->park.load(std::memory_order_relaxed);
  try {
    return new (memory) block(word, runtime_index, where, std::forward<F>(f), std::forward<Args>(args)...);
  } catch (...) {
    before->park.store(next_epoch(word, park_state::free), std::memory_order_release);
    arena::deallocate(arena::kind::goroutine, memory, sizeof(block));
    throw;
  }
}

/// Under join_lock_of(target).
inline void push_joiner(goroutine_core* target, waiter* w) noexcept {
  w->next = target->joiners;
  w->prev = nullptr;
  if (w->next != nullptr) w->next->prev = w;
  target->joiners = w;
  w->queued.store(true, std::memory_order_relaxed);
}
void remove_joiner(goroutine_core* target, waiter*) noexcept;

// --- the handle

template <class T>
class join_wait : public waiter {
 public:
  template <class Op>
  explicit join_wait(Op& op) noexcept : waiter(wait_reason::goroutine_join), target_(op.target_) {
    what = reinterpret_cast<object*>(static_cast<goroutine_core*>(target_));
  }
  bool disabled() const noexcept { return target_ == nullptr; }
  static constexpr const char* empty_message = "join() on an empty goroutine handle: it was moved from";
  spin_lock& lock() noexcept { return join_lock_of(target_); }
  // ORD join-1 acquire: sees the result, and everything the goroutine did.
  bool claim() noexcept { return state_of(target_->park.load(std::memory_order_acquire)) == park_state::done; }
  void complete() const noexcept {}
  void enqueue() noexcept { push_joiner(target_, this); }
  void remove() noexcept { remove_joiner(target_, this); }
  void won() const noexcept {}
  maybe_t<T> result() {
    if (target_->bits & g_failed) std::rethrow_exception(target_->failure);
    bool const completed = (target_->bits & g_completed) != 0;
    if constexpr (std::is_void_v<T>) {
      return completed;
    } else if constexpr (std::is_reference_v<T>) {
      return completed ? maybe_t<T>(*target_->value) : maybe_t<T>();
    } else {
      return completed ? maybe_t<T>(std::move(*target_->value)) : maybe_t<T>();
    }
  }

 private:
  goroutine_of<T>* target_;
};

/// The handle to a goroutine's end and result. May be dropped at any time: the goroutine does not notice.
///
/// Thread safety: one object belongs to one thread at a time.
template <class T>
class goroutine {
 public:
  goroutine() noexcept = default;
  goroutine(goroutine&& o) noexcept : g_(std::exchange(o.g_, nullptr)) {}
  goroutine& operator=(goroutine&& o) noexcept {
    if (this != &o) {
      drop();
      g_ = std::exchange(o.g_, nullptr);
    }
    return *this;
  }
  ~goroutine() { drop(); }

  class [[nodiscard]] join_operation : public operation_base {
   public:
    using wait_type = join_wait<T>;
    using value_type = maybe_t<T>;
    using result_type = maybe_t<T>;

   private:
    friend class goroutine;
    friend class join_wait<T>;
    explicit join_operation(goroutine_of<T>* g) noexcept : target_(g) {}
    [[maybe_unused]] goroutine_of<T>* target_;
  };
  /// Waits until the goroutine has ended.
  ///
  /// Suspends when: it has not. Wait reason: `goroutine join`. Cancellation: first; ends this wait, not the goroutine.
  /// Selectable. Returns: its result, moved out; nullopt (void: false) if it was cancelled or reclaimed. Ordering:
  /// everything it did happens before the return.  Errors: its exception is rethrown; std::logic_error when empty.
  join_operation join() noexcept { return join_operation(g_); }
  /// The id that dumps show; 0: empty.
  std::uint64_t id() const noexcept { return g_ != nullptr ? g_->id : 0; }

  /// For the library.
  const goroutine_core* core() const noexcept { return g_; }
  /// For the library: adopts the handle's reference.
  explicit goroutine(goroutine_of<T>* g) noexcept : g_(g) {}

 private:
  void drop() noexcept {
    if (g_ != nullptr) drop_ref(g_, ref_handle);
  }
  goroutine_of<T>* g_ = nullptr;
};

}  // namespace leash
