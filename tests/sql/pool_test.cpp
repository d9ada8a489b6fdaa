// The pool: limits, order, ages, many goroutines at once; who holds what for too long; and deadlocks on it are proved.
#include <mutex>
#include <random>

#include "database.hpp"

namespace leash::test::sql_tests {

// 200 goroutines move money between accounts over four connections; none is made, none lost.
static task<> bank(database& db, pool& p, int goroutines, int each) {
  co_await p.script("CREATE TABLE accounts (id INTEGER PRIMARY KEY, money INTEGER NOT NULL)");
  for (int i = 0; i < 10; ++i) co_await p.exec("INSERT INTO accounts VALUES ($1, 1000)", i);
  std::atomic<std::size_t> most = 0;
  std::atomic<int> done = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int g = 0; g < goroutines; ++g)
      s.go([&, g]() -> task<> {
        std::minstd_rand random(static_cast<unsigned>(g) + 1);
        for (int i = 0; i < each; ++i) {
          int const from = static_cast<int>(random() % 10), to = static_cast<int>(random() % 10);
          bool const quits = random() % 8 == 0, fails = random() % 8 == 0;
          try {
            co_await p.transaction([&](connection& c) -> task<> {
              most = std::max<std::size_t>(most, p.stats().in_use);
              // In the order of their ids, so that two never wait for each other.
              for (int id : {std::min(from, to), std::max(from, to)})
                co_await c.exec("UPDATE accounts SET money = money + $1 WHERE id = $2",
                                from == to ? 0
                                : id == to ? 10
                                           : -10,
                                id);
              if (fails) throw std::runtime_error("fails");
              if (quits)
                (void)co_await with_timeout(0ms, [&] {
                  return c.transaction(
                      [](connection& inner) -> task<> { co_await inner.exec("UPDATE accounts SET money = money"); });
                });
            });
            ++done;
          } catch (const error& e) {
            // One that updates all accounts may meet another; SQLite rolls back all that an interrupted write was part of.
            if (!quits || (e.kind() != error_kind::serialization && e.kind() != error_kind::rolled_back))
              if (e.kind() != error_kind::serialization) ADD_FAILURE() << e.what();
          } catch (const std::runtime_error& e) {
            if (std::string(e.what()) != "fails") throw;
          }
        }
      });
    co_await s.join();
  });
  EXPECT_GT(done, goroutines * each / 2);
  EXPECT_LE(most, 4u);
  EXPECT_EQ((co_await p.query("SELECT CAST(sum(money) AS INTEGER) FROM accounts")).one().get<int>(0), 10'000);
  EXPECT_EQ(ask(db, "SELECT CAST(sum(money) AS INTEGER) FROM accounts"), "10000");
}

// What an idle pool will do later wakes nobody: who waits for ever is found at once.
static void ends_in_a_deadlock(backend b, bool with_on_held) {
  if (!has(b) || (b == backend::postgres && server::get() == nullptr)) GTEST_SKIP() << "not here";
  database db(b);
  options o = with_workers(2, leaks::are_expected);
  auto const since = std::chrono::steady_clock::now();
  EXPECT_THROW(run(o,
                   [&]() -> task<> {
                     pool_options how;
                     if (with_on_held) how.on_held = [](const held_connection&) {};
                     pool p(db.address(), how);
                     co_await p.exec("SELECT 1");
                     CO_ASSERT_TRUE(co_await eventually([&] { return p.stats().idle == 1; }));
                     auto [tx, rx] = channel<int>();
                     (void)co_await rx.recv();  // its own sender: for ever
                   }),
               deadlock_error);
  EXPECT_LT(std::chrono::steady_clock::now() - since, 30s);  // of a minute that the pool's timers take
}
TEST(Pool, AnIdlePoolDoesNotHideADeadlockSqlite) { ends_in_a_deadlock(backend::sqlite, false); }
TEST(Pool, AnIdlePoolDoesNotHideADeadlockPostgres) { ends_in_a_deadlock(backend::postgres, false); }
TEST(Pool, APoolThatTellsDoesNotEither) { ends_in_a_deadlock(backend::sqlite, true); }

SQL_TEST(Pool, TwoHundredGoroutinesShareFourConnections) {
  pool p(db.address(), {.max_open = 4, .busy_timeout = 60s});
  co_await bank(db, p, 200, long_run() ? 20 : 2);
  CO_ASSERT_TRUE(co_await eventually([&] { return p.stats().in_use == 0 && p.stats().open == p.stats().idle; }));
  EXPECT_LE(p.stats().open, 4u);
  EXPECT_EQ(p.stats().replaced, 0u);
  co_await p.close();
  EXPECT_EQ(num_goroutines(), 1u);
}

