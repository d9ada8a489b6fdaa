// single_flight: one call for a key at a time; its result and its errors are shared; it lives while somebody waits.
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

/// Starts `n` callers named "caller" for the key, and waits until all of them wait.
template <class Flights, class F>
task<> callers(scope& s, Flights& flights, int key, int n, F f, std::atomic<int>& sum) {
  for (int i = 0; i < n; ++i)
    s.go(
        named("caller"),
        [](Flights& flights, int key, F f, std::atomic<int>& sum) -> task<> {
          if (auto v = co_await flights.call(key, std::move(f))) sum += *v;
        },
        std::ref(flights), key, f, std::ref(sum));
  EXPECT_TRUE(co_await parked("caller", "chan receive", static_cast<std::size_t>(n)));
}

LEASH_TEST(SingleFlight, callers_for_one_key_share_one_call) {
  single_flight<int, int> flights;
  std::atomic<int> runs = 0, sum = 0;
  event go;
  co_await with_scope([&](scope& s) -> task<> {
    auto f = [&]() -> task<int> {
      ++runs;
      co_await go.wait();
      co_return 7;
    };
    co_await callers(s, flights, 1, 5, f, sum);
    EXPECT_EQ(flights.size(), 1u);
    go.set();
  });
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(sum, 35);
  EXPECT_EQ(flights.size(), 0u);
  EXPECT_EQ(co_await flights.call(1, [] { return 2; }), 2);  // over: the next call is made anew
}

LEASH_TEST(SingleFlight, other_keys_fly_at_the_same_time_though_their_hashes_are_equal) {
  struct same_hash {
    std::size_t operator()(const std::string&) const { return 1; }
  };
  single_flight<std::string, std::string, same_hash> flights;
  std::atomic<int> under_way = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (const char* key : {"a", "b", "c"})
      s.go([&, key]() -> task<> {
        auto v = co_await flights.call(key, [&, key]() -> task<std::string> {
          ++under_way;
          co_await eventually([&] { return under_way == 3; }, "all keys to be under way");
          co_return std::string(key) + "!";
        });
        EXPECT_EQ(v, std::string(key) + "!");
      });
    co_return;
  });
}

LEASH_TEST(SingleFlight, an_exception_goes_to_every_caller) {
  single_flight<int, int> flights;
  event go;
  std::atomic<int> caught = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 3; ++i)
      s.go(named("caller"), [&]() -> task<> {
        try {
          (void)co_await flights.call(1, [&]() -> task<int> {
            co_await go.wait();
            throw std::runtime_error("no luck");
          });
        } catch (const std::runtime_error& e) {
          EXPECT_STREQ(e.what(), "no luck");
          ++caught;
        }
      });
    EXPECT_TRUE(co_await parked("caller", "chan receive", 3));
    go.set();
  });
  EXPECT_EQ(caught, 3);
}

LEASH_TEST(SingleFlight, the_cancellation_of_the_first_caller_ends_neither_the_flight_nor_the_others) {
  single_flight<int, int> flights;
  std::atomic<int> runs = 0, sum = 0;
  event go;
  auto f = [&]() -> task<int> {
    ++runs;
    co_await go.wait();
    co_return 5;
  };
  cancel_source cs;
  co_await with_scope([&](scope& s) -> task<> {
    auto first = s.go(named("first"), [&]() -> task<bool> {
      co_return co_await with_cancel(cs, [&]() -> task<> { (void)co_await flights.call(1, f); });
    });
    EXPECT_TRUE(co_await parked("first", "chan receive"));
    co_await callers(s, flights, 1, 2, f, sum);
    cs.cancel();
    EXPECT_EQ(co_await first.join(), false);
    EXPECT_EQ(flights.size(), 1u);
    go.set();
  });
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(sum, 10);
}

LEASH_TEST(SingleFlight, when_the_last_caller_leaves_the_flight_ends_before_it_goes_on) {
  single_flight<int, int> flights;
  bool ended = false;
  auto guard = [&] {
    struct on_exit {
      bool& to;
      explicit on_exit(bool& b) : to(b) {}
      ~on_exit() { to = true; }
    };
    return on_exit(ended);
  };
  cancel_source cs;
  auto forever_holding = [&]() -> task<int> {
    auto held = guard();
    cs.cancel();
    co_await finally(sleep(1h), [](outcome) -> task<> { co_await sleep(1ms); });
    co_return 1;
  };
  // In a scope, as f must not refer to the frames of its caller.
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> { (void)co_await flights.call(1, forever_holding); }));
      EXPECT_TRUE(ended);
      EXPECT_EQ(flights.size(), 0u);
    });
    co_return;
  });
}

