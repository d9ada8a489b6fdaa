// select: waits for the first of several operations.
//
// All locks are taken in the order of their addresses, so that checking every case and standing in every queue is one
// step; they are given back in reverse, the first one last: a goroutine that was claimed meanwhile starts by leaving
// the queues, needs the first lock for it, and so cannot touch the frame while it is still read here. One claim
// (goroutine.hpp, G1) decides between wakers, timers and cancellation.
//
// Rejected: entering one queue after the other, each with its own check. It needs a second park state in which the
// goroutine is half in, and a waker can win before all queues were seen.
//
// Cases are looked at in random order, so that none is a favourite: first by hints without locks, which is enough when
// one is ready; if nothing is found, under all locks.
//
// One file: the core and the operations on it are templates over the same cases, and nobody includes one without the other.
#pragma once
#include <array>
#include <concepts>
#include <cstddef>
#include <leash/channel.hpp>
#include <leash/task.hpp>
#include <leash/wait.hpp>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace leash {

/// Random bits for choosing.
std::uint64_t choice_bits() noexcept;

/// The cases of a select whose number is known: `with(i, f)` calls f on the i-th wait.
template <class... Ops>
class case_tuple {
 public:
  static constexpr std::size_t count = sizeof...(Ops);
  explicit case_tuple(Ops&... ops) : waits_(ops...) {}
  static constexpr std::size_t size() noexcept { return count; }
  template <class F>
  LEASH_INLINE decltype(auto) with(std::size_t i, F&& f) {
    return pick<0>(i, std::forward<F>(f));
  }
  template <std::size_t I>
  auto& get() noexcept {
    return std::get<I>(waits_);
  }

 private:
  template <std::size_t I, class F>
  LEASH_INLINE auto pick(std::size_t i, F&& f) {
    if constexpr (I + 1 == count) {
      return f(std::get<I>(waits_));
    } else {
      if (i == I) return f(std::get<I>(waits_));
      return pick<I + 1>(i, std::forward<F>(f));
    }
  }
  std::tuple<typename Ops::wait_type...> waits_;
};

/// Raw memory for n objects. In the arena: the leak marker reads the waits of parked goroutines.
template <class T>
class arena_array {
 public:
  explicit arena_array(std::size_t n)
      : bytes_(n * sizeof(T) + (alignof(T) > 16 ? alignof(T) : 0)),
        memory_(arena::allocate(arena::kind::frame, bytes_)) {
    auto const at = reinterpret_cast<std::uintptr_t>(memory_);
    data_ = reinterpret_cast<T*>((at + alignof(T) - 1) / alignof(T) * alignof(T));
  }
  arena_array(arena_array&&) = delete;
  ~arena_array() { arena::deallocate(arena::kind::frame, memory_, bytes_); }
  T* data() const noexcept { return data_; }

 private:
  std::size_t bytes_;
  void* memory_;
  T* data_;
};

/// The cases of a select over a span of receivers.
template <class T>
class case_array {
 public:
  explicit case_array(std::span<receiver<T>> ends) : size_(checked(ends.size())), waits_(size_) {
    for (std::size_t i = 0; i < size_; ++i) {
      recv_operation<T> op = ends[i].recv();
      ::new (static_cast<void*>(waits_.data() + i)) recv_wait<T>(op);
    }
  }
  ~case_array() { std::destroy_n(waits_.data(), size_); }
  std::size_t size() const noexcept { return size_; }
  template <class F>
  decltype(auto) with(std::size_t i, F&& f) {
    return f(waits_.data()[i]);
  }

 private:
  static std::size_t checked(std::size_t n) {
    if (n > 65'535) throw std::length_error("select over more than 65535 receivers");
    return n;
  }
  std::size_t size_;
  arena_array<recv_wait<T>> waits_;
};

/// A small T for each case: in place if their number is known.
template <class T, class Cases>
class per_case {
 public:
  explicit per_case(std::size_t n) : data_(n) {}
  T& operator[](std::size_t i) noexcept { return data_.data()[i]; }
  T* begin() noexcept { return data_.data(); }

