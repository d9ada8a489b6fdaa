// What follows a proof: reports, deadlock_error, and goroutines that are unwound so that the others can go on.
#include <algorithm>
#include <atomic>
#include <set>
#include <stdexcept>

#include "kernel.hpp"

namespace leash::test::reclaim_tests {

using enum verdict;

struct count_end {
  std::atomic<int>* n;
  explicit count_end(std::atomic<int>& n) : n(&n) {}
  count_end(count_end&& o) noexcept : n(std::exchange(o.n, nullptr)) {}
  ~count_end() {
    if (n) ++*n;
  }
};
task<> pair_that_waits(std::atomic<int>& ended) {
  co_await with_scope([&](scope& s) -> task<> {
    auto [tx1, rx1] = channel<int>();
    auto [tx2, rx2] = channel<int>();
    auto wait = [](receiver<int> rx, sender<int>, count_end) -> task<> { (void)co_await rx.recv(); };
    s.go(named("one"), wait, std::move(rx1), std::move(tx2), count_end(ended));
    s.go(named("two"), wait, std::move(rx2), std::move(tx1), count_end(ended));
    co_return;
  });
}

LEASH_TEST_OF_LEAKS(Reclaim, UnwindsOneAndTheOtherGoesOnByItself) {
  std::atomic<int> ended = 0;
  bool kernel_returned = false;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        [](std::atomic<int>& ended, bool& returned) -> task<> {
          co_await pair_that_waits(ended);
          returned = true;  // a reclaimed child's scope returns normally
        },
        std::ref(ended), std::ref(kernel_returned));
    co_await parked("one", "chan receive");
    co_await parked("two", "chan receive");
    EXPECT_EQ(co_await reclaim(find_leaks()), 1u);  // one victim: its end frees the other
    co_await s.join();
  });
  EXPECT_EQ(ended, 2);
  EXPECT_TRUE(kernel_returned);
}

LEASH_TEST_OF_LEAKS(Reclaim, TheVictimsJoinGivesNothing) {
  co_await with_scope([](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    auto h = s.go(
        named("stuck"),
        [](receiver<int> rx, sender<int>) -> task<int> {
          (void)co_await rx.recv();
          co_return 1;
        },
        std::move(rx), std::move(tx));
    co_await parked("stuck", "chan receive");
    EXPECT_EQ(co_await reclaim(find_leaks()), 1u);
    EXPECT_EQ(co_await h.join(), std::nullopt);
  });
}

LEASH_TEST_OF_LEAKS(Reclaim, WhoAwaitsItIsAsLiveAsTheVictimsThatUnwind) {
  co_await with_scope([](scope& s) -> task<> {
    s.go(named("slow"), []() -> task<> {
      auto [tx, rx] = channel<int>();
      co_await finally([&rx]() -> task<> { (void)co_await rx.recv(); },
                       [](outcome) -> task<> { co_await sleep(200ms); });
    });
    co_await parked("slow", "chan receive");
    s.go(named("awaiter"), []() -> task<> { EXPECT_EQ(co_await reclaim(find_leaks()), 1u); });
    co_await parked("awaiter", "goroutine join");
    leak_report const r = find_leaks();
    EXPECT_EQ(r.size(), 0u) << text(r);
    co_await s.join();
  });
}

LEASH_TEST_OF_LEAKS(Reclaim, AVictimThatIsLeakedAgainWhileItUnwindsHasOneWatcher) {
  mutex m;
  co_await with_scope([&m](scope& s) -> task<> {
    auto twice = s.go(
        named("twice"),
        [](mutex& m) -> task<> {
          condition c;
          auto held = co_await m.lock();
          co_await c.wait(held, [] { return false; });
        },
        std::ref(m));
    co_await parked("twice", "sync.Cond.Wait");
    s.go(
        named("holder"),
        [](mutex& m, goroutine<void> waits_for) -> task<> {
          unreclaimable ends_in_order;
          auto held = co_await m.lock();
          co_await waits_for.join();
        },
        std::ref(m), std::move(twice));
    co_await parked("holder", "goroutine join");
    s.go(named("first"), []() -> task<> { EXPECT_EQ(co_await reclaim(find_leaks(), {.confined = true}), 1u); });
    co_await parked("first", "goroutine join");
    co_await parked("twice", "sync.Mutex.Lock");
    leak_report const again = find_leaks();
    EXPECT_EQ(count(again, "twice"), 1u) << text(again);
    EXPECT_EQ(co_await reclaim(again, {.confined = true}), 0u) << "counted by two";
    co_await s.join();
    // Had both dropped a reference that was counted once, one place in memory would be given to two goroutines.
    for (int i = 0; i < 2; ++i) s.go(named("newcomer"), []() -> task<> { co_await sleep(1h); });
    co_await parked("newcomer", "sleep", 2);
    s.cancel();
  });
}

