// broadcast: each receiver sees every value, in one order; the slowest holds up the senders; ends end.
#include <random>
#include <stdexcept>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

/// A copyable value that counts its living instances, and may refuse to be copied.
struct tracked {
  int value;
  static inline std::atomic<int> alive{0};
  static inline std::atomic<bool> refuses{false};
  explicit tracked(int v) noexcept : value(v) { ++alive; }
  tracked(const tracked& o) : value(o.value) {
    if (refuses) throw std::runtime_error("no copy");
    ++alive;
  }
  tracked(tracked&& o) noexcept : value(o.value) { ++alive; }
  ~tracked() { --alive; }
};

LEASH_TEST(Broadcast, every_receiver_sees_every_value_in_order) {
  constexpr int values = 50, receivers = 3;
  auto [tx, rx] = broadcast<int>(4);
  std::vector<std::vector<int>> seen(receivers);
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < receivers; ++i)
      s.go(
          [](broadcast_receiver<int> from, std::vector<int>& to) -> task<> {
            while (auto v = co_await from.recv()) to.push_back(*v);
          },
          rx.dup(), std::ref(seen[static_cast<std::size_t>(i)]));
    rx.drop();
    for (int i = 0; i < values; ++i) EXPECT_TRUE(co_await tx.send(i));
    tx.drop();
  });
  for (auto& one : seen) {
    EXPECT_EQ(one.size(), std::size_t{values});
    for (int i = 0; i < int(one.size()); ++i) EXPECT_EQ(one[static_cast<std::size_t>(i)], i);
  }
}

LEASH_TEST(Broadcast, the_slowest_receiver_holds_up_the_senders_and_is_seen_to_lag) {
  auto [tx, slow] = broadcast<int>(2);
  auto quick = tx.subscribe();
  co_await with_scope([&](scope& s) -> task<> {
    EXPECT_TRUE(co_await tx.send(0));
    EXPECT_TRUE(co_await tx.send(1));
    EXPECT_EQ(co_await quick.recv(), 0);
    EXPECT_EQ(co_await quick.recv(), 1);
    EXPECT_EQ(quick.len(), 0u);
    EXPECT_EQ(slow.len(), 2u);
    int v = 2;
    EXPECT_EQ(tx.try_send(std::move(v)), try_result::full);
    auto h = s.go(named("sender"), [&]() -> task<bool> { co_return co_await tx.send(2); });
    EXPECT_TRUE(co_await parked("sender", "chan send"));
    EXPECT_EQ(quick.try_recv(), std::nullopt);
    EXPECT_EQ(co_await slow.recv(), 0);
    EXPECT_EQ(co_await h.join(), true);
    EXPECT_EQ(co_await quick.recv(), 2);
    EXPECT_EQ(co_await slow.recv(), 1);
    EXPECT_EQ(co_await slow.recv(), 2);
  });
}

LEASH_TEST(Broadcast, dropping_the_slowest_lets_the_senders_go_on) {
  auto [tx, slow] = broadcast<int>(1);
  auto quick = slow.dup();
  EXPECT_TRUE(co_await tx.send(1));
  EXPECT_EQ(co_await quick.recv(), 1);
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("sender"), [&]() -> task<> { EXPECT_TRUE(co_await tx.send(2)); });
    EXPECT_TRUE(co_await parked("sender", "chan send"));
    slow.drop();
    EXPECT_EQ(co_await quick.recv(), 2);
  });
}

LEASH_TEST(Broadcast, a_subscriber_sees_what_is_sent_from_then_on_and_a_dup_what_its_original_has_not) {
  auto [tx, rx] = broadcast<int>(8);
  EXPECT_TRUE(co_await tx.send(1));
  EXPECT_TRUE(co_await tx.send(2));
  auto later = tx.subscribe();
  EXPECT_EQ(co_await rx.recv(), 1);
  auto twin = rx.dup();
  EXPECT_TRUE(co_await tx.send(3));
  tx.close();
  EXPECT_FALSE(co_await tx.send(4));
  for (int i : {2, 3}) EXPECT_EQ(co_await rx.recv(), i);
  for (int i : {2, 3}) EXPECT_EQ(co_await twin.recv(), i);
  EXPECT_FALSE(later.ended());
  EXPECT_EQ(co_await later.recv(), 3);
  EXPECT_TRUE(rx.ended() && twin.ended() && later.ended());
  EXPECT_EQ(co_await rx.recv(), std::nullopt);
  EXPECT_EQ(co_await later.recv(), std::nullopt);
}

