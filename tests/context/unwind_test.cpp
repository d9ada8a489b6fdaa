// Cancellation unwinds: no exception, leaf first, every destructor, and nobody can hold it up.
#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "support/support.hpp"

namespace leash::test::unwind_tests {

struct log_end {
  std::vector<std::string>* log;
  std::string name;
  log_end(std::vector<std::string>& log, std::string name) : log(&log), name(std::move(name)) {}
  log_end(log_end&& o) noexcept : log(std::exchange(o.log, nullptr)), name(std::move(o.name)) {}
  ~log_end() {
    if (log) log->push_back(name);
  }
};
using names = std::vector<std::string>;

task<> descend(names& log, int depth) {
  log_end here(log, std::to_string(depth));
  if (depth == 0) {
    co_await forever();
    co_return;
  }
  co_await descend(log, depth - 1);
}

LEASH_TEST(Unwinding, DestroysTheFramesLeafFirst) {
  names log;
  EXPECT_FALSE(co_await with_timeout(1ms, descend(log, 4)));
  EXPECT_EQ(log, (names{"0", "1", "2", "3", "4"}));
}

LEASH_TEST(Unwinding, DestroysLocalsInReverseOrder) {
  names log;
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> {
    log_end a(log, "a");
    {
      log_end gone(log, "gone");
    }
    log_end b(log, "b");
    for (log_end c(log, "c");;) {
      log_end d(log, "d");
      co_await forever();
    }
  }));
  EXPECT_EQ(log, (names{"gone", "d", "c", "b", "a"}));
}

LEASH_TEST(Unwinding, FiftyThreeFrames) {
  names log;
  EXPECT_FALSE(co_await with_timeout(1ms, descend(log, 52)));
  EXPECT_EQ(log.size(), 53u);
  EXPECT_EQ(log.front(), "0");
  EXPECT_EQ(log.back(), "52");
}

task<int> deep(int n) {
  if (n == 0) {
    co_await forever();
    co_return 0;
  }
  co_return 1 + co_await deep(n - 1);
}
LEASH_TEST_REAL(Unwinding, AHundredThousandFramesNeedNoStack) {
  EXPECT_FALSE(co_await with_timeout(100ms, deep(100'000)));
}

LEASH_TEST(Unwinding, CannotBeSeenOrSwallowedByACatch) {
  bool caught = false, went_on = false;
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> {
    for (;;) {
      try {
        co_await forever();
      } catch (...) {
        caught = true;
      }
      went_on = true;
    }
  }));
  EXPECT_FALSE(caught);
  EXPECT_FALSE(went_on);
}

LEASH_TEST(Unwinding, ReachesALoopThatNeverStopsAsking) {
  cancel_source cs;
  auto [tx, rx] = channel<int>(1);
  int rounds = 0;
  EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
    for (;;) {  // every operation here is ready
      EXPECT_TRUE(co_await tx.send(1));
      EXPECT_TRUE(co_await rx.recv());
      if (++rounds == 100) cs.cancel();
    }
  }));
  EXPECT_EQ(rounds, 100);
}

struct look {
  bool& unwinds;
  int& exceptions;
  ~look() {
    unwinds = unwinding();
    exceptions = std::uncaught_exceptions();
  }
};

LEASH_TEST(Unwinding, IsToldByUnwindingAndNotByUncaughtExceptions) {
  bool while_unwinding = false, on_return = true, on_throw = true;
  int exceptions_unwinding = -1, exceptions_return = -1, exceptions_throw = -1;
  EXPECT_FALSE(unwinding());
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> {
    look l{while_unwinding, exceptions_unwinding};
    co_await forever();
  }));
  EXPECT_TRUE(while_unwinding);
  EXPECT_EQ(exceptions_unwinding, 0);
  EXPECT_TRUE(co_await with_timeout(1h, [&]() -> task<> {
    look l{on_return, exceptions_return};
    co_await yield();
  }));
  EXPECT_FALSE(on_return);
  EXPECT_EQ(exceptions_return, 0);
  try {
    (void)co_await with_timeout(1h, [&]() -> task<> {
      look l{on_throw, exceptions_throw};
      throw 1;
      co_return;
    });
  } catch (int) {
  }
  EXPECT_FALSE(on_throw);
  EXPECT_EQ(exceptions_throw, 1);
  EXPECT_FALSE(unwinding());
}

LEASH_TEST(Unwinding, ADestructorMayThrowAndCatchWithinItself) {
  struct throws_inside {
    int& caught;
    ~throws_inside() {
      try {
        throw 1;
      } catch (int) {
        ++caught;
      }
    }
  };
  int caught = 0;
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> {
    throws_inside a{caught}, b{caught};
    co_await forever();
  }));
  EXPECT_EQ(caught, 2);
}

LEASH_TEST(Unwinding, GivesEndsAndLocksBack) {
  auto [tx, rx] = channel<int>();
  mutex m;
  EXPECT_FALSE(co_await with_timeout(1ms, [&, end = std::move(tx)]() mutable -> task<> {
    auto mine = std::move(end);
    auto g = co_await m.lock();
    co_await forever();
  }));
  EXPECT_EQ(co_await rx.recv(), std::nullopt);
  auto g = co_await m.lock();
  EXPECT_FALSE(g.poisoned());  // it was cancelled, not reclaimed
}

