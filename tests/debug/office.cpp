#include "office.hpp"

#include <array>
#include <cmath>

namespace leash::test {

namespace {

// ---- honest work -----------------------------------------------------------------------------------------------------

task<> read_requests(sender<int> out, int n) {
  for (int i = 0; co_await out.send(i); ++i) co_await sleep(std::chrono::milliseconds(50 + n * 37 % 400));
}
task<> write_replies(receiver<int> in) {
  while (auto v = co_await in.recv()) co_await sleep(std::chrono::milliseconds(10 + *v % 30));
}
task<> connection(int n) {
  static constexpr std::array<const char*, 4> users{"alice", "bob", "carol", "dave"};
  label const user("user", users[static_cast<std::size_t>(n) % users.size()]);
  co_await with_scope([n](scope& s) {
    auto [tx, rx] = channel<int>();
    s.go(named("reader"), read_requests, std::move(tx), n);
    s.go(named("writer"), write_replies, std::move(rx));
  });
}
task<> accept_connections() {
  co_await with_scope([](scope& s) -> task<> {
    for (int n = 0;; ++n) {
      s.go(
          named("connection"),
          [](int number) -> task<> {
            (void)co_await with_timeout(std::chrono::milliseconds(2000 + number * 613 % 9000), connection(number));
          },
          n);
      double const wave = std::sin(n / 25.0);
      co_await sleep(std::chrono::milliseconds(static_cast<int>(60 + 45 * wave)));
    }
  });
}
task<> flush_metrics() {
  ticker every(500ms);
  for (;;) {
    co_await every.next();
    co_await blocking([] { std::this_thread::sleep_for(150ms); });
  }
}

// ---- leaks -----------------------------------------------------------------------------------------------------------

task<> relay(receiver<int> in, sender<int> out) {
  while (auto v = co_await in.recv())
    if (!co_await out.send(*v + 1)) co_return;
}
task<> couple(int n) {
  label const l("couple", std::to_string(n));
  co_await with_scope([](scope& s) {
    auto [a, from_a] = channel<int>();
    auto [b, from_b] = channel<int>();
    s.go(named("ping"), relay, std::move(from_a), std::move(b));
    s.go(named("pong"), relay, std::move(from_b), std::move(a));
  });
}
struct table {
  mutex left_fork, middle_fork, right_fork;
  std::array<mutex*, 3> forks{&left_fork, &middle_fork, &right_fork};
  std::atomic<int> arrived{0};
};
task<> dine(table& t, std::size_t i) {
  auto left = co_await t.forks[i]->lock();
  for (++t.arrived; t.arrived < 3;) co_await yield();
  auto right = co_await t.forks[(i + 1) % 3]->lock();
}
task<> dinner(table& t) {
  static constexpr std::array<const char*, 3> names{"Plato", "Kant", "Hume"};
  co_await with_scope([&](scope& s) {
    for (std::size_t i = 0; i < 3; ++i) s.go(named(names[i]), dine, std::ref(t), i);
  });
}
task<> wash_up(table& t) { auto fork = co_await t.left_fork.lock(); }

// Suspicious: grows, and who could end it lies on the heap.
task<> subscribe(receiver<int> events) { (void)co_await events.recv(); }
task<> add_subscribers(std::vector<sender<int>>& kept, scope& s) {
  for (;;) {
    auto [tx, rx] = channel<int>();
    kept.push_back(std::move(tx));
    s.go(named("subscriber"), subscribe, std::move(rx));
    co_await sleep(400ms);
  }
}

task<> work() {
  std::vector<sender<int>> kept;
  table t;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("accept"), accept_connections);
    for (int i = 0; i < 3; ++i) s.go(named("metrics"), flush_metrics);
    for (int i = 1; i <= 3; ++i) s.go(named("couple"), couple, i);
    s.go(named("dinner"), dinner, std::ref(t));
    s.go(named("dishes"), [&]() -> task<> {
      while (t.arrived < 3) co_await yield();
      co_await wash_up(t);
    });
    s.go(named("broker"), add_subscribers, std::ref(kept), std::ref(s));
    co_await sleep(24h);
  });
}

}  // namespace

office::office() {
  cancel_source over;
  over_.emplace(over.dup());
  thread_ = std::thread([over = std::move(over)]() mutable {
    options o;
    o.workers = 2;
    o.stuck_after = 3s;
    o.on_leak = [](const leak_report&) {};
    run(o, [&]() -> task<> { (void)co_await with_cancel(over, work()); });
  });
  for (const char* name : {"ping", "pong"}) EXPECT_TRUE(parked_seen_from_outside(name, "chan receive", 3));
  for (const char* name : {"Plato", "Kant", "Hume", "dishes"})
    EXPECT_TRUE(parked_seen_from_outside(name, "sync.Mutex.Lock"));
}
office::~office() {
  over_->cancel("the test is over");
  thread_.join();
}

}  // namespace leash::test
