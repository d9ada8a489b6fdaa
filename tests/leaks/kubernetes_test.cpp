// Causes of blocking bugs in Kubernetes.
#include <functional>

#include "corpus.hpp"

namespace leash::test::corpus {
namespace {

using enum go_says;

// A status is sent with the lock held; who receives it wants the lock before it receives the next one.
task<> kubernetes10182(bool fixed) {
  mutex mu;
  co_await with_scope([&](scope& s) {
    auto [statuses, changes] = channel<int>();
    s.go(
        named("setter"),
        [&mu, fixed](sender<int> statuses) -> task<> {
          for (int i = 0; i < 2; ++i) {
            auto g = co_await mu.lock();
            if (fixed) g.unlock();
            (void)co_await statuses.send(i);
          }
        },
        std::move(statuses));
    s.go(
        named("sync"),
        [&mu](receiver<int> changes) -> task<> {
          while (co_await changes.recv()) auto g = co_await mu.lock();
        },
        std::move(changes));
  });
}
const row kubernetes10182_{"goker", "kubernetes10182", "", sometimes, proved({"setter", "sync"}), kubernetes10182};

// The cacher is locked until it is ready, which the watch cache says in a callback, under a lock that the cacher wants.
struct watch_cache {
  shared_mutex mu;
  std::function<task<>()> on_replace;
  watch_cache() {}
};
task<> kubernetes13135(bool fixed) {
  mutex cacher;
  watch_cache cache;
  wait_group started;
  cache.on_replace = [&]() -> task<> { auto ready = co_await cacher.lock(); };
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("cacher"),
        [&](wait_group::token) -> task<> {
          auto c = co_await cacher.lock();
          if (fixed) c.unlock();
          auto r = co_await cache.mu.lock_shared();
        },
        started.add());
    s.go(
        named("reflector"),
        [&](wait_group::token) -> task<> {
          auto w = co_await cache.mu.lock();
          co_await cache.on_replace();
        },
        started.add());
    co_await started.wait();
  });
}
const row kubernetes13135_{"goker", "kubernetes13135", "", sometimes, proved({"cacher", "reflector"}), kubernetes13135};

// Events are distributed with the lock held; a watcher needs the lock to stop.
task<> kubernetes1321(bool fixed) {
  mutex mu;
  co_await with_scope([&](scope& s) {
    auto [events, results] = channel<int>();
    s.go(
        named("distributor"),
        [&mu, fixed](sender<int> events) -> task<> {
          for (int i = 0; i < 2; ++i) {
            auto g = co_await mu.lock();
            if (fixed) g.unlock();
            (void)co_await events.send(i);
          }
        },
        std::move(events));
    s.go(
        named("watcher"),
        [&mu](receiver<int> results) -> task<> {
          (void)co_await results.recv();
          auto g = co_await mu.lock();
          results.drop();
        },
        std::move(results));
  });
}
const row kubernetes1321_{"goker", "kubernetes1321", "", not_run, proved({"distributor", "watcher"}), kubernetes1321};

// The watch cancels its context on an error, and then reports that to those who left because of it.
template <end e>
task<> kubernetes25331(bool fixed) {
  cancel_source watch;
  auto [results, out] = channel<int>();
  co_await with_scope([&](scope& s) {
    s.go(
        named("reader"),
        [](auto&& out, cancel_source watch, bool fixed) -> task<> {
          (void)co_await with_cancel(watch, [&]() -> task<> { (void)co_await out.recv(); });
          if (fixed) out.drop();
        },
        hand<e>(out), watch.dup(), fixed);
    s.go(
        named("watch"),
        [](sender<int> results, cancel_source watch) -> task<> {
          watch.cancel("an error");
          (void)co_await results.send(-1);
        },
        std::move(results), std::move(watch));
  });
}
const row kubernetes25331_1{"goker", "kubernetes25331", "", always, ends_by_itself(), kubernetes25331<end::given>};
const row kubernetes25331_2{"goker",
                            "kubernetes25331",
                            "the parent keeps the receiver",
                            always,
                            proved({"watch", "kernel"}, {}),
                            kubernetes25331<end::lent>};

