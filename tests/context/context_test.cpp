// The ambient context: deadlines, causes and values, and who inherits them.
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/support.hpp"

namespace leash::test::context_tests {

TEST(Context, OutsideAGoroutineIsTheBackground) {
  context c = this_context();
  EXPECT_EQ(c.err(), context_error::none);
  EXPECT_FALSE(c.deadline());
  EXPECT_EQ(c.value<int>(), nullptr);
}

LEASH_TEST(Context, OfTheRootIsLiveAndUnbounded) {
  EXPECT_EQ(this_context().err(), context_error::none);
  EXPECT_FALSE(this_context().deadline());
  EXPECT_TRUE(this_context().cause().reason.empty());
  EXPECT_FALSE(this_context().cause().error);
  co_return;
}

LEASH_TEST(Context, ATimeLimitThatIsKeptGivesTheValue) {
  EXPECT_EQ(co_await with_timeout(1h, []() -> task<int> { co_return 5; }), 5);
  EXPECT_TRUE(co_await with_timeout(1h, []() -> task<> { co_await yield(); }));
  EXPECT_EQ(co_await with_timeout(1h, [] { return 6; }), 6);
  EXPECT_TRUE(co_await with_deadline(now() + 1h, sleep(1ms)));
}

LEASH_TEST(Context, ATimeLimitThatPassesGivesNothing) {
  const auto before = now();
  EXPECT_FALSE(co_await with_timeout(5ms, forever()));
  EXPECT_GE(now() - before, 5ms);
  auto slow = []() -> task<int> {
    co_await sleep(1h);
    co_return 1;
  };
  EXPECT_EQ(co_await with_timeout(5ms, slow), std::nullopt);
  EXPECT_EQ(co_await with_deadline(now() + 5ms, slow()), std::nullopt);
  EXPECT_EQ(this_context().err(), context_error::none);
}

LEASH_TEST(Context, ALimitInThePastEndsAtTheFirstWait) {
  bool went_on = false;
  EXPECT_FALSE(co_await with_deadline(now() - 1s, [&]() -> task<> {
    co_await yield();
    went_on = true;
  }));
  EXPECT_FALSE(went_on);
  // A body that never waits has nothing to be cut short at.
  EXPECT_EQ(co_await with_timeout(0s, [] { return 3; }), 3);
}

LEASH_TEST(Context, TheDeadlineIsTheEarliestOfTheNest) {
  const auto before = now();
  co_await with_timeout(10min, [&]() -> task<> {
    auto outer = this_context().deadline();
    CO_ASSERT_TRUE(outer.has_value());
    EXPECT_GE(*outer, before + 10min);
    EXPECT_LE(*outer, now() + 10min);
    co_await with_timeout(1h, [&]() -> task<> {
      EXPECT_EQ(this_context().deadline(), outer);
      co_return;
    });
    co_await with_timeout(1min, [&]() -> task<> {
      auto inner = this_context().deadline();
      CO_ASSERT_TRUE(inner.has_value());
      EXPECT_LT(*inner, *outer);
      co_return;
    });
    EXPECT_EQ(this_context().deadline(), outer);
  });
  EXPECT_FALSE(this_context().deadline());
}

LEASH_TEST(Context, AnInnerLimitThatPassesStaysInside) {
  bool after = false;
  EXPECT_TRUE(co_await with_timeout(1h, [&]() -> task<> {
    EXPECT_FALSE(co_await with_timeout(2ms, forever()));
    co_await yield();
    after = true;
  }));
  EXPECT_TRUE(after);
}

LEASH_TEST(Context, AnOuterEarlierEndGoesToTheOuterBoundary) {
  bool after_inner = false;
  EXPECT_FALSE(co_await with_timeout(2ms, [&]() -> task<> {
    (void)co_await with_timeout(1h, forever());
    after_inner = true;
  }));
  EXPECT_FALSE(after_inner);
}

LEASH_TEST(Context, ItsErrorTellsDeadlineFromCancellation) {
  std::optional<context> late, cut, kept;
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> {
    late = this_context();
    co_await forever();
  }));
  cancel_source cs;
  EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
    cut = this_context();
    cs.cancel("enough");
    co_await yield();
  }));
  EXPECT_EQ(late->err(), context_error::deadline_exceeded);
  EXPECT_EQ(cut->err(), context_error::cancelled);
}

LEASH_TEST(Context, TheCauseSaysWhyAndWhere) {
  std::optional<context> seen;
  cancel_source cs;
  unsigned line = 0;
  (void)co_await with_cancel(cs, [&]() -> task<> {
    seen = this_context();
    line = __LINE__ + 1;
    cs.cancel("the user pressed stop");
    cs.cancel("too late to be the reason");
    co_await yield();
  });
  auto cause = seen->cause();
  EXPECT_EQ(cause.reason, "the user pressed stop");
  EXPECT_NE(std::strstr(cause.where.file_name(), "context_test.cpp"), nullptr);
  EXPECT_EQ(cause.where.line(), line);
  EXPECT_FALSE(cause.error);
}

LEASH_TEST(Context, TheCauseReachesEveryContextBelow) {
  std::optional<context> below;
  cancel_source cs;
  (void)co_await with_cancel(cs, [&]() -> task<> {
    (void)co_await with_timeout(1h, [&]() -> task<> {
      below = this_context();
      cs.cancel("from above");
      co_await yield();
    });
  });
  EXPECT_EQ(below->err(), context_error::cancelled);
  EXPECT_EQ(below->cause().reason, "from above");
}

