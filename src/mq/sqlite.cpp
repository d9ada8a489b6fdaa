// A queue in a SQLite file.
//
//   leash_mq_messages   what is to be handled. Taken: `lease` is a random number, and due_at the end of its visibility time.
//                       So a message whose consumer has died comes again by itself, whoever looks.
//   leash_mq_dead       dead letters
//   leash_mq_keys       idempotency keys that are remembered
//
// One connection, used by one goroutine at a time, on the blocking pool. Processes meet in the file: a take is one UPDATE in
// one write transaction, so a message is taken by one of them; they hear of each other's messages by looking now and then.
// What was taken is settled with its lease: who comes too late changes nothing.
//
// Invariants
//  Q1. A message lies in `messages` until it was acknowledged or became a dead letter.
//  Q2. ordered_by_key: a message is taken only if none of its key with a smaller id is there.
//  Q3. Every change is one transaction, and is on the disk when the call returns (write-ahead log, synchronous = FULL).
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <leash/blocking.hpp>
#include <leash/mq.hpp>
#include <leash/mutex.hpp>
#include <string>
#include <string_view>

namespace leash::mq {

namespace {

constexpr const char* schema =
    "CREATE TABLE IF NOT EXISTS leash_mq_messages("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, key TEXT, body BLOB NOT NULL,"
    "  published_at INTEGER NOT NULL, due_at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, lease INTEGER);"
    "CREATE INDEX IF NOT EXISTS leash_mq_due ON leash_mq_messages(queue, due_at, id);"
    "CREATE INDEX IF NOT EXISTS leash_mq_by_key ON leash_mq_messages(queue, key, id) WHERE key IS NOT NULL;"
    "CREATE TABLE IF NOT EXISTS leash_mq_dead("
    "  id INTEGER PRIMARY KEY, queue TEXT NOT NULL, key TEXT, body BLOB NOT NULL,"
    "  published_at INTEGER NOT NULL, died_at INTEGER NOT NULL, attempts INTEGER NOT NULL, reason TEXT NOT NULL);"
    "CREATE INDEX IF NOT EXISTS leash_mq_dead_of ON leash_mq_dead(queue, id);"
    "CREATE TABLE IF NOT EXISTS leash_mq_keys("
    "  queue TEXT NOT NULL, idempotency_key TEXT NOT NULL, id INTEGER NOT NULL, at INTEGER NOT NULL,"
    "  PRIMARY KEY(queue, idempotency_key)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS leash_mq_keys_at ON leash_mq_keys(queue, at);";

/// Processes share the times in the file, and they outlive a boot: the wall clock, in microseconds.
std::int64_t wall_now() noexcept {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}
std::int64_t micros(nanoseconds d) noexcept { return d.count() / 1000; }

struct null_if_empty {
  std::string_view text;
};

struct sqlite_lease {
  std::int64_t id, number;
};

/// A connection and its statements; used by one thread at a time.
class connection {
 public:
  explicit connection(sqlite_options o) : o_(std::move(o)) {}
  connection(const connection&) = delete;
  ~connection() { close(); }

  void open() {
    int const flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (int const r = ::sqlite3_open_v2(o_.file.c_str(), &db_, flags, nullptr); r != SQLITE_OK) {
      std::string const why = db_ != nullptr ? ::sqlite3_errmsg(db_) : ::sqlite3_errstr(r);
      close();
      throw error(r == SQLITE_CANTOPEN ? failure::refused : kind_of(r), text("cannot be opened", why));
    }
    ::sqlite3_extended_result_codes(db_, 1);
    ::sqlite3_busy_timeout(db_,
                           static_cast<int>(std::clamp<std::int64_t>(o_.busy_wait.count() / 1'000'000, 0, INT32_MAX)));
    run("PRAGMA journal_mode = WAL");
    run("PRAGMA synchronous = FULL");
    if (o_.max_bytes != 0) {
      std::int64_t const page = number_of("PRAGMA page_size");
      run("PRAGMA max_page_count = " +
          std::to_string(std::max<std::int64_t>(1, static_cast<std::int64_t>(o_.max_bytes) / page)));
    }
    transaction([&] { run(schema); });
  }

