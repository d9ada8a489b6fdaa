// What a consumer does with messages, over a store in memory: on workers, under many schedules, and in virtual time.
#include <map>
#include <set>
#include <stdexcept>

#include "memory_store.hpp"

namespace leash {
namespace {
using namespace test;
using mq::consumer;
using mq::consumer_counts;
using mq::consumer_options;
using mq::message;

struct stand {
  memory_store* store;
  mq::queue q;
  explicit stand(bool ordered = false) : stand(std::make_unique<memory_store>(ordered)) {}

 private:
  explicit stand(std::unique_ptr<memory_store> s) : store(s.get()), q(std::move(s)) {}
};

/// Consumes until so many have been settled for good, then drains.
template <class F>
task<consumer_counts> consume_all(mq::queue& q, consumer_options o, F handler) {
  consumer c(q, std::move(o));
  consumer_counts n;
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go([&]() -> task<consumer_counts> { co_return co_await c.run(std::move(handler)); });
    for (;;) {
      auto const left = co_await q.count();
      if (left.waiting + left.in_flight == 0) break;
      co_await sleep(1ms);
    }
    c.drain();
    n = (co_await h.join()).value();
  });
  co_return n;
}

LEASH_TEST(MqConsumer, every_message_is_handled_and_then_acknowledged) {
  stand at;
  for (int i = 0; i < 20; ++i) co_await at.q.publish(std::to_string(i));
  std::mutex lock;
  std::multiset<std::string> seen;
  auto const n = co_await consume_all(at.q, {.concurrency = 3}, [&](const message& m) -> task<> {
    co_await yield();
    EXPECT_EQ(m.attempt, 1u);
    EXPECT_EQ((co_await at.q.count()).in_flight > 0, true);  // not acknowledged before it has returned
    std::lock_guard guard(lock);
    seen.insert(m.body);
  });
  EXPECT_EQ(seen.size(), 20u);
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), 20u);
  EXPECT_EQ(n.handled, 20u);
  EXPECT_EQ(n.retried + n.buried + n.given_back + n.lost + n.store_failures, 0u);
}

LEASH_TEST(MqConsumer, plain_handlers_will_do_and_what_they_hold_is_moved_in) {
  stand at;
  co_await at.q.publish("x");
  auto held = std::make_unique<std::atomic<int>>(0);
  auto* runs = held.get();
  consumer c(at.q);
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&, h = std::move(held)]() mutable -> task<> {
      co_await c.run([mine = std::move(h)](const message&) { ++*mine; });
    });
    co_await eventually([&] { return c.counts().handled == 1; }, "the message to be handled");
    EXPECT_EQ(*runs, 1);
    c.drain();
  });
}

LEASH_TEST(MqConsumer, no_more_handlers_run_at_once_than_allowed) {
  stand at;
  for (int i = 0; i < 30; ++i) co_await at.q.publish("m");
  std::atomic<int> now_running = 0, most = 0;
  co_await consume_all(at.q, {.concurrency = 4}, [&](const message&) -> task<> {
    int const n = ++now_running;
    for (int seen = most; n > seen && !most.compare_exchange_weak(seen, n);) {
    }
    co_await yield();
    --now_running;
  });
  EXPECT_LE(most, 4);
}

LEASH_TEST(MqConsumer, one_that_throws_is_tried_again_and_becomes_a_dead_letter_with_its_reason) {
  stand at;
  co_await at.q.publish("bad");
  co_await at.q.publish("good on the third");
  std::atomic<int> tries = 0, told = 0;
  consumer_options o{.max_attempts = 3, .back_off = 1us};
  o.on_failure = [&](const message* m, const std::string& what) {
    EXPECT_TRUE(m != nullptr);
    EXPECT_EQ(what, "no luck");
    ++told;
    throw 1;  // dropped
  };
  auto const n = co_await consume_all(at.q, std::move(o), [&](const message& m) -> task<> {
    co_await yield();
    if (m.body == "bad") ++tries;
    if (m.body == "bad" || m.attempt < 3) throw std::runtime_error("no luck");
  });
  EXPECT_EQ(tries, 3);
  EXPECT_EQ(told, 5);
  EXPECT_EQ(n.handled, 1u);
  EXPECT_EQ(n.retried, 4u);
  EXPECT_EQ(n.buried, 1u);
  auto const dead = co_await at.q.dead_letters();
  CO_ASSERT_EQ(dead.size(), 1u);
  EXPECT_EQ(dead[0].what.body, "bad");
  EXPECT_EQ(dead[0].reason, "no luck");
}

LEASH_TEST(MqConsumer, a_rejected_message_is_dead_at_once) {
  stand at;
  co_await at.q.publish("x");
  auto const n = co_await consume_all(at.q, {}, [](const message&) { throw mq::rejected("not JSON"); });
  EXPECT_EQ(n.buried, 1u);
  EXPECT_EQ(n.retried, 0u);
  EXPECT_EQ((co_await at.q.dead_letters()).at(0).reason, "rejected: not JSON");
}

