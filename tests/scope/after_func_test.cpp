// after_func and on_done: fired, stopped, dropped; and handles that outlive the runtime.
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include "support/support.hpp"

namespace leash::test::after_func_tests {

LEASH_TEST(AfterFunc, RunsOnceAfterItsTime) {
  int ran = 0;
  auto const start = now();
  auto [tx, rx] = channel<int>(1);
  timer t = after_func(5ms, [&ran, to = std::move(tx)]() mutable -> task<> {
    ++ran;
    EXPECT_TRUE(co_await to.send(1));
  });
  (void)co_await rx.recv();
  EXPECT_GE(now() - start, 5ms);
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(t.stop());
}

LEASH_TEST(AfterFunc, StoppedItNeverRunsAndLetsGoAtOnce) {
  bool ran = false;
  {
    timer t = after_func(1ms, [&ran, c = counted(1)] { ran = true; });
    EXPECT_EQ(counted::alive(), 1);
    EXPECT_TRUE(t.stop());
    EXPECT_EQ(counted::alive(), 0);
    EXPECT_FALSE(t.stop());
  }
  {
    timer dropped = after_func(1ms, [&ran] { ran = true; });
  }
  co_await sleep(5ms);
  EXPECT_FALSE(ran);
}

// Woken from outside while all workers sleep, a goroutine arms timers and then computes: another worker gets up for them.
TEST(AfterFunc, TimersOfAWorkerThatComputesAreSeenToByOthers) {
  run(with_workers(3), []() -> task<> {
    auto [tx, rx] = channel<int>(1);
    std::thread outside([tx = std::move(tx)]() mutable {
      std::this_thread::sleep_for(20ms);  // by then all sleep, mostly
      EXPECT_EQ(tx.try_send(1), try_result::done);
    });
    (void)co_await rx.recv();
    std::atomic<bool> ran{false}, ended{false};
    timer t = after_func(10ms, [&ran] { ran = true; });
    co_await with_timeout(20ms, [&]() -> task<> {
      auto watch = on_done(this_context(), [&ended] { ended = true; });
      auto const start = std::chrono::steady_clock::now();
      while (!(ran && ended) && std::chrono::steady_clock::now() - start < 20s) {
      }
      EXPECT_TRUE(ran) << "the timer waited for the worker";
      EXPECT_TRUE(ended) << "the deadline waited for the worker";
      co_return;
    });
    outside.join();
  });
}

TEST(AfterFunc, ATimerThatOutlivesTheRuntimeIsGivenUp) {
  for (unsigned workers : {1u, 2u, 4u}) {
    bool ran = false;
    std::optional<timer> kept;
    run(with_workers(workers), [&]() -> task<> {
      kept.emplace(after_func(1h, [&ran, c = counted(1)] { ran = true; }));
      co_await yield();
    });
    EXPECT_EQ(counted::alive(), 0) << "the callable goes with the runtime";
    EXPECT_FALSE(kept->stop());
    run([] {});
    kept.reset();
    EXPECT_FALSE(ran);
  }
}

TEST(OnDone, ARegistrationThatOutlivesTheRuntimeIsHarmless) {
  bool ran = false;
  cancel_source cs;
  std::optional<registration> kept;
  run([&]() -> task<> {
    co_await with_cancel(cs, [&]() -> task<> {
      kept.emplace(on_done(this_context(), [&ran, c = counted(1)] { ran = true; }));
      co_return;
    });
  });
  cs.cancel();
  EXPECT_TRUE(kept->stop());
  EXPECT_EQ(counted::alive(), 0);
  kept.reset();
  EXPECT_FALSE(ran);
}

// A thread cancels just as the run comes to its end: the callback starts in time, or not at all.
TEST(OnDone, ACancelFromOutsideAtTheRunsEnd) {
  int const rounds = long_run() ? 5000 : 300;
  for (int round = 0; round < rounds; ++round) {
    std::atomic<int> ran = 0;
    std::atomic<bool> inside = false;
    cancel_source cs;
    std::thread canceller([&, cs = cs.dup()]() mutable {
      while (!inside) std::this_thread::yield();
      for (volatile int i = 0; i < round % 50 * 100; i = i + 1) {  // yields would give the processor away, for long
      }
      cs.cancel("from outside");
    });
    std::optional<registration> kept;
    run(with_workers(1 + static_cast<unsigned>(round) % 2), [&]() -> task<> {
      co_await with_cancel(cs, [&]() -> task<> {
        kept.emplace(on_done(this_context(), [&ran, c = counted(1)] { ++ran; }));
        inside = true;
        for (int i = 0; i < 3; ++i) co_await yield();
      });
    });
    canceller.join();
    kept.reset();
    EXPECT_LE(ran, 1);
    EXPECT_EQ(counted::alive(), 0);
    EXPECT_EQ(num_goroutines(), 0u);
  }
}

}  // namespace leash::test::after_func_tests
