// Ends on their way: in buffers, in sends that wait, and in the very channel that they belong to.
#include "kernel.hpp"

namespace leash::test::buffers_tests {

using enum verdict;
using tx_t = sender<int>;
using rx_t = receiver<int>;

template <class T>
using ends = std::pair<sender<T>, receiver<T>>;

/// An end of what "stuck" waits for lies in the buffer of a channel whose receiver only "stuck" holds. The twin: a
/// sleeper could receive it.
template <class T, class Make, class Value>
task<> in_a_buffer(Make make, Value value) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto [tx, rx] = channel<int>();
            auto [in, out] = make();
            EXPECT_TRUE(co_await in.send(value(std::move(tx))));
            if (twin) s.go(named("keeper"), keep_asleep<receiver<T>>, out.dup());
            s.go(named("stuck"), receive_holding<receiver<T>>, std::move(rx), std::move(out));
          });
        },
        twin ? std::vector<subject>{live_kernel, {"keeper", "sleep", live}, {"stuck", "chan receive", live}}
             : std::vector<subject>{waiting_kernel, {"stuck", "chan receive", core}});
}
static constexpr auto as_it_is = [](tx_t tx) { return tx; };
LEASH_TEST_OF_LEAKS(Buffer, AFullOne) {
  co_await in_a_buffer<tx_t>([] { return channel<tx_t>(1); }, as_it_is);
}
LEASH_TEST_OF_LEAKS(Buffer, OneWithRoomForMore) {
  co_await in_a_buffer<tx_t>([] { return channel<tx_t>(8); }, as_it_is);
}
LEASH_TEST_OF_LEAKS(Buffer, AnUnboundedOne) {
  co_await in_a_buffer<tx_t>([] { return channel<tx_t>(unbounded); }, as_it_is);
}
LEASH_TEST_OF_LEAKS(Buffer, AOneshot) {
  co_await in_a_buffer<tx_t>([] { return oneshot<tx_t>(); }, as_it_is);
}
LEASH_TEST_OF_LEAKS(Buffer, OfSharedBlocksWithEndsInside) {
  co_await in_a_buffer<shared<tx_t>>([] { return channel<shared<tx_t>>(4); },
                                     [](tx_t tx) { return share<tx_t>(std::move(tx)); });
}
LEASH_TEST_OF_LEAKS(Buffer, OfVectorsOfEnds) {
  co_await in_a_buffer<tracked_vector<tx_t>>([] { return channel<tracked_vector<tx_t>>(unbounded); },
                                             [](tx_t tx) {
                                               tracked_vector<tx_t> v;
                                               v.push_back(std::move(tx));
                                               return v;
                                             });
}
LEASH_TEST_OF_LEAKS(Buffer, OfAChannelInABlock) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto [tx, rx] = channel<int>();
            auto both = share<ends<tx_t>>(channel<tx_t>(unbounded));
            EXPECT_TRUE(co_await both->first.send(std::move(tx)));
            if (twin) s.go(named("keeper"), keep_asleep<shared<ends<tx_t>>>, both);
            s.go(named("stuck"), receive_holding<shared<ends<tx_t>>>, std::move(rx), std::move(both));
          });
        },
        twin ? std::vector<subject>{live_kernel, {"keeper", "sleep", live}, {"stuck", "chan receive", live}}
             : std::vector<subject>{waiting_kernel, {"stuck", "chan receive", core}});
}
LEASH_TEST_OF_LEAKS(Buffer, AChainOfBuffers) {
  // The sender lies in a buffer, the receiver of that in the next one's, and so on.
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto [tx, rx] = channel<int>();
            auto [in1, out1] = channel<tx_t>(2);
            auto [in2, out2] = channel<receiver<tx_t>>(2);
            auto [in3, out3] = channel<receiver<receiver<tx_t>>>(2);
            using last = receiver<receiver<receiver<tx_t>>>;
            EXPECT_TRUE(co_await in1.send(std::move(tx)));
            EXPECT_TRUE(co_await in2.send(std::move(out1)));
            EXPECT_TRUE(co_await in3.send(std::move(out2)));
            if (twin) s.go(named("keeper"), keep_asleep<last>, out3.dup());
            s.go(named("stuck"), receive_holding<last>, std::move(rx), std::move(out3));
          });
        },
        twin ? std::vector<subject>{live_kernel, {"keeper", "sleep", live}, {"stuck", "chan receive", live}}
             : std::vector<subject>{waiting_kernel, {"stuck", "chan receive", core}});
}
LEASH_TEST_OF_LEAKS(Buffer, AReceiverThatLiesInItsOwnChannel) {
  // Nobody can take it out any more; the sender that waits for room waits for ever.
  struct self {
    receiver<self> rx;
  };
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto [tx, rx] = channel<self>(1);
            if (twin) s.go(named("keeper"), keep_asleep<receiver<self>>, rx.dup());
            EXPECT_TRUE(co_await tx.send(self{std::move(rx)}));
            s.go(named("stuck"), [](sender<self> tx) -> task<> { (void)co_await tx.send(self{}); }, std::move(tx));
          });
        },
        twin ? std::vector<subject>{live_kernel, {"keeper", "sleep", live}, {"stuck", "chan send", live}}
             : std::vector<subject>{waiting_kernel, {"stuck", "chan send", core}});
}
LEASH_TEST_OF_LEAKS(Buffer, OfAChannelWhoseEndsLieInItToo) {
  struct both {
    receiver<both> rx;
    sender<both> end;
    tx_t tx;
  };
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto [tx, rx] = channel<int>();
            auto [in, out] = channel<both>(1);
            if (twin) s.go(named("keeper"), keep_asleep<receiver<both>>, out.dup());
            auto end = in.dup();
            EXPECT_TRUE(co_await in.send(both{std::move(out), std::move(end), std::move(tx)}));
            s.go(named("stuck"), receive_holding<int>, std::move(rx), 0);
          });
        },
        twin ? std::vector<subject>{live_kernel, {"keeper", "sleep", live}, {"stuck", "chan receive", live}}
             : std::vector<subject>{waiting_kernel, {"stuck", "chan receive", core}});
}
LEASH_TEST_OF_LEAKS(Buffer, OfTwoChannelsWhoseEndsLieInEachOther) {
  struct other {
    receiver<other> rx;
    tx_t tx;
  };
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto [tx, rx] = channel<int>();
            auto [in1, out1] = channel<other>(1);
            auto [in2, out2] = channel<other>(1);
            if (twin) s.go(named("keeper"), keep_asleep<receiver<other>>, out1.dup());
            EXPECT_TRUE(co_await in1.send(other{std::move(out2), tx_t()}));
            EXPECT_TRUE(co_await in2.send(other{std::move(out1), std::move(tx)}));
            s.go(named("stuck"), receive_holding<int>, std::move(rx), 0);
          });
        },
        twin ? std::vector<subject>{live_kernel, {"keeper", "sleep", live}, {"stuck", "chan receive", live}}
             : std::vector<subject>{waiting_kernel, {"stuck", "chan receive", core}});
}
LEASH_TEST_OF_LEAKS(Buffer, AnEndInASendThatWaits) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto [tx, rx] = channel<int>();
            auto [in, out] = channel<tx_t>(1);
            EXPECT_TRUE(co_await in.send(tx_t()));
            if (twin) s.go(named("keeper"), keep_asleep<receiver<tx_t>>, out.dup());
            s.go(
                named("sender"), [](sender<tx_t> in, tx_t tx) -> task<> { (void)co_await in.send(std::move(tx)); },
                std::move(in), std::move(tx));
            s.go(named("stuck"), receive_holding<receiver<tx_t>>, std::move(rx), std::move(out));
          });
        },
        twin ? std::vector<subject>{live_kernel,
                                    {"keeper", "sleep", live},
                                    {"sender", "chan send", live},
                                    {"stuck", "chan receive", live}}
             : std::vector<subject>{waiting_kernel, {"sender", "chan send", core}, {"stuck", "chan receive", core}});
}