TEST(MqConsumer, attempts_are_a_back_off_apart_that_doubles_up_to_its_bound) {
  leash::testing::simulate(1, []() -> task<> {
    stand at;
    co_await at.q.publish("x");
    std::vector<clock::time_point> times;
    co_await consume_all(at.q, {.max_attempts = 5, .back_off = 10s, .back_off_most = 25s}, [&](const message&) {
      times.push_back(now());
      throw std::runtime_error("no");
    });
    CO_ASSERT_EQ(times.size(), 5u);
    EXPECT_EQ(times[1] - times[0], 10s);
    EXPECT_EQ(times[2] - times[1], 20s);
    EXPECT_EQ(times[3] - times[2], 25s);
    EXPECT_EQ(times[4] - times[3], 25s);
  });
}

TEST(MqConsumer, a_handler_that_hangs_beyond_its_limit_has_failed) {
  leash::testing::simulate(1, []() -> task<> {
    stand at;
    co_await at.q.publish("x");
    auto const start = now();
    auto const n = co_await consume_all(at.q, {.max_attempts = 2, .handler_limit = 1min, .back_off = 1s},
                                        [](const message&) { return sleep(1h); });
    EXPECT_EQ(n.buried, 1u);
    EXPECT_GE(now() - start, 2min + 1s);
    EXPECT_LT(now() - start, 2min + 2s);
    EXPECT_EQ((co_await at.q.dead_letters()).at(0).reason, "the handler ran longer than its limit");
  });
}

TEST(MqConsumer, the_time_of_a_message_is_renewed_while_its_handler_runs) {
  leash::testing::simulate(1, []() -> task<> {
    stand at;
    co_await at.q.publish("long");
    std::atomic<int> runs = 0;
    auto const n = co_await consume_all(at.q, {.concurrency = 2, .visibility = 30s}, [&](const message&) -> task<> {
      ++runs;
      co_await sleep(3min);
    });
    EXPECT_EQ(runs, 1);
    EXPECT_EQ(n.handled, 1u);
    EXPECT_GE(at.store->extended, 17);
  });
}

TEST(MqConsumer, a_handler_whose_message_another_one_has_is_cancelled) {
  leash::testing::simulate(1, []() -> task<> {
    stand at;
    co_await at.q.publish("x");
    bool cut = false;
    consumer c(at.q, {.visibility = 30s});
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> {
        co_await c.run([&](const message&) -> task<> {
          co_await finally(sleep(1h), [&](outcome o) { cut = o == outcome::cancelled; });
        });
      });
      co_await sleep(5s);
      at.store->steal_all();
      co_await sleep(10s);
      EXPECT_TRUE(cut);
      EXPECT_EQ(c.counts().lost, 1u);
      c.drain();
    });
  });
}

LEASH_TEST(MqConsumer, when_its_context_ends_what_it_took_is_given_back_uncounted) {
  stand at;
  for (int i = 0; i < 6; ++i) co_await at.q.publish("m");
  std::atomic<int> started = 0;
  consumer c(at.q, {.concurrency = 4});
  cancel_source cs;
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go([&]() -> task<bool> {
      co_return co_await with_cancel(cs, [&]() -> task<> {
        co_await c.run([&](const message&) -> task<> {
          ++started;
          co_await sleep(1h);
        });
      });
    });
    co_await eventually([&] { return started == 4; }, "four handlers");
    cs.cancel();
    EXPECT_EQ(co_await h.join(), false);
  });
  auto const left = co_await at.q.count();
  EXPECT_EQ(left.waiting, 6u);
  EXPECT_EQ(left.in_flight, 0u);
  EXPECT_EQ(c.counts().given_back, 4u);
  std::atomic<int> handled = 0;
  co_await consume_all(at.q, {}, [&](const message& m) {
    EXPECT_EQ(m.attempt, 1u);
    ++handled;
  });
  EXPECT_EQ(handled, 6);
}

LEASH_TEST(MqConsumer, draining_lets_handlers_finish_and_takes_nothing_more) {
  stand at;
  for (int i = 0; i < 5; ++i) co_await at.q.publish("m");
  auto go = std::make_shared<event>();
  consumer c(at.q, {.concurrency = 2});
  std::atomic<int> started = 0;
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go([&]() -> task<consumer_counts> {
      co_return co_await c.run([&](const message&) -> task<> {
        ++started;
        co_await go->wait();
      });
    });
    co_await eventually([&] { return started == 2; }, "two handlers");
    c.drain();
    c.drain();
    co_await yield();
    go->set();
    auto const n = co_await h.join();
    EXPECT_EQ(n->handled, 2u);
  });
  EXPECT_EQ(started, 2);
  EXPECT_EQ((co_await at.q.count()).waiting, 3u);
}

