// How channels end: by close, by the last sender, by the last receiver; and ends that are empty.
#include <memory>
#include <stdexcept>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

LEASH_TEST(ChanClose, receivers_drain_then_see_the_end) {
  auto [tx, rx] = channel<int>(3);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(co_await tx.send(i));
  tx.close();
  EXPECT_FALSE(rx.ended());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await rx.recv(), i);
  EXPECT_TRUE(rx.ended());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await rx.recv(), std::nullopt);
}

LEASH_TEST(ChanClose, closing_twice_is_harmless) {
  auto [tx, rx] = channel<int>(1);
  auto other = tx.dup();
  tx.close();
  tx.close();
  other.close();
  EXPECT_FALSE(co_await tx.send(1));
  EXPECT_FALSE(co_await other.send(1));
  EXPECT_EQ(co_await rx.recv(), std::nullopt);
}

LEASH_TEST(ChanClose, close_wakes_every_parked_receiver) {
  auto [tx, rx] = channel<int>();
  std::atomic<int> ends = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 5; ++i) {
      s.go(named("rx"), [&]() -> task<> {
        EXPECT_EQ(co_await rx.recv(), std::nullopt);
        ++ends;
      });
    }
    EXPECT_TRUE(co_await parked("rx", "chan receive", 5));
    tx.close();
  });
  EXPECT_EQ(ends, 5);
}

LEASH_TEST(ChanClose, close_by_one_sender_fails_the_parked_sends_of_the_others) {
  auto [tx, rx] = channel<int>(1);
  auto closer = tx.dup();
  EXPECT_TRUE(co_await tx.send(0));
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 3; ++i) s.go(named("tx"), [&]() -> task<> { EXPECT_FALSE(co_await tx.send(1)); });
    EXPECT_TRUE(co_await parked("tx", "chan send", 3));
    closer.close();
  });
  EXPECT_EQ(co_await rx.recv(), 0);  // what was in the buffer is still delivered
  EXPECT_EQ(co_await rx.recv(), std::nullopt);
}

LEASH_TEST(ChanClose, the_last_sender_dropped_ends_the_channel) {
  auto [tx, rx] = channel<int>(2);
  auto a = tx.dup(), b = tx.dup();
  EXPECT_TRUE(co_await b.send(1));
  tx.drop();
  a.drop();
  EXPECT_FALSE(rx.ended());
  EXPECT_TRUE(co_await b.send(2));
  b = sender<int>();  // assignment lets go of the end that was there
  EXPECT_EQ(co_await rx.recv(), 1);
  EXPECT_EQ(co_await rx.recv(), 2);
  EXPECT_EQ(co_await rx.recv(), std::nullopt);
  EXPECT_TRUE(rx.ended());
}

LEASH_TEST(ChanClose, the_last_sender_dropped_wakes_parked_receivers) {
  auto [tx, rx] = channel<int>();
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 3; ++i)
      s.go(named("rx"), [](receiver<int> from) -> task<> { EXPECT_EQ(co_await from.recv(), std::nullopt); }, rx.dup());
    EXPECT_TRUE(co_await parked("rx", "chan receive", 3));
    {
      auto gone = std::move(tx);
    }
  });
}

LEASH_TEST(ChanClose, the_last_receiver_dropped_fails_parked_and_later_sends) {
  auto [tx, rx] = channel<int>();
  auto second = rx.dup();
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 3; ++i) s.go(named("tx"), [&]() -> task<> { EXPECT_FALSE(co_await tx.send(1)); });
    EXPECT_TRUE(co_await parked("tx", "chan send", 3));
    rx.drop();
    co_await yield();
    EXPECT_EQ(count_parked("tx", "chan send"), 3u);
    second.drop();
  });
  EXPECT_FALSE(co_await tx.send(2));
  EXPECT_EQ(tx.try_send(2), try_result::closed);
}

