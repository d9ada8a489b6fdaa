// What the test programs of all frameworks do: each scene leaks, or is the live twin of one that does.
#pragma once
#include <leash/leash.hpp>
#include <leash/testing.hpp>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

namespace leash::scenes {

/// Waits for what only it could send, if it is given the sender.
inline task<> wait_for(receiver<int> r, std::optional<sender<int>>) { (void)co_await r.recv(); }

inline task<> start_waiting(bool leaks) {
  co_await with_scope([=](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    std::optional<sender<int>> kept;
    if (leaks) kept = tx.dup();
    s.go(named("waiting"), wait_for, std::move(rx), std::move(kept));
    co_return;
  });
}

/// Runs to its end: what leaks is reclaimed, and nobody looks.
inline void reclaimed(bool leaks) {
  options o;
  o.workers = 1;
  o.action = leak_action::reclaim;
  run(o, start_waiting, leaks);
}

/// As reclaimed, but somebody is told.
inline bool reclaimed_and_told() {
  bool told = false;
  options o;
  o.workers = 1;
  o.action = leak_action::reclaim;
  o.on_leak = [&](const leak_report&) { told = true; };
  run(o, start_waiting, true);
  return told;
}

/// All that is left is leaked: run throws.
inline bool deadlocked() {
  options o;
  o.workers = 1;
  try {
    run(o, start_waiting, true);
  } catch (const deadlock_error&) {
    return true;
  }
  return false;
}

/// A runtime that outlives the test, in which a goroutine waits: for itself, or for what may still come.
class background {
 public:
  explicit background(bool leaks) {
    auto [stop, stopped] = channel<int>();
    auto [tell, told] = channel<int>();
    stop_.emplace(std::move(stop));
    thread_ = std::thread([leaks, stopped = std::move(stopped), tell = std::move(tell)]() mutable {
      options o;
      o.workers = 1;
      o.action = leak_action::reclaim;
      run(o, [&]() -> task<> {
        auto [tx, rx] = channel<int>();
        co_await with_scope([&, stopped = std::move(stopped), tell = std::move(tell)](scope& s) mutable -> task<> {
          std::optional<sender<int>> kept, live;
          (leaks ? kept : live).emplace(std::move(tx));
          s.go(named("waiting"), wait_for, std::move(rx), std::move(kept));
          s.go(
              named("working"),
              [](receiver<int> stopped, sender<int> tell, std::optional<sender<int>> live) -> task<> {
                for (int i = 0; i < 20 && !live; ++i) co_await sleep(std::chrono::milliseconds(1));
                (void)co_await tell.send(1);
                (void)co_await stopped.recv();
              },
              std::move(stopped), std::move(tell), std::move(live));
          co_return;
        });
      });
    });
    run([&told = told]() -> task<> { (void)co_await told.recv(); });
  }
  ~background() {
    stop_->drop();
    thread_.join();
  }

 private:
  std::optional<sender<int>> stop_;
  std::thread thread_;
};
inline std::unique_ptr<background> behind;  // ends with the program

/// The test asks, and goes on when it has failed.
inline bool asks(bool leaks) {
  bool went_on = false;
  options o;
  o.workers = 1;
  o.on_leak = [](const leak_report&) {};
  try {
    run(o, [&]() -> task<> {
      co_await with_scope([&](scope& s) -> task<> {
        auto [tx, rx] = channel<int>();
        std::optional<sender<int>> kept;
        if (leaks) kept = std::move(tx);
        s.go(named("waiting"), wait_for, std::move(rx), std::move(kept));
        for (int i = 0; i < 5; ++i) co_await sleep(std::chrono::milliseconds(1));
        testing::expect_no_leaks();
        went_on = true;
      });
    });
  } catch (const deadlock_error&) {
  }
  return went_on;
}

}  // namespace leash::scenes

// TEST_OF(name) { ... } and CHECK_THAT(x) are the framework's.
#define LEASH_SCENES(TEST_OF, CHECK_THAT)                                                                           \
  TEST_OF(leak_that_nobody_saw) { leash::scenes::reclaimed(true); }                                                 \
  TEST_OF(twin_without_a_leak) { leash::scenes::reclaimed(false); }                                                 \
  TEST_OF(leak_that_is_still_parked) { leash::scenes::behind = std::make_unique<leash::scenes::background>(true); } \
  TEST_OF(twin_that_goes_on) { leash::scenes::behind = std::make_unique<leash::scenes::background>(false); }        \
  TEST_OF(leak_that_is_asked_for) { CHECK_THAT(leash::scenes::asks(true)); }                                        \
  TEST_OF(twin_that_asks) { CHECK_THAT(leash::scenes::asks(false)); }                                               \
  TEST_OF(told_by_on_leak) { CHECK_THAT(leash::scenes::reclaimed_and_told()); }                                     \
  TEST_OF(told_by_deadlock_error) { CHECK_THAT(leash::scenes::deadlocked()); }
