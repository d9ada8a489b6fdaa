// NATS JetStream: against a server that each test starts on loopback, in a folder of its own. Skipped, with a line that says
// so, where there is no nats-server.
#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "support/nats_server.hpp"

namespace leash {
namespace {
using namespace test;
using mq::consumer;
using mq::message;

TEST(MqNats, messages_are_handled_acknowledged_and_gone) {
  LEASH_NEEDS_NATS();
  nats_server server;
  run_at(2, [&]() -> task<> {
    auto q = co_await server.open();
    auto const first = co_await q.publish("0", {.key = "a", .idempotency_key = "0"});
    EXPECT_FALSE(first.duplicate);
    auto const again = co_await q.publish("0", {.idempotency_key = "0"});
    EXPECT_TRUE(again.duplicate);
    EXPECT_EQ(again.id, first.id);
    for (int i = 1; i < 20; ++i) co_await q.publish(std::to_string(i));
    EXPECT_EQ((co_await q.count()).waiting, 20u);
    std::mutex lock;
    std::set<std::string> seen;
    consumer c(q, {.concurrency = 4});
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> {
        co_await c.run([&](const message& m) -> task<> {
          co_await yield();
          std::lock_guard guard(lock);
          seen.insert(m.body);
          if (m.body == "0") EXPECT_EQ(m.key, "a");
        });
      });
      co_await eventually([&] { return c.counts().handled == 20; }, "all to be handled");
      c.drain();
    });
    EXPECT_EQ(seen.size(), 20u);
    auto const n = co_await q.count();
    EXPECT_EQ(n.waiting + n.in_flight + n.dead, 0u);
  });
}

TEST(MqNats, one_that_throws_comes_again_and_becomes_a_dead_letter_that_can_be_revived) {
  LEASH_NEEDS_NATS();
  nats_server server;
  run_at(2, [&]() -> task<> {
    auto q = co_await server.open();
    co_await q.publish("bad", {.key = "k"});
    std::atomic<int> tries = 0;
    consumer c(q, {.max_attempts = 3, .back_off = 1ms});
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> {
        co_await c.run([&](const message& m) {
          EXPECT_EQ(m.attempt, static_cast<std::uint32_t>(++tries));
          throw std::runtime_error("no luck\nat all");
        });
      });
      co_await eventually([&] { return c.counts().buried == 1; }, "the dead letter");
      c.drain();
    });
    EXPECT_EQ(tries, 3);
    auto const dead = co_await q.dead_letters();
    CO_ASSERT_EQ(dead.size(), 1u);
    EXPECT_EQ(dead[0].what.body, "bad");
    EXPECT_EQ(dead[0].what.key, "k");
    EXPECT_EQ(dead[0].what.attempt, 3u);
    EXPECT_EQ(dead[0].reason, "no luck at all");
    auto n = co_await q.count();
    EXPECT_EQ(n.dead, 1u);
    EXPECT_EQ(n.waiting + n.in_flight, 0u);
    EXPECT_EQ(co_await q.revive_dead_letters(), 1u);
    n = co_await q.count();
    EXPECT_EQ(n.dead, 0u);
    EXPECT_EQ(n.waiting, 1u);
  });
}

TEST(MqNats, messages_of_a_key_come_one_after_the_other_over_two_consumers) {
  LEASH_NEEDS_NATS();
  nats_server server;
  run_at(2, [&]() -> task<> {
    auto o = server.options();
    o.ordered_by_key = true;
    o.partitions = 4;
    auto q = co_await server.open(o);
    auto other = co_await server.open(o);  // as another process
    constexpr int keys = 4, each = 6;
    for (int i = 0; i < keys * each; ++i)
      co_await q.publish(std::to_string(i / keys), {.key = "k" + std::to_string(i % keys)});
    std::mutex lock;
    std::map<std::string, int> seen, running;
    auto const handler = [&](const message& m) -> task<> {
      {
        std::lock_guard guard(lock);
        EXPECT_EQ(++running[m.key], 1);
        EXPECT_EQ(m.body, std::to_string(seen[m.key]));
      }
      co_await sleep(1ms);
      std::lock_guard guard(lock);
      --running[m.key];
      if (m.body == "3" && m.attempt == 1) throw std::runtime_error("again");
      ++seen[m.key];
    };
    consumer a(q, {.concurrency = 4, .visibility = 1h, .back_off = 1ms});
    consumer b(other, {.concurrency = 4, .visibility = 1h, .back_off = 1ms});
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> { co_await a.run(handler); });
      s.go([&]() -> task<> { co_await b.run(handler); });
      co_await eventually([&] { return a.counts().handled + b.counts().handled == keys * each; }, "all to be handled");
      a.drain();
      b.drain();
    });
  });
}

