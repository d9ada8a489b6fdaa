#include "plants.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>

// Each is written as it is met: a piece of work for one order, with one mistake in it, and `right` says whether it was made.
// The line where goroutines stay is marked `leaks: NAME`.

namespace orders {
namespace {

using leash::channel, leash::event, leash::mutex, leash::receiver, leash::scope, leash::sender, leash::task,
    leash::with_scope;
using namespace std::chrono_literals;

// --- channels

task<> ask_supplier(int supplier, sender<int> answers) {
  (void)co_await answers.send(supplier);  // leaks: first-answer
}
task<> first_answer(bool right) {
  auto [answers, arrived] = channel<int>();
  co_await with_scope([&](scope& s) -> task<> {
    for (int supplier = 0; supplier < 3; ++supplier) s.go(ask_supplier, supplier, answers.dup());
    (void)co_await arrived.recv();
    if (right) arrived.drop();  // so the others' sends fail
  });
}

task<> price_of(int line, sender<int> prices) { (void)co_await prices.send(10 * line); }
task<> forgotten_close(bool right) {
  auto [prices, arrived] = channel<int>();
  co_await with_scope([&](scope& s) -> task<> {
    for (int line = 0; line < 3; ++line) s.go(price_of, line, prices.dup());
    if (right) prices.drop();
    while (co_await arrived.recv()) continue;  // leaks: forgotten-close
  });
}

struct question {
  std::string text;
  sender<std::string> reply;
};
task<> clerk(receiver<question> asked) { (void)co_await asked.recv(); }  // it answers nothing
task<> lost_reply(bool right) {
  auto [ask, asked] = channel<question>();
  auto [reply, answer] = channel<std::string>();
  co_await with_scope([&, a = std::move(asked)](scope& s) mutable -> task<> {
    s.go(clerk, std::move(a));
    (void)co_await ask.send({"is it there?", reply.dup()});
    if (right) reply.drop();
    (void)co_await answer.recv();  // leaks: lost-reply
  });
}

task<> overfilled(bool right) {
  auto [lines, to_print] = channel<int>(2);
  auto const print = [](receiver<int> from) -> task<> {
    while (co_await from.recv()) continue;
  };
  co_await with_scope([&](scope& s) -> task<> {
    if (right) s.go(print, std::move(to_print));
    for (int line = 0; line < 3; ++line) (void)co_await lines.send(line);  // leaks: overfilled
    if (!right) s.go(print, std::move(to_print));
    lines.drop();
  });
}

task<> price_it(receiver<bool> valid, sender<int> price, bool right) {
  if (!right) (void)co_await valid.recv();  // leaks: circle
  (void)co_await price.send(100);
}
task<> check_it(receiver<int> price, sender<bool> valid) {
  auto const p = co_await price.recv();  // leaks: circle
  (void)co_await valid.send(p.has_value());
}
task<> circle(bool right) {
  auto [price, priced] = channel<int>();
  auto [valid, checked] = channel<bool>();
  co_await with_scope([&, p = std::move(price), v = std::move(valid)](scope& s) mutable {
    s.go(price_it, std::move(checked), std::move(p), right);
    s.go(check_it, std::move(priced), std::move(v));
  });
}

// --- locks

task<> write_down(mutex& ledger, sender<int> lines, bool right) {
  auto held = co_await ledger.lock();  // leaks: lock-and-send
  if (right) held.unlock();
  (void)co_await lines.send(1);  // leaks: lock-and-send
}
task<> read_up(mutex& ledger, receiver<int> lines, bool right) {
  if (right) (void)co_await lines.recv();
  auto const held = co_await ledger.lock();  // leaks: lock-and-send
  (void)co_await lines.recv();               // leaks: lock-and-send
}
task<> lock_and_send(bool right) {
  mutex ledger;
  co_await with_scope([&](scope& s) {
    auto [tx, rx] = channel<int>();
    s.go(write_down, std::ref(ledger), std::move(tx), right);
    s.go(read_up, std::ref(ledger), std::move(rx), right);
  });
}

struct shelf {
  mutex lock;
  event locked;
};
task<> move_goods(shelf& from, shelf& to, bool right) {
  auto const first = co_await from.lock.lock();
  from.locked.set();
  if (!right) co_await to.locked.wait();        // so that it happens every time
  auto const second = co_await to.lock.lock();  // leaks: ab-ba
}
task<> ab_ba(bool right) {
  shelf a, b;
  co_await with_scope([&](scope& s) {
    s.go(move_goods, std::ref(a), std::ref(b), right);
    s.go(move_goods, std::ref(right ? a : b), std::ref(right ? b : a), right);
  });
}

task<> note(mutex& journal) {
  auto const held = co_await journal.lock();  // leaks: locked-twice
}
task<> locked_twice(bool right) {
  mutex journal;
  auto held = co_await journal.lock();
  if (right) held.unlock();
  co_await note(journal);
}

// --- counters

task<> missed_done(bool right) {
  leash::wait_group packed;
  auto mine = packed.add();
  auto boxes = packed.add();
  boxes.done();
  if (right) mine.done();
  co_await packed.wait();  // leaks: missed-done
}

task<> copy_rows(leash::semaphore& connections, event& mine, event& others, bool right) {
  auto const reading = co_await connections.acquire(right ? 2 : 1);
  mine.set();
  if (right) co_return;
  co_await others.wait();                               // so that it happens every time
  auto const writing = co_await connections.acquire();  // leaks: pool-of-two
}
task<> pool_of_two(bool right) {
  leash::semaphore connections(2);
  event a, b;
  co_await with_scope([&](scope& s) {
    s.go(copy_rows, std::ref(connections), std::ref(a), std::ref(b), right);
    s.go(copy_rows, std::ref(connections), std::ref(b), std::ref(a), right);
  });
}

struct desk {
  mutex lock;
  leash::condition changed;
  bool taken = true;
};
task<> leave(leash::shared<desk> d, bool right) {
  auto const held = co_await d->lock.lock();
  if (!right) co_return;
  d->taken = false;
  d->changed.notify_one();
}
task<> never_notified(bool right) {
  auto d = leash::share<desk>();
  co_await with_scope([&](scope& s) -> task<> {
    s.go(leave, d, right);
    auto held = co_await d->lock.lock();
    co_await d->changed.wait(held, [&] { return !d->taken; });  // leaks: never-notified
  });
}

// --- not to be proved: something could still end them

task<> never_cancelled(bool right) {
  // The service could cancel it; nothing in it would.
  auto const watch = []() -> task<> { co_await leash::this_context().done(); };  // leaks: never-cancelled
  if (right)
    (void)co_await leash::with_timeout(20ms, watch);
  else
    co_await watch();
}

task<> deaf_ticker(bool right) {
  event delivered;
  delivered.set();
  leash::ticker ticks(100ms);
  while (!right || !delivered.is_set()) (void)co_await ticks.next();  // leaks: deaf-ticker
}

task<> kept_guard(bool right) {
  // Memory that the proof does not follow: the guard could be dropped by whoever finds the struct.
  struct session {
    std::unique_ptr<mutex> lock = std::make_unique<mutex>();
    mutex::guard open;
  };
  static std::mutex m;
  static std::vector<std::unique_ptr<session>> all;
  auto made = std::make_unique<session>();
  mutex& lock = *made->lock;
  made->open = co_await lock.lock();
  if (right) made->open.unlock();
  {
    std::lock_guard guard(m);
    all.push_back(std::move(made));
  }
  auto const held = co_await lock.lock();  // leaks: kept-guard
}

}  // namespace

const std::vector<plant>& all_plants() {
  static const std::vector<plant> all = {
      {"first-answer", "three are asked, the first answer is taken, the receiver is kept", first_answer},
      {"forgotten-close", "who ranges over the results holds a sender itself", forgotten_close},
      {"lost-reply", "who waits for a reply keeps the sender that it gave away a copy of", lost_reply},
      {"overfilled", "a buffer is filled before its reader is started", overfilled},
      {"circle", "each of two waits for the other's result", circle},
      {"lock-and-send", "a lock is held while sending to the one who wants it", lock_and_send},
      {"ab-ba", "two locks, taken in either order", ab_ba},
      {"locked-twice", "a helper takes the lock that its caller holds", locked_twice},
      {"missed-done", "who waits for a group is in it", missed_done},
      {"pool-of-two", "each holds one of two connections and wants a second one", pool_of_two},
      {"never-notified", "a condition that nobody is left to notify", never_notified},
      {"never-cancelled", "a watcher of a context that nothing ends (not provable: a shutdown would)", never_cancelled},
      {"deaf-ticker", "a ticker's loop that nothing stops (not provable: it runs)", deaf_ticker},
      {"kept-guard", "a guard that lies in a list (not provable: it could be dropped)", kept_guard},
  };
  return all;
}

static const plant* named(const std::string& name) {
  for (const plant& p : all_plants())
    if (p.name == name) return &p;
  throw std::invalid_argument("no such leak: " + name + " (--list-plants)");
}

garden::garden(const std::vector<std::string>& wrong, const std::vector<std::string>& right) {
  for (const std::string& name : wrong) chosen_.push_back({named(name), false});
  for (const std::string& name : right) chosen_.push_back({named(name), true});
}

void garden::plant() {
  for (const chosen& c : chosen_) ground_->go(leash::named(std::string(c.what->name)), c.what->grow, c.right);
}

}  // namespace orders