SQL_TEST(Pool, ServesFirstComeFirst) {
  pool p(db.address(), {.max_open = 1});
  std::vector<int> order;
  co_await with_scope([&](scope& s) -> task<> {
    std::optional<connection> held(co_await p.acquire());
    for (int i = 0; i < 20; ++i) {
      s.go(named("wants"), [&, i]() -> task<> {
        connection c = co_await p.acquire();
        order.push_back(i);
        co_await yield();
      });
      co_await parked("wants", "semaphore", static_cast<std::size_t>(i) + 1);
    }
    held.reset();
    // Who comes now comes last, though a connection passes by all the time.
    connection c = co_await p.acquire();
    order.push_back(20);
  });
  CO_ASSERT_EQ(order.size(), 21u);
  for (int i = 0; i <= 20; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

SQL_TEST(Pool, KeepsNoMoreIdleThanItMay) {
  pool p(db.address(), {.max_open = 5, .max_idle = 2});
  {
    std::vector<connection> all;
    for (int i = 0; i < 5; ++i) all.push_back(co_await p.acquire());
    EXPECT_EQ(p.stats().in_use, 5u);
    EXPECT_EQ(p.stats().open, 5u);
  }
  CO_ASSERT_TRUE(co_await eventually([&] { return p.stats().open == 2; }));
  EXPECT_EQ(p.stats().idle, 2u);
  EXPECT_EQ(p.stats().closed, 3u);
}

SQLITE_TEST(Pool, ClosesWhatIsIdleForTooLong) {
  pool p(db.address(), {.max_open = 3, .max_idle_time = 50ms});
  {
    connection a = co_await p.acquire(), b = co_await p.acquire();
  }
  CO_ASSERT_TRUE(co_await eventually([&] { return p.stats().open == 0; }));
  EXPECT_EQ((co_await p.query("SELECT 1")).size(), 1u);
  EXPECT_EQ(p.stats().opened, 3u);
}

SQLITE_TEST(Pool, ReplacesWhatHasLivedForTooLong) {
  pool p(db.address(), {.max_open = 1, .max_lifetime = 50ms});
  co_await p.exec("SELECT 1");
  EXPECT_EQ(p.stats().opened, 1u);
  co_await sleep(60ms);
  co_await p.exec("SELECT 1");
  EXPECT_EQ(p.stats().opened, 2u);
  {
    connection c = co_await p.acquire();  // too old while in use: closed when it comes back
    co_await sleep(60ms);
    co_await c.exec("SELECT 1");
  }
  CO_ASSERT_TRUE(co_await eventually([&] { return p.stats().open == 0; }));
}

SQL_TEST(Pool, ClosedItWaitsForWhatIsOutAndRefusesTheRest) {
  pool p(db.address(), {.max_open = 1});
  std::atomic<int> refused = 0;
  co_await with_scope([&](scope& s) -> task<> {
    std::optional<connection> held(co_await p.acquire());
    for (int i = 0; i < 3; ++i)
      s.go(named("late"), [&]() -> task<> {
        auto const e = co_await error_of([&]() -> task<> { auto c = co_await p.acquire(); });
        if (e && e->kind() == error_kind::misuse) ++refused;
      });
    co_await parked("late", "semaphore", 3);
    s.go(named("closer"), [&]() -> task<> { co_await p.close(); });
    co_await parked("closer", "semaphore");
    EXPECT_EQ((co_await held->query("SELECT 1")).size(), 1u);
    held.reset();
    co_await s.join();
  });
  EXPECT_EQ(refused, 3);
  EXPECT_EQ(p.stats().open, 0u);
  EXPECT_TRUE((co_await error_of([&]() -> task<> { auto c = co_await p.acquire(); })).has_value());
}

SQL_TEST(Pool, DroppedWhileConnectionsAreOut) {
  std::optional<connection> c;
  {
    pool p(db.address());
    c = co_await p.acquire();
    connection other = co_await p.acquire();
  }
  EXPECT_EQ((co_await c->query("SELECT 1")).size(), 1u);
  c.reset();
  CO_ASSERT_TRUE(co_await eventually([] { return num_goroutines() == 1; }));
}

SQL_TEST_REAL(Pool, AConnectionMayBeDroppedByAnotherThread) {
  pool p(db.address(), {.max_open = 1});
  for (int round = 0; round < 10; ++round) {
    connection c = co_await p.acquire();
    if (round % 2 == 1) co_await c.exec("BEGIN");
    std::thread([c = std::move(c)]() mutable { c.release(); }).join();
    CO_ASSERT_TRUE(co_await eventually([&] { return p.stats().in_use == 0; }));
    EXPECT_EQ((co_await p.query("SELECT 1")).size(), 1u);
  }
}

// --- held for too long

[[gnu::noinline]] static task<> keeps_it(pool& p, std::atomic<bool>& go_on) {
  connection c = co_await p.acquire();
  co_await c.exec("SELECT 12345");
  while (!go_on) co_await sleep(1ms);
}

SQL_TEST(Held, ForTooLongIsToldOnceWithTheHoldersStack) {
  std::mutex lock;
  std::vector<held_connection> told;
  std::atomic<bool> any = false;
  pool p(db.address(), {.max_open = 2, .held_limit = 20ms, .on_held = [&](const held_connection& h) {
                          std::lock_guard guard(lock);
                          told.push_back(h);
                          any = true;
                        }});
  std::atomic<bool> go_on = false;
  std::uint64_t id = 0;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("keeper"), keeps_it, std::ref(p), std::ref(go_on));
    co_await eventually([&] { return any.load(); });
    for (auto& g : goroutines())
      if (g.name == "keeper") id = g.id;
    co_await sleep(40ms);  // and not again
    auto const now_held = p.held();
    EXPECT_EQ(now_held.size(), 1u);
    if (!now_held.empty()) {
      EXPECT_EQ(now_held[0].who.id, id);
    }
    go_on = true;
    co_await s.join();
  });
  std::lock_guard guard(lock);
  CO_ASSERT_EQ(told.size(), 1u);
  held_connection const& h = told[0];
  EXPECT_EQ(h.who.id, id);
  EXPECT_EQ(h.who.name, "keeper");
  EXPECT_GE(h.held, 20ms);
  EXPECT_EQ(h.statement, "SELECT 12345");
  EXPECT_NE(std::string(h.acquired_at.file_name()).find("pool_test.cpp"), std::string::npos);
  bool in_stack = h.who.state != "waiting";  // else it was awake when it was looked at
  for (auto& f : h.who.stack) in_stack |= f.function.find("keeps_it") != std::string::npos;
  EXPECT_TRUE(in_stack);
  EXPECT_TRUE(p.held().empty());
}

