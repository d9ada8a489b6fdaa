// Recording what goroutines and workers do: as a flight recorder, whose memory is fixed and whose newest part is kept.
//
//   leash::trace_recording recording;      // from now on
//   ...
//   leash::trace t = recording.take();     // what is kept of it
//
// leash::debug writes it for `go tool trace` and for Perfetto, and asks for one over HTTP. Simulated runs are not
// recorded: they can be played again.
#pragma once
#include <cstddef>
#include <cstdint>
#include <leash/clock.hpp>
#include <leash/wait.hpp>
#include <optional>
#include <source_location>
#include <vector>

namespace leash {

enum class trace_kind : std::uint8_t {
  create,  // a goroutine was started by `go`; where: that line. It is runnable, unless its scope lets it wait
  run,     // it runs
  yield,   // it gave way and is runnable
  park,    // it waits; where: the line, reason: for what
  wake,    // it is runnable again; reason and where: of the wait that ended
  end,     // it ended
  cancel,  // a context ended; where: the cancel() that asked for it, or what else it was
  leak,    // it was proved leaked
  arm,     // a timer was set, of after_func or (reason context_done) a deadline; where: that line
  fire,    // it is due: what comes next on that thread, a create or a cancel, comes of it
};
const char* name_of(trace_kind) noexcept;

/// One thing that happened, on one thread.
struct trace_event {
  static constexpr std::uint32_t foreign = UINT32_MAX;
  static constexpr std::size_t most_callers = 2;

  std::int64_t at = 0;  // nanoseconds, on the steady clock
  std::uint64_t goroutine =
      0;                 // whom it happened to; 0: nobody (cancel). arm, fire: a number of the timer while it is set
  std::uint64_t by = 0;  // the goroutine that ran on that thread; 0: none: a timer, or no worker
  std::source_location where;
  std::uint64_t worker_of = 0;     // the runtime's serial; 0: a thread that is no worker
  std::uint32_t worker = foreign;  // its index in that runtime
  std::uint32_t epoch = 0;         // of the goroutine's park word: orders what happened to it. arm: microseconds to go
  std::uint32_t callers = 0;       // park: first of the `caller_count` lines in trace::callers, inner first
  std::uint8_t caller_count = 0;
  trace_kind kind = trace_kind::run;
  wait_reason reason = wait_reason::none;  // park, wake
  bool cut = false;                        // wake: to unwind; end: without a result
};

struct trace {
  std::vector<trace_event> events;  // by time; of one thread, in its order
  std::vector<std::source_location> callers;
  std::int64_t from = 0, to = 0;            // nothing in between was overwritten
  std::uint64_t overwritten = 0, lost = 0;  // records: that were older; for which there was no room
  std::uint32_t workers = 0;                // of all runtimes
};

struct trace_options {
  /// Bytes for all that is kept. At least one 64 KiB piece for each worker, and one more, are needed: what finds none is lost.
  std::size_t memory = std::size_t{16} << 20;
};

/// Records, in all runtimes of the process, while it lives. Several share what is recorded; the memory is that of the
/// first one.
///
/// Cost: off, a test of a byte where a goroutine is run, stops or is made runnable. On: see docs/design/trace.md.
/// Thread safety: any thread, outside of goroutines too.  Errors: std::bad_alloc; std::invalid_argument for less than
///   128 KiB or more than 1 GiB.
class [[nodiscard]] trace_recording {
 public:
  explicit trace_recording(const trace_options& = {});
  trace_recording(const trace_recording&) = delete;
  ~trace_recording();

  /// What is kept since it began, or of the last `window`. Recording goes on.
  ///
  /// Complexity: linear in what is kept; about 60 bytes for each event are allocated. Blocks the thread, not the
  ///   workers.  Errors: std::bad_alloc.
  trace take(nanoseconds window = nanoseconds::max()) const;

