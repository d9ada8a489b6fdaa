// The store in a file: what it keeps over a reopening, takes once, orders, remembers, and says when it is full.
#include <leash/mq.hpp>
#include <map>
#include <set>
#include <stdexcept>

#include "support/files.hpp"

namespace leash {
namespace {
using namespace test;
using mq::consumer;
using mq::delivery;
using mq::message;
using mq::open_sqlite;

mq::sqlite_options in(const folder& f, std::string name = "queue") {
  return {.file = f.file("mq.db"), .name = std::move(name), .poll = 2ms};
}
task<std::vector<delivery>> take(mq::queue& q, std::size_t most, nanoseconds visible_again = 1h) {
  std::vector<delivery> found;
  (void)co_await q.store().take(found, most, visible_again);
  co_return found;
}

LEASH_TEST_REAL(MqSqlite, what_was_published_is_there_after_a_reopening_with_any_bytes) {
  folder f;
  std::string const bytes("\0a\xff\n", 4);
  {
    auto q = co_await open_sqlite(in(f));
    auto const r = co_await q.publish(bytes, {.key = "k"});
    EXPECT_FALSE(r.duplicate);
    co_await q.publish("");
  }
  auto q = co_await open_sqlite(in(f));
  auto const found = co_await take(q, 10);
  CO_ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].what.body, bytes);
  EXPECT_EQ(found[0].what.key, "k");
  EXPECT_EQ(found[0].what.attempt, 1u);
  EXPECT_EQ(found[1].what.body, "");
  EXPECT_TRUE(co_await q.store().acknowledge(found[0]));
  EXPECT_FALSE(co_await q.store().acknowledge(found[0]));
  auto const n = co_await q.count();
  EXPECT_EQ(n.in_flight, 1u);
  EXPECT_EQ(n.waiting + n.dead, 0u);
}

LEASH_TEST_REAL(MqSqlite, queues_of_one_file_do_not_see_each_other) {
  folder f;
  auto a = co_await open_sqlite(in(f, "a"));
  auto b = co_await open_sqlite(in(f, "b"));
  co_await a.publish("for a");
  EXPECT_TRUE((co_await take(b, 1)).empty());
  EXPECT_EQ((co_await take(a, 1)).size(), 1u);
}

LEASH_TEST_REAL(MqSqlite, an_idempotency_key_is_remembered) {
  folder f;
  auto q = co_await open_sqlite(in(f));
  auto const first = co_await q.publish("x", {.idempotency_key = "1"});
  auto const second = co_await q.publish("y", {.idempotency_key = "1"});
  EXPECT_TRUE(second.duplicate);
  EXPECT_EQ(second.id, first.id);
  auto const found = co_await take(q, 10);
  CO_ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].what.body, "x");
  EXPECT_TRUE(co_await q.store().acknowledge(found[0]));
  EXPECT_TRUE((co_await q.publish("z", {.idempotency_key = "1"})).duplicate);  // though it was handled
  auto forgetful = in(f);
  forgetful.remember_keys = 0ns;
  auto late = co_await open_sqlite(forgetful);
  co_await blocking([] { std::this_thread::sleep_for(1ms); });
  EXPECT_FALSE((co_await late.publish("z", {.idempotency_key = "1"})).duplicate);
}

LEASH_TEST_REAL(MqSqlite, who_comes_after_the_visibility_time_changes_nothing) {
  folder f;
  auto q = co_await open_sqlite(in(f));
  co_await q.publish("x");
  auto const late = co_await take(q, 1, 1us);
  CO_ASSERT_EQ(late.size(), 1u);
  std::vector<delivery> again;
  co_await with_timeout(20s, [&]() -> task<> {
    while (again.empty()) again = co_await take(q, 1);
  });
  CO_ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].what.attempt, 2u);
  EXPECT_FALSE(co_await q.store().extend(late[0], 1h));
  EXPECT_FALSE(co_await q.store().put_back(late[0], 0s, true));
  EXPECT_FALSE(co_await q.store().bury(late[0], "no"));
  EXPECT_FALSE(co_await q.store().acknowledge(late[0]));
  EXPECT_TRUE(co_await q.store().extend(again[0], 1h));
  EXPECT_TRUE(co_await q.store().acknowledge(again[0]));
  EXPECT_EQ((co_await q.count()).dead, 0u);
}

