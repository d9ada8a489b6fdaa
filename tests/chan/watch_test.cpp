// watch: the latest value; receivers see it change, pass over what came in between, and see the end.
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

LEASH_TEST(Watch, the_initial_value_is_new_to_a_receiver_and_get_gives_it_at_once) {
  auto [tx, rx] = watch<std::string>("one");
  auto other = rx.dup();
  EXPECT_EQ(co_await rx.recv(), "one");
  EXPECT_EQ(rx.try_recv(), std::nullopt);
  EXPECT_EQ(other.get(), "one");
  EXPECT_EQ(other.try_recv(), std::nullopt);
  EXPECT_EQ(other.get(), "one");
}

LEASH_TEST(Watch, a_receiver_gets_the_latest_and_passes_over_what_came_in_between) {
  auto [tx, rx] = watch<int>(0);
  for (int i = 1; i <= 5; ++i) EXPECT_TRUE(co_await tx.send(i));
  EXPECT_EQ(rx.len(), 1u);
  EXPECT_EQ(co_await rx.recv(), 5);
  EXPECT_EQ(rx.len(), 0u);
  EXPECT_EQ(tx.try_send(6), try_result::done);
  EXPECT_EQ(rx.get(), 6);
  EXPECT_EQ(rx.try_recv(), std::nullopt);
}

LEASH_TEST(Watch, a_change_wakes_every_receiver_that_waits) {
  auto [tx, rx] = watch<int>(0);
  (void)rx.get();
  std::atomic<int> sum = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 4; ++i)
      s.go(named("rx"), [&sum](watch_receiver<int> from) -> task<> { sum += *co_await from.recv(); }, rx.dup());
    EXPECT_TRUE(co_await parked("rx", "chan receive", 4));
    EXPECT_TRUE(co_await tx.send(3));
  });
  EXPECT_EQ(sum, 12);
}

LEASH_TEST(Watch, after_the_last_sender_or_a_close_the_last_value_is_seen_then_the_end) {
  for (bool close : {false, true}) {
    auto [tx, rx] = watch<int>(1);
    auto waits = rx.dup();
    (void)waits.get();
    co_await with_scope([&](scope& s) -> task<> {
      s.go(
          named("rx"), [](watch_receiver<int> from) -> task<> { EXPECT_EQ(co_await from.recv(), std::nullopt); },
          std::move(waits));
      EXPECT_TRUE(co_await parked("rx", "chan receive"));
      auto second = tx.dup();
      tx.drop();
      if (close) {
        second.close();
        second.close();
        EXPECT_FALSE(co_await second.send(2));
        EXPECT_EQ(second.try_send(2), try_result::closed);
      }
    });
    EXPECT_FALSE(rx.ended());
    EXPECT_EQ(co_await rx.recv(), 1);
    EXPECT_TRUE(rx.ended());
    EXPECT_EQ(co_await rx.recv(), std::nullopt);
    EXPECT_EQ(rx.get(), 1);
  }
}

LEASH_TEST(Watch, without_receivers_a_send_says_so_and_is_the_latest_all_the_same) {
  auto [tx, rx] = watch<int>(1);
  rx.drop();
  EXPECT_FALSE(co_await tx.send(2));
  EXPECT_EQ(tx.try_send(3), try_result::closed);
  auto late = tx.subscribe();
  EXPECT_EQ(co_await late.recv(), 3);
  EXPECT_TRUE(co_await tx.send(4));
  tx.drop();
  EXPECT_EQ(co_await late.recv(), 4);
}

LEASH_TEST(Watch, a_cancelled_receive_has_seen_nothing) {
  auto [tx, rx] = watch<int>(1);
  (void)rx.get();
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> { (void)co_await rx.recv(); }));
  cancel_source cs;
  cs.cancel();
  EXPECT_TRUE(co_await tx.send(2));
  EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> { (void)co_await rx.recv(); }));
  EXPECT_EQ(co_await rx.recv(), 2);
}

