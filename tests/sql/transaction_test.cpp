// A transaction ends as its body does.
#include <stdexcept>

#include "database.hpp"

namespace leash::test::sql_tests {

static task<int> count(pool& p) { co_return (co_await p.query("SELECT count(*) FROM t")).one().get<int>(0); }

SQL_TEST(Transaction, CommitsWhenItsBodyReturns) {
  pool p(db.address());
  co_await p.script("CREATE TABLE t (n INTEGER)");
  int const got = co_await p.transaction([](connection& c) -> task<int> {
    EXPECT_TRUE(c.in_transaction());
    co_await c.exec("INSERT INTO t VALUES ($1)", 1);
    co_return 42;
  });
  EXPECT_EQ(got, 42);
  EXPECT_EQ(co_await count(p), 1);
  connection c = co_await p.acquire();
  co_await c.transaction([](connection& t) -> task<> { co_await t.exec("INSERT INTO t VALUES (2)"); });
  EXPECT_FALSE(c.in_transaction());
  EXPECT_EQ((co_await c.query("SELECT count(*) FROM t")).one().get<int>(0), 2);
}

SQL_TEST(Transaction, RollsBackWhenItsBodyThrows) {
  pool p(db.address());
  co_await p.script("CREATE TABLE t (n INTEGER)");
  bool thrown = false;
  try {
    co_await p.transaction([](connection& c) -> task<> {
      co_await c.exec("INSERT INTO t VALUES (1)");
      throw std::runtime_error("mine");
    });
  } catch (const std::runtime_error& e) {
    thrown = std::string(e.what()) == "mine";
  }
  EXPECT_TRUE(thrown);
  EXPECT_EQ(co_await count(p), 0);
  EXPECT_EQ(p.stats().open, 1u);
}

SQL_TEST(Transaction, RollsBackWhenItsBodyIsCutShort) {
  pool p(db.address(), {.max_open = 2});
  co_await p.script("CREATE TABLE t (n INTEGER)");
  // While it waits for something else.
  EXPECT_FALSE(co_await with_timeout(5ms, [&] {
    return p.transaction([](connection& c) -> task<> {
      co_await c.exec("INSERT INTO t VALUES (1)");
      co_await sleep(1h);
    });
  }));
  EXPECT_EQ(co_await count(p), 0);
  // By its scope.
  bool after = false;
  EXPECT_FALSE(co_await with_scope([&](scope& s) -> task<> {
    co_await p.transaction([&](connection& c) -> task<> {
      co_await c.exec("INSERT INTO t VALUES (1)");
      s.cancel();
      co_await c.exec("INSERT INTO t VALUES (2)");
      after = true;
    });
  }));
  EXPECT_FALSE(after);
  EXPECT_EQ(co_await count(p), 0);
  // After its last statement, before the commit: an end comes first.
  EXPECT_FALSE(co_await with_scope([&](scope& s) -> task<> {
    co_await p.transaction([&](connection& c) -> task<> {
      co_await c.exec("INSERT INTO t VALUES (1)");
      s.cancel();
    });
    after = true;
  }));
  EXPECT_FALSE(after);
  EXPECT_EQ(co_await count(p), 0);
  EXPECT_EQ(p.stats().replaced, 0u);
}

SQL_TEST(Transaction, InsideOfOneIsASavepoint) {
  pool p(db.address());
  co_await p.script("CREATE TABLE t (n INTEGER)");
  co_await p.transaction([](connection& c) -> task<> {
    co_await c.exec("INSERT INTO t VALUES (1)");
    co_await c.transaction([](connection& inner) -> task<> { co_await inner.exec("INSERT INTO t VALUES (2)"); });
    try {
      co_await c.transaction([](connection& inner) -> task<> {
        co_await inner.exec("INSERT INTO t VALUES (3)");
        co_await inner.transaction(
            [](connection& third) -> task<> { co_await third.exec("INSERT INTO t VALUES (4)"); });
        co_await inner.exec("INSERT INTO no_such VALUES (5)");
      });
    } catch (const error& e) {
      EXPECT_EQ(e.kind(), error_kind::syntax);
    }
    EXPECT_FALSE(co_await with_timeout(5ms, [&] {
      return c.transaction([](connection& inner) -> task<> {
        co_await inner.exec("INSERT INTO t VALUES (6)");
        co_await sleep(1h);
      });
    }));
    EXPECT_TRUE(c.in_transaction());
    co_await c.exec("INSERT INTO t VALUES (7)");
  });
  result const r = co_await p.query("SELECT n FROM t ORDER BY n");
  CO_ASSERT_EQ(r.size(), 3u);
  EXPECT_EQ(r[0].get<int>(0), 1);
  EXPECT_EQ(r[1].get<int>(0), 2);
  EXPECT_EQ(r[2].get<int>(0), 7);
}

SQL_TEST(Transaction, OneThatTheDatabaseRolledBackIsNotGoneOnWith) {
  pool p(db.address());
  co_await p.script("CREATE TABLE t (n INTEGER PRIMARY KEY)");
  co_await p.exec("INSERT INTO t VALUES (1)");
  auto const e = co_await error_of([&]() -> task<> {
    co_await p.transaction([&](connection& c) -> task<> {
      co_await c.exec("INSERT INTO t VALUES (2)");
      try {
        co_await c.exec(db.is_sqlite() ? "INSERT OR ROLLBACK INTO t VALUES (1)" : "INSERT INTO t VALUES (1)");
      } catch (const error&) {  // and the body goes on
      }
      if (db.is_sqlite()) co_await c.exec("INSERT INTO t VALUES (3)");
    });
  });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::rolled_back) << e->what();
  EXPECT_EQ(co_await count(p), 1);
}

