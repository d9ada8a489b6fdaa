// What only SQLite has: one file, locks that are tried again, a log, a disk that fills up.
#include <sqlite3.h>

#include <filesystem>
#include <thread>

#include "database.hpp"

namespace leash::test::sql_tests {

/// Holds the file's write lock, as another program would.
class other_program {
 public:
  explicit other_program(database& db) { EXPECT_EQ(sqlite3_open(db.address().substr(7).c_str(), &db_), SQLITE_OK); }
  other_program(const other_program&) = delete;
  ~other_program() { sqlite3_close(db_); }
  void run(const char* statement) {
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(db_, statement, nullptr, nullptr, &message), SQLITE_OK) << message;
    sqlite3_free(message);
  }

 private:
  sqlite3* db_ = nullptr;
};

SQLITE_TEST(File, ReadersAreNotBarredByAWriter) {
  pool p(db.address());
  co_await p.script("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1)");
  EXPECT_EQ((co_await p.query("PRAGMA journal_mode")).one().get<std::string>(0), "wal");
  EXPECT_EQ((co_await p.query("PRAGMA foreign_keys")).one().get<int>(0), 1);
  other_program o(db);
  o.run("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)");
  EXPECT_EQ((co_await p.query("SELECT count(*) FROM t")).one().get<int>(0), 1);
  o.run("COMMIT");
  EXPECT_EQ((co_await p.query("SELECT count(*) FROM t")).one().get<int>(0), 2);
}

// Simulated, this waits in virtual time.
SQLITE_TEST(Busy, IsTriedAgainAsLongAsThePoolSays) {
  pool p(db.address(), {.busy_timeout = 200ms});
  co_await p.script("CREATE TABLE t (n INTEGER)");
  other_program o(db);
  o.run("BEGIN IMMEDIATE");
  auto const since = now();
  auto const e = co_await error_of([&]() -> task<> { co_await p.exec("INSERT INTO t VALUES (1)"); });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::busy);
  EXPECT_TRUE(e->retryable());
  EXPECT_EQ(e->sqlstate(), "55P03");
  EXPECT_GE(now() - since, 200ms);
  o.run("COMMIT");
  EXPECT_EQ(co_await p.exec("INSERT INTO t VALUES (1)"), 1);
}

SQLITE_TEST(Busy, EndsWhenTheOtherHasDone) {
  pool p(db.address(), {.busy_timeout = 1h});
  co_await p.script("CREATE TABLE t (n INTEGER)");
  other_program o(db);
  o.run("BEGIN IMMEDIATE");
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 3; ++i)
      s.go(named("writer"), [&]() -> task<> {
        co_await p.transaction([](connection& c) -> task<> { co_await c.exec("INSERT INTO t VALUES (1)"); });
      });
    co_await parked("writer", "sleep", 1);  // the others wait behind it
    co_await parked("writer", "semaphore", 2);
    o.run("COMMIT");
    co_await s.join();
  });
  EXPECT_EQ((co_await p.query("SELECT count(*) FROM t")).one().get<int>(0), 3);
}

