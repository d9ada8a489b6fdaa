// with_scope: children are joined, errors and cancellation travel, and the result says what became of the body.
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace leash::test::scope_tests {

task<> sleeper(std::atomic<int>& ended) {
  struct count_end {
    std::atomic<int>& n;
    ~count_end() { ++n; }
  } c{ended};
  co_await sleep(1h);
}
task<> fails(std::string what) {
  co_await yield();
  throw std::runtime_error(what);
}

LEASH_TEST(Scope, JoinsItsChildren) {
  std::atomic<int> ended = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 100; ++i)
      s.go(
          [](std::atomic<int>& ended, int i) -> task<> {
            if (i % 3 == 0) co_await sleep(1ms);
            ++ended;
          },
          std::ref(ended), i);
    co_return;
  });
  EXPECT_EQ(ended, 100);
  EXPECT_EQ(num_goroutines(), 1u);
}

LEASH_TEST(Scope, ReturnsWhatItsBodyMakes) {
  EXPECT_EQ(co_await with_scope([](scope&) -> task<int> { co_return 4; }), 4);
  EXPECT_EQ(co_await with_scope([](scope&) { return 5; }), 5);
  EXPECT_TRUE(co_await with_scope([](scope&) -> task<> { co_return; }));
  EXPECT_TRUE(co_await with_scope([](scope& s) { s.go([] {}); }));
}

LEASH_TEST(Scope, SaysNothingOnlyIfTheBodyItselfWasCutShort) {
  EXPECT_EQ(co_await with_scope([](scope& s) -> task<int> {
              s.cancel();
              co_await yield();
              co_return 4;
            }),
            std::nullopt);
  EXPECT_FALSE(co_await with_scope([](scope& s) -> task<> {
    s.cancel();
    co_await yield();
  }));
  std::atomic<int> ended = 0;
  EXPECT_EQ(co_await with_scope([&](scope& s) -> task<int> {
              s.go(named("child"), sleeper, std::ref(ended));
              co_await parked("child", "sleep");
              s.cancel();  // cuts the child short, but not the body: it waits no more
              co_return 4;
            }),
            4);
  EXPECT_EQ(ended, 1);
}

LEASH_TEST(Scope, TheFirstErrorCancelsTheSiblingsAndComesOut) {
  std::atomic<int> ended = 0;
  std::string what;
  bool body_cut = true;
  try {
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 5; ++i) s.go(named("sibling"), sleeper, std::ref(ended));
      co_await parked("sibling", "sleep", 5);
      s.go(fails, std::string("first"));
      co_await sleep(1h);
      body_cut = false;
    });
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  EXPECT_EQ(what, "first");
  EXPECT_EQ(ended, 5);
  EXPECT_TRUE(body_cut);
}

LEASH_TEST(Scope, AnErrorOfTheBodyCancelsTheChildren) {
  std::atomic<int> ended = 0;
  EXPECT_THROW(co_await with_scope([&](scope& s) -> task<> {
                 s.go(named("child"), sleeper, std::ref(ended));
                 co_await parked("child", "sleep");
                 throw std::out_of_range("body");
               }),
               std::out_of_range);
  EXPECT_EQ(ended, 1);
}

LEASH_TEST(Scope, AnErrorAfterTheBodyStillComesOut) {
  EXPECT_THROW(co_await with_scope([](scope& s) -> task<> {
                 s.go([]() -> task<> {
                   co_await sleep(1ms);
                   throw std::runtime_error("late");
                 });
                 co_return;
               }),
               std::runtime_error);
}

