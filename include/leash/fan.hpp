// What broadcast and watch share: values that every receiver sees. Their ends, sends and receives.
//
// Such a channel is a chan_core, so waits on it, its ends, their counts and what its values hold look to the leak proof
// as those of any channel. It differs in that each receiver has a place of its own (`fan_receiver::at_`), which only its
// owner changes: a receive that finds a value copies it in the receiver's goroutine, without a lock, and moves on.
//
// A core C (broadcast.hpp, watch.hpp) has
//   value_type, node, place
//   place begin(), place same(place)   under the lock: for a new receiver; for a dup
//   bool ready(place)                  under the lock: there is a value for a receiver at this place
//   optional<T> take(place&)           a copy of that value, and on to the next place; nullopt: there is none
//   void leave(place)                  a receiver is dropped
//   bool reserve()                     under the lock: a value may come
//   void put(T&&)                      it comes; after a reserve
//
// Invariants (under the lock)
//  F1. `receivers` changes under the lock, together with the places.
//  F2. A receiver waits only if ready(its place) is false. Whoever puts a value wakes all that wait.
//  F3. in_transit counts the values that were admitted and have not been put: while there are any, nobody is told the end.
//  F4. A sender that waits was not admitted; whoever makes room admits for it (extra = fan_admitted) as it claims it.
#pragma once
#include <concepts>
#include <leash/channel.hpp>
#include <memory>
#include <optional>
#include <source_location>
#include <utility>

namespace leash {

// waiter::extra of a send, besides chan_nothing and chan_value: it may put its value when it runs
inline constexpr std::uint8_t fan_admitted = 2;

/// A value of a broadcast or watch; in the arena, so that the handles in it are seen.
template <class T>
struct fan_node : chan_node, arena::allocated<arena::kind::frame> {
  std::uint64_t number = 0;  // fixed once it is in the list
  std::uint32_t users = 0;   // under the lock: what keeps it
  bool spent = false;        // under the lock; broadcast: somebody destroys its value, or has
  std::optional<T> value;
};

/// What both cores have.
template <class T>
struct fan_core : chan_core {
  static_assert(std::is_nothrow_move_constructible_v<T>,
                "the values must be nothrow movable (noexcept move constructor)");
  static_assert(std::is_nothrow_destructible_v<T>, "the values must be nothrow destructible");
  static_assert(std::copy_constructible<T>, "each receiver gets a copy: the values must be copyable");
  using value_type = T;
  using node = fan_node<T>;

  fan_core(std::size_t n, chan_kind k, std::source_location where) noexcept
      : chan_core(n, std::is_trivially_destructible_v<T>, where) {
    kind = k;
  }
  ~fan_core() { free_list(first); }
  static void free_list(chan_node* n) noexcept {
    while (n != nullptr) delete static_cast<node*>(std::exchange(n, n->next));
  }
  node* front() const noexcept { return static_cast<node*>(first); }
  node* back() const noexcept { return static_cast<node*>(last); }
  bool drained_end() const noexcept { return in_transit == 0 && ended(); }

