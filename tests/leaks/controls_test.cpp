// What must stay unreported: the wait may still be completed, from where the proof does not look or by what is live.
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <thread>

#include "corpus.hpp"

namespace leash::test::corpus {
namespace {

using enum go_says;

task<> receive(receiver<int> rx) { (void)co_await rx.recv(); }

task<> sender_on_the_heap(bool fixed) {
  std::unique_ptr<sender<int>> kept;
  co_await with_scope([&](scope& s) {
    auto [tx, rx] = channel<int>();
    kept = std::make_unique<sender<int>>(std::move(tx));
    s.go(named("waiter"), receive, std::move(rx));
    if (fixed) kept.reset();
  });
}
const row heap{"controls", "SenderOnTheHeap", "", never, never_reported(), sender_on_the_heap};

task<> global_queue(bool fixed) {
  static auto queue = channel<int>(4);
  if (fixed) EXPECT_EQ(queue.first.try_send(1), try_result::done);
  (void)co_await queue.second.recv();
}
const row queue{"controls", "GlobalQueue", "", never, never_reported(), global_queue};

task<> armed_timer(bool fixed) {
  auto [tx, rx] = channel<int>();
  timer t = after_func(1h, [tx = std::move(tx)]() mutable { (void)tx.try_send(1); });
  if (fixed) EXPECT_TRUE(t.stop());
  (void)co_await rx.recv();
}
const row timer_{"controls", "ArmedTimer", "", never, never_reported(), armed_timer};

/// A thread that holds something until it is told, or dies.
template <class Held>
class thread_that_holds {
 public:
  explicit thread_that_holds(Held h) : thread_([this, h = std::move(h)] { over_.wait(false); }) {}
  ~thread_that_holds() { end(); }
  void end() {
    over_ = true;
    over_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::atomic<bool> over_ = false;
  std::thread thread_;
};
task<> foreign_thread(bool fixed) {
  auto [tx, rx] = channel<int>();
  thread_that_holds<sender<int>> elsewhere(std::move(tx));
  if (fixed) elsewhere.end();
  (void)co_await rx.recv();
}
const row thread_{"controls", "ForeignThread", "", never, never_reported(), foreign_thread};

task<> borrowed_end(bool fixed) {
  auto [tx, rx] = channel<int>();
  co_await with_scope([&](scope& s) {
    s.go(named("waiter"), receive, std::move(rx));
    s.go(
        named("borrower"),
        [](sender<int>& tx, bool fixed) -> task<> {
          if (!fixed) co_await sleep(1h);
          (void)co_await tx.send(1);
        },
        std::ref(tx), fixed);
  });
}
const row borrowed{"controls", "BorrowedEnd", "", never, never_reported(), borrowed_end};

task<> ticker_that_is_received(bool fixed) {
  ticker t(fixed ? std::chrono::nanoseconds(1ms) : std::chrono::nanoseconds(1h));
  co_await t.next();
}
const row ticker_{"controls", "Ticker", "", never, never_reported(), ticker_that_is_received};

task<> armed_deadline(bool fixed) {
  auto [tx, rx] = channel<int>();
  (void)co_await with_timeout(fixed ? std::chrono::nanoseconds(1ms) : std::chrono::nanoseconds(1h), rx.recv());
}
const row deadline{"controls", "ArmedDeadline", "", never, never_reported(), armed_deadline};

task<> guard_of_a_sleeper(bool fixed) {
  mutex m;
  co_await with_scope([&](scope& s) -> task<> {
    auto g = co_await m.lock();
    if (fixed)
      g.unlock();
    else
      s.go(named("sleeper"), keep_asleep<mutex::guard>, std::move(g));
    for (int i = 0; i < 3; ++i) s.go(named("queued"), [&]() -> task<> { auto mine = co_await m.lock(); });
  });
}
const row guard{"controls", "GuardOfASleeper", "", never, never_reported(), guard_of_a_sleeper};

}  // namespace
}  // namespace leash::test::corpus