// More than are unwound in one portion.
constexpr int many = 400;

task<> wait_for_oneself(count_end) {
  auto [tx, rx] = channel<int>();
  (void)co_await rx.recv();
}

LEASH_TEST_OF_LEAKS(Reclaim, OfManyCountsEach) {
  std::atomic<int> ended = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < many; ++i) s.go(named("stuck"), wait_for_oneself, count_end(ended));
    co_await parked("stuck", "chan receive", many);
    EXPECT_EQ(co_await reclaim(find_leaks()), std::size_t{many});
    EXPECT_EQ(ended, many);
    EXPECT_EQ(num_goroutines(), 1u);
  });
}

LEASH_TEST_OF_LEAKS(Reclaim, ThatIsCutUnwindsTheRest) {
  std::atomic<int> ended = 0;
  co_await with_scope([&](scope& s) -> task<> {
    bool returned = false;
    cancel_source stop;
    struct stop_at_end {
      cancel_source* stop;
      explicit stop_at_end(cancel_source& s) : stop(&s) {}
      stop_at_end(stop_at_end&& o) noexcept : stop(std::exchange(o.stop, nullptr)) {}
      ~stop_at_end() {
        if (stop != nullptr) stop->cancel();
      }
    };
    s.go(
        named("stuck"),
        [](count_end, stop_at_end) -> task<> {
          auto [tx, rx] = channel<int>();
          (void)co_await rx.recv();
        },
        count_end(ended), stop_at_end(stop));
    for (int i = 1; i < many; ++i) s.go(named("stuck"), wait_for_oneself, count_end(ended));
    co_await parked("stuck", "chan receive", many);
    co_await with_cancel(stop, [&]() -> task<> {
      (void)co_await reclaim(find_leaks());
      returned = true;
    });
    EXPECT_FALSE(returned) << "it was to be cut while it unwinds them";
    co_await s.join();
  });
  EXPECT_EQ(ended, many);
}

LEASH_TEST_OF_LEAKS(Reclaim, DoesNotWaitForACleanUpThatNeedsTheLastVictim) {
  std::atomic<int> ended = 0;
  bool cleaned = false;  // false: what it needed did not come in the time that a clean-up has
  co_await with_scope([&](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(
        named("stuck"),
        [](receiver<int> rx, bool& cleaned) -> task<> {
          auto [own_tx, own_rx] = channel<int>();
          co_await finally([&]() -> task<> { (void)co_await own_rx.recv(); },
                           [&rx, &cleaned](outcome) -> task<> {
                             (void)co_await rx.recv();
                             cleaned = true;
                           });
        },
        std::move(rx), std::ref(cleaned));
    for (int i = 0; i < many; ++i) s.go(named("stuck"), wait_for_oneself, count_end(ended));
    s.go(
        named("stuck"),
        [](sender<int>) -> task<> {
          auto [own_tx, own_rx] = channel<int>();
          (void)co_await own_rx.recv();
        },
        std::move(tx));
    co_await parked("stuck", "chan receive", many + 2);
    EXPECT_EQ(co_await reclaim(find_leaks()), std::size_t{many + 2});
    co_await s.join();
  });
  EXPECT_TRUE(cleaned);
  EXPECT_EQ(ended, many);
}