TEST(MqConsumer, draining_is_bounded_and_what_did_not_end_is_given_back) {
  leash::testing::simulate(1, []() -> task<> {
    stand at;
    co_await at.q.publish("slow");
    consumer c(at.q, {.drain_within = 10s});
    auto const start = now();
    co_await with_scope([&](scope& s) -> task<> {
      auto h =
          s.go([&]() -> task<consumer_counts> { co_return co_await c.run([](const message&) { return sleep(1h); }); });
      co_await sleep(5s);
      c.drain();
      auto const n = co_await h.join();
      EXPECT_EQ(n->given_back, 1u);
      EXPECT_EQ(n->handled, 0u);
    });
    EXPECT_EQ(now() - start, 15s);
    EXPECT_EQ((co_await at.q.count()).waiting, 1u);
  });
}

LEASH_TEST(MqConsumer, messages_of_a_key_come_one_after_the_other_in_their_order) {
  stand at(true);
  std::map<std::string, int> next;
  for (int i = 0; i < 40; ++i) co_await at.q.publish(std::to_string(i / 4), {.key = "k" + std::to_string(i % 4)});
  std::mutex lock;
  std::map<std::string, int> seen, running;
  co_await consume_all(at.q, {.concurrency = 8, .back_off = 1us}, [&](const message& m) -> task<> {
    {
      std::lock_guard guard(lock);
      EXPECT_EQ(++running[m.key], 1);
      EXPECT_EQ(m.body, std::to_string(seen[m.key]));
    }
    co_await yield();
    std::lock_guard guard(lock);
    --running[m.key];
    if (m.body == "3" && m.attempt == 1) throw std::runtime_error("again");
    ++seen[m.key];
  });
  for (auto& [key, n] : seen) EXPECT_EQ(n, 10) << key;
}

TEST(MqConsumer, a_store_that_fails_is_told_and_tried_again) {
  leash::testing::simulate(1, []() -> task<> {
    stand at;
    for (int i = 0; i < 3; ++i) co_await at.q.publish("m");
    at.store->failures = 5;
    std::atomic<int> told = 0, handled = 0;
    consumer_options o{};
    o.on_failure = [&](const message* m, const std::string& what) {
      EXPECT_EQ(m, nullptr);
      EXPECT_EQ(what, "not now");
      ++told;
    };
    auto const n = co_await consume_all(at.q, std::move(o), [&](const message&) {
      ++handled;
      if (handled == 1) at.store->failures = 3;  // of its acknowledgement
    });
    EXPECT_EQ(told, 8);
    EXPECT_EQ(n.store_failures, 8u);
    EXPECT_EQ(n.handled, 3u);
    EXPECT_EQ(handled, 3);
  });
}

TEST(MqConsumer, under_every_schedule_each_message_is_handled_or_given_back) {
  auto const r = leash::testing::explore({.schedules = long_run() ? 5'000u : 300u}, []() -> task<> {
    stand at;
    for (int i = 0; i < 3; ++i) co_await at.q.publish("m");
    consumer c(at.q, {.concurrency = 2});
    std::atomic<int> handled = 0;
    (void)co_await with_timeout(2ms, [&]() -> task<> {
      co_await c.run([&](const message&) -> task<> {
        co_await sleep(1ms);
        ++handled;
      });
    });
    auto const left = co_await at.q.count();
    if (left.in_flight != 0) throw std::logic_error("a message was left in flight");
    if (left.waiting + c.counts().handled != 3) throw std::logic_error("a message was lost");
  });
  EXPECT_FALSE(r.failing_seed || r.error || r.leaked) << r.schedule;
}

LEASH_TEST(MqConsumer, two_runs_at_once_and_senseless_options_are_refused) {
  stand at;
  consumer c(at.q);
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("first"), [&]() -> task<> { co_await c.run([](const message&) {}); });
    EXPECT_TRUE(co_await parked("first", ""));
    bool threw = false;
    try {
      co_await c.run([](const message&) {});
    } catch (const std::logic_error&) {
      threw = true;
    }
    EXPECT_TRUE(threw);
    c.drain();
  });
  EXPECT_THROW(consumer(at.q, {.concurrency = 0}), std::invalid_argument);
  EXPECT_THROW(consumer(at.q, {.visibility = 0s}), std::invalid_argument);
}

// What a handler waits for is judged as in any goroutine.
LEASH_TEST_OF_LEAKS(MqConsumer, a_handler_that_can_never_go_on_is_proved) {
  stand at;
  co_await at.q.publish("x");
  consumer c(at.q, {.handler_limit = 0s});
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      co_await c.run([](const message&) -> task<> {
        auto [tx, rx] = channel<int>();
        (void)co_await rx.recv();
      });
    });
    EXPECT_TRUE(co_await parked("mq handler", "chan receive"));
    co_await eventually([] { return find_leaks().size() != 0; }, "the proof");
    s.cancel();
  });
}

}  // namespace
}  // namespace leash
