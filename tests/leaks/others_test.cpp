// Causes of blocking bugs in Hugo, Istio and Syncthing.
#include "corpus.hpp"

namespace leash::test::corpus {
namespace {

using enum go_says;

// The lock of a URL is wanted with the lock of their map held, and given back only under the map's lock.
struct remote_lock {
  shared_mutex map;
  mutex url;
  mutex::guard held;
  remote_lock() {}
  task<> lock(bool fixed) {
    auto m = co_await map.lock();
    if (fixed) m.unlock();
    mutex::guard g = co_await url.lock();
    held = std::move(g);
  }
  task<> unlock() {
    auto m = co_await map.lock_shared();
    held.unlock();
  }
};
task<> hugo3251(bool fixed) {
  remote_lock remote;
  wait_group fetches;
  auto fetch = [&](wait_group::token) -> task<> {
    co_await remote.lock(fixed);
    co_await yield();
    co_await remote.unlock();
  };
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 2; ++i) s.go(named("fetch"), fetch, fetches.add());
    co_await fetches.wait();
  });
}
// Handed out, the guard needs no lock to unlock.
task<> hugo3251_guards(bool fixed) {
  shared_mutex map;
  mutex url;
  co_await with_scope([&](scope& s) {
    for (int i = 0; i < 2; ++i)
      s.go(named("fetch"), [&]() -> task<> {
        auto m = co_await map.lock();
        if (fixed) m.unlock();
        mutex::guard g = co_await url.lock();
        m.unlock();
        co_await yield();
      });
  });
}
const row hugo3251_1{"goker", "hugo3251", "the guard is handed out", sometimes, ends_by_itself(), hugo3251_guards};
const row hugo3251_2{"goker", "hugo3251", "the guard is kept in a struct", sometimes, proved({"fetch", "kernel"}, {}),
                     hugo3251};

// The handler sends with the lock held; who receives wants the lock first.
task<> istio16224(bool fixed) {
  mutex mu;
  co_await with_scope([&](scope& s) {
    auto [changed, changes] = channel<int>();
    s.go(
        named("handler"),
        [&](sender<int> changed) -> task<> {
          auto g = co_await mu.lock();
          if (fixed) g.unlock();
          (void)co_await changed.send(1);
        },
        std::move(changed));
    s.go(
        named("test"),
        [&](receiver<int> changes) -> task<> {
          {
            auto g = co_await mu.lock();
          }
          (void)co_await changes.recv();
        },
        std::move(changes));
  });
}
const row istio16224_{"goker", "istio16224", "", sometimes, proved({"handler", "test"}), istio16224};

// Who takes the status has left; who waits for the proxies goes on sending it.
template <end e>
task<> istio17860(bool fixed) {
  auto [status, statuses] = channel<int>();
  co_await with_scope([&](scope& s) {
    auto [stop, stopped] = channel<unit>();
    s.go(
        named("run_wait"),
        [](sender<int> status) -> task<> {
          for (int epoch = 0; epoch < 3; ++epoch)
            if (!co_await status.send(epoch)) co_return;
        },
        std::move(status));
    s.go(
        named("agent"),
        [](auto&& statuses, receiver<unit> stopped, bool fixed) -> task<> {
          for (;;) {
            auto next = co_await select(statuses.recv(), stopped.recv());
            if (next.index() == 1 || !std::get<0>(next)) break;
          }
          if (fixed) statuses.drop();
        },
        hand<e>(statuses), std::move(stopped), fixed);
    s.go(named("stop"), [](sender<unit> stop) { stop.close(); }, std::move(stop));
  });
}
const row istio17860_1{"goker", "istio17860", "", sometimes, ends_by_itself(), istio17860<end::given>};
const row istio17860_2{"goker",
                       "istio17860",
                       "the agent keeps the receiver",
                       sometimes,
                       proved({"run_wait", "kernel"}, {}),
                       istio17860<end::lent>};

// With the write lock held it tells its listeners, one of which reads.
struct mapping {
  shared_mutex mu;
  int address = 0;
  mapping() {}
  task<> notify() {
    auto g = co_await mu.lock_shared();
    EXPECT_EQ(address, 0);
  }
  task<> clear(bool fixed) {
    auto g = co_await mu.lock();
    address = 0;
    if (fixed) g.unlock();
    co_await notify();
  }
};
task<> syncthing4829(bool fixed) {
  mapping m;
  co_await m.clear(fixed);
}
const row syncthing4829_{"goker", "syncthing4829", "", always, proved({"kernel"}, {}), syncthing4829};

}  // namespace
}  // namespace leash::test::corpus
