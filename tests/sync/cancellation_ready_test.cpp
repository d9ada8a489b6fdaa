// Cancellation comes before anything that is ready, too; and what `done` makes of its own context.
#include <functional>
#include <string>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

// Runs `wait` in a context that has ended: it must not return.
task<> expect_unwound(std::string what, std::function<task<>()> wait) {
  cancel_source cs;
  bool returned = false;
  EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
    cs.cancel("before");
    co_await wait();
    returned = true;
  })) << what;
  EXPECT_FALSE(returned) << what;
}

LEASH_TEST(CancellationReady, waits_that_would_not_wait_unwind_all_the_same) {
  auto [tx, rx] = channel<int>(2);
  auto [ended_tx, ended_rx] = channel<int>();
  ended_tx.close();
  mutex m;
  shared_mutex sm;
  semaphore sem(1);
  event ev;
  ev.set();
  wait_group wg;
  once o;
  co_await o.call([] {});
  EXPECT_TRUE(co_await tx.send(1));
  co_await expect_unwound("yield", []() -> task<> { co_await yield(); });
  co_await expect_unwound("sleep(0)", []() -> task<> { co_await sleep(0ns); });
  co_await expect_unwound("sleep_until", []() -> task<> { co_await sleep_until(now() - 1s); });
  co_await expect_unwound("send", [&]() -> task<> { (void)co_await tx.send(2); });
  co_await expect_unwound("send_or", [&]() -> task<> { (void)co_await tx.send_or(2); });
  co_await expect_unwound("recv", [&]() -> task<> { (void)co_await rx.recv(); });
  co_await expect_unwound("recv at the end", [&]() -> task<> { (void)co_await ended_rx.recv(); });
  co_await expect_unwound("send to a closed channel", [&]() -> task<> { (void)co_await ended_tx.send(1); });
  co_await expect_unwound("select", [&]() -> task<> { (void)co_await select(rx.recv(), tx.send(2)); });
  co_await expect_unwound("lock", [&]() -> task<> { (void)co_await m.lock(); });
  co_await expect_unwound("lock of a shared_mutex", [&]() -> task<> { (void)co_await sm.lock(); });
  co_await expect_unwound("lock_shared", [&]() -> task<> { (void)co_await sm.lock_shared(); });
  co_await expect_unwound("acquire", [&]() -> task<> { (void)co_await sem.acquire(); });
  co_await expect_unwound("event", [&]() -> task<> { co_await ev.wait(); });
  co_await expect_unwound("wait_group", [&]() -> task<> { co_await wg.wait(); });
  EXPECT_EQ(rx.len(), 1u);
  EXPECT_EQ(co_await rx.recv(), 1);
  EXPECT_TRUE(try_select(m.lock()));
  EXPECT_TRUE(try_select(sm.lock()));
  EXPECT_TRUE(try_select(sem.acquire()));
}

LEASH_TEST(CancellationReady, a_parked_peer_is_not_served_by_a_wait_that_was_cancelled_before) {
  auto [tx, rx] = channel<int>();
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("peer"), [&]() -> task<> { EXPECT_EQ(co_await rx.recv(), 2); });
    EXPECT_TRUE(co_await parked("peer", "chan receive"));
    co_await expect_unwound("send", [&]() -> task<> { (void)co_await tx.send(1); });
    co_await expect_unwound("select", [&]() -> task<> { (void)co_await select(tx.send(1), sleep(1h)); });
    EXPECT_TRUE(co_await tx.send(2));
    s.go(named("sender"), [&]() -> task<> { EXPECT_TRUE(co_await tx.send(3)); });
    EXPECT_TRUE(co_await parked("sender", "chan send"));
    co_await expect_unwound("recv", [&]() -> task<> { (void)co_await rx.recv(); });
    EXPECT_EQ(co_await rx.recv(), 3);
  });
}

LEASH_TEST(CancellationReady, a_value_given_by_reference_stays_where_it_was) {
  auto [tx, rx] = channel<std::unique_ptr<int>>(1);
  auto p = std::make_unique<int>(1);
  co_await expect_unwound("send", [&]() -> task<> { (void)co_await tx.send(std::move(p)); });
  EXPECT_NE(p, nullptr);
  co_await expect_unwound("send_or", [&]() -> task<> { (void)co_await tx.send_or(std::move(p)); });
  EXPECT_NE(p, nullptr);
  EXPECT_EQ(rx.len(), 0u);
}

LEASH_TEST(CancellationReady, done_returns_though_its_own_context_has_ended) {
  cancel_source cs;
  auto [tx, rx] = channel<int>();
  bool alone = false, selected = false, after = false;
  EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
    cs.cancel("over");
    co_await this_context().done();
    alone = true;
    selected = (co_await select(rx.recv(), this_context().done())).index() == 1;
    co_await yield();
    after = true;
  }));
  EXPECT_TRUE(alone);
  EXPECT_TRUE(selected);
  EXPECT_FALSE(after);
}

LEASH_TEST(CancellationReady, a_parked_select_on_its_own_done_returns) {
  cancel_source cs;
  auto [tx, rx] = channel<int>();
  bool selected = false;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("waiter"), [&]() -> task<> {
      EXPECT_TRUE(co_await with_cancel(
          cs, [&]() -> task<> { selected = (co_await select(rx.recv(), this_context().done())).index() == 1; }));
    });
    EXPECT_TRUE(co_await parked("waiter", "select"));
    cs.cancel("over");
  });
  EXPECT_TRUE(selected);
}

LEASH_TEST(CancellationReady, destructors_run_leaf_first_and_catch_sees_nothing) {
  std::vector<int> order;
  bool caught = false;
  struct mark {
    mark(std::vector<int>& o, int n) : order(o), n(n) {}
    ~mark() { order.push_back(n); }
    std::vector<int>& order;
    int n;
  };
  auto leaf = [&]() -> task<> {
    mark m(order, 1);
    try {
      co_await forever();
    } catch (...) {
      caught = true;
    }
  };
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> {
    mark outer(order, 3);
    mark inner(order, 2);
    co_await leaf();
  }));
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  EXPECT_FALSE(caught);
}

}  // namespace
}  // namespace leash
