// Broadcast and watch in the proof: their waits, their ends, and the ends that lie in their values.
#include "attack.hpp"
#include "kernel.hpp"

namespace leash::test::fan_tests {

using enum verdict;

// ---- receivers and senders
template <class Make>
task<> waits_for_a_value(Make make, bool twin) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx, rx] = make();
    using tx_t = std::remove_cvref_t<decltype(tx)>;
    using rx_t = std::remove_cvref_t<decltype(rx)>;
    (void)rx.try_recv();  // of the watch: the initial value
    if (twin) s.go(named("keeper"), keep_asleep<tx_t>, tx.dup());
    s.go(named("stuck"), [](rx_t rx, tx_t) -> task<> { (void)co_await rx.recv(); }, std::move(rx), std::move(tx));
    co_return;
  });
}
static constexpr auto a_broadcast = [] { return broadcast<int>(2); };
static constexpr auto a_watch = [] { return watch<int>(0); };
static const std::vector<subject> stuck_leak{waiting_kernel, {"stuck", "chan receive", core}},
    stuck_live{live_kernel, {"keeper", "sleep", live}, {"stuck", "chan receive", live}};

LEASH_TEST_OF_LEAKS(Leak, AReceiverOfABroadcastThatHoldsTheOnlySender) {
  co_await examine([] { return waits_for_a_value(a_broadcast, false); }, stuck_leak);
}
LEASH_TEST(LiveTwin, AReceiverOfABroadcastWithASleepingSender) {
  co_await examine([] { return waits_for_a_value(a_broadcast, true); }, stuck_live);
}
LEASH_TEST_OF_LEAKS(Leak, AReceiverOfAWatchThatHoldsTheOnlySender) {
  co_await examine([] { return waits_for_a_value(a_watch, false); }, stuck_leak);
}
LEASH_TEST(LiveTwin, AReceiverOfAWatchWithASleepingSender) {
  co_await examine([] { return waits_for_a_value(a_watch, true); }, stuck_live);
}

/// One receiver has seen all and waits; a slow one has not, and will not: what is left for it serves nobody else.
task<> seen_all(bool twin) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx, rx] = broadcast<int>(4);
    auto slow = rx.dup();
    EXPECT_TRUE(co_await tx.send(1));
    EXPECT_EQ(co_await rx.recv(), 1);
    if (twin) s.go(named("keeper"), keep_asleep<broadcast_sender<int>>, tx.dup());
    s.go(
        named("stuck"),
        [](broadcast_receiver<int> rx, broadcast_receiver<int>, broadcast_sender<int>) -> task<> {
          (void)co_await rx.recv();
        },
        std::move(rx), std::move(slow), std::move(tx));
  });
}
LEASH_TEST_OF_LEAKS(Leak, AReceiverOfABroadcastBesideASlowOne) {
  co_await examine([] { return seen_all(false); }, stuck_leak);
}
LEASH_TEST(LiveTwin, AReceiverOfABroadcastBesideASlowOne) {
  co_await examine([] { return seen_all(true); }, stuck_live);
}

/// The sender waits for room, which only a receiver in its own frame could make. The twin: a sleeper is as slow.
task<> no_room(bool twin) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx, rx] = broadcast<int>(1);
    EXPECT_TRUE(co_await tx.send(1));
    if (twin) s.go(named("keeper"), keep_asleep<broadcast_receiver<int>>, rx.dup());
    s.go(
        named("stuck"), [](broadcast_sender<int> tx, broadcast_receiver<int>) -> task<> { (void)co_await tx.send(2); },
        std::move(tx), std::move(rx));
  });
}
LEASH_TEST_OF_LEAKS(Leak, ASenderOfABroadcastThatHoldsTheSlowReceiver) {
  co_await examine([] { return no_room(false); }, {waiting_kernel, {"stuck", "chan send", core}});
}
LEASH_TEST(LiveTwin, ASenderOfABroadcastWithASleepingReceiver) {
  co_await examine([] { return no_room(true); },
                   {live_kernel, {"keeper", "sleep", live}, {"stuck", "chan send", live}});
}

