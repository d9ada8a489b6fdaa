// Further causes, of the same kinds and of kinds that Go does not have.
#include <optional>

#include "corpus.hpp"

namespace leash::test::corpus {
namespace {

using enum go_says;

// etcd's keeper of tokens needs the lock to expire some; who assigns one holds it while the keeper should take it in.
task<> token_keeper(bool fixed) {
  mutex mu;
  co_await with_scope([&](scope& s) {
    auto [add, added] = channel<int>(1);
    s.go(
        named("keeper"),
        [&](receiver<int> added) -> task<> {
          for (int ticks = 0; ticks < 3; ++ticks) {
            auto next = co_await select(added.recv(), sleep(1ms));
            if (next.index() == 0) continue;
            auto expire = co_await mu.lock();
          }
          added.drop();
        },
        std::move(added));
    s.go(
        named("assigner"),
        [&](sender<int> add) -> task<> {
          for (int i = 0; i < 3; ++i) {
            co_await sleep(1ms);
            auto g = co_await mu.lock();
            if (fixed) g.unlock();
            for (int token = 0; token < 2; ++token)
              if (!co_await add.send(token)) co_return;
          }
        },
        std::move(add));
  });
}
const row token_keeper_{"more", "TokenKeeper", "", not_run, proved({"keeper", "assigner"}), token_keeper};

// A container's state changes under its lock, and tells the monitor to stop; it is about to take that lock.
task<> stop_under_the_lock(bool fixed) {
  mutex container;
  co_await with_scope([&](scope& s) {
    auto [stop, stopped] = channel<unit>();
    s.go(
        named("monitor"),
        [&](receiver<unit> stopped) -> task<> {
          for (int probe = 0; probe < 3; ++probe) {
            if (try_select(stopped.recv())) co_return;
            auto result = co_await container.lock();
          }
        },
        std::move(stopped));
    s.go(
        named("changer"),
        [&](sender<unit> stop) -> task<> {
          auto g = co_await container.lock();
          if (fixed) g.unlock();
          (void)co_await stop.send({});
        },
        std::move(stop));
  });
}
const row stop_under_the_lock_{
    "more", "StopUnderTheLock", "", not_run, proved({"monitor", "changer"}), stop_under_the_lock};

// Two loops send to each other before either receives.
task<> two_senders(bool fixed) {
  auto loop = [](sender<int> to, receiver<int> from, bool first) -> task<> {
    if (first) (void)co_await from.recv();
    (void)co_await to.send(1);
    if (!first) (void)co_await from.recv();
  };
  co_await with_scope([&](scope& s) {
    auto [a, from_a] = channel<int>();
    auto [b, from_b] = channel<int>();
    s.go(named("raft"), loop, std::move(a), std::move(from_b), false);
    s.go(named("writer"), loop, std::move(b), std::move(from_a), fixed);
  });
}
const row two_senders_{"more", "TwoSenders", "", not_run, in_every_schedule(proved({"raft", "writer"})), two_senders};

// Each has one of two permits, and needs another.
task<> two_permits(bool fixed) {
  semaphore slots(2);
  co_await with_scope([&](scope& s) {
    for (const char* name : {"left", "right"})
      s.go(named(name), [&]() -> task<> {
        auto one = co_await slots.acquire();
        co_await yield();
        if (fixed) one.release();
        auto two = co_await slots.acquire(fixed ? 2 : 1);
      });
  });
}
const row two_permits_{"more", "TwoPermits", "", not_run, proved({"left", "right"}), two_permits};

// Two things that are made once need each other.
task<> once_in_a_circle(bool fixed) {
  once config, log;
  co_await with_scope([&](scope& s) {
    s.go(named("config"), [&]() -> task<> {
      co_await config.call([&]() -> task<> {
        co_await yield();
        co_await log.call([] {});
      });
    });
    s.go(named("log"), [&]() -> task<> {
      co_await log.call([&]() -> task<> {
        co_await yield();
        if (!fixed) co_await config.call([] {});
      });
    });
  });
}
const row once_in_a_circle_{"more", "OnceInACircle", "", not_run, proved({"config", "log"}), once_in_a_circle};

// Each joins the other.
task<> join_in_a_circle(bool fixed) {
  std::optional<goroutine<void>> second;
  event known;
  co_await with_scope([&](scope& s) {
    auto first = s.go(named("first"), [&]() -> task<> {
      co_await known.wait();
      (void)co_await second->join();
    });
    second = s.go(
        named("second"),
        [](goroutine<void> first, bool fixed) -> task<> {
          if (!fixed) (void)co_await first.join();
        },
        std::move(first), fixed);
    known.set();
  });
}
const row join_in_a_circle_{
    "more", "JoinInACircle", "", not_run, in_every_schedule(proved({"first", "second"})), join_in_a_circle};

// The group's results are gathered, and one of the tasks waits for what another returns only at its end.
task<> gathered(bool fixed) {
  auto [tx, rx] = channel<int>(1);
  if (fixed) EXPECT_EQ(tx.try_send(1), try_result::done);
  auto wait = [](receiver<int>& rx) -> task<> { (void)co_await rx.recv(); };
  auto work = []() -> task<> { co_await yield(); };
  try {
    (void)co_await gather(wait(rx), work());
  } catch (const std::runtime_error&) {
    EXPECT_FALSE(fixed);  // a gathered task was reclaimed
  }
}
const row gathered_{"more", "Gathered", "", not_run, in_every_schedule(proved({"kernel", ""}, {})), gathered};

// The child says that it is ready after it got its order, which is sent when it is ready.
task<> ready_too_late(bool fixed) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [orders, order] = channel<int>(1);
    if (fixed) EXPECT_EQ(orders.try_send(1), try_result::done);
    (void)co_await s.start(
        named("child"),
        [](receiver<int> order, ready_signal ready) -> task<> {
          (void)co_await order.recv();
          ready();
        },
        std::move(order));
    (void)co_await orders.send(2);
  });
}
const row ready_too_late_{
    "more", "ReadyTooLate", "", not_run, in_every_schedule(proved({"kernel", "child"}, {})), ready_too_late};

// A handler holds the lock over a callback that was started elsewhere, and waits for it; it needs the lock.
task<> callback_under_the_lock(bool fixed) {
  mutex mu;
  wait_group callbacks;
  co_await with_scope([&](scope& s) {
    s.go(named("handler"), [&]() -> task<> {
      wait_group called;
      auto g = co_await mu.lock();
      timer t = after_func(1ms, [&, running = called.add()]() -> task<> { auto mine = co_await mu.lock(); });
      if (fixed) g.unlock();
      co_await called.wait();
    });
  });
}
const row callback_under_the_lock_{"more",
                                   "CallbackUnderTheLock",
                                   "",
                                   not_run,
                                   in_every_schedule(proved({"handler"}, {"kernel"}, {""})),
                                   callback_under_the_lock};

}  // namespace
}  // namespace leash::test::corpus