// ---- select over a span
// ----------------------------------------------------------------------------------------------
task<> select_of(std::vector<rx_t> all) { (void)co_await select(all); }
task<> span_kernel(std::size_t n, bool twin) {
  co_await with_scope([=](scope& s) -> task<> {
    std::vector<rx_t> all;
    auto own = share<tracked_vector<tx_t>>();
    for (std::size_t i = 0; i < n; ++i) {
      auto [tx, rx] = channel<int>();
      if (twin && i + 1 == n) s.go(named("keeper"), keep_asleep<tx_t>, std::move(tx));
      own->push_back(std::move(tx));
      all.push_back(std::move(rx));
    }
    s.go(
        named("selecting"),
        [](std::vector<rx_t> all, shared<tracked_vector<tx_t>>) -> task<> { co_await select_of(std::move(all)); },
        std::move(all), std::move(own));
    co_return;
  });
}
LEASH_TEST_OF_LEAKS(Select, OverASpanOfDeadChannels) {
  for (std::size_t n : {1u, 2u, 100u}) {
    const char* wait = n == 1 ? "chan receive" : "select";
    co_await examine([=] { return span_kernel(n, false); }, {waiting_kernel, {"selecting", wait, core}});
    co_await examine([=] { return span_kernel(n, true); },
                     {live_kernel, {"keeper", "sleep", live}, {"selecting", wait, live}});
  }
}
LEASH_TEST_OF_LEAKS(Select, OverNothingAtAll) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          s.go(named("selecting"), select_of, std::vector<rx_t>());
          s.go(named("selecting"), select_of, std::vector<rx_t>(3));
          co_return;
        });
      },
      {waiting_kernel, {"selecting", "select", core, leak_grade::proven, 2}});
}
LEASH_TEST(Select, OverMoreThanCanBeCounted) {
  std::vector<rx_t> all(65'536);
  bool refused = false;
  try {
    (void)co_await select(all);
  } catch (const std::length_error&) {
    refused = true;
  }
  EXPECT_TRUE(refused);
}

}  // namespace leash::test::buffers_tests
