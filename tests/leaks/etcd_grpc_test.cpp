// Causes of blocking bugs in etcd and gRPC.
#include <functional>

#include "corpus.hpp"

namespace leash::test::corpus {
namespace {

using enum go_says;

// ---- etcd ---------------------------------------------------------------------------------------------------------
// The checkpoint, called with the lessor's lock held, takes that lock.
struct lessor {
  shared_mutex mu;
  std::function<task<>()> checkpoint;
  lessor() {}
};
task<> etcd10492(bool fixed) {
  lessor l;
  l.checkpoint = [&l]() -> task<> { auto g = co_await l.mu.lock(); };
  auto g = co_await l.mu.lock();
  if (fixed) g.unlock();
  co_await l.checkpoint();
}
const row etcd10492_{"goker", "etcd10492", "", always, proved({"kernel"}, {}), etcd10492};

// An early return keeps the read lock; its holder is gone when Close wants to write. A local guard goes with it.
struct client {
  shared_mutex mu;
  shared_mutex::shared_guard reading;
  client() {}
};
template <bool in_the_client>
task<> etcd5509(bool fixed) {
  client c;
  co_await with_scope([&](scope& s) -> task<> {
    auto get = s.go(named("get"), [&]() -> task<> {
      auto g = co_await c.mu.lock_shared();
      if (in_the_client) c.reading = std::move(g);
      const bool closed = true;
      if (closed && !fixed) co_return;
      c.reading.unlock();
    });
    (void)co_await get.join();
    s.go(named("close"), [&]() -> task<> { auto g = co_await c.mu.lock(); });
  });
}
const row etcd5509_1{"goker", "etcd5509", "", always, ends_by_itself(), etcd5509<false>};
const row etcd5509_2{
    "goker", "etcd5509", "the guard is kept in a struct", always, proved({"close", "kernel"}, {}), etcd5509<true>};

// With the write lock held, a callback reads under the same lock.
struct token_store {
  shared_mutex mu;
  bool on = true;
  token_store() {}
  task<bool> enabled() {
    auto g = co_await mu.lock_shared();
    co_return on;
  }
};
task<> etcd6708(bool fixed) {
  token_store t;
  auto g = co_await t.mu.lock();
  if (fixed) g.unlock();
  EXPECT_TRUE(co_await t.enabled());
}
const row etcd6708_{"goker", "etcd6708", "", always, proved({"kernel"}, {}), etcd6708};

// The node's loop took the stop, and a request for its status is never received.
template <end e>
task<> etcd6857(bool fixed) {
  auto [ask, asked] = channel<int>();
  co_await with_scope([&](scope& s) {
    auto [stop, stopped] = channel<unit>();
    s.go(
        named("node"),
        [](auto&& asked, receiver<unit> stopped, bool fixed) -> task<> {
          for (;;) {
            auto next = co_await select(asked.recv(), stopped.recv());
            if (next.index() == 1 || !std::get<0>(next)) break;
          }
          if (fixed) asked.drop();
        },
        hand<e>(asked), std::move(stopped), fixed);
    s.go(named("status"), [](sender<int> ask) -> task<> { (void)co_await ask.send(1); }, std::move(ask));
    s.go(named("stop"), [](sender<unit> stop) { stop.close(); }, std::move(stop));
  });
}
const row etcd6857_1{"goker", "etcd6857", "", sometimes, ends_by_itself(), etcd6857<end::given>};
const row etcd6857_2{"goker",
                     "etcd6857",
                     "the node keeps the receiver",
                     sometimes,
                     proved({"status", "kernel"}, {}),
                     etcd6857<end::lent>};

// A follower waits for the next round with the lock held; the leader needs the lock to begin that.
task<> etcd7902(bool fixed) {
  mutex mu;
  wait_group round;
  co_await with_scope([&](scope& s) -> task<> {
    auto [next, begun] = channel<unit>();
    s.go(
        named("follower"),
        [&mu, fixed](receiver<unit> begun, wait_group::token) -> task<> {
          auto g = co_await mu.lock();
          if (fixed) g.unlock();
          (void)co_await begun.recv();
        },
        std::move(begun), round.add());
    s.go(
        named("leader"),
        [&mu](sender<unit> next, wait_group::token) -> task<> {
          auto g = co_await mu.lock();
          next.close();
        },
        std::move(next), round.add());
    co_await round.wait();
  });
}
const row etcd7902_{"goker", "etcd7902", "", sometimes, proved({"follower", "leader"}), etcd7902};

// ---- gRPC ---------------------------------------------------------------------------------------------------------
// Closing the stream does not tell who reads it.
template <end e>
task<> grpc1275(bool fixed) {
  auto [feed, data] = channel<int>();
  co_await with_scope([&](scope& s) {
    s.go(
        named("reader"),
        [](receiver<int> data) -> task<> {
          while (co_await data.recv()) {
          }
        },
        std::move(data));
    s.go(
        named("close_stream"),
        [](auto&& feed, bool fixed) -> task<> {
          if (fixed) feed.close();
          co_return;
        },
        hand<e>(feed), fixed);
  });
}
const row grpc1275_1{"goker", "grpc1275", "", always, ends_by_itself(), grpc1275<end::given>};
const row grpc1275_2{"goker",
                     "grpc1275",
                     "the transport keeps the sender",
                     always,
                     proved({"reader", "kernel"}, {}),
                     grpc1275<end::lent>};

// The watcher of addresses returns without a word to the one that dials.
template <end e>
task<> grpc1424(bool fixed) {
  auto [found, wait_for_address] = channel<unit>();
  co_await with_scope([&](scope& s) {
    auto [addresses, updates] = channel<int>();
    addresses.close();  // the balancer has none
    s.go(
        named("watcher"),
        [](receiver<int> updates, auto&& found, bool fixed) -> task<> {
          if (!co_await updates.recv() && !fixed) co_return;
          found.close();
        },
        std::move(updates), hand<e>(found), fixed);
    s.go(
        named("dial"), [](receiver<unit> address) -> task<> { (void)co_await address.recv(); },
        std::move(wait_for_address));
  });
}
const row grpc1424_1{"goker", "grpc1424", "", always, ends_by_itself(), grpc1424<end::given>};
const row grpc1424_2{
    "goker", "grpc1424", "the balancer keeps the sender", always, proved({"dial", "kernel"}, {}), grpc1424<end::lent>};

// The timer's callback finds that its entry is gone, and returns with the cache locked.
struct cache {
  mutex mu;
  mutex::guard held;
  bool gone = false;
  cache() {}
};
template <bool in_the_cache>
task<> grpc3017(bool fixed) {
  cache c;
  wait_group callbacks;
  timer evict = after_func(1ms, [&, running = callbacks.add()]() -> task<> {
    auto g = co_await c.mu.lock();
    if (in_the_cache) c.held = std::move(g);
    if (c.gone && !fixed) co_return;
    c.held.unlock();
  });
  co_await with_scope([&](scope& s) {
    s.go(named("remover"), [&]() -> task<> {
      co_await sleep(1ms);
      auto g = co_await c.mu.lock();
      c.gone = true;
    });
    s.go(named("user"), [&]() -> task<> {
      co_await sleep(2ms);
      auto g = co_await c.mu.lock();
    });
  });
  co_await callbacks.wait();
}
const row grpc3017_1{"goker", "grpc3017", "", sometimes, ends_by_itself(), grpc3017<false>};
const row grpc3017_2{
    "goker", "grpc3017", "the guard is kept in a struct", sometimes, proved({"user", "kernel"}, {}), grpc3017<true>};

// The benchmark stops without taking what its workers report.
template <end e>
task<> grpc660(bool fixed) {
  auto [report, done] = channel<bool>();
  co_await with_scope([&](scope& s) {
    auto [stop, stopped] = channel<unit>();
    stop.close();
    s.go(
        named("worker"),
        [](sender<bool> report) -> task<> {
          co_await sleep(1ms);
          (void)co_await report.send(true);
        },
        std::move(report));
    s.go(
        named("benchmark"),
        [](auto&& done, receiver<unit> stopped, bool fixed) -> task<> {
          (void)co_await select(stopped.recv(), done.recv());
          if (fixed) done.drop();
        },
        hand<e>(done), std::move(stopped), fixed);
  });
}
const row grpc660_1{"goker", "grpc660", "", always, ends_by_itself(), grpc660<end::given>};
const row grpc660_2{
    "goker", "grpc660", "the parent keeps the receiver", always, proved({"worker", "kernel"}, {}), grpc660<end::lent>};

// A lock is written where an unlock was meant. There is no unlock to confuse it with, but one can lock twice.
task<> grpc795(bool fixed) {
  mutex mu;
  bool serving = true;
  co_await with_scope([&](scope& s) {
    s.go(named("stop"), [&]() -> task<> {
      auto g = co_await mu.lock();
      serving = false;
    });
    s.go(named("graceful_stop"), [&]() -> task<> {
      auto g = co_await mu.lock();
      if (serving) co_return;
      if (fixed) {
        g.unlock();
      } else {
        auto meant_to_unlock = co_await mu.lock();
      }
    });
  });
}
const row grpc795_{"goker", "grpc795", "", sometimes, proved({"graceful_stop"}), grpc795};

// The connection fails before it is there, so nobody closes it; its watcher holds what could end its own wait.
struct connection {
  sender<unit> cancel;
  receiver<unit> cancelled;
  connection() { std::tie(cancel, cancelled) = channel<unit>(); }
};
task<> grpc862(bool fixed) {
  co_await with_scope([=](scope& s) {
    connection c;
    if (fixed) c.cancel.close();
    s.go(named("watcher"), [](connection c) -> task<> { (void)co_await c.cancelled.recv(); }, std::move(c));
  });
}
task<> grpc862_context(bool fixed) {
  co_await with_scope([=](scope& s) {
    s.go(
        named("watcher"),
        [](bool fixed) -> task<> {
          cancel_source own;
          if (fixed) own.cancel("closed");
          (void)co_await with_cancel(own, []() -> task<> { co_await this_context().done(); });
        },
        fixed);
  });
}
const row grpc862_1{"goker", "grpc862", "done is a channel", always, proved({"watcher"}), grpc862};
const row grpc862_2{"goker", "grpc862", "done is a context's", always, proved_as_program({"watcher"}), grpc862_context};

}  // namespace
}  // namespace leash::test::corpus
