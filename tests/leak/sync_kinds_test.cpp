// Leaks through wait groups, semaphores, conditions, events, once and contexts, each with its live twin.
#include <memory>

#include "kernel.hpp"

namespace leash::test::sync_kinds_tests {

using enum verdict;

task<> waits_for_its_own_token(bool twin) {
  wait_group wg;
  co_await with_scope([&](scope& s) -> task<> {
    if (twin) s.go(named("keeper"), keep_asleep<wait_group::token>, wg.add());
    s.go(
        named("waiter"), [](wait_group& wg, wait_group::token) -> task<> { co_await wg.wait(); }, std::ref(wg),
        wg.add());
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, AWaitGroupWhoseTokenTheWaiterHolds) {
  co_await examine([] { return waits_for_its_own_token(false); },
                   {waiting_kernel, {"waiter", "sync.WaitGroup.Wait", core}});
}
LEASH_TEST(LiveTwin, AWaitGroupWithAnotherTokenAsleep) {
  co_await examine([] { return waits_for_its_own_token(true); },
                   {live_kernel, {"keeper", "sleep", live}, {"waiter", "sync.WaitGroup.Wait", live}});
}

task<> acquires_again(bool twin) {
  semaphore sem(2);
  co_await with_scope([&](scope& s) -> task<> {
    if (twin) s.go(named("keeper"), keep_asleep<semaphore::permit>, co_await sem.acquire());
    s.go(
        named("greedy"),
        [](semaphore& sem) -> task<> {
          auto one = co_await sem.acquire();
          auto two = co_await sem.acquire(2);
        },
        std::ref(sem));
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, ASemaphoreWhosePermitsTheWaiterHolds) {
  co_await examine([] { return acquires_again(false); }, {waiting_kernel, {"greedy", "semaphore", core}});
}
LEASH_TEST(LiveTwin, ASemaphoreThatWouldNotSufficeEvenIfASleeperGaveBack) {
  // Two of two are wanted and the waiter itself holds one: the sleeper's permit cannot complete the wait, but counts
  // alone do not say so. Not reporting it is the safe answer.
  co_await examine([] { return acquires_again(true); },
                   {live_kernel, {"keeper", "sleep", live}, {"greedy", "semaphore", live}});
}

#if __has_include(<leash/shared.hpp>)  // comes with the tracked heap and the confined grade
enum class where { own_frame, ancestors_frame, heap, shared_block };

template <class Wait>
task<> waits_on(where at) {
  using object = typename Wait::object;
  static constexpr auto on = [](object& o) -> task<> { co_await Wait::on(o); };
  switch (at) {
    case where::own_frame:
      co_await with_scope([](scope& s) -> task<> {
        s.go(named("waiter"), []() -> task<> {
          object o;
          co_await on(o);
        });
        co_return;
      });
      break;
    case where::ancestors_frame: {
      object o;
      co_await with_scope([&](scope& s) -> task<> {
        s.go(named("waiter"), [](object& o) -> task<> { co_await on(o); }, std::ref(o));
        co_return;
      });
      break;
    }
    case where::heap:
      co_await with_scope([](scope& s) -> task<> {
        s.go(named("waiter"), [](std::unique_ptr<object> o) -> task<> { co_await on(*o); }, std::make_unique<object>());
        co_return;
      });
      break;
    case where::shared_block:
      co_await with_scope([](scope& s) -> task<> {
        s.go(named("waiter"), [](shared<object> o) -> task<> { co_await on(*o); }, share<object>());
        co_return;
      });
  }
}
struct on_event {
  using object = event;
  static constexpr const char* word = "event";
  static task<> on(event& e) { co_await e.wait(); }
};
struct lock_and_condition {
  mutex m;
  condition cv;
  lock_and_condition() {}
};
struct on_condition {
  using object = lock_and_condition;
  static constexpr const char* word = "sync.Cond.Wait";
  static task<> on(lock_and_condition& o) {
    auto g = co_await o.m.lock();
    co_await o.cv.wait(g, [] { return false; });
  }
};
template <class Wait>
task<> where_it_lives() {
  for (where at : {where::own_frame, where::ancestors_frame})
    co_await examine([at] { return waits_on<Wait>(at); }, {{"kernel", "scope join", dependent, leak_grade::confined},
                                                           {"waiter", Wait::word, core, leak_grade::confined}});
  co_await examine([] { return waits_on<Wait>(where::shared_block); },
                   {waiting_kernel, {"waiter", Wait::word, core, leak_grade::proven}});
  co_await examine([] { return waits_on<Wait>(where::heap); }, {live_kernel, {"waiter", Wait::word, live}});
}
LEASH_TEST_OF_LEAKS(Leak, AnEventThatNobodyElseCanReach) { co_await where_it_lives<on_event>(); }
LEASH_TEST_OF_LEAKS(Leak, AConditionThatNobodyElseCanReach) { co_await where_it_lives<on_condition>(); }

#endif

LEASH_TEST(LiveTwin, AnEventThatASleepingSiblingBorrows) {
  co_await examine(
      []() -> task<> {
        event e;
        co_await with_scope([&](scope& s) -> task<> {
          s.go(named("waiter"), [](event& e) -> task<> { co_await e.wait(); }, std::ref(e));
          s.go(
              named("keeper"),
              [](event& e) -> task<> {
                co_await sleep(1h);
                e.set();
              },
              std::ref(e));
          co_return;
        });
      },
      {live_kernel, {"waiter", "event", live}, {"keeper", "sleep", live}});
}
#if __has_include(<leash/shared.hpp>)  // comes with the tracked heap and the confined grade
LEASH_TEST(LiveTwin, AnEventInASharedBlockThatASleeperShares) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto e = share<event>();
          s.go(named("waiter"), [](shared<event> e) -> task<> { co_await e->wait(); }, e);
          s.go(named("keeper"), keep_asleep<shared<event>>, e);
          co_return;
        });
      },
      {live_kernel, {"waiter", "event", live}, {"keeper", "sleep", live}});
}
LEASH_TEST(LiveTwin, AnEventInASharedBlockThatASleeperCanRevive) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto e = share<event>();
          s.go(named("keeper"), keep_asleep<weak<event>>, weak<event>(e));
          s.go(named("waiter"), [](shared<event> e) -> task<> { co_await e->wait(); }, std::move(e));
          co_return;
        });
      },
      {live_kernel, {"waiter", "event", live}, {"keeper", "sleep", live}});
}