  /// A statement that is bound and stepped; reset when it goes.
  class query {
   public:
    query(connection& c, const char* sql) : c_(c), s_(c.prepared(sql)) {}
    query(const query&) = delete;
    ~query() {
      ::sqlite3_reset(s_);
      ::sqlite3_clear_bindings(s_);
    }
    template <class... A>
    query& bind(const A&... values) {
      int at = 0;
      (bind_one(++at, values), ...);
      return *this;
    }
    /// False: there are no more rows.
    bool step() {
      int const r = ::sqlite3_step(s_);
      if (r == SQLITE_ROW) return true;
      if (r != SQLITE_DONE) c_.fail(r);
      return false;
    }
    std::int64_t number(int column) { return ::sqlite3_column_int64(s_, column); }
    bool is_null(int column) { return ::sqlite3_column_type(s_, column) == SQLITE_NULL; }
    std::string bytes(int column) {
      auto const* p = static_cast<const char*>(::sqlite3_column_blob(s_, column));
      return p == nullptr ? std::string()
                          : std::string(p, static_cast<std::size_t>(::sqlite3_column_bytes(s_, column)));
    }

   private:
    void bind_one(int at, std::int64_t v) { check(::sqlite3_bind_int64(s_, at, v)); }
    void bind_one(int at, std::string_view v) {
      check(::sqlite3_bind_text64(s_, at, v.data(), v.size(), SQLITE_STATIC, SQLITE_UTF8));
    }
    void bind_one(int at, const std::string* body) {  // a blob
      check(::sqlite3_bind_blob64(s_, at, body->data(), body->size(), SQLITE_STATIC));
    }
    void bind_one(int at, null_if_empty v) {
      if (v.text.empty())
        check(::sqlite3_bind_null(s_, at));
      else
        bind_one(at, v.text);
    }
    void check(int r) {
      if (r != SQLITE_OK) c_.fail(r);
    }
    connection& c_;
    sqlite3_stmt* s_;
  };

  template <class F>
  void transaction(F f) {
    run("BEGIN IMMEDIATE");
    try {
      f();
      run("COMMIT");
    } catch (...) {
      if (::sqlite3_get_autocommit(db_) == 0) ::sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
      throw;
    }
  }
  void run(const std::string& sql) {
    if (int const r = ::sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr); r != SQLITE_OK) fail(r);
  }
  std::int64_t number_of(const char* sql) {
    query q(*this, sql);
    return q.step() ? q.number(0) : 0;
  }
  /// Rows that the last statement changed.
  std::int64_t changes() const { return ::sqlite3_changes64(db_); }
  std::int64_t last_id() const { return ::sqlite3_last_insert_rowid(db_); }
  const sqlite_options& options() const noexcept { return o_; }

 private:
  static failure kind_of(int r) noexcept {
    switch (r & 0xff) {
      case SQLITE_FULL:
        return failure::full;
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
      case SQLITE_IOERR:
      case SQLITE_NOMEM:
        return failure::unavailable;
      case SQLITE_TOOBIG:
      case SQLITE_READONLY:
      case SQLITE_PERM:
      case SQLITE_AUTH:
        return failure::refused;
      default:
        return failure::broken;
    }
  }
  std::string text(const char* what, const std::string& why) const {
    return "queue '" + o_.name + "' in " + o_.file + " " + what + ": " + why;
  }
  [[noreturn]] void fail(int r) {
    bool const full = (r & 0xff) == SQLITE_FULL;
    throw error(kind_of(r), text(full ? "is full, and nothing was changed" : "cannot be used", ::sqlite3_errmsg(db_)));
  }
  sqlite3_stmt* prepared(const char* sql) {
    for (auto& [text, statement] : statements_)
      if (text == sql) return statement;
    sqlite3_stmt* s = nullptr;
    if (int const r = ::sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, nullptr); r != SQLITE_OK)
      fail(r);
    statements_.emplace_back(sql, s);
    return s;
  }
  void close() noexcept {
    for (auto& [text, statement] : statements_) ::sqlite3_finalize(statement);
    statements_.clear();
    if (db_ != nullptr) ::sqlite3_close_v2(std::exchange(db_, nullptr));
  }

  sqlite_options const o_;
  sqlite3* db_ = nullptr;
  std::vector<std::pair<const char*, sqlite3_stmt*>> statements_;  // by the address of their text
};

class sqlite_store : public store {
 public:
  explicit sqlite_store(sqlite_options o) : db_(std::move(o)) {}

  task<> open() {
    co_await blocking([&] { db_.open(); });
  }