LEASH_TEST(Broadcast, without_receivers_sends_fail_until_somebody_subscribes) {
  auto [tx, rx] = broadcast<int>(1);
  rx.drop();
  EXPECT_EQ(tx.receivers(), 0u);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(co_await tx.send(i));
  EXPECT_EQ(tx.try_send(1), try_result::closed);
  auto next = tx.subscribe();
  EXPECT_TRUE(co_await tx.send(7));
  EXPECT_EQ(co_await next.recv(), 7);
}

task<> drop_the_last_receiver_while_sends_wait() {
  auto [tx, rx] = broadcast<int>(1);
  EXPECT_TRUE(co_await tx.send(1));
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 3; ++i) s.go(named("tx"), [&]() -> task<> { EXPECT_FALSE(co_await tx.send(2)); });
    EXPECT_TRUE(co_await parked("tx", "chan send", 3));
    rx.drop();
  });
  auto again = tx.subscribe();
  EXPECT_TRUE(co_await tx.send(3));
  EXPECT_EQ(co_await again.recv(), 3);
}

LEASH_TEST(Broadcast, the_last_receiver_dropped_fails_the_sends_that_wait) {
  co_await drop_the_last_receiver_while_sends_wait();
}

// The room that it makes on its way out is for nobody, on whatever worker who waits for room gets on at once.
LEASH_TEST_REAL(Broadcast, the_last_receiver_dropped_fails_the_sends_that_wait_each_time) {
  for (int i = 0; i < 300; ++i) co_await drop_the_last_receiver_while_sends_wait();
}

// Two go at once: of them too nobody takes what is sent.
LEASH_TEST(Broadcast, receivers_that_go_together_fail_the_sends_that_wait) {
  for (int i = 0; i < 20; ++i) {
    auto [tx, rx] = broadcast<int>(1);
    auto other = rx.dup();
    EXPECT_TRUE(co_await tx.send(1));
    co_await with_scope([&](scope& s) -> task<> {
      for (int k = 0; k < 2; ++k) s.go(named("tx"), [&]() -> task<> { EXPECT_FALSE(co_await tx.send(2)); });
      EXPECT_TRUE(co_await parked("tx", "chan send", 2));
      s.go(
          [](broadcast_receiver<int> r) -> task<> {
            r.drop();
            co_return;
          },
          std::move(other));
      rx.drop();
    });
    EXPECT_EQ(tx.receivers(), 0u);
  }
}

LEASH_TEST(Broadcast, the_last_sender_dropped_or_a_close_wakes_every_receiver) {
  for (bool close : {false, true}) {
    auto [tx, rx] = broadcast<int>(1);
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 4; ++i)
        s.go(
            named("rx"), [](broadcast_receiver<int> from) -> task<> { EXPECT_EQ(co_await from.recv(), std::nullopt); },
            rx.dup());
      EXPECT_TRUE(co_await parked("rx", "chan receive", 4));
      if (close)
        tx.close();
      else
        auto gone = std::move(tx);
    });
  }
}

LEASH_TEST(Broadcast, values_die_when_all_have_seen_them) {
  {
    auto [tx, a] = broadcast<tracked>(4);
    auto b = a.dup();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(co_await tx.send(tracked(i)));
    EXPECT_EQ(tracked::alive, 3);
    for (int i = 0; i < 3; ++i) EXPECT_EQ((co_await a.recv())->value, i);
    EXPECT_EQ(tracked::alive, 3);
    EXPECT_EQ((co_await b.recv())->value, 0);
    EXPECT_EQ(tracked::alive, 2);
    b.drop();
    EXPECT_EQ(tracked::alive, 0);
    EXPECT_TRUE(co_await tx.send(tracked(9)));
  }
  EXPECT_EQ(tracked::alive, 0);
}

