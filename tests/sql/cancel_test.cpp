// Cancellation at every place where a goroutine can wait for a database, by each of the ways in which a context ends:
// the statement ends in the database, the connection is well or replaced, and nothing is lost.
#include <functional>

#include "database.hpp"

namespace leash::test::sql_tests {

namespace {

using ended_by = std::function<task<>(std::function<task<>()>)>;

/// Runs a body that waits for ever in a context that ends once it does wait.
struct way {
  const char* name;
  /// `waits`: returns when the body has come to its wait.
  std::function<task<>(std::function<task<>()> body, std::function<task<>()> waits)> run;
};

std::vector<way> ways() {
  return {
      {"timeout",
       [](std::function<task<>()> body, std::function<task<>()>) -> task<> {
         EXPECT_FALSE(co_await with_timeout(20ms, body));
       }},
      {"source",
       [](std::function<task<>()> body, std::function<task<>()> waits) -> task<> {
         cancel_source cs;
         co_await with_scope([&](scope& s) -> task<> {
           s.go(named("cancelled"), [&]() -> task<> { EXPECT_FALSE(co_await with_cancel(cs, body)); });
           co_await waits();
           cs.cancel("enough");
           co_await s.join();
         });
       }},
      {"scope",
       [](std::function<task<>()> body, std::function<task<>()> waits) -> task<> {
         co_await with_scope([&](scope& s) -> task<> {
           s.go(named("cancelled"), body);
           co_await waits();
           s.cancel("enough");
         });
       }},
      {"sibling's exception",
       [](std::function<task<>()> body, std::function<task<>()> waits) -> task<> {
         bool thrown = false;
         try {
           co_await with_scope([&](scope& s) -> task<> {
             s.go(named("cancelled"), body);
             co_await waits();
             throw std::runtime_error("enough");
           });
         } catch (const std::runtime_error&) {
           thrown = true;
         }
         EXPECT_TRUE(thrown);
       }},
  };
}

}  // namespace

// Where, x how: a matrix.
SQL_TEST_REAL(Cancellation, EndsEveryWaitAndLosesNothing) {
  pool p(db.address(), {.max_open = 2});
  co_await p.script("CREATE TABLE t (n INTEGER)");
  // What runs is an endless statement, so wherever it waits, it waits.
  auto const in_wait = []() -> task<> { (void)co_await eventually([] { return count_parked("cancelled", "") == 1; }); };
  struct place {
    const char* name;
    std::function<task<>()> body;
  };
  std::optional<connection> kept;
  std::vector<place> const places{
      {"query", [&]() -> task<> { (void)co_await p.query(db.endless()); }},
      {"exec", [&]() -> task<> { (void)co_await p.exec(db.endless()); }},
      {"script", [&]() -> task<> { (void)co_await p.script(std::string("SELECT 1;") + db.endless()); }},
      {"query on a connection that lives on", [&]() -> task<> { (void)co_await kept->query(db.endless()); }},
      {"stream",
       [&]() -> task<> {
         connection c = co_await p.acquire();
         cursor rows = co_await c.stream(db.endless());
         (void)co_await rows.next();
       }},
      {"cursor's next",
       [&]() -> task<> {
         connection c = co_await p.acquire();
         cursor rows =
             co_await c.stream(db.is_sqlite() ? "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                                                "SELECT i FROM n WHERE i < 100"
                                              : "SELECT i, CASE WHEN i < 50000 THEN '' ELSE pg_sleep(3600)::text END "
                                                "FROM generate_series(1, 60000) AS n(i)");
         while (co_await rows.next()) {
         }
       }},
      {"transaction",
       [&]() -> task<> {
         co_await p.transaction([&](connection& c) -> task<> {
           co_await c.exec("INSERT INTO t VALUES (1)");
           co_await c.exec(db.endless());
         });
       }},
      {"savepoint",
       [&]() -> task<> {
         co_await p.transaction([&](connection& c) -> task<> {
           co_await c.exec("INSERT INTO t VALUES (1)");
           co_await c.transaction([&](connection& inner) -> task<> {
             co_await inner.exec("INSERT INTO t VALUES (2)");
             co_await inner.exec(db.endless());
           });
         });
       }},
  };
  kept = co_await p.acquire();
  for (const place& at : places)
    for (const way& how : ways()) {
      std::string const where = std::string(at.name) + " by " + how.name;
      co_await how.run(at.body, in_wait);
      EXPECT_EQ((co_await kept->query("SELECT 1 + 1")).one().get<int>(0), 2) << where;
      CO_ASSERT_TRUE(co_await eventually([&] { return p.stats().in_use == 1 && p.stats().waiting == 0; }, where));
      EXPECT_EQ((co_await p.query("SELECT count(*) FROM t")).one().get<int>(0), 0) << where;
    }
  kept.reset();
  EXPECT_EQ(p.stats().replaced, 0u);
  EXPECT_EQ(p.stats().opened, 2u);
  EXPECT_LE(p.stats().open, 2u);
  co_await p.close();
  EXPECT_EQ(p.stats().open, 0u);
  EXPECT_EQ(num_goroutines(), 1u);
}

// The queue of a pool: who leaves it takes nothing along, whatever the moment.
SQL_TEST(Cancellation, OfAcquireLeavesTheQueue) {
  pool p(db.address(), {.max_open = 1});
  std::optional<connection> held(co_await p.acquire());
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> { auto c = co_await p.acquire(); }));
  EXPECT_EQ(p.stats().waiting, 0u);
  // The second of three goes; the others get it in their order.
  std::vector<int> order;
  cancel_source cs;
  auto const wants = [&](int i) -> task<> {
    connection c = co_await p.acquire();
    order.push_back(i);
  };
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("first"), wants, 1);
    co_await parked("first", "semaphore");
    s.go(named("second"), [&]() -> task<> { (void)co_await with_cancel(cs, wants(2)); });
    co_await parked("second", "semaphore");
    s.go(named("third"), wants, 3);
    co_await parked("third", "semaphore");
    EXPECT_EQ(p.stats().waiting, 3u);
    cs.cancel();
    co_await eventually([&] { return p.stats().waiting == 2; });
    held.reset();
    co_await s.join();
  });
  EXPECT_EQ(order, (std::vector{1, 3}));
  EXPECT_EQ(p.stats().in_use, 0u);
  EXPECT_EQ(p.stats().open, 1u);
}

