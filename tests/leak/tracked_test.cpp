// What lies in tracked memory is as visible as what lies in a frame: proofs through shared blocks, containers, boxes and
// callables, each with a twin that lives because one handle is where it can be used.
#include <map>
#include <memory>
#include <vector>

#include "kernel.hpp"

namespace leash::test::tracked_tests {

using enum verdict;
using tx_t = sender<int>;
using rx_t = receiver<int>;

const subject stuck("stuck", "chan receive", core);

struct state {
  tx_t tx;
  int payload = 0;
  explicit state(tx_t t) : tx(std::move(t)) {}
};

// ---- shared blocks
// ---------------------------------------------------------------------------------------------------
LEASH_TEST_OF_LEAKS(Tracked, TheOnlySenderInABlockThatTheWaiterHolds) {
  co_await with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto block = share<state>(std::move(tx));
        s.go(named("stuck"), receive_holding<shared<state>>, std::move(rx), block);
        return block;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Tracked, AWeakHandleElsewhereCanReviveIt) {
  co_await with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto block = share<state>(std::move(tx));
        weak<state> w = block;
        s.go(named("stuck"), receive_holding<shared<state>>, std::move(rx), std::move(block));
        return w;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Tracked, AWeakHandleOutOfSightCanReviveIt) {
  co_await with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto block = share<state>(std::move(tx));
        auto w = std::make_unique<weak<state>>(block);
        s.go(named("stuck"), receive_holding<shared<state>>, std::move(rx), std::move(block));
        return w;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Tracked, AWeakHandleThatTheWaiterHoldsItself) {
  co_await with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto block = share<state>(std::move(tx));
        s.go(
            named("stuck"), [](rx_t rx, shared<state>, weak<state>) -> task<> { (void)co_await rx.recv(); },
            std::move(rx), block, weak<state>(block));
        return block;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Tracked, AliasesOwnTheBlock) {
  co_await with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto block = share<state>(std::move(tx));
        shared<int> part(block, &block->payload);
        s.go(named("stuck"), receive_holding<shared<int>>, std::move(rx), part);
        return part;
      },
      stuck);
}
struct own_handles : enable_shared_from_this<own_handles>, state {
  using state::state;
  shared<const own_handles> more() const { return shared_from_this(); }
};
LEASH_TEST_OF_LEAKS(Tracked, HandlesFromThisOwnTheBlock) {
  co_await with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto block = share<own_handles>(std::move(tx));
        auto more = block->more();
        s.go(named("stuck"), receive_holding<shared<own_handles>>, std::move(rx), std::move(block));
        s.go(named("stuck too"), receive_holding<weak<own_handles>>, rx_t(channel<int>().second), weak<own_handles>());
        return more;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Tracked, BlocksInBlocks) {
  co_await with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto inner = share<state>(std::move(tx));
        auto middle = share<std::pair<int, shared<state>>>(1, inner);
        auto outer = share<tracked_box<shared<std::pair<int, shared<state>>>>>(std::move(middle));
        s.go(named("stuck"), receive_holding<decltype(outer)>, std::move(rx), std::move(outer));
        return inner;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Tracked, TheOuterOfTwoBlocks) {
  co_await with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto outer = share<shared<state>>(share<state>(std::move(tx)));
        s.go(named("stuck"), receive_holding<decltype(outer)>, std::move(rx), outer);
        return outer;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Tracked, ABlockThatAnotherLeakedGoroutineHolds) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto [tx, rx] = channel<int>();
            auto [tx2, rx2] = channel<int>();
            auto a = share<state>(std::move(tx)), b = share<state>(std::move(tx2));
            if (twin) s.go(named("keeper"), keep_asleep<shared<state>>, b);
            s.go(named("one"), receive_holding<shared<state>>, std::move(rx), std::move(b));
            s.go(named("two"), receive_holding<shared<state>>, std::move(rx2), std::move(a));
            co_return;
          });
        },
        twin ? std::vector<subject>{live_kernel,
                                    {"keeper", "sleep", live},
                                    {"one", "chan receive", live},
                                    {"two", "chan receive", live}}
             : std::vector<subject>{waiting_kernel, {"one", "chan receive", core}, {"two", "chan receive", core}});
}
LEASH_TEST_OF_LEAKS(Tracked, WhoHoldsTheBlockIsCoreAndWhoWaitsForItDepends) {
  co_await examine(
      []() -> task<> {
        co_await with_scope([](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          auto [own, own_rx] = channel<int>();
          auto block = share<std::pair<tx_t, tx_t>>(std::move(tx), std::move(own));
          s.go(named("knot"), receive_holding<decltype(block)>, std::move(own_rx), std::move(block));
          s.go(named("behind"), receive_holding<int>, std::move(rx), 0);
          co_return;
        });
      },
      {waiting_kernel, {"knot", "chan receive", core}, {"behind", "chan receive", dependent}});
}

