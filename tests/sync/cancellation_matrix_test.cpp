// Every kind of wait against every way a context can end: nothing is consumed, exactly one side wins, nothing is lost.
#include "sync/cancellation_matrix.hpp"

#include <thread>

namespace leash {
namespace {
using namespace test;

// After the wait has ended and complete() was called: what it took is what complete() gave, or nothing.
task<> check(wait_kind& k, bool passed, bool completed) {
  if (passed) {
    EXPECT_TRUE(completed) << k.name << ": went through with nothing to complete it";
    EXPECT_TRUE(co_await k.took_it()) << k.name;
  } else if (completed) {
    EXPECT_TRUE(co_await k.took_nothing()) << k.name << ": lost or doubled";
  }
}

task<> for_every_kind(task<> (*mode)(wait_kind&, int), int rounds = 1) {
  for (int round = 0; round < rounds; ++round) {
    for (auto& k : every_kind_of_wait()) {
      co_await mode(*k, round);
      CO_ASSERT_TRUE(!::testing::Test::HasFailure()) << k->name << " in round " << round;
    }
  }
}
const int race_rounds = long_run() ? 2000 : 40;

task<> ended_before(wait_kind& k, int) {
  cancel_source cs;
  bool reached = false, passed = false, completed = false;
  co_await with_scope([&](scope& s) -> task<> {
    co_await k.prepare(s);
    completed = k.complete();
    const bool whole = co_await with_cancel(cs, [&]() -> task<> {
      reached = true;
      cs.cancel("before the wait");
      co_await k.wait();
      passed = true;
    });
    EXPECT_EQ(whole, passed) << k.name;
    k.finish();
  });
  EXPECT_TRUE(reached);
  EXPECT_EQ(passed, k.outlives_its_context()) << k.name;
  co_await check(k, passed, completed);
}
LEASH_TEST(CancellationMatrix, a_context_that_has_ended_comes_first_and_nothing_is_consumed) {
  co_await for_every_kind(ended_before);
}

task<> cancelled_while_parked(wait_kind& k, int) {
  cancel_source cs;
  bool passed = false, completed = false;
  co_await with_scope([&](scope& s) -> task<> {
    co_await k.prepare(s);
    auto h = s.go(named("waiter"), [&]() -> task<> {
      EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
        co_await k.wait();
        passed = true;
      })) << k.name;
    });
    CO_ASSERT_TRUE(co_await parked("waiter", k.reason)) << k.name;
    cs.cancel("parked");
    EXPECT_TRUE(co_await h.join());
    completed = k.complete();
    k.finish();
  });
  EXPECT_FALSE(passed) << k.name;
  co_await check(k, passed, completed);
}
LEASH_TEST(CancellationMatrix, a_parked_wait_ends_and_leaves_no_trace) {
  co_await for_every_kind(cancelled_while_parked);
}

task<> completed_while_parked(wait_kind& k, int) {
  if (!k.completes()) co_return;
  cancel_source cs;
  bool passed = false, completed = false;
  co_await with_scope([&](scope& s) -> task<> {
    co_await k.prepare(s);
    auto h = s.go(named("waiter"), [&]() -> task<> {
      EXPECT_TRUE(co_await with_cancel(cs, [&]() -> task<> {
        co_await k.wait();
        passed = true;
      })) << k.name;
    });
    CO_ASSERT_TRUE(co_await parked("waiter", k.reason)) << k.name;
    completed = k.complete();
    EXPECT_TRUE(co_await h.join());
    cs.cancel("too late");
    k.finish();
  });
  EXPECT_TRUE(passed && completed) << k.name;
  co_await check(k, passed, completed);
}
LEASH_TEST(CancellationMatrix, a_parked_wait_that_is_completed_goes_through) {
  co_await for_every_kind(completed_while_parked);
}

