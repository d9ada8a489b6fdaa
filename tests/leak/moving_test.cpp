// The proof under attack: the last ends of a channel move between frames, blocks, containers and buffers as fast as they
// can while the detection runs all the time. In every round somebody out of sight still wakes the waiter in the end.
#include <memory>

#include "attack.hpp"

namespace leash::test::moving_tests {

using tx_t = sender<int>;

/// Where a sender goes that nobody can see.
struct hidden {
  std::unique_ptr<tx_t> tx;
  std::atomic<bool> there{false};
  void keep(tx_t t) {
    tx = std::make_unique<tx_t>(std::move(t));
    there = true;
  }
};

task<> wait_for_one(receiver<int> rx) { (void)co_await rx.recv(); }

/// All places that the proof looks into.
struct places {
  struct slot {
    tx_t tx;
  };
  tx_t plain[2];
  shared<slot> block[2]{share<slot>(), share<slot>()};
  shared<tracked_vector<tx_t>> list = share<tracked_vector<tx_t>>();
  std::pair<sender<tx_t>, receiver<tx_t>> buffer[2]{channel<tx_t>(1), channel<tx_t>(unbounded)};
  std::pair<sender<shared<slot>>, receiver<shared<slot>>> blocks = channel<shared<slot>>(4);

  places() {}
  places(places&&) = default;
  /// Other handles to the same.
  places more() const {
    places p{no_places()};
    for (int i : {0, 1}) {
      p.block[i] = block[i];
      p.buffer[i] = {buffer[i].first.dup(), buffer[i].second.dup()};
    }
    p.list = list;
    p.blocks = {blocks.first.dup(), blocks.second.dup()};
    return p;
  }
  tx_t take(unsigned where) {
    switch (where % 8) {
      case 0:
      case 1:
        return std::move(plain[where % 2]);
      case 2:
      case 3:
        return std::move(block[where % 2]->tx);
      case 4:
      case 5:
        return buffer[where % 2].second.try_recv().value_or(tx_t());
      case 6: {
        if (list->empty()) return {};
        tx_t t = std::move(list->back());
        list->pop_back();
        return t;
      }
      default: {
        auto b = blocks.second.try_recv();
        return b ? std::move((*b)->tx) : tx_t();
      }
    }
  }
  void put(unsigned where, tx_t t) {
    switch (where % 8) {
      case 0:
      case 1:
        if (!plain[where % 2]) plain[where % 2] = std::move(t);
        break;
      case 2:
      case 3:
        if (!block[where % 2]->tx) block[where % 2]->tx = std::move(t);
        break;
      case 4:
      case 5:
        if (buffer[where % 2].first.try_send(std::move(t)) == try_result::full) block[0]->tx = std::move(t);
        break;
      case 6:
        list->push_back(std::move(t));
        break;
      default: {
        auto b = share<slot>(std::move(t));
        EXPECT_NE(blocks.first.try_send(std::move(b)), try_result::closed);
        if (b) block[1]->tx = std::move(b->tx);
      }
    }
  }
  /// Moves whatever is found from place to place; what it finds last comes back.
  tx_t stir(std::mt19937& random, int steps) {
    tx_t held;
    for (int i = 0; i < steps; ++i) {
      if (held) put(unsigned(random()), std::move(held));
      held = take(unsigned(random()));
    }
    for (unsigned i = 0; i < 8 && !held; ++i) held = take(i);
    return held;
  }

 private:
  struct no_places {};
  explicit places(no_places) : block{}, list(), buffer{}, blocks{} {}
};

/// The kernel holds all places and waits for its children; one of them waits for a value, the other one moves the end
/// about, hides it, and ends.
template <class Mover>
task<> kernel(tx_t tx, receiver<int> rx, Mover mover, std::shared_ptr<hidden> away, unsigned seed) {
  auto all = share<places>();
  all->put(seed, std::move(tx));
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("waiter"), wait_for_one, std::move(rx));
    mover(s, all, away, seed);
    co_return;
  });
}

template <class Mover>
void attack_with(Mover mover) {
  attack([=](std::mt19937& random) -> task<> {
    const unsigned seed = unsigned(random());
    auto away = std::make_shared<hidden>();
    auto second = std::make_shared<hidden>();
    auto [tx, rx] = channel<int>();
    if (seed % 2 == 0) second->keep(tx.dup());  // then one that is found twice would hide this one
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("kernel"), kernel<Mover>, std::move(tx), std::move(rx), mover, away, seed);
      while (!away->there) co_await yield();
      if (seed % 3 == 0) co_await sleep(seed % 2 == 0 ? 30us : 2ms);  // a pass comes to its end
      away->tx->drop();
      if (second->tx) second->tx->drop();
    });
  });
}