LEASH_TEST_OF_LEAKS(Reclaim, RunsDestructorsUnwindingAndNoCatch) {
  std::atomic<int> ended = 0;
  bool was_unwinding = false, caught = false;
  struct look {
    bool& seen;
    ~look() { seen = unwinding(); }
  };
  co_await with_scope([&](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(
        named("stuck"),
        [](receiver<int> rx, sender<int>, count_end, bool& seen, bool& caught) -> task<> {
          look l{seen};
          try {
            (void)co_await rx.recv();
          } catch (...) {
            caught = true;
          }
          caught = true;
        },
        std::move(rx), std::move(tx), count_end(ended), std::ref(was_unwinding), std::ref(caught));
    co_await parked("stuck", "chan receive");
    EXPECT_EQ(co_await reclaim(find_leaks()), 1u);
  });
  EXPECT_EQ(ended, 1);
  EXPECT_TRUE(was_unwinding);
  EXPECT_FALSE(caught);
}

LEASH_TEST_OF_LEAKS(Reclaim, PoisonsTheLockThatTheVictimHeld) {
  mutex m;
  bool poisoned = false;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("locker"),
        [](mutex& m) -> task<> {
          auto first = co_await m.lock();
          auto second = co_await m.lock();
        },
        std::ref(m));
    co_await parked("locker", "sync.Mutex.Lock");
    auto r = find_leaks();
    EXPECT_EQ(r.size(), 1u);
    EXPECT_EQ(co_await reclaim(r), 1u);
    poisoned = (co_await m.lock()).poisoned();
  });
  EXPECT_TRUE(poisoned);
}

#if __has_include(<leash/shared.hpp>)  // comes with the confined grade
LEASH_TEST_OF_LEAKS(Reclaim, WhatIsOnlyConfinedNeedsToBeAskedFor) {
  co_await with_scope([](scope& s) -> task<> {
    s.go(named("waiter"), []() -> task<> {
      event e;
      co_await e.wait();
    });
    co_await parked("waiter", "event");
    auto r = find_leaks();
    EXPECT_EQ(r.size(), 1u);
    EXPECT_EQ(co_await reclaim(r), 0u);
    EXPECT_EQ(num_goroutines(), 2u);
    EXPECT_EQ(co_await reclaim(r, {.confined = true}), 1u);
    EXPECT_EQ(num_goroutines(), 1u);
  });
}
#endif

LEASH_TEST_OF_LEAKS(Reclaim, OfAnOldReportTouchesNoneThatHasEnded) {
  std::atomic<int> ended = 0;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([](std::atomic<int>& ended) { return pair_that_waits(ended); }, std::ref(ended));
    co_await parked("one", "chan receive");
    co_await parked("two", "chan receive");
    auto r = find_leaks();
    EXPECT_EQ(co_await reclaim(r), 1u);
    co_await s.join();
    for (int i = 0; i < 100; ++i) s.go(named("newcomer"), []() -> task<> { co_await sleep(1h); });
    co_await parked("newcomer", "sleep", 100);
    EXPECT_EQ(co_await reclaim(r), 0u);
    EXPECT_EQ(num_goroutines(), 101u);
    s.cancel();
  });
}

TEST(Reclaim, FromAThreadThatIsNoWorker) {
  std::atomic<int> ended = 0;
  std::thread other([&] {
    EXPECT_TRUE(parked_seen_from_outside("one", "chan receive"));
    EXPECT_TRUE(parked_seen_from_outside("two", "chan receive"));
    EXPECT_EQ(reclaim(find_leaks()).wait(), 1u);
  });
  options o;
  o.workers = 2;
  run(o, [&]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      s.go([](std::atomic<int>& ended) { return pair_that_waits(ended); }, std::ref(ended));
      co_await eventually([&] { return ended == 2; }, "the reclaim");
    });
  });
  other.join();
  EXPECT_EQ(ended, 2);
}

LEASH_TEST_OF_LEAKS(Report, IsStickyAndGrowsOnly) {
  co_await with_scope([](scope& s) -> task<> {
    std::vector<std::pair<std::uint64_t, leak_role>> before;
    for (std::size_t n = 1; n <= 5; ++n) {
      auto [tx, rx] = channel<int>();
      s.go(named("stuck"), receive_holding<sender<int>>, std::move(rx), std::move(tx));
      co_await parked("stuck", "chan receive", n);
      auto now = ids(find_leaks());
      EXPECT_EQ(now.size(), n);
      EXPECT_TRUE(std::includes(now.begin(), now.end(), before.begin(), before.end()));
      EXPECT_EQ(ids(find_leaks()), now);
      before = now;
    }
    s.cancel();
  });
}

