// Notifications as a channel, over both databases.
#include "database.hpp"

namespace leash::test::sql_tests {

SQL_TEST(Listen, GivesWhatIsNotifiedInOrder) {
  pool p(db.address());
  co_await with_scope([&](scope& s) -> task<> {
    listener l = co_await listen(s, p, {"orders", "quo\"ted; name"});
    for (int i = 0; i < 10; ++i) co_await p.notify("orders", std::to_string(i));
    co_await p.notify("others", "not mine");
    co_await p.notify("quo\"ted; name", "");
    for (int i = 0; i < 10; ++i) {
      auto const n = co_await l.recv();
      CO_ASSERT_TRUE(n.has_value());
      EXPECT_EQ(n->channel, "orders");
      EXPECT_EQ(n->payload, std::to_string(i));
      EXPECT_FALSE(n->missed);
    }
    auto const n = co_await l.recv();
    CO_ASSERT_TRUE(n.has_value());
    EXPECT_EQ(n->channel, "quo\"ted; name");
  });
}

SQL_TEST(Listen, HearsOfATransactionWhenItCommits) {
  pool p(db.address());
  co_await with_scope([&](scope& s) -> task<> {
    listener l = co_await listen(s, p, {"c"});
    try {
      co_await p.transaction([](connection& c) -> task<> {
        co_await c.notify("c", "never");
        throw std::runtime_error("no");
      });
    } catch (const std::runtime_error&) {
    }
    co_await p.transaction([&](connection& c) -> task<> {
      co_await c.notify("c", "outer");
      try {
        co_await c.transaction([](connection& inner) -> task<> {
          co_await inner.notify("c", "rolled back");
          throw std::runtime_error("no");
        });
      } catch (const std::runtime_error&) {
      }
      co_await c.transaction([](connection& inner) -> task<> { co_await inner.notify("c", "inner"); });
      auto const early = co_await select(l.recv(), sleep(1ms));
      EXPECT_EQ(early.index(), 1u);
    });
    for (const char* expected : {"outer", "inner"}) {
      auto const n = co_await l.recv();
      CO_ASSERT_TRUE(n.has_value());
      EXPECT_EQ(n->payload, expected);
    }
  });
}

SQL_TEST(Listen, EndsWithItsListenerOrItsScope) {
  pool p(db.address());
  std::size_t const before = num_goroutines();
  co_await with_scope([&](scope& s) -> task<> {
    {
      listener l = co_await listen(s, p, {"a"});
    }
    co_await s.join();  // nobody is left
    listener l = co_await listen(s, p, {"a"});
    l = co_await listen(s, p, {"b"});
    co_await p.notify("b", "x");
    EXPECT_TRUE((co_await l.recv()).has_value());
  });
  co_await p.notify("b", "nobody");
  co_await with_scope([&](scope& s) -> task<> {
    listener l = co_await listen(s, p, {"a"});
    s.cancel();
    (void)co_await l.recv();
  });
  EXPECT_EQ(num_goroutines(), before);
}

}  // namespace leash::test::sql_tests
