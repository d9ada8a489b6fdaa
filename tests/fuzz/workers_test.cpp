// Random plans on real workers, many at once, while a thread looks for leaks without a pause and reclaims them. Nothing is
// compared with the model: the sentinel (developer builds have it) ends the program when somebody who was proved leaked
// is woken by anything but an unwinding, and every run must come to its end.
#include <algorithm>
#include <thread>

#include "interpreter.hpp"
#include "support/support.hpp"

namespace leash::test::fuzz {

namespace {

constexpr std::size_t at_once = 24;

struct totals {
  std::atomic<std::size_t> looks = 0, seen = 0, reclaimed = 0, plans = 0, deadlocks = 0;
};

task<> run_one(world& w, bool reclaims, totals& n) {
  co_await with_scope([&w, reclaims, &n](scope& s) -> task<> {
    w.start(s);
    for (int i = 0; i < 3; ++i) {
      co_await sleep(1ms);
      leash::leak_report const r = find_leaks();
      // Not until the victims have ended: to unwind they may need a mutex that one has who waits for this scope's end.
      if (reclaims) n.reclaimed += (co_await with_timeout(5ms, reclaim(r, {.confined = true}))).value_or(0);
    }
    s.cancel();
  });
}

/// `reclaims`: what is reclaimed may wake others, and so ends the sentinel's watch over all verdicts given so far. So half
/// of the batches only look.
void run_batch(std::uint64_t first, unsigned workers, bool reclaims, totals& n) {
  std::vector<std::unique_ptr<plan>> plans;
  std::vector<std::unique_ptr<world>> worlds;
  for (std::uint64_t seed = first; seed < first + at_once; ++seed) {
    plans.push_back(std::make_unique<plan>(generate(seed)));
    worlds.push_back(std::make_unique<world>(*plans.back(), seed, false));
    worlds.back()->sleep_unit = 5us;
    worlds.back()->sleep_wrap = 7;
  }
  std::atomic<bool> over = false;
  std::thread marker([&over, reclaims, &n] {
    while (!over) {
      leash::leak_report const r = find_leaks();
      ++n.looks;
      n.seen += r.size();
      if (reclaims && n.looks % 4 == 0) n.reclaimed += reclaim(r).wait();
    }
  });
  options o;
  o.workers = workers;
  o.leak_check_every = 1ms;
  o.action = reclaims ? leak_action::reclaim : leak_action::report;
  try {
    run(o, [&worlds, reclaims, &n]() -> task<> {
      co_await with_scope([&worlds, reclaims, &n](scope& s) -> task<> {
        for (auto& w : worlds) s.go(run_one, std::ref(*w), bool(reclaims), std::ref(n));
        co_return;
      });
    });
  } catch (const deadlock_error& e) {  // see held_up in trial.cpp
    EXPECT_TRUE(std::any_of(e.report().begin(), e.report().end(), [](const leak& l) {
      return l.who.wait == "sync.Mutex.Lock";
    })) << e.what();
    ++n.deadlocks;
  }
  over = true;
  marker.join();
  n.plans += at_once;
}

}  // namespace

TEST(OnWorkers, NobodyWhoIsProvedLeakedIsWoken) {
  totals n;
  auto const end = std::chrono::steady_clock::now() + (long_run() ? 300s : 8s);
  auto const enough = [&n] { return n.looks > 100 && n.seen > 100 && n.reclaimed > 100; };
  for (std::uint64_t first = 1; std::chrono::steady_clock::now() < end || !enough(); first += at_once) {
    std::size_t const batch = first / at_once;
    run_batch(first, batch % 4 < 2 ? 2 : 4, batch % 2 == 0, n);
    ASSERT_EQ(num_goroutines(), 0u);
  }
  std::printf("  %zu plans, %zu looks, %zu leaks seen, %zu reclaimed, %zu times a deadlock of the cancelled\n",
              n.plans.load(), n.looks.load(), n.seen.load(), n.reclaimed.load(), n.deadlocks.load());
}

}  // namespace leash::test::fuzz