TEST(Attack, AChildBorrowsAllPlacesAndEnds) {
  attack_with([](scope& s, shared<places>& all, std::shared_ptr<hidden> away, unsigned seed) {
    s.go(
        named("mover"),
        [](shared<places>& all, std::shared_ptr<hidden> away, unsigned seed) -> task<> {
          std::mt19937 random(seed);
          away->keep(all->stir(random, int(seed % 200)));
          co_return;
        },
        std::ref(all), away, seed);
  });
}
TEST(Attack, AChildWithHandlesOfItsOwn) {
  attack_with([](scope& s, shared<places>& all, std::shared_ptr<hidden> away, unsigned seed) {
    s.go(
        named("mover"),
        [](shared<places> all, std::shared_ptr<hidden> away, unsigned seed) -> task<> {
          std::mt19937 random(seed);
          tx_t t;
          for (int i = 0; i < 20; ++i) {
            shared<places> copy = all;
            all = std::move(copy);
            if (t) all->put(unsigned(random()), std::move(t));
            t = all->stir(random, int(seed % 20));
          }
          all.reset();
          away->keep(std::move(t));
          co_return;
        },
        all, away, seed);
  });
}
TEST(Attack, AChildWithHandlesToEachPlace) {
  attack_with([](scope& s, shared<places>& all, std::shared_ptr<hidden> away, unsigned seed) {
    // Places in its frame are its own: what lies in the kernel's is taken out first.
    places more = all->more();
    for (int i : {0, 1}) more.plain[i] = std::move(all->plain[i]);
    s.go(
        named("mover"),
        [](places p, std::shared_ptr<hidden> away, unsigned seed) -> task<> {
          std::mt19937 random(seed);
          tx_t t;
          for (int i = 0; i < 10; ++i) {
            places again = p.more();
            if (t) again.put(2 + unsigned(random() % 6), std::move(t));
            t = p.stir(random, int(seed % 20));
          }
          away->keep(std::move(t));
          co_return;
        },
        std::move(more), away, seed);
  });
}
TEST(Attack, AStrangerThatLocksWeakHandles) {
  attack_with([](scope& s, shared<places>& all, std::shared_ptr<hidden> away, unsigned seed) {
    s.go(
        named("mover"),
        [](weak<places> w, std::shared_ptr<hidden> away, unsigned seed) -> task<> {
          std::mt19937 random(seed);
          tx_t t;
          for (int i = 0; i < 20; ++i) {
            shared<places> p = w.lock();
            w.reset();  // passes from weak to shared and back: neither count alone tells
            if (t) p->put(unsigned(random()), std::move(t));
            t = p->stir(random, int(seed % 10));
            w = p;
          }
          w.reset();
          away->keep(std::move(t));
          co_return;
        },
        weak<places>(all), away, seed);
  });
}
TEST(Attack, AThreadThatTakesAnEndOutOfABufferAndLetsGo) {
  attack_with([](scope& s, shared<places>& all, std::shared_ptr<hidden> away, unsigned seed) {
    std::mt19937 random(seed);
    tx_t t = all->stir(random, 5);
    all->put(4 + seed % 2, std::move(t));
    s.go(
        named("thread"),
        [](receiver<tx_t> out, std::shared_ptr<hidden> away) -> task<> {
          co_await blocking([out = std::move(out), away]() mutable {
            tx_t t = *out.try_recv();
            out.drop();
            away->keep(std::move(t));
          });
        },
        all->buffer[seed % 2].second.dup(), away);
  });
}
TEST(Attack, ChannelsThatHoldTheirOwnReceiverComeAndGo) {
  struct closed {
    receiver<closed> rx;
    tx_t tx;
  };
  attack_with([](scope& s, shared<places>& all, std::shared_ptr<hidden> away, unsigned seed) {
    s.go(
        named("mover"),
        [](shared<places> all, std::shared_ptr<hidden> away, unsigned seed) -> task<> {
          std::mt19937 random(seed);
          tx_t t = all->stir(random, 3);
          for (unsigned i = 0; i < seed % 32; ++i) {
            // In the place of the one before, as a rule, and with as many changes of its list.
            auto [in, out] = channel<closed>(1);
            EXPECT_EQ(in.try_send(closed{out.dup(), std::move(t)}), try_result::done);
            if (seed % 5 == 0) in.drop();
            spin(int(random() % 300));
            if (i % 4 == 0) co_await yield();
            t = std::move(out.try_recv()->tx);
          }
          away->keep(std::move(t));
        },
        all, away, seed);
  });
}
// Who waits holds a sender itself, so the one that serves it is not missed by the count alone once it has let go.
TEST(Attack, AFriendSendsAndLetsGo) {
  attack([](std::mt19937&) -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      std::vector<tx_t> friends;
      for (int i = 0; i < 64; ++i) {
        auto [tx, rx] = channel<int>();
        friends.push_back(tx.dup());
        s.go(receive_holding<tx_t>, std::move(rx), std::move(tx));
      }
      for (tx_t& f : friends) {
        EXPECT_TRUE(co_await f.send(1));
        f.drop();
      }
    });
  });
}

// ---- verdicts while what they are about is cut short
// -----------------------------------------------------------------
TEST(Attack, LeakedOnesAreCancelledUnderTheLookersEyes) {
  attack(
      [](std::mt19937& random) -> task<> {
        std::vector<std::pair<sender<int>, receiver<int>>> later;
        for (int i = 0; i < 4; ++i) {
          co_await with_scope([&](scope& s) -> task<> {
            s.go(named("stuck"), []() -> task<> {
              event e;
              auto [tx, rx] = channel<int>();
              (void)co_await select(e.wait(), rx.recv());
            });
            s.go(named("stuck"), []() -> task<> {
              auto lc = share<std::pair<event, int>>();
              co_await lc->first.wait();
            });
            spin(int(random() % 2000));
            co_await yield();
            s.cancel();
            co_return;
          });
          // Objects where those were.
          for (int k = 0; k < 4; ++k) later.push_back(channel<int>(1));
        }
        for (auto& [tx, rx] : later) {
          EXPECT_EQ(tx.try_send(1), try_result::done);
          EXPECT_EQ(rx.try_recv(), 1);
        }
      },
      leaks::are_expected);
}

}  // namespace leash::test::moving_tests
