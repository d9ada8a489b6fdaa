// Small programs whose schedules the tests explore, and the same for a process of its own.
#pragma once
#include <chrono>
#include <leash/leash.hpp>
#include <leash/testing.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace leash::programs {

using namespace std::chrono_literals;

/// A bit of everything that makes a choice, or wakes somebody.
inline task<> everything(std::string* log) {
  mutex m;
  auto [tx, rx] = channel<int>(1);
  auto [done_tx, done_rx] = channel<int>();
  co_await with_scope([&, rx = std::move(rx), done_rx = std::move(done_rx), tx = std::move(tx),
                       done_tx = std::move(done_tx)](scope& s) mutable -> task<> {
    for (int i = 0; i < 3; ++i)
      s.go(
          named("producer"),
          [](sender<int> to, mutex& m, std::string* log, int i) -> task<> {
            for (int k = 0; k < 3; ++k) {
              auto g = co_await m.lock();
              if (log != nullptr) *log += "p" + std::to_string(i);
              co_await yield();
              if (!co_await to.send(i * 10 + k)) co_return;
            }
          },
          tx.dup(), std::ref(m), log, i);
    tx.drop();
    s.go(
        named("ticker"),
        [](sender<int> to) -> task<> {
          for (int i = 0; i < 3; ++i) {
            co_await sleep(1ms);
            if (!co_await to.send(i)) co_return;
          }
        },
        std::move(done_tx));
    co_await with_timeout(10ms, [&]() -> task<> {
      for (int open = 2; open > 0;) {
        auto r = co_await select(rx.recv(), done_rx.recv(), sleep(2ms));
        if (log != nullptr) *log += "s" + std::to_string(r.index());
        if (r.index() == 0 && !std::get<0>(r)) --open, rx.drop();
        if (r.index() == 1 && !std::get<1>(r)) --open, done_rx.drop();
      }
    });
    // In real time the timeout may come first: who still sends must not wait for this goroutine, which waits for them.
    rx.drop();
    done_rx.drop();
    int called = co_await blocking([] { return 7; });
    if (log != nullptr) *log += "b" + std::to_string(called);
  });
}

/// Two steps of `increments` with a lock around each, but not around both: a lost update needs one preemption between
/// them, and that the other gets through both of its own.
inline task<> lost_update(bool correct, int others = 1) {
  mutex m;
  int value = 0;
  auto increment = [&]() -> task<> {
    int seen = 0;
    {
      auto g = co_await m.lock();
      seen = value;
      if (correct) {
        value = seen + 1;
        co_return;
      }
    }
    auto g = co_await m.lock();
    value = seen + 1;
  };
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i <= others; ++i) s.go(named("increment"), increment);
    co_return;
  });
  if (value != others + 1) throw std::logic_error("an update was lost: " + std::to_string(value));
}

/// Fails only if `second` makes all of its n steps between the first and the second step of `first`: one preemption, at
/// one place. With `twice` only if it is itself cut short after them: two, far apart.
inline task<> rare_order(int n, bool twice) {
  int stage = 0, steps = 0;
  auto step = []() -> task<> {  // a wait at which the default goes on with the same goroutine
    auto [tx, rx] = channel<int>(1);
    (void)co_await tx.send(1);
  };
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("first"), [&]() -> task<> {
      co_await step();
      int const before = steps;
      co_await step();
      if (before == 0 && steps == n && (!twice || stage == 0)) throw std::logic_error("the rare order");
    });
    s.go(named("second"), [&]() -> task<> {
      for (int i = 0; i < n; ++i) {
        co_await step();
        ++steps;
      }
      co_await step();
      stage = 1;
    });
    co_return;
  });
}

/// Two locks taken in either order.
inline task<> two_locks(bool correct) {
  mutex a, b;
  auto take = [](mutex& x, mutex& y) -> task<> {
    auto g = co_await x.lock();
    auto h = co_await y.lock();
  };
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("ab"), take, std::ref(a), std::ref(b));
    if (correct)
      s.go(named("ab again"), take, std::ref(a), std::ref(b));
    else
      s.go(named("ba"), take, std::ref(b), std::ref(a));
    co_return;
  });
}

/// How a run went, in one text.
inline std::string text_of(const testing::recording& r) {
  std::ostringstream out;
  out << "schedule " << r.schedule << "\n";
  for (const testing::step& s : r.steps) out << s << "\n";
  out << (r.leaked ? "leaked\n" : "") << (r.error ? "failed\n" : "");
  return out.str();
}

}  // namespace leash::programs
