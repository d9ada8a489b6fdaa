// finally and shielded: clean-up that may wait, whatever happened, for a bounded time.
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/support.hpp"

namespace leash::test::finally_tests {

LEASH_TEST(Finally, AfterAReturnItGivesTheValueOn) {
  std::vector<outcome> seen;
  int v = co_await finally(
      []() -> task<int> {
        co_await yield();
        co_return 4;
      },
      [&](outcome o) -> task<> {
        co_await yield();
        seen.push_back(o);
      });
  EXPECT_EQ(v, 4);
  EXPECT_EQ(seen, std::vector<outcome>{outcome::returned});
}

LEASH_TEST(Finally, TakesAPlainBodyAndAPlainCleanup) {
  outcome seen = outcome::threw;
  EXPECT_EQ(co_await finally([] { return 4; }, [&](outcome o) { seen = o; }), 4);
  EXPECT_EQ(seen, outcome::returned);
}

LEASH_TEST(Finally, AfterAThrowItRethrows) {
  outcome seen = outcome::returned;
  std::string what;
  try {
    co_await finally(
        []() -> task<> {
          co_await yield();
          throw std::runtime_error("body");
        },
        [&](outcome o) -> task<> {
          co_await sleep(1ms);
          seen = o;
        });
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  EXPECT_EQ(what, "body");
  EXPECT_EQ(seen, outcome::threw);
}

LEASH_TEST(Finally, AfterACancellationItMayWait) {
  outcome seen = outcome::returned;
  bool went_on = false, live = false;
  auto [tx, rx] = channel<int>(1);
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> {
    co_await finally(forever(), [&](outcome o) -> task<> {
      live = this_context().err() == context_error::none;
      co_await sleep(2ms);
      EXPECT_TRUE(co_await tx.send(1));
      seen = o;
    });
    went_on = true;
  }));
  EXPECT_EQ(seen, outcome::cancelled);
  EXPECT_TRUE(live);
  EXPECT_FALSE(went_on);
  EXPECT_EQ(rx.len(), 1u);
}

LEASH_TEST(Finally, RunsOnlyAfterTheBodysFramesAreGone) {
  std::vector<std::string> log;
  struct log_end {
    std::vector<std::string>& log;
    ~log_end() { log.push_back("body"); }
  };
  EXPECT_FALSE(co_await with_timeout(1ms, finally(
                                              [&]() -> task<> {
                                                log_end e{log};
                                                co_await forever();
                                              },
                                              [&](outcome) { log.push_back("cleanup"); })));
  EXPECT_EQ(log, (std::vector<std::string>{"body", "cleanup"}));
}

LEASH_TEST(Finally, NestedOnesRunInnermostFirst) {
  std::vector<int> log;
  auto layer = [&](auto&& self, int depth) -> task<> {
    if (depth == 0) {
      co_await forever();
      co_return;
    }
    co_await finally(self(self, depth - 1), [&log, depth](outcome o) -> task<> {
      EXPECT_EQ(o, outcome::cancelled);
      co_await yield();
      log.push_back(depth);
    });
  };
  EXPECT_FALSE(co_await with_timeout(1ms, layer(layer, 4)));
  EXPECT_EQ(log, (std::vector<int>{1, 2, 3, 4}));
}

LEASH_TEST(Finally, IsBounded) {
  const auto before = now();
  bool ended = false;
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> {
    co_await finally(
        forever(),
        [&](outcome) -> task<> {
          co_await sleep(1h);
          ended = true;
        },
        5ms);
  }));
  EXPECT_FALSE(ended);
  EXPECT_GE(now() - before, 6ms);
  EXPECT_LT(now() - before, 10s);
}

LEASH_TEST(Finally, AnExceptionOfTheCleanupComesOutOfIt) {
  EXPECT_THROW(co_await finally([]() -> task<> { co_await yield(); },
                                [](outcome) -> task<> {
                                  co_await yield();
                                  throw std::out_of_range("cleanup");
                                }),
               std::out_of_range);
}

LEASH_TEST(Finally, TwoExceptionsAreNested) {
  std::string outer, inner;
  try {
    co_await finally(
        []() -> task<> {
          co_await yield();
          throw std::runtime_error("body");
        },
        [](outcome) -> task<> {
          co_await yield();
          throw std::out_of_range("cleanup");
        });
  } catch (const std::exception& e) {
    outer = e.what();
    try {
      std::rethrow_if_nested(e);
    } catch (const std::runtime_error& e) {
      inner = e.what();
    }
  }
  EXPECT_EQ(outer, "cleanup");
  EXPECT_EQ(inner, "body");
}

struct cleanup_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
template <class E>
task<> fails_twice(E of_the_cleanup) {
  co_await finally(
      []() -> task<> {
        co_await yield();
        throw std::runtime_error("body");
      },
      [e = std::move(of_the_cleanup)](outcome) -> task<> {
        co_await yield();
        throw e;
      });
}