LEASH_TEST(Scope, KeepGoingLetsTheSiblingsLive) {
  std::atomic<int> done = 0;
  std::string what;
  try {
    co_await with_scope({.on_error = on_error::keep_going}, [&](scope& s) -> task<> {
      s.go(fails, std::string("one"));
      s.go(
          [](std::atomic<int>& done) -> task<> {
            co_await sleep(2ms);
            ++done;
          },
          std::ref(done));
      co_await sleep(1ms);
      ++done;
    });
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  EXPECT_EQ(what, "one");
  EXPECT_EQ(done, 2);
}

LEASH_TEST(Scope, JoinsInsideTheBodySoThatChildrenMayUseWhatLivesOutside) {
  int sum = 0;
  EXPECT_TRUE(co_await with_scope([&](scope& s) -> task<> {
    for (int i = 1; i <= 10; ++i)
      s.go(
          [](int& sum, int i) -> task<> {
            co_await yield();
            std::atomic_ref<int>(sum) += i;
          },
          std::ref(sum), i);
    co_await s.join();
    EXPECT_EQ(sum, 55);
    EXPECT_EQ(num_goroutines(), 1u);
    s.go([](int& sum) { sum = 0; }, std::ref(sum));  // and may go on
  }));
  EXPECT_EQ(sum, 0);
}

LEASH_TEST(Scope, CancelledFromAChild) {
  std::atomic<int> ended = 0;
  EXPECT_FALSE(co_await with_scope([&](scope& s) -> task<> {
    s.go(named("sibling"), sleeper, std::ref(ended));
    co_await parked("sibling", "sleep");
    s.go([](scope& s) { s.cancel("a child says so"); }, std::ref(s));
    co_await sleep(1h);
  }));
  EXPECT_EQ(ended, 1);
}

LEASH_TEST(Scope, CancelledFromOutsideItPassesTheEndOn) {
  std::atomic<int> ended = 0;
  bool after = false;
  cancel_source cs;
  EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 5; ++i) s.go(sleeper, std::ref(ended));
      EXPECT_TRUE(co_await parked("", "sleep", 5));
      cs.cancel();
      co_await sleep(1h);
    });
    after = true;
  }));
  EXPECT_EQ(ended, 5);
  EXPECT_FALSE(after);  // the end was the outer one's
}

LEASH_TEST(Scope, CancelledFromOutsideWhileItJoinsItPassesTheEndOn) {
  std::atomic<int> ended = 0;
  bool after = false;
  EXPECT_FALSE(co_await with_timeout(2ms, [&]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 5; ++i) s.go(sleeper, std::ref(ended));
      co_return;  // the body itself is whole, its members will not be
    });
    after = true;
  }));
  EXPECT_FALSE(after);
}

LEASH_TEST(Scope, ACancelledChildThatNeverRanIsNeverStarted) {
  bool started = false;
  std::atomic<int> alive = 0;
  struct counts {
    std::atomic<int>* n;
    explicit counts(std::atomic<int>& n) : n(&n) { ++n; }
    counts(const counts& o) : n(o.n) { ++*n; }
    ~counts() { --*n; }
  };
  co_await with_scope([&](scope& s) -> task<> {
    s.cancel();
    s.go([c = counts(alive)](bool& started, counts) { started = true; }, std::ref(started), counts(alive));
    auto h = s.go(
        [](bool& started) -> task<int> {
          started = true;
          co_return 1;
        },
        std::ref(started));
    co_await shielded(1s, []() -> task<> { co_await yield(); });
  });
  EXPECT_FALSE(started);
  EXPECT_EQ(alive, 0);
}

TEST(Scope, AChildCancelledBeforeItsFirstRunIsNeverStarted) {
  run_at(1, []() -> task<> {  // one worker: nothing runs between go and cancel
    bool started = false;
    co_await with_scope([&](scope& s) -> task<> {
      auto h = s.go(
          [](bool& started, counted) -> task<int> {
            started = true;
            co_return 1;
          },
          std::ref(started), counted(1));
      s.go([](bool& started) { started = true; }, std::ref(started));
      s.cancel();
      EXPECT_EQ(co_await shielded(1s, [&]() -> task<std::optional<int>> { co_return co_await h.join(); }),
                std::optional<std::optional<int>>(std::in_place, std::nullopt));
    });
    EXPECT_FALSE(started);
    EXPECT_EQ(counted::alive(), 0);
  });
}

