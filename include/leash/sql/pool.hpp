// pool: connections to one database, opened when they are wanted, up to a limit, and kept for the next.
#pragma once
#include <chrono>
#include <cstddef>
#include <functional>
#include <leash/clock.hpp>
#include <leash/looking.hpp>
#include <leash/sql/connection.hpp>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace leash::sql {

/// Who holds a connection.
struct held_connection {
  goroutine_info who;  // with its stack, if it waits; only its id, if it has ended
  clock::time_point since;
  nanoseconds held{};
  std::source_location acquired_at;
  std::string statement;  // the last one
};

/// Every member has a default. A time of nanoseconds::max() is for ever.
struct pool_options {
  std::size_t max_open = 10;
  std::size_t max_idle = SIZE_MAX;  // more are closed when they come back
  nanoseconds max_lifetime = std::chrono::hours(1);
  nanoseconds max_idle_time = std::chrono::minutes(5);
  /// A connection that is held for longer is told to on_held, once; empty: to the standard error.
  nanoseconds held_limit = std::chrono::minutes(1);
  std::function<void(const held_connection&)> on_held = {};  // in a goroutine of its own; must not throw
  /// For making a connection, all attempts together: a server that restarts is tried again.
  nanoseconds connect_timeout = std::chrono::seconds(10);
  /// For bringing a connection to rest after a cancellation, and for rolling back. After that it is closed.
  nanoseconds settle_within = std::chrono::seconds(5);
  /// SQLite: how long a statement tries again while others hold the lock.
  nanoseconds busy_timeout = std::chrono::seconds(5);
  std::size_t statement_cache = 64;  // prepared statements per connection
};

struct pool_stats {
  std::size_t open = 0;  // connections: idle, in use, or being opened or closed
  std::size_t idle = 0;
  std::size_t in_use = 0;                              // handles
  std::size_t waiting = 0;                             // goroutines in acquire that have no connection yet
  std::uint64_t opened = 0, closed = 0, acquired = 0;  // so far
  std::uint64_t settled = 0;   // brought to rest after a cancellation, an early end or an open transaction
  std::uint64_t replaced = 0;  // closed because they could not be
};

class listener;

/// Connections to one database. Move-only.
///
///   P1. Open connections are at most max_open: an open one is idle, or belongs to who holds a permit.
///   P2. First come, first served: who waits longest gets the next connection.
///   P3. A goroutine that leaves the queue (its context ended) takes nothing along; a connection that it won is its own.
/// Thread safety: any number of goroutines at once, of one runtime, in whose run it must be gone.
class pool {
 public:
  /// Parameters: address, "sqlite:PATH" (also "sqlite::memory:", one connection that is kept), or what libpq takes:
  ///   "postgresql://user@host/database?..." or "host=... dbname=...". Opens nothing yet.
  /// Errors: error (misuse) for an address that is none, a limit of 0, or a database that this build lacks.
  explicit pool(std::string_view address, pool_options = {},
                std::source_location where = std::source_location::current());
  pool(pool&&) noexcept = default;
  pool& operator=(pool&&) noexcept;
  ~pool();

  /// Waits for a connection.
  ///
  /// Suspends when: max_open are out, or one must be opened. Wait reasons: `semaphore` (what it waits for are permits,
  /// D1), then those of connecting. Cancellation: leaves the queue; no connection is lost. Errors: error: not made in
  /// time, refused; misuse: closed.
  task<connection> acquire(std::source_location where = std::source_location::current());

  /// acquire, one statement, and back. As the connection's.
  template <class... A>
    requires parameters<A...>
  task<std::int64_t> exec(std::string_view text, A&&... args) {
    return exec_once(request::make(text, std::forward<A>(args)...), std::source_location::current());
  }
  template <class... A>
    requires parameters<A...>
  task<result> query(std::string_view text, A&&... args) {
    return run_statement(nullptr, core_, request::make(text, std::forward<A>(args)...),
                         std::source_location::current());
  }
  task<> script(std::string_view text, std::source_location where = std::source_location::current());
  task<> notify(std::string_view channel, std::string_view payload,
                std::source_location where = std::source_location::current());
  /// acquire and connection::transaction.
  template <class B>
  task<body_t<B, connection&>> transaction(B&& body, std::source_location where = std::source_location::current()) {
    return transaction(transaction_options{}, std::forward<B>(body), where);
  }
  template <class B>
  task<body_t<B, connection&>> transaction(transaction_options options, B&& body,
                                           std::source_location where = std::source_location::current()) {
    return transact<body_t<B, connection&>>(core_, options, kept_body<B>(std::forward<B>(body)), where);
  }

  /// Refuses who comes from now on and those who wait, waits until every connection is back, and closes all.
  task<> close();

  pool_stats stats() const;
  /// Who holds a connection now, the oldest first. Any thread. Linear in the number of goroutines.
  std::vector<held_connection> held() const;
  sql::backend backend() const noexcept;

  /// For the library.
  const std::shared_ptr<pool_core>& core() const noexcept { return core_; }

 private:
  task<std::int64_t> exec_once(request, std::source_location);
  template <class R, class B>
  static task<R> transact(std::shared_ptr<pool_core> core, transaction_options options, kept_body<B> body,
                          std::source_location where) {
    connection c = co_await acquire_from(std::move(core), where);
    session& s = c.live();
    co_return co_await run_transaction<R>(s, options, std::move(body), c);
  }
  static task<connection> acquire_from(std::shared_ptr<pool_core>, std::source_location);

  std::shared_ptr<pool_core> core_;
};

/// True if this build has it.
bool has(backend) noexcept;

}  // namespace leash::sql