LEASH_TEST_OF_LEAKS(Report, TellsWhoWhereAndWhy) {
  co_await with_scope([](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    unsigned line = __LINE__ + 1;
    s.go(named("stuck"), receive_holding<sender<int>>, std::move(rx), std::move(tx));
    co_await parked("stuck", "chan receive");
    auto r = find_leaks();
    CO_ASSERT_EQ(r.size(), 1u);
    const leak& l = *r.begin();
    EXPECT_NE(l.why.find("sender"), std::string::npos) << l.why;
    std::string all = text(r);
    for (std::string part : {std::string("stuck"), std::string("chan receive"), std::string("proven"),
                             "reclaim_test.cpp:" + std::to_string(line), std::string("kernel.hpp:")})
      EXPECT_NE(all.find(part), std::string::npos) << part << " is not in\n" << all;
    EXPECT_NE(r.to_json().find("\"stuck\""), std::string::npos) << r.to_json();
    EXPECT_EQ(r.to_dot().rfind("digraph", 0), 0u) << r.to_dot();
    leak_report copy = r;
    EXPECT_EQ(text(copy), all);
    s.cancel();
  });
}

LEASH_TEST_OF_LEAKS(Report, ListsWhatEachVerdictTakesForGranted) {
  co_await with_scope([](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(named("frames"), receive_holding<sender<int>>, std::move(rx), std::move(tx));
    auto [tx2, rx2] = channel<int>();
    s.go(named("tracked memory"), receive_holding<shared<sender<int>>>, std::move(rx2),
         share<sender<int>>(std::move(tx2)));
    s.go(named("confinement"), []() -> task<> {
      event e;
      co_await e.wait();
    });
    co_await parked("frames", "chan receive");
    co_await parked("tracked memory", "chan receive");
    co_await parked("confinement", "event");
    auto const r = find_leaks();
    std::set<std::string> seen;
    for (const leak& l : r) {
      seen.insert(l.who.name);
      EXPECT_TRUE(std::any_of(l.premises.begin(), l.premises.end(), [&](leak_premise p) {
        return name_of(p) == l.who.name;
      })) << l.who.name;
    }
    EXPECT_EQ(seen, (std::set<std::string>{"frames", "tracked memory", "confinement"})) << text(r);
    EXPECT_NE(r.to_json().find("\"premises\": [\"frames\"]"), std::string::npos) << r.to_json();
    s.cancel();
  });
}

TEST(Report, ListsThatContextsEndByCapabilitiesOnly) {
  try {
    run([]() -> task<> {
      cancel_source own;
      co_await with_cancel(own, []() -> task<> { co_await forever(); });
    });
    ADD_FAILURE() << "run returned";
  } catch (const deadlock_error& e) {
    ASSERT_EQ(e.report().size(), 1u);
    auto const& all = e.report()[0].premises;
    EXPECT_EQ(std::count(all.begin(), all.end(), leak_premise::contexts), 1);
  }
}

LEASH_TEST_OF_LEAKS(Report, IsValidWhateverANameHolds) {
  co_await with_scope([](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(named("bad \xff\xc3 name"), receive_holding<sender<int>>, std::move(rx), std::move(tx));
    co_await eventually([] { return find_leaks().size() == 1; }, "the leak");
    auto const r = find_leaks();
    for (const std::string& told : {r.to_json(), r.to_dot()}) {
      EXPECT_NE(told.find("bad \xEF\xBF\xBD\xEF\xBF\xBD name"), std::string::npos) << told;
      EXPECT_EQ(told.find('\xff'), std::string::npos) << told;
    }
    s.cancel();
  });
}

TEST(Report, OfNothingIsEmpty) {
  leak_report r;
  EXPECT_EQ(r.size(), 0u);
  EXPECT_EQ(r.begin(), r.end());
  EXPECT_EQ(find_leaks().size(), 0u);
}

