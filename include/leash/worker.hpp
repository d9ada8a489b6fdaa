// Workers, and the runtime that owns them: the scheduler.
//
// A worker runs goroutines from, in this order: its next slot (what it woke last; a chain of these is cut after a
// while, so that nobody starves), its queue, the runtime's overflow queue, due timers, the queues of others. With
// nothing to do it spins for a moment, then sleeps.
//
// One sleeping worker at a time is the *sentry*: while others are busy it looks up now and then (0.1 to 1 ms) for a
// goroutine that waits in the next slot of a worker that does not get on, and for timers that are due on one. When all
// sleep it sleeps until the earliest timer, or for ever: an idle program uses no processor time.
//
// If there is a reactor (reactor.hpp), a sleeper waits in its place there instead of on its futex. A busy worker polls its
// place now and then; the sentry polls those of workers that do not get on.
//
// Waking: a goroutine made runnable goes to the waker's next slot, and no worker is woken for it if a sentry is on
// watch. What it pushes out goes to the queue, and one sleeping worker is woken unless some worker is looking for work
// already. Dekker pair between "push; look for sleepers" and "go to sleep; look for work": light fence on the first
// side.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <leash/fence.hpp>
#include <leash/goroutine.hpp>
#include <leash/next_slot.hpp>
#include <leash/reactor.hpp>
#include <leash/run_queue.hpp>
#include <leash/spawn_stack.hpp>
#include <leash/timers.hpp>
#include <leash/trace_chunk.hpp>
#include <memory>
#include <mutex>
#include <source_location>
#include <utility>
#include <vector>

namespace leash {

struct runtime;
struct simulation;
class blocking_pool;

enum class after_resume : std::uint8_t { nothing, finish, unwind, yield };

/// What a worker has in hand while something is noted (trace.hpp); its own, but that nothing is being noted is seen by all.
struct trace_writer {
  std::atomic<bool> noting{false};
  trace_piece* piece = nullptr;
  goroutine_core* noted = nullptr;  // what was run last, as it was then
  std::uint64_t id = 0, word = 0;
};

/// A worker's `tick` when another one last looked whether to take from its queue, and when that was.
struct ticks_seen {
  std::uint32_t tick = 0;
  std::int64_t time = 0;
};

struct worker {
  runtime* rt = nullptr;
  std::uint32_t index = 0;
  after_resume after = after_resume::nothing;
  bool single = false;     // the only worker: nobody steals
  bool left_some = false;  // when it last looked for work, patiently, it left a queue to its owner
  std::atomic<std::uint8_t> unusual{
      0};  // bits, see trace.hpp; 0: not simulated, and nothing is noted of its goroutines
  goroutine_core* current = nullptr;
  const std::byte* stack_top = nullptr;  // what lies below it on the thread's stack dies when the goroutine suspends
  std::uint32_t chain = 0;               // goroutines taken from `next` in a row
  std::uint32_t since_fresh = 0;         // goroutines run since a new one was
  std::int64_t overflow_since = 0;       // when the oldest that overflowed had their turn
  std::int64_t fresh_oldest = 0, fresh_since = 0;  // the oldest of `fresh` when it was looked at, and since when it is
  std::uint64_t id = 0, last_id = 0;               // goroutine ids reserved for this worker
  std::uint64_t random = 0;
  std::unique_ptr<ticks_seen[]> seen;               // of each worker
  std::atomic<std::uint64_t> spawned{0}, ended{0};  // goroutines; written by this worker only, as the next
  std::atomic<std::uint64_t> begun{0}, over{0};     // see runtime::in_flight

  alignas(64) next_slot<goroutine_core> next;
  std::atomic<std::uint32_t> tick{0};          // goroutines run, mod 2^32; written by this worker only
  std::atomic<std::uint32_t> watched_tick{0};  // the sentry's: `tick` when it last looked
  run_queue<goroutine_core> queue;             // woken
  spawn_stack<goroutine_core> fresh;           // not run yet
  timer_wheel timers;

