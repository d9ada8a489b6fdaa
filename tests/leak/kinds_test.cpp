// Every kind of leak is proved; and its live twin, where one thing more can still happen, is never reported.
#include "kernel.hpp"

namespace leash::test::kinds_tests {

using enum verdict;

// ---- channels --------------------------------------------------------------------------------------------------
/// Each waits for the next one; `twin`: a sleeper holds one more sender.
task<> ring(std::size_t n, bool twin) {
  co_await with_scope([=](scope& s) -> task<> {
    std::vector<sender<int>> tx;
    std::vector<receiver<int>> rx;
    for (std::size_t i = 0; i < n; ++i) {
      auto [t, r] = channel<int>();
      tx.push_back(std::move(t));
      rx.push_back(std::move(r));
    }
    if (twin) s.go(named("keeper"), keep_asleep<sender<int>>, tx[0].dup());
    for (std::size_t i = 0; i < n; ++i)
      s.go(named("link"), receive_holding<sender<int>>, std::move(rx[i]), std::move(tx[(i + 1) % n]));
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, TwoThatWaitForEachOther) {
  co_await examine([] { return ring(2, false); },
                   {waiting_kernel, {"link", "chan receive", core, leak_grade::proven, 2}});
}
LEASH_TEST_OF_LEAKS(Leak, ARingOfThree) {
  co_await examine([] { return ring(3, false); },
                   {waiting_kernel, {"link", "chan receive", core, leak_grade::proven, 3}});
}
LEASH_TEST_OF_LEAKS(Leak, ARingOfOne) {
  co_await examine([] { return ring(1, false); }, {waiting_kernel, {"link", "chan receive", core}});
}
LEASH_TEST(LiveTwin, ARingWithASleeperThatHoldsASender) {
  for (std::size_t n : {1, 2, 3})
    co_await examine([n] { return ring(n, true); },
                     {live_kernel, {"keeper", "sleep", live}, {"link", "chan receive", live, leak_grade::proven, n}});
}

task<> sends_holding(sender<int> tx, receiver<int>) { (void)co_await tx.send(1); }
task<> full_channel(bool twin) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    if (twin) s.go(named("keeper"), keep_asleep<receiver<int>>, rx.dup());
    s.go(named("sender"), sends_holding, std::move(tx), std::move(rx));
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, ASenderThatHoldsTheOnlyReceiver) {
  co_await examine([] { return full_channel(false); }, {waiting_kernel, {"sender", "chan send", core}});
}
LEASH_TEST(LiveTwin, ASenderWithASleepingReceiver) {
  co_await examine([] { return full_channel(true); },
                   {live_kernel, {"keeper", "sleep", live}, {"sender", "chan send", live}});
}

task<> selects(bool twin) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx1, rx1] = channel<int>();
    auto [tx2, rx2] = channel<int>();
    if (twin) s.go(named("keeper"), keep_asleep<sender<int>>, tx2.dup());
    s.go(
        named("selector"),
        [](sender<int>, receiver<int> rx1, sender<int> tx2, receiver<int> rx2) -> task<> {
          (void)co_await select(rx1.recv(), rx2.recv(), tx2.send(1), receiver<int>().recv());
        },
        std::move(tx1), std::move(rx1), std::move(tx2), std::move(rx2));
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, ASelectWithAllCasesDead) {
  // The send and the receive of the second channel are one goroutine's: they cannot meet each other.
  co_await examine([] { return selects(false); }, {waiting_kernel, {"selector", "select", core}});
}
LEASH_TEST(LiveTwin, ASelectWithOneLiveCase) {
  co_await examine([] { return selects(true); },
                   {live_kernel, {"keeper", "sleep", live}, {"selector", "select", live}});
}
LEASH_TEST(LiveTwin, ASelectWithASleep) {
  co_await examine(
      []() -> task<> {
        auto [tx, rx] = channel<int>();
        (void)co_await select(rx.recv(), sleep(1h));
      },
      {{"kernel", "select", live}});
}

