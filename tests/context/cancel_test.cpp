// cancel_source, done() and on_done: who can end a context, and who hears of it.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace leash::test::cancel_tests {

LEASH_TEST(CancelSource, UnusedItChangesNothing) {
  cancel_source cs;
  EXPECT_EQ(co_await with_cancel(cs,
                                 []() -> task<int> {
                                   co_await yield();
                                   co_return 3;
                                 }),
            3);
  EXPECT_TRUE(co_await with_cancel(cs, sleep(1ms)));  // a source may serve again
}

LEASH_TEST(CancelSource, CancelledBeforehandTheFirstWaitIsTheEnd) {
  cancel_source cs;
  cs.cancel("early");
  bool began = false, went_on = false;
  EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
    began = true;
    EXPECT_EQ(this_context().err(), context_error::cancelled);
    co_await yield();
    went_on = true;
  }));
  EXPECT_TRUE(began);
  EXPECT_FALSE(went_on);
}

LEASH_TEST(CancelSource, CancelledAfterwardsNothingHappens) {
  cancel_source cs;
  EXPECT_TRUE(co_await with_cancel(cs, yield()));
  cs.cancel();
  co_await yield();
  EXPECT_EQ(this_context().err(), context_error::none);
}

LEASH_TEST(CancelSource, WakesAParkedBody) {
  cancel_source cs;
  bool whole = true;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("body"), [](cancel_source& cs, bool& whole) -> task<> { whole = co_await with_cancel(cs, sleep(1h)); },
        std::ref(cs), std::ref(whole));
    co_await parked("body", "sleep");
    cs.cancel();
  });
  EXPECT_FALSE(whole);
}

LEASH_TEST(CancelSource, EveryDuplicateIsGoodAndTheFirstGivesTheReason) {
  cancel_source cs;
  std::optional<context> c;
  EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
    c = this_context();
    cancel_source second = cs.dup(), third = second.dup(), moved = std::move(second);
    third.cancel("third");
    moved.cancel("second");
    cs.cancel("first");
    co_await yield();
  }));
  EXPECT_EQ(c->cause().reason, "third");
}

LEASH_TEST(CancelSource, OutlivedByADuplicate) {
  std::optional<cancel_source> cs(std::in_place);
  cancel_source other = cs->dup();
  EXPECT_FALSE(co_await with_cancel(*cs, [&]() -> task<> {
    cs.reset();
    co_await yield();
    EXPECT_EQ(this_context().err(), context_error::none);  // dropping is not cancelling
    other.cancel();
    co_await yield();
    ADD_FAILURE() << "went on";
  }));
}

LEASH_TEST(CancelSource, EndsSeveralRegionsAtOnce) {
  cancel_source cs;
  std::atomic<int> cut = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 10; ++i)
      s.go(
          named("region"),
          [](cancel_source& cs, std::atomic<int>& cut) -> task<> {
            if (!co_await with_cancel(cs, sleep(1h))) ++cut;
          },
          std::ref(cs), std::ref(cut));
    co_await parked("region", "sleep", 10);
    cs.cancel();
  });
  EXPECT_EQ(cut, 10);
}

LEASH_TEST_REAL(CancelSource, FromAThread) {
  for (int i = 0; i < 20; ++i) {
    cancel_source cs;
    std::thread other([cs = cs.dup(), i]() mutable {
      std::this_thread::sleep_for(std::chrono::microseconds(i * 50));
      cs.cancel("thread");
    });
    EXPECT_FALSE(co_await with_cancel(cs, sleep(1h)));
    other.join();
  }
}

LEASH_TEST_REAL(CancelSource, RacingWithTheEndOfTheBody) {
  for (int i = 0; i < 200; ++i) {
    cancel_source cs;
    std::thread other([cs = cs.dup()]() mutable { cs.cancel(); });
    auto r = co_await with_cancel(cs, []() -> task<int> {
      co_await yield();
      co_return 1;
    });
    if (r) EXPECT_EQ(*r, 1);
    other.join();
  }
}

// ---- done ------------------------------------------------------------------------------------------------------
LEASH_TEST(Done, ReturnsEvenWhenItsOwnContextHasEnded) {
  cancel_source cs;
  bool heard = false, went_on = false;
  EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
    context c = this_context();
    cs.cancel();
    co_await c.done();
    heard = true;
    co_await yield();
    went_on = true;
  }));
  EXPECT_TRUE(heard);
  EXPECT_FALSE(went_on);
}

LEASH_TEST(Done, WakesItsOwnGoroutine) {
  cancel_source cs;
  bool heard = false;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("listener"),
        [](cancel_source& cs, bool& heard) -> task<> {
          (void)co_await with_cancel(cs, [&]() -> task<> {
            co_await this_context().done();
            heard = true;
          });
        },
        std::ref(cs), std::ref(heard));
    co_await parked("listener", "context done");
    cs.cancel();
  });
  EXPECT_TRUE(heard);
}

