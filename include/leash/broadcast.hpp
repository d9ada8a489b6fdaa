// broadcast: every receiver sees every value, in one order.
//
//   first (spent)      node      node      last
//      |----------------|---------|---------|
//      A                          B         C        receivers stand at the last value that they took
//
// A receiver's next value is the one behind where it stands. The node at the front is spent: everybody has passed it, so
// its value is gone; who sends waits while the nodes behind it are as many as the capacity. So the slowest receiver
// holds up the senders; nothing is ever dropped (docs/design/broadcast.md says why).
//
// Invariants (under the lock)
//  B1. users = receivers that stand at the node (and who destroys its value). first has users, or first == last.
//  B2. buffered = nodes behind first; buffered + in_transit <= capacity. Senders wait only if equal.
//  B3. A node's value is read by receivers that stand before it, without the lock; it is destroyed when the node has
//  become first, without the lock, and by one only.
//  B4. Senders wait, and values are put, only while receivers > leaving.
#pragma once
#include <leash/fan.hpp>

namespace leash {

template <class T>
struct broadcast_core : fan_core<T> {
  using node = fan_node<T>;
  using place = node*;

  std::size_t leaving = 0;  // under the lock: receivers that pass what there is, to go

  broadcast_core(std::size_t n, std::source_location where) : fan_core<T>(n, chan_kind::broadcast, where) {
    auto* spent = new node;
    spent->users = 1;  // the first receiver
    spent->spent = true;
    this->first = this->last = spent;
  }

  place begin() noexcept { return same(this->back()); }
  place same(place at) noexcept {
    ++at->users;
    return at;
  }
  bool ready(place at) const noexcept { return at->next != nullptr; }
  std::size_t behind(place at) const noexcept { return static_cast<std::size_t>(this->back()->number - at->number); }

  std::optional<T> take(place& at) {
    node* n = nullptr;
    {
      spin_guard guard(this->lock);
      n = static_cast<node*>(at->next);
    }
    if (n == nullptr) return std::nullopt;
    std::optional<T> copy(n->value);  // B3
    move_on(std::exchange(at, n), n);
    return copy;
  }
  /// It passes all that there is, then goes: `receivers` counts it for as long as it destroys values (rule 1 of the proof),
  /// but nothing more is sent to it: the room that it makes is not for who waits to send to nobody else.
  void leave(place at) noexcept {
    goroutine_core* failed = nullptr;
    {
      spin_guard guard(this->lock);
      ++leaving;
      if (nobody_stays()) failed = claim_all(this->sending);
    }
    schedule_all(failed);
    for (;;) {
      node* to = nullptr;
      bool last_one = false;
      {
        spin_guard guard(this->lock);
        to = this->back();
        if (at == to) {
          --at->users;
          --leaving;
          last_one = this->receivers.fetch_sub(1, std::memory_order_acq_rel) == 1;
        }
      }
      if (at == to) {
        if (last_one) drop_side(this);
        return;
      }
      move_on(std::exchange(at, to), to);
    }
  }

  /// Under the lock.
  bool nobody_stays() const noexcept { return this->receivers.load(std::memory_order_relaxed) == leaving; }
  bool refused() const noexcept { return this->closed.load(std::memory_order_relaxed) || nobody_stays(); }

  bool reserve() noexcept {
    if (this->buffered.load(std::memory_order_relaxed) + this->in_transit >= this->capacity) return false;
    ++this->in_transit;
    return true;
  }
  /// False: there is no receiver any more.
  bool put(T&& value) {
    node* n = nullptr;
    try {
      n = new node;
    } catch (...) {
      gave_up();
      throw;
    }
    n->value.emplace(std::move(value));
    goroutine_core* woken = nullptr;
    bool taken = false;
    {
      spin_guard guard(this->lock);
      --this->in_transit;
      if ((taken = !nobody_stays())) {
        n->number = this->back()->number + 1;
        this->begin_change();
        this->last->next = n;
        this->last = n;
        this->end_change();
        this->buffered.store(this->buffered.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      }
      woken = claim_all(this->receiving);
    }
    if (!taken) delete n;
    schedule_all(woken);
    return taken;
  }

 private:
  /// Under the lock: senders that wait, for the room that there is (F4).
  goroutine_core* admit() noexcept {
    goroutine_core* woken = nullptr;
    goroutine_core** end = &woken;
    while (!this->sending.empty() &&
           this->buffered.load(std::memory_order_relaxed) + this->in_transit < this->capacity) {
      waiter* w = this->sending.claim_first();
      if (w == nullptr) break;
      ++this->in_transit;
      w->extra = fan_admitted;
      *end = w->who;
      end = &w->who->next;
    }
    *end = nullptr;
    return woken;
  }
  /// What was admitted does not come.
  void gave_up() noexcept {
    goroutine_core* woken = nullptr;
    goroutine_core* ended_ones = nullptr;
    {
      spin_guard guard(this->lock);
      --this->in_transit;
      woken = admit();
      if (this->drained_end()) ended_ones = claim_all(this->receiving);
    }
    schedule_all(woken);
    schedule_all(ended_ones);
  }
  /// A receiver goes from one node to another. What nobody stands before any more goes.
  void move_on(node* from, node* to) noexcept {
    while (from != nullptr) {
      chan_node* dead = nullptr;
      node* spent = nullptr;
      goroutine_core* woken = nullptr;
      {
        spin_guard guard(this->lock);
        if (to != nullptr) ++std::exchange(to, nullptr)->users;
        --from->users;
        dead = pop_spent();
        if (!std::exchange(this->front()->spent, true)) {
          spent = this->front();
          ++spent->users;
        }
        woken = admit();
      }
      schedule_all(woken);
      this->free_list(dead);
      if (spent != nullptr) spent->value.reset();
      from = spent;
    }
  }
  /// Under the lock.
  chan_node* pop_spent() noexcept {
    chan_node* dead = nullptr;
    if (this->front()->users != 0 || this->first == this->last) return dead;
    chan_node** end = &dead;
    std::size_t popped = 0;
    this->begin_change();
    do {
      *end = this->first;
      end = &this->first->next;
      this->first = this->first->next;
      ++popped;
    } while (this->front()->users == 0 && this->first != this->last);
    this->end_change();
    *end = nullptr;
    this->buffered.store(this->buffered.load(std::memory_order_relaxed) - popped, std::memory_order_relaxed);
    return dead;
  }
};

template <class T>
using broadcast_sender = fan_sender<broadcast_core<T>>;
template <class T>
using broadcast_receiver = fan_receiver<broadcast_core<T>>;

/// A channel each of whose values every receiver sees: `auto [tx, rx] = broadcast<int>(16)`, tx.subscribe(), rx.dup().
///
/// The slowest receiver holds up the senders once it lags by `capacity` values: nothing is lost. rx.len() tells how far it
/// lags, try_send says `full` to who does not want to wait. A receiver that nobody uses must be dropped.
/// Ends as any channel: without senders, or closed, receivers take the rest and see the end; without receivers sends fail.
/// T must be copyable and nothrow movable. Errors: std::invalid_argument for capacity 0; std::bad_alloc.
template <class T>
[[nodiscard]] std::pair<broadcast_sender<T>, broadcast_receiver<T>> broadcast(
    std::size_t capacity, std::source_location where = std::source_location::current()) {
  if (capacity == 0) throw_invalid("broadcast: the capacity must be positive", where);
  auto* c = new broadcast_core<T>(capacity, where);
  return {broadcast_sender<T>(c), broadcast_receiver<T>(c, static_cast<fan_node<T>*>(c->first))};
}

}  // namespace leash
