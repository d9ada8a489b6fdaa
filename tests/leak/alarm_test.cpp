// No false alarm: programs that pass ends, guards and tokens around as fast as they can, while the proof runs over
// them. Rounds are bounded in time: two seconds each, or LEASH_LONG=1 for a minute.
#include <atomic>
#include <memory>
#include <random>
#include <thread>

#include "kernel.hpp"

namespace leash::test::alarm_tests {

std::chrono::steady_clock::time_point end_of_round() {
  return std::chrono::steady_clock::now() + (long_run() ? 60s : 2s);
}
bool before(std::chrono::steady_clock::time_point t) { return std::chrono::steady_clock::now() < t; }

/// Runs `work` again and again on two workers; a goroutine inside and a thread outside ask for leaks without a pause.
/// Every report must be empty.
template <class Work>
void never_alarms(Work work) {
  std::atomic<bool> over = false;
  std::atomic<std::size_t> looks = 0, rounds = 0;
  auto look = [&] {
    leash::leak_report r = find_leaks();
    ++looks;
    EXPECT_EQ(r.size(), 0u) << text(r);
    return r.size() == 0;
  };
  std::thread outside([&] {
    while (!over && look()) {
    }
  });
  run_at(2, [&]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("inside"), [&]() -> task<> {
        while (!over && look()) co_await yield();
      });
      for (const auto end = end_of_round(); before(end) && !::testing::Test::HasFailure(); ++rounds)
        co_await work(static_cast<unsigned>(rounds.load()));
      over = true;
    });
  });
  over = true;
  outside.join();
  EXPECT_GT(looks, 10u);
  EXPECT_GT(rounds, 10u);
}

TEST(NoFalseAlarm, WhileTheLastSenderIsDropped) {
  never_alarms([](unsigned) -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      for (int i = 0; i < 16; ++i) {
        auto [tx, rx] = channel<int>();
        s.go([](receiver<int> rx) -> task<> { EXPECT_EQ(co_await rx.recv(), std::nullopt); }, std::move(rx));
        s.go(
            [](sender<int> tx) -> task<> {
              co_await yield();
              tx.drop();
            },
            std::move(tx));
      }
      co_return;
    });
  });
}

/// Hands on the end that somebody waits for; now and then it ends, and with it, one after the other, all players.
task<> player(receiver<sender<int>> from, sender<sender<int>> to, unsigned seed) {
  std::minstd_rand random(seed + 1);
  while (auto end = co_await from.recv()) {
    sender<int> mine = std::move(*end);
    if (random() % 3 == 0) mine = mine.dup();
    if (random() % 3 == 0) co_await yield();
    if (random() % 50 == 0) co_return;
    if (!co_await to.send(std::move(mine))) co_return;
  }
}
TEST(NoFalseAlarm, WhileAnEndTravelsInACircle) {
  never_alarms([](unsigned seed) -> task<> {
    co_await with_scope([seed](scope& s) -> task<> {
      constexpr std::size_t players = 6;
      auto [first, from_first] = channel<sender<int>>(1);
      auto [tx, rx] = channel<int>();
      s.go([](receiver<int> rx) -> task<> { EXPECT_EQ(co_await rx.recv(), std::nullopt); }, std::move(rx));
      EXPECT_TRUE(co_await first.send(std::move(tx)));
      receiver<sender<int>> from = std::move(from_first);
      for (std::size_t i = 1; i < players; ++i) {
        auto [to, next] = channel<sender<int>>(i % 2);
        s.go(player, std::move(from), std::move(to), seed * 31 + static_cast<unsigned>(i));
        from = std::move(next);
      }
      s.go(player, std::move(from), std::move(first), seed * 31);
    });
  });
}

TEST(NoFalseAlarm, WhileEndsMoveInAndOutOfTheHeap) {
  never_alarms([](unsigned) -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      for (int i = 0; i < 8; ++i) {
        auto [tx, rx] = channel<int>();
        s.go([](receiver<int> rx) -> task<> { EXPECT_EQ(co_await rx.recv(), 1); }, std::move(rx));
        s.go(
            [](sender<int> tx) -> task<> {
              for (int k = 0; k < 5; ++k) {
                auto away = std::make_unique<sender<int>>(std::move(tx));
                co_await yield();
                tx = std::move(*away);
                co_await yield();
              }
              EXPECT_TRUE(co_await tx.send(1));
            },
            std::move(tx));
      }
      co_return;
    });
  });
}

TEST(NoFalseAlarm, WhileGuardsAndTokensChangeHands) {
  never_alarms([](unsigned) -> task<> {
    mutex m;
    wait_group wg;
    semaphore sem(2);
    int inside = 0;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 8; ++i)
        s.go(
            [](mutex& m, semaphore& sem, int& inside, wait_group::token) -> task<> {
              for (int k = 0; k < 10; ++k) {
                auto p = co_await sem.acquire(k % 2 + 1);
                auto g = co_await m.lock();
                EXPECT_EQ(++inside, 1);
                co_await yield();
                auto moved = std::move(g);
                --inside;
              }
            },
            std::ref(m), std::ref(sem), std::ref(inside), wg.add());
      s.go([](wait_group& wg) -> task<> { co_await wg.wait(); }, std::ref(wg));
      co_return;
    });
  });
}

