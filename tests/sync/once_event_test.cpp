// event, wait_group and once.
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

LEASH_TEST(Event, set_wakes_all_and_stays_set) {
  event ev;
  std::atomic<int> woken = 0;
  int published = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 5; ++i) {
      s.go(named("waiter"), [&]() -> task<> {
        co_await ev.wait();
        EXPECT_EQ(published, 1);
        ++woken;
      });
    }
    EXPECT_TRUE(co_await parked("waiter", "event", 5));
    EXPECT_EQ(woken, 0);
    published = 1;
    ev.set();
    ev.set();
  });
  EXPECT_EQ(woken, 5);
  co_await ev.wait();
}

LEASH_TEST_REAL(Event, set_from_a_foreign_thread) {
  for (int i = 0; i < 100; ++i) {
    event ev;
    int published = 0;
    std::jthread setter([&] {
      published = 1;
      ev.set();
    });
    co_await ev.wait();
    EXPECT_EQ(published, 1);
  }
}

LEASH_TEST(WaitGroup, waits_for_every_token) {
  wait_group wg;
  std::atomic<int> done = 0;
  co_await wg.wait();  // none: nothing to wait for
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 20; ++i) {
      s.go(
          [&](wait_group::token t, int i) -> task<> {
            for (int n = i % 3; n > 0; --n) co_await yield();
            ++done;
            if (i % 2) t.done();  // said, or left to the destructor
          },
          wg.add(), i);
    }
    co_await wg.wait();
    EXPECT_EQ(done, 20);
  });
}

LEASH_TEST(WaitGroup, a_token_counts_once_however_it_ends) {
  wait_group wg;
  auto kept = wg.add();
  {
    auto t = wg.add();
    t.done();  // and the destructor
    auto a = wg.add();
    auto b = std::move(a);
    b = wg.add();
  }
  EXPECT_FALSE(try_select(wg.wait()));
  {
    auto gone = std::move(kept);
  }
  EXPECT_TRUE(try_select(wg.wait()));
  co_return;
}

LEASH_TEST(WaitGroup, wakes_all_who_wait_and_may_be_used_again) {
  wait_group wg;
  for (int round = 0; round < 3; ++round) {
    auto t = wg.add();
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 3; ++i) s.go(named("waiter"), [&]() -> task<> { co_await wg.wait(); });
      EXPECT_TRUE(co_await parked("waiter", "sync.WaitGroup.Wait", 3));
      t.done();
    });
  }
}

LEASH_TEST_REAL(WaitGroup, tokens_end_on_foreign_threads) {
  wait_group wg;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([t = wg.add()]() mutable { t.done(); });
  co_await wg.wait();
}

LEASH_TEST(Once, runs_its_function_once_for_all) {
  once o;
  int runs = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 8; ++i) {
      s.go([&]() -> task<> {
        co_await o.call([&]() -> task<> {
          co_await yield();
          ++runs;
        });
        EXPECT_EQ(runs, 1);  // nobody returns before it has run
      });
    }
    co_return;
  });
  EXPECT_EQ(runs, 1);
  co_await o.call([&] { ++runs; });
  EXPECT_EQ(runs, 1);
}

LEASH_TEST(Once, is_tried_again_after_a_throw) {
  once o;
  int tries = 0;
  auto attempt = [&]() -> task<> {
    co_await yield();
    if (++tries < 3) throw std::runtime_error("not yet");
  };
  EXPECT_THROW(co_await o.call(attempt), std::runtime_error);
  EXPECT_THROW(co_await o.call(attempt), std::runtime_error);
  co_await o.call(attempt);
  co_await o.call(attempt);
  EXPECT_EQ(tries, 3);
}

LEASH_TEST(Once, is_tried_again_by_a_waiter_when_the_caller_is_cancelled) {
  once o;
  event go;
  std::atomic<int> started = 0, finished = 0;
  cancel_source cs;
  auto attempt = [&]() -> task<> {
    ++started;
    co_await go.wait();
    ++finished;
  };
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("first"),
         [&]() -> task<> { EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> { co_await o.call(attempt); })); });
    EXPECT_TRUE(co_await parked("first", "event"));
    s.go(named("second"), [&]() -> task<> { co_await o.call(attempt); });
    EXPECT_TRUE(co_await parked("second", "once"));
    cs.cancel("the first gives up");
    EXPECT_TRUE(co_await parked("second", "event"));  // it took over
    go.set();
  });
  EXPECT_EQ(started, 2);
  EXPECT_EQ(finished, 1);
}

LEASH_TEST(Once, a_throw_makes_one_waiter_try_next) {
  once o;
  std::atomic<int> tries = 0, thrown = 0, returned = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 5; ++i) {
      s.go([&]() -> task<> {
        try {
          co_await o.call([&]() -> task<> {
            const int n = ++tries;
            co_await yield();
            if (n <= 2) throw std::runtime_error("not yet");
          });
          ++returned;
        } catch (const std::runtime_error&) {
          ++thrown;
        }
      });
    }
    co_return;
  });
  EXPECT_EQ(tries, 3);
  EXPECT_EQ(thrown, 2);
  EXPECT_EQ(returned, 3);
}

}  // namespace
}  // namespace leash
