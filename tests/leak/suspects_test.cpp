// Suspects: what cannot be proved is told with the reason; what is proved, young or ends by itself is none.
#include <memory>

#include "kernel.hpp"

namespace leash::test::suspects_tests {

std::string why(std::string_view name) {
  for (const suspect& s : suspects())
    if (s.who.name == name) return s.why;
  return {};
}
std::size_t index_of(std::string_view name) {
  auto const all = suspects();
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].who.name == name) return i;
  return all.size();
}
bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

task<> receives(receiver<int> rx) { (void)co_await rx.recv(); }

/// Runs a body in virtual time, with stuck_after of one second.
template <class Body>
void in_virtual_time(Body body) {
  options o;
  o.stuck_after = 1s;
  o.on_leak = [](const leak_report&) {};
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    leash::testing::simulate(seed, o, body);
    EXPECT_EQ(num_goroutines(), 0u);
  }
}

/// Runs a body on real workers, with stuck_after of a twentieth of a second.
template <class Body>
void in_real_time(Body body) {
  for (unsigned workers : {1u, 2u, 4u}) {
    options o = with_workers(workers);
    o.stuck_after = 50ms;
    run(o, body);
    EXPECT_EQ(num_goroutines(), 0u);
  }
}

TEST(Suspects, AnEndOnTheHeapIsNamedWithTheChannelsPlace) {
  in_virtual_time([]() -> task<> {
    auto [tx, rx] = channel<int>();
    auto hidden = std::make_unique<sender<int>>(std::move(tx));
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("waits"), receives, std::move(rx));
      co_await sleep(100ms);
      EXPECT_EQ(why("waits"), "");  // young
      co_await sleep(2s);
      std::string const w = why("waits");
      EXPECT_TRUE(has(w, "1 sender of the channel made at")) << w;
      EXPECT_TRUE(has(w, "suspects_test.cpp")) << w;
      EXPECT_TRUE(has(w, "outside tracked memory")) << w;
      EXPECT_EQ(find_leaks().size(), 0u);
      hidden.reset();
      co_await sleep(1ms);
      EXPECT_EQ(why("waits"), "");
    });
  });
}

TEST(Suspects, TheParentThatStillHoldsTheEndIsNamed) {
  in_virtual_time([]() -> task<> {
    auto [tx, rx] = channel<int>();
    co_await with_scope([&](scope& outer) -> task<> {
      outer.go(
          named("parent"),
          [](sender<int> tx, receiver<int> rx) -> task<> {
            co_await with_scope([&](scope& s) -> task<> {
              s.go(named("waits"), receives, std::move(rx));
              s.go(named("lives"), [] { return sleep(1h); });
              co_return;
            });
            (void)tx;
          },
          std::move(tx), std::move(rx));
      co_await sleep(5s);
      std::string const w = why("waits");
      EXPECT_TRUE(has(w, "(parent)")) << w;
      EXPECT_TRUE(has(w, "still holds a sender")) << w;
      EXPECT_TRUE(has(w, "move it in")) << w;
      outer.cancel();
    });
  });
}

TEST(Suspects, WhatIsProvedIsNone) {
  in_virtual_time([]() -> task<> {
    auto [tx, rx] = channel<int>();
    co_await with_scope([&](scope& s) -> task<> {
      s.go(
          named("leaked"), [](sender<int>, receiver<int> rx) -> task<> { (void)co_await rx.recv(); }, std::move(tx),
          std::move(rx));
      co_await sleep(1h);
      EXPECT_EQ(find_leaks().size(), 1u);
      EXPECT_EQ(why("leaked"), "");
      s.cancel();
    });
  });
}

TEST(Suspects, WhatSleepsOrHasADeadlineIsNone) {
  in_virtual_time([]() -> task<> {
    auto [tx, rx] = channel<int>();
    auto hidden = std::make_unique<sender<int>>(std::move(tx));
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("sleeps"), [] { return sleep(1h); });
      s.go(
          named("bounded"),
          [](receiver<int> rx) -> task<> { (void)co_await with_timeout(1h, receives(std::move(rx))); }, std::move(rx));
      co_await sleep(30min);
      EXPECT_EQ(why("sleeps"), "");
      EXPECT_EQ(why("bounded"), "");
      s.cancel();
    });
  });
}

