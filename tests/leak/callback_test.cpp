// Callbacks that may use what their creator may use. Looked at from a thread outside: no goroutine above the scope is
// live, so that nothing but the callback keeps its waiters so.
#include <thread>

#include "kernel.hpp"

namespace leash::test::callback_tests {

/// Runs `body` as a whole program; a thread that sees "waiter" parked must not find it leaked, and the program must end.
template <class Body>
void never_leaked(Body body) {
  std::thread outside([] {
    if (!parked_seen_from_outside("waiter", "context done")) return;
    std::this_thread::sleep_for(20ms);
    leak_report const r = find_leaks();
    EXPECT_EQ(count(r, "waiter"), 0u) << text(r);
  });
  run_at(2, body);
  outside.join();
}

task<> wait_for_the_end() { co_await this_context().done(); }

TEST(Callback, ATimerMayCancelTheScopeThatMadeIt) {
  never_leaked([]() -> task<> {
    std::optional<timer> later;
    co_await with_scope([&later](scope& s) -> task<> {
      s.go(named("waiter"), wait_for_the_end);
      later.emplace(after_func(200ms, [&s] { s.cancel(); }));
      co_return;
    });
  });
}

TEST(Callback, AContextsEndMayCancelAScope) {
  never_leaked([]() -> task<> {
    cancel_source source;
    co_await with_scope([&source](scope& outer) -> task<> {
      outer.go(
          named("canceller"),
          [](cancel_source cs) -> task<> {
            co_await sleep(200ms);
            cs.cancel();
          },
          source.dup());
      co_await with_scope([&source](scope& s) -> task<> {
        s.go(named("waiter"), wait_for_the_end);
        (void)co_await with_cancel(source, [&s]() -> task<> {
          auto registered = on_done(this_context(), [&s] { s.cancel(); });
          co_await this_context().done();
        });
      });
    });
  });
}

}  // namespace leash::test::callback_tests
