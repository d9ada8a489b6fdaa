// Go's advice: guard long runs with time.AfterFunc, and stop the guard when the run is over.
// Here dropping the timer stops it. If the guard only has to end the run, with_timeout is all of it.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <leash/leash.hpp>
#include <memory>
#include <optional>
#include <sstream>
#include <string>

using leash::task;
using namespace std::chrono_literals;

task<> work(std::chrono::nanoseconds how_long) { co_await leash::sleep(how_long); }

task<int> app() {
  // A run in time: the guard goes out of scope, and what it captured with it.
  std::atomic<int> fired = 0;
  auto captured = std::make_shared<int>(1);
  {
    leash::timer guard = leash::after_func(5min, [&fired, captured] { ++fired; });
    co_await work(1ms);
  }
  bool let_go = captured.use_count() == 1;
  std::printf("The short run ended; its guard fired %d times and %s what it captured.\n", fired.load(),
              let_go ? "let go of" : "still holds");

  // A run that hangs: the guard looks around, says what it saw, and cancels the run.
  std::ostringstream seen;
  std::optional<leash::context> ended;
  leash::cancel_source stop;
  bool whole = co_await leash::with_cancel(stop, [&]() -> task<> {
    ended = leash::this_context();
    leash::timer guard = leash::after_func(10ms, [&seen, &fired, stop = stop.dup()]() mutable {
      ++fired;
      leash::dump(seen);
      stop.cancel("longer than 10 ms");
    });
    co_await work(1h);
  });
  std::string reason = ended->cause().reason;
  std::printf("The long run was cut short: \"%s\". The guard's dump has %zu bytes.\n", reason.c_str(),
              seen.str().size());

  bool in_time = co_await leash::with_timeout(10ms, work(1h));
  std::printf("The same without a guard of your own: with_timeout says %s.\n", in_time ? "done" : "too late");

  bool as_told = let_go && fired == 1 && !whole && reason == "longer than 10 ms" && !seen.str().empty() && !in_time;
  if (!as_told) std::puts("FAILED: the guard did not do its work.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