  task<receipt> publish(std::string body, publish_options o) override {
    receipt r;
    co_await with_db([&](connection& db) {
      db.transaction([&] {
        std::string const& name = db.options().name;
        std::int64_t const t = wall_now();
        if (!o.idempotency_key.empty()) {
          connection::query(db, "DELETE FROM leash_mq_keys WHERE queue = ?1 AND at < ?2")
              .bind(name, t - micros(db.options().remember_keys))
              .step();
          connection::query known(db, "SELECT id FROM leash_mq_keys WHERE queue = ?1 AND idempotency_key = ?2");
          if (known.bind(name, o.idempotency_key).step()) {
            r = {std::to_string(known.number(0)), true};
            return;
          }
        }
        connection::query(db,
                          "INSERT INTO leash_mq_messages(queue, key, body, published_at, due_at) "
                          "VALUES(?1, ?2, ?3, ?4, ?4)")
            .bind(name, null_if_empty{o.key}, &body, t)
            .step();
        std::int64_t const id = db.last_id();
        if (!o.idempotency_key.empty())
          connection::query(db, "INSERT INTO leash_mq_keys(queue, idempotency_key, id, at) VALUES(?1, ?2, ?3, ?4)")
              .bind(name, o.idempotency_key, id, t)
              .step();
        r = {std::to_string(id), false};
      });
    });
    if (!r.duplicate) changed();
    co_return r;
  }

  task<nanoseconds> take(std::vector<delivery>& into, std::size_t most, nanoseconds visible_again) override {
    nanoseconds look_again = db_.options().poll;
    co_await with_db([&](connection& db) {
      std::string const& name = db.options().name;
      std::int64_t const t = wall_now();
      {
        // Reading does not keep others from writing.
        connection::query next(db, "SELECT min(due_at) FROM leash_mq_messages WHERE queue = ?1");
        if (!next.bind(name).step() || next.is_null(0)) return;
        if (std::int64_t const due = next.number(0); due > t) {
          look_again = std::min(look_again, nanoseconds((due - t) * 1000 + 1000));
          return;
        }
      }
      db.transaction([&] {
        std::int64_t lease = 0;
        ::sqlite3_randomness(sizeof lease, &lease);
        connection::query took(db, db.options().ordered_by_key ? take_in_order : take_any);
        took.bind(name, t, t + micros(visible_again), lease, static_cast<std::int64_t>(most));
        while (took.step()) {
          auto const id = took.number(0);
          into.push_back(
              {{std::to_string(id), took.bytes(1), took.bytes(2), static_cast<std::uint32_t>(took.number(3))},
               std::make_shared<sqlite_lease>(sqlite_lease{id, lease})});
        }
      });
      std::sort(into.begin(), into.end(), [](auto& a, auto& b) { return lease_of(a).id < lease_of(b).id; });
      if (!into.empty()) look_again = nanoseconds::zero();
    });
    co_return look_again;
  }

  task<bool> acknowledge(const delivery& d) override {
    co_return co_await settle(d, [&](connection& db) {
      connection::query(db, "DELETE FROM leash_mq_messages WHERE id = ?1 AND lease = ?2")
          .bind(lease_of(d).id, lease_of(d).number)
          .step();
    });
  }
  task<bool> put_back(const delivery& d, nanoseconds after, bool count) override {
    co_return co_await settle(d, [&](connection& db) {
      connection::query(db,
                        "UPDATE leash_mq_messages SET due_at = ?3, lease = NULL, attempts = attempts - ?4 "
                        "WHERE id = ?1 AND lease = ?2")
          .bind(lease_of(d).id, lease_of(d).number, wall_now() + micros(after), std::int64_t{count ? 0 : 1})
          .step();
    });
  }
  task<bool> bury(const delivery& d, std::string reason) override {
    co_return co_await settle(d, [&](connection& db) {
      db.transaction([&] {
        connection::query(db,
                          "INSERT INTO leash_mq_dead(id, queue, key, body, published_at, died_at, attempts, reason) "
                          "SELECT id, queue, key, body, published_at, ?3, attempts, ?4 FROM leash_mq_messages "
                          "WHERE id = ?1 AND lease = ?2")
            .bind(lease_of(d).id, lease_of(d).number, wall_now(), reason)
            .step();
        connection::query(db, "DELETE FROM leash_mq_messages WHERE id = ?1 AND lease = ?2")
            .bind(lease_of(d).id, lease_of(d).number)
            .step();
      });
    });
  }
  task<bool> extend(const delivery& d, nanoseconds visible_again) override {
    bool mine = false;
    co_await with_db([&](connection& db) {
      connection::query(db, "UPDATE leash_mq_messages SET due_at = ?3 WHERE id = ?1 AND lease = ?2")
          .bind(lease_of(d).id, lease_of(d).number, wall_now() + micros(visible_again))
          .step();
      mine = db.changes() != 0;
    });
    co_return mine;
  }

