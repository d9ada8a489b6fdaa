// Locks of a lone worker: taken without a locked instruction until another thread takes one.
#include <leash/leash.hpp>
#include <thread>

#include "support/support.hpp"

namespace leash::test {

#if !LEASH_TSAN

TEST(LoneWorker, IsAloneUntilAnotherThreadTakesALock) {
  ASSERT_EQ(alone_here.load(), loneliness::never);
  {
    lone_worker const alone(true);
    if (!membarrier_works) GTEST_SKIP() << "skipped: the kernel has no membarrier";
    EXPECT_EQ(alone_here.load(), loneliness::lasts);
    spin_lock l;
    l.lock();
    EXPECT_TRUE(l.is_locked());
    EXPECT_FALSE(l.try_lock());
    l.unlock();
    EXPECT_FALSE(l.is_locked());
    EXPECT_EQ(alone_here.load(), loneliness::lasts);
    std::thread([&] {
      lone_worker const second(true);  // there is one
      EXPECT_EQ(alone_here.load(), loneliness::never);
      l.lock();
      l.unlock();
    }).join();
    EXPECT_EQ(alone_here.load(), loneliness::over);
    l.lock();
    EXPECT_TRUE(l.is_locked());
    l.unlock();
    EXPECT_FALSE(l.is_locked());
  }
  EXPECT_EQ(alone_here.load(), loneliness::never);
  lone_worker const again(true);
  EXPECT_EQ(alone_here.load(), loneliness::lasts);
}

TEST(LoneWorker, ARunOfOneWorkerIsAloneAndOneOfTwoIsNot) {
  for (unsigned workers : {1u, 2u}) {
    run_at(workers, [workers]() -> task<> {
      bool const alone = alone_here.load() == loneliness::lasts;
      EXPECT_EQ(alone, workers == 1 && membarrier_works);
      co_return;
    });
    EXPECT_EQ(alone_here.load(), loneliness::never);
  }
}

// While the worker is in it, and goes in and out, others come: each time the last one that is alone counts.
TEST(LoneWorker, NobodyIsInALockWithAnother) {
  int const rounds = long_run() ? 100'000 : 2'000, each = 200;
  for (int round = 0; round < rounds; ++round) {
    spin_lock locks[2];
    int sums[2] = {0, 0};  // under the locks
    auto const work = [&](int from) {
      for (int i = 0; i < each; ++i) {
        int const which = (from + i / 16) % 2;
        spin_guard guard(locks[which]);
        ++sums[which];
      }
    };
    std::atomic<bool> begun = false;
    std::thread other([&] {
      while (!begun) {
      }
      for (volatile int i = 0; i < round % 500; i = i + 1) {
      }
      work(round);
    });
    {
      lone_worker const alone(true);
      begun = true;
      work(0);
    }
    other.join();
    ASSERT_EQ(sums[0] + sums[1], 2 * each) << "in round " << round;
  }
}

#endif

}  // namespace leash::test