LEASH_TEST(Broadcast, a_copy_that_throws_leaves_the_value_unseen) {
  auto [tx, rx] = broadcast<tracked>(2);
  EXPECT_TRUE(co_await tx.send(tracked(1)));
  tracked::refuses = true;
  bool threw = false;
  try {
    (void)co_await rx.recv();
  } catch (const std::runtime_error&) {
    threw = true;
  }
  tracked::refuses = false;
  EXPECT_TRUE(threw);
  EXPECT_EQ(rx.len(), 1u);
  EXPECT_EQ((co_await rx.recv())->value, 1);
}

LEASH_TEST(Broadcast, a_cancelled_receive_has_seen_nothing_and_a_cancelled_send_sent_nothing) {
  auto [tx, rx] = broadcast<int>(1);
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> { (void)co_await rx.recv(); }));
  EXPECT_TRUE(co_await tx.send(1));
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> { (void)co_await tx.send(2); }));
  EXPECT_EQ(co_await rx.recv(), 1);
  EXPECT_EQ(rx.try_recv(), std::nullopt);
  EXPECT_TRUE(co_await tx.send(3));
  EXPECT_EQ(co_await rx.recv(), 3);
}

LEASH_TEST(Broadcast, its_operations_are_cases_of_select) {
  auto [tx, rx] = broadcast<int>(1);
  EXPECT_EQ((co_await select(rx.recv(), sleep(1ms))).index(), 1u);
  EXPECT_EQ((co_await select(tx.send(1), sleep(1h))).index(), 0u);
  int v = 2;
  EXPECT_EQ((co_await select(tx.send(std::move(v)), sleep(1ms))).index(), 1u);
  auto r = co_await select(rx.recv(), sleep(1h));
  EXPECT_EQ(std::get<0>(r), 1);
  EXPECT_FALSE(try_select(rx.recv()));
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(named("chooser"), [&]() -> task<std::size_t> {
      auto won = co_await select(sleep(1h), rx.recv());
      EXPECT_EQ(std::get<1>(won), 5);
      co_return won.index();
    });
    EXPECT_TRUE(co_await parked("chooser", "select"));
    EXPECT_TRUE(co_await tx.send(5));
    EXPECT_EQ(co_await h.join(), std::size_t{1});
    EXPECT_TRUE(co_await tx.send(6));
    auto g = s.go(named("sending"),
                  [&]() -> task<std::size_t> { co_return (co_await select(tx.send(7), sleep(1h))).index(); });
    EXPECT_TRUE(co_await parked("sending", "select"));
    EXPECT_EQ(co_await rx.recv(), 6);
    EXPECT_EQ(co_await g.join(), std::size_t{0});
    EXPECT_EQ(co_await rx.recv(), 7);
  });
  EXPECT_FALSE(try_select(broadcast_receiver<int>().recv(), broadcast_sender<int>().send(1)));
}

LEASH_TEST(Broadcast, empty_ends_are_misuse_alone_and_capacity_0_is_refused) {
  broadcast_receiver<int> rx;
  broadcast_sender<int> tx;
  bool threw = false;
  try {
    (void)co_await rx.recv();
  } catch (const std::logic_error&) {
    threw = true;
  }
  EXPECT_TRUE(threw);
  EXPECT_THROW((void)tx.dup(), std::logic_error);
  EXPECT_THROW((void)tx.subscribe(), std::logic_error);
  EXPECT_THROW((void)rx.dup(), std::logic_error);
  EXPECT_THROW((void)rx.try_recv(), std::logic_error);
  EXPECT_THROW((void)broadcast<int>(0), std::invalid_argument);
  tx.close();
  tx.drop();
  rx.drop();
}

