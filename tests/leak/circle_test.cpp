// Memory that owns itself: blocks and containers in circles, held by leaked goroutines or by nobody at all. What lies in
// them is as good as gone; each with a twin that lives because one handle is where it can be used.
#include <memory>
#include <set>

#include "attack.hpp"

namespace leash::test::circle_tests {

using enum verdict;
using tx_t = sender<int>;
using rx_t = receiver<int>;

/// Nobody destroys a circle: opened when a test is over.
struct node : enable_shared_from_this<node> {
  shared<node> next;
  weak<node> back;
  shared<int> part;
  tracked_vector<shared<node>> children;
  tracked_function<void()> callback;
  tracked_box<shared<node>> boxed;
  std::optional<tx_t> tx;
  std::optional<receiver<shared<node>>> inbox;
  std::optional<sender<shared<node>>> outbox;
  std::shared_ptr<shared<node>> out_of_sight;
  event happened;
  int payload = 0;

  node() {
    std::lock_guard guard(lock);
    all.insert(this);
  }
  ~node() {
    std::lock_guard guard(lock);
    all.erase(this);
  }
  static void open_all() {
    std::vector<shared<node>> kept;
    for (node* n : all) kept.push_back(n->shared_from_this());
    for (shared<node>& n : kept) {
      n->next.reset();
      n->part.reset();
      n->children.clear();
      n->callback.reset();
      n->boxed.reset();
      n->inbox.reset();
      n->out_of_sight.reset();
    }
    kept.clear();
    EXPECT_TRUE(all.empty()) << all.size() << " nodes are left";
  }
  static inline std::mutex lock;
  static inline std::set<node*> all;
};

/// A waiter for what only the circle could send.
template <class Start>
task<> circle_with_twin(Start start, const subject& waiter) {
  return test::with_twin(std::move(start), waiter, node::open_all);
}
const subject stuck("stuck", "chan receive", core);

template <class Held>
void wait_for(scope& s, rx_t rx, Held held) {
  s.go(named("stuck"), receive_holding<Held>, std::move(rx), std::move(held));
}

std::pair<shared<node>, shared<node>> two_that_own_each_other(tx_t tx) {
  auto a = share<node>(), b = share<node>();
  a->next = b;
  b->next = a;
  a->tx = std::move(tx);
  return {a, b};
}

LEASH_TEST_OF_LEAKS(Circle, OfTwoThatNobodyHolds) {
  co_await circle_with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto [a, b] = two_that_own_each_other(std::move(tx));
        wait_for(s, std::move(rx), 0);
        return b;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Circle, OfTwoThatTheWaiterHolds) {
  co_await circle_with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto [a, b] = two_that_own_each_other(std::move(tx));
        wait_for(s, std::move(rx), b);
        return a;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Circle, AWeakHandleElsewhereCanReviveIt) {
  co_await circle_with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto [a, b] = two_that_own_each_other(std::move(tx));
        wait_for(s, std::move(rx), 0);
        return weak<node>(b);
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Circle, OfOne) {
  co_await circle_with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto a = share<node>();
        a->next = a->shared_from_this();
        a->tx = std::move(tx);
        wait_for(s, std::move(rx), 0);
        return a;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Circle, AWeakHandleToWhatHoldsIt) {
  co_await circle_with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto parent = share<node>(), child = share<node>();
        parent->next = child;
        child->back = parent->weak_from_this();
        parent->back = parent;
        child->tx = std::move(tx);
        wait_for(s, std::move(rx), parent);
        return weak<node>(child);
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Circle, ThroughAnAlias) {
  co_await circle_with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto [a, b] = two_that_own_each_other(std::move(tx));
        b->part = shared<int>(a, &a->payload);
        b->next.reset();
        wait_for(s, std::move(rx), 0);
        return shared<int>(b, &b->payload);
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Circle, ThroughAContainer) {
  co_await circle_with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto root = share<node>();
        for (int i = 0; i < 10; ++i) {
          root->children.push_back(share<node>());
          root->children.back()->next = root;
        }
        root->children[7]->tx = std::move(tx);
        wait_for(s, std::move(rx), 0);
        return root->children[3];
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Circle, ThroughACallbackAndABox) {
  co_await circle_with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto a = share<node>(), b = share<node>();
        a->callback = [b] { (void)b->payload; };
        b->boxed = tracked_box<shared<node>>(a);
        b->tx = std::move(tx);
        wait_for(s, std::move(rx), 0);
        return a;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Circle, ThroughABuffer) {
  co_await circle_with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto a = share<node>();
        auto [out, in] = channel<shared<node>>(1);
        EXPECT_EQ(out.try_send(a), try_result::done);
        a->inbox = std::move(in);
        a->tx = std::move(tx);
        wait_for(s, std::move(rx), 0);
        return a;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Circle, WhatACircleHolds) {
  co_await circle_with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto [a, b] = two_that_own_each_other(std::move(tx));
        auto [c, d] = two_that_own_each_other(std::move(*a->tx));
        auto held = share<std::optional<tx_t>>(std::move(*c->tx));
        a->tx.reset();
        b->children.push_back(c);  // a circle holds a circle, and that a block
        c->tx.reset();
        d->callback = [held] { (void)held->has_value(); };
        wait_for(s, std::move(rx), 0);
        return a;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Circle, AnEventInIt) {
  for (bool twin : {false, true}) {
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto a = share<node>(), b = share<node>();
            a->next = b;
            b->next = a;
            if (twin) s.go(named("keeper"), keep_asleep<shared<node>>, b);
            s.go(named("stuck"), [](shared<node> n) -> task<> { (void)co_await n->happened.wait(); }, a);
            co_return;
          });
        },
        {twin ? live_kernel : waiting_kernel, {"stuck", "event", twin ? live : core}});
    node::open_all();
  }
}
LEASH_TEST(LiveTwin, AHandleToACircleOnTheHeap) {
  auto kept = std::make_shared<std::vector<shared<node>>>();
  co_await examine(
      [&]() -> task<> {
        co_await with_scope([&](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          auto [a, b] = two_that_own_each_other(std::move(tx));
          kept->push_back(b);
          wait_for(s, std::move(rx), 0);
          co_return;
        });
      },
      {live_kernel, {"stuck", "chan receive", live}});
  kept->clear();
  node::open_all();
}
LEASH_TEST(LiveTwin, ACircleThatIsClosedOutOfSight) {
  co_await examine(
      [&]() -> task<> {
        co_await with_scope([&](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          auto a = share<node>(), b = share<node>();
          a->next = b;
          b->out_of_sight = std::make_shared<shared<node>>(a);
          b->tx = std::move(tx);
          wait_for(s, std::move(rx), 0);
          co_return;
        });
      },
      {live_kernel, {"stuck", "chan receive", live}});
  node::open_all();
}