LEASH_TEST(ChanClose, a_receiver_lost_leaves_no_room_in_the_buffer) {
  auto [tx, rx] = channel<int>(8);
  EXPECT_TRUE(co_await tx.send(1));
  rx.drop();
  EXPECT_FALSE(co_await tx.send(2));
  auto [tx2, rx2] = channel<int>(unbounded);
  rx2.drop();
  EXPECT_FALSE(co_await tx2.send(2));
}

LEASH_TEST(ChanClose, send_or_gives_the_undelivered_value_back) {
  auto [tx, rx] = channel<std::unique_ptr<int>>();
  co_await with_scope([&](scope& s) -> task<> {
    auto delivered = s.go([&]() -> task<bool> {
      auto back = co_await tx.send_or(std::make_unique<int>(1));
      co_return !back;
    });
    EXPECT_EQ(**co_await rx.recv(), 1);
    EXPECT_TRUE((co_await delivered.join()).value());

    auto failed = s.go(named("tx"), [&]() -> task<> {
      auto back = co_await tx.send_or(std::make_unique<int>(2));
      CO_ASSERT_TRUE(back && *back);
      EXPECT_EQ(**back, 2);
    });
    EXPECT_TRUE(co_await parked("tx", "chan send"));
    rx.drop();
    EXPECT_TRUE(co_await failed.join());
  });
  auto back = co_await tx.send_or(std::make_unique<int>(3));
  CO_ASSERT_TRUE(back && *back);
  EXPECT_EQ(**back, 3);
}

LEASH_TEST(ChanClose, a_dup_is_an_end_of_the_same_channel) {
  auto [tx, rx] = channel<int>(2);
  auto tx2 = tx.dup();
  auto rx2 = rx.dup();
  EXPECT_TRUE(co_await tx2.send(1));
  EXPECT_TRUE(co_await tx.send(2));
  EXPECT_EQ(co_await rx2.recv(), 1);
  EXPECT_EQ(co_await rx.recv(), 2);
}

LEASH_TEST(ChanClose, an_end_moved_is_the_same_end) {
  auto [tx, rx] = channel<int>(1);
  sender<int> a = std::move(tx);
  sender<int> b;
  b = std::move(a);
  EXPECT_TRUE(co_await b.send(9));
  receiver<int> c = std::move(rx);
  EXPECT_EQ(co_await c.recv(), 9);
  EXPECT_FALSE(c.ended());
  b.drop();
  EXPECT_TRUE(c.ended());
}

LEASH_TEST(ChanClose, empty_ends_throw_logic_error_when_used_alone) {
  sender<int> no_tx;
  receiver<int> no_rx;
  EXPECT_THROW((void)co_await no_tx.send(1), std::logic_error);
  EXPECT_THROW((void)co_await no_tx.send_or(1), std::logic_error);
  EXPECT_THROW((void)no_tx.try_send(1), std::logic_error);
  EXPECT_THROW((void)co_await no_rx.recv(), std::logic_error);
  EXPECT_THROW((void)no_rx.try_recv(), std::logic_error);

  auto [tx, rx] = channel<int>(1);
  auto kept_tx = std::move(tx);
  auto kept_rx = std::move(rx);
  EXPECT_THROW((void)co_await tx.send(1), std::logic_error);
  EXPECT_THROW((void)tx.try_send(1), std::logic_error);
  EXPECT_THROW((void)co_await rx.recv(), std::logic_error);
  EXPECT_THROW((void)rx.try_recv(), std::logic_error);
  EXPECT_TRUE(co_await kept_tx.send(1));
  kept_tx.drop();
  EXPECT_THROW((void)co_await kept_tx.send(1), std::logic_error);
  EXPECT_EQ(co_await kept_rx.recv(), 1);
}

LEASH_TEST(ChanClose, a_closed_sender_is_not_an_empty_one) {
  auto [tx, rx] = channel<int>(1);
  tx.close();
  auto dup = tx.dup();  // still an end, of a channel that takes no more
  EXPECT_FALSE(co_await dup.send(1));
  EXPECT_EQ(dup.try_send(1), try_result::closed);
}

}  // namespace
}  // namespace leash
