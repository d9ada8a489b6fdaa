// condition: waits with a predicate under a guard; cancelled, the lock is held again while unwinding.
#include <deque>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

LEASH_TEST(Condition, a_predicate_that_holds_does_not_wait) {
  mutex m;
  condition cv;
  auto g = co_await m.lock();
  co_await cv.wait(g, [] { return true; });
  EXPECT_FALSE(try_select(m.lock()));  // still held
}

LEASH_TEST(Condition, waits_until_notified_and_true) {
  mutex m;
  condition cv;
  int state = 0;
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(named("waiter"), [&]() -> task<> {
      auto g = co_await m.lock();
      co_await cv.wait(g, [&] { return state == 2; });
      EXPECT_EQ(state, 2);
      state = 3;
    });
    EXPECT_TRUE(co_await parked("waiter", "sync.Cond.Wait"));
    {
      auto g = co_await m.lock();  // free: the waiter let go of it
      state = 1;
    }
    cv.notify_one();  // not yet true: it goes on waiting
    EXPECT_TRUE(co_await parked("waiter", "sync.Cond.Wait"));
    {
      auto g = co_await m.lock();
      state = 2;
    }
    cv.notify_one();
    EXPECT_TRUE(co_await h.join());
  });
  EXPECT_EQ(state, 3);
}

LEASH_TEST(Condition, notify_all_wakes_all_and_notify_one_wakes_one) {
  mutex m;
  condition cv;
  int tickets = 0;
  std::atomic<int> served = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 6; ++i) {
      s.go(named("waiter"), [&]() -> task<> {
        auto g = co_await m.lock();
        co_await cv.wait(g, [&] { return tickets > 0; });
        --tickets;
        ++served;
      });
    }
    EXPECT_TRUE(co_await parked("waiter", "sync.Cond.Wait", 6));
    for (int i = 1; i <= 3; ++i) {
      {
        auto g = co_await m.lock();
        ++tickets;
      }
      cv.notify_one();
      CO_ASSERT_TRUE(co_await eventually([&] { return served == i; }));
      EXPECT_EQ(count_parked("waiter", "sync.Cond.Wait"), std::size_t(6 - i));
    }
    {
      auto g = co_await m.lock();
      tickets = 3;
    }
    cv.notify_all();
  });
  EXPECT_EQ(served, 6);
}

LEASH_TEST(Condition, a_queue_built_of_it_keeps_order_and_loses_nothing) {
  mutex m;
  condition not_empty, not_full;
  std::deque<int> queue;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      for (int i = 0; i < 500; ++i) {
        auto g = co_await m.lock();
        co_await not_full.wait(g, [&] { return queue.size() < 3; });
        queue.push_back(i);
        not_empty.notify_one();
      }
    });
    for (int i = 0; i < 500; ++i) {
      auto g = co_await m.lock();
      co_await not_empty.wait(g, [&] { return !queue.empty(); });
      EXPECT_EQ(queue.front(), i);
      queue.pop_front();
      not_full.notify_one();
    }
  });
}

LEASH_TEST(Condition, cancelled_it_holds_the_lock_again_before_unwinding) {
  mutex m;
  condition cv;
  cancel_source cs;
  int guarded_by_m = 0;
  std::atomic<bool> unwound = false;
  struct touch {
    touch(int& v, std::atomic<bool>& u) : value(v), unwound(u) {}
    ~touch() {
      ++value;  // under the lock: else a data race with the holder below
      unwound = true;
    }
    int& value;
    std::atomic<bool>& unwound;
  };
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("waiter"), [&]() -> task<> {
      EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
        auto g = co_await m.lock();
        touch on_exit(guarded_by_m, unwound);  // dies before the guard
        co_await cv.wait(g, [] { return false; });
      }));
    });
    EXPECT_TRUE(co_await parked("waiter", "sync.Cond.Wait"));
    {
      auto g = co_await m.lock();
      cs.cancel("while the lock is taken");
      for (int i = 0; i < 20; ++i) co_await yield();
      EXPECT_FALSE(unwound);  // it waits for the lock first
      ++guarded_by_m;
    }
  });
  EXPECT_TRUE(unwound);
  EXPECT_EQ(guarded_by_m, 2);
  EXPECT_TRUE(try_select(m.lock()));
}

// One notification for two waiters, one of which is being cancelled: if that one takes it, it also goes through.
LEASH_TEST(Condition, a_notification_is_not_lost_to_a_cancelled_waiter) {
  const int rounds = long_run() ? 5000 : 100;
  for (int round = 0; round < rounds; ++round) {
    mutex m;
    condition cv;
    cancel_source cs;
    bool ready = false;
    auto wait = [&]() -> task<> {
      auto g = co_await m.lock();
      co_await cv.wait(g, [&] { return ready; });
    };
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("mortal"), [&]() -> task<> {
        if (co_await with_cancel(cs, wait)) cv.notify_one();
      });
      CO_ASSERT_TRUE(co_await parked("mortal", "sync.Cond.Wait"));
      s.go(named("patient"), wait);
      CO_ASSERT_TRUE(co_await parked("patient", "sync.Cond.Wait"));
      s.go(
          [&](int spin) -> task<> {
            for (int n = spin % 4; n > 0; --n) co_await yield();
            cs.cancel("race");
          },
          round);
      {
        auto g = co_await m.lock();
        ready = true;
        if (round % 2 == 0) cv.notify_one();
      }
      if (round % 2 == 1) cv.notify_one();
    });
  }
}

}  // namespace
}  // namespace leash
