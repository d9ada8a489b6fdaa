// What only a server can do: be asked what runs on it, end a session, be killed and come back, not answer.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <mutex>

#include "database.hpp"
#include "support/files.hpp"

namespace leash::test::sql_tests {

static std::string state_of(database& db, int process) {
  return ask(db, "SELECT state || ' ' || (query LIKE '%pg_sleep%') FROM pg_stat_activity WHERE pid = " +
                     std::to_string(process));
}

// The statement does not run on the server any more, the session does.
POSTGRES_TEST(Server, StopsAStatementWhoseContextHasEnded) {
  pool p(db.address(), {.max_open = 1});
  connection c = co_await p.acquire();
  int const process = c.server_process();
  for (int round = 0; round < 3; ++round) {
    cancel_source cs;
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("sleeper"), [&]() -> task<> {
        EXPECT_FALSE(co_await with_cancel(cs, [&] { return c.exec("SELECT pg_sleep(3600)"); }));
      });
      co_await eventually([&] { return state_of(db, process) == "active true"; }, "the statement to run on the server");
      cs.cancel();
      co_await s.join();
    });
    EXPECT_NE(state_of(db, process), "active true");
    EXPECT_EQ((co_await c.query("SELECT pg_backend_pid()")).one().get<int>(0), process);
  }
  EXPECT_EQ(p.stats().opened, 1u);
}

POSTGRES_TEST(Server, StopsAStatementThatWaitsForALock) {
  pool p(db.address(), {.max_open = 2});
  co_await p.script("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1)");
  {
    connection one = co_await p.acquire(), two = co_await p.acquire();  // both are open: no time goes into that
  }
  co_await p.transaction([&](connection& c) -> task<> {
    co_await c.exec("UPDATE t SET n = 2");
    EXPECT_FALSE(co_await with_timeout(30ms, [&] { return p.exec("UPDATE t SET n = 3"); }));
  });
  EXPECT_EQ((co_await p.query("SELECT n FROM t")).one().get<int>(0), 2);
  EXPECT_EQ(p.stats().opened, 2u);
  EXPECT_EQ(p.stats().replaced, 0u);
}

// No cancellation hits the statement after the one that it was meant for.
POSTGRES_TEST(Server, CancellationsDoNotComeLate) {
  pool p(db.address(), {.max_open = 1});
  connection c = co_await p.acquire();
  int const rounds = long_run() ? 2000 : 60;
  for (int i = 0; i < rounds; ++i) {
    (void)co_await with_timeout(std::chrono::microseconds(i % 40 * 25),
                                [&] { return c.exec("SELECT pg_sleep(0.0003)"); });
    CO_ASSERT_EQ((co_await c.query("SELECT CAST($1 AS INTEGER)", i)).one().get<int>(0), i);
  }
  EXPECT_EQ(p.stats().opened, 1u);
}

POSTGRES_TEST(Server, ThatEndsASessionCostsOneErrorAndTheConnection) {
  pool p(db.address(), {.max_open = 1});
  {
    connection c = co_await p.acquire();
    std::optional<error> e;
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("sleeper"),
           [&]() -> task<> { e = co_await error_of([&]() -> task<> { co_await c.exec("SELECT pg_sleep(3600)"); }); });
      co_await eventually([&] { return state_of(db, c.server_process()) == "active true"; });
      ask(db, "SELECT pg_terminate_backend(" + std::to_string(c.server_process()) + ")");
      co_await s.join();
    });
    CO_ASSERT_TRUE(e.has_value());
    EXPECT_EQ(e->kind(), error_kind::connection) << e->what();
    EXPECT_EQ(e->statement(), "SELECT pg_sleep(3600)");
    e = co_await error_of([&]() -> task<> { co_await c.exec("SELECT 1"); });
    CO_ASSERT_TRUE(e.has_value());
    EXPECT_EQ(e->kind(), error_kind::connection);
  }
  EXPECT_EQ((co_await p.query("SELECT 1")).size(), 1u);
  EXPECT_EQ(p.stats().replaced, 1u);
  // While it is idle: nobody hears of it.
  int process = 0;
  {
    connection c = co_await p.acquire();
    process = c.server_process();
  }
  ask(db, "SELECT pg_terminate_backend(" + std::to_string(process) + ")");
  co_await eventually([&] { return state_of(db, process).empty(); });
  EXPECT_NE((co_await p.query("SELECT pg_backend_pid()")).one().get<int>(0), process);
  EXPECT_EQ(p.stats().replaced, 2u);
}

