// What a channel does while both sides live: order, rendezvous, capacity, and the operations that never wait.
#include <memory>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

task<> send_all(sender<int> tx, int from, int to) {
  for (int i = from; i < to; ++i) EXPECT_TRUE(co_await tx.send(i));
}

task<> expect_in_order(sender<int> tx, receiver<int> rx, int n) {
  co_await with_scope([&](scope& s) -> task<> {
    s.go(send_all, std::move(tx), 0, n);
    for (int i = 0; i < n; ++i) EXPECT_EQ(co_await rx.recv(), i);
    EXPECT_EQ(co_await rx.recv(), std::nullopt);
  });
}

LEASH_TEST(Chan, values_come_out_in_order_of_sending) {
  for (std::size_t capacity : {0, 1, 2, 7, 1000}) {
    auto [tx, rx] = channel<int>(capacity);
    co_await expect_in_order(std::move(tx), std::move(rx), 500);
  }
  auto [tx, rx] = channel<int>(unbounded);
  co_await expect_in_order(std::move(tx), std::move(rx), 5000);
}

LEASH_TEST(Chan, values_of_each_sender_stay_in_order_with_many_senders) {
  auto [tx, rx] = channel<std::pair<int, int>>(3);
  constexpr int senders = 4, each = 200;
  co_await with_scope([&](scope& s) -> task<> {
    for (int id = 0; id < senders; ++id) {
      s.go(
          [](sender<std::pair<int, int>> to, int id) -> task<> {
            for (int i = 0; i < each; ++i) EXPECT_TRUE(co_await to.send({id, i}));
          },
          tx.dup(), id);
    }
    tx.drop();
    std::vector<int> next(senders, 0);
    while (auto v = co_await rx.recv()) EXPECT_EQ(next[v->first]++, v->second);
    for (int n : next) EXPECT_EQ(n, each);
  });
}

LEASH_TEST(Chan, an_unbuffered_send_waits_for_its_receiver) {
  auto [tx, rx] = channel<int>();
  std::atomic<bool> sent = false;
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(named("tx"), [&]() -> task<> {
      EXPECT_TRUE(co_await tx.send(7));
      sent = true;
    });
    EXPECT_TRUE(co_await parked("tx", "chan send"));
    EXPECT_FALSE(sent);
    EXPECT_EQ(tx.len(), 0u);
    EXPECT_EQ(co_await rx.recv(), 7);
    EXPECT_TRUE(co_await h.join());
    EXPECT_TRUE(sent);
  });
}

LEASH_TEST(Chan, a_receive_waits_for_its_sender) {
  auto [tx, rx] = channel<int>(4);
  std::optional<int> got;
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(named("rx"), [&]() -> task<> { got = co_await rx.recv(); });
    EXPECT_TRUE(co_await parked("rx", "chan receive"));
    EXPECT_TRUE(co_await tx.send(7));
    EXPECT_TRUE(co_await h.join());
    EXPECT_EQ(got, 7);
    EXPECT_EQ(tx.len(), 0u);
  });
}

LEASH_TEST(Chan, a_buffer_takes_its_capacity_and_no_more) {
  auto [tx, rx] = channel<int>(3);
  EXPECT_EQ(tx.capacity(), 3u);
  EXPECT_EQ(rx.capacity(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(tx.len(), std::size_t(i));
    EXPECT_TRUE(co_await tx.send(i));
  }
  EXPECT_EQ(rx.len(), 3u);
  EXPECT_EQ(tx.try_send(3), try_result::full);
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("fourth"), [&]() -> task<> { EXPECT_TRUE(co_await tx.send(3)); });
    EXPECT_TRUE(co_await parked("fourth", "chan send"));
    EXPECT_EQ(rx.len(), 3u);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(co_await rx.recv(), i);
  });
  EXPECT_EQ(rx.len(), 0u);
}

LEASH_TEST(Chan, an_unbounded_channel_is_never_full) {
  auto [tx, rx] = channel<int>(unbounded);
  for (int i = 0; i < 10000; ++i) CO_ASSERT_EQ(tx.try_send(int(i)), try_result::done);
  EXPECT_EQ(tx.len(), 10000u);
  for (int i = 0; i < 10000; ++i) CO_ASSERT_EQ(rx.try_recv(), i);
  EXPECT_EQ(rx.try_recv(), std::nullopt);
  EXPECT_FALSE(rx.ended());
}