#if __has_include(<leash/shared.hpp>)  // comes with the tracked heap and the confined grade
struct slot {
  mutex m;
  sender<int> tx;
  slot() {}
};
TEST(NoFalseAlarm, WhileSharedBlocksExchangeEnds) {
  never_alarms([](unsigned) -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      auto a = share<slot>(), b = share<slot>();
      auto [tx, rx] = channel<int>();
      a->tx = std::move(tx);
      s.go([](receiver<int> rx) -> task<> { EXPECT_EQ(co_await rx.recv(), std::nullopt); }, std::move(rx));
      for (int i = 0; i < 2; ++i)
        s.go(
            [](shared<slot> a, shared<slot> b) -> task<> {
              for (int k = 0; k < 20; ++k) {
                auto ga = co_await a->m.lock();
                auto gb = co_await b->m.lock();
                std::swap(a->tx, b->tx);
                if (k % 4 == 0) co_await yield();
              }
            },
            a, b);
      co_return;
    });
  });
}
#endif

TEST(NoFalseAlarm, WhileThreadsHoldSendAndDropEnds) {
  never_alarms([](unsigned) -> task<> {
    std::vector<std::thread> threads;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 4; ++i) {
        auto [tx, rx] = channel<int>(1);
        threads.emplace_back([tx = std::move(tx), i]() mutable {
          auto more = tx.dup();
          if (i % 2) (void)more.try_send(1);
          tx.drop();
        });
        s.go(
            [](receiver<int> rx) -> task<> {
              while (co_await rx.recv()) {
              }
            },
            std::move(rx));
      }
      co_return;
    });
    for (auto& t : threads) t.join();
  });
}

TEST(NoFalseAlarm, WhileBorrowedEndsAreUsedByDescendants) {
  never_alarms([](unsigned) -> task<> {
    auto [tx, rx] = channel<int>();
    co_await with_scope([&](scope& s) -> task<> {
      s.go([](receiver<int>& rx) -> task<> { EXPECT_EQ(co_await rx.recv(), 1); }, std::ref(rx));
      s.go(
          [](sender<int>& tx) -> task<> {
            co_await with_scope([&](scope& inner) -> task<> {
              inner.go(
                  [](sender<int>& tx) -> task<> {
                    for (int i = 0; i < 5; ++i) co_await yield();
                    EXPECT_TRUE(co_await tx.send(1));
                  },
                  std::ref(tx));
              co_return;
            });
          },
          std::ref(tx));
      co_return;
    });
  });
}

TEST(NoFalseAlarm, WhileTimeoutsSelectsAndCancellationsRace) {
  never_alarms([](unsigned seed) -> task<> {
    co_await with_scope([seed](scope& s) -> task<> {
      for (unsigned i = 0; i < 8; ++i)
        s.go(
            [](unsigned n) -> task<> {
              auto [tx, rx] = channel<int>();
              cancel_source cs;
              co_await with_scope([&, tx = std::move(tx)](scope& inner) mutable -> task<> {
                inner.go(
                    [](cancel_source& cs, receiver<int>& rx, unsigned n) -> task<> {
                      (void)co_await with_cancel(cs, [&]() -> task<> {
                        (void)co_await select(rx.recv(), this_context().done(),
                                              sleep(std::chrono::microseconds(n % 200)));
                      });
                    },
                    std::ref(cs), std::ref(rx), n);
                inner.go(
                    [](sender<int> tx, unsigned n) -> task<> {
                      if (n % 3) co_await sleep(std::chrono::microseconds(n % 150));
                      tx.drop();
                    },
                    std::move(tx), n);
                if (n % 2) co_await yield();
                cs.cancel();
              });
            },
            seed * 7 + i * 13);
      co_return;
    });
  });
}

/// True leaks among the traffic: found by every look from then on, and nothing else ever is.
TEST(NoFalseAlarm, BesidePlantedLeaks) {
  run(with_workers(2, leaks::are_expected), []() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      for (int i = 0; i < 10; ++i) {
        auto [tx, rx] = channel<int>();
        s.go(named("planted"), receive_holding<sender<int>>, std::move(rx), std::move(tx));
      }
      co_await parked("planted", "chan receive", 10);
      for (const auto end = end_of_round(); before(end) && !::testing::Test::HasFailure();) {
        co_await with_scope([](scope& traffic) -> task<> {
          for (int i = 0; i < 8; ++i) {
            auto [tx, rx] = channel<int>();
            traffic.go([](receiver<int> rx) -> task<> { (void)co_await rx.recv(); }, std::move(rx));
            traffic.go([](sender<int> tx) -> task<> { (void)co_await tx.send(1); }, std::move(tx));
          }
          auto r = find_leaks();
          EXPECT_EQ(count(r, "planted"), 10u);
          EXPECT_EQ(r.size(), 10u) << text(r);
          co_return;
        });
      }
      s.cancel();
    });
  });
  EXPECT_EQ(num_goroutines(), 0u);
}

// Threads should own what they use. One that only borrows, and comes soon, is no deadlock all the same.
TEST(NoFalseAlarm, WhileAThreadBorrowsAnEndForAMoment) {
  for (unsigned workers : {1u, 2u, 4u}) {
    options o;
    o.workers = workers;
    o.on_leak = [](const leak_report& r) { ADD_FAILURE() << text(r); };
    int got = run(o, []() -> task<int> {
      auto [tx, rx] = channel<int>(1);
      event set;
      std::thread other([&] {
        std::this_thread::sleep_for(5ms);
        EXPECT_EQ(tx.try_send(1), try_result::done);
        std::this_thread::sleep_for(5ms);
        set.set();
      });
      int const v = (co_await rx.recv()).value();
      co_await set.wait();
      other.join();
      co_return v;
    });
    EXPECT_EQ(got, 1);
  }
}

}  // namespace leash::test::alarm_tests