task<> cancelled_and_completed_at_once(wait_kind& k, int round) {
  cancel_source cs;
  bool passed = false, whole = false, completed = false;
  co_await with_scope([&](scope& s) -> task<> {
    co_await k.prepare(s);
    auto h = s.go([&]() -> task<> {
      whole = co_await with_cancel(cs, [&]() -> task<> {
        co_await k.wait();
        passed = true;
      });
    });
    auto completer = s.go(
        [&](int spin) -> task<> {
          for (int n = spin % 3; n > 0; --n) co_await yield();
          completed = k.complete();
        },
        round);
    s.go(
        [&](int spin) -> task<> {
          for (int n = spin % 5; n > 0; --n) co_await yield();
          cs.cancel("race");
        },
        round);
    EXPECT_TRUE(co_await h.join());
    EXPECT_TRUE(co_await completer.join());
    k.finish();
  });
  EXPECT_EQ(whole, passed) << k.name << ": a completion that wins is delivered";
  co_await check(k, passed, completed);
}
LEASH_TEST(CancellationMatrix, racing_with_completion_exactly_one_wins) {
  co_await for_every_kind(cancelled_and_completed_at_once, race_rounds);
}

task<> timed_out_and_completed_at_once(wait_kind& k, int round) {
  bool passed = false, whole = false, completed = false;
  co_await with_scope([&](scope& s) -> task<> {
    co_await k.prepare(s);
    auto h = s.go(
        [&](int round) -> task<> {
          whole = co_await with_timeout(round % 4 * 5us, [&]() -> task<> {
            co_await k.wait();
            passed = true;
          });
        },
        round);
    auto completer = s.go(
        [&](int round) -> task<> {
          co_await sleep(round % 3 * 5us);
          completed = k.complete();
        },
        round);
    EXPECT_TRUE(co_await h.join());
    EXPECT_TRUE(co_await completer.join());
    k.finish();
  });
  EXPECT_EQ(whole, passed) << k.name;
  co_await check(k, passed, completed);
}
LEASH_TEST(CancellationMatrix, a_deadline_racing_with_completion_exactly_one_wins) {
  co_await for_every_kind(timed_out_and_completed_at_once, race_rounds / 4);
}

task<> past_its_deadline(wait_kind& k, int round) {
  bool passed = false, completed = false;
  co_await with_scope([&](scope& s) -> task<> {
    co_await k.prepare(s);
    const auto start = now();
    auto wait = [&]() -> task<> {
      co_await k.wait();
      passed = true;
    };
    if (round % 2 == 0) {
      EXPECT_FALSE(co_await with_timeout(1ms, wait)) << k.name;
      EXPECT_GE(now() - start, 1ms);
    } else {
      EXPECT_FALSE(co_await with_deadline(start - 1s, wait)) << k.name;
    }
    completed = k.complete();
    k.finish();
  });
  EXPECT_FALSE(passed) << k.name;
  co_await check(k, passed, completed);
}
LEASH_TEST(CancellationMatrix, a_deadline_ends_the_wait_and_leaves_no_trace) {
  co_await for_every_kind(past_its_deadline, 2);
}

task<> cancelled_by_its_scope(wait_kind& k, int) {
  bool passed = false, completed = false;
  co_await with_scope([&](scope& outer) -> task<> {
    co_await k.prepare(outer);
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("waiter"), [&]() -> task<> {
        co_await k.wait();
        passed = true;
      });
      CO_ASSERT_TRUE(co_await parked("waiter", k.reason)) << k.name;
      s.cancel("scope");
    });
    completed = k.complete();
    k.finish();
  });
  EXPECT_FALSE(passed) << k.name;
  co_await check(k, passed, completed);
}
LEASH_TEST(CancellationMatrix, a_cancelled_scope_ends_the_waits_of_its_children) {
  co_await for_every_kind(cancelled_by_its_scope);
}

