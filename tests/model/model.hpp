// A model checker for small concurrent protocols.
//
// check() runs a handful of model threads again and again, one step at a time, until every order of their steps has
// been tried. A step is one operation on an atomic, a fence, a futex call, or the flush of one buffered store;
// README.md says what that covers and what it does not.
//
// Rules for a modelled program:
//   1. Shared state lives in objects made by run::make; the set-up function's own locals are gone when the threads run.
//   2. Its behaviour depends only on what it reads from atomics, vars and choose(): no clock, no address of heap
//   memory, no random numbers.
//   3. A thread's stack may be abandoned at any step: what its locals own is not freed.
//   4. With reduction::values, *all* shared state is in atomics and vars; with reduction::order, plain data is fine as
//   long as it is race-free.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace model {

enum class memory {
  sc,   // every store is seen at once
  tso,  // stores wait in a FIFO per thread (x86)
  pso,  // as tso, but relaxed stores to different places may also overtake one another
};

enum class reduction {
  none,    // every order of steps
  order,   // one of all orders that differ only in how independent steps are interleaved
  values,  // also merges orders that lead to equal memory, equal clocks and equal reads
};

struct options {
  memory mem = memory::tso;
  reduction reduce = reduction::order;
  bool races = true;                // look for data races; without it, reduction::values merges more
  int preemptions = -1;             // switches away from a thread that could go on; -1: no bound
  std::uint64_t max_schedules = 0;  // 0: no bound
  std::size_t max_steps = 5000;     // of one schedule; beyond it the schedule fails as a livelock
};

struct result {
  bool ok = true;               // no schedule failed
  bool complete = false;        // everything within the preemption bound was explored
  std::uint64_t schedules = 0;  // run to their end
  std::uint64_t pruned = 0;     // cut short at a state that had been explored before
  std::uint64_t states = 0;
  std::string failure;  // what went wrong, empty if ok
  std::string trace;    // the steps of the failing schedule with the fewest preemptions, one a line

  bool proven() const { return ok && complete; }
  std::string summary() const;
};

namespace detail {
using word = std::uint64_t;
using place = std::uint32_t;
enum class rmw { exchange, add, sub, bit_and, bit_or, bit_xor };

place make_place(word initial, bool plain);
void retire_place(place p);
void name_place(place p, const char* name);
word load(place p, std::memory_order order);
void store(place p, word value, std::memory_order order);
word update(place p, rmw op, word operand, word mask, std::memory_order order);
bool compare_exchange(place p, word& expected, word desired, std::memory_order ok, std::memory_order failed);
void await_exchange(place p, word from, word to, std::memory_order order);
word plain_read(place p);
void plain_write(place p, word value);
void futex_wait(place p, word expected);
unsigned futex_wake(place p, unsigned count);

void add_thread(const char* name, std::function<void()> body);
void set_finally(std::function<void()> body);
void* allocate(std::size_t size, std::size_t align);
void on_end(void (*destroy)(void*), void* object);

template <class T>
concept cell = std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(word);

template <cell T>
word to_word(T value) {
  word w = 0;
  std::memcpy(&w, &value, sizeof value);
  return w;
}
template <cell T>
T from_word(word w) {
  T value;
  std::memcpy(&value, &w, sizeof value);
  return value;
}
}  // namespace detail

// The part of std::atomic that leash uses. compare_exchange_weak does not fail spuriously.
template <detail::cell T>
class atomic {
 public:
  using value_type = T;
  atomic() : atomic(T{}) {}
  atomic(T value) : place_(detail::make_place(detail::to_word(value), false)) {}
  ~atomic() { detail::retire_place(place_); }
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  T load(std::memory_order o = std::memory_order_seq_cst) const {
    return detail::from_word<T>(detail::load(place_, o));
  }
  void store(T v, std::memory_order o = std::memory_order_seq_cst) { detail::store(place_, detail::to_word(v), o); }
  T exchange(T v, std::memory_order o = std::memory_order_seq_cst) { return rmw(detail::rmw::exchange, v, o); }
  T fetch_add(T v, std::memory_order o = std::memory_order_seq_cst) { return rmw(detail::rmw::add, v, o); }
  T fetch_sub(T v, std::memory_order o = std::memory_order_seq_cst) { return rmw(detail::rmw::sub, v, o); }
  T fetch_and(T v, std::memory_order o = std::memory_order_seq_cst) { return rmw(detail::rmw::bit_and, v, o); }
  T fetch_or(T v, std::memory_order o = std::memory_order_seq_cst) { return rmw(detail::rmw::bit_or, v, o); }
  T fetch_xor(T v, std::memory_order o = std::memory_order_seq_cst) { return rmw(detail::rmw::bit_xor, v, o); }

  bool compare_exchange_strong(T& expected, T desired, std::memory_order ok, std::memory_order failed) {
    detail::word e = detail::to_word(expected);
    bool done = detail::compare_exchange(place_, e, detail::to_word(desired), ok, failed);
    if (!done) expected = detail::from_word<T>(e);
    return done;
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order o = std::memory_order_seq_cst) {
    return compare_exchange_strong(expected, desired, o, load_part(o));
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order ok, std::memory_order failed) {
    return compare_exchange_strong(expected, desired, ok, failed);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order o = std::memory_order_seq_cst) {
    return compare_exchange_strong(expected, desired, o, load_part(o));
  }

