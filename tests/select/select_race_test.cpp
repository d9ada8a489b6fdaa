// Selects against each other, against cancellation, and against chance.
#include <array>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

// Chi-square of counts that should be even. With 3 degrees of freedom 40 is exceeded once in 1e8 runs.
double unevenness(const std::array<int, 4>& counts, int trials) {
  const double expected = double(trials) / counts.size();
  double sum = 0;
  for (int c : counts) sum += (c - expected) * (c - expected) / expected;
  return sum;
}

LEASH_TEST_REAL(SelectRace, the_choice_among_ready_receives_is_uniform) {
  constexpr int trials = 40000;
  std::array<int, 4> counts{};
  std::vector<receiver<int>> ended;
  for (int i = 0; i < 4; ++i) ended.push_back(std::move(channel<int>().second));  // always ready: no sender is left
  for (int i = 0; i < trials; ++i)
    ++counts[(co_await select(ended[0].recv(), ended[1].recv(), ended[2].recv(), ended[3].recv())).index()];
  EXPECT_LT(unevenness(counts, trials), 40.0);
  counts = {};
  for (int i = 0; i < trials; ++i) ++counts[(co_await select(std::span(ended))).index];
  EXPECT_LT(unevenness(counts, trials), 40.0) << "over a span";
}

LEASH_TEST_REAL(SelectRace, the_choice_among_ready_cases_of_all_kinds_is_uniform) {
  constexpr int trials = 40000;
  std::array<int, 4> counts{};
  auto [tx, rx] = channel<int>(unbounded);
  auto [out, in] = channel<int>(unbounded);
  mutex m;
  event ev;
  ev.set();
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(co_await tx.send(i));
  for (int i = 0; i < trials; ++i) {
    const auto r = (co_await select(m.lock(), rx.recv(), ev.wait(), out.send(i))).index();
    if (r == 1) EXPECT_TRUE(co_await tx.send(i));
    ++counts[r];
  }
  EXPECT_LT(unevenness(counts, trials), 40.0);
  EXPECT_EQ(in.len(), std::size_t(counts[3]));
  auto chosen = [&]() -> std::size_t { return try_select(m.lock(), rx.recv(), ev.wait(), out.send(1))->index(); };
  counts = {};
  for (int i = 0; i < trials; ++i) {
    const auto r = chosen();
    if (r == 1) EXPECT_TRUE(co_await tx.send(i));
    ++counts[r];
  }
  EXPECT_LT(unevenness(counts, trials), 40.0) << "in try_select";
}

struct sums {
  long sent = 0, received = 0;
  int sends = 0, receives = 0;
};

// Two selects that face each other: whichever way a value goes, one sends and the other receives it.
task<sums> face(sender<int> tx, receiver<int> rx, int first, int rounds) {
  sums s;
  for (int i = 0; i < rounds; ++i) {
    const int v = first + i;
    auto r = co_await select(tx.send(v), rx.recv());
    if (r.index() == 0) {
      EXPECT_TRUE(std::get<0>(r));
      s.sent += v;
      ++s.sends;
    } else {
      s.received += std::get<1>(r).value();
      ++s.receives;
    }
  }
  co_return s;
}

LEASH_TEST(SelectRace, two_selects_facing_each_other_lose_nothing) {
  const int rounds = long_run() ? 200000 : 3000;
  auto [ab, ba_in] = channel<int>();
  auto [ba, ab_in] = channel<int>();
  auto [a, b] = co_await gather(face(std::move(ab), std::move(ab_in), 1, rounds),
                                face(std::move(ba), std::move(ba_in), 1'000'000, rounds));
  EXPECT_EQ(a.sent, b.received);
  EXPECT_EQ(b.sent, a.received);
  EXPECT_EQ(a.sends, b.receives);
  EXPECT_EQ(b.sends, a.receives);
}