 private:
  std::int64_t began_;
};

/// What is kept of the last `window`, whoever records it. Nullopt: nobody does. As trace_recording::take.
std::optional<trace> recorded(nanoseconds window = nanoseconds::max());

// --- for the library

struct worker;
struct runtime;

/// Bits of worker::unusual. What is noted of a worker's goroutines; of observed_everywhere too, which is what new workers
/// begin with and what other threads look at.
inline constexpr std::uint8_t observe_trace = 1, observe_waits = 2;
/// The worker's run is simulated: nothing is noted there.
inline constexpr std::uint8_t is_simulated = 4;
extern std::atomic<std::uint8_t> observed_everywhere;

LEASH_NOINLINE void note_run(worker&, goroutine_core*) noexcept;
/// It was parked, and belongs to who wakes it: only its memory can be relied on.
LEASH_NOINLINE void note_parked(worker&, goroutine_core*) noexcept;
LEASH_NOINLINE void note_yield(worker&, goroutine_core*) noexcept;
LEASH_NOINLINE void note_end(worker&, std::uint64_t id, bool cut) noexcept;
/// About to be made runnable by its owner: on a worker of its runtime, or (null) elsewhere.
LEASH_NOINLINE void note_wake(worker*, goroutine_core*) noexcept;
/// It has been made, and waits for a place in its scope.
LEASH_COLD void note_create(goroutine_core*) noexcept;
LEASH_COLD void note_cancel(std::source_location) noexcept;
LEASH_COLD void note_arm(const timer_entry*, std::int64_t nanoseconds_to_go, wait_reason,
                         std::source_location) noexcept;
LEASH_COLD void note_fire(const timer_entry*) noexcept;
LEASH_COLD void note_leak(std::uint64_t id, std::uint64_t word, std::source_location spawned_at) noexcept;
/// A runtime begins (its workers do not run yet) or ends (they do not run any more).
void observe_runtime(runtime&) noexcept;
void forget_runtime(runtime&) noexcept;
/// Under the lock of `line`, before anybody in it is claimed: who gives `what` back, by code at that address.
LEASH_COLD void note_release(const object* what, const wait_queue& line, const void* at) noexcept;
LEASH_INLINE void note_release_of(const object* what, const wait_queue& line, const void* at) noexcept {
  if (!line.empty() && (observed_everywhere.load(std::memory_order_relaxed) & observe_waits) != 0) [[unlikely]]
    note_release(what, line, at);
}

// --- where goroutines waited, and how long

/// What block and mutex profiles are made of.
struct wait_site {
  std::vector<std::source_location> stack;  // from the wait out to the line that started the goroutine
  wait_reason reason = wait_reason::none;
  double count = 0, nanoseconds = 0;  // estimates from the sample
  // holders() only: the code that gave it back, and the destroying part of the coroutine on top of `stack` (null: none);
  // what their names are only the program's files tell.
  const void* released_at = nullptr;
  const void* coroutine = nullptr;
};

/// Collects where goroutines waited, in all runtimes, while it lives: each wait that took `rate` or longer, and of the
/// shorter ones a sample, so that what is collected is true on the average. Several share what is collected, and the
/// rate of the first. 4096 places are kept apart; what comes then is one without a stack.
///
/// A wait is counted when it ends. Thread safety: any thread.  Errors: std::bad_alloc; std::invalid_argument for a
///   rate below 1 ns.
class [[nodiscard]] wait_profiling {
 public:
  explicit wait_profiling(nanoseconds rate = std::chrono::microseconds(10));
  wait_profiling(const wait_profiling&) = delete;
  ~wait_profiling();
  /// All there was since the first of those that live began.
  std::vector<wait_site> take() const;
  /// The waits for locks and permits again, by who let wait: who gives one back while goroutines stand in line for it is
  /// charged with what they have waited since it was given back before, all together. The stack is that of the goroutine
  /// that gave it back, its last awaits; empty: no goroutine did. At most 128 in a line are counted.
  std::vector<wait_site> holders() const;
};

}  // namespace leash