// ---- containers, boxes, callables
// ------------------------------------------------------------------------------------
LEASH_TEST_OF_LEAKS(Tracked, AVectorOfSenders) {
  co_await with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto all = share<tracked_vector<tx_t>>();
        for (int i = 0; i < 100; ++i) all->push_back(tx.dup());
        s.go(named("stuck"), receive_holding<decltype(all)>, std::move(rx), all);
        return all;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Tracked, AVectorThatWasMovedIn) {
  co_await with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        tx_t more = tx.dup();
        tracked_vector<tx_t> all;
        all.push_back(std::move(tx));
        all.push_back(more.dup());
        tracked_vector<tx_t> moved = std::move(all);
        s.go(named("stuck"), receive_holding<tracked_vector<tx_t>>, std::move(rx), std::move(moved));
        return more;
      },
      {"stuck", "chan receive", core});
}
// The place that it was moved from lives on, and is used again.
LEASH_TEST_OF_LEAKS(Tracked, AVectorThatLeftAnotherOneBehind) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          tracked_vector<tx_t> all;
          co_await with_scope([&](scope& s) -> task<> {
            auto [tx, rx] = channel<int>();
            if (twin) all.push_back(tx.dup());
            tracked_vector<tx_t> kept = std::move(all);
            kept.push_back(std::move(tx));
            if (twin) {
              all.push_back(std::move(kept[0]));
              kept.erase(kept.begin());
            } else {
              all.emplace_back();
            }
            s.go(named("stuck"), receive_holding<tracked_vector<tx_t>>, std::move(rx), std::move(kept));
            s.go(named("keeper"), [](tracked_vector<tx_t>&) -> task<> { co_await sleep(1h); }, std::ref(all));
            co_return;
          });
        },
        {live_kernel, {"stuck", "chan receive", twin ? live : core}, {"keeper", "sleep", live}});
}
using channels = std::map<int, std::pair<tx_t, rx_t>, std::less<int>,
                          tracked_allocator<std::pair<const int, std::pair<tx_t, rx_t>>>>;
LEASH_TEST_OF_LEAKS(Tracked, AMapOfChannels) {
  co_await with_twin(
      [](scope& s, tx_t tx, rx_t rx) {
        auto all = share<channels>();
        for (int i = 0; i < 10; ++i) all->emplace(i, channel<int>());
        all->at(3).first = std::move(tx);
        s.go(named("stuck"), receive_holding<shared<channels>>, std::move(rx), all);
        return all;
      },
      stuck);
}
LEASH_TEST_OF_LEAKS(Tracked, ABox) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto [tx, rx] = channel<int>();
            if (twin) s.go(named("keeper"), keep_asleep<tracked_box<tx_t>>, tracked_box<tx_t>(tx.dup()));
            s.go(named("stuck"), receive_holding<tracked_box<tx_t>>, std::move(rx), tracked_box<tx_t>(std::move(tx)));
            co_return;
          });
        },
        twin ? std::vector<subject>{live_kernel, {"keeper", "sleep", live}, {"stuck", "chan receive", live}}
             : std::vector<subject>{waiting_kernel, stuck});
}
LEASH_TEST_OF_LEAKS(Tracked, AFunctionThatCapturesAnEnd) {
  for (bool twin : {false, true})
    co_await examine(
        [=]() -> task<> {
          co_await with_scope([=](scope& s) -> task<> {
            auto [tx, rx] = channel<int>();
            using function = tracked_function<void()>;
            if (twin) s.go(named("keeper"), keep_asleep<function>, function([tx = tx.dup()] {}));
            s.go(named("stuck"), receive_holding<function>, std::move(rx), function([tx = std::move(tx)] {}));
            co_return;
          });
        },
        twin ? std::vector<subject>{live_kernel, {"keeper", "sleep", live}, {"stuck", "chan receive", live}}
             : std::vector<subject>{waiting_kernel, stuck});
}

// ---- what nobody can see
// ---------------------------------------------------------------------------------------------
template <class Holder>
task<> is_live(Holder hide) {
  co_await examine(
      [=]() -> task<> {
        co_await with_scope([=](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          s.go(named("waiter"), receive_holding<decltype(hide(std::move(tx)))>, std::move(rx), hide(std::move(tx)));
          co_return;
        });
      },
      {live_kernel, {"waiter", "chan receive", live}});
}
LEASH_TEST(LiveTwin, AHandleInUntrackedMemory) {
  co_await is_live([](tx_t tx) { return std::make_shared<shared<state>>(share<state>(std::move(tx))); });
  co_await is_live([](tx_t tx) { return std::make_unique<tracked_box<tx_t>>(tracked_box<tx_t>(std::move(tx))); });
  co_await is_live([](tx_t tx) {
    std::vector<tracked_vector<tx_t>> all(1);
    all[0].push_back(std::move(tx));
    return all;
  });
  co_await is_live([](tx_t tx) { return share<std::unique_ptr<tx_t>>(std::make_unique<tx_t>(std::move(tx))); });
}
struct circle {
  shared<circle> other;
  std::optional<tx_t> tx;
};
LEASH_TEST(LiveTwin, BlocksThatOwnEachOther) {
  // As with std::shared_ptr nobody would ever destroy them: they count as reached from outside.
  weak<circle> to_open;
  co_await examine(
      [&]() -> task<> {
        co_await with_scope([&](scope& s) -> task<> {
          auto [tx, rx] = channel<int>();
          auto a = share<circle>(), b = share<circle>();
          a->other = b;
          b->other = a;
          a->tx = std::move(tx);
          to_open = a;
          s.go(named("waiter"), receive_holding<shared<circle>>, std::move(rx), std::move(b));
          co_return;
        });
      },
      {live_kernel, {"waiter", "chan receive", live}});
  if (auto a = to_open.lock()) a->other.reset();
}

}  // namespace leash::test::tracked_tests