LEASH_TEST(SelectRace, a_ring_of_selects_loses_nothing) {
  constexpr int n = 5, each = 300;
  std::vector<sender<int>> tx(n);
  std::vector<receiver<int>> rx(n);
  for (int i = 0; i < n; ++i) {
    auto [t, r] = channel<int>();
    tx[i] = std::move(t);
    rx[(i + 1) % n] = std::move(r);
  }
  std::atomic<long> sent = 0, received = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < n; ++i) {
      s.go(
          [&](sender<int> to, receiver<int> from, int id) -> task<> {
            bool open = true;
            for (int left = each; left > 0;) {
              auto r = co_await select(to.send(id * each + left), from.recv());
              if (r.index() == 1) {
                if (auto v = std::get<1>(r)) {
                  received += *v;
                } else {  // the neighbour has sent all: from here on a disabled case
                  from = receiver<int>();
                  open = false;
                }
              } else if (std::get<0>(r)) {
                sent += id * each + left--;
              } else {
                ADD_FAILURE() << "the receiver went before its sender";
                co_return;
              }
            }
            to.drop();
            while (open) {
              auto v = co_await from.recv();
              received += v.value_or(0);
              open = v.has_value();
            }
          },
          std::move(tx[i]), std::move(rx[i]), i);
    }
    co_return;
  });
  EXPECT_EQ(sent, received);
  EXPECT_EQ(sent, long(n * each) * (n * each + 1) / 2);
}

LEASH_TEST(SelectRace, many_selects_on_the_same_channels_take_each_value_once) {
  constexpr int takers = 4, per_channel = 500;
  const int before = counted::alive();
  auto [a, a_rx] = channel<counted>();
  auto [b, b_rx] = channel<counted>(2);
  std::atomic<int> got = 0;
  std::atomic<long> sum = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int t = 0; t < takers; ++t) {
      s.go(
          [&](receiver<counted> x, receiver<counted> y) -> task<> {
            for (bool x_open = true, y_open = true; x_open || y_open;) {
              auto r = co_await select(x.recv(), y.recv());
              auto& v = r.index() == 0 ? std::get<0>(r) : std::get<1>(r);
              if (v) {
                ++got;
                sum += v->value();
              } else if (r.index() == 0) {
                x_open = false;
                x.drop();
              } else {
                y_open = false;
                y.drop();
              }
            }
          },
          a_rx.dup(), b_rx.dup());
    }
    a_rx.drop();
    b_rx.drop();
    auto feed = [](sender<counted> tx) -> task<> {
      for (int i = 1; i <= per_channel; ++i) EXPECT_TRUE(co_await tx.send(counted(i)));
    };
    s.go(feed, std::move(a));
    s.go(feed, std::move(b));
    co_return;
  });
  EXPECT_EQ(got, 2 * per_channel);
  EXPECT_EQ(sum, long(per_channel) * (per_channel + 1));
  EXPECT_EQ(counted::alive(), before);
}

LEASH_TEST(SelectRace, a_cancelled_select_neither_loses_nor_doubles_a_value) {
  const int rounds = long_run() ? 20000 : 300;
  for (int i = 0; i < rounds; ++i) {
    auto [tx, rx] = channel<int>();
    auto [out, in] = channel<int>(1);
    cancel_source cs;
    bool taken = false, accepted = false;
    EXPECT_TRUE(co_await out.send(0));
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> {
        co_await with_cancel(cs, [&]() -> task<> {
          auto r = co_await select(rx.recv(), out.send(1));
          taken = r.index() == 0;
        });
      });
      s.go([&]() -> task<> {
        co_await yield();
        accepted = tx.try_send(1) == try_result::done;
      });
      s.go(
          [&](int spin) -> task<> {
            for (int n = spin % 4; n > 0; --n) co_await yield();
            cs.cancel("race");
          },
          i);
      co_return;
    });
    CO_ASSERT_EQ(taken, accepted);
    EXPECT_EQ(in.try_recv(), 0);
    EXPECT_EQ(in.try_recv(), std::nullopt);
  }
}

}  // namespace
}  // namespace leash