SQLITE_TEST(Busy, TransactionsThatWriteTakeTurns) {
  pool p(db.address(), {.busy_timeout = 1h});
  co_await p.script("CREATE TABLE t (n INTEGER)");
  std::vector<int> order;
  co_await with_scope([&](scope& s) -> task<> {
    co_await p.transaction([&](connection&) -> task<> {
      for (int i = 0; i < 5; ++i) {
        s.go(named("writer"), [&, i]() -> task<> {
          co_await p.transaction([&](connection& c) -> task<> {
            co_await c.exec("INSERT INTO t VALUES (1)");
            order.push_back(i);
          });
        });
        co_await parked("writer", "semaphore", static_cast<std::size_t>(i) + 1);
      }
      // Who only reads waits for nobody; who leaves the line holds up nobody.
      EXPECT_EQ(co_await p.transaction({.read_only = true},
                                       [](connection& c) -> task<int> {
                                         co_return (co_await c.query("SELECT count(*) FROM t")).one().get<int>(0);
                                       }),
                0);
      EXPECT_FALSE(co_await with_timeout(5ms, [&] { return p.transaction([](connection&) -> task<> { co_return; }); }));
    });
    co_await s.join();
  });
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

SQLITE_TEST(Busy, IsSaidToWhoWaitsForItsTurnTooLong) {
  pool p(db.address(), {.busy_timeout = 50ms});
  co_await p.transaction([&](connection&) -> task<> {
    auto const e =
        co_await error_of([&]() -> task<> { co_await p.transaction([](connection&) -> task<> { co_return; }); });
    CO_ASSERT_TRUE(e.has_value());
    EXPECT_EQ(e->kind(), error_kind::busy);
    EXPECT_EQ(e->sqlstate(), "55P03");
  });
}

SQLITE_TEST(Busy, ObservesTheContext) {
  pool p(db.address(), {.max_open = 1, .busy_timeout = 1h});
  co_await p.script("CREATE TABLE t (n INTEGER)");
  other_program o(db);
  o.run("BEGIN IMMEDIATE");
  EXPECT_FALSE(co_await with_timeout(20ms, [&] { return p.exec("INSERT INTO t VALUES (1)"); }));
  EXPECT_FALSE(co_await with_timeout(20ms, [&] {
    return p.transaction([](connection& c) -> task<> { co_await c.exec("INSERT INTO t VALUES (1)"); });
  }));
  o.run("COMMIT");
  EXPECT_EQ((co_await p.query("SELECT count(*) FROM t")).one().get<int>(0), 0);
  EXPECT_EQ(p.stats().opened, 1u);
}

// What is busy takes no thread of the blocking pool: one is enough for many that wait.
TEST(BusySqlite, TakesNoThread) {
  database db(backend::sqlite);
  options o = with_workers(2);
  o.blocking_threads = 1;
  run(o, [&]() -> task<> {
    pool p(db.address(), {.max_open = 8, .busy_timeout = 1h});
    co_await p.script("CREATE TABLE t (n INTEGER)");
    std::atomic<int> done = 0;
    co_await with_scope([&](scope& s) -> task<> {
      co_await p.transaction([&](connection& c) -> task<> {
        for (int i = 0; i < 6; ++i)
          s.go(named("writer"), [&p, &done]() -> task<> {
            co_await p.exec("INSERT INTO t VALUES (1)");
            ++done;
          });
        co_await parked("writer", "sleep", 6);
        co_await c.exec("INSERT INTO t VALUES (1)");  // needs the thread
        EXPECT_EQ(done, 0);
      });
      co_await s.join();
    });
    EXPECT_EQ((co_await p.query("SELECT count(*) FROM t")).one().get<int>(0), 7);
  });
}

SQLITE_TEST(Disk, ThatIsFullIsSaidClearly) {
  pool p(db.address(), {.max_open = 1});
  co_await p.script("CREATE TABLE t (b BLOB); PRAGMA max_page_count = 20");
  std::optional<error> e;
  for (int i = 0; i < 100 && !e; ++i)
    e = co_await error_of([&]() -> task<> { co_await p.exec("INSERT INTO t VALUES ($1)", blob(10'000)); });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::disk_full);
  EXPECT_EQ(e->sqlstate(), "53100");
  EXPECT_NE(e->message().find("full"), std::string::npos) << e->what();
  int const before = (co_await p.query("SELECT count(*) FROM t")).one().get<int>(0);
  e = co_await error_of([&]() -> task<> {
    co_await p.transaction([](connection& c) -> task<> {
      for (int i = 0; i < 100; ++i) co_await c.exec("INSERT INTO t VALUES ($1)", blob(10'000));
    });
  });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::disk_full);
  EXPECT_EQ((co_await p.query("SELECT count(*) FROM t")).one().get<int>(0), before);
  co_await p.script("PRAGMA max_page_count = 100000");
  EXPECT_EQ(co_await p.exec("INSERT INTO t VALUES ($1)", blob(10'000)), 1);
}

SQLITE_TEST(File, InMemoryIsOneConnectionThatIsKept) {
  pool p("sqlite::memory:", {.max_open = 10, .max_idle_time = 1ms});
  co_await p.script("CREATE TABLE t (n INTEGER)");
  co_await sleep(20ms);
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 20; ++i) s.go([&p, i]() -> task<> { co_await p.exec("INSERT INTO t VALUES ($1)", i); });
    co_await s.join();
  });
  EXPECT_EQ((co_await p.query("SELECT count(*) FROM t")).one().get<int>(0), 20);
  EXPECT_EQ(p.stats().open, 1u);
}

SQLITE_TEST(File, ThatCannotBeOpenedIsSaid) {
  pool p("sqlite:/no/such/folder/x.db");
  auto const e = co_await error_of([&]() -> task<> { auto c = co_await p.acquire(); });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::connection);
  EXPECT_NE(std::string(e->what()).find("/no/such/folder/x.db"), std::string::npos);
  EXPECT_EQ(p.stats().open, 0u);
  EXPECT_EQ(p.stats().in_use, 0u);
}

}  // namespace leash::test::sql_tests