 private:
  static_assert(std::is_trivial_v<T>);
  template <class C>
  struct storage : arena_array<T> {
    using arena_array<T>::arena_array;
  };
  template <class C>
    requires requires { C::count; }
  struct storage<C> {
    T items[C::count == 0 ? 1 : C::count];  // not initialised
    explicit storage(std::size_t) noexcept {}
    T* data() noexcept { return items; }
  };
  storage<Cases> data_;
};

/// The wait over all cases; what it gives is up to the operation built on it.
template <class Cases>
class select_core {
 public:
  template <class... A>
  explicit select_core(A&&... a) : cases_(std::forward<A>(a)...), list_(cases_.size()) {}
  select_core(select_core&&) = delete;
  ~select_core() {
    if (entered_) leave(no_case);
  }

  void begin(goroutine_core* g) noexcept {
    g_ = g;
    for (std::size_t i = 0; i < cases_.size(); ++i)
      cases_.with(i, [&](auto& w) {
        w.who = g;
        return 0;
      });
  }
  bool ready() {
    if (context_ended(g_)) [[unlikely]] {
      // A wait for a context's end comes before the cut by the same end.
      for (std::size_t i = 0; i < cases_.size(); ++i)
        if (cases_.with(i, []<class W>(W& w) { return requires { W::outlives_context; } && attempt(w); })) {
          winner_ = i;
          return within_budget(g_);
        }
      cut_ = true;
      return false;
    }
    if (poll()) return within_budget(g_);
    return false;
  }
  /// Tries each case once, in random order, without waiting.
  bool poll() {
    std::size_t const n = cases_.size();
    if (n == 0) return false;
    per_case<std::uint16_t, Cases> order(n);
    if (worker* w = this_worker; w != nullptr && w->rt->sim != nullptr) [[unlikely]]
      return poll_simulated(*w->rt->sim, order);
    // Mostly the first one that is looked at is ready: the order of the others is not drawn before that.
    std::uint64_t const bits = choice_bits();
    std::size_t const first = static_cast<std::size_t>(((bits & 0xffffffff) * n) >> 32);
    if (cases_.with(first, [](auto& w) { return attempt(w); })) {
      winner_ = first;
      return true;
    }
    shuffle(order, n, bits);
    for (std::size_t k = 0; k < n; ++k) {
      if (order[k] != first && cases_.with(order[k], [](auto& w) { return attempt(w); })) {
        winner_ = order[k];
        return true;
      }
    }
    return false;
  }
  /// Parks, or completes after all. Called in await_suspend.
  bool park() LEASH_TSA(no_thread_safety_analysis) {
    if (winner_ != no_case) {
      yield_here();
      return true;
    }
    if (cut_) {
      unwind_here();
      return true;
    }
    std::size_t const n = cases_.size();
    per_case<spin_lock*, Cases> locks(n);
    std::size_t used = 0;
    for (std::size_t i = 0; i < n; ++i) {
      spin_lock* l = cases_.with(i, [](auto& w) { return enabled(w) ? &w.lock() : nullptr; });
      if (l == nullptr) continue;
      std::size_t at = used++;
      for (; at > 0 && std::less<>{}(l, locks[at - 1]); --at) locks[at] = locks[at - 1];
      locks[at] = l;
    }
    for (std::size_t i = 0; i < used; ++i)
      if (i == 0 || locks[i] != locks[i - 1]) locks[i]->lock();
    per_case<std::uint16_t, Cases> order(n);
    shuffle(order, n, choice_bits());
    for (std::size_t k = 0; k < n; ++k) {
      if (cases_.with(order[k], [](auto& w) { return enabled(w) && w.claim(); })) {
        winner_ = order[k];
        unlock_all(locks, used);
        cases_.with(winner_, [](auto& w) {
          w.complete();
          return 0;
        });
        return await_others();
      }
    }
    for (std::size_t i = 0; i < n; ++i)
      cases_.with(i, [&](auto& w) {
        w.index = static_cast<std::uint16_t>(i);
        list_[i] = &w;
        if (enabled(w)) w.enqueue();
        return 0;
      });
    // From the last unlock on the frame may be gone; unlock_all reads what it needs before that.
    goroutine_core* g = g_;
    entered_ = parked_ = true;
    bool const parked = n == 1 ? publish_parked(g, list_[0], 1, park_state::parked)
                               : publish_parked(g, reinterpret_cast<waiter*>(list_.begin()),
                                                static_cast<std::uint16_t>(n), park_state::parked);
    unlock_all(locks, used);
    if (!parked) hand_over_cut(g);
    return true;
  }
  /// Back in the goroutine: the case that won.
  std::size_t finish() {
    if (parked_) {
      parked_ = false;
      winner_ = g_->winner;
      leave(winner_);
      cases_.with(winner_, [](auto& w) {
        w.won();
        return 0;
      });
    }
    return winner_;
  }
  Cases& cases() noexcept { return cases_; }
  std::size_t winner() const noexcept { return winner_; }

