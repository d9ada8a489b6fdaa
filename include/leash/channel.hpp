// Channels: two move-only ends, counted.
//
// A channel is full of small decisions under one small lock: who is there, what is buffered, who waits. No user code (a
// move, a destructor) runs under it. Values that can be copied as bytes are copied under the lock; others move in two
// steps: the decision under the lock reserves (a partner that was claimed, a place in the buffer), the move comes after
// it, and a value on its way into the buffer is counted as in transit until it has arrived.
//
//   end          what the last one's death does
//   sender       receivers drain the buffer, then see the end
//   receiver     senders fail at once; what is buffered is destroyed
//
// The file is long because the two waits, four operations and two ends of a channel are templates over its values that
// know each other's insides; the rooms below know none of them.
//
// Invariants (under the lock)
//  K1. Receivers wait only if nothing is buffered and no sender waits, or all that is buffered is still in transit.
//  K2. Senders wait only if used == capacity, or capacity is 0.
//  K3. used = buffered + in_transit <= capacity.
//  K4. Closed, or without senders: no receiver stays parked once in_transit is 0. Without receivers: no sender stays
//  parked.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstring>
#include <leash/handle.hpp>
#include <leash/task.hpp>
#include <leash/wait.hpp>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

namespace leash {

struct unbounded_t {
  explicit unbounded_t() = default;
};
inline constexpr unbounded_t unbounded{};

enum class try_result : std::uint8_t { done, full, closed };

/// What a value in a buffer is there for.
enum class chan_kind : std::uint8_t {
  queue,      // one receiver takes it
  broadcast,  // each receiver takes it: that there is one does not serve who waits for the next
  watch,      // as broadcast, and the next send destroys it
};

/// A value in the buffer that is not plain, or whose buffer has no bound; the value follows.
struct chan_node {
  chan_node* next = nullptr;
};

/// There are channels whose values may hold handles, so that passes look into their buffers.
extern std::atomic<bool> any_deep_channel;
LEASH_INLINE void note_deep_channel() noexcept {
  if (!any_deep_channel.load(std::memory_order_relaxed)) any_deep_channel.store(true, std::memory_order_relaxed);
}

struct chan_core : object {
  std::atomic<std::uint32_t> senders{1}, receivers{1};
  std::atomic<std::uint32_t> sides{2};  // the channel lives until both are gone
  spin_lock lock;
  std::atomic<bool> closed{false};    // written under the lock, as all below
  bool single = false;                // fixed: the first value that is taken closes the channel
  chan_kind kind = chan_kind::queue;  // fixed
  std::uint32_t in_transit = 0;
  std::size_t capacity;
  std::atomic<std::size_t> buffered{0};  // written under the lock
  wait_queue receiving, sending;
  chan_node* first = nullptr;
  chan_node* last = nullptr;
  // Of the list, which the leak marker reads without the lock: odd while it is changed, then the next even number.
  std::atomic<std::uint32_t> stamp{0};

  /// holds_nothing: no handle can lie in its values.
  chan_core(std::size_t n, bool holds_nothing, std::source_location where) noexcept
      : object(object_type::channel, where), capacity(n) {
    plain = holds_nothing;
    if (holds_nothing) return;
    gave_up.leave();  // in this pass the slot may have been another channel's, whose list was read
    note_deep_channel();
  }
  // Nor does the list look unchanged while the next channel is being made here.
  ~chan_core() { stamp.store(stamp.load(std::memory_order_relaxed) | 1, std::memory_order_relaxed); }
  /// No value will come any more. Acquire: what the last sender did before it went.
  bool ended() const noexcept {
    return closed.load(std::memory_order_relaxed) || senders.load(std::memory_order_acquire) == 0;
  }
  bool refused() const noexcept {
    return closed.load(std::memory_order_relaxed) || receivers.load(std::memory_order_acquire) == 0;
  }
};

[[noreturn]] LEASH_COLD void empty_end(const char* what, std::source_location where);

// waiter::extra of a wait on a channel: what came of it
inline constexpr std::uint8_t chan_nothing = 0, chan_value = 1;

template <class T>
class recv_wait;
template <class T>
class send_wait;

template <class T>
struct chan : chan_core {
  static_assert(std::is_nothrow_move_constructible_v<T>,
                "a channel's values must be nothrow movable (noexcept move constructor)");
  static_assert(std::is_nothrow_destructible_v<T>, "a channel's values must be nothrow destructible");
  static constexpr bool plain =
      std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T> && sizeof(T) <= 64;

