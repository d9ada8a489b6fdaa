// mutex and guarded<T>: exclusion, order, guards that travel.
#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

LEASH_TEST(Mutex, excludes) {
  mutex m;
  int plain = 0;  // a missing edge between holders is a data race
  std::atomic<int> inside = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int g = 0; g < 8; ++g) {
      s.go([&]() -> task<> {
        for (int i = 0; i < 200; ++i) {
          auto guard = co_await m.lock();
          EXPECT_EQ(++inside, 1);
          if (i % 16 == 0) co_await yield();
          ++plain;
          --inside;
        }
      });
    }
    co_return;
  });
  EXPECT_EQ(plain, 1600);
}

LEASH_TEST(Mutex, waiters_get_it_in_order_of_arrival) {
  mutex m;
  std::vector<int> order;
  std::optional<mutex::guard> held(co_await m.lock());
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 5; ++i) {
      s.go(
          named("w" + std::to_string(i)),
          [&](int i) -> task<> {
            auto g = co_await m.lock();
            order.push_back(i);
          },
          i);
      CO_ASSERT_TRUE(co_await parked("w" + std::to_string(i), "sync.Mutex.Lock"));
    }
    held.reset();
  });
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

// One who locks again and again does not keep the others out.
LEASH_TEST_REAL(Mutex, a_greedy_holder_does_not_starve_a_waiter) {
  mutex m;
  std::atomic<bool> served = false;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      for (const auto end = std::chrono::steady_clock::now() + 10s;
           !served && std::chrono::steady_clock::now() < end;) {
        auto g = co_await m.lock();
        co_await yield();
      }
    });
    s.go([&]() -> task<> {
      for (int i = 0; i < 20; ++i) auto g = co_await m.lock();
      served = true;
    });
    co_return;
  });
  EXPECT_TRUE(served);
}

LEASH_TEST(Mutex, a_guard_moves_to_another_goroutine) {
  mutex m;
  auto [tx, rx] = channel<mutex::guard>();
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        [](receiver<mutex::guard> from, mutex& m) -> task<> {
          auto g = (co_await from.recv()).value();
          EXPECT_FALSE(try_select(m.lock()));
        },
        std::move(rx), std::ref(m));
    EXPECT_TRUE(co_await tx.send(co_await m.lock()));
    auto again = co_await m.lock();  // once the other has let go of it
    EXPECT_FALSE(again.poisoned());
  });
  EXPECT_TRUE(try_select(m.lock()));
}

LEASH_TEST_REAL(Mutex, a_guard_released_by_a_foreign_thread_wakes_the_waiter) {
  mutex m;
  for (int i = 0; i < 100; ++i) {
    std::jthread other([g = co_await m.lock()]() mutable { auto gone = std::move(g); });
    auto mine = co_await m.lock();
  }
  EXPECT_TRUE(try_select(m.lock()));
}

LEASH_TEST(Mutex, assigning_to_a_guard_releases_what_it_held) {
  mutex a, b;
  auto g = co_await a.lock();
  g = co_await b.lock();
  EXPECT_TRUE(try_select(a.lock()));
  EXPECT_FALSE(try_select(b.lock()));
}

LEASH_TEST(Mutex, is_released_when_its_holder_throws_or_is_cancelled) {
  mutex m;
  EXPECT_THROW(co_await with_scope([&](scope&) -> task<> {
                 auto g = co_await m.lock();
                 throw std::runtime_error("holder");
               }),
               std::runtime_error);
  EXPECT_TRUE(try_select(m.lock()));
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> {
    auto g = co_await m.lock();
    co_await sleep(1h);
  }));
  auto g = co_await m.lock();
  EXPECT_FALSE(g.poisoned());  // neither is a reclaim
}

LEASH_TEST(Guarded, gives_its_value_to_one_at_a_time) {
  guarded<std::vector<int>> state(std::vector<int>{});
  co_await with_scope([&](scope& s) -> task<> {
    for (int g = 0; g < 4; ++g) {
      s.go([&]() -> task<> {
        for (int i = 0; i < 100; ++i) (co_await state.lock())->push_back(i);
      });
    }
    co_return;
  });
  auto v = co_await state.lock();
  EXPECT_EQ(v->size(), 400u);
  EXPECT_EQ(std::count(v->begin(), v->end(), 99), 4);
  EXPECT_FALSE(v.poisoned());
}

LEASH_TEST(Guarded, builds_its_value_in_place) {
  guarded<std::string> text(std::size_t(3), 'x');
  EXPECT_EQ(*co_await text.lock(), "xxx");
}

}  // namespace
}  // namespace leash