LEASH_TEST_REAL(MqSqlite, put_back_comes_again_when_it_is_due_and_counts_if_told_to) {
  folder f;
  auto q = co_await open_sqlite(in(f));
  co_await q.publish("x");
  auto one = co_await take(q, 1);
  EXPECT_TRUE(co_await q.store().put_back(one.at(0), 0s, false));
  one = co_await take(q, 1);
  EXPECT_EQ(one.at(0).what.attempt, 1u);
  EXPECT_TRUE(co_await q.store().put_back(one.at(0), 0s, true));
  one = co_await take(q, 1);
  EXPECT_EQ(one.at(0).what.attempt, 2u);
  EXPECT_TRUE(co_await q.store().put_back(one.at(0), 1h, true));
  EXPECT_TRUE((co_await take(q, 1)).empty());
  EXPECT_EQ((co_await q.count()).waiting, 1u);
}

LEASH_TEST_REAL(MqSqlite, dead_letters_keep_their_reason_and_can_be_revived) {
  folder f;
  auto q = co_await open_sqlite(in(f));
  co_await q.publish("x", {.key = "k"});
  auto one = co_await take(q, 1);
  EXPECT_TRUE(co_await q.store().bury(one.at(0), "it's dead"));
  auto const dead = co_await q.dead_letters();
  CO_ASSERT_EQ(dead.size(), 1u);
  EXPECT_EQ(dead[0].reason, "it's dead");
  EXPECT_EQ(dead[0].what.body, "x");
  EXPECT_EQ(dead[0].what.key, "k");
  EXPECT_EQ((co_await q.count()).dead, 1u);
  EXPECT_EQ(co_await q.revive_dead_letters(), 1u);
  EXPECT_EQ(co_await q.revive_dead_letters(), 0u);
  one = co_await take(q, 1);
  EXPECT_EQ(one.at(0).what.attempt, 1u);
}

LEASH_TEST_REAL(MqSqlite, ordered_by_key_gives_the_next_of_a_key_when_the_one_before_is_settled) {
  folder f;
  auto o = in(f);
  o.ordered_by_key = true;
  auto q = co_await open_sqlite(o);
  for (const char* body : {"a1", "a2", "b1", "free", "a3"})
    co_await q.publish(body, {.key = std::string(body) == "free" ? "" : std::string(body, 1)});
  auto now = co_await take(q, 10);
  CO_ASSERT_EQ(now.size(), 3u);
  EXPECT_EQ(now[0].what.body, "a1");
  EXPECT_EQ(now[1].what.body, "b1");
  EXPECT_EQ(now[2].what.body, "free");
  EXPECT_TRUE((co_await take(q, 10)).empty());
  EXPECT_TRUE(co_await q.store().put_back(now[0], 1h, true));  // it waits for its second attempt: so does a2
  EXPECT_TRUE((co_await take(q, 10)).empty());
  auto other = co_await open_sqlite(o);
  EXPECT_TRUE((co_await take(other, 10)).empty());
}

