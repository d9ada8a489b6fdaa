// session: an open connection and what the pool knows of it. Belongs to a handle, or to the pool's idle list.
#pragma once
#include <atomic>
#include <leash/after_func.hpp>
#include <leash/scope.hpp>
#include <leash/spin_lock.hpp>
#include <memory>
#include <optional>
#include <vector>

#include "driver.hpp"

namespace leash::sql {

inline bool in_goroutine() noexcept { return this_worker != nullptr && this_worker->current != nullptr; }

/// Starts a goroutine of the library's own under the runtime's root; in a goroutine only.
template <class F>
void start_goroutine(F&& f, std::source_location where = std::source_location::current()) {
  // The caller is a member of the root scope, or of a scope below it: it is open.
  (void)scope::of(runtime_at(this_worker->current->runtime_index)->root_scope)
      .launch(where, nullptr, false, std::forward<F>(f));
}

/// One of max_open, from before a connection is opened until it is closed.
class open_place {
 public:
  explicit open_place(pool_core*) noexcept;
  open_place(open_place&& o) noexcept : pool_(std::exchange(o.pool_, nullptr)) {}
  open_place& operator=(open_place&&) = delete;
  ~open_place();
  pool_core& pool() const noexcept { return *pool_; }

 private:
  pool_core* pool_;
};

struct session {
  session(open_place, std::unique_ptr<driver>, clock::time_point now);
  session(const session&) = delete;
  ~session();

  open_place place;
  std::unique_ptr<driver> d;
  clock::time_point opened_at, idle_since;
  pool_core* home = nullptr;  // while held

  // One goroutine at a time; `busy` finds a second one.
  std::atomic<bool> busy{false};
  cursor* reading = nullptr;
  int depth = 0;        // of transactions that are under way by transaction()
  bool broken = false;  // to be closed
  struct pending_notification {
    int level;  // of the transaction that must commit first
    std::string channel, payload;
  };
  std::vector<pending_notification> to_notify;  // SQLite

  // Under the pool's lock; who holds it may read them without.
  bool held = false;
  std::uint64_t holder = 0, turn = 0;  // turn: who came first
  clock::time_point since;
  std::source_location acquired_at;
  bool told = false;
  std::shared_ptr<const std::string> statement;
};

struct pool_core : std::enable_shared_from_this<pool_core> {
  pool_core(target t, pool_options o, std::source_location where);
  ~pool_core();

  // --- acquire and give back
  /// Puts the connection that was used last, and the permit, into g's empty handle; false: there is none, or it was idle for a
  /// while. statement: that it is for, if it is for one. Errors: error (misuse) once it is closed.
  static bool hold_idle(connection&, std::shared_ptr<pool_core>&, semaphore::permit&, goroutine_core*,
                        std::shared_ptr<const std::string> statement, std::source_location);
  static task<> look_or_open(connection&, std::shared_ptr<pool_core>, semaphore::permit&, goroutine_core*,
                             std::source_location);
  /// Null: none is idle. Errors: error (misuse) once it is closed.
  std::unique_ptr<session> take_idle();
  /// Of one that was idle.
  bool is_well(session&, clock::time_point now);
  task<std::unique_ptr<session>> open_one();
  void hold_locked(session&, goroutine_core*, clock::time_point now, std::source_location)
      LEASH_TSA(requires_capability(lock));
  /// Any thread.
  void give_back(session*, semaphore::permit) noexcept;
  /// False: there is no room for it.
  bool keep(std::unique_ptr<session>&, clock::time_point now) noexcept;
  bool keep_locked(std::unique_ptr<session>&, clock::time_point now) noexcept LEASH_TSA(requires_capability(lock));
  bool worth_keeping(session&, clock::time_point now) const noexcept;
  bool young_enough(session&, clock::time_point now) const noexcept;
  void started(session&, goroutine_core*, const std::shared_ptr<const std::string>& text);

  // --- watching
  // One timer each, armed while there is something to look at; under the lock. In a goroutine.
  void arm_watch(nanoseconds after);
  void arm_sweep(nanoseconds after);
  void watch();
  task<> sweep();
  std::vector<held_connection> held(nanoseconds at_least, bool untold);
  /// Held, who came first first.
  std::vector<session*> held_locked() const LEASH_TSA(requires_capability(lock));

  /// Takes out what is idle; refuses who comes from now on.
  std::vector<std::unique_ptr<session>> shut() noexcept;
  /// Closes them: in a goroutine of its own, or here and now where there can be none. From destructors.
  void dispose(std::vector<std::unique_ptr<session>>) noexcept;

  // --- what is notified within the process (SQLite)
  struct member {
    sender<notification> to;
    std::vector<std::string> channels;
  };
  void tell(const std::string& channel, const std::string& payload);

  target const to;
  pool_options const options;
  semaphore permits;
  semaphore writers;  // SQLite: transactions that write, one at a time

  // Before `idle`: sessions count their end.
  std::atomic<std::size_t> open{0}, opening{0};  // opening: goroutines that do
  std::atomic<std::uint64_t> opened{0}, closed_count{0}, settled{0}, replaced{0};

  spin_lock lock;  // all below; for moments, never across a wait
  std::vector<session*> all;
  std::vector<std::unique_ptr<session>> idle;  // the newest last
  std::size_t in_use = 0;
  std::uint64_t acquired = 0;
  bool closed = false;
  bool watching = false, sweeping = false;
  std::optional<timer> watch_timer, sweep_timer;
  std::vector<member> members;
};

// Shielded and bounded both; what does not come to rest is broken.
/// No statement under way; a transaction stays.
task<> bring_to_rest_inside(session&);
/// No transaction either.
task<> bring_to_rest(session&, nanoseconds within);

}  // namespace leash::sql
