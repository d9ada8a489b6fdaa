// Values go in and come out as they were, whatever they are; what does not fit is said clearly.
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "database.hpp"

namespace leash::test::sql_tests {

static task<> make_table(pool& p, database& db) {
  co_await p.script("CREATE TABLE v (id INTEGER PRIMARY KEY, n BIGINT, d DOUBLE PRECISION, t TEXT, b " +
                    std::string(db.bytes()) + ", f BOOLEAN, w " + db.moment() + ")");
}

SQL_TEST(Values, EveryKindComesBackAsItWent) {
  pool p(db.address());
  co_await make_table(p, db);
  blob const bytes{std::byte{0}, std::byte{255}, std::byte{'\''}, std::byte{0}};
  sql::time_point const when = std::chrono::sys_days(std::chrono::year(2026) / 11 / 27) + 10h + 41min + 8s + 250us;
  EXPECT_EQ(co_await p.exec("INSERT INTO v VALUES ($1, $2, $3, $4, $5, $6, $7)", 1, INT64_MIN, 0.1, "grüße", bytes,
                            true, when),
            1);
  result const all = co_await p.query("SELECT * FROM v");
  row const& r = all.one();
  EXPECT_EQ(r.get<std::int64_t>("n"), INT64_MIN);
  EXPECT_EQ(r.get<double>("d"), 0.1);
  EXPECT_EQ(r.get<std::string>("t"), "grüße");
  EXPECT_EQ(r.get<std::string_view>("t"), "grüße");
  EXPECT_EQ(r.get<blob>("b"), bytes);
  EXPECT_EQ(r.get<bool>("f"), true);
  EXPECT_EQ(r.get<sql::time_point>("w"), when);
  auto const [id, n, d, t, b, f, w] =
      r.as<int, std::int64_t, double, std::string, blob, std::optional<bool>, std::optional<sql::time_point>>();
  EXPECT_EQ(id, 1);
  EXPECT_EQ(n, INT64_MIN);
  EXPECT_EQ(w, when);
}

// A list of a length that is known only at run time, as for `IN (...)` and for many rows at once.
SQL_TEST(Values, AnyNumberOfParameters) {
  pool p(db.address());
  co_await make_table(p, db);
  std::vector<value> rows;
  std::string text = "INSERT INTO v (id, t) VALUES ";
  for (int i = 0; i < 40; ++i) {
    text += (i == 0 ? "($" : ", ($") + std::to_string(2 * i + 1) + ", $" + std::to_string(2 * i + 2) + ")";
    rows.insert(rows.end(), {value(i), value("'); DROP TABLE v; -- " + std::to_string(i))});
  }
  EXPECT_EQ(co_await p.exec(text, rows), 40);
  connection c = co_await p.acquire();
  std::array<value, 2> const two{value(7), value(39)};
  result const some = co_await c.query("SELECT id, t FROM v WHERE id IN ($1, $2) ORDER BY id", two);
  CO_ASSERT_EQ(some.size(), 2u);
  EXPECT_EQ((some[0].as<int, std::string>()), std::tuple(7, "'); DROP TABLE v; -- 7"));
  EXPECT_EQ((some[1].as<int, std::string>()), std::tuple(39, "'); DROP TABLE v; -- 39"));
  cursor all = co_await c.stream("SELECT id FROM v ORDER BY id", std::span<const value>());
  int n = 0;
  while (auto const r = co_await all.next()) EXPECT_EQ(r->get<int>(0), n++);
  EXPECT_EQ(n, 40);
}

SQL_TEST(Values, NullIsNothingElse) {
  pool p(db.address());
  co_await make_table(p, db);
  std::optional<std::string> const none;
  co_await p.exec("INSERT INTO v VALUES ($1, $2, $3, $4, $5, $6, $7)", 1, null, nullptr, none, std::nullopt,
                  std::optional<bool>(), value());
  co_await p.exec("INSERT INTO v (id, t, b) VALUES ($1, $2, $3)", 2, "", blob());
  result const all = co_await p.query("SELECT n, d, t, b, f, w FROM v ORDER BY id");
  for (std::size_t i = 0; i < 6; ++i) EXPECT_TRUE(all[0][i].is_null()) << i;
  EXPECT_EQ(all[0].get<std::optional<int>>("n"), std::nullopt);
  EXPECT_EQ(all[1].get<std::string>("t"), "");
  EXPECT_EQ(all[1].get<std::optional<blob>>("b"), blob());
  auto const e = co_await error_of([&]() -> task<> {
    (void)all[0].get<int>("n");
    co_return;
  });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::misuse);
  EXPECT_NE(e->message().find("column 0 ('n'): a column holds null"), std::string::npos) << e->what();
  EXPECT_NE(std::string(e->what()).find("SELECT n, d"), std::string::npos) << e->what();
}

