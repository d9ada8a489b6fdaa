// At a wait whose context has ended, cancellation comes first and nothing is consumed.
#include <string>
#include <vector>

#include "support/support.hpp"

namespace leash::test::first_tests {

/// Runs `body` in a context that ends before its first wait; true if it passed that wait.
template <class Body>
task<bool> passes_its_first_wait(Body body) {
  cancel_source cs;
  cs.cancel();
  bool passed = false;
  EXPECT_FALSE(co_await with_cancel(cs, [&]() -> task<> {
    co_await body();
    passed = true;
  }));
  co_return passed;
}

LEASH_TEST(CancelledFirst, RecvLeavesTheValue) {
  auto [tx, rx] = channel<int>(2);
  EXPECT_TRUE(co_await tx.send(1));
  EXPECT_FALSE(co_await passes_its_first_wait([&]() -> task<> { (void)co_await rx.recv(); }));
  EXPECT_EQ(rx.len(), 1u);
  EXPECT_EQ(co_await rx.recv(), 1);
}

LEASH_TEST(CancelledFirst, SendLeavesTheValueWithItsOwner) {
  auto [tx, rx] = channel<std::string>(2);
  std::string v = "a string that is too long to be kept inside of its object";
  EXPECT_FALSE(co_await passes_its_first_wait([&]() -> task<> { (void)co_await tx.send(std::move(v)); }));
  EXPECT_FALSE(co_await passes_its_first_wait([&]() -> task<> { (void)co_await tx.send_or(std::move(v)); }));
  EXPECT_EQ(rx.len(), 0u);
  EXPECT_FALSE(v.empty());
}

LEASH_TEST(CancelledFirst, SelectTakesNoReadyCase) {
  auto [tx, rx] = channel<int>(2);
  EXPECT_TRUE(co_await tx.send(1));
  EXPECT_FALSE(co_await passes_its_first_wait([&]() -> task<> { (void)co_await select(rx.recv(), tx.send(2)); }));
  EXPECT_EQ(rx.len(), 1u);
}

LEASH_TEST(CancelledFirst, LocksStayFree) {
  mutex m;
  shared_mutex rw;
  semaphore sem(2);
  guarded<int> value(0);
  EXPECT_FALSE(co_await passes_its_first_wait([&]() -> task<> { auto g = co_await m.lock(); }));
  EXPECT_FALSE(co_await passes_its_first_wait([&]() -> task<> { auto g = co_await rw.lock(); }));
  EXPECT_FALSE(co_await passes_its_first_wait([&]() -> task<> { auto g = co_await rw.lock_shared(); }));
  EXPECT_FALSE(co_await passes_its_first_wait([&]() -> task<> { auto g = co_await sem.acquire(2); }));
  EXPECT_FALSE(co_await passes_its_first_wait([&]() -> task<> { auto g = co_await value.lock(); }));
  EXPECT_TRUE(try_select(m.lock()));
  EXPECT_TRUE(try_select(rw.lock()));
  EXPECT_TRUE(try_select(sem.acquire(2)));
  EXPECT_TRUE(try_select(value.lock()));
}

LEASH_TEST(CancelledFirst, WaitsThatAreOverBeforeTheyBegin) {
  event set;
  set.set();
  wait_group none;
  EXPECT_FALSE(co_await passes_its_first_wait([&]() -> task<> { co_await set.wait(); }));
  EXPECT_FALSE(co_await passes_its_first_wait([&]() -> task<> { co_await none.wait(); }));
  EXPECT_FALSE(co_await passes_its_first_wait([]() -> task<> { co_await sleep(0s); }));
  EXPECT_FALSE(co_await passes_its_first_wait([]() -> task<> { co_await sleep_until(now() - 1h); }));
  EXPECT_FALSE(co_await passes_its_first_wait([]() -> task<> { co_await yield(); }));
  EXPECT_FALSE(co_await passes_its_first_wait([]() -> task<> { co_await forever(); }));
}

LEASH_TEST(CancelledFirst, ABlockingCallIsNotMade) {
  bool called = false;
  EXPECT_FALSE(co_await passes_its_first_wait([&]() -> task<> { co_await blocking([&] { called = true; }); }));
  EXPECT_FALSE(called);
}

LEASH_TEST(CancelledFirst, AOnceIsNotCalledAndMayBeCalledLater) {
  once o;
  int calls = 0;
  auto call = [&]() -> task<> {
    co_await o.call([&]() -> task<> {
      co_await yield();
      ++calls;
    });
  };
  EXPECT_FALSE(co_await passes_its_first_wait(call));
  EXPECT_EQ(calls, 0);
  co_await call();
  co_await call();
  EXPECT_EQ(calls, 1);
}

LEASH_TEST(CancelledFirst, AJoinLeavesTheResult) {
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go([] { return 6; });
    co_await yield();
    EXPECT_FALSE(co_await passes_its_first_wait([&]() -> task<> { (void)co_await h.join(); }));
    EXPECT_EQ(co_await h.join(), 6);
  });
}

LEASH_TEST(CancelledFirst, AParkedWaitConsumesNothingEither) {
  auto [tx, rx] = channel<int>(1);
  for (int i = 0; i < 50; ++i) {
    cancel_source cs;
    bool got = false;
    co_await with_scope([&](scope& s) -> task<> {
      s.go(
          named("receiver"),
          [](cancel_source& cs, receiver<int>& from, bool& got) -> task<> {
            (void)co_await with_cancel(cs, [&]() -> task<> {
              if (co_await from.recv()) got = true;
            });
          },
          std::ref(cs), std::ref(rx), std::ref(got));
      if (i % 2) co_await yield();
      cs.cancel();
      EXPECT_TRUE(co_await tx.send(i));
    });
    // Exactly one: the receiver took it, or it is still there.
    auto left = rx.try_recv();
    EXPECT_NE(got, left.has_value());
  }
}

}  // namespace leash::test::first_tests
