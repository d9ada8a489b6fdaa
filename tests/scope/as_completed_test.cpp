// as_completed: names goroutines as they end.
#include <memory>
#include <set>
#include <stdexcept>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

TEST(AsCompleted, names_each_in_the_order_of_their_ends) {
  std::vector<int> order;
  leash::testing::simulate(1, [&]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      std::vector<goroutine<int>> all;
      for (int d : {30, 10, 20})
        all.push_back(s.go(
            [](int d) -> task<int> {
              co_await sleep(std::chrono::milliseconds(d));
              co_return d;
            },
            d));
      as_completed done(all);
      while (auto i = co_await done.next()) order.push_back((co_await all[*i].join()).value());
      EXPECT_EQ(done.left(), 0u);
    });
  });
  EXPECT_EQ(order, (std::vector<int>{10, 20, 30}));
}

LEASH_TEST(AsCompleted, names_each_once_whatever_becomes_of_it) {
  co_await with_scope({.on_error = on_error::keep_going}, [&](scope& s) -> task<> {
    std::vector<goroutine<int>> all;
    for (int i = 0; i < 40; ++i)
      all.push_back(s.go(
          [](int i) -> task<int> {
            for (int k = 0; k < i % 5; ++k) co_await yield();
            co_return i;
          },
          i));
    all.emplace_back();  // an empty handle is not named
    std::set<std::size_t> seen;
    as_completed done(all);
    while (auto i = co_await done.next()) {
      EXPECT_TRUE(seen.insert(*i).second);
      EXPECT_EQ(co_await all[*i].join(), static_cast<int>(*i));
    }
    EXPECT_EQ(seen.size(), 40u);
    EXPECT_EQ(co_await done.next(), std::nullopt);
  });
}

TEST(AsCompleted, exceptions_come_out_of_the_join_and_cancelled_ones_are_named) {
  run_at(2, []() -> task<> {
    bool threw = false;
    try {
      co_await with_scope({.on_error = on_error::keep_going}, [&](scope& s) -> task<> {
        std::vector<goroutine<void>> all;
        all.push_back(s.go([]() -> task<> {
          co_await yield();
          throw std::runtime_error("it failed");
        }));
        as_completed done(all);
        auto i = co_await done.next();
        EXPECT_EQ(i, 0u);
        try {
          co_await all[0].join();
        } catch (const std::runtime_error&) {
          threw = true;
        }
      });
    } catch (const std::runtime_error&) {
    }
    EXPECT_TRUE(threw);
  });
}

LEASH_TEST(AsCompleted, a_cancelled_next_has_named_nobody) {
  co_await with_scope([&](scope& s) -> task<> {
    event go;
    auto e = std::make_shared<event>();
    std::vector<goroutine<void>> all;
    all.push_back(s.go([e]() -> task<> { co_await e->wait(); }));
    as_completed done(all);
    EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> { (void)co_await done.next(); }));
    EXPECT_EQ(done.left(), 1u);
    e->set();
    EXPECT_EQ(co_await done.next(), 0u);
  });
}

LEASH_TEST_OF_LEAKS(AsCompleted, who_waits_for_the_ends_of_leaked_ones_is_a_dependent) {
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        [](scope& s) -> task<> {
          std::vector<goroutine<void>> all;
          for (int i = 0; i < 2; ++i) {
            auto [tx, rx] = channel<int>();
            all.push_back(s.go(
                named("stuck"), [](sender<int>, receiver<int> rx) -> task<> { (void)co_await rx.recv(); },
                std::move(tx), std::move(rx)));
          }
          s.go(
              named("joiner"),
              [](std::vector<goroutine<void>> all) -> task<> {
                as_completed done(all);
                while (co_await done.next()) {
                }
              },
              std::move(all));
          co_return;
        },
        std::ref(s));
    EXPECT_TRUE(co_await parked("stuck", "chan receive", 2));
    EXPECT_TRUE(co_await parked("joiner", "select"));
    leak_report r = find_leaks();
    EXPECT_EQ(r.size(), 3u) << text(r);
    for (auto& l : r) EXPECT_EQ(l.role, l.who.name == "stuck" ? leak_role::core : leak_role::dependent);
    EXPECT_EQ(co_await reclaim(r), 2u);
  });
}
LEASH_TEST(AsCompleted, who_waits_for_a_sleeper_too_is_live) {
  co_await with_scope([&](scope& s) -> task<> {
    std::vector<goroutine<void>> all;
    for (int i = 0; i < 2; ++i) all.push_back(s.go(named("sleeper"), []() -> task<> { co_await sleep(1h); }));
    s.go(
        named("joiner"),
        [](std::vector<goroutine<void>> all) -> task<> {
          as_completed done(all);
          (void)co_await done.next();
        },
        std::move(all));
    EXPECT_TRUE(co_await parked("joiner", "select"));
    EXPECT_EQ(find_leaks().size(), 0u);
    s.cancel();
  });
}

}  // namespace
}  // namespace leash
