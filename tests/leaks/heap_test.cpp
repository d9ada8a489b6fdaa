// The same causes with the ends, tokens and conditions in objects on the heap, and with events.
#include "corpus.hpp"

namespace leash::test::corpus {
namespace {

using enum go_says;

#if __has_include(<leash/shared.hpp>)  // comes with the tracked heap and the confined grade
// ---- both ends in one object, which is kept by who waits ------------------------------------------------------------
struct transaction {
  sender<unit> cancel;
  receiver<unit> cancelled;
  transaction() { std::tie(cancel, cancelled) = channel<unit>(); }
};
task<> await_done(shared<transaction> t) { (void)co_await t->cancelled.recv(); }
task<> cockroach13197(bool fixed) {
  co_await with_scope([=](scope& s) {
    auto t = share<transaction>();
    if (fixed) t->cancel.close();
    s.go(named("await_done"), await_done, std::move(t));
  });
}

struct stream {
  sender<int> feed;
  receiver<int> data;
  stream() { std::tie(feed, data) = channel<int>(1); }
};
task<> grpc1275(bool fixed) {
  co_await with_scope([=](scope& s) {
    auto one = share<stream>();
    s.go(
        named("reader"),
        [](shared<stream> s) -> task<> {
          while (co_await s->data.recv()) {
          }
        },
        one);
    s.go(
        named("close_stream"),
        [](shared<stream> s, bool fixed) -> task<> {
          if (fixed) s->feed.close();
          co_return;
        },
        std::move(one), fixed);
  });
}

task<> cockroach35073(bool fixed) {
  auto rows = share<stream>();
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("outbox"),
        [](shared<stream> rows, bool fixed) -> task<> {
          while (fixed && co_await rows->data.recv()) {
          }
        },
        rows, fixed);
    for (int i = 0; i < 3; ++i) (void)co_await rows->feed.send(i);
    rows->feed.close();
  });
}

struct node {
  sender<int> ask;
  receiver<int> asked;
  sender<unit> stop;
  receiver<unit> stopped;
  node() {
    std::tie(ask, asked) = channel<int>();
    std::tie(stop, stopped) = channel<unit>();
  }
};
task<> etcd6857(bool fixed) {
  co_await with_scope([=](scope& s) {
    auto n = share<node>();
    s.go(
        named("node"),
        [](shared<node> n, bool fixed) -> task<> {
          for (;;) {
            auto next = co_await select(n->asked.recv(), n->stopped.recv());
            if (next.index() == 1) break;
          }
          if (fixed) n->asked.drop();
        },
        n, fixed);
    s.go(named("status"), [](shared<node> n) -> task<> { (void)co_await n->ask.send(1); }, n);
    s.go(named("stop"), [](shared<node> n) { n->stop.close(); }, std::move(n));
  });
}

// ---- in vectors, boxes and functions ----------------------------------------------------------------------------------
task<> moby25384(bool fixed) {
  wait_group plugins;
  co_await with_scope([&](scope& s) -> task<> {
    tracked_vector<wait_group::token> added;
    for (int i = 0; i < 2; ++i) added.push_back(plugins.add());
    while (!added.empty()) {
      s.go(named("plugin"), [](wait_group::token) -> task<> { co_await yield(); }, std::move(added.back()));
      added.pop_back();
      if (!fixed) co_await plugins.wait();
    }
    co_await plugins.wait();
  });
}
task<> no_close_range(bool fixed) {
  tracked_vector<sender<int>> kept;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 3; ++i) {
      auto [tx, rx] = channel<int>();
      s.go(
          named("worker"),
          [](receiver<int> items) -> task<> {
            while (co_await items.recv()) {
            }
          },
          std::move(rx));
      kept.push_back(std::move(tx));
    }
    for (sender<int>& one : kept) (void)co_await one.send(1);
    if (fixed) kept.clear();
  });
}

// ---- events -------------------------------------------------------------------------------------------------------
task<> cockroach25456(bool fixed) {
  event quiesced;
  if (fixed) quiesced.set();
  co_await quiesced.wait();
  quiesced.set();
}
struct pod_queue {
  mutex mu;
  event stopped;
  pod_queue() {}
  task<> pop(bool fixed) {
    auto g = co_await mu.lock();
    if (fixed) g.unlock();
    co_await stopped.wait();
  }
  task<> stop() {
    auto g = co_await mu.lock();
    stopped.set();
  }
};
task<> kubernetes26980(bool fixed) {
  pod_queue q;
  co_await with_scope([&](scope& s) {
    s.go(named("pop"), [&]() -> task<> { co_await q.pop(fixed); });
    s.go(named("stopper"), [&]() -> task<> { co_await q.stop(); });
  });
}
task<> kubernetes26980_shared(bool fixed) {
  co_await with_scope([=](scope& s) {
    auto q = share<pod_queue>();
    s.go(named("pop"), [](shared<pod_queue> q, bool fixed) -> task<> { co_await q->pop(fixed); }, q, fixed);
    s.go(named("stopper"), [](shared<pod_queue> q) -> task<> { co_await q->stop(); }, std::move(q));
  });
}
#else
constexpr kernel_type cockroach13197 = nullptr, grpc1275 = nullptr, cockroach35073 = nullptr, etcd6857 = nullptr,
                      moby25384 = nullptr, no_close_range = nullptr, cockroach25456 = nullptr,
                      kubernetes26980 = nullptr, kubernetes26980_shared = nullptr;
#endif

const row transaction_{"goker", "cockroach13197", "in shared<T>", always, proved({"await_done"}), cockroach13197};
const row stream_{"goker", "grpc1275", "in shared<T>", always, proved({"reader"}), grpc1275};
const row rows_{"goker", "cockroach35073", "in shared<T>", always, proved({"kernel"}, {}), cockroach35073};
const row node_{"goker", "etcd6857", "in shared<T>", sometimes, proved({"status"}), etcd6857};
const row tokens{"goker", "moby25384", "tokens in a tracked_vector", always, proved({"kernel"}, {}), moby25384};
const row senders{
    "commonpatterns", "NoCloseRange", "senders in a tracked_vector", always, proved({"kernel", "worker"}, {}),
    no_close_range};
const row quiesced_{"goker", "cockroach25456", "an event in a frame", always, confined({"kernel"}, {}), cockroach25456};
// pop holds the lock that the stopper, who would set the event, waits for.
const row queue_in_a_frame{
    "goker",        "kubernetes26980", "an event in a frame", sometimes, confined({"pop"}, {"kernel"}, {"stopper"}),
    kubernetes26980};
const row queue_shared{"goker",   "kubernetes26980",          "an event in shared<T>",
                       sometimes, proved({"pop", "stopper"}), kubernetes26980_shared};

}  // namespace
}  // namespace leash::test::corpus