// Hand-over and cancellation at the same time, many times: the connection is somebody's or the pool's.
SQL_TEST(Cancellation, RacesWithTheHandOverAndNoConnectionIsLost) {
  pool p(db.address(), {.max_open = 1});
  int const rounds = long_run() ? 5000 : 200;
  for (int i = 0; i < rounds; ++i) {
    std::optional<connection> held(co_await p.acquire());
    cancel_source cs;
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("wants"), [&]() -> task<> {
        (void)co_await with_cancel(cs, [&]() -> task<> { connection c = co_await p.acquire(); });
      });
      co_await parked("wants", "semaphore");
      s.go([&] { held.reset(); });
      s.go([&] { cs.cancel(); });
      co_await s.join();
    });
    CO_ASSERT_EQ(p.stats().in_use, 0u);
  }
  EXPECT_EQ(p.stats().opened, 1u);
  EXPECT_EQ((co_await p.query("SELECT 1")).size(), 1u);
}

SQL_TEST_REAL(Cancellation, OfAGoroutineThatConnects) {
  pool p(db.address(), {.max_open = 3});
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 30; ++i)
      s.go([&p, i]() -> task<> {
        (void)co_await with_timeout(std::chrono::microseconds(i * 100),
                                    [&]() -> task<> { auto c = co_await p.acquire(); });
      });
    co_await s.join();
  });
  CO_ASSERT_TRUE(co_await eventually([&] { return p.stats().in_use == 0 && p.stats().open == p.stats().idle; }));
  EXPECT_EQ((co_await p.query("SELECT 1")).size(), 1u);
}

}  // namespace leash::test::sql_tests
