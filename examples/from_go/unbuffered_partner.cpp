// Go's advice: never rely on the partner of an unbuffered channel (give the result channel room for one).
// Here a send whose last receiver is gone fails at once, so the worker of a caller who left ends by itself.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <leash/leash.hpp>
#include <string>
#include <utility>

using leash::task;
using namespace std::chrono_literals;

task<> look_up(leash::sender<std::string> answer, leash::event& database_is_back, std::atomic<int>& undelivered) {
  co_await database_is_back.wait();
  if (!co_await answer.send("the answer")) ++undelivered;
}

task<int> app() {
  leash::event database_is_back;
  std::atomic<int> undelivered = 0;
  bool timed_out = false;

  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    auto [tx, rx] = leash::channel<std::string>();  // unbuffered
    s.go(leash::named("look-up"), look_up, std::move(tx), std::ref(database_is_back), std::ref(undelivered));
    timed_out = !co_await leash::with_timeout(10ms, rx.recv());
    rx.drop();  // leaving the block would do the same
    database_is_back.set();
  });
  std::printf("The caller %s. The worker's send %s, and the worker ended.\n",
              timed_out ? "gave up after 10 ms" : "got an answer", undelivered == 1 ? "failed at once" : "succeeded");

  // The first of three answers is taken: the two others need no room either.
  std::string first;
  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    auto [tx, rx] = leash::channel<std::string>();
    for (int i = 0; i < 3; ++i) s.go(look_up, tx.dup(), std::ref(database_is_back), std::ref(undelivered));
    tx.drop();
    first = (co_await rx.recv()).value_or("");
  });
  int lost = undelivered - 1;
  std::printf("Of three answers the first was taken; %d were refused, nobody is stuck.\n", lost);

  bool as_told = timed_out && first == "the answer" && lost == 2 && leash::num_goroutines() == 1;
  if (!as_told) std::puts("FAILED: a sender without a partner did not end.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
