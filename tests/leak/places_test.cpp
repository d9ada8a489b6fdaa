// Waiting for a place under max_children, and for a child to be ready: only those who have a place can give one.
#include "attack.hpp"

namespace leash::test::places_tests {

using enum verdict;
using tx_t = sender<int>;
using rx_t = receiver<int>;

/// The one that has the only place: stuck for ever, or asleep in the twin.
template <class Held>
task<> sit(bool twin, Held) {
  if (twin) co_await sleep(1h);
  auto [tx, rx] = channel<int>();
  (void)co_await rx.recv();
}
task<> note_begin(std::atomic<int>& begun) {
  ++begun;
  co_return;
}
std::vector<subject> judged_or_live(bool twin, std::vector<subject> all) {
  if (!twin) return all;
  for (subject& s : all) {
    s.judged = live;
    if (s.name == "sitter") s.wait = "sleep";
  }
  return all;
}

LEASH_TEST_OF_LEAKS(Places, WhoStandsInLineBehindALeakedOne) {
  for (bool twin : {false, true}) {
    std::atomic<int> begun = 0;
    co_await examine(
        [&, twin]() -> task<> {
          co_await with_scope({.max_children = 1}, [&, twin](scope& s) -> task<> {
            s.go(named("sitter"), sit<int>, twin, 0);
            for (int i = 0; i < 3; ++i) s.go(named("next"), note_begin, std::ref(begun));
            EXPECT_TRUE(co_await parked("next", "start", 3));
            EXPECT_EQ(begun, 0);
          });
        },
        judged_or_live(
            twin,
            {waiting_kernel, {"sitter", "chan receive", core}, {"next", "start", dependent, leak_grade::proven, 3}}));
    if (twin) EXPECT_EQ(begun, 0) << "who is cancelled in line never begins";
  }
}
LEASH_TEST_OF_LEAKS(Places, WhoIsReclaimedGivesItsPlaceOn) {
  std::atomic<int> begun = 0;
  co_await with_scope({.max_children = 1}, [&](scope& s) -> task<> {
    s.go(named("sitter"), sit<int>, false, 0);
    for (int i = 0; i < 3; ++i) s.go(named("next"), note_begin, std::ref(begun));
    EXPECT_TRUE(co_await parked("sitter", "chan receive"));
    leak_report r = find_leaks();
    // The owner runs: for all the proof knows it has taken the place, and is about to start somebody with it.
    EXPECT_EQ(r.size(), 1u) << text(r);
    EXPECT_EQ(co_await reclaim(r), 1u);
  });
  EXPECT_EQ(begun, 3);
}
LEASH_TEST_OF_LEAKS(Places, WhoHasAPlaceWaitsForOneInLine) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& outside) -> task<> {
            co_await with_scope({.max_children = 1}, [=, &outside](scope& s) -> task<> {
              auto [tx, rx] = channel<int>();
              if (twin) outside.go(named("keeper"), keep_asleep<tx_t>, tx.dup());
              s.go(named("first"), receive_holding<int>, std::move(rx), 0);
              s.go(named("second"), [](tx_t tx) -> task<> { (void)co_await tx.send(1); }, std::move(tx));
              s.go(named("third"), [] {});
              co_return;
            });
          });
        },
        twin ? std::vector<subject>{live_kernel,
                                    {"keeper", "sleep", live},
                                    {"first", "chan receive", live},
                                    {"second", "start", live},
                                    {"third", "start", live}}
             : std::vector<subject>{waiting_kernel,
                                    {"first", "chan receive", core},
                                    {"second", "start", core},
                                    {"third", "start", dependent}});
}
LEASH_TEST_OF_LEAKS(Places, StartWaitsForOneThatIsLeaked) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope({.max_children = 1}, [=](scope& s) -> task<> {
            (void)co_await s.start(named("sitter"), sit<int>, twin, 0);
            (void)co_await s.start(named("next"), [] {});
          });
        },
        judged_or_live(twin, {{"kernel", "start", dependent}, {"sitter", "chan receive", core}}));
}
LEASH_TEST_OF_LEAKS(Places, StartHoldsWhatAPlaceWaitsFor) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& outside) -> task<> {
            co_await with_scope({.max_children = 1}, [=, &outside](scope& s) -> task<> {
              auto [tx, rx] = channel<int>();
              if (twin) outside.go(named("keeper"), keep_asleep<tx_t>, tx.dup());
              s.go(named("first"), receive_holding<int>, std::move(rx), 0);
              (void)co_await s.start(named("second"), keep_asleep<tx_t>, std::move(tx));
            });
          });
        },
        twin ? std::vector<subject>{{"kernel", "start", live},
                                    {"keeper", "sleep", live},
                                    {"first", "chan receive", live}}
             : std::vector<subject>{{"kernel", "start", core}, {"first", "chan receive", core}});
}
LEASH_TEST_OF_LEAKS(Places, AMemberThatStartsAnotherWhereItHasTheOnlyPlace) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope({.max_children = twin ? 2u : 1u}, [=](scope& s) -> task<> {
            s.go(named("member"), [&s, twin]() -> task<> {
              if (twin) (void)co_await s.start(named("sitter"), keep_asleep<int>, 0);
              (void)co_await s.start([] {});
            });
            co_return;
          });
        },
        twin ? std::vector<subject>{live_kernel, {"member", "start", live}, {"sitter", "sleep", live}}
             : std::vector<subject>{waiting_kernel, {"member", "start", core}});
}
LEASH_TEST_OF_LEAKS(Places, AChildThatIsLeakedBeforeItIsReady) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            (void)co_await s.start(
                named("sitter"), [](bool twin, auto ready) -> task<> { co_await sit(twin, std::move(ready)); }, twin);
          });
        },
        judged_or_live(twin, {{"kernel", "chan receive", dependent}, {"sitter", "chan receive", core}}));
}
LEASH_TEST(LiveTwin, AStartWithADeadline) {
  co_await with_scope([](scope& outer) -> task<> {
    outer.go([]() -> task<> {
      co_await with_scope({.max_children = 1}, [](scope& s) -> task<> {
        auto gone = channel<int>();
        s.go(named("sitter"), keep_asleep<int>, 0);
        co_await with_timeout(1h, [&]() -> task<> { (void)co_await s.start(named("late"), [] {}); });
      });
    });
    EXPECT_TRUE(co_await parked("sitter", "sleep"));
    EXPECT_EQ(find_leaks().size(), 0u);
    outer.cancel();
  });
}