LEASH_TEST_REAL(MqSqlite, a_consumer_orders_under_concurrency) {
  folder f;
  auto o = in(f);
  o.ordered_by_key = true;
  auto q = co_await open_sqlite(o);
  constexpr int keys = 4, each = 8;
  for (int i = 0; i < keys * each; ++i)
    co_await q.publish(std::to_string(i / keys), {.key = "k" + std::to_string(i % keys)});
  std::mutex lock;
  std::map<std::string, int> seen, running;
  consumer c(q, {.concurrency = 6, .visibility = 1h, .back_off = 1us});
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      co_await c.run([&](const message& m) -> task<> {
        {
          std::lock_guard guard(lock);
          EXPECT_EQ(++running[m.key], 1);
          EXPECT_EQ(m.body, std::to_string(seen[m.key]));
        }
        co_await yield();
        std::lock_guard guard(lock);
        --running[m.key];
        if (m.body == "5" && m.attempt < 3) throw std::runtime_error("again");
        ++seen[m.key];
      });
    });
    co_await eventually([&] { return c.counts().handled == keys * each; }, "all to be handled");
    c.drain();
  });
  EXPECT_EQ(c.counts().retried, keys * 2u);
}

LEASH_TEST_REAL(MqSqlite, a_full_queue_says_so_loses_nothing_and_takes_again_when_there_is_room) {
  folder f;
  auto o = in(f);
  o.max_bytes = 200'000;
  auto q = co_await open_sqlite(o);
  std::string const body(4000, 'x');
  std::size_t published = 0;
  std::string why;
  for (; why.empty() && published < 1000; ++published) {
    try {
      co_await q.publish(body);
    } catch (const mq::error& e) {
      EXPECT_EQ(e.kind(), mq::failure::full);
      why = e.what();
    }
  }
  --published;
  EXPECT_NE(why.find("full"), std::string::npos) << why;
  EXPECT_NE(why.find("mq.db"), std::string::npos) << why;
  EXPECT_GT(published, 10u);
  EXPECT_EQ((co_await q.count()).waiting, published);
  auto const some = co_await take(q, 10);
  CO_ASSERT_EQ(some.size(), 10u);
  for (auto& d : some) EXPECT_TRUE(co_await q.store().acknowledge(d));
  EXPECT_FALSE((co_await q.publish(body)).duplicate);
}

LEASH_TEST_REAL(MqSqlite, a_file_that_cannot_be_a_queue_is_refused) {
  folder f;
  {
    std::ofstream out(f.file("text"));
    out << std::string(5000, 't');
  }
  for (auto [file, kind] :
       {std::pair{f.file("none/mq.db"), mq::failure::refused}, std::pair{f.file("text"), mq::failure::broken},
        std::pair{std::string(), mq::failure::refused}}) {
    bool threw = false;
    try {
      (void)co_await open_sqlite({.file = file});
    } catch (const mq::error& e) {
      threw = true;
      EXPECT_EQ(int(e.kind()), int(kind)) << e.what();
    }
    EXPECT_TRUE(threw) << file;
  }
}

LEASH_TEST_REAL(MqSqlite, a_file_that_another_process_keeps_locked_is_unavailable) {
  folder f;
  auto o = in(f);
  auto first = co_await open_sqlite(o);
  o.busy_wait = 1ms;
  auto q = co_await open_sqlite(o);
  // A transaction of somebody else that does not end.
  process other({LEASH_MQ_WORKER, "lock", f.file("mq.db"), f.file("locked")});
  co_await eventually([&] { return !lines_of(f.file("locked")).empty(); }, "the other process");
  bool threw = false;
  try {
    co_await q.publish("x");
  } catch (const mq::error& e) {
    threw = true;
    EXPECT_EQ(e.kind(), mq::failure::unavailable) << e.what();
  }
  EXPECT_TRUE(threw);
}

LEASH_TEST_REAL(MqSqlite, a_publish_wakes_a_consumer_that_waits) {
  folder f;
  auto o = in(f);
  o.poll = 1h;  // only the publish can have told it
  auto q = co_await open_sqlite(o);
  consumer c(q);
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("consumer"), [&]() -> task<> { co_await c.run([](const message&) {}); });
    EXPECT_TRUE(co_await parked("consumer", "select"));
    co_await q.publish("x");
    co_await eventually([&] { return c.counts().handled == 1; }, "the message to be handled");
    c.drain();
  });
}

}  // namespace
}  // namespace leash