// ---- whole programs -------------------------------------------------------------------------------------------------
TEST(Deadlock, RunThrowsWithTheReportAfterUnwinding) {
  for (unsigned workers : {1u, 2u, 4u}) {
    std::atomic<int> ended = 0;
    options o;
    o.workers = workers;
    try {
      run(o, [&]() -> task<> {
        count_end root(ended);
        co_await pair_that_waits(ended);
      });
      ADD_FAILURE() << "run returned";
    } catch (const deadlock_error& e) {
      EXPECT_EQ(e.report().size(), 3u) << text(e.report());
      for (const leak& l : e.report()) {
        const bool root = l.who.parent == 0;
        EXPECT_EQ(l.role, root ? leak_role::dependent : leak_role::core) << text(e.report());
      }
      EXPECT_NE(std::string(e.what()).find("deadlock"), std::string::npos);
    }
    EXPECT_EQ(ended, 3);
    EXPECT_EQ(num_goroutines(), 0u);
  }
}

TEST(Deadlock, TheRootAloneIsTheCore) {
  std::atomic<int> ended = 0;
  try {
    run([&]() -> task<> {
      count_end root(ended);
      auto [tx, rx] = channel<int>();
      (void)co_await rx.recv();
    });
    ADD_FAILURE() << "run returned";
  } catch (const deadlock_error& e) {
    EXPECT_EQ(e.report().size(), 1u);
    EXPECT_EQ(e.report().begin()->role, leak_role::core);
  }
  EXPECT_EQ(ended, 1);
}

#if __has_include(<leash/shared.hpp>)  // comes with the confined grade and the scan of buffers
TEST(Deadlock, OfWhatIsOnlyConfinedIsOneToo) {
  EXPECT_THROW(run([]() -> task<> {
                 event e;
                 co_await e.wait();
               }),
               deadlock_error);
}
#endif

TEST(Deadlock, IsNoneWhileAThreadHoldsAnEnd) {
  auto [tx, rx] = channel<int>();
  std::thread other([tx = std::move(tx)]() mutable {
    std::this_thread::sleep_for(100ms);
    EXPECT_EQ(tx.try_send(5), try_result::done);
  });
  EXPECT_EQ(run([](receiver<int> rx) -> task<int> { co_return (co_await rx.recv()).value_or(0); }, std::move(rx)), 5);
  other.join();
}

TEST(Deadlock, TheNextRunWorks) {
  for (int i = 0; i < 20; ++i) {
    std::atomic<int> ended = 0;
    EXPECT_THROW(run([&] { return pair_that_waits(ended); }), deadlock_error);
    EXPECT_EQ(run([] { return 1; }), 1);
  }
}

TEST(OnLeak, IsToldWhileTheProgramRuns) {
  std::atomic<bool> told = false;
  options o = with_workers(2, leaks::are_expected);
  o.on_leak = [&](const leak_report& r) {
    if (count(r, "one") == 1 && count(r, "two") == 1) told = true;
  };
  run(o, [&]() -> task<> {
    std::atomic<int> ended = 0;
    co_await with_scope([&](scope& s) -> task<> {
      s.go([](std::atomic<int>& ended) { return pair_that_waits(ended); }, std::ref(ended));
      co_await eventually([&] { return told.load(); }, "on_leak");
      s.cancel();
    });
    EXPECT_EQ(ended, 2);
  });
  EXPECT_TRUE(told);
}

TEST(OnLeak, WithReclaimTheProgramRecovers) {
  for (unsigned workers : {1u, 2u, 4u}) {
    std::atomic<int> ended = 0, told = 0;
    options o = with_workers(workers, leaks::are_expected);
    o.action = leak_action::reclaim;
    o.on_leak = [&](const leak_report&) { ++told; };
    run(o, [&] { return pair_that_waits(ended); });
    EXPECT_EQ(ended, 2);
    EXPECT_GE(told, 1);
  }
}

TEST(OnLeakDeathTest, WithAbortTheProgramEndsWithTheReport) {
  EXPECT_DEATH(
      {
        options o = with_workers(2, leaks::are_expected);
        o.action = leak_action::abort;
        std::atomic<int> ended = 0;
        run(o, [&] { return pair_that_waits(ended); });
      },
      "leaked: .*chan receive|leaked: 2 goroutines");
}

}  // namespace leash::test::reclaim_tests
