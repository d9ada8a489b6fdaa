// The forms of select and what each kind of case does in it; losing cases leave everything as it was.
#include <memory>
#include <string>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

LEASH_TEST(Select, gives_the_result_of_the_case_that_is_ready) {
  auto [tx, rx] = channel<int>(1);
  auto [full_tx, full_rx] = channel<int>();
  EXPECT_TRUE(co_await tx.send(5));
  auto r = co_await select(rx.recv(), full_tx.send(1), sleep(1h));
  static_assert(std::is_same_v<decltype(r), std::variant<std::optional<int>, bool, std::monostate>>);
  CO_ASSERT_EQ(r.index(), 0u);
  EXPECT_EQ(std::get<0>(r), 5);
  r = co_await select(rx.recv(), tx.send(6), sleep(1h));
  CO_ASSERT_EQ(r.index(), 1u);
  EXPECT_TRUE(std::get<1>(r));
  EXPECT_EQ(rx.try_recv(), 6);
  r = co_await select(rx.recv(), full_tx.send(1), sleep(1ms));
  EXPECT_EQ(r.index(), 2u);
}

LEASH_TEST(Select, waits_until_a_case_is_ready) {
  auto [a_tx, a_rx] = channel<int>();
  auto [b_tx, b_rx] = channel<std::string>();
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(named("chooser"), [&]() -> task<std::string> {
      auto r = co_await select(a_rx.recv(), b_rx.recv());
      if (r.index() == 0) co_return std::to_string(*std::get<0>(r));
      co_return *std::get<1>(r);
    });
    EXPECT_TRUE(co_await parked("chooser", "select"));
    EXPECT_TRUE(co_await b_tx.send("b"));
    EXPECT_EQ((co_await h.join()).value(), "b");
  });
  EXPECT_EQ(a_tx.try_send(1), try_result::full);  // no waiter was left behind
}

LEASH_TEST(Select, handlers_take_the_result_and_run_once) {
  auto [tx, rx] = channel<int>(1);
  int received = 0, sent = 0, slept = 0;
  for (int i = 0; i < 3; ++i) {
    co_await select(on(rx.recv(), [&](std::optional<int> v) { received += *v; }),
                    on(tx.send(10), [&](bool ok) { sent += ok; }), on(sleep(1h), [&] { ++slept; }));
  }
  EXPECT_EQ(sent, 2);
  EXPECT_EQ(received, 10);
  EXPECT_EQ(slept, 0);
}

LEASH_TEST(Select, handlers_may_be_tasks) {
  auto [tx, rx] = channel<int>(1);
  auto [out, in] = channel<int>(1);
  EXPECT_TRUE(co_await tx.send(3));
  co_await select(on(rx.recv(),
                     [&](std::optional<int> v) -> task<> {
                       co_await yield();
                       EXPECT_TRUE(co_await out.send(*v * 2));
                     }),
                  on(sleep(1h), []() -> task<> { co_return; }));
  EXPECT_EQ(in.try_recv(), 6);
}

LEASH_TEST(Select, handlers_give_their_common_type) {
  auto [tx, rx] = channel<int>(1);
  auto choose = [&]() -> task<long> {
    co_return co_await select(on(rx.recv(), [](std::optional<int> v) { return *v; }),
                              on(sleep(1ms), []() -> task<long> { co_return -1L; }));
  };
  EXPECT_EQ(co_await choose(), -1);
  EXPECT_TRUE(co_await tx.send(8));
  EXPECT_EQ(co_await choose(), 8);
}

LEASH_TEST(Select, an_exception_from_a_handler_comes_out) {
  auto [tx, rx] = channel<int>(1);
  EXPECT_TRUE(co_await tx.send(1));
  EXPECT_THROW(co_await select(on(rx.recv(), [](std::optional<int>) { throw std::runtime_error("handler"); }),
                               on(sleep(1h), [] {})),
               std::runtime_error);
  EXPECT_EQ(rx.try_recv(), std::nullopt);
}

LEASH_TEST(Select, an_ended_channel_is_ready) {
  auto [tx, rx] = channel<int>();
  auto [dead_tx, dead_rx] = channel<int>();
  tx.drop();
  auto r = co_await select(rx.recv(), sleep(1h));
  CO_ASSERT_EQ(r.index(), 0u);
  EXPECT_EQ(std::get<0>(r), std::nullopt);
  dead_rx.drop();
  auto w = co_await select(sleep(1h), dead_tx.send(1));
  CO_ASSERT_EQ(w.index(), 1u);
  EXPECT_FALSE(std::get<1>(w));
}

LEASH_TEST(Select, a_losing_send_leaves_its_value) {
  auto [tx, rx] = channel<std::unique_ptr<int>>();
  auto [other, ready] = channel<int>(1);
  auto p = std::make_unique<int>(4);
  EXPECT_EQ((co_await select(tx.send(std::move(p)), sleep(1ms))).index(), 1u);
  CO_ASSERT_TRUE(p != nullptr);
  EXPECT_TRUE(co_await other.send(1));
  EXPECT_EQ((co_await select(tx.send_or(std::move(p)), ready.recv())).index(), 1u);
  CO_ASSERT_TRUE(p != nullptr);
  EXPECT_FALSE(try_select(tx.send(std::move(p))));
  CO_ASSERT_TRUE(p != nullptr);
  co_await with_scope([&](scope& s) -> task<> {
    s.go([](receiver<std::unique_ptr<int>> from) -> task<> { EXPECT_EQ(**co_await from.recv(), 4); }, std::move(rx));
    auto won = co_await select(tx.send(std::move(p)), sleep(1h));
    EXPECT_EQ(won.index(), 0u);
  });
  EXPECT_EQ(p, nullptr);
}

