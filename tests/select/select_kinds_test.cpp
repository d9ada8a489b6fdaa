// Every operation that can be a case, ready and not ready, parked and not; the loser keeps nothing.
#include <string>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

LEASH_TEST(SelectKinds, lock_wins_when_free_and_leaves_the_mutex_when_it_loses) {
  mutex m;
  auto [tx, rx] = channel<int>(1);
  {
    auto r = co_await select(m.lock(), rx.recv());
    CO_ASSERT_EQ(r.index(), 0u);
    EXPECT_EQ((co_await select(m.lock(), sleep(1ms))).index(), 1u);
    EXPECT_TRUE(co_await tx.send(1));
    EXPECT_EQ((co_await select(m.lock(), rx.recv())).index(), 1u);
  }
  EXPECT_TRUE(try_select(m.lock()));
}

LEASH_TEST(SelectKinds, forever_is_a_case_that_never_fires) {
  auto [tx, rx] = channel<int>(1);
  EXPECT_FALSE(try_select(forever()));
  EXPECT_FALSE(try_select(forever(), rx.recv()));
  EXPECT_EQ((co_await select(forever(), sleep(1ms))).index(), 1u);
  EXPECT_TRUE(co_await tx.send(1));
  EXPECT_EQ((co_await select(forever(), rx.recv())).index(), 1u);
  int chosen = 0;
  co_await select(on(forever(), [&] { chosen = 1; }), on(sleep(1ms), [&] { chosen = 2; }));
  EXPECT_EQ(chosen, 2);
  EXPECT_FALSE(co_await with_timeout(1ms, []() -> task<> { (void)co_await select(forever(), forever()); }));
  EXPECT_FALSE(co_await with_timeout(1ms, []() -> task<> { (void)co_await select(forever()); }));
}

LEASH_TEST(SelectKinds, a_parked_lock_case_gets_the_guard) {
  mutex m;
  std::optional<mutex::guard> held(co_await m.lock());
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(named("chooser"), [&]() -> task<std::size_t> {
      auto r = co_await select(m.lock(), sleep(1h));
      EXPECT_FALSE(try_select(m.lock()));
      co_return r.index();
    });
    EXPECT_TRUE(co_await parked("chooser", "select"));
    held.reset();
    EXPECT_EQ((co_await h.join()).value(), 0u);
  });
  EXPECT_TRUE(try_select(m.lock()));
}

LEASH_TEST(SelectKinds, shared_locks) {
  shared_mutex m;
  {
    auto reader = co_await m.lock_shared();
    EXPECT_EQ((co_await select(m.lock(), sleep(1ms))).index(), 1u);
    EXPECT_EQ((co_await select(m.lock_shared(), sleep(1h))).index(), 0u);  // the writer that gave up bars nobody
  }
  {
    auto writer = co_await m.lock();
    EXPECT_EQ((co_await select(m.lock_shared(), sleep(1ms))).index(), 1u);
  }
  EXPECT_EQ((co_await select(m.lock(), sleep(1h))).index(), 0u);
}

LEASH_TEST(SelectKinds, acquire_takes_its_permits_only_when_it_wins) {
  semaphore sem(3);
  {
    auto two = co_await sem.acquire(2);
    EXPECT_EQ((co_await select(sem.acquire(2), sleep(1ms))).index(), 1u);
    auto r = co_await select(sem.acquire(1), sleep(1h));
    EXPECT_EQ(r.index(), 0u);
    EXPECT_EQ((co_await select(sem.acquire(1), sleep(1ms))).index(), 1u);
  }
  EXPECT_EQ((co_await select(sem.acquire(3), sleep(1h))).index(), 0u);
}

LEASH_TEST(SelectKinds, guarded_state) {
  guarded<int> state(3);
  auto r = co_await select(state.lock(), sleep(1h));
  CO_ASSERT_EQ(r.index(), 0u);
  EXPECT_EQ(*std::get<0>(r), 3);
  EXPECT_EQ((co_await select(state.lock(), sleep(1ms))).index(), 1u);
}