// Killed under load, and started again: whoever asks then is answered, and nothing is left of what was.
POSTGRES_TEST(Server, KilledUnderLoadAndStartedAgain) {
  std::size_t const before = num_goroutines();
  pool p(db.address(), {.max_open = 8, .connect_timeout = 60s});
  co_await p.script("CREATE TABLE t (id INTEGER PRIMARY KEY)");
  std::atomic<bool> over = false;
  std::atomic<int> done = 0, lost = 0, wrong = 0, next = 0;
  std::mutex lock;
  std::vector<int> acknowledged;
  co_await with_scope([&](scope& s) -> task<> {
    for (int g = 0; g < 100; ++g)
      s.go([&]() -> task<> {
        while (!over) {
          int const id = ++next;
          try {
            co_await p.transaction([&](connection& c) -> task<> {
              co_await c.exec("INSERT INTO t VALUES ($1)", id);
              cursor rows = co_await c.stream("SELECT i FROM generate_series(1, 100) AS n(i)");
              while (co_await rows.next()) {
              }
            });
            std::lock_guard guard(lock);
            acknowledged.push_back(id);
            ++done;
          } catch (const error& e) {
            e.kind() == error_kind::connection ? ++lost : ++wrong;
            if (e.kind() != error_kind::connection) ADD_FAILURE() << e.what();
          }
        }
      });
    for (int round = 0; round < 2; ++round) {
      int const seen = done;
      co_await eventually([&] { return done > seen + 50; }, "work before the server is killed");
      co_await blocking([] { server::get()->kill(); });
      co_await blocking([] { server::get()->start(); });
      int const then = done;
      co_await eventually([&] { return done > then + 200; }, "work after the server came back");
    }
    over = true;
    co_await s.join();
  });
  EXPECT_GT(lost, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(find_leaks().size(), 0u);
  CO_ASSERT_TRUE(co_await eventually([&] { return p.stats().in_use == 0 && p.stats().open == p.stats().idle; }));
  EXPECT_LE(p.stats().open, 8u);
  for (int id : acknowledged)  // no acknowledged row is lost
    if ((co_await p.query("SELECT 1 FROM t WHERE id = $1", id)).size() != 1) ADD_FAILURE() << id << " is lost";
  co_await p.close();
  EXPECT_EQ(p.stats().open, 0u);
  EXPECT_EQ(num_goroutines(), before);
}

POSTGRES_TEST(Server, ThatComesBackIsWaitedFor) {
  pool p(db.address(), {.connect_timeout = 60s});
  server::get()->kill();
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("early"), [&]() -> task<> { EXPECT_EQ((co_await p.query("SELECT 7")).one().get<int>(0), 7); });
    co_await parked("early", "sleep");  // between two attempts
    co_await blocking([] { server::get()->start(); });
    co_await s.join();
  });
}

// A cancellation that nobody takes: the connection is given up in time, and the goroutine goes on.
POSTGRES_TEST(Server, ThatIsFrozenIsGivenUp) {
  pool p(db.address(), {.max_open = 1, .connect_timeout = 60s, .settle_within = 50ms});
  {
    connection c = co_await p.acquire();
    {
      server::frozen const now(*server::get());
      EXPECT_FALSE(co_await with_timeout(20ms, [&] { return c.exec("SELECT pg_sleep(3600)"); }));
      auto const e = co_await error_of([&]() -> task<> { co_await c.exec("SELECT 1"); });
      CO_ASSERT_TRUE(e.has_value());
      EXPECT_EQ(e->kind(), error_kind::connection);
    }
    ask(db, "SELECT pg_terminate_backend(" + std::to_string(c.server_process()) + ")");
  }
  EXPECT_EQ((co_await p.query("SELECT 1")).size(), 1u);
  EXPECT_EQ(p.stats().replaced, 1u);
  CO_ASSERT_TRUE(co_await eventually([] { return num_goroutines() == 1; }));
}

// A cancellation that does not get through: the server sees by itself that nobody is there any more.
POSTGRES_TEST(Server, EndsAStatementThatCannotBeCancelledWithItsConnection) {
  if (std::stoi(ask(db, "SHOW server_version_num")) < 140'000) {
    [] { GTEST_SKIP() << "PostgreSQL looks for that from 14 on"; }();
    co_return;
  }
  pool beside(db.address());
  connection watch = co_await beside.acquire();
  pool p(db.address(), {.max_open = 1, .settle_within = 50ms});
  std::optional<connection> c(co_await p.acquire());
  int const left = c->server_process();
  server::frozen const now(*server::get());
  EXPECT_FALSE(co_await with_timeout(20ms, [&] {
    return c->query(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i > 0) SELECT count(*) FROM n");
  }));
  c.reset();
  for (auto const end = leash::now() + longest_wait;; co_await sleep(20ms)) {
    if ((co_await watch.query("SELECT 1 FROM pg_stat_activity WHERE pid = $1", left)).empty()) break;
    CO_ASSERT_TRUE(leash::now() < end) << "it runs on";
  }
}

