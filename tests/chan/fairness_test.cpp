// Nobody starves: not next to a ping-pong, not next to a spinner on operations that are always ready, not in a queue.
#include <algorithm>
#include <array>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

// Ends a spin: when the other goroutine got its turn, or after long enough to call it starved.
class patience {
 public:
  explicit patience(const std::atomic<bool>& done) : done_(done) {}
  bool over() {
    if (done_) return true;
    if (++spins_ % 1024 != 0) return false;
    return std::chrono::steady_clock::now() - start_ > 10s;
  }

 private:
  const std::atomic<bool>& done_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  unsigned spins_ = 0;
};

// `spin` goes on until `done`, which the bystander must get to set.
template <class Spin>
task<> bystander_runs_beside(Spin spin) {
  std::atomic<bool> done = false;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      for (int i = 0; i < 3; ++i) co_await yield();
      done = true;
    });
    co_await spin(done);
  });
}
#define EXPECT_BYSTANDER_RAN(done) EXPECT_TRUE(done) << "starved"

LEASH_TEST(ChanFairness, a_bystander_runs_beside_a_ping_pong) {
  co_await bystander_runs_beside([](std::atomic<bool>& done) -> task<> {
    auto [ping_tx, ping_rx] = channel<int>();
    auto [pong_tx, pong_rx] = channel<int>();
    co_await with_scope([&](scope& s) -> task<> {
      s.go(
          [](receiver<int> rx, sender<int> tx) -> task<> {
            while (auto v = co_await rx.recv())
              if (!co_await tx.send(*v)) co_return;
          },
          std::move(ping_rx), std::move(pong_tx));
      for (patience p(done); !p.over();) {
        EXPECT_TRUE(co_await ping_tx.send(1));
        EXPECT_EQ(co_await pong_rx.recv(), 1);
      }
      ping_tx.drop();
    });
    EXPECT_BYSTANDER_RAN(done);
  });
}

LEASH_TEST(ChanFairness, sends_to_a_dead_channel_do_not_starve_their_worker) {
  co_await bystander_runs_beside([](std::atomic<bool>& done) -> task<> {
    auto [tx, rx] = channel<int>();
    rx.drop();
    for (patience p(done); !p.over();) EXPECT_FALSE(co_await tx.send(1));
    EXPECT_BYSTANDER_RAN(done);
  });
}

LEASH_TEST(ChanFairness, receives_from_an_ended_channel_do_not_starve_their_worker) {
  co_await bystander_runs_beside([](std::atomic<bool>& done) -> task<> {
    auto [tx, rx] = channel<int>();
    tx.drop();
    for (patience p(done); !p.over();) EXPECT_EQ(co_await rx.recv(), std::nullopt);
    EXPECT_BYSTANDER_RAN(done);
  });
}

LEASH_TEST(ChanFairness, a_buffer_filled_and_emptied_by_one_does_not_starve_its_worker) {
  co_await bystander_runs_beside([](std::atomic<bool>& done) -> task<> {
    auto [tx, rx] = channel<int>(1);
    for (patience p(done); !p.over();) {
      EXPECT_TRUE(co_await tx.send(1));
      EXPECT_EQ(co_await rx.recv(), 1);
    }
    EXPECT_BYSTANDER_RAN(done);
  });
}

LEASH_TEST(ChanFairness, an_always_ready_select_does_not_starve_its_worker) {
  co_await bystander_runs_beside([](std::atomic<bool>& done) -> task<> {
    auto [tx, rx] = channel<int>();
    tx.drop();
    for (patience p(done); !p.over();) EXPECT_EQ((co_await select(rx.recv(), sleep(1h))).index(), 0u);
    EXPECT_BYSTANDER_RAN(done);
  });
}

LEASH_TEST_REAL(ChanFairness, timers_fire_beside_a_spinner) {
  std::atomic<bool> done = false;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      co_await sleep(1us);
      done = true;
    });
    auto [tx, rx] = channel<int>();
    rx.drop();
    for (patience p(done); !p.over();) EXPECT_FALSE(co_await tx.send(1));
    EXPECT_BYSTANDER_RAN(done);
  });
}

// Contenders in one queue get comparable shares. On one worker each must get a tenth of its even share; on several the
// operating system may take a worker's processor away for longer than the whole of that, so there it is enough that
// nobody is starved.
constexpr int contenders = 4, total = 20000, a_tenth = total / contenders / 10;
using shares = std::array<std::atomic<int>, contenders>;

bool all_served(const shares& share) {
  return std::all_of(share.begin(), share.end(), [](const auto& n) { return n >= a_tenth; });
}

task<> contending_senders(std::size_t capacity, bool several_workers) {
  auto [tx, rx] = channel<int>(capacity);
  shares share{};
  co_await with_scope([&](scope& s) -> task<> {
    for (int id = 0; id < contenders; ++id) {
      s.go(
          [](sender<int> to, int id) -> task<> {
            while (co_await to.send(id)) {
            }
          },
          tx.dup(), id);
    }
    tx.drop();
    const auto end = now() + longest_wait;
    for (int i = 0; i < total || (several_workers && !all_served(share) && now() < end); ++i)
      ++share[std::size_t((co_await rx.recv()).value())];
    rx.drop();
  });
  EXPECT_TRUE(all_served(share)) << "capacity " << capacity;
}

task<> contending_receivers(bool several_workers) {
  auto [tx, rx] = channel<int>();
  shares share{};
  co_await with_scope([&](scope& s) -> task<> {
    for (int id = 0; id < contenders; ++id) {
      s.go(
          [&share](receiver<int> from, int id) -> task<> {
            while (co_await from.recv()) ++share[std::size_t(id)];
          },
          rx.dup(), id);
    }
    rx.drop();
    const auto end = now() + longest_wait;
    for (int i = 0; i < total || (several_workers && !all_served(share) && now() < end); ++i)
      EXPECT_TRUE(co_await tx.send(i));
    tx.drop();
  });
  EXPECT_TRUE(all_served(share));
}

TEST(ChanFairness, contending_senders_get_their_share) {
  for (std::size_t capacity : {0, 4}) run_at(1, [=] { return contending_senders(capacity, false); });
}
TEST(ChanFairness, contending_receivers_get_their_share) {
  run_at(1, [] { return contending_receivers(false); });
}
LEASH_TEST_REAL(ChanFairness, no_contending_sender_starves) {
  for (std::size_t capacity : {0, 4}) co_await contending_senders(capacity, true);
}
LEASH_TEST_REAL(ChanFairness, no_contending_receiver_starves) { co_await contending_receivers(true); }

}  // namespace
}  // namespace leash