SQL_TEST(Transaction, OneLeftOpenByHandIsRolledBackByThePool) {
  pool p(db.address(), {.max_open = 1});
  co_await p.script("CREATE TABLE t (n INTEGER)");
  {
    connection c = co_await p.acquire();
    co_await c.exec("BEGIN");
    co_await c.exec("INSERT INTO t VALUES (1)");
    auto const e =
        co_await error_of([&]() -> task<> { co_await c.transaction([](connection&) -> task<> { co_return; }); });
    EXPECT_TRUE(e.has_value());  // whose commit would it be?
    EXPECT_TRUE(c.in_transaction());
  }
  EXPECT_EQ(co_await count(p), 0);
  EXPECT_EQ(p.stats().settled, 1u);
  EXPECT_EQ(p.stats().opened, 1u);
}

SQL_TEST(Transaction, ACommitThatFailsRollsBack) {
  pool p(db.address());
  co_await p.script(
      "CREATE TABLE a (id INTEGER PRIMARY KEY);"
      "CREATE TABLE t (a INTEGER REFERENCES a DEFERRABLE INITIALLY DEFERRED)");
  auto const e = co_await error_of([&]() -> task<> {
    co_await p.transaction([](connection& c) -> task<> { co_await c.exec("INSERT INTO t VALUES (7)"); });
  });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::constraint);
  EXPECT_EQ(e->statement(), "COMMIT");
  EXPECT_EQ(co_await count(p), 0);
}

SQL_TEST(Transaction, ReadOnlyOnesRead) {
  pool p(db.address());
  co_await p.script("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (5)");
  EXPECT_EQ(co_await p.transaction(
                {.read_only = true},
                [](connection& c) -> task<int> { co_return (co_await c.query("SELECT n FROM t")).one().get<int>(0); }),
            5);
}

SQL_TEST_REAL(Connection, TwoGoroutinesAtOnceAreFound) {
  pool p(db.address());
  std::optional<connection> c(co_await p.acquire());
  std::atomic<int> refused = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 2; ++i)
      s.go([&]() -> task<> {
        for (int k = 0; k < 50; ++k) try {
            co_await c->exec("SELECT 1");
          } catch (const error& e) {
            EXPECT_EQ(e.kind(), error_kind::misuse);
            ++refused;
          }
      });
    co_await s.join();
  });
  EXPECT_GT(refused, 0);
  EXPECT_EQ((co_await c->query("SELECT 1")).size(), 1u);
  c->release();
  EXPECT_THROW((void)c->exec("SELECT 1"), std::logic_error);
}

}  // namespace leash::test::sql_tests