TEST(MqNats, an_ordered_queue_asks_the_server_once_for_a_message) {
  LEASH_NEEDS_NATS();
  nats_server server({"-V"});
  run_at(2, [&]() -> task<> {
    auto o = server.options();
    o.ordered_by_key = true;
    o.partitions = 4;
    auto q = co_await server.open(o);
    constexpr unsigned messages = 300;
    for (unsigned i = 0; i < messages; ++i) co_await q.publish("x", {.key = std::to_string(i % 16)});
    auto const began = now();
    consumer c(q, {.concurrency = 4});
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> { co_await c.run([](const message&) {}); });
      co_await eventually([&] { return c.counts().handled == messages; }, "all to be handled");
      c.drain();
    });
    auto const asked = std::ranges::count_if(
        server.log(), [](const std::string& line) { return line.find("<<- [PUB $JS.API.") != line.npos; });
    // Besides: what is asked at the beginning, at the end, and each second.
    EXPECT_GE(asked, messages);
    EXPECT_LE(asked, messages + 50 + 10 * (now() - began) / 1s);
  });
}

TEST(MqNats, what_a_cancelled_consumer_had_taken_comes_again) {
  LEASH_NEEDS_NATS();
  nats_server server;
  run_at(2, [&]() -> task<> {
    auto q = co_await server.open();
    co_await q.publish("x");
    consumer c(q, {.visibility = 1h});
    std::atomic<bool> there = false;
    cancel_source cs;
    co_await with_scope([&](scope& s) -> task<> {
      auto h = s.go([&]() -> task<bool> {
        co_return co_await with_cancel(cs, [&]() -> task<> {
          co_await c.run([&](const message&) -> task<> {
            there = true;
            co_await sleep(1h);
          });
        });
      });
      co_await eventually([&] { return there.load(); }, "the handler");
      cs.cancel();
      co_await h.join();
    });
    EXPECT_EQ(c.counts().given_back, 1u);
    consumer next(q);
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> { co_await next.run([](const message&) {}); });
      co_await eventually([&] { return next.counts().handled == 1; }, "the message");
      next.drain();
    });
  });
}

/// Bodies "0" to "3", one in each partition.
task<mq::queue> one_in_each_partition(const nats_server& server) {
  auto o = server.options();
  o.ordered_by_key = true;
  o.partitions = 4;
  auto q = co_await server.open(o);
  for (int i = 0; i < 4; ++i) co_await q.publish(std::to_string(i));  // without a key they go round
  co_return q;
}

TEST(MqNats, what_came_for_a_consumer_without_a_free_place_is_given_back_when_it_ends) {
  LEASH_NEEDS_NATS();
  nats_server server;
  run_at(2, [&]() -> task<> {
    auto q = co_await one_in_each_partition(server);
    consumer c(q, {.concurrency = 1, .visibility = 1h});
    cancel_source cs;
    std::atomic<bool> begun = false;  // the server counts a message as in flight before anyone here has read it
    co_await with_scope([&](scope& s) -> task<> {
      auto h = s.go([&]() -> task<bool> {
        co_return co_await with_cancel(cs, [&]() -> task<> {
          co_await c.run([&](const message&) -> task<> {
            begun = true;
            co_await sleep(1h);
          });
        });
      });
      for (mq::queue_counts n; n.in_flight != 4 || !begun; n = co_await q.count()) co_await sleep(1ms);
      cs.cancel();
      co_await h.join();
    });
    EXPECT_EQ(c.counts().given_back, 1u);  // the others never had a handler
    std::atomic<int> attempts = 0;
    consumer next(q, {.concurrency = 4});
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> { co_await next.run([&](const message& m) { attempts += static_cast<int>(m.attempt); }); });
      co_await eventually([&] { return next.counts().handled == 4; }, "all four");
      next.drain();
    });
    EXPECT_EQ(attempts, 8);
  });
}

