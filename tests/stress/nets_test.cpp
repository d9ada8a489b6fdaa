// Random nets of channels: every value that enters comes out once, whatever selects, timeouts and drops happen between.
#include <vector>

#include "stress/stress.hpp"

namespace leash {
namespace {
using namespace test;

using port_in = receiver<counted>;
using port_out = sender<counted>;

struct turmoil {
  turmoil(unsigned seed, bool timeouts) : random(seed), timeouts(timeouts) {}
  nanoseconds moment() { return std::chrono::microseconds(random() % 40); }
  bool impatient() { return timeouts && random() % 4 == 0; }
  std::mt19937 random;
  bool timeouts;
};

// Sends to one of two; a wait that is cut short is tried again and must have left the value alone.
task<bool> pass_on(port_out& a, port_out& b, counted v, turmoil& t) {
  for (;;) {
    EXPECT_TRUE(v.holds());
    if (t.impatient()) {
      if (auto sent = co_await with_timeout(t.moment(), (t.random() % 2 ? a : b).send(std::move(v)))) co_return *sent;
    } else {
      auto r = co_await select(a.send(std::move(v)), b.send(std::move(v)));
      co_return r.index() == 0 ? std::get<0>(r) : std::get<1>(r);
    }
  }
}

task<> stage(port_in x, port_in y, port_out a, port_out b, unsigned seed, bool timeouts) {
  turmoil t(seed, timeouts);
  for (bool x_open = true, y_open = true; x_open || y_open;) {
    std::size_t from;
    std::optional<counted> v;
    if (t.impatient()) {
      from = x_open && (!y_open || t.random() % 2) ? 0 : 1;
      auto r = co_await with_timeout(t.moment(), (from == 0 ? x : y).recv());
      if (!r) continue;
      v = std::move(*r);
    } else {
      auto r = co_await select(x.recv(), y.recv());
      from = r.index();
      v = from == 0 ? std::get<0>(std::move(r)) : std::get<1>(std::move(r));
    }
    if (v) {
      EXPECT_TRUE(co_await pass_on(a, b, std::move(*v), t));
    } else if (from == 0) {
      x_open = false;
      x.drop();
    } else {
      y_open = false;
      y.drop();
    }
    if (t.random() % 32 == 0) co_await yield();
  }
}

task<> net(unsigned seed, bool timeouts) {
  constexpr int layers = 3, width = 3, sources = 4, each = 60;
  std::mt19937 random(seed);
  const int before = counted::alive();
  tally all(sources * each);
  co_await with_scope([&](scope& s) -> task<> {
    std::vector<port_out> out(width);
    std::vector<port_in> in(width);
    auto fresh = [&] {
      for (int i = 0; i < width; ++i) std::tie(out[i], in[i]) = random_channel<counted>(random);
    };
    fresh();
    for (int i = 0; i < sources; ++i) {
      s.go(
          [](port_out to, int first) -> task<> {
            for (int n = 0; n < each; ++n) EXPECT_TRUE(co_await to.send(counted(first + n)));
          },
          out[random() % width].dup(), i* each);
    }
    for (int layer = 0; layer < layers; ++layer) {
      std::vector<port_in> above = std::move(in);
      in = std::vector<port_in>(width);
      fresh();  // drops the senders of the layer above: its goroutines hold the rest
      for (int i = 0; i < width + 1; ++i) {
        s.go(stage, above[i % width].dup(), above[random() % width].dup(), out[random() % width].dup(),
             out[random() % width].dup(), unsigned(random()), timeouts);
      }
    }
    for (auto& o : out) o.drop();
    for (port_in& last : in) {
      s.go(
          [&all](port_in from) -> task<> {
            while (auto v = co_await from.recv()) all.arrived(v->value());
          },
          std::move(last));
    }
    co_return;
  });
  EXPECT_EQ(all.count(), std::size_t(sources * each));
  EXPECT_EQ(counted::alive(), before);
}

TEST(StressNets, every_value_arrives_once) {
  stress([](unsigned seed) { return net(seed, false); });
}
TEST(StressNets, every_value_arrives_once_though_waits_are_cut_short) {
  stress([](unsigned seed) { return net(seed, true); });
}

// Children wait in every way while their scope is cancelled: what was accepted is what was received or left behind.
task<> churn(unsigned seed) {
  std::mt19937 random(seed);
  const int before = counted::alive();
  std::atomic<int> accepted = 0, received = 0;
  {
    auto [tx, rx] = random_channel<counted>(random);
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 12; ++i) {
        if (random() % 2) {
          s.go(
              [&accepted](port_out to, int first) -> task<> {
                for (int n = 0; n < 2000; ++n) {
                  if (!co_await to.send(counted(first + n))) break;
                  ++accepted;
                }
              },
              tx.dup(), i * 2000);
        } else {
          s.go(
              [&received](port_in from) -> task<> {
                for (int n = 0; n < 2000; ++n) {
                  auto v = co_await from.recv();
                  if (!v) break;
                  EXPECT_TRUE(v->holds());
                  ++received;
                }
              },
              rx.dup());
        }
      }
      co_await sleep(std::chrono::microseconds(random() % 300));
      if (random() % 4 == 0)
        tx.close();
      else
        s.cancel("enough");
    });
    while (rx.try_recv()) ++received;
    EXPECT_EQ(accepted, received);
  }
  EXPECT_EQ(counted::alive(), before);
}
TEST(StressNets, what_was_accepted_was_received_though_all_are_cancelled) { stress(churn); }

// Ends created, duplicated, passed through channels and dropped at random; all receivers see the end.
task<> ends_on_the_move(unsigned seed) {
  std::mt19937 random(seed);
  std::atomic<int> sent = 0, received = 0, ended = 0;
  constexpr int channels = 8, carriers = 4;
  co_await with_scope([&](scope& s) -> task<> {
    auto [carry, carried] = random_channel<sender<int>>(random);
    for (int i = 0; i < carriers; ++i) {
      s.go(
          [&sent](sender<sender<int>> on, receiver<sender<int>> from, unsigned seed) -> task<> {
            std::mt19937 random(seed);
            for (int n = 0; n < 30; ++n) {
              auto end = co_await with_timeout(200us, from.recv());
              if (!end || !*end) break;
              sender<int> tx = std::move(**end);
              if (co_await tx.send(n)) ++sent;
              if (random() % 3 == 0) continue;  // dropped
              (void)co_await with_timeout(200us, on.send(random() % 2 ? tx.dup() : std::move(tx)));
            }
          },
          carry.dup(), carried.dup(), unsigned(random()));
    }
    for (int i = 0; i < channels; ++i) {
      auto [tx, rx] = random_channel<int>(random);
      s.go(
          [&](receiver<int> from) -> task<> {
            while (co_await from.recv()) ++received;
            ++ended;
          },
          std::move(rx));
      (void)co_await with_timeout(1ms, carry.send(std::move(tx)));
    }
  });
  EXPECT_EQ(sent, received);
  EXPECT_EQ(ended, channels);
}
TEST(StressNets, receivers_see_the_end_wherever_their_senders_went) { stress(ends_on_the_move); }

}  // namespace
}  // namespace leash
