// single_flight: one call for a key at a time; who asks meanwhile shares its result.
//
// A flight is a goroutine of its own under the runtime's root, so no caller's cancellation ends it while another one
// waits. It holds the only sender of a channel; callers wait for that channel's end: the flight has landed, and its
// callable and frames are gone. So a caller is in the proof what it is: one who waits for whoever flies.
//
// Invariants
//  F1. `callers` counts who waits. Once it is 0 nobody boards: the flight is cancelled, and the next call starts another.
//  F2. The last caller to leave early does not go on before the flight has landed, nor does one whose frames f refers to:
//  what outlives all callers outlives f.
//  F3. value and error are written before the channel ends, and not after.
#pragma once
#include <atomic>
#include <functional>
#include <leash/scope.hpp>
#include <leash/select.hpp>
#include <memory>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <unordered_map>
#include <utility>
#include <vector>

namespace leash {

/// True if a word there points into a frame of the running goroutine g, other than its innermost.
bool lends_frames(goroutine_core* g, const void* begin, std::size_t bytes) noexcept;

/// A receive that nothing cuts short.
class landing_wait : public recv_wait<std::monostate> {
 public:
  static constexpr bool outlives_context = true;
  static constexpr bool uncancellable = true;
  using recv_wait::recv_wait;
};
class [[nodiscard]] landing_operation : public recv_operation<std::monostate> {
 public:
  using wait_type = landing_wait;
  using recv_operation::recv_operation;
};

/// Calls by key, one at a time for each key.
///
/// Thread safety: any number of goroutines at once, of several runtimes too; a flight runs in the runtime of the caller
/// that started it. May go while flights are under way: their callers see them to their end.
template <class K, class V, class Hash = std::hash<K>, class Equal = std::equal_to<K>>
class single_flight {
  static_assert(std::copy_constructible<V>, "every caller gets a copy of the value");

 public:
  explicit single_flight(Hash hash = {}, Equal equal = {})
      : table_(std::make_shared<table>()), hash_(std::move(hash)), equal_(std::move(equal)) {}
  single_flight(const single_flight&) = delete;
  single_flight& operator=(const single_flight&) = delete;

  /// What f gives for the key: by starting it, or, if a call for an equal key is under way, by waiting for that one.
  ///
  /// Parameters: key and f (a body that gives a V), moved in and kept; f may refer to what outlives all callers. If it
  /// refers to frames of this caller, this one does not leave before the flight has landed (seen as far as go() sees it).
  /// Suspends: always. Wait reason: `chan receive`.
  /// Returns: a copy of the value; nullopt, the flight was cut short by somebody else than its callers (a reclaim, the
  /// end of its runtime).
  /// Cancellation: first; ends this wait. The flight goes on while somebody waits for it. The last caller to leave
  /// cancels it, and unwinds further when it has ended.
  /// Thread safety and ordering: what f did happens before every return. Callers copy one value at the same time.
  /// Complexity: one goroutine for each flight; O(1) in the flights under way, if hashes differ.
  /// Errors: f's exception, to every caller (one and the same object). Keys are hashed and compared without a lock. A call
  /// for its own key inside f waits for itself: a leak that is proved.
  template <class F>
  task<std::optional<V>> call(K key, F&& f, std::source_location where = std::source_location::current()) {
    static_assert(!operation<F>, "a flight outlives the call that starts it: give a callable or a task");
    std::size_t const hash = hash_(key);
    return fly(table_, hash, std::move(key), equal_, kept_body<F>(std::forward<F>(f)), where);
  }
  /// Flights under way.
  std::size_t size() const {
    spin_guard guard(table_->lock);
    return table_->flying.size();
  }

