// Periodic checks: made when they are due, in real and in virtual time, and not when they could find nothing new.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace leash::test::checks_tests {

task<> receive_holding_its_sender(receiver<int> rx, sender<int>) { (void)co_await rx.recv(); }

void plant(scope& s, std::string name) {
  auto [tx, rx] = channel<int>();
  s.go(named(std::move(name)), receive_holding_its_sender, std::move(rx), std::move(tx));
}

// While all sleep nobody comes by; the check is made all the same, once.
TEST(Checks, FindALeakThoughEverythingSleeps) {
  for (unsigned workers : {1u, 2u, 4u}) {
    options o;
    o.workers = workers;
    o.leak_check_every = 20ms;
    cancel_source found;
    std::string why;
    o.on_leak = [&](const leak_report& r) {
      why = text(r);
      found.cancel();
    };
    auto const began = std::chrono::steady_clock::now();
    run(o, [&]() -> task<> {
      (void)co_await with_cancel(found, []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          plant(s, "planted");
          co_await sleep(1h);
        });
      });
    });
    EXPECT_NE(why.find("planted"), std::string::npos) << why;
    EXPECT_LT(std::chrono::steady_clock::now() - began, longest_wait);
  }
}

TEST(Checks, AreNotMadeAgainWhileNothingRuns) {
  options o;
  o.workers = 2;
  o.leak_check_every = 1ms;
  o.on_leak = [](const leak_report& r) { ADD_FAILURE() << text(r); };
  std::uint32_t const before = current_pass.load();
  run(o, [] { return sleep(300ms); });
  EXPECT_LE(current_pass.load() - before, 12u) << "300 were due";
}

// While a check is made, and its report is told, the only worker goes on.
TEST(Checks, HoldUpNoWorker) {
  options o;
  o.workers = 1;
  o.leak_check_every = 5ms;
  std::atomic<bool> told = false;
  std::atomic<int> turns = 0;
  o.on_leak = [&](const leak_report&) {
    int const before = turns;
    auto const began = std::chrono::steady_clock::now();
    while (turns < before + 1000 && std::chrono::steady_clock::now() - began < longest_wait) std::this_thread::yield();
    EXPECT_GE(turns, before + 1000);
    told = true;
  };
  run(o, [&]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      plant(s, "planted");
      while (!told) {
        ++turns;
        co_await yield();
      }
      s.cancel();
    });
  });
}

// ---- in virtual time
// ------------------------------------------------------------------------------------------------

struct told {
  nanoseconds after;
  std::string name;
  bool operator==(const told&) const = default;
};

/// Who was reported when, in a simulated run that plants a leak at once and another after 95 ms.
std::vector<told> reports(std::uint64_t seed, nanoseconds every, leak_action action = leak_action::report) {
  std::vector<told> all;
  clock::time_point began;
  options o;
  o.leak_check_every = every;
  o.action = action;
  o.on_leak = [&](const leak_report& r) {
    for (const leak& l : r) all.push_back({now() - began, l.who.name});
  };
  testing::simulate(seed, o, [&]() -> task<> {
    began = now();
    co_await with_scope([](scope& s) -> task<> {
      plant(s, "first");
      co_await sleep(95ms);
      plant(s, "second");
      co_await sleep(1h);
      s.cancel();
    });
  });
  return all;
}

TEST(Checks, InVirtualTimeAreMadeWhenTheyAreDue) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    EXPECT_EQ(reports(seed, 10ms), (std::vector<told>{{10ms, "first"}, {100ms, "first"}, {100ms, "second"}}));
    EXPECT_EQ(reports(seed, 2h), (std::vector<told>{}));  // no time for one
    EXPECT_EQ(reports(seed, 0ns), (std::vector<told>{}));
  }
}

TEST(Checks, InVirtualTimeReclaim) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed)
    EXPECT_EQ(reports(seed, 10ms, leak_action::reclaim), (std::vector<told>{{10ms, "first"}, {100ms, "second"}}));
}

// A year of checks every millisecond would be 31 thousand million passes.
TEST(Checks, InVirtualTimeCostNothingWhileNothingRuns) {
  options o;
  o.leak_check_every = 1ms;
  std::uint32_t const before = current_pass.load();
  testing::simulate(1, o, [] { return sleep(std::chrono::hours(24 * 365)); });
  EXPECT_LE(current_pass.load() - before, 2u);
}

// Nothing is false alarm: what lives is not reported, however often one looks.
TEST(Checks, InVirtualTimeLeaveTheLivingAlone) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    options o;
    o.leak_check_every = 1ms;
    o.on_leak = [](const leak_report& r) { ADD_FAILURE() << text(r); };
    testing::simulate(seed, o, []() -> task<> {
      auto [tx, rx] = channel<int>();
      co_await with_scope([&](scope& s) -> task<> {
        s.go(
            [](receiver<int> rx) -> task<> {
              while (co_await rx.recv()) co_await sleep(3ms);
            },
            std::move(rx));
        for (int i = 0; i < 50; ++i) {
          co_await sleep(2ms);
          EXPECT_TRUE(co_await tx.send(i));
        }
        tx.drop();
      });
    });
  }
}

}  // namespace leash::test::checks_tests
