// A wait for an operation that runs outside (I/O) and uses the frame of the goroutine that waits: the kernel may hold its
// buffer. So the frame must stay until the operation has ended, whoever wakes the goroutine: the operation itself, another
// case of a select, or cancellation. Those others claim the goroutine as usual; before it is resumed or unwound, its worker
// asks the operation to end and parks it again, held, until it has.
//
//   stage     what is true                                              who may leave it
//   idle      nothing was started                                       the goroutine: lock() starts the operation
//   running   the operation may use the frame                           whoever ends its last part: ended_part()
//   ended     nothing outside will touch the wait again                 -
//
// Invariants
//  O1. stage (once it runs), parts, `queued` and `awaited` change under lock_of(this), which lies outside of the wait.
//  O2. While stage is running the goroutine is neither resumed nor unwound: settle() says so to its worker.
//  O3. Who ends the last part touches the wait for the last time under the lock.
//  O4. in_flight counts the operation from its start until its goroutine is runnable or will see that it has ended.
//
// What it ends with is a result unless it says that it was cut short: a result that came is delivered, although the goroutine's
// context has ended meanwhile. One that nobody wants any more (another case of a select won) is left to the wait's destructor.
#pragma once
#include <atomic>
#include <cstdint>
#include <leash/goroutine.hpp>
#include <leash/wait.hpp>
#include <variant>

namespace leash {

class outside_wait : public waiter {
 public:
  static constexpr bool runs_outside = true;
  ~outside_wait();

  // --- as wait.hpp asks of a wait. Taking the lock starts the operation: what starts it must not run under one.
  spin_lock& lock() noexcept {
    if (now() == stage::idle) begin();
    return lock_of(this);
  }
  /// A hint: what was not started cannot be ready.
  bool likely_ready() const noexcept { return false; }
  bool claim() const noexcept { return now() == stage::ended; }
  void complete() const noexcept {}
  void enqueue() noexcept;
  void remove() noexcept { queued.store(false, std::memory_order_release); }
  void won() const noexcept {}

  /// For whatever runs the operation, any thread: one part of it has ended, and will not touch the wait again.
  static void ended_part(outside_wait*) noexcept;
  /// Under no lock: another part begins to use the wait. False: it has ended.
  static bool begin_part(outside_wait*) noexcept;

  enum class stage : std::uint8_t { idle, running, ended };

 protected:
  struct operations {
    void (*start)(outside_wait*) noexcept;  // must end in ended_part(), at once or later, from any thread
    void (*cancel)(
        outside_wait*) noexcept;  // asks it to end soon; called once, while it runs, by the goroutine's worker
    bool (*cut_short)(const outside_wait*) noexcept;  // it has ended, without a result
  };
  outside_wait(wait_reason r, const operations& how) noexcept : waiter(r), how_(&how) {}
  bool has_ended() const noexcept { return now() == stage::ended; }

 private:
  friend bool settle(goroutine_core*) noexcept;
  friend bool ended_with_result(goroutine_core*) noexcept;
  static spin_lock& lock_of(const outside_wait* w) noexcept;
  stage now() const noexcept { return stage_.load(std::memory_order_relaxed); }
  void begin() noexcept;

  const operations* how_;
  std::atomic<stage> stage_{stage::idle};
  bool awaited_ = false;  // its goroutine is parked until the end
  bool asked_ = false;
  std::uint8_t parts_ = 0;
};

/// True if g, which is claimed, was parked in a wait with an operation outside. In its worker.
bool waits_outside(const goroutine_core* g) noexcept;
/// In g's worker, before it is resumed or unwound. True: nothing outside uses its frames. False: it was parked again.
bool settle(goroutine_core* g) noexcept;
/// After that, if its context has ended: an operation ended with a result all the same; it is made the winner.
bool ended_with_result(goroutine_core* g) noexcept;

}  // namespace leash