  // One step that happens only once the value is `from`: a spin loop without its idle rounds.
  void await_exchange(T from, T to, std::memory_order o) {
    detail::await_exchange(place_, detail::to_word(from), detail::to_word(to), o);
  }
  detail::place place() const { return place_; }

 private:
  static constexpr std::memory_order load_part(std::memory_order o) {
    if (o == std::memory_order_acq_rel) return std::memory_order_acquire;
    if (o == std::memory_order_release) return std::memory_order_relaxed;
    return o;
  }
  T rmw(detail::rmw op, T v, std::memory_order o) {
    constexpr detail::word mask = sizeof(T) == 8 ? ~detail::word{0} : (detail::word{1} << (8 * sizeof(T) % 64)) - 1;
    return detail::from_word<T>(detail::update(place_, op, detail::to_word(v), mask, o));
  }
  detail::place place_;
};

// Plain memory: two accesses, one of them a write, that no happens-before edge orders are reported as a data race.
template <detail::cell T>
class var {
 public:
  var() : var(T{}) {}
  var(T value) : place_(detail::make_place(detail::to_word(value), true)) {}
  ~var() { detail::retire_place(place_); }
  var(const var&) = delete;
  var& operator=(const var& other) { return *this = static_cast<T>(other); }
  var& operator=(T value) {
    detail::plain_write(place_, detail::to_word(value));
    return *this;
  }
  operator T() const { return detail::from_word<T>(detail::plain_read(place_)); }
  T get() const { return *this; }
  detail::place place() const { return place_; }

 private:
  detail::place place_;
};

void fence(std::memory_order order);
void light_barrier();  // stops the compiler only
void heavy_barrier();  // membarrier: returns once every store that any thread had buffered when it was called is in
                       // memory
void pause();          // in a spin loop: the thread goes on when something has changed since the loop's first load
void doze();           // a sleep that ends at any time; while it lasts nothing is preempted
// Under reduction::values: the thread's locals are from here on a function of `where` and of shared state alone,
// whatever it has read so far. At the head of a loop it lets equal rounds be merged (a loop that never ends is then cut
// short, not reported).
void forget(unsigned where);
unsigned choose(unsigned count);                 // any number below count; all are tried
void require(bool condition, const char* what);  // fails the schedule

template <class Cell>
void name(const Cell& cell, const char* text) {
  detail::name_place(cell.place(), text);
}

// Sleeps if the value is still `expected` (checked atomically with going to sleep). Linux's semantics without spurious
// returns.
template <class T>
void futex_wait(const atomic<T>& word, T expected) {
  detail::futex_wait(word.place(), detail::to_word(expected));
}
template <class T>
unsigned futex_wake(const atomic<T>& word, unsigned count) {
  return detail::futex_wake(word.place(), count);
}

// A spin lock whose idle rounds are left out. unlock is a release store and so may linger in the store buffer.
class spin_lock {
 public:
  void lock() { held_.await_exchange(0, 1, std::memory_order_acquire); }
  bool try_lock() { return held_.exchange(1, std::memory_order_acquire) == 0; }
  void unlock() { held_.store(0, std::memory_order_release); }
  detail::place place() const { return held_.place(); }

 private:
  atomic<std::uint8_t> held_{0};
};

class run {
 public:
  void thread(std::function<void()> body) { detail::add_thread(nullptr, std::move(body)); }
  void thread(const char* name, std::function<void()> body) { detail::add_thread(name, std::move(body)); }
  // Runs after all threads have ended, ordered after everything they did.
  void finally(std::function<void()> body) { detail::set_finally(std::move(body)); }

  // An object that lives as long as the schedule, at the same address in every schedule.
  template <class T, class... Args>
  T& make(Args&&... args) {
    T* object = ::new (detail::allocate(sizeof(T), alignof(T))) T(std::forward<Args>(args)...);
    if constexpr (!std::is_trivially_destructible_v<T>)
      detail::on_end([](void* p) { static_cast<T*>(p)->~T(); }, object);
    return *object;
  }
};

result check(const options& opts, const std::function<void(run&)>& body);

// LEASH_LONG=1 in the environment asks for the larger configurations.
bool long_run();

// What code templated over its atomics takes in place of the real ones.
struct atomics {
  template <class T>
  using atomic = model::atomic<T>;
  template <class T>
  using var = model::var<T>;
  using spin_lock = model::spin_lock;
  static void fence(std::memory_order order) { model::fence(order); }
  static void light_barrier() { model::light_barrier(); }
  static void heavy_barrier() { model::heavy_barrier(); }
  static void pause() { model::pause(); }
  template <class T>
  static void futex_wait(const atomic<T>& word, T expected) {
    model::futex_wait(word, expected);
  }
  template <class T>
  static unsigned futex_wake(const atomic<T>& word, unsigned count) {
    return model::futex_wake(word, count);
  }
};

}  // namespace model