  /// Under the lock, around each change of the list.
  void begin_change() noexcept {
    stamp.store(stamp.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);  // as in chan
  }
  void end_change() noexcept { stamp.store(stamp.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

  void close() noexcept {
    goroutine_core* woken = nullptr;
    goroutine_core* failed = nullptr;
    {
      spin_guard guard(lock);
      if (closed.load(std::memory_order_relaxed)) return;
      closed.store(true, std::memory_order_relaxed);
      failed = claim_all(sending);
      if (in_transit == 0) woken = claim_all(receiving);
    }
    schedule_all(failed);
    schedule_all(woken);
  }
  /// True: it was the last one, and the caller must drop the senders' side.
  bool leave_senders() noexcept {
    // Release: what this sender did. Acquire, in the last one: what all did, for the receivers that it wakes.
    if (senders.fetch_sub(1, std::memory_order_acq_rel) != 1) return false;
    goroutine_core* woken = nullptr;
    {
      spin_guard guard(lock);
      woken = claim_all(receiving);  // nothing is in transit: that takes a sender
    }
    schedule_all(woken);
    return true;
  }
  /// Under the lock. By whoever has a sender or a receiver.
  void add_receiver() noexcept {
    if (receivers.fetch_add(1, std::memory_order_relaxed) == 0) sides.fetch_add(1, std::memory_order_relaxed);
  }
};

template <class C>
void drop_side(C* core) noexcept {
  if (core->sides.fetch_sub(1, std::memory_order_acq_rel) == 1) delete core;
}

template <class C>
class fan_receiver;

/// A receive in progress.
template <class C>
class fan_recv_wait : public waiter {
 public:
  static constexpr const char* empty_message =
      "recv() on an empty receiver: it was moved from, dropped, or never got a channel";
  template <class Op>
  explicit fan_recv_wait(Op& op) noexcept : waiter(wait_reason::chan_receive), end_(op.end_) {
    what = end_->core();
  }
  bool disabled() const noexcept { return what == nullptr; }
  spin_lock& lock() noexcept { return core()->lock; }
  bool likely_ready() noexcept {
    spin_guard guard(lock());
    return claim();
  }
  bool claim() noexcept { return core()->ready(end_->at_) || core()->drained_end(); }
  void complete() const noexcept {}
  void enqueue() noexcept { core()->receiving.push(this); }
  void remove() noexcept { core()->receiving.remove(this); }
  void won() const noexcept {}
  std::optional<typename C::value_type> result() { return core()->take(end_->at_); }

 private:
  C* core() const noexcept { return static_cast<C*>(what); }
  fan_receiver<C>* end_;
};

template <class C>
class [[nodiscard]] fan_recv_operation : public operation_base {
 public:
  using wait_type = fan_recv_wait<C>;
  using value_type = std::optional<typename C::value_type>;
  using result_type = value_type;
  explicit fan_recv_operation(fan_receiver<C>* end) noexcept : end_(end) {}

 private:
  friend class fan_recv_wait<C>;
  fan_receiver<C>* end_;
};

/// A send in progress. The value stays where it is until the send wins.
template <class C>
class fan_send_wait : public waiter {
  using T = typename C::value_type;

 public:
  static constexpr const char* empty_message =
      "send() on an empty sender: it was moved from, dropped, or never got a channel";
  template <class Op>
  explicit fan_send_wait(Op& op) noexcept : waiter(wait_reason::chan_send), value_(op.value()) {
    what = op.core_;
  }
  bool disabled() const noexcept { return what == nullptr; }
  spin_lock& lock() noexcept { return core()->lock; }
  bool claim() noexcept {
    if (core()->refused()) return true;  // extra says: no value was taken
    if (!core()->reserve()) return false;
    extra = fan_admitted;
    return true;
  }
  void complete() { won(); }
  void enqueue() noexcept { core()->sending.push(this); }
  void remove() noexcept { core()->sending.remove(this); }
  /// Admitted, by itself or by whoever made room (F4).
  void won() {
    if (extra == fan_admitted) extra = core()->put(std::move(*value_)) ? chan_value : chan_nothing;
  }
  bool result() const noexcept { return extra == chan_value; }

 private:
  C* core() const noexcept { return static_cast<C*>(what); }
  T* value_;
};

/// Value: T*, a value that lies elsewhere, or T, a copy.
template <class C, class Value>
class [[nodiscard]] fan_send_operation : public operation_base {
  using T = typename C::value_type;

 public:
  using wait_type = fan_send_wait<C>;
  using value_type = bool;
  using result_type = bool;
  static constexpr bool must_use = true;
  fan_send_operation(C* core, const Value& v) : core_(core), value_(v) {}

 private:
  friend class fan_send_wait<C>;
  T* value() noexcept {
    if constexpr (std::is_same_v<Value, T*>)
      return value_;
    else
      return std::addressof(value_);
  }
  C* core_;
  Value value_;
};

/// The sending end of a broadcast or watch. Move-only; dup() makes another. Only senders close.
/// Thread safety: as sender.
template <class C>
class fan_sender : handle {
  using T = typename C::value_type;

 public:
  fan_sender() noexcept {}
  fan_sender(fan_sender&& o) noexcept { take(o); }
  fan_sender& operator=(fan_sender&& o) noexcept {
    if (this != &o) {
      drop();
      take(o);
    }
    return *this;
  }
  ~fan_sender() { drop(); }

  /// Gives `value` to every receiver that there is now.
  ///
  /// Suspends when: of a broadcast, its capacity is used up: some receiver has not taken that many values. Of a watch,
  /// never. Wait reason: `chan send`.
  /// Returns: true, every receiver that there was will see it; false, nobody does: closed (the value stays where it
  /// was), or there is no receiver (a watch keeps it as the latest all the same).
  /// Cancellation: first; exactly one of admission, close and cancel wins.
  /// Thread safety and ordering: what is sequenced before send() happens before the return of the recv() that yields the
  /// value. Values of one sender are seen in its order.
  /// Complexity: O(receivers that wait), one node from a per-thread free list, one move of T.
  /// Errors: std::bad_alloc, nothing was sent; std::logic_error on an empty end (in select: a case that never fires).
  fan_send_operation<C, T*> send(T&& value) noexcept { return {core(), std::addressof(value)}; }
  fan_send_operation<C, T> send(const T& value) { return {core(), value}; }
  /// Sends if that is possible at once; full: some receiver of the broadcast lags by its whole capacity. Any thread.
  /// `value` is untouched unless the result is done.
  [[nodiscard]] try_result try_send(T&& value, std::source_location where = std::source_location::current()) {
    fan_send_operation<C, T*> op = send(std::move(value));
    fan_send_wait<C> w(op);
    if (w.disabled()) empty_end("try_send() on an empty sender", where);
    if (!sender<T>::attempt(w)) return try_result::full;
    return w.result() ? try_result::done : try_result::closed;
  }
  [[nodiscard]] try_result try_send(const T& value, std::source_location where = std::source_location::current()) {
    T copy(value);
    return try_send(std::move(copy), where);
  }

  /// Another sender of the same channel. Errors: std::logic_error on an empty end.
  [[nodiscard]] fan_sender dup(std::source_location where = std::source_location::current()) const {
    C* c = core();
    if (c == nullptr) empty_end("dup() of an empty sender", where);
    c->senders.fetch_add(1, std::memory_order_relaxed);
    return fan_sender(c);
  }
  /// A new receiver: of a broadcast, for the values sent from now on; of a watch, the latest value is new to it.
  /// Errors: std::logic_error on an empty end.
  [[nodiscard]] fan_receiver<C> subscribe(std::source_location where = std::source_location::current()) const {
    C* c = core();
    if (c == nullptr) empty_end("subscribe() on an empty sender", where);
    spin_guard guard(c->lock);
    c->add_receiver();
    return fan_receiver<C>(c, c->begin());
  }
  /// How many receivers there are now.
  std::size_t receivers() const noexcept {
    return core() != nullptr ? core()->receivers.load(std::memory_order_relaxed) : 0;
  }
  /// Ends the channel for every sender: receivers take what they have not seen, then see the end. Idempotent.
  void close() noexcept {
    if (C* c = core()) c->close();
  }
  /// Gives this end up. Idempotent.
  void drop() noexcept {
    if (object* o = release(capability::sender))
      if (C* c = static_cast<C*>(o); c->leave_senders()) drop_side(c);
  }
  explicit operator bool() const noexcept { return get() != nullptr; }

  /// For the library: adopts one count.
  explicit fan_sender(C* c) noexcept : handle(c, capability::sender) {}

 private:
  C* core() const noexcept { return static_cast<C*>(get()); }
  void take(fan_sender& o) noexcept {
    if (object* c = o.release(capability::sender)) certify(c, capability::sender);
  }
};

/// The receiving end of a broadcast or watch. Move-only; dup() makes another, which has seen what this one has.
/// Thread safety: one object belongs to one thread at a time; different ends of one channel may be used by any threads
/// at once. Receivers copy one value at the same time: T's copy constructor must allow that.
template <class C>
class fan_receiver : handle {
  using T = typename C::value_type;

 public:
  fan_receiver() noexcept {}
  fan_receiver(fan_receiver&& o) noexcept { take(o); }
  fan_receiver& operator=(fan_receiver&& o) noexcept {
    if (this != &o) {
      drop();
      take(o);
    }
    return *this;
  }
  ~fan_receiver() { drop(); }

  /// The next value that this receiver has not seen: of a broadcast, each in its turn; of a watch, the latest.
  ///
  /// Suspends when: it has seen all, and the channel has not ended. Wait reason: `chan receive`.
  /// Returns: a copy of the value; nullopt, the channel has ended (closed, or no sender is left) and it has seen all.
  /// Cancellation: first; a receive that is cut short has seen nothing.
  /// Thread safety and ordering: see fan_sender::send; what the last sender did before it went happens before the end is
  /// seen. Complexity: O(1), one copy of T.
  /// Errors: what copying throws (the value stays unseen); std::logic_error on an empty end (in select: a case that
  /// never fires).
  fan_recv_operation<C> recv() noexcept { return fan_recv_operation<C>(this); }
  /// Takes a value if there is one that it has not seen. Any thread.
  std::optional<T> try_recv(std::source_location where = std::source_location::current()) {
    fan_recv_operation<C> op = recv();
    fan_recv_wait<C> w(op);
    if (w.disabled()) empty_end("try_recv() on an empty receiver", where);
    if (!sender<T>::attempt(w)) return std::nullopt;
    return w.result();
  }
  /// The latest value, seen or not; it counts as seen then. Of a watch only. Any thread.
  T get(std::source_location where = std::source_location::current())
    requires requires(C& c, typename C::place& p) { c.latest(p); }
  {
    if (core() == nullptr) empty_end("get() on an empty receiver", where);
    return core()->latest(at_);
  }
  /// True once no value will ever come that it has not seen.
  bool ended() const noexcept {
    C* c = core();
    if (c == nullptr) return true;
    spin_guard guard(c->lock);
    return !c->ready(at_) && c->drained_end();
  }
  /// How many values it has not seen: how far it lags behind.
  std::size_t len() const noexcept {
    C* c = core();
    if (c == nullptr) return 0;
    spin_guard guard(c->lock);
    return c->behind(at_);
  }
  std::size_t capacity() const noexcept { return core() != nullptr ? core()->capacity : 0; }
  /// Another receiver of the same channel. Errors: std::logic_error on an empty end.
  [[nodiscard]] fan_receiver dup(std::source_location where = std::source_location::current()) const {
    C* c = core();
    if (c == nullptr) empty_end("dup() of an empty receiver", where);
    spin_guard guard(c->lock);
    c->add_receiver();
    return fan_receiver(c, c->same(at_));
  }
  /// Gives this end up: without any, sends say that nobody receives. Idempotent.
  void drop() noexcept {
    if (object* o = release(capability::receiver)) static_cast<C*>(o)->leave(at_);
  }
  explicit operator bool() const noexcept { return handle::get() != nullptr; }

  /// For the library: adopts one count.
  fan_receiver(C* c, typename C::place at) noexcept : handle(c, capability::receiver), at_(at) {}

 private:
  friend class fan_recv_wait<C>;
  C* core() const noexcept { return static_cast<C*>(handle::get()); }
  void take(fan_receiver& o) noexcept {
    at_ = o.at_;
    if (object* c = o.release(capability::receiver)) certify(c, capability::receiver);
  }
  typename C::place at_{};
};

}  // namespace leash
