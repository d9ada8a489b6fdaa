// Go's advice: pass a context everywhere, and answer it first.
// Here the context is ambient, and every wait answers it first, even when there is something to receive.
#include <cstdio>
#include <leash/leash.hpp>

using leash::task;

// No parameter for the context, no select with a done case.
task<> consume(leash::receiver<int>& rx, int& taken, leash::cancel_source& stop) {
  while (auto v = co_await rx.recv()) {
    ++taken;
    if (*v == 3) stop.cancel("three are enough");
  }
}

struct note_at_exit {
  bool& seen;
  explicit note_at_exit(bool& seen) : seen(seen) {}
  ~note_at_exit() { seen = true; }
};

task<int> app() {
  auto [tx, rx] = leash::channel<int>(10);
  bool filled = true;
  for (int i = 1; i <= 10; ++i) filled &= co_await tx.send(i);

  int taken = 0;
  bool cleaned_up = false, swallowed = false, went_on = false;
  leash::cancel_source stop;
  bool whole = co_await leash::with_cancel(stop, [&]() -> task<> {
    note_at_exit note(cleaned_up);
    try {
      co_await consume(rx, taken, stop);
    } catch (...) {
      swallowed = true;  // never: a cancellation is no exception
    }
    went_on = true;  // never: it unwinds up to with_cancel
  });

  std::printf("The consumer took %d values and was cancelled; %zu are still in the buffer.\n", taken, rx.len());
  std::printf("Its destructors %s, its catch (...) saw %s.\n", cleaned_up ? "ran" : "did not run",
              swallowed ? "the cancellation" : "nothing");
  bool as_told = filled && !whole && taken == 3 && rx.len() == 7 && cleaned_up && !swallowed && !went_on;
  if (!as_told) std::puts("FAILED: the wait did not answer the context first.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