TEST(MqNats, what_waits_for_a_place_is_renewed) {
  LEASH_NEEDS_NATS();
  nats_server server;
  run_at(2, [&]() -> task<> {
    auto q = co_await one_in_each_partition(server);
    consumer c(q, {.concurrency = 1, .visibility = 4s});
    std::atomic<bool> first = true;
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> {
        co_await c.run([&](const message& m) -> task<> {
          EXPECT_EQ(m.attempt, 1u);
          if (first.exchange(false)) co_await sleep(6s);
        });
      });
      co_await eventually([&] { return c.counts().handled == 4; }, "all four");
      c.drain();
    });
  });
}

TEST(MqNats, a_server_that_is_not_there_a_bad_name_and_a_full_stream_say_so) {
  LEASH_NEEDS_NATS();
  run_at(2, []() -> task<> {
    for (auto [o, kind] : {std::pair{mq::nats_options{.url = "nats://127.0.0.1:1"}, mq::failure::unavailable},
                           std::pair{mq::nats_options{.name = "a.b"}, mq::failure::refused}}) {
      bool threw = false;
      try {
        (void)co_await mq::open_nats(o);
      } catch (const mq::error& e) {
        threw = true;
        EXPECT_EQ(int(e.kind()), int(kind)) << e.what();
      }
      EXPECT_TRUE(threw);
    }
  });
  nats_server server;
  run_at(2, [&]() -> task<> {
    auto o = server.options();
    o.max_bytes = 50'000;
    auto q = co_await server.open(o);
    std::string why;
    for (int i = 0; why.empty() && i < 200; ++i) {
      try {
        co_await q.publish(std::string(1000, 'x'));
      } catch (const mq::error& e) {
        EXPECT_EQ(int(e.kind()), int(mq::failure::full)) << e.what();
        why = e.what();
      }
    }
    EXPECT_NE(why, "");
  });
}

/// The server is killed and started again when the publisher is as far as that.
void a_killed_server_loses_nothing(bool ordered, int messages, std::initializer_list<int> killed_at) {
  nats_server server;
  run_at(2, [&]() -> task<> {
    auto o = server.options();
    o.ordered_by_key = ordered;
    o.partitions = 3;
    auto q = co_await server.open(o);
    std::mutex lock;
    std::set<std::string> handled;
    std::atomic<int> published = 0;
    consumer c(q, {.concurrency = 4, .max_attempts = 1000, .visibility = 2s, .back_off = 1ms});
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("consumer"), [&]() -> task<> {
        co_await c.run([&](const message& m) -> task<> {
          co_await sleep(1ms);
          std::lock_guard guard(lock);
          handled.insert(m.body);
        });
      });
      s.go(named("publisher"), [&]() -> task<> {
        for (int i = 0; i < messages; ++i) {
          std::string const id = std::to_string(i);
          for (bool done = false; !done;) {
            try {
              (void)co_await q.publish(id, {.key = std::to_string(i % 8), .idempotency_key = id});
              done = true;
            } catch (const mq::error& e) {
              EXPECT_EQ(int(e.kind()), int(mq::failure::unavailable)) << e.what();
            }
            if (!done) co_await sleep(10ms);
          }
          ++published;
        }
      });
      for (int until : killed_at) {
        co_await eventually([&] { return published >= until; }, "some to be published");
        co_await blocking([&] {
          server.kill();
          server.start();
        });
      }
      for (;;) {
        {
          std::lock_guard guard(lock);
          if (handled.size() == static_cast<std::size_t>(messages)) break;
        }
        co_await sleep(5ms);
      }
      // What was acknowledged is gone, though the server forgets that it removed it.
      for (mq::queue_counts n;;) {
        n = co_await q.count();
        if (n.waiting + n.in_flight == 0) break;
        co_await sleep(5ms);
      }
      c.drain();
    });
    EXPECT_EQ(published, messages);
    EXPECT_EQ(handled.size(), static_cast<std::size_t>(messages));
  });
}
TEST(MqNats, a_server_killed_and_started_again_under_load_loses_nothing) {
  LEASH_NEEDS_NATS();
  a_killed_server_loses_nothing(false, 300, {60, 150});
}
TEST(MqNats, a_server_killed_and_started_again_under_load_loses_nothing_of_an_ordered_queue) {
  LEASH_NEEDS_NATS();
  a_killed_server_loses_nothing(true, 150, {50, 100});
}

}  // namespace
}  // namespace leash
