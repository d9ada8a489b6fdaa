// watch: the latest value, and receivers that see it change.
//
// One node holds the latest value; who copies it keeps the node meanwhile, so a send never waits for a reader.
//
// Invariants (under the lock)
//  W1. first is the latest value's node, with users = 1 + those who copy it; older ones are theirs alone.
//  W2. A receiver's place is the number of the value that it saw last; it waits only if that is first's.
#pragma once
#include <leash/fan.hpp>

namespace leash {

template <class T>
struct watch_core : fan_core<T> {
  using node = fan_node<T>;
  using place = std::uint64_t;

  watch_core(T&& initial, std::source_location where) : fan_core<T>(1, chan_kind::watch, where) {
    auto* n = new node;
    n->value.emplace(std::move(initial));
    n->number = 1;
    n->users = 1;
    this->first = this->last = n;
  }
  /// A value is kept though nobody receives now: a subscriber may come.
  bool refused() const noexcept { return this->closed.load(std::memory_order_relaxed); }

  place begin() const noexcept { return 0; }
  place same(place at) const noexcept { return at; }
  bool ready(place at) const noexcept { return this->front()->number != at; }
  std::size_t behind(place at) const noexcept { return ready(at) ? 1 : 0; }

  std::optional<T> take(place& at) {
    reading r(*this, at);
    if (r.n == nullptr) return std::nullopt;
    std::optional<T> copy(r.n->value);
    at = r.n->number;
    return copy;
  }
  T latest(place& at) {
    reading r(*this, 0);
    T copy(*r.n->value);
    at = r.n->number;
    return copy;
  }
  void leave(place) noexcept {
    bool last_one = false;
    {
      spin_guard guard(this->lock);
      last_one = this->receivers.fetch_sub(1, std::memory_order_acq_rel) == 1;
    }
    if (last_one) drop_side(this);
  }

  bool reserve() noexcept {
    ++this->in_transit;
    return true;
  }
  /// False: nobody receives; the value is the latest all the same.
  bool put(T&& value) {
    node* n = nullptr;
    try {
      n = new node;
    } catch (...) {
      goroutine_core* ended_ones = nullptr;
      {
        spin_guard guard(this->lock);
        --this->in_transit;
        if (this->drained_end()) ended_ones = claim_all(this->receiving);
      }
      schedule_all(ended_ones);
      throw;
    }
    n->value.emplace(std::move(value));
    n->users = 1;
    node* old = nullptr;
    goroutine_core* woken = nullptr;
    bool seen = false;
    {
      spin_guard guard(this->lock);
      --this->in_transit;
      old = this->front();
      n->number = old->number + 1;
      this->begin_change();
      this->first = this->last = n;
      this->end_change();
      seen = this->receivers.load(std::memory_order_relaxed) != 0;
      woken = claim_all(this->receiving);
      if (--old->users != 0) old = nullptr;
    }
    schedule_all(woken);
    delete old;
    return seen;
  }

 private:
  /// Keeps the latest node while its value is copied; null: the receiver has seen it.
  struct reading {
    watch_core& c;
    node* n = nullptr;
    reading(watch_core& core, place seen) noexcept : c(core) {
      spin_guard guard(c.lock);
      if (!c.ready(seen)) return;
      n = c.front();
      ++n->users;
    }
    reading(const reading&) = delete;
    ~reading() {
      if (n == nullptr) return;
      {
        spin_guard guard(c.lock);
        if (--n->users != 0) n = nullptr;
      }
      delete n;
    }
  };
};

template <class T>
using watch_sender = fan_sender<watch_core<T>>;
template <class T>
using watch_receiver = fan_receiver<watch_core<T>>;

/// The latest of a series of values: `auto [tx, rx] = watch<config>(read_config())`.
///
/// `rx.recv()` waits for a value that this receiver has not seen (the initial one is new to it) and gives the latest: what
/// came in between is passed over. `rx.get()` gives the latest at once. A send never waits, and replaces the value.
/// Ends as any channel: without senders, or closed, receivers see the last value, then the end.
/// T must be copyable and nothrow movable. Errors: std::bad_alloc.
template <class T>
[[nodiscard]] std::pair<watch_sender<T>, watch_receiver<T>> watch(
    T initial, std::source_location where = std::source_location::current()) {
  auto* c = new watch_core<T>(std::move(initial), where);
  return {watch_sender<T>(c), watch_receiver<T>(c, c->begin())};
}

}  // namespace leash