SQL_TEST(Values, TheEdgesOfNumbers) {
  pool p(db.address());
  co_await make_table(p, db);
  for (double d : {0.0, -0.0, 1e308, 5e-324, 1.0 / 3, std::numeric_limits<double>::infinity()}) {
    co_await p.exec("DELETE FROM v");
    co_await p.exec("INSERT INTO v (id, d) VALUES (1, $1)", d);
    EXPECT_EQ((co_await p.query("SELECT d FROM v")).one().get<double>(0), d);
  }
  for (std::int64_t n : {std::int64_t{0}, INT64_MAX, INT64_MIN, std::int64_t{-1}}) {
    co_await p.exec("DELETE FROM v");
    co_await p.exec("INSERT INTO v (id, n) VALUES (1, $1)", n);
    EXPECT_EQ((co_await p.query("SELECT n FROM v")).one().get<std::int64_t>(0), n);
  }
  EXPECT_THROW((void)value(std::uint64_t{1} << 63), error);
  row const r = (co_await p.query("SELECT n FROM v")).one();
  EXPECT_THROW((void)r.get<std::uint8_t>(0), error);  // -1
  EXPECT_THROW((void)r.get<std::string>(0), error);
  EXPECT_THROW((void)r.get<bool>(0), error);
  EXPECT_THROW((void)r.get<int>(7), error);
  EXPECT_THROW((void)r.get<int>("no such"), error);
  EXPECT_THROW(((void)r.as<int, int>()), error);
}

TEST(Values, TimesAreReadAndWritten) {
  using namespace std::chrono;
  for (const char* s : {"2026-11-27 10:41:08.25+00", "1969-12-31 23:59:59.999999+00", "0001-01-01 00:00:00+00",
                        "9999-12-31 23:59:59+00", "0045-03-15 12:00:00+00 BC"}) {
    auto const t = to_time(s);
    ASSERT_TRUE(t.has_value()) << s;
    EXPECT_EQ(to_text(*t), s);
  }
  EXPECT_EQ(to_time("2026-11-27T10:41:08Z"), to_time("2026-11-27 10:41:08"));
  EXPECT_EQ(to_time("2026-11-27 12:41:08+02"), to_time("2026-11-27 10:41:08+00"));
  EXPECT_EQ(to_time("2026-11-27 05:11:08-05:30"), to_time("2026-11-27 10:41:08+00"));
  EXPECT_EQ(to_time("2026-11-27 16:11:08+0530"), to_time("2026-11-27 10:41:08+00"));
  EXPECT_EQ(to_time("2026-11-27"), to_time("2026-11-27 00:00"));
  for (const char* s :
       {"", "today", "2026-02-30", "2026-11-27 25:00", "2026-11-27 10:41:08+", "2026-11-27x", "infinity"})
    EXPECT_EQ(to_time(s), std::nullopt) << s;
}

