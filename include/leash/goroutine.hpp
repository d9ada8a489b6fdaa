// The control block of a goroutine, and its park word.
//
// Park word: bits 0..2 state, bits 3..63 epoch. The epoch counts parks and ends; it survives reuse of the slot.
//
//   state   who may change it                 to what
//   free    whoever makes a goroutine there   active
//   active  its worker, or who claimed it     parked, held (it waits), done (it ended)
//   parked  any waker, by one CAS             active: the CAS makes the waker its only owner until it schedules it
//   held    a waker, but no cancellation      active: a wait that must not be cut short
//   done    the last owner of the slot        free
//
// Invariants
//  G1. Whoever makes parked -> active (one CAS, acq_rel) may write winner, bits and the waiter's result, and must
//      schedule it.
//  G2. parked is published last: after the waiters stand in their queues, and before the queues' locks are given back.
//  G3. Between publishing parked and the CAS nothing in the frames, the stored callable or the waiters' fixed fields
//      changes.
#pragma once
#include <atomic>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <leash/clock.hpp>
#include <leash/object.hpp>
#include <leash/spin_lock.hpp>
#include <source_location>

namespace leash {

struct promise_base;
struct waiter;
struct scope_core;
struct runtime;
struct local_value;
struct lineage;
struct goroutine_core;

/// A pointer into the arena in 32 bits.
template <class T>
class compact {
 public:
  constexpr compact() noexcept {}
  compact(T* p) noexcept
      : at_(p == nullptr
                ? 0
                : static_cast<std::uint32_t>(
                      static_cast<std::size_t>(reinterpret_cast<const std::byte*>(p) - arena::all.base) / 16 + 1)) {}
  T* get() const noexcept {
    return at_ == 0 ? nullptr : reinterpret_cast<T*>(arena::all.base + (static_cast<std::size_t>(at_) - 1) * 16);
  }
  T* operator->() const noexcept { return get(); }
  explicit operator bool() const noexcept { return at_ != 0; }

 private:
  std::uint32_t at_ = 0;
};

/// The part of a context that every wait looks at.
struct context_flag : object {
  using object::object;
  std::atomic<std::uint8_t> ended{0};  // 0, or a context_error; set once, before the heavy fence of cancellation
  std::uint8_t shape = 0;              // the context's own use
  std::uint16_t runtime_index = 0;
  std::uint32_t ended_at = 0;  // coarse tick; written before `ended`
};

enum class park_state : std::uint64_t { free = 0, active = 1, parked = 2, held = 3, done = 4 };

LEASH_INLINE constexpr park_state state_of(std::uint64_t word) noexcept { return static_cast<park_state>(word & 7); }
LEASH_INLINE constexpr std::uint64_t epoch_of(std::uint64_t word) noexcept { return word >> 3; }
LEASH_INLINE constexpr std::uint64_t with_state(std::uint64_t word, park_state s) noexcept {
  return (word & ~std::uint64_t{7}) | static_cast<std::uint64_t>(s);
}
LEASH_INLINE constexpr std::uint64_t next_epoch(std::uint64_t word, park_state s) noexcept {
  return ((word >> 3) + 1) << 3 | static_cast<std::uint64_t>(s);
}

/// What the runtime must know about the callable and the result that are stored behind a goroutine_core.
struct goroutine_type {
  std::uint32_t bytes;             // of the whole block
  void (*start)(goroutine_core*);  // calls the callable: sets leaf, or has run it to its end
  void (*drop_callable)(goroutine_core*) noexcept;
  void (*drop_result)(goroutine_core*) noexcept;  // null: there is nothing to destroy
  std::size_t (*callable_bytes)(const goroutine_core*, const std::byte*& begin) noexcept;
  /// Calls f on the parts of the callable that may hold the address of a frame. Null: there are none.
  void (*each_address)(const goroutine_core*, void* to, void (*f)(void* to, const std::byte* begin, std::size_t bytes));
};

// bits
inline constexpr std::uint8_t g_cut = 1;         // woken to unwind
inline constexpr std::uint8_t g_unwinding = 2;   // its frames are being destroyed
inline constexpr std::uint8_t g_retry = 4;       // see retrying_waiter
inline constexpr std::uint8_t g_failed = 8;      // ended by an exception
inline constexpr std::uint8_t g_completed = 16;  // ended by itself, with a result
inline constexpr std::uint8_t g_started = 32;
inline constexpr std::uint8_t g_has_callable = 64;
inline constexpr std::uint8_t g_carries = 128;  // an exception of a clean-up comes out where the unwinding ends

// refs
inline constexpr std::uint8_t ref_running = 1;
inline constexpr std::uint8_t ref_handle = 2;
inline constexpr std::uint8_t ref_watch = 4;  // a reclaim waits for its end
// No reference, the same from beginning to end: the others change by one locked instruction. Without it by a load and a
// store under join_lock_of(), which is less for a lone worker, and more where the lock's cache line goes from one to another.
inline constexpr std::uint8_t refs_by_rmw = 8;
LEASH_INLINE std::uint8_t first_refs() noexcept {
  return ref_running | ref_handle | (alone_here.load(std::memory_order_relaxed) == loneliness::lasts ? 0 : refs_by_rmw);
}

// killed
inline constexpr std::uint8_t killed_and_noted = 2;  // see note_reclaimed

#if LEASH_SENTINEL
/// Ends the program if g was proved leaked and is about to be woken by anything but an unwinding.
LEASH_COLD void sentinel(goroutine_core* g) noexcept;
#endif
/// Verdicts given so far count no more: something was unwound from outside, and what that frees may wake the judged.
void forget_verdicts() noexcept;
/// Set once anything was judged: only then is there something to forget.
extern std::atomic<bool> judged_anything;

/// An atomic word that is there before and after the object around it: constructing it writes nothing.
template <class T>
class survivor {
 public:
  survivor() noexcept {}
  ~survivor() {}
  T load(std::memory_order o) const noexcept { return word_.load(o); }
  void store(T v, std::memory_order o) noexcept { word_.store(v, o); }
  bool compare_exchange_strong(T& expected, T v, std::memory_order success,
                               std::memory_order failure = std::memory_order_relaxed) noexcept {
    return word_.compare_exchange_strong(expected, v, success, failure);
  }