TEST(Suspects, ASiteThatGrowsIsOneThoughEachOfItsWaitsIsShort) {
  in_virtual_time([]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 20; ++i) {
        s.go(named("ticks"), []() -> task<> {
          ticker t(10ms);
          for (;;) co_await t.next();
        });
        co_await sleep(1s);
      }
      std::string const w = why("ticks");
      EXPECT_TRUE(has(w, "20 goroutines started at")) << w;
      EXPECT_TRUE(has(w, "more come")) << w;
      s.cancel();
    });
  });
}

TEST(Suspects, APoolThatWasStartedTogetherIsNone) {
  in_virtual_time([]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 20; ++i)
        s.go(named("ticks"), []() -> task<> {
          ticker t(10ms);
          for (;;) co_await t.next();
        });
      co_await sleep(1min);
      EXPECT_EQ(why("ticks"), "");
      s.cancel();
    });
  });
}

TEST(Suspects, ThoseThatComeAndGoAreNone) {
  in_virtual_time([]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 600; ++i) {
        s.go(named("short"), [] { return sleep(500ms); });
        co_await sleep(50ms);
      }
      EXPECT_EQ(why("short"), "");
      s.cancel();
    });
  });
}

TEST(Suspects, OneThatNeverReachesAWait) {
  in_real_time([]() -> task<> {
    std::atomic<bool> enough = false;
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("spins"), [&]() -> task<> {
        auto [tx, rx] = channel<int>();
        rx.drop();
        while (!enough) (void)co_await tx.send(1);  // fails at once, and yields now and then
      });
      std::string w;
      (void)co_await eventually([&] { return !(w = why("spins")).empty(); }, "the spinner to be suspected");
      EXPECT_TRUE(has(w, "without reaching a wait")) << w;
      EXPECT_TRUE(has(w, "suspects_test.cpp")) << w;
      enough = true;
    });
  });
}

TEST(Suspects, OneThatLivesOnAfterItsContextHasEnded) {
  in_real_time([]() -> task<> {
    std::atomic<bool> enough = false;
    co_await with_scope([&](scope& outer) -> task<> {
      auto child = outer.go(named("owner"), [&]() -> task<> {
        co_await with_scope([&](scope& s) -> task<> {
          s.go(named("computes"), [&]() -> task<> {
            co_await blocking([&] {
              while (!enough) std::this_thread::sleep_for(1ms);
            });
          });
          (void)co_await parked("computes", "blocking");
          s.cancel("over");
        });
      });
      std::string w;
      (void)co_await eventually([&] { return has(w = why("computes"), "its context ended"); }, "it to be suspected");
      EXPECT_TRUE(has(w, "blocking")) << w;
      enough = true;
      (void)co_await child.join();
    });
  });
}

TEST(Suspects, OneThatIsShieldedFromTheEndOfItsContext) {
  in_virtual_time([]() -> task<> {
    auto [tx, rx] = channel<int>();
    co_await with_scope([&](scope& outer) -> task<> {
      auto child = outer.go(
          named("owner"),
          [](receiver<int> rx) -> task<> {
            co_await with_scope([&](scope& s) -> task<> {
              s.go(
                  named("shielded"), [](receiver<int> rx) -> task<> { (void)co_await shielded(10h, rx.recv()); },
                  std::move(rx));
              co_await sleep(1s);
              s.cancel("over");
            });
          },
          std::move(rx));
      co_await sleep(2s);
      EXPECT_FALSE(has(why("shielded"), "its context ended"));
      co_await sleep(1min);
      EXPECT_TRUE(has(why("shielded"), "its context ended")) << why("shielded");
      tx.drop();
      (void)co_await child.join();
    });
  });
}

TEST(Suspects, TheMostSuspiciousComesFirst) {
  in_virtual_time([]() -> task<> {
    auto [tx, rx] = channel<int>();
    auto hidden = std::make_unique<sender<int>>(std::move(tx));
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("hidden"), receives, std::move(rx));
      auto [tx2, rx2] = channel<int>();
      s.go(named("chained"), receives, std::move(rx2));
      s.go(named("holder"), [](sender<int>) { return sleep(1h); }, std::move(tx2));
      co_await sleep(1min);
      EXPECT_LT(index_of("hidden"), index_of("chained"));
      s.cancel();
    });
  });
}

}  // namespace leash::test::suspects_tests
