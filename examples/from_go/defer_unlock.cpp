// Go's advice: defer the unlock.
// Here locking gives a guard, and there is no unlock to forget: return, throw and cancellation all release it.
#include <chrono>
#include <cstdio>
#include <leash/leash.hpp>
#include <stdexcept>

using leash::task;
using namespace std::chrono_literals;

template <class Lock>
concept unlockable = requires(Lock& lock) { lock.unlock(); };
static_assert(!unlockable<leash::mutex>, "only the guard releases");

task<bool> withdraw(leash::mutex& m, int& balance, int amount) {
  auto g = co_await m.lock();
  if (amount > balance) co_return false;  // the forgotten unlock of so many early returns
  balance -= amount;
  co_return true;
}

task<> audit(leash::mutex& m) {
  auto g = co_await m.lock();
  throw std::runtime_error("the books do not match");
}

task<> hold(leash::mutex& m) {
  auto g = co_await m.lock();
  co_await leash::forever();
}

task<bool> is_free(leash::mutex& m) {
  auto g = co_await leash::with_timeout(1s, m.lock());
  co_return g.has_value();
}

task<int> app() {
  leash::mutex m;
  int balance = 10;

  bool paid = co_await withdraw(m, balance, 100);
  bool after_return = co_await is_free(m);

  bool threw = false;
  try {
    co_await audit(m);
  } catch (const std::runtime_error&) {
    threw = true;
  }
  bool after_throw = co_await is_free(m);

  bool whole = co_await leash::with_timeout(10ms, hold(m));
  bool after_cancel = co_await is_free(m);

  // State and lock in one: it cannot be touched without the lock.
  leash::guarded<int> visits(0);
  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    for (int i = 0; i < 100; ++i) s.go([&]() -> task<> { ++*co_await visits.lock(); });
    co_return;
  });
  int counted = *co_await visits.lock();

  std::printf("The mutex is free after an early return: %s, after a throw: %s, after a cancellation: %s.\n",
              after_return ? "yes" : "no", after_throw ? "yes" : "no", after_cancel ? "yes" : "no");
  std::printf("A hundred goroutines counted to %d.\n", counted);
  bool as_told = !paid && threw && !whole && after_return && after_throw && after_cancel && counted == 100;
  if (!as_told) std::puts("FAILED: a lock was not released.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
