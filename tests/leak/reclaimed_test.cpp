// What a victim's scope and handle learn of its reclaim: nothing by default, for it looks like a cancellation; the report
// if they ask; an error that carries the report if the scope was made so.
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "kernel.hpp"

namespace leash::test::reclaimed_tests {

task<int> stuck(receiver<int> rx, sender<int>) {
  (void)co_await rx.recv();
  co_return 1;
}
/// A knot of one.
goroutine<int> plant(scope& s, std::string name) {
  auto [tx, rx] = channel<int>();
  return s.go(named(std::move(name)), stuck, std::move(rx), std::move(tx));
}
/// Reclaims the knots that are there, one victim each.
task<std::size_t> reclaim_all(std::string name, std::size_t how_many) {
  co_await parked(name, "chan receive", how_many);
  co_return co_await reclaim(find_leaks());
}

LEASH_TEST_OF_LEAKS(Reclaimed, TheHandleKnowsTheReport) {
  co_await with_scope([](scope& s) -> task<> {
    auto h = plant(s, "stuck");
    auto live = s.go(named("live"), keep_asleep<int>, 1);
    EXPECT_TRUE(reclaimed(h).empty());
    EXPECT_EQ(co_await reclaim_all("stuck", 1), 1u);
    EXPECT_EQ(co_await h.join(), std::nullopt);
    leak_report const r = reclaimed(h);
    CO_ASSERT_EQ(r.size(), 1u);
    EXPECT_EQ(r[0].who.id, h.id());
    EXPECT_EQ(r[0].who.name, "stuck");
    EXPECT_NE(r[0].why.find("held by itself"), std::string::npos) << r[0].why;
    EXPECT_TRUE(reclaimed(live).empty());
    EXPECT_TRUE(reclaimed(goroutine<int>()).empty());
    s.cancel();
    (void)co_await shielded(1s, live.join());
  });
}

LEASH_TEST(Reclaimed, NotWhoEndedOrWasCancelled) {
  EXPECT_FALSE(co_await with_scope({.leaks_fail = true}, [](scope& s) -> task<> {
    auto done = s.go([] { return 1; });
    EXPECT_EQ(co_await done.join(), 1);
    EXPECT_TRUE(reclaimed(done).empty());
    auto cut = s.go([]() -> task<int> {
      co_await sleep(1h);
      co_return 1;
    });
    s.cancel();
    co_await sleep(1h);
  })) << "cut short by its own cancel, and nothing else";
}

// The note goes with the last who may ask.
LEASH_TEST_OF_LEAKS(Reclaimed, TheReportIsKeptNoLongerThanTheHandle) {
  std::weak_ptr<leak_findings> kept;
  co_await with_scope([&](scope& s) -> task<> {
    auto h = plant(s, "stuck");
    co_await parked("stuck", "chan receive");
    {
      auto const r = find_leaks();
      kept = r.findings;
      EXPECT_EQ(co_await reclaim(r), 1u);
    }
    EXPECT_FALSE(kept.expired());
    {
      auto const last = std::move(h);
    }
    co_await eventually([&] { return kept.expired(); }, "the report to go with the handle");

    // Nobody has a handle.
    (void)plant(s, "alone");
    co_await parked("alone", "chan receive");
    {
      auto const r = find_leaks();
      kept = r.findings;
      EXPECT_EQ(co_await reclaim(r), 1u);
    }
    co_await eventually([&] { return kept.expired(); }, "the report to go with the goroutine");
  });
}

// ---- scopes that were made so
// ---------------------------------------------------------------------------------------
LEASH_TEST_OF_LEAKS(Reclaimed, TheScopeThrowsTheReport) {
  std::string said;
  std::size_t leaks = 0;
  bool sibling_cut = true;
  co_await with_scope([&](scope& outer) -> task<> {
    outer.go([&]() -> task<> {
      try {
        co_await with_scope({.leaks_fail = true}, [&](scope& s) -> task<> {
          (void)plant(s, "stuck");
          s.go(named("sibling"), [&]() -> task<> {
            co_await sleep(1h);
            sibling_cut = false;
          });
          co_return;
        });
        ADD_FAILURE() << "no error";
      } catch (const leaked_error& e) {
        said = e.what();
        leaks = e.report().size();
        for (const leak& l : e.report()) EXPECT_EQ(l.who.name, "stuck");
      }
    });
    EXPECT_EQ(co_await reclaim_all("stuck", 1), 1u);
  });
  EXPECT_EQ(leaks, 1u);
  EXPECT_NE(said.find("(stuck) was leaked, and reclaimed: it waits for the channel made at "), std::string::npos)
      << said;
  EXPECT_TRUE(sibling_cut);
}

LEASH_TEST_OF_LEAKS(Reclaimed, TheJoinThrowsItToo) {
  std::atomic<int> thrown = 0;
  event started;
  co_await with_scope([&](scope& outer) -> task<> {
    auto h = std::make_shared<goroutine<int>>();
    outer.go([h, &started]() -> task<> {
      try {
        co_await with_scope({.leaks_fail = true}, [&](scope& s) -> task<> {
          *h = plant(s, "stuck");
          started.set();
          co_return;
        });
      } catch (const leaked_error&) {
      }
    });
    co_await started.wait();
    outer.go([h, &thrown]() -> task<> {  // waits for it
      try {
        (void)co_await h->join();
      } catch (const leaked_error& e) {
        thrown += count(e.report(), "stuck") == 1;
      }
    });
    co_await parked("", "goroutine join");
    EXPECT_EQ(co_await reclaim_all("stuck", 1), 1u);
    try {  // comes after it
      (void)co_await h->join();
    } catch (const leaked_error& e) {
      thrown += count(e.report(), "stuck") == 1;
    }
  });
  EXPECT_EQ(thrown, 2);
}

LEASH_TEST_OF_LEAKS(Reclaimed, WithKeepGoingTheSiblingsLiveAndAllReportsComeOut) {
  int errors = 0;
  bool sibling_ended = false;
  event go_on;
  co_await with_scope([&](scope& outer) -> task<> {
    outer.go([&]() -> task<> {
      try {
        co_await with_scope({.on_error = on_error::keep_going, .leaks_fail = true}, [&](scope& s) -> task<> {
          (void)plant(s, "stuck");
          (void)plant(s, "stuck");
          s.go([&]() -> task<> {
            co_await go_on.wait();
            sibling_ended = true;
          });
          co_return;
        });
      } catch (const scope_errors& all) {
        for (const std::exception_ptr& e : all) {
          try {
            std::rethrow_exception(e);
          } catch (const leaked_error& one) {
            errors += one.report().size() == 2;
          }
        }
      }
    });
    EXPECT_EQ(co_await reclaim_all("stuck", 2), 2u);
    go_on.set();
  });
  EXPECT_EQ(errors, 2);
  EXPECT_TRUE(sibling_ended);
}

// Of a knot of two one is the victim; the other goes on and has not failed.
LEASH_TEST_OF_LEAKS(Reclaimed, OnlyTheVictimHasFailed) {
  std::vector<std::string> ends;
  co_await with_scope([&](scope& outer) -> task<> {
    outer.go([&]() -> task<> {
      try {
        co_await with_scope({.on_error = on_error::keep_going, .leaks_fail = true}, [&](scope& s) -> task<> {
          auto [a, from_a] = channel<int>();
          auto [b, from_b] = channel<int>();
          auto one = s.go(named("stuck"), stuck, std::move(from_a), std::move(b));
          auto two = s.go(named("stuck"), stuck, std::move(from_b), std::move(a));
          auto how = [](goroutine<int>& h) -> task<std::string> {
            try {
              co_return co_await h.join() ? "value" : "nothing";
            } catch (const leaked_error& e) {
              co_return "leaked with " + std::to_string(e.report().size() - 1) + " more";
            }
          };
          ends.push_back(co_await how(one));
          ends.push_back(co_await how(two));
        });
      } catch (const leaked_error&) {
        ends.push_back("scope");
      }
    });
    EXPECT_EQ(co_await reclaim_all("stuck", 2), 1u);
  });
  // The newer one is the victim. Leaked with it: the other, and the one that joins them.
  EXPECT_EQ(ends, (std::vector<std::string>{"value", "leaked with 2 more", "scope"}));
}

// The scope's owner is cut short while it waits for the rest: the error comes out where that unwinding ends.
LEASH_TEST_OF_LEAKS(Reclaimed, OfAnOwnerThatIsCutShortItComesOutFurtherOut) {
  bool came_out = false;
  cancel_source cs;
  event slow;
  co_await with_scope([&](scope& outer) -> task<> {
    outer.go([&]() -> task<> {
      try {
        (void)co_await with_cancel(cs, [&]() -> task<> {
          co_await with_scope({.on_error = on_error::keep_going, .leaks_fail = true}, [&](scope& s) -> task<> {
            (void)plant(s, "stuck");
            s.go(named("slow"), [&]() -> task<> { (void)co_await shielded(1h, slow.wait()); });
            co_return;
          });
          ADD_FAILURE() << "went on";
        });
      } catch (const leaked_error& e) {
        came_out = e.report().size() == 1;
      }
    });
    co_await parked("slow", "event");
    EXPECT_EQ(co_await reclaim_all("stuck", 1), 1u);
    cs.cancel();
    slow.set();
  });
  EXPECT_TRUE(came_out);
}

// Nobody is left who could catch it: it comes out of run, as any exception.
TEST(Reclaimed, WithNobodyLeftItComesOutOfRun) {
  for (unsigned workers : {1u, 2u}) {
    options o = with_workers(workers, leaks::are_expected);
    o.action = leak_action::reclaim;
    auto body = []() -> task<> {
      co_await with_scope({.leaks_fail = true}, [](scope& s) { (void)plant(s, "stuck"); });
    };
    try {
      run(o, body);
      ADD_FAILURE() << "no error";
    } catch (const leaked_error& e) {
      EXPECT_EQ(count(e.report(), "stuck"), 1u) << text(e.report());
    }
    EXPECT_EQ(num_goroutines(), 0u);
  }
}

// ... and without leaks_fail the run ends as if nothing had been, and on_leak has told the story.
TEST(Reclaimed, WithoutLeaksFailOnLeakTellsTheStory) {
  std::string told;
  options o;
  o.workers = 2;
  o.action = leak_action::reclaim;
  o.on_leak = [&](const leak_report& r) { told = text(r); };
  run(o, []() -> task<> { co_await with_scope([](scope& s) { (void)plant(s, "stuck"); }); });
  EXPECT_NE(told.find("stuck"), std::string::npos);
}

// When everything is unwound there is one error for all: the deadlock.
TEST(Reclaimed, InADeadlockTheRunTells) {
  for (auto action : {leak_action::report, leak_action::reclaim}) {
    options o;
    o.workers = 2;
    o.action = action;
    o.on_leak = [](const leak_report&) {};
    bool told = false;
    try {
      run(o, []() -> task<> {
        co_await with_scope({.leaks_fail = true}, [](scope& s) {
          auto [tx, rx] = channel<int>();
          s.go(
              named("stays"),
              [](receiver<int> rx, sender<int>) -> task<> {
                unreclaimable here;
                (void)co_await rx.recv();
              },
              std::move(rx), std::move(tx));
        });
      });
    } catch (const deadlock_error& e) {
      told = count(e.report(), "stays") == 1;
    }
    EXPECT_TRUE(told);
    EXPECT_EQ(num_goroutines(), 0u);
  }
}

}  // namespace leash::test::reclaimed_tests