  alignas(64) std::atomic<std::uint32_t> wake_word{0};  // futex: 1 asks it to get up
  worker* next_sleeper = nullptr;
  std::uint32_t poll = 0;  // microseconds between two looks as sentry
  // Under runtime::idle_lock, while it sleeps:
  bool asleep = false;
  bool in_place = false;  // in the reactor, not on its futex
  bool in_reactor = false;
  goroutine_core* completed = nullptr;  // claimed in the reactor, by `next`: runnable when that has returned
  goroutine_core* last_completed = nullptr;

  alignas(64) trace_writer trace;
  std::atomic<std::int32_t> thread{0};  // the kernel's id of its thread; 0: it does not run

  std::uint64_t next_random() noexcept {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return random;
  }
};

#if defined(__clang__) || defined(__GNUC__)
extern constinit thread_local worker* this_worker __attribute__((tls_model("initial-exec")));
#endif

struct goroutine_chunk {
  static constexpr std::uint32_t capacity = 123;
  goroutine_chunk* next = nullptr;
  goroutine_chunk* prev = nullptr;    // of overflowed new ones only
  std::uint32_t first = 0, last = 0;  // items[first..last) are in line
  goroutine_core* items[capacity];
};

/// Opaque to the scheduler: what rooms above it hang in.
struct runtime_hooks {
  /// All workers are idle, no timer is armed, nothing is in flight. True: something was made runnable, look again.
  bool (*quiet)(runtime*) = nullptr;
  /// Simulated: see simulation::check_due.
  void (*tick)(runtime*) = nullptr;
};

struct runtime {
  runtime() = default;
  runtime(const runtime&) = delete;
  ~runtime();

  std::uint16_t index = 0;
  std::uint64_t serial = 0;  // never used again, as the index is
  std::uint32_t worker_count = 0;
  std::unique_ptr<worker[]> workers;
  runtime_hooks hooks;
  void* above = nullptr;  // the hooks' state
  scope_core* root_scope = nullptr;
  goroutine_core* root = nullptr;
  simulation* sim = nullptr;
  std::atomic<std::uint64_t> next_id{1};
  std::atomic<std::uint64_t> foreign_spawned{0};
  std::atomic<bool> stopping{false};
  std::unique_ptr<blocking_pool> blocking;
  std::atomic<reactor*> io{nullptr};  // set once, by use_reactor
  std::shared_ptr<reactor> io_owner;
  std::uint32_t blocking_threads = 0;
  std::uint32_t stuck_after = 10'000;  // milliseconds

  // Overflow and goroutines made runnable by threads that are not workers, in arrays: taking a portion must not touch
  // the goroutines themselves, one cache miss after the other.
  alignas(64) spin_lock global_lock;
  goroutine_chunk* global_head = nullptr;
  goroutine_chunk* global_tail = nullptr;
  std::atomic<std::size_t> global_count{0};
  // New goroutines for which a spawn stack had no room, a chunk at a time. The newest chunk goes back first, so that a
  // tree is still walked in depth; who has nothing to do takes the oldest.
  goroutine_chunk* fresh_oldest = nullptr;
  goroutine_chunk* fresh_newest = nullptr;
  std::atomic<std::size_t> fresh_chunks{0};

  std::atomic<std::uint64_t> foreign_over{0};  // see in_flight
  std::atomic<std::uint32_t> visitors{0};      // see visit

  // idle: bits 0..11 sleeping workers, 12..23 workers looking for work, 24 a sentry is on watch
  alignas(64) std::atomic<std::uint32_t> idle{0};
  std::mutex idle_lock;
  worker* sleepers = nullptr;  // under idle_lock
  worker* sentry = nullptr;    // under idle_lock; a sleeper
  // Written under idle_lock: the reactor wakes some sleeper each millisecond, which looks around.
  std::atomic<bool> ticking{false};
  std::int64_t looked_at = 0;               // under idle_lock, as the next
  std::uint64_t looked_steps = UINT64_MAX;  // steps() at that time
  std::atomic<std::int64_t> sentry_until{
      INT64_MAX};                                  // written under idle_lock: when it looks up next; without one never
  std::atomic<std::int64_t> quiet_again{0};        // no quiet check before: it may be dear
  std::atomic<std::int64_t> quiet_due{INT64_MAX};  // the hook's: look again then, though nothing has happened