// What would break out of a statement if it were pasted.
SQL_TEST(Injection, TextsAreBoundAndNeverRun) {
  pool p(db.address());
  co_await p.script("CREATE TABLE victims (id INTEGER PRIMARY KEY, t TEXT)");
  std::vector<std::string> texts{"'); DROP TABLE victims; --",
                                 "' OR '1'='1",
                                 "\\'; DROP TABLE victims; --",
                                 "$1",
                                 "?",
                                 "%s%n",
                                 "\"",
                                 "--",
                                 "/*",
                                 "\xE2\x80\x98",
                                 ";",
                                 std::string(100'000, '\''),
                                 "NULL",
                                 "\n\r\t\b\x1a",
                                 "'||(SELECT 1)||'"};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    co_await p.exec("INSERT INTO victims VALUES ($1, $2)", i, texts[i]);
    result const found = co_await p.query("SELECT id FROM victims WHERE t = $1", texts[i]);
    EXPECT_EQ(found.one().get<std::size_t>(0), i);
  }
  result const all = co_await p.query("SELECT t FROM victims ORDER BY id");
  CO_ASSERT_EQ(all.size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(all[i].get<std::string>(0), texts[i]);
  // A zero byte cuts nothing off.
  std::string const with_zero("a\0'; DROP TABLE victims; --", 27);
  auto const e =
      co_await error_of([&]() -> task<> { co_await p.exec("INSERT INTO victims VALUES (99, $1)", with_zero); });
  if (db.is_sqlite()) {
    EXPECT_FALSE(e.has_value());
    EXPECT_EQ((co_await p.query("SELECT t FROM victims WHERE id = 99")).one().get<std::string>(0), with_zero);
  } else {
    CO_ASSERT_TRUE(e.has_value());
    EXPECT_EQ(e->kind(), error_kind::misuse);
  }
}

SQL_TEST(Injection, ParametersGoByTheirNumbers) {
  pool p(db.address());
  result const r =
      co_await p.query("SELECT CAST($2 AS TEXT) AS b, CAST($1 AS TEXT) AS a, CAST($2 AS TEXT) AS c", "one", "two");
  EXPECT_EQ((r.one().as<std::string, std::string, std::string>()), std::tuple("two", "one", "two"));
  for (int given : {0, 1, 3}) {
    auto const e = co_await error_of([&]() -> task<> {
      if (given == 0) (void)co_await p.query("SELECT CAST($2 AS TEXT), CAST($1 AS TEXT)");
      if (given == 1) (void)co_await p.query("SELECT CAST($2 AS TEXT), CAST($1 AS TEXT)", "one");
      if (given == 3) (void)co_await p.query("SELECT CAST($2 AS TEXT), CAST($1 AS TEXT)", "one", "two", "three");
    });
    EXPECT_TRUE(e.has_value()) << given;
  }
}

SQL_TEST(Errors, SayWhatWasWrongAndInWhichStatement) {
  pool p(db.address());
  co_await p.script(
      "CREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER NOT NULL CHECK (n > 0));"
      "CREATE TABLE b (a INTEGER REFERENCES a)");
  co_await p.exec("INSERT INTO a VALUES (1, 1)");
  struct expected {
    const char *statement, *state;
    error_kind kind;
  };
  for (expected const& x : {expected{"INSERT INTO a VALUES (1, 2)", "23505", error_kind::unique},
                            {"INSERT INTO a VALUES (2, -1)", "23514", error_kind::constraint},
                            {"INSERT INTO a VALUES (2, NULL)", "23502", error_kind::constraint},
                            {"INSERT INTO b VALUES (77)", "23503", error_kind::constraint},
                            {"SELEC 1", db.is_sqlite() ? "42000" : "42601", error_kind::syntax},
                            {"SELECT * FROM no_such", db.is_sqlite() ? "42000" : "42P01", error_kind::syntax}}) {
    auto const e = co_await error_of([&]() -> task<> { co_await p.exec(x.statement); });
    CO_ASSERT_TRUE(e.has_value());
    EXPECT_EQ(e->kind(), x.kind) << e->what();
    EXPECT_EQ(e->sqlstate(), x.state) << e->what();
    EXPECT_EQ(e->statement(), x.statement);
    EXPECT_NE(std::string(e->what()).find(x.statement), std::string::npos) << e->what();
    EXPECT_EQ(e->code() != 0, db.is_sqlite());
  }
  EXPECT_EQ(p.stats().open, 1u);  // an error costs no connection
  auto const two = co_await error_of([&]() -> task<> { co_await p.exec("SELECT 1; SELECT 2"); });
  EXPECT_TRUE(two.has_value());
  EXPECT_THROW((void)(co_await p.query("SELECT 1 WHERE 1 = 0")).one(), error);
}

