// Handles of goroutines, start with its limits, several errors at once, gather and race.
#include <algorithm>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/support.hpp"

namespace leash::test::join_tests {

task<> long_sleep() { co_await sleep(1h); }

LEASH_TEST(Join, GivesTheValue) {
  co_await with_scope([](scope& s) -> task<> {
    auto a = s.go([]() -> task<int> {
      co_await sleep(1ms);
      co_return 4;
    });
    auto b = s.go([] { return std::make_unique<int>(5); });
    auto c = s.go([] {});
    EXPECT_EQ(co_await a.join(), 4);
    auto p = co_await b.join();
    EXPECT_TRUE(p && **p == 5);
    EXPECT_TRUE(co_await c.join());
  });
}

LEASH_TEST(Join, OfACancelledOneGivesNothing) {
  EXPECT_TRUE(co_await with_scope([](scope& outer) -> task<> {
    cancel_source cs;
    auto h = outer.go(
        [](cancel_source cs) -> task<int> {
          auto r = co_await with_cancel(cs, sleep(1h));
          co_return r ? 1 : 2;  // its own boundary: it was not cancelled as a goroutine
        },
        cs.dup());
    cs.cancel();
    EXPECT_EQ(co_await h.join(), 2);
  }));
  std::optional<goroutine<int>> number;
  std::optional<goroutine<void>> nothing;
  co_await with_scope([&](scope& s) -> task<> {
    number = s.go(named("number"), []() -> task<int> {
      co_await sleep(1h);
      co_return 1;
    });
    nothing = s.go(named("nothing"), long_sleep);
    co_await parked("number", "sleep");
    co_await parked("nothing", "sleep");
    s.cancel();
  });
  EXPECT_EQ(co_await number->join(), std::nullopt);
  EXPECT_FALSE(co_await nothing->join());
}

LEASH_TEST(Join, RethrowsTheException) {
  std::optional<goroutine<int>> h;
  try {
    co_await with_scope({.on_error = on_error::keep_going}, [&](scope& s) -> task<> {
      h = s.go([]() -> task<int> {
        co_await yield();
        throw std::out_of_range("child");
      });
      EXPECT_THROW((void)co_await h->join(), std::out_of_range);
    });
  } catch (const std::out_of_range&) {  // whether a joined error comes out of the scope as well is not asked here
  }
}

LEASH_TEST(Join, AHandleMayBeDroppedAndMayOutliveItsScope) {
  std::optional<goroutine<int>> late;
  co_await with_scope([&](scope& s) -> task<> {
    {
      auto dropped = s.go([] { return 1; });
    }
    late = s.go([] { return 2; });
    co_return;
  });
  EXPECT_EQ(co_await late->join(), 2);
}

LEASH_TEST(Join, CanBeSelected) {
  co_await with_scope([](scope& s) -> task<> {
    auto slow = s.go(long_sleep);
    auto fast = s.go([] { return 3; });
    auto r = co_await select(slow.join(), fast.join());
    EXPECT_EQ(r.index(), 1u);
    EXPECT_EQ(std::get<1>(r), std::optional<int>(3));
    s.cancel();
  });
}

LEASH_TEST(Scope, SeveralErrorsComeOutAsOne) {
  std::vector<std::string> what;
  auto fails = [](std::string what) -> task<> {
    co_await yield();
    throw std::runtime_error(what);
  };
  try {
    co_await with_scope({.on_error = on_error::keep_going}, [&](scope& s) -> task<> {
      s.go(fails, std::string("one"));
      s.go(fails, std::string("two"));
      s.go(fails, std::string("three"));
      co_return;
    });
    ADD_FAILURE() << "no exception";
  } catch (const scope_errors& errors) {
    for (const std::exception_ptr& e : errors) {
      try {
        std::rethrow_exception(e);
      } catch (const std::runtime_error& one) {
        what.push_back(one.what());
      }
    }
  }
  std::sort(what.begin(), what.end());
  EXPECT_EQ(what, (std::vector<std::string>{"one", "three", "two"}));
}

struct gauge {
  std::atomic<int> now = 0, most = 0;
  gauge() {}
  void enter() {
    int n = ++now;
    for (int m = most; m < n && !most.compare_exchange_weak(m, n);) {
    }
  }
  void leave() { --now; }
};
task<> measured(gauge& g) {
  g.enter();
  co_await sleep(1ms);
  g.leave();
}

LEASH_TEST(MaxChildren, GoNeverWaitsButStartsNoMoreThanTheLimit) {
  gauge g;
  co_await with_scope({.max_children = 3}, [&](scope& s) -> task<> {
    for (int i = 0; i < 20; ++i) s.go(measured, std::ref(g));
    EXPECT_LE(g.now, 3);
    co_return;
  });
  EXPECT_GE(g.most, 1);
  EXPECT_LE(g.most, 3);
  EXPECT_EQ(g.now, 0);
}

LEASH_TEST(MaxChildren, StartWaitsForAFreePlace) {
  gauge g;
  co_await with_scope({.max_children = 2}, [&](scope& s) -> task<> {
    for (int i = 0; i < 10; ++i) {
      (void)co_await s.start(measured, std::ref(g));
      EXPECT_LE(g.now, 2);
    }
  });
  EXPECT_LE(g.most, 2);
}

LEASH_TEST(MaxChildren, AWaitingStartIsCancelledLikeAnyWait) {
  bool second = false, after = false;
  EXPECT_FALSE(co_await with_scope({.max_children = 1}, [&](scope& s) -> task<> {
    s.go(named("first"), long_sleep);
    co_await parked("first", "sleep");
    EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> {
      (void)co_await s.start([&second] { second = true; });
      after = true;
    }));
    s.cancel();
    co_await yield();
  }));
  EXPECT_FALSE(second);
  EXPECT_FALSE(after);
}