#endif

task<> calls_itself_once(bool twin) {
  once o;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("caller"),
        [](once& o, bool twin) -> task<> {
          co_await o.call([&]() -> task<> {
            if (twin)
              (void)co_await with_timeout(1h, o.call([] {}));
            else
              co_await o.call([] {});
          });
        },
        std::ref(o), twin);
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, AOnceThatCallsItself) {
  co_await examine([] { return calls_itself_once(false); }, {waiting_kernel, {"caller", "once", core}});
}
LEASH_TEST(LiveTwin, AOnceThatCallsItselfForALimitedTime) {
  co_await examine([] { return calls_itself_once(true); }, {live_kernel, {"caller", "once", live}});
}

// ---- contexts: whoever can cancel the observer's scope could end these, so they are dead only as whole programs ----
LEASH_TEST(LiveTwin, ForeverAndDoneUnderALiveObserver) {
  co_await examine([]() -> task<> { co_await forever(); }, {{"kernel", "", live}});
  co_await examine([]() -> task<> { (void)co_await select(forever()); }, {{"kernel", "", live}});
  co_await examine([]() -> task<> { (void)co_await select(forever(), forever()); }, {{"kernel", "select", live}});
  co_await examine([]() -> task<> { co_await this_context().done(); }, {{"kernel", "context done", live}});
  co_await examine(
      []() -> task<> {
        std::optional<cancel_source> cs(std::in_place);
        (void)co_await with_cancel(*cs, [&]() -> task<> {
          cs.reset();
          co_await this_context().done();
        });
      },
      {{"kernel", "context done", live}});
}

// Beside other cases forever() is one that is switched off: who could cancel it does not keep the others live.
task<> chooses_forever_or(bool twin) {
  auto [tx, rx] = channel<int>();
  sender<int> kept;
  if (twin) kept = std::move(tx);
  co_await with_scope([&](scope& s) -> task<> {
    if (twin) s.go(named("keeper"), keep_asleep<sender<int>>, std::move(kept));
    s.go(
        named("chooser"),
        [](receiver<int> rx, sender<int> own) -> task<> { (void)co_await select(forever(), rx.recv()); }, std::move(rx),
        std::move(tx));
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Leak, ForeverBesideACaseThatCannotFire) {
  co_await examine([] { return chooses_forever_or(false); }, {waiting_kernel, {"chooser", "select", core}});
}
LEASH_TEST(LiveTwin, ForeverBesideACaseThatMayFire) {
  co_await examine([] { return chooses_forever_or(true); },
                   {live_kernel, {"chooser", "select", live}, {"keeper", "sleep", live}});
}

template <class Body>
void expect_deadlock(Body body, std::string_view word) {
  for (unsigned workers : {1u, 2u, 4u}) {
    try {
      run(with_workers(workers, leaks::are_expected), body);
      ADD_FAILURE() << "run returned";
    } catch (const deadlock_error& e) {
      EXPECT_EQ(e.report().size(), 1u);
      for (const leak& l : e.report()) {
        EXPECT_EQ(l.role, leak_role::core);
        if (!word.empty()) EXPECT_EQ(l.who.wait, word);
      }
    }
    EXPECT_EQ(num_goroutines(), 0u);
  }
}
TEST(Leak, ForeverWithNobodyToCancel) {
  expect_deadlock([]() -> task<> { co_await forever(); }, "");
}
TEST(Leak, DoneOfAContextThatNothingCanEnd) {
  expect_deadlock([]() -> task<> { co_await this_context().done(); }, "context done");
}
TEST(Leak, DoneOfAContextWhoseSourceWasDropped) {
  expect_deadlock(
      []() -> task<> {
        std::optional<cancel_source> cs(std::in_place);
        (void)co_await with_cancel(*cs, [&]() -> task<> {
          cs.reset();
          co_await this_context().done();
        });
      },
      "context done");
}
TEST(Leak, DoneOfAContextWhoseSourceTheWaiterHolds) {
  expect_deadlock(
      []() -> task<> {
        cancel_source cs;
        (void)co_await with_cancel(cs, []() -> task<> { co_await this_context().done(); });
      },
      "context done");
}
TEST(LiveTwin, DoneOfAContextWhoseSourceAThreadHolds) {
  run_at(2, []() -> task<> {
    cancel_source cs;
    std::thread other([cs = cs.dup()]() mutable {
      std::this_thread::sleep_for(50ms);
      cs.cancel();
    });
    (void)co_await with_cancel(cs, []() -> task<> { co_await this_context().done(); });
    other.join();
  });
}

}  // namespace leash::test::sync_kinds_tests