// ---- ends in their values
/// "stuck" waits for a sender that lies in a value; `keep`: what a sleeper holds to make it live.
template <class Make, class Keep>
task<> in_a_value(Make make, Keep keep, bool twin) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    auto [in, out] = make(share<sender<int>>(std::move(tx)));
    using in_t = std::remove_cvref_t<decltype(in)>;
    using out_t = std::remove_cvref_t<decltype(out)>;
    if (twin) s.go(named("keeper"), keep_asleep<std::remove_cvref_t<decltype(keep(in, out))>>, keep(in, out));
    s.go(
        named("stuck"), [](receiver<int> rx, in_t, out_t) -> task<> { (void)co_await rx.recv(); }, std::move(rx),
        std::move(in), std::move(out));
    co_return;
  });
}
using held = shared<sender<int>>;
static constexpr auto in_a_broadcast = [](held v) {
  auto ends = broadcast<held>(2);
  EXPECT_EQ(ends.first.try_send(std::move(v)), try_result::done);
  return ends;
};
static constexpr auto in_a_watch = [](held v) { return watch<held>(std::move(v)); };
static constexpr auto the_receiver = [](auto&, auto& out) { return out.dup(); };
static constexpr auto the_sender = [](auto& in, auto&) { return in.dup(); };

LEASH_TEST_OF_LEAKS(Leak, AnEndInAValueOfABroadcastThatNobodyCanReceive) {
  co_await examine([] { return in_a_value(in_a_broadcast, the_receiver, false); }, stuck_leak);
}
LEASH_TEST(LiveTwin, AnEndInAValueOfABroadcastThatASleeperCouldReceive) {
  co_await examine([] { return in_a_value(in_a_broadcast, the_receiver, true); }, stuck_live);
}
LEASH_TEST_OF_LEAKS(Leak, AnEndInAValueOfABroadcastWhoseSenderCannotReachIt) {
  co_await examine([] { return in_a_value(in_a_broadcast, the_sender, true); },
                   {live_kernel, {"keeper", "sleep", live}, {"stuck", "chan receive", core}});
}
LEASH_TEST_OF_LEAKS(Leak, AnEndInTheValueOfAWatchThatNobodyCanReach) {
  co_await examine([] { return in_a_value(in_a_watch, the_receiver, false); }, stuck_leak);
}
LEASH_TEST(LiveTwin, AnEndInTheValueOfAWatchThatASleeperCouldGet) {
  co_await examine([] { return in_a_value(in_a_watch, the_receiver, true); }, stuck_live);
}
LEASH_TEST(LiveTwin, AnEndInTheValueOfAWatchThatASleeperCouldReplace) {
  co_await examine([] { return in_a_value(in_a_watch, the_sender, true); }, stuck_live);
}

// ---- on the move: nothing leaks here, whatever moment a pass catches
TEST(Attack, EndsThatPassThroughABroadcast) {
  attack([](std::mt19937& random) -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      auto [in, out] = broadcast<held>(2);
      for (int i = 0; i < 3; ++i)
        s.go(
            [](broadcast_receiver<held> from, int pause) -> task<> {
              while (auto v = co_await from.recv()) {
                spin(pause);
                v.reset();  // the last copy ends the channel that it belongs to
              }
            },
            out.dup(), static_cast<int>(random() % 300));
      s.go(
          [](broadcast_receiver<held> from, int n) -> task<> {  // goes with values unseen
            for (int i = 0; i < n; ++i) (void)co_await from.recv();
          },
          std::move(out), static_cast<int>(random() % 20));
      s.go(
          [](scope& s, broadcast_sender<held> to) -> task<> {
            for (int i = 0; i < 20; ++i) {
              auto [tx, rx] = channel<int>();
              s.go(
                  named("waits"), [](receiver<int> rx) -> task<> { EXPECT_EQ(co_await rx.recv(), std::nullopt); },
                  std::move(rx));
              EXPECT_TRUE(co_await to.send(share<sender<int>>(std::move(tx))));
            }
          },
          std::ref(s), std::move(in));
      co_return;
    });
  });
}
TEST(Attack, EndsThatPassThroughAWatch) {
  attack([](std::mt19937& random) -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      auto [in, out] = watch<held>(held());
      for (int i = 0; i < 3; ++i)
        s.go(
            [](watch_receiver<held> from, int pause) -> task<> {
              while (auto v = co_await from.recv()) spin(pause);
            },
            out.dup(), static_cast<int>(random() % 300));
      out.drop();
      s.go(
          [](scope& s, watch_sender<held> to, int pause) -> task<> {
            for (int i = 0; i < 20; ++i) {
              auto [tx, rx] = channel<int>();
              s.go(
                  named("waits"), [](receiver<int> rx) -> task<> { EXPECT_EQ(co_await rx.recv(), std::nullopt); },
                  std::move(rx));
              EXPECT_TRUE(co_await to.send(share<sender<int>>(std::move(tx))));
              spin(pause);
            }
          },
          std::ref(s), std::move(in), static_cast<int>(random() % 300));
      co_return;
    });
  });
}

}  // namespace leash::test::fan_tests
