// What the tests of leash::sql share: a database of each test's own, over SQLite or PostgreSQL, and a body that runs on
// both.
//
//   SQL_TEST(Suite, behaviour) { ... db.address() ... }     SQLite: 1, 2 and 4 workers and simulated; PostgreSQL: 1, 2, 4
//   SQL_TEST_REAL(Suite, behaviour)                         without the simulated ones: for what a call on the blocking
//                                                           pool waits for, and for other threads
//   SQLITE_TEST, SQLITE_TEST_REAL, POSTGRES_TEST            one of the two
#pragma once
#include <leash/sql.hpp>
#include <string>

#include "support/support.hpp"

namespace leash::test::sql_tests {

using namespace leash::sql;

class database {
 public:
  explicit database(backend b);
  database(const database&) = delete;
  ~database();

  backend kind() const { return kind_; }
  bool is_sqlite() const { return kind_ == backend::sqlite; }
  const std::string& address() const { return address_; }
  /// The backend's word for a type of column.
  const char* bytes() const { return is_sqlite() ? "BLOB" : "BYTEA"; }
  const char* moment() const { return is_sqlite() ? "TEXT" : "TIMESTAMPTZ"; }
  /// A statement without end; it stops by cancellation alone.
  const char* endless() const {
    return is_sqlite()
               ? "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n WHERE i < 0"
               : "SELECT pg_sleep(3600)";
  }
  /// So many rows: i, and a text of 1000 characters.
  std::string many_rows(int n) const;

 private:
  backend kind_;
  std::string address_, place_;
};

/// A PostgreSQL server for this test program; started when first asked for.
class server {
 public:
  /// Null: none is installed.
  static server* get();
  const std::string& address() const { return address_; }
  /// As the operating system kills it: SIGKILL. Returns when its main process is gone.
  void kill();
  /// Starts it again. Returns when it answers.
  void start();
  /// While this lives its main process does not run: nobody is let in, nothing is cancelled; sessions go on.
  class frozen {
   public:
    explicit frozen(server&);
    frozen(const frozen&) = delete;
    ~frozen();

   private:
    server& of_;
  };

 private:
  friend class database;
  server();
  ~server();
  struct state;
  state* s_;
  std::string address_;
};

/// Runs one statement beside the pool, waiting for it; the first column of the first row as text.
std::string ask(database& db, const std::string& statement);

using body_of_test = task<> (*)(database&);
void on_workers(backend, unsigned workers, body_of_test, leaks = leaks::are_false_alarms);
void simulated(body_of_test, leaks = leaks::are_false_alarms);

/// A name for named(), to wait for.
task<bool> settled(pool& p, std::size_t idle);

template <class F>
task<std::optional<error>> error_of(F f) {
  try {
    co_await f();
  } catch (const error& e) {
    co_return e;
  }
  co_return std::nullopt;
}

}  // namespace leash::test::sql_tests

#define LEASH_NEEDS_POSTGRES() \
  if (leash::test::sql_tests::server::get() == nullptr) GTEST_SKIP() << "no PostgreSQL server is installed"

#define SQL_AT_WORKERS_(suite, name, where, body, expected)       \
  TEST(suite, name##_1) { on_workers(where, 1, body, expected); } \
  TEST(suite, name##_2) { on_workers(where, 2, body, expected); } \
  TEST(suite, name##_4) { on_workers(where, 4, body, expected); }
#define SQL_ON_SQLITE_(suite, name, expected) \
  SQL_AT_WORKERS_(suite##Sqlite, name, backend::sqlite, suite##_##name##_body, expected)
#define SQL_ON_POSTGRES_(suite, name, expected) \
  SQL_AT_WORKERS_(suite##Postgres, name, backend::postgres, suite##_##name##_body, expected)
#define SQL_SIMULATED_(suite, name, expected) \
  TEST(suite##Sqlite, name##_simulated) { simulated(suite##_##name##_body, expected); }
#define SQL_DECLARE_(suite, name) static task<> suite##_##name##_body([[maybe_unused]] database& db)
#define SQL_FALSE_ALARMS_ ::leash::test::leaks::are_false_alarms

#define SQL_TEST(suite, name)                      \
  SQL_DECLARE_(suite, name);                       \
  SQL_ON_SQLITE_(suite, name, SQL_FALSE_ALARMS_)   \
  SQL_SIMULATED_(suite, name, SQL_FALSE_ALARMS_)   \
  SQL_ON_POSTGRES_(suite, name, SQL_FALSE_ALARMS_) \
  SQL_DECLARE_(suite, name)
#define SQL_TEST_OF_LEAKS(suite, name)               \
  SQL_DECLARE_(suite, name);                         \
  SQL_ON_SQLITE_(suite, name, leaks::are_expected)   \
  SQL_SIMULATED_(suite, name, leaks::are_expected)   \
  SQL_ON_POSTGRES_(suite, name, leaks::are_expected) \
  SQL_DECLARE_(suite, name)
#define SQL_TEST_REAL(suite, name)                 \
  SQL_DECLARE_(suite, name);                       \
  SQL_ON_SQLITE_(suite, name, SQL_FALSE_ALARMS_)   \
  SQL_ON_POSTGRES_(suite, name, SQL_FALSE_ALARMS_) \
  SQL_DECLARE_(suite, name)
#define SQLITE_TEST(suite, name)                 \
  SQL_DECLARE_(suite, name);                     \
  SQL_ON_SQLITE_(suite, name, SQL_FALSE_ALARMS_) \
  SQL_SIMULATED_(suite, name, SQL_FALSE_ALARMS_) \
  SQL_DECLARE_(suite, name)
#define SQLITE_TEST_REAL(suite, name)            \
  SQL_DECLARE_(suite, name);                     \
  SQL_ON_SQLITE_(suite, name, SQL_FALSE_ALARMS_) \
  SQL_DECLARE_(suite, name)
#define POSTGRES_TEST(suite, name)                 \
  SQL_DECLARE_(suite, name);                       \
  SQL_ON_POSTGRES_(suite, name, SQL_FALSE_ALARMS_) \
  SQL_DECLARE_(suite, name)
