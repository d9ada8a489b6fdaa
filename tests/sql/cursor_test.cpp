// Rows one by one: all of them, in bounded memory, and a cursor that is left early leaves its connection usable.
#include <fstream>

#include "database.hpp"

namespace leash::test::sql_tests {

SQL_TEST(Cursor, GivesEveryRowInOrder) {
  pool p(db.address());
  connection c = co_await p.acquire();
  for (int n : {0, 1, 63, 64, 65, 128, 1000}) {
    cursor rows = co_await c.stream(db.many_rows(n == 0 ? 1 : n) + (n == 0 ? " WHERE i < 0" : ""));
    EXPECT_EQ(rows.names().names.size(), 2u);
    int at = 0;
    while (auto r = co_await rows.next()) {
      EXPECT_EQ(r->get<int>(0), ++at);
      EXPECT_EQ(r->get<std::string_view>(1).size(), 1000u);
    }
    EXPECT_EQ(at, n);
    EXPECT_FALSE((co_await rows.next()).has_value());
  }
  EXPECT_EQ((co_await c.query("SELECT 1 + 1")).one().get<int>(0), 2);
}

#if !LEASH_ASAN && !LEASH_TSAN
static std::size_t resident_megabytes() {
  std::ifstream in("/proc/self/statm");
  std::size_t all = 0, resident = 0;
  in >> all >> resident;
  return resident * 4096 / 1'000'000;
}

SQL_TEST_REAL(Cursor, KeepsFewRowsInMemory) {
  pool p(db.address());
  connection c = co_await p.acquire();
  cursor rows = co_await c.stream(db.many_rows(200'000));  // 200 MB
  CO_ASSERT_TRUE((co_await rows.next()).has_value());
  std::size_t const before = resident_megabytes();
  std::size_t most = 0;
  int n = 1;
  while (auto r = co_await rows.next())
    if (++n % 1000 == 0) most = std::max(most, resident_megabytes());
  EXPECT_EQ(n, 200'000);
  EXPECT_LT(most, before + 32);
}
#endif

SQL_TEST(Cursor, LeftEarlyTheConnectionIsUsable) {
  pool p(db.address(), {.max_open = 1});
  for (int round = 0; round < 3; ++round) {
    connection c = co_await p.acquire();
    {
      cursor rows = co_await c.stream(db.many_rows(10'000));
      for (int i = 0; i < 10; ++i) EXPECT_TRUE((co_await rows.next()).has_value());
    }
    EXPECT_EQ((co_await c.query("SELECT 1 + 1")).one().get<int>(0), 2);
    cursor rows = co_await c.stream(db.many_rows(10'000));
    EXPECT_TRUE((co_await rows.next()).has_value());
    co_await rows.close();
    EXPECT_FALSE((co_await rows.next()).has_value());
    EXPECT_EQ((co_await c.query("SELECT 1 + 2")).one().get<int>(0), 3);
    cursor left = co_await c.stream(db.many_rows(10'000));
    EXPECT_TRUE((co_await left.next()).has_value());
    c.release();  // the pool brings it to rest
    auto const e = co_await error_of([&]() -> task<> {
      while (co_await left.next()) {
      }
    });
    EXPECT_TRUE(e.has_value() && e->kind() == error_kind::misuse);
  }
  CO_ASSERT_TRUE(co_await settled(p, 1));
  EXPECT_EQ(p.stats().opened, 1u);
  EXPECT_EQ(p.stats().replaced, 0u);
}

SQL_TEST(Cursor, BarsOtherStatementsWhileItIsRead) {
  pool p(db.address());
  connection c = co_await p.acquire();
  cursor rows = co_await c.stream(db.many_rows(1000));
  auto const e = co_await error_of([&]() -> task<> { (void)co_await c.query("SELECT 1"); });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::misuse);
  int n = 0;
  cursor moved = std::move(rows);
  while (co_await moved.next()) ++n;
  EXPECT_EQ(n, 1000);
  EXPECT_EQ((co_await c.query("SELECT 1")).size(), 1u);
}

SQL_TEST(Cursor, InATransactionItEndsWithIt) {
  pool p(db.address());
  connection c = co_await p.acquire();
  std::optional<cursor> kept;
  auto const e = co_await error_of([&]() -> task<> {
    co_await c.transaction([&](connection& t) -> task<> { kept = co_await t.stream(db.many_rows(1000)); });
  });
  EXPECT_TRUE(e.has_value() && e->kind() == error_kind::misuse);  // still being read at the commit
  EXPECT_FALSE(c.in_transaction());
  auto const late = co_await error_of([&]() -> task<> {
    while (co_await kept->next()) {
    }
  });
  EXPECT_TRUE(late.has_value());
  EXPECT_EQ((co_await c.query("SELECT 1")).size(), 1u);
}

}  // namespace leash::test::sql_tests