 private:
  struct flight {
    K const key;
    cancel_source stop;
    receiver<std::monostate> landed;
    std::atomic<std::uint32_t> callers{1};
    std::optional<V> value;
    std::exception_ptr error;
    explicit flight(K&& k, receiver<std::monostate> r) : key(std::move(k)), landed(std::move(r)) {}
    bool board() noexcept {
      std::uint32_t n = callers.load(std::memory_order_relaxed);
      while (n != 0)
        if (callers.compare_exchange_weak(n, n + 1, std::memory_order_relaxed)) return true;
      return false;
    }
  };
  using flight_ptr = std::shared_ptr<flight>;
  struct table {
    mutable spin_lock lock;
    std::unordered_multimap<std::size_t, flight_ptr> flying;
    std::uint64_t started = 0;  // counts insertions
    void remove(std::size_t hash, const flight* f) noexcept {
      flight_ptr gone;  // dies without the lock
      spin_guard guard(lock);
      auto const [first, last] = flying.equal_range(hash);
      for (auto it = first; it != last; ++it) {
        if (it->second.get() != f) continue;
        gone = std::move(it->second);
        flying.erase(it);
        return;
      }
    }
  };
  /// A caller's part in a flight.
  struct seat {
    flight_ptr in;
    explicit seat(flight_ptr f) noexcept : in(std::move(f)) {}
    seat(const seat&) = delete;
    ~seat() { (void)leave(); }
    /// True: it was the last, and the flight is being cancelled.
    bool leave() noexcept {
      if (!in) return false;
      flight_ptr const f = std::exchange(in, nullptr);
      if (f->callers.fetch_sub(1, std::memory_order_acq_rel) != 1) return false;
      f->stop.cancel("nobody waits for it any more");
      return true;
    }
  };
  /// What the goroutine of a flight is started with. `landed` dies last: then nothing of the flight is left.
  template <class F>
  struct pilot {
    sender<std::monostate> landed;
    std::shared_ptr<table> from;
    std::size_t hash;
    flight_ptr what;
    kept_body<F> f;
    pilot(sender<std::monostate> s, std::shared_ptr<table> t, std::size_t h, flight_ptr w, kept_body<F>&& body)
        : landed(std::move(s)), from(std::move(t)), hash(h), what(std::move(w)), f(std::move(body)) {}
    pilot(pilot&&) = default;
    ~pilot() {
      if (from && what) from->remove(hash, what.get());
    }
    task<> operator()() {
      try {
        auto body = [this]() -> task<V> { return f.start(); };
        if (std::optional<V> v = co_await with_cancel(what->stop, std::move(body))) what->value = std::move(v);
      } catch (...) {
        what->error = std::current_exception();
      }
    }
  };

  template <class F>
  static task<std::optional<V>> fly(std::shared_ptr<table> t, std::size_t hash, K key, Equal equal, kept_body<F> f,
                                    std::source_location where) {
    co_await unwind_if_cancelled{};
    goroutine_core* const g = co_await this_goroutine{};
    flight_ptr mine;
    flight_ptr fresh;
    sender<std::monostate> landing;
    while (!mine) {
      std::vector<flight_ptr> same;
      std::uint64_t seen = 0;
      {
        spin_guard guard(t->lock);
        seen = t->started;
        auto const [first, last] = t->flying.equal_range(hash);
        for (auto it = first; it != last; ++it) same.push_back(it->second);
      }
      for (auto& other : same)
        if (!mine && equal(other->key, fresh ? fresh->key : key) && other->board()) mine = other;
      if (mine) break;
      if (!fresh) {
        auto [tx, rx] = channel<std::monostate>(0, where);
        fresh = std::make_shared<flight>(std::move(key), std::move(rx));
        landing = std::move(tx);
      }
      spin_guard guard(t->lock);
      if (t->started != seen) continue;  // one with this key may be among them
      t->flying.emplace(hash, fresh);
      ++t->started;
      mine = fresh;
    }
    bool const first = mine == fresh;
    bool const lends = first && lends_frames(g, std::addressof(f), sizeof f);
    seat taken(mine);
    receiver<std::monostate> landed = mine->landed.dup();
    if (first) {
      pilot<F> p(std::move(landing), t, hash, mine, std::move(f));
      std::string name = "single flight";
      (void)scope::of(runtime_at(g->runtime_index)->root_scope).launch(where, &name, false, std::move(p));
    }
    if (!first) {
      [[maybe_unused]] kept_body<F> const not_needed(std::move(f));  // nor what it holds
    }
    body_result<void> const r = co_await boundary_wait<void>(wait_for(landed));
    if (r.cut) {
      if (taken.leave() || lends) (void)co_await landing_operation(landed.channel());
      co_await unwind_further{};
    }
    (void)taken.leave();
    if (mine->error) std::rethrow_exception(mine->error);
    co_return mine->value;
  }
  static task<> wait_for(receiver<std::monostate>& landed) { (void)co_await landed.recv(); }

  std::shared_ptr<table> table_;
  Hash hash_;
  Equal equal_;
};

}  // namespace leash
