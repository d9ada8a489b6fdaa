// What happens to the values themselves: moved as little as needed, never lost, never doubled, never under the lock.
#include <array>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

LEASH_TEST(ChanValues, move_only_values_pass_through) {
  for (std::size_t capacity : {0, 1, 4}) {
    auto [tx, rx] = channel<std::unique_ptr<int>>(capacity);
    co_await with_scope([&](scope& s) -> task<> {
      s.go(
          [](sender<std::unique_ptr<int>> to) -> task<> {
            for (int i = 0; i < 50; ++i) EXPECT_TRUE(co_await to.send(std::make_unique<int>(i)));
          },
          std::move(tx));
      int next = 0;
      while (auto p = co_await rx.recv()) EXPECT_EQ(**p, next++);
      EXPECT_EQ(next, 50);
    });
  }
}

struct throws_when_copied {
  explicit throws_when_copied(int v) : value(v) {}
  throws_when_copied(const throws_when_copied& o) : value(o.value) {
    if (value < 0) throw std::runtime_error("copy");
  }
  throws_when_copied(throws_when_copied&& o) noexcept : value(o.value) {}
  throws_when_copied& operator=(throws_when_copied&&) noexcept = default;
  int value;
};

LEASH_TEST(ChanValues, a_copy_that_throws_leaves_the_channel_as_it_was) {
  for (std::size_t capacity : {0, 2}) {
    auto [tx, rx] = channel<throws_when_copied>(capacity);
    const throws_when_copied good(1), bad(-1);
    co_await with_scope([&](scope& s) -> task<> {
      auto h = s.go([&]() -> task<> {
        EXPECT_THROW((void)co_await tx.send(bad), std::runtime_error);
        EXPECT_TRUE(co_await tx.send(good));
        EXPECT_THROW((void)co_await tx.send(bad), std::runtime_error);
        EXPECT_TRUE(co_await tx.send(throws_when_copied(-2)));  // moved, hence fine
      });
      EXPECT_EQ((co_await rx.recv()).value().value, 1);
      EXPECT_EQ((co_await rx.recv()).value().value, -2);
      EXPECT_TRUE(co_await h.join());
    });
    EXPECT_EQ(rx.len(), 0u);
  }
}

struct alignas(64) large {
  explicit large(unsigned seed) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(this) % 64, 0u);
    std::iota(words.begin(), words.end(), seed);
  }
  bool holds(unsigned seed) const {
    for (unsigned w : words)
      if (w != seed++) return false;
    return reinterpret_cast<std::uintptr_t>(this) % 64 == 0;
  }
  std::array<unsigned, 512> words;
};

LEASH_TEST(ChanValues, large_and_overaligned_values_arrive_whole) {
  for (std::size_t capacity : {0, 3}) {
    auto [tx, rx] = channel<large>(capacity);
    co_await with_scope([&](scope& s) -> task<> {
      s.go(
          [](sender<large> to) -> task<> {
            for (unsigned i = 0; i < 20; ++i) EXPECT_TRUE(co_await to.send(large(i)));
          },
          std::move(tx));
      for (unsigned i = 0; i < 20; ++i) EXPECT_TRUE((co_await rx.recv()).value().holds(i));
    });
  }
}

LEASH_TEST(ChanValues, ends_travel_through_channels) {
  struct request {
    request(int v, sender<int> r) : value(v), reply(std::move(r)) {}
    int value;
    sender<int> reply;
  };
  auto [tx, rx] = channel<request>();
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        [](receiver<request> from) -> task<> {
          while (auto r = co_await from.recv()) EXPECT_TRUE(co_await r->reply.send(r->value * 2));
        },
        std::move(rx));
    for (int i = 0; i < 20; ++i) {
      auto [reply, answer] = channel<int>();
      EXPECT_TRUE(co_await tx.send(request(i, std::move(reply))));
      EXPECT_EQ(co_await answer.recv(), i * 2);
      EXPECT_EQ(co_await answer.recv(), std::nullopt);  // the server let go of the reply end
    }
    tx.drop();
  });
}