 private:
  static constexpr std::size_t no_case = static_cast<std::size_t>(-1);

  /// A case won, while operations outside run for others: the worker settles those before the goroutine goes on.
  bool await_others() {
    bool outside = false;
    for (std::size_t i = 0; i < cases_.size(); ++i)
      cases_.with(i, [&]<class W>(W& w) {
        if constexpr (requires { W::runs_outside; }) outside = true;
        w.index = static_cast<std::uint16_t>(i);
        list_[i] = &w;
        return 0;
      });
    if (!outside || cases_.size() == 1) return false;
    g_->wait = reinterpret_cast<waiter*>(list_.begin());
    g_->wait_count = static_cast<std::uint16_t>(cases_.size());
    g_->winner = static_cast<std::uint16_t>(winner_);
    g_->bits |= g_retry;
    yield_here();
    return true;
  }

  template <class W>
  LEASH_INLINE static bool enabled(W& w) noexcept {
    if constexpr (requires { w.disabled(); })
      return !w.disabled();
    else
      return true;
  }
  template <class W>
  static bool attempt(W& w) LEASH_TSA(no_thread_safety_analysis) {
    if (!enabled(w)) return false;
    if constexpr (requires { w.likely_ready(); }) {
      if (!w.likely_ready()) return false;
    }
    if constexpr (requires { w.fast(); }) {
      if (w.fast()) return true;
    }
    if constexpr (requires { W::runs_outside; }) return false;  // what is outside starts only when nothing is ready
    spin_lock& l = w.lock();
    l.lock();
    bool const now = w.claim();
    l.unlock();
    if (now) w.complete();
    return now;
  }
  // The schedule chooses among those that seem to be ready, one after the other.
  template <class Order>
  LEASH_NOINLINE bool poll_simulated(simulation& s, Order& order) {
    std::size_t left = 0;
    for (std::size_t i = 0; i < cases_.size(); ++i)
      if (cases_.with(i, [](auto& w) { return may_be_ready(w); })) order[left++] = static_cast<std::uint16_t>(i);
    while (left > 0) {
      std::size_t const k = left == 1 ? 0 : s.choose_case(left);
      std::uint16_t const i = order[k];
      if (cases_.with(i, [](auto& w) { return attempt(w); })) {
        winner_ = i;
        return true;
      }
      for (std::size_t j = k + 1; j < left; ++j) order[j - 1] = order[j];
      --left;
    }
    return false;
  }
  template <class W>
  static bool may_be_ready(W& w) {
    if (!enabled(w)) return false;
    if constexpr (requires { w.likely_ready(); })
      return w.likely_ready();
    else
      return true;
  }
  template <class Order>
  static void shuffle(Order& order, std::size_t n, std::uint64_t bits) noexcept {
    for (std::size_t i = 0; i < n; ++i) {
      bits = bits * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
      bits ^= bits >> 33;
      // i-th of a random permutation, built from the inside out. 2^-32 of bias for each of these.
      std::size_t const j = static_cast<std::size_t>(((bits & 0xffffffff) * (i + 1)) >> 32);
      order[i] = order[j];
      order[j] = static_cast<std::uint16_t>(i);
    }
  }
  template <class Locks>
  static void unlock_all(Locks& locks, std::size_t used) noexcept LEASH_TSA(no_thread_safety_analysis) {
    while (used-- > 0)
      if (used == 0 || locks[used] != locks[used - 1]) locks[used]->unlock();
  }
  void leave(std::size_t except) noexcept LEASH_TSA(no_thread_safety_analysis) {
    for (std::size_t i = 0; i < cases_.size(); ++i) {
      if (i == except) continue;
      cases_.with(i, [](auto& w) LEASH_TSA(no_thread_safety_analysis) {
        // ORD waiter-1 acquire: whoever took it out of the queue is done with it.
        if (w.queued.load(std::memory_order_acquire)) {
          spin_lock& l = w.lock();
          l.lock();
          w.remove();
          l.unlock();
        }
        return 0;
      });
    }
  }