/// Accepts connections and never says a word.
class silent_server {
 public:
  silent_server() {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    std::string const path = folder_.file(".s.PGSQL.5432");
    path.copy(a.sun_path, sizeof a.sun_path - 1);
    fd_ = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
    EXPECT_EQ(::listen(fd_, 100), 0);
  }
  silent_server(const silent_server&) = delete;
  ~silent_server() { ::close(fd_); }
  std::string address() const { return "host=" + folder_.path().string() + " user=leash dbname=postgres"; }

 private:
  folder folder_;
  int fd_;
};

POSTGRES_TEST(Connect, IsBoundedInTime) {
  silent_server silent;
  pool p(silent.address(), {.connect_timeout = 50ms});
  auto e = co_await error_of([&]() -> task<> { auto c = co_await p.acquire(); });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::timeout) << e->what();
  // By the context too, and in the queue behind it.
  pool q(silent.address(), {.max_open = 1, .connect_timeout = 1h});
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 3; ++i)
      s.go([&q]() -> task<> { (void)co_await with_timeout(20ms, [&]() -> task<> { auto c = co_await q.acquire(); }); });
    co_await s.join();
  });
  EXPECT_EQ(q.stats().open, 0u);
  EXPECT_EQ(q.stats().in_use, 0u);
  // Nobody there at all: tried again until the time is over.
  pool none("host=/no/such/folder user=leash", {.connect_timeout = 50ms});
  e = co_await error_of([&]() -> task<> { auto c = co_await none.acquire(); });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::timeout);
  EXPECT_NE(e->message().find("/no/such/folder"), std::string::npos) << e->what();
  // A no is a no.
  pool refused(server::get()->address() + " dbname=no_such_database", {.connect_timeout = 1h});
  e = co_await error_of([&]() -> task<> { auto c = co_await refused.acquire(); });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::connection);
  EXPECT_THROW(pool("host=x nonsense=1"), error);
}

POSTGRES_TEST(Conflict, OfSerializableTransactionsSaysTryAgain) {
  pool p(db.address(), {.max_open = 2});
  co_await p.script("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1)");
  transaction_options const strict{.isolation = isolation::serializable};
  auto const e = co_await error_of([&]() -> task<> {
    co_await p.transaction(strict, [&](connection& a) -> task<> {
      (void)co_await a.query("SELECT sum(n) FROM t");
      co_await p.transaction(strict, [&](connection& b) -> task<> {
        (void)co_await b.query("SELECT sum(n) FROM t");
        co_await b.exec("INSERT INTO t VALUES (2)");
      });
      co_await a.exec("INSERT INTO t VALUES (3)");
    });
  });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::serialization);
  EXPECT_TRUE(e->retryable());
  EXPECT_EQ((co_await p.query("SELECT sum(n) FROM t")).one().get<int>(0), 3);
}

POSTGRES_TEST(Parameters, MayBeLarge) {
  pool p(db.address(), {.max_open = 1});
  std::string const large(20'000'000, 'x');
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ((co_await p.query("SELECT length($1)", large)).one().get<std::size_t>(0), large.size());
  // Cut short while it is being sent.
  for (int i = 0; i < 10; ++i)
    (void)co_await with_timeout(std::chrono::microseconds(i * 1000),
                                [&] { return p.query("SELECT length($1)", large); });
  EXPECT_EQ((co_await p.query("SELECT 1")).size(), 1u);
}

POSTGRES_TEST(Server, CopyIsRefusedAndItsConnectionReplaced) {
  pool p(db.address(), {.max_open = 1});
  co_await p.script("CREATE TABLE t (n INTEGER)");
  auto const e = co_await error_of([&]() -> task<> { co_await p.exec("COPY t FROM STDIN"); });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::misuse);
  EXPECT_EQ((co_await p.query("SELECT 1")).size(), 1u);
  EXPECT_EQ(p.stats().replaced, 1u);
}

POSTGRES_TEST(Notifications, AreMissedOnlyWithAWordOfIt) {
  pool p(db.address(), {.connect_timeout = 60s});
  co_await with_scope([&](scope& s) -> task<> {
    listener l = co_await listen(s, p, {"news"});
    co_await p.notify("news", "one");
    auto n = co_await l.recv();
    CO_ASSERT_TRUE(n.has_value());
    EXPECT_EQ(n->payload, "one");
    co_await blocking([] {
      server::get()->kill();
      server::get()->start();
    });
    n = co_await l.recv();
    CO_ASSERT_TRUE(n.has_value());
    EXPECT_TRUE(n->missed);
    co_await p.notify("news", "two");
    n = co_await l.recv();
    CO_ASSERT_TRUE(n.has_value());
    EXPECT_EQ(n->payload, "two");
  });
}

}  // namespace leash::test::sql_tests