  task<queue_counts> count() override {
    queue_counts n;
    co_await with_db([&](connection& db) {
      connection::query all(db,
                            "SELECT count(*), count(*) FILTER (WHERE lease IS NOT NULL AND due_at > ?2), "
                            "(SELECT count(*) FROM leash_mq_dead WHERE queue = ?1) "
                            "FROM leash_mq_messages WHERE queue = ?1");
      all.bind(db.options().name, wall_now()).step();
      n.in_flight = static_cast<std::uint64_t>(all.number(1));
      n.waiting = static_cast<std::uint64_t>(all.number(0)) - n.in_flight;
      n.dead = static_cast<std::uint64_t>(all.number(2));
    });
    co_return n;
  }
  task<std::vector<dead_letter>> dead_letters(std::size_t most) override {
    std::vector<dead_letter> found;
    co_await with_db([&](connection& db) {
      connection::query all(
          db, "SELECT id, key, body, attempts, reason FROM leash_mq_dead WHERE queue = ?1 ORDER BY id LIMIT ?2");
      all.bind(db.options().name, static_cast<std::int64_t>(std::min<std::size_t>(most, INT64_MAX)));
      while (all.step())
        found.push_back(
            {{std::to_string(all.number(0)), all.bytes(1), all.bytes(2), static_cast<std::uint32_t>(all.number(3))},
             all.bytes(4)});
    });
    co_return found;
  }
  task<std::size_t> revive_dead_letters() override {
    std::int64_t n = 0;
    co_await with_db([&](connection& db) {
      db.transaction([&] {
        connection::query(db,
                          "INSERT INTO leash_mq_messages(id, queue, key, body, published_at, due_at) "
                          "SELECT id, queue, key, body, published_at, ?2 FROM leash_mq_dead WHERE queue = ?1")
            .bind(db.options().name, wall_now())
            .step();
        connection::query(db, "DELETE FROM leash_mq_dead WHERE queue = ?1").bind(db.options().name).step();
        n = db.changes();
      });
    });
    if (n != 0) changed();
    co_return static_cast<std::size_t>(n);
  }

 private:
  static constexpr const char* take_any =
      "UPDATE leash_mq_messages SET due_at = ?3, lease = ?4, attempts = attempts + 1 WHERE id IN ("
      "  SELECT id FROM leash_mq_messages WHERE queue = ?1 AND due_at <= ?2 ORDER BY due_at, id LIMIT ?5)"
      "RETURNING id, key, body, attempts";
  static constexpr const char* take_in_order =  // Q2
      "UPDATE leash_mq_messages SET due_at = ?3, lease = ?4, attempts = attempts + 1 WHERE id IN ("
      "  SELECT id FROM leash_mq_messages m WHERE queue = ?1 AND due_at <= ?2 AND (key IS NULL OR NOT EXISTS("
      "    SELECT 1 FROM leash_mq_messages e WHERE e.queue = ?1 AND e.key = m.key AND e.id < m.id))"
      "  ORDER BY due_at, id LIMIT ?5)"
      "RETURNING id, key, body, attempts";

  static const sqlite_lease& lease_of(const delivery& d) { return *static_cast<const sqlite_lease*>(d.lease.get()); }

  /// f, on the connection. If its caller is cut short meanwhile, f has run to its end.
  template <class F>
  task<> with_db(F f) {
    auto const alone = co_await use_.lock();
    co_await blocking([&] { f(db_); });
  }
  /// f changes nothing if the lease is another's by now.
  template <class F>
  task<bool> settle(const delivery&, F f) {
    bool mine = false;
    co_await with_db([&](connection& db) {
      f(db);
      mine = db.changes() != 0;
    });
    if (mine) changed();  // the next one of its key, or itself
    co_return mine;
  }

  mutex use_;
  connection db_;
};

}  // namespace

task<queue> open_sqlite(sqlite_options o) {
  if (o.file.empty() || o.name.empty()) throw error(failure::refused, "open_sqlite: a file and a name are needed");
  auto s = std::make_unique<sqlite_store>(std::move(o));
  co_await s->open();
  co_return queue(std::move(s));
}

}  // namespace leash::mq