 private:
  union {
    std::atomic<T> word_;
  };
};

struct goroutine_core {
  survivor<std::uint64_t> park;    // A1
  goroutine_core* next = nullptr;  // run queue, free list
  promise_base* leaf = nullptr;    // innermost frame; null before the start
  union {
    waiter* wait;                // the wait it is parked in; with wait_count != 1 an array of waiter*
    std::exception_ptr failure;  // with g_failed: what ended it
  };
  context_flag* ctx = nullptr;  // innermost context; counted by whoever set it
  const goroutine_type* type;
  std::source_location spawned_at;
  std::uint64_t id;
  waiter* joiners = nullptr;                // under join_lock_of(this)
  compact<scope_core> home;                 // the scope it belongs to
  compact<goroutine_core> before, after;    // siblings in the same shard of `home`
  compact<local_value> locals;              // name, labels, values
  compact<lineage> kin, own_kin;            // see lineage in scope.hpp: the one it belongs to, the one it started
  std::uint32_t parked_at = coarse_tick();  // coarse ticks: when its wait began, or, active, when its last wait ended
  std::uint32_t born = parked_at;
  std::uint16_t wait_count = 0;
  std::uint16_t winner = 0;
  std::uint16_t budget = 1;  // operations that may complete at once before it yields
  std::uint16_t runtime_index;
  std::atomic<std::uint8_t> refs{first_refs()};  // the last to go changes nothing
  std::uint8_t shard = 0;
  std::uint8_t bits = 0;
  std::atomic<std::uint8_t> killed{0};  // not 0: reclaimed, nothing but clean-up runs any more
#if LEASH_SENTINEL
  // Written by a pass at any time, so also while the next goroutine is made in this slot.
  survivor<std::uint64_t> judged;     // the park word for which it was proved leaked; the same word never comes again
  survivor<std::uint32_t> judged_in;  // the generation of verdicts
  survivor<std::uint64_t> sealed;     // as judged, if nobody can reach what lies in its frames either
#endif

  /// `word` is what the slot held before.
  goroutine_core(const goroutine_type* t, std::uint64_t word, std::uint64_t new_id, std::uint16_t rt,
                 std::source_location where) noexcept
      : wait(nullptr), type(t), spawned_at(where), id(new_id), runtime_index(rt) {
    park.store(with_state(word, park_state::active), std::memory_order_release);
  }
  goroutine_core(const goroutine_core&) = delete;
  ~goroutine_core() {}

  /// One CAS; true: the caller owns the goroutine now (G1). `also_held`: waits that cancellation leaves alone too.
  LEASH_INLINE bool try_claim(bool also_held = true) noexcept {
#if LEASH_SENTINEL
    if (judged.load(std::memory_order_relaxed) == park.load(std::memory_order_relaxed)) sentinel(this);
#endif
    std::uint64_t word = park.load(std::memory_order_relaxed);
    park_state const s = state_of(word);
    if (s != park_state::parked && !(also_held && s == park_state::held)) return false;
    // Acquire: sees the frames that the parking worker wrote. Release: what the waker did before is seen by who scans
    // later.
    return park.compare_exchange_strong(word, next_epoch(word, park_state::active), std::memory_order_acq_rel,
                                        std::memory_order_relaxed);
  }
};

/// Makes a goroutine that the caller owns runnable. Any thread.
void schedule(goroutine_core*);
/// Sends it to the back of the queue.
void schedule_last(goroutine_core*);

}  // namespace leash