// Pop waits for the stop with the lock held; stopping takes the lock first.
task<> kubernetes26980(bool fixed) {
  mutex mu;
  co_await with_scope([&](scope& s) {
    auto [stop, stopped] = channel<unit>();
    s.go(
        named("pop"),
        [&mu, fixed](receiver<unit> stopped) -> task<> {
          auto g = co_await mu.lock();
          if (fixed) g.unlock();
          (void)co_await stopped.recv();
        },
        std::move(stopped));
    s.go(
        named("stopper"),
        [&mu](sender<unit> stop) -> task<> {
          auto g = co_await mu.lock();
          stop.close();
        },
        std::move(stop));
  });
}
const row kubernetes26980_{"goker", "kubernetes26980", "", sometimes, proved({"pop", "stopper"}), kubernetes26980};

// A subscription locks the informer, then its queue; a resync the queue, then the informer.
task<> kubernetes30872(bool fixed) {
  mutex informer, queue;
  co_await with_scope([&](scope& s) {
    s.go(named("subscriber"), [&]() -> task<> {
      auto i = co_await informer.lock();
      auto q = co_await queue.lock();
    });
    s.go(named("resync"), [&]() -> task<> {
      auto q = co_await queue.lock();
      if (fixed) q.unlock();
      auto i = co_await informer.lock();
    });
  });
}
const row kubernetes30872_{"goker",        "kubernetes30872", "", sometimes, proved({"subscriber", "resync"}),
                           kubernetes30872};

// The initial events go to a channel that nobody reads.
template <end e>
task<> kubernetes38669(bool fixed) {
  auto [result, events] = channel<int>();
  co_await with_scope([&](scope& s) {
    s.go(
        named("watcher"),
        [](sender<int> result) -> task<> {
          for (int event = 0; event < 3; ++event)
            if (!co_await result.send(event)) co_return;
        },
        std::move(result));
    s.go(
        named("client"),
        [](auto&& events, bool fixed) -> task<> {
          while (fixed && co_await events.recv()) {
          }
        },
        hand<e>(events), fixed);
  });
}
const row kubernetes38669_1{"goker", "kubernetes38669", "", always, ends_by_itself(), kubernetes38669<end::given>};
const row kubernetes38669_2{"goker",
                            "kubernetes38669",
                            "the cacher keeps the receiver",
                            always,
                            proved({"watcher", "kernel"}, {}),
                            kubernetes38669<end::lent>};

// The request timed out; what it started answers to nobody.
task<> kubernetes5316(bool fixed) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [result, answers] = channel<int>();
    s.go(
        named("request"),
        [](sender<int> result) -> task<> {
          co_await sleep(20ms);
          (void)co_await result.send(1);
        },
        std::move(result));
    (void)co_await select(answers.recv(), sleep(fixed ? 10s : 1ms));
  });
}
const row kubernetes5316_{"goker", "kubernetes5316", "", always, ends_by_itself(), kubernetes5316};

// The policy is read by who reads it already, with a writer in between.
task<> kubernetes62464(bool fixed) {
  shared_mutex state;
  auto get_default = [&](bool) -> task<> { auto g = co_await state.lock_shared(); };
  co_await with_scope([&](scope& s) {
    s.go(named("policy"), [&]() -> task<> {
      auto g = co_await state.lock_shared();
      if (fixed) g.unlock();
      co_await get_default(true);
    });
    s.go(named("reconciler"), [&]() -> task<> { auto g = co_await state.lock(); });
  });
}
const row kubernetes62464_{"goker",        "kubernetes62464", "", sometimes, proved({"policy", "reconciler"}),
                           kubernetes62464};

// A frame is written with the lock held, and the write waits for the monitor, which needs the lock to close.
task<> kubernetes6632(bool fixed) {
  mutex write_lock;
  co_await with_scope([&](scope& s) {
    auto [reset, resets] = channel<unit>();
    auto [close, closed] = channel<unit>();
    s.go(
        named("write_frame"),
        [&, fixed](sender<unit> reset) -> task<> {
          auto g = co_await write_lock.lock();
          if (fixed) g.unlock();
          (void)co_await reset.send({});
        },
        std::move(reset));
    s.go(
        named("monitor"),
        [&](receiver<unit> resets, receiver<unit> closed) -> task<> {
          auto next = co_await select(closed.recv(), resets.recv());
          if (next.index() == 1) co_return;
          auto g = co_await write_lock.lock();
          resets.drop();
        },
        std::move(resets), std::move(closed));
    s.go(named("closer"), [](sender<unit> close) { close.close(); }, std::move(close));
  });
}
const row kubernetes6632_{"goker", "kubernetes6632", "", sometimes, proved({"write_frame", "monitor"}), kubernetes6632};

}  // namespace
}  // namespace leash::test::corpus