LEASH_TEST(Scope, SitsInAnotherScope) {
  std::vector<std::string> log;
  EXPECT_TRUE(co_await with_scope([&](scope& outer) -> task<> {
    outer.go(
        [](std::vector<std::string>& log) -> task<> {
          co_await with_scope([&](scope& inner) -> task<> {
            inner.go(
                [](std::vector<std::string>& log) -> task<> {
                  co_await sleep(2ms);
                  log.push_back("grandchild");
                },
                std::ref(log));
            co_return;
          });
          log.push_back("child");
        },
        std::ref(log));
    co_await outer.join();
    log.push_back("body");
  }));
  EXPECT_EQ(log, (std::vector<std::string>{"grandchild", "child", "body"}));
}

LEASH_TEST(Scope, AnInnerErrorMayBeCaughtBetweenScopes) {
  bool caught = false, sibling = false;
  EXPECT_TRUE(co_await with_scope([&](scope& s) -> task<> {
    s.go(
        [](bool& sibling) -> task<> {
          co_await sleep(2ms);
          sibling = true;
        },
        std::ref(sibling));
    try {
      co_await with_scope([](scope& inner) -> task<> {
        inner.go(fails, std::string("inner"));
        co_await sleep(1h);
      });
    } catch (const std::runtime_error&) {
      caught = true;
    }
  }));
  EXPECT_TRUE(caught);
  EXPECT_TRUE(sibling);
}

LEASH_TEST(Scope, MetWhileUnwindingItsChildrenAreJoinedBeforeTheFramesAbove) {
  std::vector<std::string> log;
  struct log_end {
    std::vector<std::string>& log;
    const char* name;
    ~log_end() { log.push_back(name); }
  };
  EXPECT_FALSE(co_await with_timeout(2ms, [&]() -> task<> {
    log_end above{log, "above"};
    co_await with_scope([&](scope& s) -> task<> {
      log_end body{log, "body"};
      s.go(
          [](std::vector<std::string>& log) -> task<> {
            co_await finally(forever(), [&](outcome) -> task<> {
              co_await sleep(2ms);  // the unwinding above waits for this
              log.push_back("child");
            });
          },
          std::ref(log));
      co_await forever();
    });
  }));
  EXPECT_EQ(log, (std::vector<std::string>{"body", "child", "above"}));
}

LEASH_TEST(Scope, AnErrorOfAChildWhileUnwindingComesOutOfTheBoundary) {
  bool after = false;
  EXPECT_THROW((void)co_await with_timeout(2ms,
                                           [&]() -> task<> {
                                             co_await with_scope([](scope& s) -> task<> {
                                               s.go([]() -> task<> {
                                                 co_await finally(forever(), [](outcome) -> task<> {
                                                   co_await yield();
                                                   throw std::runtime_error("clean-up of a child");
                                                 });
                                               });
                                               co_await forever();
                                             });
                                             after = true;
                                           }),
               std::runtime_error);
  EXPECT_FALSE(after);
}

LEASH_TEST_REAL(Scope, ARemoteHandleStartsChildrenFromAThread) {
  std::atomic<int> ran = 0;
  std::thread other;
  co_await with_scope([&](scope& s) -> task<> {
    other = std::thread([r = s.remote(), &ran]() mutable {
      for (int i = 0; i < 20; ++i) {
        r.go(
            [](std::atomic<int>& ran) -> task<> {
              co_await yield();
              ++ran;
            },
            std::ref(ran));
        std::this_thread::sleep_for(200us);
      }
    });
    co_return;  // the join waits for the remote handle too
  });
  EXPECT_EQ(ran, 20);
  other.join();
}

LEASH_TEST_REAL(Scope, TheJoinWaitsForAnUnusedRemoteHandle) {
  std::atomic<bool> dropped = false;
  std::thread other;
  co_await with_scope([&](scope& s) -> task<> {
    other = std::thread([r = std::optional<remote_scope>(s.remote()), &dropped]() mutable {
      std::this_thread::sleep_for(20ms);
      dropped = true;
      r.reset();
    });
    co_return;
  });
  EXPECT_TRUE(dropped);
  other.join();
}

}  // namespace leash::test::scope_tests