  Cases cases_;
  per_case<waiter*, Cases> list_;
  goroutine_core* g_ = nullptr;
  std::size_t winner_ = no_case;
  bool cut_ = false;
  bool parked_ = false;
  bool entered_ = false;  // it has stood in queues
};

template <class Op>
using select_value_t = typename std::remove_cvref_t<Op>::value_type;

template <class Cases, class R>
class select_base : public operation_base {
 public:
  using leash_awaiter = void;
  using result_type = R;
  template <class... A>
  explicit select_base(bool used, A&&... a) : core_(std::forward<A>(a)...), used_before_(used) {}
  void adopt(promise_base& p) {
    if (used_before_) awaited_twice(p.where);
    consume(p.where);
    core_.begin(p.who);
  }
  bool await_ready() { return core_.ready(); }
  template <class P>
  bool await_suspend(std::coroutine_handle<P>) {
    return core_.park();
  }

 protected:
  select_core<Cases> core_;

 private:
  bool used_before_;
};

/// True if one of them was awaited before; marks them all.
template <class... Ops>
bool consume_all(Ops&... ops) {
  return (ops.mark_used() | ...);
}

template <class... Ops>
class [[nodiscard]] select_operation
    : public select_base<case_tuple<Ops...>, std::variant<typename Ops::value_type...>> {
  using base = select_base<case_tuple<Ops...>, std::variant<typename Ops::value_type...>>;

 public:
  using result = std::variant<typename Ops::value_type...>;
  explicit select_operation(Ops&... ops) : base(consume_all(ops...), ops...) {}
  result await_resume() {
    this->core_.finish();
    return take();
  }
  std::optional<result> try_now() {
    if (!this->core_.poll()) return std::nullopt;
    return take();
  }

 private:
  result take() { return take_from(std::index_sequence_for<Ops...>{}); }
  template <std::size_t... I>
  result take_from(std::index_sequence<I...>) {
    using maker = result (*)(select_operation&);
    static constexpr maker makers[] = {+[](select_operation& s) -> result {
      return result(std::in_place_index<I>, s.core_.cases().template get<I>().result());
    }...};
    return makers[this->core_.winner()](*this);
  }
};

/// Waits until one of the operations can complete, and completes that one and no other.
///
/// Parameters: operations (rvalues): recv, send, send_or, lock, lock_shared, acquire, wait, join, next, done, sleep,
/// I/O, forever (never fires). Suspends when: none can complete. Wait reason: `select`. An operation on an empty end is a case that never
/// fires. Returns: a variant of all results (void: std::monostate) whose index says which one completed. Cancellation:
/// first, but for a done() case whose context has ended, which completes. A losing send leaves its value
///   where it was; no value is taken but the winner's.
/// Fairness: uniform among the cases that are ready (simulated: as the schedule says).  Complexity: linear in the cases, plus sorting their locks.
template <selectable... Ops>
  requires(sizeof...(Ops) > 0)
select_operation<std::remove_cvref_t<Ops>...> select(Ops&&... ops) {
  static_assert((!std::is_lvalue_reference_v<Ops> && ...), "operations are given to select as rvalues");
  return select_operation<std::remove_cvref_t<Ops>...>(ops...);
}

/// As select, without waiting: nullopt if no case is ready. Not a wait: cancellation is not looked at. Any thread.
template <selectable... Ops>
  requires(sizeof...(Ops) > 0)
[[nodiscard]] std::optional<std::variant<select_value_t<Ops>...>> try_select(Ops&&... ops) {
  select_operation<std::remove_cvref_t<Ops>...> s(ops...);
  return s.try_now();
}

/// What a receiver of a span gave.
template <class T>
struct indexed {
  std::size_t index;
  std::optional<T> value;
};

template <class T>
class [[nodiscard]] select_span_operation : public select_base<case_array<T>, indexed<T>> {
 public:
  explicit select_span_operation(std::span<receiver<T>> ends) : select_base<case_array<T>, indexed<T>>(false, ends) {}
  indexed<T> await_resume() {
    std::size_t const i = this->core_.finish();
    return {i, this->core_.cases().with(i, [](auto& w) { return w.result(); })};
  }
};
/// Receives from the first of many that has something. Errors: std::bad_alloc. Else as select.
template <class T>
select_span_operation<T> select(std::span<receiver<T>> ends) {
  return select_span_operation<T>(ends);
}
template <class T>
select_span_operation<T> select(std::vector<receiver<T>>& ends) {
  return select_span_operation<T>(std::span<receiver<T>>(ends));
}

// --- handlers

template <class Op, class H>
struct [[nodiscard]] on_case {
  using operation_type = std::remove_cvref_t<Op>;
  using value = typename operation_type::value_type;
  static constexpr bool no_value = std::is_same_v<value, std::monostate>;
  static decltype(auto) call(H& h, value&& v) {
    if constexpr (no_value && std::invocable<H&>) {
      (void)v;
      return std::invoke(h);
    } else {
      return std::invoke(h, std::move(v));
    }
  }
  using raw = decltype(call(std::declval<H&>(), std::declval<value&&>()));
  static constexpr bool waits = is_task<std::remove_cvref_t<raw>>;
  using result = typename value_of_task<std::remove_cvref_t<raw>>::type;