LEASH_TEST(Select, send_or_in_a_select_gives_back_what_was_not_taken) {
  auto [tx, rx] = channel<std::unique_ptr<int>>();
  rx.drop();
  auto r = co_await select(tx.send_or(std::make_unique<int>(2)), sleep(1h));
  CO_ASSERT_EQ(r.index(), 0u);
  auto& back = std::get<0>(r);
  CO_ASSERT_TRUE(back && *back);
  EXPECT_EQ(**back, 2);
}

LEASH_TEST(Select, an_empty_end_is_a_disabled_case) {
  sender<int> no_tx;
  receiver<int> no_rx;
  auto [tx, rx] = channel<int>(1);
  auto r = co_await select(no_rx.recv(), no_tx.send(1), tx.send(2));
  EXPECT_EQ(r.index(), 2u);
  EXPECT_EQ((co_await select(no_rx.recv(), sleep(1ms))).index(), 1u);
  EXPECT_FALSE(try_select(no_rx.recv(), no_tx.send(1)));
  receiver<int> gone = std::move(rx);  // a moved-from end likewise
  EXPECT_EQ((co_await select(rx.recv(), gone.recv())).index(), 1u);
}

LEASH_TEST(Select, try_select_takes_what_is_ready_and_never_waits) {
  auto [tx, rx] = channel<int>(1);
  EXPECT_FALSE(try_select(rx.recv()));
  EXPECT_FALSE(try_select(rx.recv(), sleep(1h)));
  auto sent = try_select(tx.send(1));
  CO_ASSERT_TRUE(sent);
  EXPECT_TRUE(std::get<0>(*sent));
  EXPECT_FALSE(try_select(tx.send(2)));
  auto got = try_select(tx.send(2), rx.recv());
  CO_ASSERT_TRUE(got);
  CO_ASSERT_EQ(got->index(), 1u);
  EXPECT_EQ(std::get<1>(*got), 1);
  mutex m;
  auto locked = try_select(m.lock());
  CO_ASSERT_TRUE(locked);
  EXPECT_FALSE(try_select(m.lock()));
}

LEASH_TEST(Select, a_span_of_receivers_says_which_one) {
  std::vector<sender<int>> txs;
  std::vector<receiver<int>> rxs;
  for (int i = 0; i < 20; ++i) {
    auto [tx, rx] = channel<int>(1);
    txs.push_back(std::move(tx));
    rxs.push_back(std::move(rx));
  }
  for (int i : {13, 0, 19}) {
    EXPECT_TRUE(co_await txs[i].send(i * 10));
    auto [index, value] = co_await select(std::span(rxs));
    EXPECT_EQ(index, std::size_t(i));
    EXPECT_EQ(value, i * 10);
  }
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("chooser"), [&]() -> task<> {
      auto [index, value] = co_await select(std::span(rxs));
      EXPECT_EQ(index, 7u);
      EXPECT_EQ(value, 70);
    });
    EXPECT_TRUE(co_await parked("chooser", "select"));
    EXPECT_TRUE(co_await txs[7].send(70));
  });
  txs[5].drop();
  auto [index, value] = co_await select(std::span(rxs));
  EXPECT_EQ(index, 5u);
  EXPECT_EQ(value, std::nullopt);
}

LEASH_TEST(Select, the_same_channel_may_appear_twice) {
  auto [tx, rx] = channel<int>();
  auto rx2 = rx.dup();
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        [](sender<int> to) -> task<> {
          for (int i = 0; i < 100; ++i) EXPECT_TRUE(co_await to.send(i));
        },
        std::move(tx));
    for (int i = 0; i < 100; ++i) {
      auto r = co_await select(rx.recv(), rx.recv(), rx2.recv());
      EXPECT_EQ(std::visit([](auto& v) { return *v; }, r), i);
    }
  });
  EXPECT_TRUE(rx.ended());
}

LEASH_TEST(Select, a_select_does_not_meet_itself) {
  auto [tx, rx] = channel<int>();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ((co_await select(tx.send(1), rx.recv(), sleep(1ms))).index(), 2u);
    EXPECT_FALSE(try_select(rx.recv(), tx.send(1)));
  }
  co_await with_scope([&](scope& s) -> task<> {  // but it meets its twin
    auto twin = [&]() -> task<std::size_t> { co_return (co_await select(tx.send(1), rx.recv())).index(); };
    auto a = s.go(twin), b = s.go(twin);
    EXPECT_EQ((co_await a.join()).value() + (co_await b.join()).value(), 1u);
  });
}

LEASH_TEST(Select, many_cases) {
  constexpr std::size_t n = 16;
  std::vector<sender<int>> tx(n);
  std::vector<receiver<int>> rx(n);
  for (std::size_t i = 0; i < n; ++i) {
    auto [t, r] = channel<int>(1);
    tx[i] = std::move(t);
    rx[i] = std::move(r);
  }
  for (std::size_t i = 0; i < n; ++i) {
    EXPECT_TRUE(co_await tx[i].send(int(i)));
    auto r = co_await select(rx[0].recv(), rx[1].recv(), rx[2].recv(), rx[3].recv(), rx[4].recv(), rx[5].recv(),
                             rx[6].recv(), rx[7].recv(), rx[8].recv(), rx[9].recv(), rx[10].recv(), rx[11].recv(),
                             rx[12].recv(), rx[13].recv(), rx[14].recv(), rx[15].recv());
    CO_ASSERT_EQ(r.index(), i);
    EXPECT_EQ(std::visit([](auto& v) { return *v; }, r), int(i));
  }
}

}  // namespace
}  // namespace leash