  struct node : chan_node, arena::allocated<arena::kind::frame> {
    T value;
    explicit node(T&& v) noexcept : value(std::move(v)) {}
  };
  struct cell {
    alignas(T) std::byte bytes[sizeof(T)];
  };

  std::unique_ptr<cell[]> ring;  // plain and bounded
  std::size_t head = 0;          // of the ring: the next to take

  chan(std::size_t n, bool bounded, std::source_location where)
      : chan_core(n, std::is_trivially_destructible_v<T>, where) {
    if (plain && bounded && n != 0) ring.reset(new cell[n]);
  }
  ~chan() { free_list(first); }
  static void free_list(chan_node* n) noexcept {
    while (n != nullptr) delete static_cast<node*>(std::exchange(n, n->next));
  }

  bool in_ring() const noexcept { return plain && ring != nullptr; }
  std::size_t used() const noexcept { return buffered.load(std::memory_order_relaxed) + in_transit; }

  LEASH_INLINE void ring_push(const T& v) noexcept {
    std::size_t const n = buffered.load(std::memory_order_relaxed);
    std::size_t at = head + n;
    if (at >= capacity) at -= capacity;
    std::memcpy(ring[at].bytes, std::addressof(v), sizeof(T));
    buffered.store(n + 1, std::memory_order_relaxed);
  }
  LEASH_INLINE void ring_pop(std::byte* to) noexcept {
    std::memcpy(to, ring[head].bytes, sizeof(T));
    if (++head == capacity) head = 0;
    buffered.store(buffered.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  }
  /// Under the lock, around each change of the list.
  void begin_change() noexcept {
    stamp.store(stamp.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);  // who sees some of the change sees this stamp, or a later one
  }
  void end_change() noexcept { stamp.store(stamp.load(std::memory_order_relaxed) + 1, std::memory_order_release); }
  void list_push(node* n) noexcept {
    begin_change();
    n->next = nullptr;
    (last != nullptr ? last->next : first) = n;
    last = n;
    end_change();
    buffered.store(buffered.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  node* list_pop() noexcept {
    auto* n = static_cast<node*>(first);
    if (n == nullptr) return nullptr;
    begin_change();
    first = n->next;
    if (first == nullptr) last = nullptr;
    end_change();
    buffered.store(buffered.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    return n;
  }

  /// A value arrives that was in transit: to a receiver that waits, or into the buffer.
  void arrive(node* n) noexcept {
    goroutine_core* woken = nullptr;
    goroutine_core* ended_ones = nullptr;
    recv_wait<T>* to = nullptr;
    node* dead = nullptr;
    {
      spin_guard guard(lock);
      --in_transit;
      if (receivers.load(std::memory_order_acquire) == 0) {
        dead = n;
      } else if (waiter* w = receiving.claim_first()) {
        to = static_cast<recv_wait<T>*>(w);
        woken = w->who;
      } else {
        list_push(n);
      }
      if (in_transit == 0 && buffered.load(std::memory_order_relaxed) == 0 && ended())
        ended_ones = claim_all(receiving);
    }
    if (to != nullptr) {
      to->put(std::move(n->value));
      dead = n;
      schedule(woken);
    }
    delete dead;
    schedule_all(ended_ones);
  }

  void close() noexcept {
    goroutine_core* woken = nullptr;
    goroutine_core* failed = nullptr;
    {
      spin_guard guard(lock);
      if (closed.load(std::memory_order_relaxed)) return;
      closed.store(true, std::memory_order_relaxed);
      failed = claim_all(sending);
      if (used() == 0) woken = claim_all(receiving);
    }
    schedule_all(failed);
    schedule_all(woken);
  }
  void drop_sender() noexcept {
    // Release: what this sender did. Acquire, in the last one: what all did, for the receivers that it wakes.
    if (senders.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      goroutine_core* woken = nullptr;
      {
        spin_guard guard(lock);
        if (used() == 0) woken = claim_all(receiving);
      }
      schedule_all(woken);
      drop_side();
    }
  }
  void drop_receiver() noexcept {
    if (receivers.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      goroutine_core* failed = nullptr;
      chan_node* rest = nullptr;
      {
        spin_guard guard(lock);
        failed = claim_all(sending);
        begin_change();
        rest = first;
        first = last = nullptr;
        end_change();
        buffered.store(0, std::memory_order_relaxed);
      }
      schedule_all(failed);
      free_list(rest);
      drop_side();
    }
  }
  void drop_side() noexcept {
    if (sides.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
};

/// A receive in progress. The value, once there, lies in the waiting frame.
template <class T>
class recv_wait : public waiter {
  using channel_type = chan<T>;
  using node = typename channel_type::node;

 public:
  static constexpr const char* empty_message =
      "recv() on an empty receiver: it was moved from, dropped, or never got a channel";

  template <class Op>
  explicit recv_wait(Op& op) noexcept : waiter(wait_reason::chan_receive) {
    what = op.channel_;
  }
  ~recv_wait() {
    if (extra == chan_value) value()->~T();  // arrived, but its frame is being destroyed
  }
  bool disabled() const noexcept { return what == nullptr; }
  LEASH_INLINE spin_lock& lock() noexcept { return channel()->lock; }
  /// A hint without the lock, for select.
  LEASH_INLINE bool likely_ready() const noexcept {
    channel_type& c = *channel();
    return c.buffered.load(std::memory_order_relaxed) != 0 || !c.sending.empty() || c.ended();
  }

  /// The usual case on its own: a value is there, and nobody waits for its place.
  LEASH_INLINE bool fast() noexcept
    requires channel_type::plain
  {
    channel_type& c = *channel();
    if (c.buffered.load(std::memory_order_relaxed) == 0 || c.ring == nullptr) return false;
    spin_guard guard(c.lock);
    if (c.buffered.load(std::memory_order_relaxed) == 0 || !c.sending.empty()) return false;
    c.ring_pop(place_);
    extra = chan_value;
    return true;
  }
  LEASH_INLINE bool claim() noexcept {
    channel_type& c = *channel();
    partner_ = nullptr;
    taken_ = nullptr;
    if constexpr (channel_type::plain) {
      if (c.ring != nullptr) {
        if (c.buffered.load(std::memory_order_relaxed) == 0) return c.ended();
        c.ring_pop(place_);
        extra = chan_value;
        if (!c.sending.empty()) [[unlikely]] {
          if (waiter* s = c.sending.claim_first()) {
            c.ring_push(*static_cast<send_wait<T>*>(s)->value());
            s->extra = chan_value;
            partner_ = s;
          }
        }
        return true;
      }
    }
    return claim_node(c);
  }
  LEASH_INLINE void complete() noexcept {
    if (taken_ != nullptr) complete_node();
    if (partner_ != nullptr) [[unlikely]] {
      auto* s = static_cast<send_wait<T>*>(std::exchange(partner_, nullptr));
      if (extra != chan_value) {
        put(std::move(*s->value()));
        s->extra = chan_value;
      }
      schedule(s->who);
    }
  }
  void enqueue() noexcept { channel()->receiving.push(this); }
  void remove() noexcept { channel()->receiving.remove(this); }
  void won() const noexcept {}
  std::optional<T> result() noexcept {
    if (extra != chan_value) return std::nullopt;
    std::optional<T> r(std::move(*value()));
    value()->~T();
    extra = chan_nothing;
    return r;
  }

  /// By the sender that claimed this wait, outside any lock.
  void put(T&& v) noexcept {
    new (place_) T(std::move(v));
    extra = chan_value;
  }

 private:
  channel_type* channel() const noexcept { return static_cast<channel_type*>(what); }
  T* value() noexcept { return std::launder(reinterpret_cast<T*>(place_)); }

  bool claim_node(channel_type& c) noexcept {
    if ((taken_ = c.list_pop()) != nullptr) {
      // Its place is free: the sender that waits longest gets it. Its value is in transit until complete().
      if (waiter* s = c.sending.claim_first()) {
        partner_ = s;
        ++c.in_transit;
      }
      return true;
    }
    if (waiter* s = c.sending.claim_first()) {
      partner_ = s;
      return true;
    }
    return c.in_transit == 0 && c.ended();
  }
  void complete_node() noexcept {
    node* n = std::exchange(taken_, nullptr);
    put(std::move(n->value));
    if (partner_ == nullptr) {
      delete n;
      return;
    }
    auto* s = static_cast<send_wait<T>*>(partner_);
    n->value.~T();
    new (std::addressof(n->value)) T(std::move(*s->value()));
    s->extra = chan_value;
    channel()->arrive(n);
  }

  // From claim() on.
  waiter* partner_;
  node* taken_;
  alignas(T) std::byte place_[sizeof(T)];
};

/// A send in progress. The value stays where it is until the send wins.
template <class T>
class send_wait : public waiter {
  using channel_type = chan<T>;

 public:
  static constexpr const char* empty_message =
      "send() on an empty sender: it was moved from, dropped, or never got a channel";

  template <class Op>
  explicit send_wait(Op& op) noexcept : waiter(wait_reason::chan_send), value_(op.value()) {
    what = op.channel_;
  }
  bool disabled() const noexcept { return what == nullptr; }
  LEASH_INLINE spin_lock& lock() noexcept { return channel()->lock; }
  LEASH_INLINE bool likely_ready() const noexcept {
    channel_type& c = *channel();
    return c.buffered.load(std::memory_order_relaxed) < c.capacity || !c.receiving.empty() || c.refused();
  }

  /// The usual case on its own: there is a place, and nobody waits for a value.
  LEASH_INLINE bool fast() noexcept
    requires channel_type::plain
  {
    channel_type& c = *channel();
    if (c.ring == nullptr || c.buffered.load(std::memory_order_relaxed) == c.capacity) return false;
    spin_guard guard(c.lock);
    if (c.buffered.load(std::memory_order_relaxed) == c.capacity || !c.receiving.empty() || c.single || c.refused())
      return false;
    c.ring_push(*value_);
    extra = chan_value;
    return true;
  }
  LEASH_INLINE bool claim() noexcept {
    channel_type& c = *channel();
    partner_ = nullptr;
    reserved_ = false;
    if (c.refused()) return true;  // extra says: no value was taken
    if (!c.receiving.empty()) {
      if (waiter* r = c.receiving.claim_first()) {
        partner_ = r;
        took(c);
        return true;
      }
    }
    if constexpr (channel_type::plain) {
      if (c.ring != nullptr) {
        if (c.buffered.load(std::memory_order_relaxed) == c.capacity) return false;
        c.ring_push(*value_);
        took(c);
        return true;
      }
    }
    if (c.used() >= c.capacity) return false;
    ++c.in_transit;
    reserved_ = true;
    took(c);
    return true;
  }
  LEASH_INLINE void complete() {
    if (partner_ != nullptr) {
      auto* r = static_cast<recv_wait<T>*>(std::exchange(partner_, nullptr));
      if (channel()->single) [[unlikely]]
        end_receivers();
      r->put(std::move(*value_));
      schedule(r->who);
    } else if (reserved_) {
      reserved_ = false;
      complete_node();
    }
  }
  void enqueue() noexcept { channel()->sending.push(this); }
  void remove() noexcept { channel()->sending.remove(this); }
  void won() const noexcept {}
  bool result() const noexcept { return extra == chan_value; }
  T* value() const noexcept { return value_; }

 private:
  channel_type* channel() const noexcept { return static_cast<channel_type*>(what); }
  void took(channel_type& c) noexcept {
    extra = chan_value;
    if (c.single) [[unlikely]]
      c.closed.store(true, std::memory_order_relaxed);
  }
  LEASH_COLD void end_receivers() noexcept {
    goroutine_core* woken = nullptr;
    {
      spin_guard guard(channel()->lock);
      woken = claim_all(channel()->receiving);
    }
    schedule_all(woken);
  }
  LEASH_NOINLINE void complete_node() {
    typename channel_type::node* n;
    try {
      n = new typename channel_type::node(std::move(*value_));
    } catch (...) {
      goroutine_core* woken = nullptr;
      {
        spin_guard guard(channel()->lock);
        --channel()->in_transit;
        if (channel()->used() == 0 && channel()->ended()) woken = claim_all(channel()->receiving);  // K4
      }
      schedule_all(woken);
      throw;
    }
    channel()->arrive(n);
  }

  T* value_;
  // From claim() on.
  waiter* partner_;
  bool reserved_;
};

template <class T>
class [[nodiscard]] recv_operation : public operation_base {
 public:
  using wait_type = recv_wait<T>;
  using value_type = std::optional<T>;
  using result_type = std::optional<T>;
  explicit recv_operation(chan<T>* c) noexcept : channel_(c) {}

 private:
  friend class recv_wait<T>;
  chan<T>* channel_;
};

template <class T>
class [[nodiscard]] send_operation : public operation_base {
 public:
  using wait_type = send_wait<T>;
  using value_type = bool;
  using result_type = bool;
  static constexpr bool must_use = true;
  send_operation(chan<T>* c, T* v) noexcept : channel_(c), value_(v) {}

 private:
  friend class send_wait<T>;
  T* value() const noexcept { return value_; }
  chan<T>* channel_;
  T* value_;
};
/// Sends a copy, made when the operation is.
template <class T>
class [[nodiscard]] send_copy_operation : public operation_base {
 public:
  using wait_type = send_wait<T>;
  using value_type = bool;
  using result_type = bool;
  static constexpr bool must_use = true;
  send_copy_operation(chan<T>* c, const T& v) : channel_(c), copy_(v) {}

 private:
  friend class send_wait<T>;
  T* value() noexcept { return std::addressof(copy_); }
  chan<T>* channel_;
  T copy_;
};
template <class T>
class send_or_wait : public send_wait<T> {
 public:
  using send_wait<T>::send_wait;
  std::optional<T> result() noexcept {
    if (this->extra == chan_value) return std::nullopt;
    return std::optional<T>(std::move(*this->value()));
  }
};
template <class T>
class [[nodiscard]] send_or_operation : public operation_base {
 public:
  using wait_type = send_or_wait<T>;
  using value_type = std::optional<T>;
  using result_type = std::optional<T>;
  static constexpr bool must_use = true;
  send_or_operation(chan<T>* c, T* v) noexcept : channel_(c), value_(v) {}

 private:
  friend class send_wait<T>;
  T* value() const noexcept { return value_; }
  chan<T>* channel_;
  T* value_;
};

/// The sending end of a channel. Move-only; dup() makes another. Only senders close.
///
/// Thread safety: one object belongs to one thread at a time; different ends of one channel may be used by any threads
/// at once, try_send, close, dup and drop by threads that are no workers too.
template <class T>
class sender : handle {
 public:
  sender() noexcept {}
  sender(sender&& o) noexcept { take(o); }
  sender& operator=(sender&& o) noexcept {
    if (this != &o) {
      drop();
      take(o);
    }
    return *this;
  }
  ~sender() { drop(); }

  /// Hands `value` to the channel; waits while neither a receiver nor a free place can take it.
  ///
  /// Suspends when: no receiver waits and the buffer is full (capacity 0: always full). Wait reason: `chan send`.
  /// Returns: true, a receiver or the buffer owns the value; false, the channel takes no more: closed, or no receiver
  /// is left
  ///   (the value stays where it was; see send_or).
  /// Cancellation: first; exactly one of hand-over, close and cancel wins; no value is lost or sent twice.
  /// Thread safety and ordering: what is sequenced before send() happens before the return of the recv() that yields
  /// the value. Complexity: O(1), no allocation for values that can be copied as bytes; one move of T, two through the
  /// buffer. Errors: std::logic_error on an empty end (in select: a case that never fires).
  send_operation<T> send(T&& value) noexcept { return send_operation<T>(channel(), std::addressof(value)); }
  send_copy_operation<T> send(const T& value)
    requires std::copy_constructible<T>
  {
    return send_copy_operation<T>(channel(), value);
  }
  /// As send; a value that was not delivered comes back. Returns: nullopt, it was delivered.
  send_or_operation<T> send_or(T&& value) noexcept { return send_or_operation<T>(channel(), std::addressof(value)); }

  /// Sends if that is possible at once. Any thread. `value` is untouched unless the result is done.
  [[nodiscard]] try_result try_send(T&& value, std::source_location where = std::source_location::current()) {
    send_operation<T> op = send(std::move(value));
    send_wait<T> w(op);
    if (w.disabled()) empty_end("try_send() on an empty sender", where);
    if (!attempt(w)) return try_result::full;
    return w.result() ? try_result::done : try_result::closed;
  }
  [[nodiscard]] try_result try_send(const T& value, std::source_location where = std::source_location::current())
    requires std::copy_constructible<T>
  {
    T copy(value);
    return try_send(std::move(copy), where);
  }

  /// Another sender of the same channel. Errors: std::logic_error on an empty end.
  [[nodiscard]] sender dup(std::source_location where = std::source_location::current()) const {
    chan<T>* c = channel();
    if (c == nullptr) empty_end("dup() of an empty sender", where);
    c->senders.fetch_add(1, std::memory_order_relaxed);
    return sender(c);
  }
  /// Ends the channel for every sender: receivers drain it, then see the end. Idempotent; nothing on an empty end.
  void close() noexcept {
    if (chan<T>* c = channel()) c->close();
  }
  /// Gives this end up. Idempotent.
  void drop() noexcept {
    if (object* c = release(capability::sender)) static_cast<chan<T>*>(c)->drop_sender();
  }
  /// Values in the buffer now.
  std::size_t len() const noexcept {
    return channel() != nullptr ? channel()->buffered.load(std::memory_order_relaxed) : 0;
  }
  std::size_t capacity() const noexcept { return channel() != nullptr ? channel()->capacity : 0; }
  explicit operator bool() const noexcept { return get() != nullptr; }

  /// For the library: adopts one count.
  explicit sender(chan<T>* c) noexcept : handle(c, capability::sender) {}
  template <class W>
  static bool attempt(W& w) {
    bool now = false;
    {
      spin_guard guard(w.lock());
      now = w.claim();
    }
    if (now) w.complete();
    return now;
  }

 private:
  chan<T>* channel() const noexcept { return static_cast<chan<T>*>(get()); }
  void take(sender& o) noexcept {
    if (object* c = o.release(capability::sender)) certify(c, capability::sender);
  }
};

/// The receiving end of a channel. Move-only; dup() makes another, and each value goes to one of them. It cannot close.
/// Thread safety: as sender.
template <class T>
class receiver : handle {
 public:
  receiver() noexcept {}
  receiver(receiver&& o) noexcept { take(o); }
  receiver& operator=(receiver&& o) noexcept {
    if (this != &o) {
      drop();
      take(o);
    }
    return *this;
  }
  ~receiver() { drop(); }

  /// Takes the next value.
  ///
  /// Suspends when: nothing is buffered and no sender waits, and the channel has not ended. Wait reason: `chan
  /// receive`. Returns: the value; nullopt, the channel has ended (closed, or no sender is left) and is drained.
  /// Cancellation: first; exactly one of hand-over, end and cancel wins; no value is lost.
  /// Thread safety and ordering: see sender::send; what the last sender did before it went happens before the end is
  /// seen. Complexity: O(1).  Errors: std::logic_error on an empty end (in select: a case that never fires).
  recv_operation<T> recv() noexcept { return recv_operation<T>(channel()); }
  /// Takes a value if there is one now. Any thread.
  std::optional<T> try_recv(std::source_location where = std::source_location::current()) {
    recv_operation<T> op = recv();
    recv_wait<T> w(op);
    if (w.disabled()) empty_end("try_recv() on an empty receiver", where);
    if (!sender<T>::attempt(w)) return std::nullopt;
    return w.result();
  }
  /// True once no value will ever come: the end is reached and the buffer drained.
  bool ended() const noexcept {
    chan<T>* c = channel();
    if (c == nullptr) return true;
    spin_guard guard(c->lock);
    return c->ended() && c->used() == 0;
  }
  /// Another receiver of the same channel. Errors: std::logic_error on an empty end.
  [[nodiscard]] receiver dup(std::source_location where = std::source_location::current()) const {
    chan<T>* c = channel();
    if (c == nullptr) empty_end("dup() of an empty receiver", where);
    c->receivers.fetch_add(1, std::memory_order_relaxed);
    return receiver(c);
  }
  /// Gives this end up: with the last one sends fail, and what is buffered is destroyed. Idempotent.
  void drop() noexcept {
    if (object* c = release(capability::receiver)) static_cast<chan<T>*>(c)->drop_receiver();
  }
  std::size_t len() const noexcept {
    return channel() != nullptr ? channel()->buffered.load(std::memory_order_relaxed) : 0;
  }
  std::size_t capacity() const noexcept { return channel() != nullptr ? channel()->capacity : 0; }
  explicit operator bool() const noexcept { return get() != nullptr; }

  /// For the library: adopts one count.
  explicit receiver(chan<T>* c) noexcept : handle(c, capability::receiver) {}
  chan<T>* channel() const noexcept { return static_cast<chan<T>*>(get()); }

 private:
  void take(receiver& o) noexcept {
    if (object* c = o.release(capability::receiver)) certify(c, capability::receiver);
  }
};

/// A channel and its two ends. capacity 0: a rendezvous.
///
/// T must be nothrow movable. Errors: std::bad_alloc.
template <class T>
[[nodiscard]] std::pair<sender<T>, receiver<T>> channel(std::size_t capacity = 0,
                                                        std::source_location where = std::source_location::current()) {
  auto* c = new chan<T>(capacity, true, where);
  return {sender<T>(c), receiver<T>(c)};
}
/// A channel whose sends never wait.
template <class T>
[[nodiscard]] std::pair<sender<T>, receiver<T>> channel(unbounded_t,
                                                        std::source_location where = std::source_location::current()) {
  auto* c = new chan<T>(static_cast<std::size_t>(-1) / 2, false, where);
  return {sender<T>(c), receiver<T>(c)};
}

/// A channel for one value: its send never waits and closes it, so a second one fails. Else as any channel.
template <class T>
[[nodiscard]] std::pair<sender<T>, receiver<T>> oneshot(std::source_location where = std::source_location::current()) {
  auto* c = new chan<T>(1, true, where);
  c->single = true;
  return {sender<T>(c), receiver<T>(c)};
}

}  // namespace leash