SQL_TEST(Errors, AddressesThatAreNone) {
  for (const char* a : {"", "sqlite:", "test.db", "mysql://x"}) EXPECT_THROW(pool p(a), error) << a;
  EXPECT_THROW(pool p(db.address(), {.max_open = 0}), error);
  EXPECT_THROW(pool p(db.address(), {.max_idle_time = -1s}), error);
  co_return;
}

SQL_TEST(Statements, AffectedRowsAreCounted) {
  pool p(db.address());
  EXPECT_EQ(co_await p.exec("CREATE TABLE t (n INTEGER)"), 0);
  EXPECT_EQ(co_await p.exec("INSERT INTO t VALUES (1), (2), (3)"), 3);
  EXPECT_EQ(co_await p.exec("UPDATE t SET n = n + 1 WHERE n > 1"), 2);
  EXPECT_EQ(co_await p.exec("SELECT * FROM t"), 0);
  EXPECT_EQ(co_await p.exec("DELETE FROM t"), 3);
  EXPECT_EQ(co_await p.exec("DELETE FROM t"), 0);
  result const r = co_await p.query("INSERT INTO t VALUES (7), (8) RETURNING n");
  EXPECT_EQ(r.affected(), 2);
  EXPECT_EQ(r[1].get<int>("n"), 8);
  EXPECT_TRUE((co_await p.query("SELECT n FROM t WHERE n = 0")).empty());
}

// Each text is prepared once per connection, however often it runs, and no more than so many are kept.
SQL_TEST(Statements, ArePreparedOnceAndKept) {
  pool p(db.address(), {.max_open = 1, .statement_cache = 4});
  connection c = co_await p.acquire();
  for (int round = 0; round < 5; ++round)
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ((co_await c.query("SELECT CAST($1 AS INTEGER) + " + std::to_string(i), round)).one().get<int>(0),
                round + i);
  if (!db.is_sqlite()) {
    EXPECT_EQ((co_await c.query("SELECT count(*) FROM pg_prepared_statements")).one().get<int>(0), 3);
  }
  for (int round = 0; round < 3; ++round)
    for (int i = 0; i < 20; ++i)
      for (int twice = 0; twice < 2; ++twice)
        EXPECT_EQ((co_await c.query("SELECT CAST($1 AS INTEGER) - " + std::to_string(i), round)).one().get<int>(0),
                  round - i);
  if (!db.is_sqlite()) {
    EXPECT_LE((co_await c.query("SELECT count(*) FROM pg_prepared_statements")).one().get<int>(0), 4);
  }
}

SQL_TEST(Statements, OutliveAChangeOfTheirTables) {
  pool p(db.address(), {.max_open = 1});
  co_await p.script("CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1)");
  for (int i = 0; i < 3; ++i) EXPECT_EQ((co_await p.query("SELECT * FROM t")).one().size(), 1u);
  co_await p.script("ALTER TABLE t ADD COLUMN b TEXT DEFAULT 'new'");
  for (int i = 0; i < 3; ++i) {
    result const r = co_await p.query("SELECT * FROM t");
    CO_ASSERT_EQ(r.one().size(), 2u);
    EXPECT_EQ(r.one().get<std::string>("b"), "new");
  }
}

}  // namespace leash::test::sql_tests