LEASH_TEST(Context, TheErrorOfAChildIsTheCauseOfItsSiblings) {
  std::optional<context> sibling;
  bool thrown = false;
  try {
    co_await with_scope([&](scope& s) -> task<> {
      s.go(
          named("sibling"),
          [](std::optional<context>& c) -> task<> {
            c = this_context();
            co_await sleep(1h);
          },
          std::ref(sibling));
      co_await parked("sibling", "sleep");
      s.go([]() -> task<> {
        co_await yield();
        throw std::runtime_error("broken");
      });
      co_await sleep(1h);
    });
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  EXPECT_TRUE(thrown);
  CO_ASSERT_TRUE(sibling.has_value());
  EXPECT_EQ(sibling->err(), context_error::cancelled);
  std::exception_ptr error = sibling->cause().error;
  CO_ASSERT_TRUE(error != nullptr);
  EXPECT_THROW(std::rethrow_exception(error), std::runtime_error);
}

struct user {
  std::string name;
};
struct request {
  int id;
};

LEASH_TEST(Context, ValuesAreFoundByTheirType) {
  EXPECT_EQ(this_context().value<user>(), nullptr);
  int got = co_await with_value(user{"ann"}, []() -> task<int> {
    const user* u = this_context().value<user>();
    EXPECT_TRUE(u && u->name == "ann");
    EXPECT_EQ(this_context().value<request>(), nullptr);
    co_return co_await with_value(request{4}, []() -> task<int> {
      EXPECT_EQ(this_context().value<user>()->name, "ann");
      co_return this_context().value<request>()->id;
    });
  });
  EXPECT_EQ(got, 4);
  EXPECT_EQ(this_context().value<user>(), nullptr);
}

LEASH_TEST(Context, AnInnerValueHidesTheOuterOne) {
  co_await with_value(user{"outer"}, []() -> task<> {
    co_await with_value(user{"inner"}, []() -> task<> {
      EXPECT_EQ(this_context().value<user>()->name, "inner");
      co_return;
    });
    EXPECT_EQ(this_context().value<user>()->name, "outer");
  });
}

LEASH_TEST(Context, ValuesLiveAsLongAsAContextThatHoldsThem) {
  auto text = std::make_shared<std::string>("kept");
  std::weak_ptr<std::string> alive = text;
  {
    std::optional<context> c;
    co_await with_value(std::move(text), [&]() -> task<> {
      c = this_context();
      co_return;
    });
    CO_ASSERT_TRUE(c->value<std::shared_ptr<std::string>>() != nullptr);
    EXPECT_EQ(**c->value<std::shared_ptr<std::string>>(), "kept");
  }
  EXPECT_TRUE(alive.expired());
}

LEASH_TEST(Context, AChildTakesValuesFromItsStarterAndItsEndFromItsScope) {
  std::string name;
  bool ended = false;
  co_await with_scope([&](scope& s) -> task<> {
    EXPECT_FALSE(co_await with_timeout(2ms, [&]() -> task<> {
      co_await with_value(user{"starter"}, [&]() -> task<> {
        s.go(
            [](std::string& name, bool& ended) -> task<> {
              EXPECT_FALSE(this_context().deadline());  // the limit is its starter's, not its scope's
              if (auto* u = this_context().value<user>()) name = u->name;
              co_await sleep(20ms);
              ended = true;
            },
            std::ref(name), std::ref(ended));
        co_await forever();
      });
    }));
  });
  EXPECT_EQ(name, "starter");
  EXPECT_TRUE(ended);
}

LEASH_TEST(Context, AnExceptionPassesEveryBoundary) {
  auto fails = []() -> task<int> {
    co_await yield();
    throw std::runtime_error("out");
  };
  cancel_source cs;
  EXPECT_THROW((void)co_await with_timeout(1h, fails), std::runtime_error);
  EXPECT_THROW((void)co_await with_cancel(cs, fails), std::runtime_error);
  EXPECT_THROW((void)co_await with_value(1, fails), std::runtime_error);
  EXPECT_THROW((void)co_await shielded(1h, fails), std::runtime_error);
}

LEASH_TEST(Context, BoundariesPassMoveOnlyResults) {
  auto makes = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(9); };
  cancel_source cs;
  auto a = co_await with_timeout(1h, makes);
  auto b = co_await with_cancel(cs, makes);
  auto c = co_await with_value(1, makes);
  auto d = co_await shielded(1h, makes);
  EXPECT_TRUE(a && **a == 9);
  EXPECT_TRUE(b && **b == 9);
  EXPECT_EQ(*c, 9);
  EXPECT_TRUE(d && **d == 9);
}

LEASH_TEST(Context, IsPerGoroutineNotPerThread) {
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 20; ++i)
      s.go(
          [](int i) -> task<> {
            co_await with_value(request{i}, [i]() -> task<> {
              for (int k = 0; k < 20; ++k) {
                co_await yield();
                EXPECT_EQ(this_context().value<request>()->id, i);
              }
            });
          },
          i);
    co_return;
  });
}

}  // namespace leash::test::context_tests