// In virtual time, where a moment is one: who holds it for short, again and again, is nobody to tell of. No call is made
// meanwhile: one that takes long passes its time on to the run.
static task<int> times_told(database& db, std::chrono::nanoseconds held, int times) {
  std::atomic<int> told = 0;
  pool p(db.address(), {.held_limit = 20ms, .on_held = [&](const held_connection&) { ++told; }});
  (co_await p.acquire()).release();  // it is open from here on
  for (int i = 0; i < times; ++i) {
    connection c = co_await p.acquire();
    co_await sleep(held);
    c.release();
    co_await sleep(3ms);
  }
  co_return told.load();
}
TEST(HeldSqlite, ForAMomentIsNotTold) {
  simulated([](database& db) -> task<> { EXPECT_EQ(co_await times_told(db, 19ms, 30), 0); });
}
TEST(HeldSqlite, ForAMomentTooLongIsToldEachTime) {
  simulated([](database& db) -> task<> { EXPECT_EQ(co_await times_told(db, 21ms, 3), 3); });
}

// --- proof

// Each of two holds one of two connections and wants a second one: the classic deadlock of pools.
SQL_TEST_OF_LEAKS(Proof, TwoThatWantASecondConnectionEachAreProvedLeaked) {
  pool p(db.address(), {.max_open = 2});
  auto const greedy = [&]() -> task<> {
    connection one = co_await p.acquire();
    while (p.stats().in_use < 2) co_await sleep(1ms);
    connection two = co_await p.acquire();
  };
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("greedy"), greedy);
    s.go(named("greedy"), greedy);
    co_await parked("greedy", "semaphore", 2);
    std::size_t proven = 0;
    co_await eventually([&] {
      proven = 0;
      for (auto& l : find_leaks()) proven += l.who.name == "greedy" && l.grade == leak_grade::proven;
      return proven == 2;
    });
    EXPECT_EQ(proven, 2u);
    s.cancel();
  });
  CO_ASSERT_TRUE(co_await settled(p, 2));
}
// Its twin: a third connection is out that will come back.
SQL_TEST(Proof, TwoThatWaitForAThirdAreAlive) {
  pool p(db.address(), {.max_open = 3});
  std::optional<connection> other(co_await p.acquire());
  auto const greedy = [&]() -> task<> {
    connection one = co_await p.acquire();
    while (p.stats().in_use < 3) co_await sleep(1ms);
    connection two = co_await p.acquire();
  };
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("greedy"), greedy);
    s.go(named("greedy"), greedy);
    co_await parked("greedy", "semaphore", 2);
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(find_leaks().size(), 0u);
      co_await sleep(1ms);
    }
    other.reset();
    co_await s.join();
  });
}

}  // namespace leash::test::sql_tests