TEST(Places, AtRestTheRunEndsAndWhoHasNoPlaceNeverBegins) {
  std::atomic<int> begun = 0;
  try {
    run({.on_leak = [](const leak_report&) {}}, [&]() -> task<> {
      co_await with_scope({.max_children = 1}, [&](scope& s) -> task<> {
        s.go(named("sitter"), sit<int>, false, 0);
        s.go(named("next"), note_begin, std::ref(begun));
        co_return;
      });
    });
    ADD_FAILURE() << "it ended without a deadlock_error";
  } catch (const deadlock_error& e) {
    std::string const told = text(e.report());
    EXPECT_EQ(e.report().size(), 3u) << told;
    EXPECT_NE(told.find("waits for a place in a scope"), std::string::npos) << told;
  }
  EXPECT_EQ(begun, 0);
}

// Places are handed on while the marker looks: who has one may wait for who stands in line behind it, but never for good.
TEST(PlacesAttack, ChildrenTakeTurns) {
  attack([](std::mt19937& random) -> task<> {
    unsigned const places = 1 + random() % 3, children = 1 + random() % 8;
    bool const starts = random() % 2 == 0;
    co_await with_scope({.max_children = places}, [=](scope& s) -> task<> {
      auto [tx, rx] = channel<int>(unbounded);
      for (unsigned i = 0; i < children; ++i) {
        auto child = [](tx_t tx, rx_t rx, unsigned yields) -> task<> {
          EXPECT_TRUE(co_await tx.send(1));
          for (unsigned y = 0; y < yields; ++y) co_await yield();
          EXPECT_TRUE(co_await rx.recv());
        };
        if (starts)
          (void)co_await s.start(child, tx.dup(), rx.dup(), i % 3);
        else
          s.go(child, tx.dup(), rx.dup(), i % 3);
      }
    });
  });
}

}  // namespace leash::test::places_tests