// Against a plain model: a log, and for each receiver how much of it it has seen.
task<> history(unsigned seed, std::size_t capacity) {
  std::mt19937 random(seed);
  std::vector<int> log;
  std::vector<std::size_t> at{0};
  auto [tx, first] = broadcast<int>(capacity);
  std::vector<broadcast_receiver<int>> ends;
  ends.push_back(std::move(first));
  for (int step = 0; step < 400; ++step) {
    std::size_t const lag = log.size() - *std::min_element(at.begin(), at.end());
    std::size_t const i = random() % ends.size();
    switch (random() % 8) {
      case 0:
      case 1:
      case 2: {
        bool const room = lag < capacity;
        EXPECT_EQ(tx.try_send(int(step)), room ? try_result::done : try_result::full);
        if (room) log.push_back(step);
        break;
      }
      case 3:
      case 4:
      case 5:
        if (at[i] == log.size()) {
          EXPECT_EQ(ends[i].try_recv(), std::nullopt);
        } else {
          EXPECT_EQ(co_await ends[i].recv(), log[at[i]++]);
        }
        break;
      case 6:
        if (ends.size() == 6) break;
        ends.push_back(random() % 2 == 0 ? ends[i].dup() : tx.subscribe());
        at.push_back(log.size() - ends.back().len());
        EXPECT_TRUE(at.back() == log.size() || at.back() == at[i]);
        break;
      case 7:
        if (ends.size() == 1) break;
        ends.erase(ends.begin() + static_cast<std::ptrdiff_t>(i));
        at.erase(at.begin() + static_cast<std::ptrdiff_t>(i));
        break;
    }
    for (std::size_t k = 0; k < ends.size(); ++k) EXPECT_EQ(ends[k].len(), log.size() - at[k]);
    CO_ASSERT_TRUE(!::testing::Test::HasFailure()) << "step " << step << " seed " << seed;
  }
}
LEASH_TEST(Broadcast, random_histories_agree_with_the_model) {
  for (unsigned seed = 1; seed <= (long_run() ? 500u : 20u); ++seed)
    for (std::size_t capacity : {1, 2, 5}) co_await history(seed, capacity);
}

// Several senders and receivers at once, some come and go: who stays sees all, everybody the same order.
LEASH_TEST(Broadcast, all_receivers_see_one_order_of_many_senders) {
  constexpr int senders = 3, each = 200, receivers = 3;
  auto [tx, rx] = broadcast<tracked>(3);
  std::vector<std::vector<int>> seen(receivers);
  co_await with_scope([&](scope& s) -> task<> {
    for (auto& to : seen)
      s.go(
          [](broadcast_receiver<tracked> from, std::vector<int>& to) -> task<> {
            while (auto v = co_await from.recv()) to.push_back(v->value);
          },
          rx.dup(), std::ref(to));
    rx.drop();
    for (int i = 0; i < senders; ++i)
      s.go(
          [](broadcast_sender<tracked> to, int i) -> task<> {
            for (int k = 0; k < each; ++k) EXPECT_TRUE(co_await to.send(tracked(i * each + k)));
          },
          tx.dup(), i);
    s.go(
        [](broadcast_sender<tracked> from) -> task<> {
          for (int k = 0; k < 50; ++k) {
            auto passing = from.subscribe();
            (void)co_await with_timeout(1us * (k % 3), [&]() -> task<> { (void)co_await passing.recv(); });
            co_await yield();
          }
        },
        tx.dup());
    tx.drop();
    co_return;
  });
  EXPECT_EQ(tracked::alive, 0);  // each value was destroyed once
  for (auto& one : seen) {
    EXPECT_EQ(one.size(), std::size_t{senders * each});
    EXPECT_EQ(one, seen.front());
    std::vector<int> last(senders, -1);
    for (int v : one) {
      EXPECT_GT(v, last[static_cast<std::size_t>(v / each)]);
      last[static_cast<std::size_t>(v / each)] = v;
    }
  }
}

TEST(Broadcast, every_schedule_of_a_small_program_delivers_all) {
  auto const r = leash::testing::explore({.schedules = long_run() ? 20'000u : 1'000u}, []() -> task<> {
    auto [tx, rx] = broadcast<int>(1);
    std::atomic<int> sum = 0;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 2; ++i)
        s.go(
            [&sum](broadcast_receiver<int> from) -> task<> {
              while (auto v = co_await from.recv()) sum += *v;
            },
            rx.dup());
      rx.drop();
      for (int i = 0; i < 2; ++i)
        s.go(
            [](broadcast_sender<int> to, int v) -> task<> {
              if (!co_await to.send(v)) throw std::logic_error("nobody received");
              (void)co_await with_timeout(1ms, [&]() -> task<> { (void)co_await to.send(0); });
            },
            tx.dup(), i == 0 ? 1 : 100);
      tx.drop();
      co_return;
    });
    if (sum != 202) throw std::logic_error("a value was lost");
  });
  EXPECT_FALSE(r.failing_seed || r.error || r.leaked) << r.schedule;
}

}  // namespace
}  // namespace leash
