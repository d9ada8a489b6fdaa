// semaphore: weights, order, permits that travel.
#include <string>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

LEASH_TEST(Semaphore, bounds_the_weight_that_is_inside) {
  semaphore sem(5);
  std::atomic<int> inside = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int g = 0; g < 6; ++g) {
      s.go(
          [&](int weight) -> task<> {
            for (int i = 0; i < 100; ++i) {
              auto p = co_await sem.acquire(std::size_t(weight));
              EXPECT_LE(inside += weight, 5);
              if (i % 8 == 0) co_await yield();
              inside -= weight;
            }
          },
          1 + g % 5);
    }
    co_return;
  });
  EXPECT_TRUE(try_select(sem.acquire(5)));
}

LEASH_TEST(Semaphore, waits_in_order_of_arrival_whatever_the_weight) {
  semaphore sem(3);
  int first = -1;
  std::atomic<int> served = 0;
  std::optional<semaphore::permit> one(co_await sem.acquire(1));
  co_await with_scope([&](scope& s) -> task<> {
    const int weights[] = {3, 1, 2};
    for (int i = 0; i < 3; ++i) {
      s.go(
          named("w" + std::to_string(i)),
          [&](int i, int weight) -> task<> {
            auto p = co_await sem.acquire(std::size_t(weight));
            if (served++ == 0) first = i;
            if (i > 0) co_await forever();
          },
          i, weights[i]);
      CO_ASSERT_TRUE(co_await parked("w" + std::to_string(i), "semaphore"));
      EXPECT_EQ(sem.waiting(), std::size_t(i) + 1);
    }
    EXPECT_FALSE(try_select(sem.acquire(1)));  // two are free, but not past those who wait
    one.reset();
    co_await eventually([&] { return served == 3; }, "all three to be served");
    s.cancel("seen");
  });
  EXPECT_EQ(first, 0);
  EXPECT_EQ(served, 3);
}

// Small requests that never leave a gap do not starve a large one.
LEASH_TEST_REAL(Semaphore, a_large_request_is_not_starved) {
  semaphore sem(4);
  std::atomic<bool> served = false;
  co_await with_scope([&](scope& s) -> task<> {
    for (int g = 0; g < 6; ++g) {
      s.go([&]() -> task<> {
        for (const auto end = std::chrono::steady_clock::now() + 10s;
             !served && std::chrono::steady_clock::now() < end;) {
          auto p = co_await sem.acquire();
          co_await yield();
        }
      });
    }
    s.go([&]() -> task<> {
      for (int i = 0; i < 10; ++i) auto p = co_await sem.acquire(4);
      served = true;
    });
    co_return;
  });
  EXPECT_TRUE(served);
}

LEASH_TEST(Semaphore, a_large_request_that_gives_up_lets_small_ones_pass) {
  semaphore sem(2);
  auto one = co_await sem.acquire(1);
  cancel_source cs;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("large"), [&]() -> task<> {
      EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> { auto p = co_await sem.acquire(2); }));
    });
    EXPECT_TRUE(co_await parked("large", "semaphore"));
    auto small = s.go(named("small"), [&]() -> task<> { auto p = co_await sem.acquire(1); });
    EXPECT_TRUE(co_await parked("small", "semaphore"));
    cs.cancel("gives up");
    EXPECT_TRUE(co_await small.join());
  });
}

LEASH_TEST(Semaphore, a_permit_moves_to_another_goroutine) {
  semaphore sem(1);
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        [](semaphore::permit) -> task<> {
          for (int i = 0; i < 5; ++i) co_await yield();
        },
        co_await sem.acquire());
    auto p = co_await sem.acquire();
  });
  EXPECT_TRUE(try_select(sem.acquire()));
}

LEASH_TEST_REAL(Semaphore, a_permit_released_by_a_foreign_thread_wakes_the_waiter) {
  semaphore sem(2);
  for (int i = 0; i < 100; ++i) {
    std::jthread other([p = co_await sem.acquire(2)]() mutable { auto gone = std::move(p); });
    auto mine = co_await sem.acquire(1);
  }
}

}  // namespace
}  // namespace leash