LEASH_TEST(SelectKinds, event_and_wait_group) {
  event ev;
  wait_group wg;
  auto token = wg.add();
  EXPECT_EQ((co_await select(ev.wait(), wg.wait(), sleep(1ms))).index(), 2u);
  token.done();
  EXPECT_EQ((co_await select(ev.wait(), wg.wait(), sleep(1h))).index(), 1u);
  auto again = wg.add();
  ev.set();
  EXPECT_EQ((co_await select(ev.wait(), wg.wait(), sleep(1h))).index(), 0u);
}

LEASH_TEST(SelectKinds, join_gives_the_child_s_value_and_may_lose) {
  event go;
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go([&]() -> task<std::string> {
      co_await go.wait();
      co_return "done";
    });
    EXPECT_EQ((co_await select(h.join(), sleep(1ms))).index(), 1u);
    go.set();
    auto r = co_await select(h.join(), sleep(1h));
    CO_ASSERT_EQ(r.index(), 0u);
    EXPECT_EQ(std::get<0>(r), "done");
  });
}

LEASH_TEST(SelectKinds, join_rethrows_what_the_child_threw) {
  EXPECT_THROW(co_await with_scope([&](scope& s) -> task<> {
                 auto h = s.go([]() -> task<int> {
                   co_await yield();
                   throw std::runtime_error("child");
                 });
                 (void)co_await select(h.join(), sleep(1h));
               }),
               std::runtime_error);
}

LEASH_TEST(SelectKinds, ticker_next) {
  ticker fast(1ms);
  ticker slow(1h);
  for (int i = 0; i < 5; ++i) EXPECT_EQ((co_await select(slow.next(), fast.next())).index(), 1u);
}

LEASH_TEST(SelectKinds, done_of_another_context) {
  cancel_source cs;
  co_await with_scope([&](scope& s) -> task<> {
    auto [tx, rx] = channel<context>(1);
    s.go(
        [](cancel_source cs, sender<context> to) -> task<> {
          co_await with_cancel(cs, [&]() -> task<> {
            EXPECT_TRUE(co_await to.send(this_context()));
            co_await forever();
          });
        },
        cs.dup(), std::move(tx));
    context c = (co_await rx.recv()).value();
    EXPECT_EQ((co_await select(c.done(), sleep(1ms))).index(), 1u);
    cs.cancel("enough");
    EXPECT_EQ((co_await select(c.done(), sleep(1h))).index(), 0u);
    EXPECT_EQ(c.err(), context_error::cancelled);
  });
}

LEASH_TEST(SelectKinds, sleeps_fire_in_order_of_their_times) {
  const auto start = now();
  EXPECT_EQ((co_await select(sleep(1h), sleep(2ms), sleep_until(start + 2h))).index(), 1u);
  EXPECT_GE(now() - start, 2ms);
  EXPECT_EQ((co_await select(sleep(1h), sleep_until(start))).index(), 1u);  // the past is ready
}

LEASH_TEST(SelectKinds, all_at_once) {
  mutex m;
  shared_mutex sm;
  semaphore sem(1);
  event ev;
  wait_group wg;
  ticker t(1h);
  auto [tx, rx] = channel<int>();
  auto [out, in] = channel<int>();
  auto g = co_await m.lock();
  auto w = co_await sm.lock();
  auto p = co_await sem.acquire();
  auto token = wg.add();
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(named("chooser"), [&]() -> task<std::size_t> {
      auto r = co_await select(rx.recv(), out.send(1), out.send_or(2), m.lock(), sm.lock(), sm.lock_shared(),
                               sem.acquire(), ev.wait(), wg.wait(), t.next(), this_context().done(), sleep(1h));
      co_return r.index();
    });
    EXPECT_TRUE(co_await parked("chooser", "select"));
    ev.set();
    EXPECT_EQ((co_await h.join()).value(), 7u);
  });
  EXPECT_EQ(tx.try_send(1), try_result::full);  // nobody was left in any queue
  EXPECT_EQ(in.try_recv(), std::nullopt);
  {
    auto gone = std::move(g);
  }
  {
    auto gone = std::move(w);
  }
  {
    auto gone = std::move(p);
  }
  EXPECT_TRUE(try_select(m.lock()));
  EXPECT_TRUE(try_select(sm.lock()));
  EXPECT_TRUE(try_select(sem.acquire()));
}

}  // namespace
}  // namespace leash