// The callback cancels the context that is ending, again, and completes the wait that is being cancelled.
task<> cancelled_beside_its_own_callback(wait_kind& k, int) {
  cancel_source cs;
  std::optional<registration> reg;
  bool passed = false, completed = false;
  std::atomic<bool> called = false;
  co_await with_scope([&](scope& s) -> task<> {
    co_await k.prepare(s);
    auto h = s.go(named("waiter"), [&]() -> task<> {
      co_await with_cancel(cs, [&]() -> task<> {
        reg.emplace(on_done(this_context(), [&] {
          cs.cancel("again");
          completed = k.complete();
          called = true;
        }));
        co_await k.wait();
        passed = true;
      });
    });
    CO_ASSERT_TRUE(co_await parked("waiter", k.reason)) << k.name;
    cs.cancel("once");
    EXPECT_TRUE(co_await h.join());
    EXPECT_TRUE(co_await eventually([&] { return called.load(); }, "on_done's function"));
    k.finish();
  });
  co_await check(k, passed, completed);
}
LEASH_TEST(CancellationMatrix, a_callback_of_the_ending_context_may_cancel_and_complete) {
  co_await for_every_kind(cancelled_beside_its_own_callback);
}

// A callback of one context cancels another, in which the wait is.
task<> cancelled_from_a_callback(wait_kind& k, int) {
  cancel_source first, second;
  std::optional<registration> reg;
  bool passed = false, completed = false;
  std::atomic<bool> called = false;  // the callback's goroutine is none of this scope
  co_await with_scope([&](scope& s) -> task<> {
    co_await k.prepare(s);
    s.go(named("holder"), [&]() -> task<> {
      co_await with_cancel(first, [&]() -> task<> {
        reg.emplace(on_done(this_context(), [&] {
          second.cancel("from a callback");
          called = true;
        }));
        co_await forever();
      });
    });
    auto h = s.go(named("waiter"), [&]() -> task<> {
      EXPECT_FALSE(co_await with_cancel(second, [&]() -> task<> {
        co_await k.wait();
        passed = true;
      })) << k.name;
    });
    CO_ASSERT_TRUE(co_await parked("waiter", k.reason)) << k.name;
    CO_ASSERT_TRUE(co_await parked("holder", ""));
    first.cancel("sets it off");
    EXPECT_TRUE(co_await h.join());
    EXPECT_TRUE(co_await eventually([&] { return called.load(); }, "on_done's function"));
    completed = k.complete();
    k.finish();
  });
  co_await check(k, passed, completed);
}
LEASH_TEST(CancellationMatrix, a_callback_of_one_context_may_cancel_another) {
  co_await for_every_kind(cancelled_from_a_callback);
}

task<> cancelled_by_a_foreign_thread(wait_kind& k, int) {
  cancel_source cs;
  bool passed = false, completed = false;
  co_await with_scope([&](scope& s) -> task<> {
    co_await k.prepare(s);
    auto h = s.go(named("waiter"), [&]() -> task<> {
      EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
        co_await k.wait();
        passed = true;
      })) << k.name;
    });
    std::jthread other([cs = cs.dup(), reason = k.reason]() mutable {
      parked_seen_from_outside("waiter", reason);
      cs.cancel("from outside");
    });
    EXPECT_TRUE(co_await h.join());
    completed = k.complete();
    k.finish();
  });
  co_await check(k, passed, completed);
}
LEASH_TEST_REAL(CancellationMatrix, a_foreign_thread_may_cancel) {
  co_await for_every_kind(cancelled_by_a_foreign_thread);
}

task<> raced_by_foreign_threads(wait_kind& k, int) {
  cancel_source cs;
  bool passed = false, completed = false;
  co_await with_scope([&](scope& s) -> task<> {
    co_await k.prepare(s);
    std::jthread canceller([cs = cs.dup()]() mutable { cs.cancel("from outside"); });
    std::jthread completer([&] { completed = k.complete(); });
    co_await with_cancel(cs, [&]() -> task<> {
      co_await k.wait();
      passed = true;
    });
    completer.join();
    k.finish();
  });
  co_await check(k, passed, completed);
}
LEASH_TEST_REAL(CancellationMatrix, foreign_threads_that_cancel_and_complete_at_once) {
  co_await for_every_kind(raced_by_foreign_threads, race_rounds / 4);
}

}  // namespace
}  // namespace leash
