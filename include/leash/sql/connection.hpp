// connection: one connection of a pool, for as long as the handle lives; statements, rows read one by one, transactions.
//
//   D1. A handle holds a permit of the pool's semaphore, and lies where it lies: the leak proof finds it. So a goroutine
//       that waits for a connection which only leaked goroutines hold (two of a pool of two that each want a second
//       one) is proved leaked, as with any semaphore.
//   D2. A statement whose goroutine is cut short is cancelled in the database, and its connection brought to rest,
//       before the unwinding goes on.
//   D3. A connection goes back to its pool at rest: no statement under way, no transaction open. One that cannot be
//       brought there in time is closed.
#pragma once
#include <leash/boundary.hpp>
#include <leash/semaphore.hpp>
#include <leash/sql/row.hpp>
#include <memory>
#include <optional>
#include <source_location>
#include <string_view>
#include <utility>

namespace leash::sql {

struct session;
struct pool_core;
class connection;

enum class backend : std::uint8_t { sqlite, postgres };
std::string_view name_of(backend) noexcept;

enum class isolation : std::uint8_t { standard, read_committed, repeatable_read, serializable };

/// Every member has a default.
struct transaction_options {
  sql::isolation isolation = sql::isolation::standard;  // SQLite is always serializable
  /// PostgreSQL refuses writes then. SQLite takes its write lock at the first write, which may fail, instead of at the
  /// beginning.
  bool read_only = false;
};

/// Rows read one by one: `while (auto row = co_await rows.next()) ...`. Only few of them are in memory.
///
/// The statement runs until the last row was read, close(), or the end of this object; until then its connection takes
/// no other. Dropped early, the connection's next statement, or its pool, ends it. Move-only; one goroutine at a time.
class [[nodiscard]] cursor {
 public:
  cursor(cursor&& o) noexcept;
  cursor& operator=(cursor&& o) noexcept;
  ~cursor();

  /// The next row; nullopt after the last.
  ///
  /// Suspends when: the rows that came last are used up. Wait reason: `blocking` (SQLite), `IO wait`. Cancellation: ends
  /// the statement, and the cursor with it; the connection is at rest then. Errors: error.
  task<std::optional<row>> next();
  /// Ends the statement now. Idempotent.
  task<> close();
  /// The names of its columns.
  const columns& names() const noexcept { return *got_.names; }

  /// For the library.
  cursor(session*, result first, std::shared_ptr<const std::string> text);
  session* owner() const noexcept { return s_; }
  void orphan(const char* why) noexcept {
    s_ = nullptr;
    why_ = why;
  }

 private:
  void leave() noexcept;
  void take(cursor& o) noexcept;
  session* s_ = nullptr;  // null: there is no more to come
  const char* why_ = nullptr;
  std::shared_ptr<const std::string> text_;
  result got_;
  std::size_t at_ = 0;
};

/// On a connection that somebody holds; null: on one of the pool's, which goes back then.
task<result> run_statement(session* on, std::shared_ptr<pool_core>, request, std::source_location = {});
task<cursor> open_cursor(session&, request);
task<> run_script(session&, std::shared_ptr<const std::string>);
task<> send_notification(session&, std::string channel, std::string payload);
/// The level that the next transaction would be at: 1, a transaction; more, a savepoint. Errors: error (misuse) where one
/// was begun by hand.
int next_level(const session&);
/// tried: there may be something to roll back. turn: among those who write (SQLite), until the transaction is over.
task<> begin_level(session&, int level, transaction_options, bool& tried, semaphore::permit& turn);
task<> commit_level(session&, int level);
/// Shielded, bounded; what cannot be rolled back is closed with its connection.
task<> roll_back_level(session&, int level);

template <class R, class B>
task<R> run_transaction(session& s, transaction_options options, kept_body<B> body, connection& c) {
  goroutine_core* const g = co_await this_goroutine{};
  int const level = next_level(s);
  bool tried = false;
  semaphore::permit turn;
  body_result<R> r;
  {
    // The begin belongs to what is cut short: it may have been done all the same.
    struct both {
      static task<R> run(session& s, int level, transaction_options o, bool& tried, semaphore::permit& turn,
                         kept_body<B>& body, connection& c) {
        co_await begin_level(s, level, o, tried, turn);
        co_return co_await body.start(c);
      }
    };
    r = co_await boundary_wait<R>(both::run(s, level, options, tried, turn, body, c));
  }
  // A commit is a wait: an end of the context comes first. Once it is begun nothing cuts it short.
  if (!r.cut && !r.error && context_ended(g)) r.cut = true;
  if (!r.cut && !r.error) {
    try {
      co_await commit_level(s, level);
    } catch (...) {
      r.error = std::current_exception();
    }
  }
  if ((r.cut || r.error) && tried) co_await roll_back_level(s, level);
  if (r.cut) co_await unwind_further{};
  if (r.error) std::rethrow_exception(std::move(r.error));
  if constexpr (std::is_reference_v<R>) {
    co_return **r.value;
  } else if constexpr (!std::is_void_v<R>) {
    co_return std::move(*r.value);
  }
}

/// A connection, taken from a pool; goes back when it dies. Move-only.
///
/// Thread safety: one goroutine at a time uses it (a second one is refused); it may be dropped by any thread.
class [[nodiscard]] connection {
 public:
  /// Holds none.
  connection() noexcept {}
  connection(connection&& o) noexcept
      : permit_(std::move(o.permit_)), pool_(std::move(o.pool_)), s_(std::exchange(o.s_, nullptr)) {}
  connection& operator=(connection&& o) noexcept {
    if (this != &o) {
      release();
      permit_ = std::move(o.permit_);
      pool_ = std::move(o.pool_);
      s_ = std::exchange(o.s_, nullptr);
    }
    return *this;
  }
  ~connection() { release(); }
  /// Gives it back early. Idempotent.
  void release() noexcept;
  explicit operator bool() const noexcept { return s_ != nullptr; }

