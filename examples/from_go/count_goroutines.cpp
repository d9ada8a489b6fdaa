// Go's advice: watch runtime.NumGoroutine(); a number that only grows is a leak.
// Here the number comes down with each scope, dump() says who is there, and a scope can bound it from the start.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <leash/leash.hpp>
#include <sstream>
#include <string>

using leash::task;
using namespace std::chrono_literals;

task<> serve(leash::receiver<int> jobs) {
  while (co_await jobs.recv()) {
  }
}

std::ptrdiff_t waiting_to_receive() {
  auto all = leash::goroutines();
  return std::ranges::count_if(all, [](const auto& g) { return g.name == "server" && g.wait == "chan receive"; });
}

task<int> app() {
  std::size_t before = leash::num_goroutines(), during = 0;
  std::ostringstream picture;
  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    auto [tx, rx] = leash::channel<int>();
    for (int i = 0; i < 5; ++i) s.go(leash::named("server"), serve, rx.dup());
    co_await leash::with_timeout(5s, []() -> task<> {
      while (waiting_to_receive() < 5) co_await leash::yield();
    });
    during = leash::num_goroutines();
    leash::dump(picture);
  });
  std::size_t after = leash::num_goroutines();
  std::printf("Goroutines before, during and after: %zu, %zu, %zu.\n", before, during, after);
  bool named = picture.str().find("server") != std::string::npos;
  bool says_why = picture.str().find("chan receive") != std::string::npos;
  std::printf("The dump names the servers: %s, and what they wait for: %s.\n", named ? "yes" : "no",
              says_why ? "yes" : "no");

  // Better than watching: a scope of four runs no more than four at once (go() queues the rest, start() waits).
  std::atomic<int> running = 0, most = 0, done = 0;
  co_await leash::with_scope({.max_children = 4}, [&](leash::scope& s) -> task<> {
    for (int i = 0; i < 50; ++i) {
      s.go([&]() -> task<> {
        int now = ++running;
        for (int m = most; m < now && !most.compare_exchange_weak(m, now);) {
        }
        co_await leash::yield();
        --running;
        ++done;
      });
    }
    co_return;
  });
  std::printf("Fifty jobs were done, at most four at a time: %s.\n", most <= 4 ? "yes" : "no");

  bool as_told = during == before + 5 && after == before && named && says_why && most <= 4 && done == 50;
  if (!as_told) std::puts("FAILED: the numbers are not what they should be.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
