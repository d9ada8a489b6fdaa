// Ends used from threads that are no workers: try_send, try_recv, close, drop, dup; and what they publish.
#include <memory>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

LEASH_TEST_REAL(ChanThreads, a_foreign_thread_feeds_a_goroutine) {
  auto [tx, rx] = channel<std::unique_ptr<int>>(4);
  std::jthread feeder([to = std::move(tx)]() mutable {
    for (int i = 0; i < 2000; ++i) {
      auto p = std::make_unique<int>(i);
      while (to.try_send(std::move(p)) == try_result::full) std::this_thread::yield();
    }
  });
  int next = 0;
  while (auto p = co_await rx.recv()) EXPECT_EQ(**p, next++);
  EXPECT_EQ(next, 2000);
}

LEASH_TEST_REAL(ChanThreads, a_foreign_thread_takes_from_goroutines) {
  auto [tx, rx] = channel<int>();
  std::atomic<long> sum = 0;
  std::jthread taker([&sum, from = std::move(rx)]() mutable {
    while (!from.ended()) {
      if (auto v = from.try_recv())
        sum += *v;
      else
        std::this_thread::yield();
    }
  });
  co_await with_scope([&](scope& s) -> task<> {
    for (int g = 0; g < 3; ++g) {
      s.go(
          [](sender<int> to) -> task<> {
            for (int i = 1; i <= 200; ++i) EXPECT_TRUE(co_await to.send(i));
          },
          tx.dup());
    }
    tx.drop();
    co_return;
  });
  taker.join();
  EXPECT_EQ(sum, 3 * 200 * 201 / 2);
}

LEASH_TEST_REAL(ChanThreads, the_last_sender_dropped_by_a_foreign_thread_wakes_the_receiver) {
  for (int round = 0; round < 100; ++round) {
    auto [tx, rx] = channel<int>();
    std::jthread dropper([to = std::move(tx), round]() mutable {
      if (round % 10 == 0) parked_seen_from_outside("", "chan receive");
      auto gone = std::move(to);
    });
    EXPECT_EQ(co_await rx.recv(), std::nullopt);
  }
}

LEASH_TEST_REAL(ChanThreads, the_last_receiver_dropped_by_a_foreign_thread_fails_the_send) {
  for (int round = 0; round < 100; ++round) {
    auto [tx, rx] = channel<int>();
    std::jthread dropper([from = std::move(rx), round]() mutable {
      if (round % 10 == 0) parked_seen_from_outside("", "chan send");
      from.drop();
    });
    EXPECT_FALSE(co_await tx.send(1));
  }
}

LEASH_TEST_REAL(ChanThreads, close_from_a_foreign_thread_races_with_sends) {
  for (int round = 0; round < 50; ++round) {
    auto [tx, rx] = channel<int>(2);
    int accepted = 0, received = 0;
    std::jthread closer([to = tx.dup()]() mutable { to.close(); });
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> {
        while (co_await tx.send(1)) ++accepted;
      });
      while (co_await rx.recv()) ++received;
    });
    EXPECT_EQ(accepted, received);
  }
}

LEASH_TEST_REAL(ChanThreads, ends_are_duplicated_and_dropped_from_many_threads) {
  auto [tx, rx] = channel<int>(unbounded);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([mine = tx.dup()]() mutable {
        for (int i = 0; i < 500; ++i) {
          auto d = mine.dup();
          EXPECT_EQ(d.try_send(1), try_result::done);
          if (i % 2) mine = std::move(d);
        }
      });
    }
    tx.drop();
  }
  int n = 0;
  while (auto v = co_await rx.recv()) n += *v;
  EXPECT_EQ(n, 2000);
}

LEASH_TEST_REAL(ChanThreads, what_precedes_a_send_is_seen_after_its_receive) {
  auto [there_tx, there_rx] = channel<int*>();
  auto [back_tx, back_rx] = channel<int*>(1);
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        [](receiver<int*> rx, sender<int*> tx) -> task<> {
          while (auto p = co_await rx.recv()) {
            ++**p;  // plain memory: a missing edge is a data race
            EXPECT_TRUE(co_await tx.send(*p));
          }
        },
        std::move(there_rx), std::move(back_tx));
    int plain = 0;
    for (int i = 0; i < 1000; ++i) {
      EXPECT_TRUE(co_await there_tx.send(&plain));
      EXPECT_EQ(*(co_await back_rx.recv()).value(), i + 1);
    }
    there_tx.drop();
  });
}

}  // namespace
}  // namespace leash