// ---- inside an expression: what was built so far is destroyed, what was not is not
// -----------------------------------
task<log_end> never(names&) {
  co_await forever();
  std::terminate();
}
task<int> never_int() {
  co_await forever();
  co_return 0;
}
int use(const log_end&, const log_end&) { return 0; }
struct three {
  log_end a, b, c;
};
struct base {
  log_end in_base;
};
struct derived : base {
  log_end own;
  int number;
};

template <class Body>
task<names> unwound(Body body) {
  names log;
  EXPECT_FALSE(co_await with_timeout(1ms, body(log)));
  co_return log;
}

LEASH_TEST(UnwindingInAnExpression, Temporaries) {
  EXPECT_EQ(co_await unwound([](names& log) -> task<> { (void)use(log_end(log, "a"), co_await never(log)); }),
            names{"a"});
  EXPECT_EQ(co_await unwound([](names& log) -> task<> {
              (void)(log_end(log, "a").name.size() + static_cast<std::size_t>(co_await never_int()));
            }),
            names{"a"});
  EXPECT_EQ(co_await unwound([](names& log) -> task<> {
              const log_end& kept = log_end(log, "kept");
              (void)kept;
              co_await forever();
            }),
            names{"kept"});
}

LEASH_TEST(UnwindingInAnExpression, Aggregates) {
  EXPECT_EQ(co_await unwound([](names& log) -> task<> {
              three t{log_end(log, "a"), log_end(log, "b"), co_await never(log)};
              (void)t;
            }),
            (names{"b", "a"}));
  EXPECT_EQ(co_await unwound([](names& log) -> task<> {
              log_end list[] = {log_end(log, "a"), co_await never(log), log_end(log, "c")};
              (void)list;
            }),
            names{"a"});
  EXPECT_EQ(co_await unwound([](names& log) -> task<> {
              std::array<log_end, 2> list{log_end(log, "a"), co_await never(log)};
              (void)list;
            }),
            names{"a"});
  EXPECT_EQ(co_await unwound([](names& log) -> task<> {
              derived d{{log_end(log, "base")}, log_end(log, "own"), co_await never_int()};
              (void)d;
            }),
            (names{"own", "base"}));
}

LEASH_TEST(UnwindingInAnExpression, LambdaCapturesAndNew) {
  EXPECT_EQ(co_await unwound([](names& log) -> task<> {
              auto f = [a = log_end(log, "a"), b = co_await never_int()] { return b; };
              (void)f;
            }),
            names{"a"});
  // The memory of a plain `new` around a wait is lost when the coroutine is destroyed there (the language gives it back
  // only on an exception); what was made in it is destroyed.
  alignas(three) std::byte place[sizeof(three)];
  EXPECT_EQ(co_await unwound([&](names& log) -> task<> {
              (void)new (place) three{log_end(log, "a"), co_await never(log), log_end(log, "c")};
            }),
            names{"a"});
}

LEASH_TEST(UnwindingInAnExpression, ConditionsAndLoops) {
  EXPECT_EQ(co_await unwound([](names& log) -> task<> {
              bool yes = !log.size();
              (void)(yes ? use(log_end(log, "a"), co_await never(log)) : use(log_end(log, "b"), log_end(log, "c")));
            }),
            names{"a"});
  EXPECT_EQ(co_await unwound([](names& log) -> task<> {
              auto list = [](names& log) {
                std::vector<log_end> v;
                v.emplace_back(log, "1");
                v.emplace_back(log, "2");
                return v;
              };
              for (auto& e : list(log)) {
                (void)e;
                co_await forever();
              }
            }),
            (names{"1", "2"}));
  EXPECT_EQ(co_await unwound([](names& log) -> task<> {
              if (log_end a(log, "a"); co_await never_int()) log_end b(log, "b");
            }),
            names{"a"});
  EXPECT_EQ(co_await unwound([](names& log) -> task<> {
              switch (log_end a(log, "a"); co_await never_int()) {
                default:
                  break;
              }
            }),
            names{"a"});
}

LEASH_TEST(UnwindingInAnExpression, ArgumentsOfTheAwaitedTask) {
  auto takes = [](log_end a, log_end b) -> task<> {
    (void)a, (void)b;
    co_await forever();
  };
  auto log = co_await unwound([takes](names& log) -> task<> { co_await takes(log_end(log, "a"), log_end(log, "b")); });
  std::sort(log.begin(), log.end());  // the order of parameters is the platform's
  EXPECT_EQ(log, (names{"a", "b"}));
}

LEASH_TEST(UnwindingInAnExpression, InsideATryBlockAndAfterACaughtException) {
  EXPECT_EQ(co_await unwound([](names& log) -> task<> {
              try {
                log_end a(log, "a");
                throw 1;
              } catch (int) {
              }
              log_end b(log, "b");
              try {
                log_end c(log, "c");
                co_await forever();
              } catch (...) {
                log.push_back("caught");
              }
            }),
            (names{"a", "c", "b"}));
}

}  // namespace leash::test::unwind_tests