LEASH_TEST(Start, WaitsUntilTheChildSaysItIsReady) {
  bool prepared = false;
  co_await with_scope([&](scope& s) -> task<> {
    auto h = co_await s.start(
        [](bool& prepared, auto ready) -> task<int> {
          co_await sleep(2ms);
          prepared = true;
          ready();
          co_await sleep(2ms);
          co_return 5;
        },
        std::ref(prepared));
    EXPECT_TRUE(prepared);
    EXPECT_EQ(co_await h.join(), 5);
  });
}

LEASH_TEST(Start, ReturnsAlsoWhenTheChildEndsWithoutASign) {
  co_await with_scope([](scope& s) -> task<> {
    auto h = co_await s.start([](ready_signal) -> task<int> {
      co_await yield();
      co_return 6;
    });
    EXPECT_EQ(co_await h.join(), 6);
  });
}

task<int> value_after(int v, nanoseconds d) {
  co_await sleep(d);
  co_return v;
}
task<> throw_after(nanoseconds d) {
  co_await sleep(d);
  throw std::runtime_error("thrown");
}
task<int> endless(bool& unwound) {
  struct mark_end {
    bool& b;
    ~mark_end() { b = true; }
  } m{unwound};
  co_await sleep(1h);
  co_return 0;
}

LEASH_TEST(Gather, GivesAllResultsInOrder) {
  auto text = []() -> task<std::string> { co_return "text"; };
  auto nothing = []() -> task<> { co_await yield(); };
  auto [a, b, c] = co_await gather(value_after(1, 3ms), text(), nothing());
  EXPECT_EQ(a, 1);
  EXPECT_EQ(b, "text");
  EXPECT_EQ(c, std::monostate());
}

LEASH_TEST(Gather, RunsThemTogether) {
  auto [tx, rx] = channel<int>();
  auto sends = [](sender<int> to) -> task<bool> { co_return co_await to.send(1); };
  auto receives = [](receiver<int> from) -> task<std::optional<int>> { co_return co_await from.recv(); };
  auto [sent, got] = co_await gather(sends(std::move(tx)), receives(std::move(rx)));
  EXPECT_TRUE(sent);
  EXPECT_EQ(got, 1);
}

LEASH_TEST(Gather, AnErrorCancelsTheOthersAndComesOut) {
  bool unwound = false;
  EXPECT_THROW((void)co_await gather(endless(unwound), throw_after(1ms)), std::runtime_error);
  EXPECT_TRUE(unwound);
  EXPECT_EQ(num_goroutines(), 1u);
}

LEASH_TEST(Race, TheFirstWinsAndTheOthersAreCancelledAndJoined) {
  bool unwound = false;
  auto r = co_await race(endless(unwound), value_after(7, 1ms));
  EXPECT_EQ(r.index(), 1u);
  EXPECT_EQ(std::get<1>(r), 7);
  EXPECT_TRUE(unwound);
  EXPECT_EQ(num_goroutines(), 1u);
}

LEASH_TEST(Race, WaitsForTheCleanUpOfALoser) {
  bool cleaned = false;
  auto loser = [](bool& cleaned) -> task<int> {
    co_await finally(sleep(1h), [&](outcome o) -> task<> {
      EXPECT_EQ(o, outcome::cancelled);
      co_await sleep(2ms);
      cleaned = true;
    });
    co_return 0;
  };
  auto r = co_await race(loser(cleaned), value_after(7, 1ms));
  EXPECT_EQ(r.index(), 1u);
  EXPECT_TRUE(cleaned);
}

LEASH_TEST(Race, AnErrorThatIsFirstComesOut) {
  bool unwound = false;
  EXPECT_THROW((void)co_await race(endless(unwound), throw_after(1ms)), std::runtime_error);
  EXPECT_TRUE(unwound);
}

LEASH_TEST(Race, CancelledFromOutsideItJoinsAll) {
  bool a = false, b = false;
  cancel_source cs;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> { EXPECT_FALSE(co_await with_cancel(cs, race(endless(a), endless(b)))); });
    co_await parked("", "sleep", 2);
    cs.cancel();
  });
  EXPECT_TRUE(a);
  EXPECT_TRUE(b);
  EXPECT_EQ(num_goroutines(), 1u);
}

}  // namespace leash::test::join_tests