  static constexpr std::uint32_t one_sleeper = 1, one_spinner = 1u << 12, has_sentry = 1u << 24;
  static constexpr std::uint32_t sleeper_mask = one_spinner - 1, spinner_mask = (has_sentry - 1) & ~sleeper_mask;

  void inject(goroutine_core*) noexcept;
  void inject(goroutine_core* const* all, std::size_t n) noexcept;
  void overflow_fresh(goroutine_chunk*) noexcept;
  void wake_one() noexcept;
  /// After pushing to a queue.
  LEASH_INLINE void notify() noexcept {
    light_fence();
    std::uint32_t const i = idle.load(std::memory_order_relaxed);
    if ((i & sleeper_mask) != 0 && (i & spinner_mask) == 0) [[unlikely]]
      wake_one();
  }
  /// After filling a next slot.
  LEASH_INLINE void notify_watch() noexcept {
    light_fence();
    std::uint32_t const i = idle.load(std::memory_order_relaxed);
    if ((i & sleeper_mask) != 0 && (i & (spinner_mask | has_sentry)) == 0) [[unlikely]]
      wake_one();
  }
  /// After arming a timer in a goroutine that may compute for long: somebody must get up in time, if there is a sleeper.
  LEASH_INLINE void notify_timer(std::int64_t when) noexcept {
    light_fence();
    if (when < sentry_until.load(std::memory_order_relaxed)) notify_watch();
  }
  void stop() noexcept;
  /// From now on workers without work wait in `r`, unless there is one already. The one that is used.
  reactor& use_reactor(std::shared_ptr<reactor> r);
  std::size_t live_goroutines() const noexcept;
  /// Completions that will come from outside: of blocking calls, I/O, foreign awaitables. Counted by each worker for itself: one
  /// number for all would move between the processors with each wait. While others count it may be too many, never too few;
  /// none: what those that came have made runnable is seen.
  std::uint64_t in_flight() const noexcept;
  /// On one of its workers.
  void begin_outside() noexcept;
  /// Any thread.
  void end_outside(std::uint64_t n = 1) noexcept;
  /// Changes whenever a goroutine is run.
  std::uint64_t steps() const noexcept {
    std::uint64_t n = 0;
    for (std::uint32_t i = 0; i < worker_count; ++i) n += workers[i].tick.load(std::memory_order_relaxed);
    return n;
  }
};

/// A thread that is none of rt's workers is about to make something runnable there: rt, which may have nothing else to
/// wait for after that, waits for the thread to be done with it.
class visit {
 public:
  explicit visit(runtime& rt) noexcept : rt_(rt) { rt.visitors.fetch_add(1, std::memory_order_relaxed); }
  visit(const visit&) = delete;
  ~visit() { rt_.visitors.fetch_sub(1, std::memory_order_release); }

