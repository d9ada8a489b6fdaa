// shared_mutex: readers together, writers alone, neither starves the other.
#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

LEASH_TEST(SharedMutex, readers_hold_it_together) {
  shared_mutex m;
  std::atomic<int> inside = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 4; ++i) {
      s.go([&]() -> task<> {
        auto g = co_await m.lock_shared();
        ++inside;
        co_await eventually([&] { return inside == 4; }, "four readers at once");
      });
    }
    co_return;
  });
}

LEASH_TEST(SharedMutex, writers_exclude_everybody) {
  shared_mutex m;
  int plain = 0;
  std::atomic<int> readers = 0, writers = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int g = 0; g < 3; ++g) {
      s.go([&]() -> task<> {
        for (int i = 0; i < 100; ++i) {
          auto w = co_await m.lock();
          EXPECT_EQ(++writers, 1);
          EXPECT_EQ(readers, 0);
          ++plain;
          if (i % 8 == 0) co_await yield();
          --writers;
        }
      });
      s.go([&]() -> task<> {
        for (int i = 0; i < 100; ++i) {
          auto r = co_await m.lock_shared();
          ++readers;
          EXPECT_EQ(writers, 0);
          EXPECT_LE(plain, 300);
          if (i % 8 == 0) co_await yield();
          --readers;
        }
      });
    }
    co_return;
  });
  EXPECT_EQ(plain, 300);
}

LEASH_TEST(SharedMutex, a_waiting_writer_bars_later_readers) {
  shared_mutex m;
  bool written = false;
  std::optional<shared_mutex::shared_guard> reader(co_await m.lock_shared());
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("writer"), [&]() -> task<> {
      auto w = co_await m.lock();
      written = true;
    });
    EXPECT_TRUE(co_await parked("writer", "sync.RWMutex.Lock"));
    s.go(named("late"), [&]() -> task<> {
      auto r = co_await m.lock_shared();
      EXPECT_TRUE(written);
    });
    EXPECT_TRUE(co_await parked("late", "sync.RWMutex.RLock"));
    EXPECT_FALSE(try_select(m.lock_shared()));
    reader.reset();
  });
  EXPECT_TRUE(written);
}

LEASH_TEST(SharedMutex, a_writer_that_gives_up_lets_the_readers_behind_it_in) {
  shared_mutex m;
  auto reader = co_await m.lock_shared();
  cancel_source cs;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("writer"),
         [&]() -> task<> { EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> { auto w = co_await m.lock(); })); });
    EXPECT_TRUE(co_await parked("writer", "sync.RWMutex.Lock"));
    auto late = s.go(named("late"), [&]() -> task<> { auto r = co_await m.lock_shared(); });
    EXPECT_TRUE(co_await parked("late", "sync.RWMutex.RLock"));
    cs.cancel("gives up");
    EXPECT_TRUE(co_await late.join());  // while the first reader still holds it
  });
}

// Readers that overlap without a gap do not keep a writer out, nor writers a reader.
LEASH_TEST_REAL(SharedMutex, neither_side_starves) {
  shared_mutex m;
  std::atomic<bool> done = false;
  auto patient = [&, end = std::chrono::steady_clock::now() + 10s] {
    return !done && std::chrono::steady_clock::now() < end;
  };
  for (bool writer_waits : {true, false}) {
    done = false;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 4; ++i) {
        s.go([&]() -> task<> {
          while (patient()) {
            if (writer_waits) {
              auto r = co_await m.lock_shared();
              co_await yield();
            } else {
              auto w = co_await m.lock();
              co_await yield();
            }
          }
        });
      }
      s.go([&]() -> task<> {
        for (int i = 0; i < 20; ++i) {
          if (writer_waits)
            auto w = co_await m.lock();
          else
            auto r = co_await m.lock_shared();
        }
        done = true;
      });
      co_return;
    });
    EXPECT_TRUE(done) << (writer_waits ? "a writer starved" : "a reader starved");
  }
}

}  // namespace
}  // namespace leash
