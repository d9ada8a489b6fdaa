// Locks, semaphores and conditions under random cancellation: what they guard stays whole, and all is free at the end.
#include <memory>
#include <vector>

#include "stress/stress.hpp"

namespace leash {
namespace {
using namespace test;

struct bank {
  explicit bank(int n) {
    for (int i = 0; i < n; ++i) accounts.push_back(std::make_unique<guarded<long>>(100));
  }
  std::vector<std::unique_ptr<guarded<long>>> accounts;
};

// Both locks, in order, then the transfer: no wait lies inside, so no cancellation does.
task<> transfer(bank& b, std::size_t from, std::size_t to, long amount) {
  if (from == to) co_return;
  auto low = co_await b.accounts[std::min(from, to)]->lock();
  auto high = co_await b.accounts[std::max(from, to)]->lock();
  (from < to ? *low : *high) -= amount;
  (from < to ? *high : *low) += amount;
}

task<> transfers(unsigned seed) {
  bank b(5);
  co_await with_scope([&](scope& s) -> task<> {
    for (unsigned g = 0; g < 8; ++g) {
      s.go(
          [&](unsigned seed) -> task<> {
            std::mt19937 random(seed);
            for (int i = 0; i < 60; ++i) {
              const auto from = random() % 5, to = random() % 5;
              const long amount = random() % 10;
              if (random() % 3)
                co_await transfer(b, from, to, amount);
              else
                co_await with_timeout(std::chrono::microseconds(random() % 20), transfer(b, from, to, amount));
            }
          },
          seed * 100 + g);
    }
    if (seed % 3 == 0) {
      co_await sleep(100us);
      s.cancel("enough");
    }
  });
  long total = 0;
  for (auto& a : b.accounts) {
    auto v = co_await a->lock();
    EXPECT_FALSE(v.poisoned());
    total += *v;
  }
  EXPECT_EQ(total, 500);
}
TEST(StressLocks, transfers_neither_make_nor_lose_money) { stress(transfers); }

task<> readers_and_writers(unsigned seed) {
  shared_mutex m;
  semaphore sem(4);
  std::atomic<int> readers = 0, writers = 0, weight = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (unsigned g = 0; g < 8; ++g) {
      s.go(
          [&](unsigned seed) -> task<> {
            std::mt19937 random(seed);
            for (int i = 0; i < 60; ++i) {
              auto once = [&]() -> task<> {
                const int w = 1 + int(random() % 4);
                if (random() % 3 == 0) {
                  auto p = co_await sem.acquire(std::size_t(w));
                  EXPECT_LE(weight += w, 4);
                  weight -= w;
                } else if (random() % 3 == 0) {
                  auto g = co_await m.lock();
                  EXPECT_EQ(++writers, 1);
                  EXPECT_EQ(readers, 0);
                  --writers;
                } else {
                  auto g = co_await m.lock_shared();
                  ++readers;
                  EXPECT_EQ(writers, 0);
                  --readers;
                }
              };
              if (random() % 3)
                co_await once();
              else
                co_await with_timeout(std::chrono::microseconds(random() % 20), once());
            }
          },
          seed * 100 + g);
    }
    co_return;
  });
  EXPECT_TRUE(try_select(m.lock()));
  EXPECT_TRUE(try_select(sem.acquire(4)));
}
TEST(StressLocks, readers_writers_and_permits_keep_their_bounds) { stress(readers_and_writers); }

// Tickets behind a condition, takers that give up: every ticket is taken once or is still there.
task<> tickets(unsigned seed) {
  mutex m;
  condition cv;
  int left = 0, made = 0;
  std::atomic<int> taken = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (unsigned g = 0; g < 6; ++g) {
      s.go(
          [&](unsigned seed) -> task<> {
            std::mt19937 random(seed);
            for (int i = 0; i < 30; ++i) {
              co_await with_timeout(std::chrono::microseconds(random() % 60), [&]() -> task<> {
                auto g = co_await m.lock();
                co_await cv.wait(g, [&] { return left > 0; });
                --left;
                ++taken;
              });
            }
          },
          seed * 100 + g);
    }
    for (int i = 0; i < 100; ++i) {
      {
        auto g = co_await m.lock();
        ++left;
        ++made;
      }
      cv.notify_one();
      if (i % 8 == 0) co_await sleep(10us);
    }
  });
  auto g = co_await m.lock();
  EXPECT_EQ(made, taken + left);
}
TEST(StressLocks, every_ticket_is_taken_once_or_left) { stress(tickets); }

}  // namespace
}  // namespace leash
