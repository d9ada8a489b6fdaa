// Rule 8: what lies in a frame is reached only by its owner's family. Who breaks that is told so, once, and no verdict
// rests on objects made at that place any more.
#include "kernel.hpp"

namespace leash::test::breach_tests {

using enum verdict;

std::size_t count_of(std::string_view what, std::string_view in) {
  std::size_t n = 0;
  for (std::size_t at = in.find(what); at != in.npos; at = in.find(what, at + 1)) ++n;
  return n;
}

/// Waits on an object in its frame, whose address it gives to whom it should not.
task<> gives_its_event_away(std::atomic<event*>* to) {
  event e;
  *to = &e;
  co_await e.wait();
}
task<> gives_its_condition_away(std::atomic<condition*>* to, std::atomic<bool>* ready) {
  mutex m;
  condition cv;
  auto g = co_await m.lock();
  *to = &cv;
  co_await cv.wait(g, [&] { return ready->load(); });
}

TEST(Breach, AThreadThatSetsAConfinedEvent) {
  static bool before = false;
  if (std::exchange(before, true)) GTEST_SKIP() << "breaches are remembered";
  ::testing::internal::CaptureStderr();
  run_at(
      2,
      []() -> task<> {
        for (bool judged : {true, false, false}) {
          std::atomic<event*> given = nullptr;
          co_await with_scope([&](scope& s) -> task<> {
            s.go(named("waiter"), gives_its_event_away, &given);
            co_await parked("waiter", "event");
            leak_report r = find_leaks();
            EXPECT_EQ(r.size(), judged ? 1u : 0u) << text(r);
            for (const leak& l : r) EXPECT_EQ(l.grade, leak_grade::confined);
            std::thread([&] { given.load()->set(); }).join();
          });
        }
      },
      leaks::are_expected);
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(count_of("leash: the event made at", said), 1u) << said;
  EXPECT_NE(said.find("breach_test.cpp:"), std::string::npos) << said;
  EXPECT_NE(said.find("a thread that is no worker"), std::string::npos) << said;
}
TEST(Breach, AStrangerThatNotifiesAConfinedCondition) {
  static bool before = false;
  if (std::exchange(before, true)) GTEST_SKIP() << "breaches are remembered";
  ::testing::internal::CaptureStderr();
  run_at(
      2,
      []() -> task<> {
        for (bool judged : {true, false}) {
          std::atomic<condition*> given = nullptr;
          std::atomic<bool> ready = false;
          co_await with_scope([&](scope& s) -> task<> {
            s.go(named("waiter"), gives_its_condition_away, &given, &ready);
            co_await parked("waiter", "sync.Cond.Wait");
            EXPECT_EQ(find_leaks().size(), judged ? 1u : 0u);
            s.go(
                named("stranger"),
                [](condition* cv, std::atomic<bool>* ready) -> task<> {
                  *ready = true;
                  cv->notify_all();
                  co_return;
                },
                given.load(), &ready);
          });
        }
      },
      leaks::are_expected);
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(count_of("leash: the condition made at", said), 1u) << said;
  EXPECT_NE(said.find("was used by goroutine "), std::string::npos) << said;
}

// ---- of what lies in a shared object: remembered by the place where that was made
// (The sentinel ends a program in which somebody is woken who was proved leaked. These wait for an event in their frames
// as well: they are confined.)
struct has_an_event {
  event e;
};
task<> waits_in_its_own(shared<event> e) {
  event mine;
  co_await select(mine.wait(), e->wait());
}
task<> waits_in_a_member(shared<has_an_event> s) {
  event mine;
  co_await select(mine.wait(), s->e.wait());
}

TEST(Breach, OfASharedEventIsOneOfItsPlaceAlone) {
  static bool before = false;
  if (std::exchange(before, true)) GTEST_SKIP() << "breaches are remembered";
  ::testing::internal::CaptureStderr();
  run_at(
      2,
      []() -> task<> {
        co_await with_scope([&](scope& s) -> task<> {
          auto broken = share<event>();
          event* const raw = broken.get();
          s.go(named("broken"), waits_in_its_own, std::move(broken));
          co_await parked("broken", "select");
          compare(find_leaks(), {{"broken", "select", core, leak_grade::confined}});
          std::thread([raw] { raw->set(); }).join();
        });
        co_await with_scope([&](scope& s) -> task<> {
          s.go(named("other line"), waits_in_its_own, share<event>());
          for (int i = 0; i < 2; ++i) {  // the second time its place is known as a broken one
            auto member = share<has_an_event>();
            event* const raw = &member->e;
            co_await with_scope([&](scope& inner) -> task<> {
              inner.go(named("member"), waits_in_a_member, std::move(member));
              co_await parked("other line", "select");
              co_await parked("member", "select");
              compare(find_leaks(), {{"other line", "select", core, leak_grade::confined},
                                     {"member", "select", i == 0 ? core : verdict::live, leak_grade::confined}});
              std::thread([raw] { raw->set(); }).join();
            });
          }
          s.go(named("same member, other line"), waits_in_a_member, share<has_an_event>());
          co_await parked("same member, other line", "select");
          compare(find_leaks(), {{"other line", "select", core, leak_grade::confined},
                                 {"same member, other line", "select", core, leak_grade::confined}});
          s.cancel();
        });
      },
      leaks::are_expected);
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(count_of("leash: the event made at", said), 2u) << said;
  EXPECT_EQ(count_of("breach_test.cpp:", said), 2u) << said;
  EXPECT_EQ(count_of("Keep it in a leash::shared", said), 0u) << "it is in one: " << said;
  EXPECT_EQ(count_of("confined", said), 0u) << "what lies there may be proven: " << said;
  EXPECT_EQ(count_of("a copy of the leash::shared<T>", said), 2u) << said;
}

// ---- what is no breach
// ---------------------------------------------------------------------------------------------
struct sets_when_it_dies {
  event& e;
  explicit sets_when_it_dies(event& e) : e(e) {}
  sets_when_it_dies(sets_when_it_dies&& o) = delete;
  ~sets_when_it_dies() { e.set(); }
};
task<> waits_in_order(event& e, bool& went_on) {
  unreclaimable here;
  co_await e.wait();
  went_on = true;
}
task<> sets_as_it_unwinds(event& e) {
  sets_when_it_dies guard(e);
  auto [tx, rx] = channel<int>();
  (void)co_await rx.recv();
}
LEASH_TEST_OF_LEAKS(Breach, AReclaimedOneThatSetsIsNone) {
  for (int again = 0; again < 2; ++again) {
    bool went_on = false;
    co_await with_scope([&](scope& outer) -> task<> {
      outer.go(
          named("kernel"),
          [](bool& went_on) -> task<> {
            event e;
            co_await with_scope([&](scope& s) -> task<> {
              s.go(named("waiter"), waits_in_order, std::ref(e), std::ref(went_on));
              s.go(named("setter"), sets_as_it_unwinds, std::ref(e));
              co_return;
            });
          },
          std::ref(went_on));
      co_await parked("waiter", "event");
      co_await parked("setter", "chan receive");
      co_await parked("kernel", "scope join");
      leak_report r = find_leaks();
      compare(r, {{"waiter", "event", core, leak_grade::confined},
                  {"setter", "chan receive", core},
                  {"kernel", "scope join", dependent, leak_grade::confined}});
      EXPECT_EQ(co_await reclaim(r, {.confined = true}), 1u);
    });
    EXPECT_TRUE(went_on);
  }
  EXPECT_EQ(num_goroutines(), 1u);
}
LEASH_TEST_OF_LEAKS(Breach, ACancelledOneThatSetsIsNone) {
  for (int again = 0; again < 2; ++again) {
    bool went_on = false;
    co_await with_scope([&](scope& outer) -> task<> {
      cancel_source cs;
      outer.go(
          named("kernel"),
          [](bool& went_on, cancel_source cs) -> task<> {
            event e;
            co_await with_scope([&](scope& s) -> task<> {
              s.go(named("waiter"), waits_in_order, std::ref(e), std::ref(went_on));
              s.go(
                  named("setter"),
                  [](event& e, cancel_source cs) -> task<> {
                    (void)co_await with_cancel(cs, [&] { return sets_as_it_unwinds(e); });
                  },
                  std::ref(e), std::move(cs));
              co_return;
            });
          },
          std::ref(went_on), cs.dup());
      co_await parked("waiter", "event");
      co_await parked("setter", "chan receive");
      co_await parked("kernel", "scope join");
      compare(find_leaks(), {{"waiter", "event", core, leak_grade::confined},
                             {"setter", "chan receive", core},
                             {"kernel", "scope join", dependent, leak_grade::confined}});
      cs.cancel();
    });
    EXPECT_TRUE(went_on);
  }
}
TEST(Breach, NothingIsSaidOfThese) {
  ::testing::internal::CaptureStderr();
  run_at(2, Breach_AReclaimedOneThatSetsIsNone_body, leaks::are_expected);
  run_at(2, Breach_ACancelledOneThatSetsIsNone_body, leaks::are_expected);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace leash::test::breach_tests