 private:
  runtime& rt_;
};

inline constexpr std::uint32_t max_workers = 1024;

/// The runtime of a goroutine; runtimes have small indices that are reused.
runtime* runtime_at(std::uint16_t index) noexcept;
/// Visits every runtime; none ends meanwhile.
void for_each_runtime(const std::function<void(runtime&)>&);

/// Visits the one with this index, if there is one; it does not end meanwhile.
void visit_runtime(std::uint16_t index, const std::function<void(runtime&)>&);

void register_runtime(runtime&);
void unregister_runtime(runtime&) noexcept;
void prepare_workers(runtime&, std::uint32_t count);
/// Runs what is queued until rt.stop(): the caller's thread becomes worker 0. Everything must have ended by then.
void run_workers(runtime&);

/// Time on the runtime's clock.
std::int64_t runtime_now(const runtime*) noexcept;

/// The worker of the calling thread and the goroutine that runs on it; or throws std::logic_error naming `what`.
goroutine_core* running_goroutine(const char* what, std::source_location where);

/// A fresh goroutine id. Simulated runtimes count from 1, so that a run does not depend on what ran before it.
std::uint64_t new_goroutine_id_slow(std::uint16_t runtime_index) noexcept;
LEASH_INLINE std::uint64_t new_goroutine_id(std::uint16_t runtime_index) noexcept {
  worker* w = this_worker;
  return w != nullptr && w->id != w->last_id ? w->id++ : new_goroutine_id_slow(runtime_index);
}
/// Counts a goroutine that is about to be scheduled for the first time.
void count_spawned(runtime*) noexcept;
/// The goroutine's last owner gives its slot back.
void free_goroutine(goroutine_core*) noexcept;
/// No others of its references are left. See refs_by_rmw.
LEASH_INLINE bool is_only(std::uint8_t refs, std::uint8_t ref) noexcept { return (refs & ~refs_by_rmw) == ref; }
/// Adds one of the refs, by somebody for whom it cannot go away meanwhile. False: it was there.
bool add_ref(goroutine_core*, std::uint8_t ref) noexcept;
/// Drops one of the refs; frees with the last.
void drop_ref(goroutine_core*, std::uint8_t ref) noexcept;

/// Called when a goroutine has ended, before its joiners wake: set by the room that knows scopes.
extern void (*goroutine_ended)(goroutine_core*) noexcept;
/// Called with the exception that ended a goroutine: set by the room that knows scopes.
extern void (*goroutine_failed)(goroutine_core*, std::exception_ptr) noexcept;

/// Keeps an exception that a clean-up threw during an unwinding, until the boundary where that ends takes it. The first
/// stays.
void carry_error(goroutine_core*, std::exception_ptr) noexcept;
std::exception_ptr take_carried(goroutine_core*) noexcept;

/// Keeps why g is being reclaimed, as long as its slot: it may be asked for by its scope and its handle.
void note_reclaimed(goroutine_core* g, std::exception_ptr why);
/// Null: it was not.
std::exception_ptr reclaimed_because(const goroutine_core*) noexcept;

/// See sentinel().
std::uint32_t verdict_generation() noexcept;

inline void runtime::begin_outside() noexcept {
  std::atomic<std::uint64_t>& n = this_worker->begun;
  n.store(n.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

/// The lock that guards g's joiners.
extern spin_lock join_locks[64];
LEASH_INLINE spin_lock& join_lock_of(const goroutine_core* g) noexcept {
  return join_locks[(reinterpret_cast<std::uintptr_t>(g) >> 6) % 64];
}

// --- simulation: one worker, virtual time, a chosen schedule
struct blocking_job;
struct simulation {
  std::int64_t now = 0;
  std::vector<goroutine_core*> ready;  // in the order in which they became so
  std::uint64_t seed = 1;
  std::uint16_t budget = 1;  // operations that may complete at once before others get their turn
  bool yielded = false;      // the goroutine that ran last asked for it, by yield()
  // Of runtime_hooks::tick: made when time would pass `check_due`, if something has run since the last one.
  std::int64_t check_every = 0, check_due = INT64_MAX;
  bool checked = false;
  std::uint32_t steps_checked = 0;
  /// The next step: which of these runs. Called for each step; there is at least one.
  std::function<std::size_t(const std::vector<goroutine_core*>&)> choose;
  /// Which of n >= 2 cases that seem to be ready a select tries next.
  std::function<std::size_t(std::size_t n)> choose_case;
  /// Calls of blocking() that were not made yet: their goroutines stand in `ready`, parked; a step makes the call.
  std::vector<std::pair<goroutine_core*, blocking_job*>> calls;
  bool call_outlasted = false;  // one was not waited for to its end: the run is no longer determined
};

}  // namespace leash