LEASH_TEST(Done, WinsInSelectAlsoWhenItsOwnContextHasEnded) {
  cancel_source cs;
  auto [tx, rx] = channel<int>(1);
  std::size_t won = 99;
  EXPECT_TRUE(co_await with_cancel(cs, [&]() -> task<> {
    cs.cancel();
    auto r = co_await select(rx.recv(), this_context().done());
    won = r.index();
  }));
  EXPECT_EQ(won, 1u);
}

LEASH_TEST(Done, InSelectLetsTheOtherCaseWinBeforeTheEnd) {
  cancel_source cs;
  auto [tx, rx] = channel<int>(1);
  EXPECT_TRUE(co_await tx.send(4));
  EXPECT_TRUE(co_await with_cancel(cs, [&]() -> task<> {
    auto r = co_await select(rx.recv(), this_context().done());
    EXPECT_EQ(r.index(), 0u);
    EXPECT_EQ(std::get<0>(r), std::optional<int>(4));
  }));
}

LEASH_TEST(Done, OfAnotherContextIsAnOrdinaryWait) {
  cancel_source cs;
  event known;
  std::optional<context> other;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("region"),
        [](cancel_source& cs, std::optional<context>& other, event& known) -> task<> {
          EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
            other = this_context();
            known.set();
            co_await sleep(1h);
          }));
        },
        std::ref(cs), std::ref(other), std::ref(known));
    co_await known.wait();
    EXPECT_FALSE(co_await with_timeout(1ms, other->done()));
    cs.cancel();
    co_await other->done();
    EXPECT_EQ(other->err(), context_error::cancelled);
    EXPECT_EQ(this_context().err(), context_error::none);
  });
}

LEASH_TEST(Done, HearsADeadline) {
  EXPECT_TRUE(co_await with_timeout(2ms, [&]() -> task<> {
    co_await this_context().done();
    EXPECT_EQ(this_context().err(), context_error::deadline_exceeded);
  }));
}

// ---- on_done -----------------------------------------------------------------------------------------------------
LEASH_TEST(OnDone, RunsInAGoroutineOfItsOwnThatMayWait) {
  cancel_source cs;
  event ran;
  (void)co_await with_cancel(cs, [&]() -> task<> {
    auto reg = on_done(this_context(), [&]() -> task<> {
      EXPECT_EQ(this_context().err(), context_error::none);
      co_await sleep(1ms);
      ran.set();
    });
    cs.cancel();
    EXPECT_TRUE(co_await shielded(10s, ran.wait()));
    EXPECT_FALSE(reg.stop());
  });
}

LEASH_TEST(OnDone, StoppedItNeverRuns) {
  cancel_source cs;
  bool ran = false;
  (void)co_await with_cancel(cs, [&]() -> task<> {
    auto reg = on_done(this_context(), [&] { ran = true; });
    EXPECT_TRUE(reg.stop());
    EXPECT_FALSE(reg.stop());
    cs.cancel();
    co_await yield();
  });
  co_await sleep(2ms);
  EXPECT_FALSE(ran);
}

LEASH_TEST(OnDone, OnAnEndedContextItRunsAtOnce) {
  cancel_source cs;
  cs.cancel();
  event ran;
  (void)co_await with_cancel(cs, [&]() -> task<> {
    auto reg = on_done(this_context(), [&] { ran.set(); });
    EXPECT_TRUE(co_await shielded(10s, ran.wait()));
  });
}

LEASH_TEST(OnDone, StoppedItLetsGoOfItsCallable) {
  cancel_source cs;
  auto [tx, rx] = channel<int>(1);
  (void)co_await with_cancel(cs, [&, end = std::move(tx)]() mutable -> task<> {
    auto reg = on_done(this_context(), [kept = std::move(end)] {});
    EXPECT_FALSE(rx.ended());
    EXPECT_TRUE(reg.stop());
    EXPECT_TRUE(rx.ended());
    co_return;
  });
}

LEASH_TEST(OnDone, ManyOnOneContextRunOnceEach) {
  cancel_source cs;
  std::atomic<int> ran = 0;
  event all;
  (void)co_await with_cancel(cs, [&]() -> task<> {
    std::vector<registration> regs;
    for (int i = 0; i < 50; ++i)
      regs.push_back(on_done(this_context(), [&] {
        if (++ran == 50) all.set();
      }));
    cs.cancel();
    EXPECT_TRUE(co_await shielded(10s, all.wait()));
  });
  EXPECT_EQ(ran, 50);
}

}  // namespace leash::test::cancel_tests
