#include "page.hpp"

#ifdef LEASH_DEMO_PAGE
#include <leash/debug.hpp>
#include <string>
#include <system_error>

#include "planted.hpp"
#include "term.hpp"
#endif

namespace demo {

#ifndef LEASH_DEMO_PAGE
bool has_page() { return false; }
bool page_act(unsigned, bool, interrupt&) { return true; }
#else

namespace {

using namespace std::chrono_literals;
using leash::channel, leash::named, leash::receiver, leash::scope, leash::sender, leash::task;

constexpr int couples_of_round = 6;

// Honest work: requests that come, are served by some workers, and go.
task<> serve_requests(receiver<int>& requests) {
  leash::label const role("role", "worker");
  while (auto r = co_await requests.recv()) co_await leash::sleep(std::chrono::milliseconds(20 + *r % 60));
}
task<> send_requests(sender<int> requests) {
  for (int i = 0; co_await requests.send(i); ++i) co_await leash::sleep(5ms);
}

// A leak: each waits for the other to speak first.
task<> talk(receiver<int> in, sender<int> out) {
  resource const held;
  while (auto v = co_await in.recv())
    if (!co_await out.send(*v)) co_return;
}
task<> couple(int number) {
  leash::label const l("couple", std::to_string(number));
  co_await leash::with_scope([](scope& s) {
    auto [a, from_a] = channel<int>();
    auto [b, from_b] = channel<int>();
    s.go(named("alice"), talk, std::move(from_a), std::move(b));
    s.go(named("bob"), talk, std::move(from_b), std::move(a));
  });
}

task<> plant_and_reclaim(bool once, bool& good) {
  do {
    co_await leash::with_scope([&](scope& s) -> task<> {
      for (int i = 1; i <= couples_of_round; ++i) {
        s.go(named("couple"), couple, i);
        if (!once) co_await leash::sleep(4s);
      }
      // Proved once all of them wait; that needs a moment when there was no pause.
      leash::leak_report leaks;
      for (int tries = 0; tries < 1000 && leaks.size() != 3 * couples_of_round; ++tries) {
        co_await leash::sleep(1ms);
        leaks = leash::find_leaks();
      }
      std::size_t const ended = co_await leash::reclaim(leaks);
      good = good && leaks.size() == 3 * couples_of_round && ended == couples_of_round;
      say("  " + std::to_string(couples_of_round) +
          " couples that wait for each other: " + std::to_string(leaks.size()) + " goroutines proved leaked, " +
          std::to_string(ended) + " unwound, the others went on by themselves");
    });
    if (!once) co_await leash::sleep(4s);
  } while (!once);
}

task<> watched(bool once, bool& good) {
  auto [tx, rx] = channel<int>(16);
  co_await leash::with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 20; ++i) s.go(named("server"), serve_requests, std::ref(rx));
    s.go(named("client"), send_requests, tx.dup());
    co_await plant_and_reclaim(once, good);
    s.cancel("the round is over");
  });
}

leash::debug::server serve() {
  try {
    return leash::debug::serve();
  } catch (const std::system_error&) {
    return leash::debug::serve("127.0.0.1:0");  // 6060 is somebody else's
  }
}

}  // namespace

bool has_page() { return true; }

bool page_act(unsigned workers, bool once, interrupt& ctrl_c) {
  headline("To be watched");
  leash::debug::server const page = serve();
  say("  " + bold(page.address()));
  if (!once)
    say("  also /debug/pprof/ (go tool pprof reads it) and /metrics. Every few seconds a leak is planted, then all "
        "are\n"
        "  reclaimed, and again. ^C ends it.");
  bool good = true;
  leash::options o;
  o.workers = workers;
  leash::run(o, [&]() -> task<> { (void)co_await leash::with_cancel(ctrl_c.source, watched(once, good)); });
  return good && resource::open == 0;
}

#endif

}  // namespace demo
