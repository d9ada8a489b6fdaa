// Different handles to one value in many threads: it is destroyed once, after everybody's last use, and never revived.
#include <barrier>
#include <functional>
#include <vector>

#include "base.hpp"

namespace leash::test::shared_threads_tests {

using SharedThreads = TrackedMemory;

/// Each thread has written its own cell before it lets go; the destructor sees them all.
struct ledger {
  explicit ledger(int threads) : cells(std::size_t(threads)) { ++made; }
  ~ledger() {
    for (int c : cells) EXPECT_EQ(c, 1);
    ++destroyed;
  }
  std::vector<int> cells;
  static inline std::atomic<int> made{0}, destroyed{0};
};

constexpr int rounds = 2000;

/// f(thread, round) in so many threads; all are at the same round at the same time.
void in_threads(int threads, const std::function<void(int)>& prepare, const std::function<void(int, int)>& f) {
  std::barrier together(threads + 1);
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      for (int r = 0; r < rounds; ++r) {
        together.arrive_and_wait();
        f(t, r);
        together.arrive_and_wait();
      }
    });
  for (int r = 0; r < rounds; ++r) {
    prepare(r);
    together.arrive_and_wait();
    together.arrive_and_wait();
  }
  for (auto& t : all) t.join();
}

TEST_F(SharedThreads, TheLastOwnerDestroysOnce) {
  for (int threads : {2, 4}) {
    ledger::made = ledger::destroyed = 0;
    std::vector<shared<ledger>> own(std::size_t(threads), nullptr);
    in_threads(
        threads,
        [&](int) {
          shared<ledger> first = share<ledger>(threads);
          for (auto& o : own) o = first;
        },
        [&](int t, int) {
          own[std::size_t(t)]->cells[std::size_t(t)] = 1;
          own[std::size_t(t)].reset();
        });
    EXPECT_EQ(ledger::made, rounds);
    EXPECT_EQ(ledger::destroyed, rounds);
  }
}
TEST_F(SharedThreads, CopiesAndMovesWhileOthersDrop) {
  for (int threads : {2, 4}) {
    ledger::made = ledger::destroyed = 0;
    std::vector<shared<ledger>> own(std::size_t(threads), nullptr);
    in_threads(
        threads,
        [&](int) {
          shared<ledger> first = share<ledger>(threads);
          for (auto& o : own) o = first;
        },
        [&](int t, int) {
          shared<ledger> mine = std::move(own[std::size_t(t)]);
          for (int i = 0; i < 10; ++i) {
            shared<ledger> a = mine, b = a;
            weak<ledger> w = b;
            a = std::move(b);
            shared<ledger> c = w.lock();
            EXPECT_TRUE(c);
          }
          mine->cells[std::size_t(t)] = 1;
        });
    EXPECT_EQ(ledger::destroyed, ledger::made);
  }
}
TEST_F(SharedThreads, ALockRacesWithTheLastDrop) {
  // What is locked is whole; what is not locked is gone for good.
  for (int threads : {2, 4}) {
    ledger::made = ledger::destroyed = 0;
    shared<ledger> owner;
    std::vector<weak<ledger>> watchers;
    in_threads(
        threads,
        [&](int) {
          owner = share<ledger>(1);
          owner->cells[0] = 1;
          watchers.assign(std::size_t(threads), owner);
        },
        [&](int t, int r) {
          if (t == 0) {
            for (volatile int i = 0; i < r % 64; i = i + 1) {
            }
            owner.reset();
            return;
          }
          weak<ledger>& w = watchers[std::size_t(t)];
          bool gone = false;
          for (int i = 0; i < 30; ++i) {
            if (shared<ledger> s = w.lock()) {
              EXPECT_FALSE(gone);
              EXPECT_EQ(s->cells[0], 1);
            } else {
              gone = true;
              EXPECT_TRUE(w.expired());
            }
          }
          w.reset();
        });
    EXPECT_EQ(ledger::destroyed, rounds);
    watchers.clear();
  }
}
TEST_F(SharedThreads, AnObjectsOwnHandlesRaceWithTheLastDrop) {
  struct self : enable_shared_from_this<self>, ledger {
    self() : ledger(0) {}
  };
  ledger::made = ledger::destroyed = 0;
  shared<self> a, b;
  in_threads(
      2, [&](int) { b = a = share<self>(); },
      [&](int t, int) {
        shared<self>& mine = t == 0 ? a : b;
        {
          shared<self> more = mine->shared_from_this();
          weak<self> w = more->weak_from_this();
          mine.reset();
          EXPECT_FALSE(w.expired());
        }
      });
  EXPECT_EQ(ledger::destroyed, rounds);
}

}  // namespace leash::test::shared_threads_tests