LEASH_TEST(Chan, try_operations_never_wait) {
  auto [tx, rx] = channel<int>();
  EXPECT_EQ(tx.capacity(), 0u);
  EXPECT_EQ(rx.try_recv(), std::nullopt);
  EXPECT_EQ(tx.try_send(1), try_result::full);
  EXPECT_FALSE(rx.ended());
  tx.close();
  EXPECT_EQ(tx.try_send(1), try_result::closed);
  EXPECT_EQ(rx.try_recv(), std::nullopt);
  EXPECT_TRUE(rx.ended());
  co_return;
}

LEASH_TEST(Chan, try_send_serves_a_parked_receiver) {
  auto [tx, rx] = channel<int>();
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(named("rx"), [&]() -> task<std::optional<int>> { co_return co_await rx.recv(); });
    EXPECT_TRUE(co_await parked("rx", "chan receive"));
    EXPECT_EQ(tx.try_send(5), try_result::done);
    EXPECT_EQ((co_await h.join()).value(), 5);
  });
}

LEASH_TEST(Chan, try_recv_takes_from_a_parked_sender) {
  for (std::size_t capacity : {0, 1}) {
    auto [tx, rx] = channel<int>(capacity);
    if (capacity == 1) EXPECT_TRUE(co_await tx.send(4));
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("tx"), [&]() -> task<> { EXPECT_TRUE(co_await tx.send(5)); });
      EXPECT_TRUE(co_await parked("tx", "chan send"));
      if (capacity == 1) EXPECT_EQ(rx.try_recv(), 4);
      EXPECT_EQ(rx.try_recv(), 5);
      EXPECT_EQ(rx.try_recv(), std::nullopt);
    });
  }
}

LEASH_TEST(Chan, a_try_send_that_fails_leaves_its_value) {
  auto [tx, rx] = channel<std::unique_ptr<int>>(1);
  auto p = std::make_unique<int>(1), q = std::make_unique<int>(2);
  EXPECT_EQ(tx.try_send(std::move(p)), try_result::done);
  EXPECT_EQ(p, nullptr);
  EXPECT_EQ(tx.try_send(std::move(q)), try_result::full);
  CO_ASSERT_TRUE(q != nullptr);
  tx.close();
  EXPECT_EQ(tx.try_send(std::move(q)), try_result::closed);
  CO_ASSERT_TRUE(q != nullptr);
  EXPECT_EQ(*q, 2);
}

LEASH_TEST(Chan, parked_receivers_are_served_in_order_of_arrival) {
  auto [tx, rx] = channel<int>();
  std::vector<int> got(4, -1);
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 4; ++i) {
      s.go(named("rx" + std::to_string(i)), [&got, &rx](int i) -> task<> { got[i] = (co_await rx.recv()).value(); }, i);
      CO_ASSERT_TRUE(co_await parked("rx" + std::to_string(i), "chan receive"));
    }
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(co_await tx.send(i));
  });
  for (int i = 0; i < 4; ++i) EXPECT_EQ(got[i], i);
}

LEASH_TEST(Chan, parked_senders_are_served_in_order_of_arrival) {
  auto [tx, rx] = channel<int>(2);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(co_await tx.send(i));
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 2; i < 6; ++i) {
      s.go(named("tx" + std::to_string(i)), [&tx](int i) -> task<> { EXPECT_TRUE(co_await tx.send(i)); }, i);
      CO_ASSERT_TRUE(co_await parked("tx" + std::to_string(i), "chan send"));
    }
    for (int i = 0; i < 6; ++i) EXPECT_EQ(co_await rx.recv(), i);
  });
}

LEASH_TEST(Chan, oneshot_carries_one_value_or_its_absence) {
  auto [tx, rx] = oneshot<int>();
  EXPECT_TRUE(co_await tx.send(3));
  EXPECT_FALSE(co_await tx.send(4));
  EXPECT_EQ(co_await rx.recv(), 3);
  EXPECT_EQ(co_await rx.recv(), std::nullopt);
  auto [tx2, rx2] = oneshot<int>();
  tx2.drop();
  EXPECT_EQ(co_await rx2.recv(), std::nullopt);
}

}  // namespace
}  // namespace leash
