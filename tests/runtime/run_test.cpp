// run(): starts a runtime, blocks its thread, and gives back what the root made.
#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace leash::test::run_tests {

task<int> add(int a, int b) { co_return a + b; }

TEST(Run, ReturnsTheValueOfATaskFunction) { EXPECT_EQ(run(add, 2, 3), 5); }

TEST(Run, TakesAPlainFunction) {
  EXPECT_EQ(run([](int a) { return a * 2; }, 21), 42);
  bool ran = false;
  run([&] { ran = true; });
  EXPECT_TRUE(ran);
}

TEST(Run, TakesATaskOrAnOperation) {
  EXPECT_EQ(run(add(4, 5)), 9);
  auto [tx, rx] = channel<int>(1);
  EXPECT_EQ(tx.try_send(8), try_result::done);
  EXPECT_EQ(run(rx.recv()), std::optional<int>(8));
}

TEST(Run, MovesItsArgumentsInAndItsResultOut) {
  auto body = [](std::unique_ptr<int> p) -> task<std::unique_ptr<int>> {
    ++*p;
    co_return p;
  };
  EXPECT_EQ(*run(body, std::make_unique<int>(1)), 2);
  int n = 0;
  auto by_reference = [](int& n) -> task<> {
    n = 3;
    co_return;
  };
  run(by_reference, std::ref(n));
  EXPECT_EQ(n, 3);
}

TEST(Run, KeepsTheCallableWhileItRuns) {
  auto text = std::make_shared<std::string>("kept");
  std::weak_ptr<std::string> seen = text;
  std::string got = run([text = std::move(text)]() -> task<std::string> {
    co_await sleep(2ms);
    co_return *text;
  });
  EXPECT_EQ(got, "kept");
  EXPECT_TRUE(seen.expired());
}

TEST(Run, AnExceptionOfTheRootComesOut) {
  auto body = [](bool wait) -> task<int> {
    if (wait) co_await sleep(1ms);
    throw std::runtime_error("root");
  };
  for (bool wait : {false, true}) {
    try {
      run(body, wait);
      ADD_FAILURE() << "no exception";
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "root");
    }
  }
  EXPECT_THROW(run([]() -> int { throw std::out_of_range("plain"); }), std::out_of_range);
  EXPECT_EQ(run(add, 1, 1), 2);  // and the next one works
}

TEST(Run, HonoursTheNumberOfWorkers) {
  for (unsigned workers : {1u, 2u, 4u}) {
    options o;
    o.workers = workers;
    std::vector<std::thread::id> seen(200);
    run(o, [&]() -> task<> {
      co_await with_scope([&](scope& s) -> task<> {
        for (auto& id : seen)
          s.go(
              [](std::thread::id& id) -> task<> {
                co_await yield();
                id = std::this_thread::get_id();
              },
              std::ref(id));
        co_return;
      });
    });
    std::set<std::thread::id> distinct(seen.begin(), seen.end());
    EXPECT_GE(distinct.size(), 1u);
    EXPECT_LE(distinct.size(), workers);
  }
}

TEST(Run, SeveralRuntimesLiveSideBySide) {
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&good, t] {
      for (int round = 0; round < 20; ++round) {
        options o;
        o.workers = 1 + static_cast<unsigned>(t) % 2;
        int sum = run(o, [t]() -> task<int> {
          auto [tx, rx] = channel<int>();
          int sum = 0;
          co_await with_scope([&, from = std::move(rx), to = std::move(tx)](scope& s) mutable -> task<> {
            s.go(
                [](sender<int> out, int t) -> task<> {
                  for (int i = 0; i < 50; ++i)
                    if (!co_await out.send(i * t)) co_return;
                },
                std::move(to), t);
            while (auto v = co_await from.recv()) sum += *v;
          });
          EXPECT_EQ(num_goroutines(), 1u);  // this runtime's, not its neighbours'
          co_return sum;
        });
        if (sum == 1225 * t) ++good;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(good, 80);
  EXPECT_EQ(num_goroutines(), 0u);
}

TEST(Run, AChannelMayJoinTwoRuntimes) {
  auto [tx, rx] = channel<int>(4);
  int sum = 0;
  std::thread other([&sum, from = std::move(rx)]() mutable {
    sum = run(
        [](receiver<int> r) -> task<int> {
          int n = 0;
          while (auto v = co_await r.recv()) n += *v;
          co_return n;
        },
        std::move(from));
  });
  run(
      [](sender<int> to) -> task<> {
        for (int i = 1; i <= 1000; ++i) EXPECT_TRUE(co_await to.send(i));
      },
      std::move(tx));
  other.join();
  EXPECT_EQ(sum, 500500);
}

TEST(Run, InsideARunThrowsAndTheOuterOneGoesOn) {
  int value = run([]() -> task<int> {
    EXPECT_THROW(run(add, 1, 2), std::logic_error);
    co_await yield();
    EXPECT_THROW(run([] {}), std::logic_error);
    co_return co_await add(3, 4);
  });
  EXPECT_EQ(value, 7);
}

TEST(Run, OnTheBlockingPoolIsNotInsideARun) {
  // What blocking() calls is an ordinary thread: a library below it may well use leash on its own.
  int value = run([]() -> task<int> { co_return co_await blocking([] { return run(add, 5, 6); }); });
  EXPECT_EQ(value, 11);
}

TEST(Run, WaitsForEveryGoroutine) {
  std::atomic<bool> ended = false;
  auto [tx, rx] = channel<int>(1);
  run([&]() -> task<> {
    timer t = after_func(0ms, [&ended, to = std::move(tx)]() mutable -> task<> {
      EXPECT_TRUE(co_await to.send(1));
      co_await sleep(30ms);
      ended = true;
    });
    (void)co_await rx.recv();  // its goroutine runs; the root ends before it
  });
  EXPECT_TRUE(ended);
  EXPECT_EQ(num_goroutines(), 0u);
}

TEST(Run, WaitsForTheOthersBeforeItThrows) {
  std::atomic<bool> ended = false;
  auto [tx, rx] = channel<int>(1);
  EXPECT_THROW(run([&]() -> task<> {
                 timer t = after_func(0ms, [&ended, to = std::move(tx)]() mutable -> task<> {
                   EXPECT_TRUE(co_await to.send(1));
                   co_await sleep(30ms);
                   ended = true;
                 });
                 (void)co_await rx.recv();
                 throw std::runtime_error("root");
               }),
               std::runtime_error);
  EXPECT_TRUE(ended);
}

TEST(Run, LeavesNoThreadBehind) {
  auto threads = [] {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;)
      if (word == "Threads:") {
        int n = 0;
        status >> n;
        return n;
      }
    return -1;
  };
  run([] {});
  int before = threads();
  options o;
  o.workers = 4;
  for (int i = 0; i < 20; ++i) run(o, []() -> task<> { co_await blocking([] {}); });
  EXPECT_GT(before, 0);
  EXPECT_LE(threads(), before);
}

}  // namespace leash::test::run_tests