LEASH_TEST(SingleFlight, after_all_have_left_a_call_starts_another_flight) {
  single_flight<int, int> flights;
  std::atomic<int> runs = 0;
  for (int i = 0; i < 3; ++i) {
    cancel_source cs;
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> {
        (void)co_await with_cancel(cs, [&]() -> task<> {
          (void)co_await flights.call(1, [&]() -> task<int> {
            ++runs;
            cs.cancel();
            co_await sleep(1h);
            co_return 0;
          });
        });
      });
      co_return;
    });
  }
  EXPECT_EQ(runs, 3);
}

LEASH_TEST(SingleFlight, a_caller_whose_frames_are_lent_leaves_when_the_flight_has_landed) {
  single_flight<int, int> flights;
  auto go = std::make_shared<event>();
  cancel_source cs;
  std::atomic<int> sum = 0;
  std::atomic<bool> left = false;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("lender"), [&]() -> task<> {
      EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
        int const local = 7;
        (void)co_await flights.call(1, [&local, go]() -> task<int> {
          co_await go->wait();
          co_return local;
        });
      }));
      left = true;
    });
    EXPECT_TRUE(co_await parked("lender", "chan receive"));
    co_await callers(s, flights, 1, 1, [] { return 0; }, sum);
    cs.cancel();
    for (int i = 0; i < 20; ++i) co_await yield();
    EXPECT_FALSE(left);
    go->set();
  });
  EXPECT_EQ(sum, 7);
}

LEASH_TEST(SingleFlight, a_cancelled_caller_starts_nothing) {
  single_flight<int, int> flights;
  cancel_source cs;
  cs.cancel();
  bool ran = false;
  auto* p = &ran;
  EXPECT_FALSE(
      co_await with_cancel(cs, [&]() -> task<> { (void)co_await flights.call(1, [p] { return *p = true, 1; }); }));
  EXPECT_FALSE(ran);
}

LEASH_TEST(SingleFlight, many_callers_of_few_keys_get_the_value_of_their_key) {
  auto flights = std::make_shared<single_flight<int, int>>();
  auto runs = std::make_shared<std::atomic<int>>(0);
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 8; ++i)
      s.go(
          [flights, runs](int i) -> task<> {
            for (int k = 0; k < 100; ++k) {
              int const key = (i + k) % 3;
              bool got = false;
              bool const whole =
                  co_await with_timeout(k % 7 == 0 ? nanoseconds(k * 100) : nanoseconds(1h), [&]() -> task<> {
                    auto v = co_await flights->call(key, [runs, key]() -> task<int> {
                      ++*runs;
                      co_await yield();
                      co_return key * 10;
                    });
                    EXPECT_EQ(v, key * 10);
                    got = true;
                  });
              EXPECT_TRUE(got || !whole);
            }
          },
          i);
    co_return;
  });
  EXPECT_EQ(flights->size(), 0u);
  EXPECT_GT(*runs, 0);
}

TEST(SingleFlight, in_every_schedule_each_caller_gets_a_value_or_was_cancelled) {
  auto const r = leash::testing::explore({.schedules = long_run() ? 20'000u : 1'000u}, []() -> task<> {
    auto flights = std::make_shared<single_flight<int, int>>();
    auto under_way = std::make_shared<int>(0);
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 3; ++i)
        s.go(
            [flights, under_way](bool impatient) -> task<> {
              auto call = [&]() -> task<> {
                auto v = co_await flights->call(1, [under_way]() -> task<int> {
                  struct count {
                    std::shared_ptr<int> n;
                    explicit count(std::shared_ptr<int> p) : n(std::move(p)) {
                      if (++*n > 1 && !unwinding()) throw std::logic_error("two at a time");
                    }
                    ~count() { --*n; }
                  } one(under_way);
                  co_await sleep(1ms);
                  co_return 3;
                });
                if (v != 3) throw std::logic_error("no value");
              };
              if (impatient)
                (void)co_await with_timeout(1ms, call);
              else
                co_await call();
            },
            i != 0);
      co_return;
    });
    if (flights->size() != 0) throw std::logic_error("a flight was left");
  });
  EXPECT_FALSE(r.failing_seed || r.leaked) << r.schedule;
}

}  // namespace
}  // namespace leash
