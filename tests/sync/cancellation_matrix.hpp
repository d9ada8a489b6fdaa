// Every kind of wait, as something that can be waited for once, completed once from outside, and checked afterwards:
// if the wait went through it has taken exactly what complete() gave; if it was cancelled, nothing.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/support.hpp"

namespace leash::test {

struct wait_kind {
  explicit wait_kind(std::string name, std::string reason) : name(std::move(name)), reason(std::move(reason)) {}
  virtual ~wait_kind() = default;
  virtual task<> prepare(scope&) { co_return; }  // starts what the wait needs beside itself
  virtual void finish() {}                       // ends it
  virtual task<> wait() = 0;                     // the wait itself; nothing but it may suspend
  virtual bool complete() {
    return false;
  }  // lets one wait go through; false: nobody was there to take it, now or later
  virtual task<bool> took_nothing() { co_return true; }  // after complete(): what it gave is still there
  virtual task<bool> took_it() { co_return true; }       // after complete(): what it gave is gone
  virtual bool completes() const { return true; }
  virtual bool outlives_its_context() const { return false; }  // ready, it comes before the cancellation
  const std::string name, reason;
};

inline task<bool> lockable(auto& m) { co_return try_select(m.lock()).has_value(); }

struct recv_buffered : wait_kind {
  recv_buffered() : wait_kind("recv, buffered", "chan receive") {}
  task<> wait() override { EXPECT_EQ(co_await ends.second.recv(), 7); }
  bool complete() override { return ends.first.try_send(7) == try_result::done; }
  task<bool> took_nothing() override { co_return ends.second.len() == 1; }
  task<bool> took_it() override { co_return ends.second.len() == 0; }
  std::pair<sender<int>, receiver<int>> ends = channel<int>(1);
};
struct recv_unbuffered : wait_kind {
  recv_unbuffered() : wait_kind("recv, unbuffered", "chan receive") {}
  task<> wait() override { EXPECT_EQ(co_await ends.second.recv(), 7); }
  bool complete() override { return ends.first.try_send(7) == try_result::done; }
  task<bool> took_nothing() override { co_return false; }  // a hand-off that was accepted must arrive
  std::pair<sender<int>, receiver<int>> ends = channel<int>();
};
struct recv_end : wait_kind {
  recv_end() : wait_kind("recv, to the end", "chan receive") {}
  task<> wait() override { EXPECT_EQ(co_await ends.second.recv(), std::nullopt); }
  bool complete() override { return ends.first.close(), true; }
  std::pair<sender<int>, receiver<int>> ends = channel<int>();
};
struct send_unbuffered : wait_kind {
  send_unbuffered() : wait_kind("send, unbuffered", "chan send") {}
  task<> wait() override { EXPECT_TRUE(co_await ends.first.send(7)); }
  bool complete() override { return ends.second.try_recv() == 7; }
  task<bool> took_nothing() override { co_return false; }
  std::pair<sender<int>, receiver<int>> ends = channel<int>();
};
struct send_buffered : wait_kind {
  send_buffered() : wait_kind("send, buffered", "chan send") { EXPECT_EQ(ends.first.try_send(1), try_result::done); }
  task<> wait() override { EXPECT_TRUE(co_await ends.first.send(7)); }
  bool complete() override { return ends.second.try_recv() == 1; }
  task<bool> took_nothing() override { co_return ends.second.len() == 0; }
  task<bool> took_it() override { co_return ends.second.try_recv() == 7; }
  std::pair<sender<int>, receiver<int>> ends = channel<int>(1);
};
struct send_or_keeps : wait_kind {
  send_or_keeps() : wait_kind("send_or", "chan send") {}
  task<> wait() override {
    EXPECT_FALSE(co_await ends.first.send_or(std::move(value)));
    EXPECT_EQ(value, nullptr);
  }
  bool complete() override { return ends.second.try_recv().has_value(); }
  task<bool> took_nothing() override { co_return false; }
  std::unique_ptr<int> value = std::make_unique<int>(7);
  std::pair<sender<std::unique_ptr<int>>, receiver<std::unique_ptr<int>>> ends = channel<std::unique_ptr<int>>();
};
struct select_recv : wait_kind {
  select_recv() : wait_kind("select, by recv", "select") {}
  task<> wait() override { EXPECT_EQ((co_await select(in.second.recv(), out.first.send(1), sleep(1h))).index(), 0u); }
  bool complete() override { return in.first.try_send(7) == try_result::done; }
  task<bool> took_nothing() override { co_return false; }
  std::pair<sender<int>, receiver<int>> in = channel<int>(), out = channel<int>();
};
struct select_send : wait_kind {
  select_send() : wait_kind("select, by send", "select") {}
  task<> wait() override { EXPECT_EQ((co_await select(in.second.recv(), out.first.send(1), lock.lock())).index(), 1u); }
  bool complete() override { return out.second.try_recv() == 1; }
  task<bool> took_nothing() override { co_return false; }
  mutex lock;
  std::optional<mutex::guard> held = std::get<0>(*try_select(lock.lock()));
  std::pair<sender<int>, receiver<int>> in = channel<int>(), out = channel<int>();
};
struct recv_broadcast : wait_kind {
  recv_broadcast() : wait_kind("recv, of a broadcast", "chan receive") {}
  task<> wait() override { EXPECT_EQ(co_await ends.second.recv(), 7); }
  bool complete() override { return ends.first.try_send(7) == try_result::done; }
  task<bool> took_nothing() override { co_return ends.second.len() == 1; }
  task<bool> took_it() override { co_return ends.second.len() == 0; }
  std::pair<broadcast_sender<int>, broadcast_receiver<int>> ends = broadcast<int>(1);
};
struct send_broadcast : wait_kind {
  send_broadcast() : wait_kind("send, of a broadcast", "chan send") {
    EXPECT_EQ(ends.first.try_send(1), try_result::done);
  }
  task<> wait() override { EXPECT_TRUE(co_await ends.first.send(7)); }
  bool complete() override { return ends.second.try_recv() == 1; }
  task<bool> took_nothing() override { co_return ends.second.len() == 0; }
  task<bool> took_it() override { co_return ends.second.try_recv() == 7; }
  std::pair<broadcast_sender<int>, broadcast_receiver<int>> ends = broadcast<int>(1);
};
struct recv_watch : wait_kind {
  recv_watch() : wait_kind("recv, of a watch", "chan receive") { (void)ends.second.get(); }
  task<> wait() override { EXPECT_EQ(co_await ends.second.recv(), 7); }
  bool complete() override { return ends.first.try_send(7) == try_result::done; }
  task<bool> took_nothing() override { co_return ends.second.len() == 1; }
  task<bool> took_it() override { co_return ends.second.len() == 0; }
  std::pair<watch_sender<int>, watch_receiver<int>> ends = watch<int>(0);
};
struct lock_mutex : wait_kind {
  lock_mutex() : wait_kind("lock", "sync.Mutex.Lock") {}
  task<> wait() override { mine.emplace(co_await m.lock()); }
  bool complete() override { return held.reset(), true; }
  task<bool> took_nothing() override { co_return co_await lockable(m); }
  task<bool> took_it() override { co_return !co_await lockable(m); }
  mutex m;
  std::optional<mutex::guard> mine, held = std::get<0>(*try_select(m.lock()));
};
struct lock_guarded : wait_kind {
  lock_guarded() : wait_kind("guarded lock", "sync.Mutex.Lock"), held(std::get<0>(*try_select(state.lock()))) {}
  task<> wait() override { ++*co_await state.lock(); }
  bool complete() override { return held.reset(), true; }
  task<bool> took_nothing() override { co_return *co_await state.lock() == 0; }
  task<bool> took_it() override { co_return *co_await state.lock() == 1; }
  guarded<int> state{0};
  std::optional<guarded<int>::guard> held;
};
struct lock_exclusive : wait_kind {
  lock_exclusive() : wait_kind("shared_mutex lock", "sync.RWMutex.Lock") {}
  task<> wait() override { mine.emplace(co_await m.lock()); }
  bool complete() override { return held.reset(), true; }
  task<bool> took_nothing() override { co_return co_await lockable(m); }
  task<bool> took_it() override { co_return !co_await lockable(m); }
  shared_mutex m;
  std::optional<shared_mutex::guard> mine;
  std::optional<shared_mutex::shared_guard> held = std::get<0>(*try_select(m.lock_shared()));
};
struct lock_shared : wait_kind {
  lock_shared() : wait_kind("lock_shared", "sync.RWMutex.RLock") {}
  task<> wait() override { mine.emplace(co_await m.lock_shared()); }
  bool complete() override { return held.reset(), true; }
  task<bool> took_nothing() override { co_return co_await lockable(m); }
  task<bool> took_it() override { co_return !co_await lockable(m); }
  shared_mutex m;
  std::optional<shared_mutex::shared_guard> mine;
  std::optional<shared_mutex::guard> held = std::get<0>(*try_select(m.lock()));
};
struct acquire : wait_kind {
  acquire() : wait_kind("acquire", "semaphore") {}
  task<> wait() override { mine.emplace(co_await sem.acquire(2)); }
  bool complete() override { return held.reset(), true; }
  task<bool> took_nothing() override { co_return try_select(sem.acquire(3)).has_value(); }
  task<bool> took_it() override { co_return !try_select(sem.acquire(2)) && try_select(sem.acquire(1)); }
  semaphore sem{3};
  std::optional<semaphore::permit> mine, held = std::get<0>(*try_select(sem.acquire(2)));
};
struct wait_condition : wait_kind {
  wait_condition() : wait_kind("condition", "sync.Cond.Wait") {}
  task<> wait() override {
    auto g = std::get<0>(*try_select(m.lock()));
    co_await cv.wait(g, [this] { return ready.load(); });
  }
  bool complete() override { return ready = true, cv.notify_one(), true; }
  task<bool> took_nothing() override { co_return co_await lockable(m); }
  task<bool> took_it() override { co_return co_await lockable(m); }
  mutex m;
  condition cv;
  std::atomic<bool> ready = false;
};
struct wait_event : wait_kind {
  wait_event() : wait_kind("event", "event") {}
  task<> wait() override { co_await ev.wait(); }
  bool complete() override { return ev.set(), true; }
  event ev;
};
struct wait_tokens : wait_kind {
  wait_tokens() : wait_kind("wait_group", "sync.WaitGroup.Wait") {}
  task<> wait() override { co_await wg.wait(); }
  bool complete() override { return token.done(), true; }
  wait_group wg;
  wait_group::token token = wg.add();
};
struct wait_done : wait_kind {
  wait_done() : wait_kind("done of another context", "context done") {}
  task<> prepare(scope& s) override {
    auto [tx, rx] = channel<context>(1);
    s.go(
        [](cancel_source cs, sender<context> to) -> task<> {
          co_await with_cancel(cs, [&]() -> task<> {
            EXPECT_TRUE(co_await to.send(this_context()));
            co_await forever();
          });
        },
        source.dup(), std::move(tx));
    other = co_await rx.recv();
  }
  task<> wait() override { co_await other->done(); }
  bool complete() override { return source.cancel("complete"), true; }
  void finish() override { source.cancel("over"); }
  cancel_source source;
  bool outlives_its_context() const override { return true; }
  std::optional<context> other;
};
struct join_child : wait_kind {
  join_child() : wait_kind("join", "goroutine join") {}
  task<> prepare(scope& s) override {
    child.emplace(s.go([this]() -> task<int> {
      co_await ev.wait();
      co_return 7;
    }));
    co_return;
  }
  task<> wait() override { EXPECT_EQ(co_await child->join(), 7); }
  bool complete() override { return ev.set(), true; }
  void finish() override { ev.set(); }
  event ev;
  std::optional<goroutine<int>> child;
};
struct once_second : wait_kind {
  once_second() : wait_kind("once, behind another", "once") {}
  task<> prepare(scope& s) override {
    s.go(named("first"), [this]() -> task<> { co_await o.call([this] { return first(); }); });
    EXPECT_TRUE(co_await parked("first", "event"));
  }
  task<> first() {
    co_await ev.wait();
    ++runs;
  }
  task<> wait() override {
    co_await o.call([this] { ++runs; });
    EXPECT_EQ(runs, 1);
  }
  bool complete() override { return ev.set(), true; }
  void finish() override { ev.set(); }
  once o;
  event ev;
  std::atomic<int> runs = 0;
};
struct wait_sleep : wait_kind {
  wait_sleep() : wait_kind("sleep", "sleep") {}
  task<> wait() override { co_await sleep(1h); }
  bool completes() const override { return false; }
};
struct wait_ticker : wait_kind {
  wait_ticker() : wait_kind("ticker", "ticker") {}
  task<> wait() override { co_await t.next(); }
  bool completes() const override { return false; }
  ticker t{1h};
};
struct wait_forever : wait_kind {
  wait_forever() : wait_kind("forever", "") {}
  task<> wait() override { co_await forever(); }
  bool completes() const override { return false; }
};

/// A fresh one of each kind.
inline std::vector<std::unique_ptr<wait_kind>> every_kind_of_wait() {
  std::vector<std::unique_ptr<wait_kind>> all;
  auto add = [&]<class... K>(std::type_identity<K>...) { (all.push_back(std::make_unique<K>()), ...); };
  add(std::type_identity<recv_buffered>(), std::type_identity<recv_unbuffered>(), std::type_identity<recv_end>(),
      std::type_identity<send_unbuffered>(), std::type_identity<send_buffered>(), std::type_identity<send_or_keeps>(),
      std::type_identity<recv_broadcast>(), std::type_identity<send_broadcast>(), std::type_identity<recv_watch>(),
      std::type_identity<select_recv>(), std::type_identity<select_send>(), std::type_identity<lock_mutex>(),
      std::type_identity<lock_guarded>(), std::type_identity<lock_exclusive>(), std::type_identity<lock_shared>(),
      std::type_identity<acquire>(), std::type_identity<wait_condition>(), std::type_identity<wait_event>(),
      std::type_identity<wait_tokens>(), std::type_identity<wait_done>(), std::type_identity<join_child>(),
      std::type_identity<once_second>(), std::type_identity<wait_sleep>(), std::type_identity<wait_ticker>(),
      std::type_identity<wait_forever>());
  return all;
}

}  // namespace leash::test