LEASH_TEST(Watch, its_operations_are_cases_of_select) {
  auto [tx, rx] = watch<int>(1);
  EXPECT_EQ(std::get<0>(co_await select(rx.recv(), sleep(1h))), 1);
  EXPECT_EQ((co_await select(rx.recv(), sleep(1ms))).index(), 1u);
  EXPECT_EQ((co_await select(tx.send(2), sleep(1h))).index(), 0u);
  EXPECT_TRUE(try_select(rx.recv()));
  EXPECT_FALSE(try_select(rx.recv()));
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(named("chooser"), [&]() -> task<> {
      auto r = co_await select(sleep(1h), rx.recv());
      EXPECT_EQ(std::get<1>(r), 9);
    });
    EXPECT_TRUE(co_await parked("chooser", "select"));
    EXPECT_TRUE(co_await tx.send(9));
    co_await h.join();
  });
  EXPECT_FALSE(try_select(watch_receiver<int>().recv(), watch_sender<int>().send(1)));
  EXPECT_THROW((void)watch_receiver<int>().get(), std::logic_error);
}

LEASH_TEST(Watch, old_values_die_when_nobody_copies_them) {
  auto held = std::make_shared<int>(1);
  std::weak_ptr<int> first = held;
  auto [tx, rx] = watch<std::shared_ptr<int>>(std::move(held));
  EXPECT_FALSE(first.expired());
  EXPECT_TRUE(co_await tx.send(std::make_shared<int>(2)));
  EXPECT_TRUE(first.expired());
  EXPECT_EQ(**co_await rx.recv(), 2);
}

// What each receiver sees rises, and ends with the last value; no torn values.
LEASH_TEST(Watch, many_senders_and_receivers) {
  struct pair_of {
    std::string a, b;
  };
  auto [tx, rx] = watch<pair_of>({"0", "0"});
  std::atomic<int> next = 1;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 3; ++i)
      s.go(
          [](watch_receiver<pair_of> from) -> task<> {
            while (auto v = co_await from.recv()) EXPECT_EQ(v->a, v->b);
          },
          rx.dup());
    for (int i = 0; i < 3; ++i)
      s.go(
          [&next](watch_sender<pair_of> to) -> task<> {
            for (int k = 0; k < 200; ++k) {
              std::string const v = std::to_string(next++);
              EXPECT_TRUE(co_await to.send(pair_of{v, v}));
            }
          },
          tx.dup());
    tx.drop();
    co_return;
  });
  EXPECT_EQ(rx.get().a, rx.get().b);
}

LEASH_TEST_REAL(Watch, a_thread_that_is_no_worker_may_send_and_get) {
  auto [tx, rx] = watch<int>(0);
  std::thread other([to = std::move(tx), from = rx.dup()]() mutable {
    for (int i = 1; i <= 100; ++i) {
      EXPECT_EQ(to.try_send(i), try_result::done);
      EXPECT_EQ(from.get(), i);
    }
  });
  int last = -1;
  while (auto v = co_await rx.recv()) {
    EXPECT_GT(*v, last);
    last = *v;
  }
  EXPECT_EQ(last, 100);
  other.join();
}

TEST(Watch, in_every_schedule_of_a_small_program_each_receiver_ends_with_the_last_value) {
  auto const r = leash::testing::explore({.schedules = long_run() ? 20'000u : 1'000u}, []() -> task<> {
    auto [tx, rx] = watch<int>(0);
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 2; ++i)
        s.go(
            [](watch_receiver<int> from) -> task<> {
              int last = -1;
              while (auto v = co_await from.recv()) {
                if (*v <= last) throw std::logic_error("went back");
                last = *v;
              }
              if (last != 3) throw std::logic_error("the last value was not seen");
            },
            rx.dup());
      s.go(
          [](watch_sender<int> to) -> task<> {
            for (int i = 1; i <= 3; ++i) {
              if (!co_await to.send(i)) throw std::logic_error("nobody received");
              co_await yield();
            }
          },
          std::move(tx));
      co_return;
    });
  });
  EXPECT_FALSE(r.failing_seed || r.error || r.leaked) << r.schedule;
}

}  // namespace
}  // namespace leash
