// Go's advice: check ctx.Err() when a function is entered, before it does any work.
// Here a goroutine that is cancelled before its first run never starts, and the first wait of a function is its check.
// Only a computation that never waits has to ask.
#include <cstdio>
#include <leash/leash.hpp>

using leash::task;

task<int> take_order(leash::receiver<int>& orders) {
  auto order = co_await orders.recv();  // the context has ended: nothing is taken
  co_return order.value_or(0);
}

task<int> app() {
  bool started = false;
  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    s.cancel("the client is gone");
    s.go([&started] { started = true; });
    co_return;
  });
  std::printf("A goroutine of a cancelled scope %s.\n", started ? "started" : "never started");

  auto [tx, orders] = leash::channel<int>(1);
  bool filled = co_await tx.send(42);
  leash::cancel_source late;
  auto order = co_await leash::with_cancel(late, [&]() -> task<int> {
    late.cancel("too late");
    co_return co_await take_order(orders);
  });
  std::printf("A function entered too late took %s; the order %s.\n", order ? "the order" : "nothing",
              orders.len() == 1 ? "is still there" : "is lost");

  // A long computation: yield() is a wait, so it is a check, and lets others run; err() only asks.
  int rounds = 0;
  bool told = false;
  leash::cancel_source enough;
  bool finished = co_await leash::with_cancel(enough, [&]() -> task<> {
    for (;;) {
      if (++rounds == 1000) {
        enough.cancel("1000 rounds will do");
        told = leash::this_context().err() == leash::context_error::cancelled;
      }
      co_await leash::yield();
    }
  });
  std::printf("A computation that yields ended after %d rounds.\n", rounds);

  bool as_told = filled && !started && !order && orders.len() == 1 && !finished && rounds == 1000 && told;
  if (!as_told) std::puts("FAILED: something began although its context had ended.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