LEASH_TEST(Finally, OfTwoExceptionsTheCleanupsKeepsItsType) {
  EXPECT_THROW(co_await fails_twice(std::out_of_range("cleanup")), std::out_of_range);
  EXPECT_THROW(co_await fails_twice(std::system_error(std::make_error_code(std::errc::broken_pipe))),
               std::system_error);
  EXPECT_THROW(co_await fails_twice(cleanup_error("cleanup")), cleanup_error);
  EXPECT_THROW(co_await fails_twice(7), int);
}

LEASH_TEST(Finally, RefusesANegativeBoundBeforeTheBodyRuns) {
  bool ran = false;
  std::string said;
  try {
    co_await finally([&] { ran = true; }, [](outcome) {}, -1ns);
  } catch (const std::invalid_argument& e) {
    said = e.what();
  }
  EXPECT_NE(said.find("finally_test.cpp:"), std::string::npos) << said;
  EXPECT_NE(said.find("finally: a negative bound"), std::string::npos) << said;
  EXPECT_FALSE(ran);
}

LEASH_TEST(Finally, AnExceptionAfterACancellationComesOutOfTheBoundary) {
  bool went_on = false;
  std::string what;
  try {
    (void)co_await with_timeout(1ms, [&]() -> task<> {
      co_await finally(forever(), [](outcome) -> task<> {
        co_await yield();
        throw std::runtime_error("cleanup");
      });
      went_on = true;
    });
    ADD_FAILURE() << "no exception";
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  EXPECT_EQ(what, "cleanup");
  EXPECT_FALSE(went_on);
}

LEASH_TEST(Finally, OnTheWayOutACatchDoesNotSeeACleanupsException) {
  // The goroutine is being cancelled: the frames between are unwound, not run.
  bool caught = false;
  EXPECT_THROW((void)co_await with_timeout(1ms,
                                           [&]() -> task<> {
                                             try {
                                               co_await finally(forever(), [](outcome) -> task<> {
                                                 co_await yield();
                                                 throw std::runtime_error("cleanup");
                                               });
                                             } catch (...) {
                                               caught = true;
                                             }
                                           }),
               std::runtime_error);
  EXPECT_FALSE(caught);
}

LEASH_TEST(Finally, ACleanupMayOpenAScope) {
  int ended = 0;
  EXPECT_FALSE(co_await with_timeout(1ms, finally(forever(), [&](outcome) -> task<> {
                                       co_await with_scope([&](scope& s) -> task<> {
                                         for (int i = 0; i < 3; ++i)
                                           s.go(
                                               [](int& ended) -> task<> {
                                                 co_await sleep(1ms);
                                                 ++ended;
                                               },
                                               std::ref(ended));
                                         co_await s.join();
                                       });
                                     })));
  EXPECT_EQ(ended, 3);
}

LEASH_TEST(Finally, ACancellationDuringTheCleanupWaitsForItsEnd) {
  cancel_source cs;
  bool cleaned = false;
  EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
    (void)co_await finally([] { return 1; },
                           [&](outcome o) -> task<> {
                             EXPECT_EQ(o, outcome::returned);
                             cs.cancel();
                             co_await sleep(1ms);
                             cleaned = true;
                           });
    co_await yield();
    ADD_FAILURE() << "went on";
  }));
  EXPECT_TRUE(cleaned);
}

// ---- shielded ----------------------------------------------------------------------------------------------------
LEASH_TEST(Shielded, GivesTheValueOrNothingWhenItsBoundPasses) {
  EXPECT_EQ(co_await shielded(1h, []() -> task<int> { co_return 3; }), 3);
  EXPECT_TRUE(co_await shielded(1h, yield()));
  EXPECT_FALSE(co_await shielded(1ms, forever()));
}

LEASH_TEST(Shielded, IsNotCancelledFromOutside) {
  cancel_source cs;
  bool inside = false, after = false;
  EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
    EXPECT_TRUE(co_await shielded(10s, [&]() -> task<> {
      cs.cancel();
      EXPECT_EQ(this_context().err(), context_error::none);
      co_await sleep(1ms);
      inside = true;
    }));
    co_await yield();
    after = true;
  }));
  EXPECT_TRUE(inside);
  EXPECT_FALSE(after);
}

LEASH_TEST(Shielded, IsNotEndedByAnOuterDeadlineButHasItsOwn) {
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> {
    EXPECT_TRUE(co_await shielded(10s, [&]() -> task<> {
      auto d = this_context().deadline();
      EXPECT_TRUE(d && *d > now() + 1s);
      co_await sleep(3ms);
    }));
    co_await yield();
    ADD_FAILURE() << "went on";
  }));
}

LEASH_TEST(Shielded, KeepsTheValues) {
  co_await with_value(std::string("kept"), []() -> task<> {
    EXPECT_TRUE(co_await shielded(1h, []() -> task<> {
      auto* v = this_context().value<std::string>();
      EXPECT_TRUE(v && *v == "kept");
      co_await yield();
    }));
  });
}

}  // namespace leash::test::finally_tests