LEASH_TEST_OF_LEAKS(Circle, TheReportSaysSo) {
  co_await with_scope([](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    (void)two_that_own_each_other(std::move(tx));
    wait_for(s, std::move(rx), 0);
    EXPECT_TRUE(co_await parked("stuck", "chan receive"));
    leak_report r = find_leaks();
    EXPECT_NE(text(r).find("node), in a circle that nobody else has a handle to"), std::string::npos) << text(r);
    // The memory of a circle stays as it is: its goroutine is freed, and nothing in it is destroyed.
    std::size_t const nodes = node::all.size();
    EXPECT_EQ(co_await reclaim(r), 1u);
    EXPECT_EQ(node::all.size(), nodes);
  });
  node::open_all();
}

// ---- moving while the marker reads

/// Blocks that own each other; who has a handle to one moves the handles of others about.
task<> play(std::mt19937& random, bool in_buffers) {
  auto [tx, rx] = channel<int>();
  auto a = share<node>(), b = share<node>(), c = share<node>();
  a->next = b;
  b->children.resize(2);
  b->children[0] = a;
  b->children[1] = c;
  c->next = b;
  c->tx = std::move(tx);
  auto [out, in] = channel<shared<node>>(4);
  b->inbox = std::move(in);
  b->outbox = std::move(out);
  a.reset();
  c.reset();
  co_await with_scope([&](scope& s) -> task<> {
    s.go([](rx_t r) -> task<> { EXPECT_EQ(co_await r.recv(), 7); }, std::move(rx));
    s.go(
        [](shared<node> b, bool in_buffers, unsigned rounds) -> task<> {
          co_await yield();
          for (unsigned i = 0; i < rounds; ++i) {
            // From node to node: b is the only handle outside of the circle.
            std::swap(b->children[0], b->children[1]);
            if (in_buffers) {
              EXPECT_TRUE(co_await b->outbox->send(std::move(b->children[0]->next)));
              auto back = co_await b->inbox->recv();
              b->children[0]->next = std::move(*back);
            } else {
              shared<node> mine = std::move(b->children[0]->next);
              b->children[0]->next = std::move(mine);
              std::swap(b->children[0]->next, b->children[1]->next);
            }
            if (i % 4 == 3) co_await yield();
          }
          node* const has_it = b->children[0]->tx ? b->children[0].get() : b->children[1].get();
          EXPECT_TRUE(co_await has_it->tx->send(7));
          b->children.clear();
        },
        std::move(b), in_buffers, random() % 64);
    co_return;
  });
}
TEST(CircleAttack, HandlesAreMovedBetweenNodes) {
  attack([](std::mt19937& random) -> task<> { co_await play(random, false); });
}
TEST(CircleAttack, HandlesAreMovedThroughBuffers) {
  attack([](std::mt19937& random) -> task<> { co_await play(random, true); });
}

}  // namespace leash::test::circle_tests