LEASH_TEST(ChanValues, an_end_left_in_a_dead_buffer_is_dropped) {
  auto [tx, rx] = channel<int>();
  auto [carry, carried] = channel<sender<int>>(1);
  EXPECT_TRUE(co_await carry.send(std::move(tx)));
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("rx"), [&]() -> task<> { EXPECT_EQ(co_await rx.recv(), std::nullopt); });
    EXPECT_TRUE(co_await parked("rx", "chan receive"));
    carried.drop();
    carry.drop();
  });
}

LEASH_TEST(ChanValues, every_value_is_destroyed_once) {
  const int before = counted::alive();
  for (std::size_t capacity : {0, 1, 5}) {
    auto [tx, rx] = channel<counted>(capacity);
    for (std::size_t i = 0; i < capacity; ++i) EXPECT_TRUE(co_await tx.send(counted(int(i))));
    EXPECT_EQ(counted::alive() - before, int(capacity));
    EXPECT_FALSE(co_await with_timeout(1ms, tx.send(counted(200))));
    EXPECT_EQ(counted::alive() - before, int(capacity));
    std::atomic<int> accepted = 0;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 3; ++i)
        s.go(named("tx"), [&](int i) -> task<> { accepted += co_await tx.send(counted(i)); }, 100 + i);
      EXPECT_TRUE(co_await parked("tx", "chan send", 3));
      EXPECT_EQ(counted::alive() - before, int(capacity) + 3);
      EXPECT_TRUE(co_await rx.recv());  // makes room for one of the three, or takes it
      rx.drop();
    });
    EXPECT_EQ(accepted, 1);
  }
  EXPECT_EQ(counted::alive(), before);
}

LEASH_TEST(ChanValues, values_left_in_a_buffer_die_with_the_channel) {
  const int before = counted::alive();
  {
    auto [tx, rx] = channel<counted>(4);
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(co_await tx.send(counted(i)));
    tx.drop();
    EXPECT_EQ(counted::alive() - before, 4);
  }
  EXPECT_EQ(counted::alive(), before);
  {
    auto [tx, rx] = channel<counted>(unbounded);
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(co_await tx.send(counted(i)));
    rx.drop();
  }
  EXPECT_EQ(counted::alive(), before);
}

// A value whose move and destructor use the channel that carries it: any user code under the lock would hang here.
struct nosy {
  explicit nosy(sender<nosy>* c = nullptr) noexcept : channel(c) {}
  nosy(nosy&& o) noexcept : channel(std::exchange(o.channel, nullptr)) { look(); }
  nosy& operator=(nosy&& o) noexcept {
    channel = std::exchange(o.channel, nullptr);
    look();
    return *this;
  }
  ~nosy() {
    look();
    auto* c = std::exchange(channel, nullptr);
    if (c && !channel_is_gone) (void)c->try_send(nosy());
  }
  void look() const noexcept {
    if (!channel || channel_is_gone) return;
    (void)channel->len();
    ++looks;
  }
  sender<nosy>* channel;
  static inline std::atomic<int> looks{0};
  static inline std::atomic<bool> channel_is_gone{false};
};

LEASH_TEST(ChanValues, values_may_use_their_channel_while_they_are_moved_and_destroyed) {
  const int before = nosy::looks;
  for (std::size_t capacity : {0, 1, 3}) {
    nosy::channel_is_gone = false;
    auto [tx, rx] = channel<nosy>(capacity);
    co_await with_scope([&](scope& s) -> task<> {
      auto h = s.go(named("tx"), [&]() -> task<> {
        for (int i = 0; i < 20; ++i) (void)co_await tx.send(nosy(&tx));
      });
      for (int i = 0; i < 10; ++i) EXPECT_TRUE(co_await rx.recv());
      EXPECT_TRUE(co_await parked("tx", "chan send"));
      rx.drop();  // fails the parked send, and may destroy what is buffered
      EXPECT_TRUE(co_await h.join());
    });
    nosy::channel_is_gone = true;  // what dies with the last end has nothing to look at
  }
  EXPECT_GT(nosy::looks, before);
}

}  // namespace
}  // namespace leash