  operation_type& op;
  H& handler;
  on_case(operation_type& o, H& h) noexcept : op(o), handler(h) {}
  on_case(on_case&&) = delete;
};

/// A case of select with what to do when it wins: a callable that takes the result, or nothing if there is none, and
/// may return a task<>.
template <selectable Op, class H>
on_case<std::remove_cvref_t<Op>, std::remove_reference_t<H>> on(Op&& op, H&& handler) {
  return on_case<std::remove_cvref_t<Op>, std::remove_reference_t<H>>(op, handler);
}

template <class R, class Seq, class... Case>
class [[nodiscard]] select_on_operation;
template <class R, std::size_t... I, class... Case>
class [[nodiscard]] select_on_operation<R, std::index_sequence<I...>, Case...>
    : public select_base<case_tuple<typename Case::operation_type...>, R> {
 public:
  explicit select_on_operation(Case&... c)
      : select_base<case_tuple<typename Case::operation_type...>, R>(consume_all(c.op...), c.op...), cases_(c...) {}
  R await_resume() {
    using call = R (*)(select_on_operation&);
    static constexpr call calls[] = {+[](select_on_operation& s) -> R {
      auto& c = std::get<I>(s.cases_);
      if constexpr (std::is_void_v<R>) {
        (void)std::remove_cvref_t<decltype(c)>::call(c.handler, s.core_.cases().template get<I>().result());
      } else {
        return std::remove_cvref_t<decltype(c)>::call(c.handler, s.core_.cases().template get<I>().result());
      }
    }...};
    return calls[this->core_.finish()](*this);
  }

 private:
  std::tuple<Case&...> cases_;
};

template <class R, class... Case>
task<R> select_on_task(Case&... cases) {
  auto won = co_await select(static_cast<typename Case::operation_type&&>(cases.op)...);
  std::tuple<Case&...> all(cases...);
  // One branch a case; only the winner's is taken.
  if constexpr (std::is_void_v<R>) {
    auto run = [&]<std::size_t I>(std::integral_constant<std::size_t, I>) -> task<> {
      using C = std::remove_cvref_t<std::tuple_element_t<I, std::tuple<Case&...>>>;
      auto& c = std::get<I>(all);
      if constexpr (C::waits) {
        co_await C::call(c.handler, std::get<I>(std::move(won)));
      } else {
        (void)C::call(c.handler, std::get<I>(std::move(won)));
        co_return;
      }
    };
    co_await [&]<std::size_t... I>(std::index_sequence<I...>) -> task<> {
      task<> (*starters[])(decltype(run)&) = {
          +[](decltype(run)& r) { return r(std::integral_constant<std::size_t, I>{}); }...};
      return starters[won.index()](run);
    }(std::index_sequence_for<Case...>{});
  } else {
    auto run = [&]<std::size_t I>(std::integral_constant<std::size_t, I>) -> task<R> {
      using C = std::remove_cvref_t<std::tuple_element_t<I, std::tuple<Case&...>>>;
      auto& c = std::get<I>(all);
      if constexpr (C::waits) {
        co_return co_await C::call(c.handler, std::get<I>(std::move(won)));
      } else {
        co_return C::call(c.handler, std::get<I>(std::move(won)));
      }
    };
    co_return co_await [&]<std::size_t... I>(std::index_sequence<I...>) -> task<R> {
      task<R> (*starters[])(decltype(run)&) = {
          +[](decltype(run)& r) { return r(std::integral_constant<std::size_t, I>{}); }...};
      return starters[won.index()](run);
    }(std::index_sequence_for<Case...>{});
  }
}

template <class... Result>
struct common_result {
  using type = std::common_type_t<Result...>;
};
template <class... Result>
  requires(std::is_void_v<Result> || ...)
struct common_result<Result...> {
  using type = void;
};

/// select whose winner's result goes to its handler; gives the handlers' common result.
template <class... Op, class... H>
  requires(sizeof...(Op) > 0)
auto select(on_case<Op, H>&&... cases) {
  using R = typename common_result<typename on_case<Op, H>::result...>::type;
  if constexpr ((on_case<Op, H>::waits || ...)) {
    return select_on_task<R>(cases...);
  } else {
    return select_on_operation<R, std::index_sequence_for<Op...>, on_case<Op, H>...>(cases...);
  }
}

// --- what is no case

/// To say in words what select refuses.
#define LEASH_NOT_SELECTABLE                                                                          \
  "this operation is no case of a select: yield() is always ready, and what blocking(f), select and " \
  "others have begun cannot be taken back; start it with go() and select on the goroutine's join()"
template <class... Ops>
  requires(sizeof...(Ops) > 0 && (operation<Ops> && ...) && !(selectable<Ops> && ...))
auto select(Ops&&...) {
  static_assert((selectable<Ops> && ...), LEASH_NOT_SELECTABLE);
}
template <operation Op, class H>
  requires(!selectable<Op>)
auto on(Op&&, H&&) {
  static_assert(selectable<Op>, LEASH_NOT_SELECTABLE);
}

#undef LEASH_NOT_SELECTABLE

/// The case of a select that never fires.
class never_wait : public waiter {
 public:
  explicit never_wait(operation_base&) noexcept : waiter(wait_reason::forever) {}
  static constexpr bool disabled() noexcept { return true; }
  spin_lock& lock() const noexcept { __builtin_unreachable(); }
  bool claim() const noexcept { return false; }
  void complete() const noexcept {}
  void enqueue() const noexcept {}
  void remove() const noexcept {}
  void won() const noexcept {}
  std::monostate result() const noexcept { return {}; }
};

/// Waits for nothing: only cancellation ends it. Wait reason: `select (no cases)`. Selectable: a case that never fires.
class [[nodiscard]] forever_operation : public operation_base {
 public:
  using leash_awaiter = void;
  using wait_type = never_wait;
  using value_type = std::monostate;
  using result_type = void;
  forever_operation() noexcept : waiter_(wait_reason::forever) {}
  void adopt(promise_base& p) {
    consume(p.where);
    waiter_.who = p.who;
  }
  bool await_ready() const noexcept { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P>) noexcept {
    goroutine_core* g = waiter_.who;
    if (context_ended(g)) {
      unwind_here();
    } else if (!publish_parked(g, &waiter_, 1, park_state::parked)) {
      hand_over_cut(g);
    }
  }
  void await_resume() const noexcept {}

 private:
  waiter waiter_;
};
inline forever_operation forever() noexcept { return {}; }

}  // namespace leash