  /// Runs one statement; its rows, if it gives any, are thrown away.
  ///
  /// Parameters: text, with $1, $2... where parameters go; args, what may be a value, or all as one range of `value`: they
  ///   are bound, never pasted.
  /// Returns: the number of rows that it inserted, updated or deleted.
  /// Cancellation: the statement is cancelled in the database and waited for (D2). The statement is prepared once per
  /// connection and kept. Errors: error; std::logic_error on an empty handle.
  template <class... A>
    requires parameters<A...>
  task<std::int64_t> exec(std::string_view text, A&&... args) {
    return exec_request(live(), request::make(text, std::forward<A>(args)...));
  }
  /// As exec. Returns: all rows.
  template <class... A>
    requires parameters<A...>
  task<result> query(std::string_view text, A&&... args) {
    return run_statement(&live(), nullptr, request::make(text, std::forward<A>(args)...));
  }
  /// As exec. Returns: a cursor over the rows, which need not fit into memory. It ends with the handle at the latest.
  template <class... A>
    requires parameters<A...>
  task<cursor> stream(std::string_view text, A&&... args) {
    return open_cursor(live(), request::make(text, std::forward<A>(args)...));
  }
  /// Runs any number of statements, separated by semicolons, without parameters: schemas.
  task<> script(std::string_view text) { return run_script(live(), std::make_shared<const std::string>(text)); }

  /// Runs `body(connection&)` in a transaction, or, inside of one, under a savepoint.
  ///
  /// Returns: what the body returned, after the commit. Cancellation: whatever cuts the body short, or comes before the
  ///   commit, rolls back, shielded and bounded (pool options), before the unwinding goes on; a commit that has begun is
  ///   not cut short.
  /// Errors: the body's exception, after the rollback; error. One of kind connection out of a commit: it may have been
  ///   done.
  template <class B>
  task<body_t<B, connection&>> transaction(B&& body) {
    return transaction(transaction_options{}, std::forward<B>(body));
  }
  template <class B>
  task<body_t<B, connection&>> transaction(transaction_options options, B&& body) {
    return run_transaction<body_t<B, connection&>>(live(), options, kept_body<B>(std::forward<B>(body)), *this);
  }
  bool in_transaction() const noexcept;

  /// Tells the listeners of a channel; in a transaction, when it commits. Errors: error.
  task<> notify(std::string_view channel, std::string_view payload) {
    return send_notification(live(), std::string(channel), std::string(payload));
  }
  /// The server's process, for pg_stat_activity; 0 with SQLite.
  int server_process() const noexcept;
  sql::backend backend() const noexcept;

  /// For the library: into an empty handle.
  void hold(semaphore::permit& p, std::shared_ptr<pool_core> pool, session* s) noexcept {
    permit_ = std::move(p);
    pool_ = std::move(pool);
    s_ = s;
  }
  session& live() const {
    if (s_ == nullptr) throw_misuse("a sql::connection that was moved from or released");
    return *s_;
  }

 private:
  static task<std::int64_t> exec_request(session&, request);
  semaphore::permit permit_;  // D1
  std::shared_ptr<pool_core> pool_;
  session* s_ = nullptr;
};

}  // namespace leash::sql