// ---- joins -----------------------------------------------------------------------------------------------------
task<> joins_itself() {
  std::optional<goroutine<void>> self;
  event handed_over;
  co_await with_scope([&](scope& s) -> task<> {
    self = s.go(
        named("self"),
        [](std::optional<goroutine<void>>& self, event& handed_over) -> task<> {
          co_await handed_over.wait();
          co_await self->join();
        },
        std::ref(self), std::ref(handed_over));
    handed_over.set();
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, OneThatJoinsItself) {
  co_await examine([] { return joins_itself(); }, {waiting_kernel, {"self", "goroutine join", core}});
}
task<> joins_a_stuck_one(bool twin) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    if (twin) s.go(named("keeper"), keep_asleep<sender<int>>, tx.dup());
    auto h = s.go(named("stuck"), receive_holding<sender<int>>, std::move(rx), std::move(tx));
    s.go(named("joiner"), [](goroutine<void> h) -> task<> { co_await h.join(); }, std::move(h));
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, WhoJoinsAStuckOneIsADependent) {
  co_await examine([] { return joins_a_stuck_one(false); },
                   {waiting_kernel, {"stuck", "chan receive", core}, {"joiner", "goroutine join", dependent}});
}
LEASH_TEST(LiveTwin, WhoJoinsOneThatMayStillBeServed) {
  co_await examine(
      [] { return joins_a_stuck_one(true); },
      {live_kernel, {"keeper", "sleep", live}, {"stuck", "chan receive", live}, {"joiner", "goroutine join", live}});
}
task<> joiner_that_holds_the_end() {
  auto [tx, rx] = channel<int>();
  co_await with_scope([&, rx = std::move(rx)](scope& s) mutable -> task<> {
    s.go(named("stuck"), [](receiver<int> rx) -> task<> { (void)co_await rx.recv(); }, std::move(rx));
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, WhoJoinsTheOneThatWaitsForItsOwnEndIsInTheCore) {
  co_await examine([] { return joiner_that_holds_the_end(); },
                   {{"kernel", "scope join", core}, {"stuck", "chan receive", core}});
}

// ---- locks -------------------------------------------------------------------------------------------------------
task<> locks_twice(bool twin) {
  mutex m;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("locker"),
        [](mutex& m, bool twin) -> task<> {
          auto first = co_await m.lock();
          if (twin) {
            co_await with_scope([&](scope& inner) -> task<> {
              inner.go(named("keeper"), keep_asleep<mutex::guard>, std::move(first));
              auto second = co_await m.lock();
            });
          } else {
            auto second = co_await m.lock();
          }
        },
        std::ref(m), twin);
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, AMutexLockedTwice) {
  co_await examine([] { return locks_twice(false); }, {waiting_kernel, {"locker", "sync.Mutex.Lock", core}});
}
LEASH_TEST(LiveTwin, AMutexWhoseGuardASleeperHolds) {
  co_await examine([] { return locks_twice(true); },
                   {live_kernel, {"keeper", "sleep", live}, {"locker", "sync.Mutex.Lock", live}});
}

/// Locks one, tells the other, and wants the other's; `bounded`: not for ever.
task<> locks_both(mutex& mine, event& have_mine, mutex& other, event& have_other, bool bounded) {
  auto a = co_await mine.lock();
  have_mine.set();
  co_await have_other.wait();
  if (bounded)
    (void)co_await with_timeout(1h, other.lock());
  else
    auto b = co_await other.lock();
}
task<> ab_ba(bool twin) {
  mutex a, b;
  event have_a, have_b;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("ab"), locks_both, std::ref(a), std::ref(have_a), std::ref(b), std::ref(have_b), false);
    s.go(named("ba"), locks_both, std::ref(b), std::ref(have_b), std::ref(a), std::ref(have_a), twin);
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, TwoLocksInOppositeOrder) {
  co_await examine([] { return ab_ba(false); },
                   {waiting_kernel, {"ab", "sync.Mutex.Lock", core}, {"ba", "sync.Mutex.Lock", core}});
}
LEASH_TEST(LiveTwin, TwoLocksInOppositeOrderOneOfThemForALimitedTime) {
  co_await examine([] { return ab_ba(true); },
                   {live_kernel, {"ab", "sync.Mutex.Lock", live}, {"ba", "sync.Mutex.Lock", live}});
}

task<> sends_with_the_lock(bool twin) {
  mutex m;
  event locked;
  co_await with_scope([&](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    if (twin) s.go(named("keeper"), keep_asleep<receiver<int>>, rx.dup());
    s.go(
        named("sender"),
        [](mutex& m, event& locked, sender<int> tx) -> task<> {
          auto g = co_await m.lock();
          locked.set();
          (void)co_await tx.send(1);
        },
        std::ref(m), std::ref(locked), std::move(tx));
    s.go(
        named("receiver"),
        [](mutex& m, event& locked, receiver<int> rx) -> task<> {
          co_await locked.wait();
          auto g = co_await m.lock();
          (void)co_await rx.recv();
        },
        std::ref(m), std::ref(locked), std::move(rx));
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, ASendUnderTheLockThatItsReceiverWants) {
  co_await examine([] { return sends_with_the_lock(false); },
                   {waiting_kernel, {"sender", "chan send", core}, {"receiver", "sync.Mutex.Lock", core}});
}
LEASH_TEST(LiveTwin, ASendUnderTheLockWithAnotherReceiver) {
  co_await examine(
      [] { return sends_with_the_lock(true); },
      {live_kernel, {"keeper", "sleep", live}, {"sender", "chan send", live}, {"receiver", "sync.Mutex.Lock", live}});
}

LEASH_TEST_OF_LEAKS(Leak, AReadLockUnderTheWriteLock) {
  co_await examine(
      []() -> task<> {
        shared_mutex m;
        auto w = co_await m.lock();
        auto r = co_await m.lock_shared();
      },
      {{"kernel", "sync.RWMutex.RLock", core}});
}
LEASH_TEST_OF_LEAKS(Leak, AReadLockTakenAgainBehindAQueuedWriter) {
  co_await examine(
      []() -> task<> {
        shared_mutex m;
        co_await with_scope([&](scope& s) -> task<> {
          s.go(
              named("reader"),
              [](shared_mutex& m) -> task<> {
                auto r = co_await m.lock_shared();
                co_await parked("writer", "sync.RWMutex.Lock");
                auto again = co_await m.lock_shared();
              },
              std::ref(m));
          s.go(
              named("writer"),
              [](shared_mutex& m) -> task<> {
                co_await parked("reader", "sleep");
                auto w = co_await m.lock();
              },
              std::ref(m));
          co_return;
        });
      },
      {waiting_kernel, {"reader", "sync.RWMutex.RLock", core}, {"writer", "sync.RWMutex.Lock", core}});
}

}  // namespace leash::test::kinds_tests
