#include "planted.hpp"

#include <functional>
#include <optional>

namespace demo {
namespace {

using leash::channel, leash::named, leash::receiver, leash::scope, leash::sender, leash::task, leash::with_scope;

// ---- these end by themselves --------------------------------------------------------------------------------------
task<> produce(sender<int> out) {
  resource held;
  for (int i = 0; i < 3; ++i) {
    if (co_await out.send(i)) continue;
    noted.add("the producer's send returned false");
    co_return;
  }
}
task<> consume(receiver<int> in) {
  resource held;
  auto first = co_await in.recv();
  if (!first || *first == 0) co_return;  // an error: the rest is never received
  while (co_await in.recv()) continue;
}
task<> early_return() {
  co_await with_scope([](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(named("producer"), produce, std::move(tx));
    s.go(named("consumer"), consume, std::move(rx));
    co_return;
  });
}

task<> ask_one_mirror(int mirror, sender<int> answers) {
  resource held;
  if (!co_await answers.send(mirror)) noted.add("the send of a mirror that came too late returned false");
}
task<> first_of_five() {
  co_await with_scope([](scope& s) -> task<> {
    auto [answers, arrived] = channel<int>();
    for (int mirror = 0; mirror < 5; ++mirror) s.go(named("mirror"), ask_one_mirror, mirror, answers.dup());
    answers.drop();
    (void)co_await arrived.recv();
  });
}

// ---- these are proved ---------------------------------------------------------------------------------------------
task<> work(int item, sender<int> results) {
  resource held;
  (void)co_await results.send(item * item);
}
task<> collect() {
  resource held;
  co_await with_scope([](scope& s) -> task<> {
    auto [results, finished] = channel<int>();
    for (int item = 0; item < 3; ++item) s.go(named("worker"), work, item, results.dup());
    int sum = 0;  // and no results.drop() here
    while (auto square = co_await finished.recv()) sum += *square;
    noted.add("the sum is " + std::to_string(sum));
  });
}
task<> forgotten_end() {
  co_await with_scope([](scope& s) -> task<> {
    s.go(named("collector"), collect);
    co_return;
  });
}

task<> send_under_lock(leash::mutex& m, sender<int> out) {
  resource held;
  auto g = co_await m.lock();
  if (g.poisoned()) noted.add("the holder got the lock, marked poisoned");
  if (!co_await out.send(1)) noted.add("the holder's send returned false: it unlocked and ended");
}
task<> lock_then_receive(leash::mutex& m, receiver<int> in) {
  resource held;
  auto g = co_await m.lock();
  if (g.poisoned()) noted.add("the asker got the lock, marked poisoned");
  if (!co_await in.recv()) noted.add("the asker saw the channel's end: it unlocked and ended");
}
task<> lock_held_while_sending() {
  leash::mutex m;
  co_await with_scope([&](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(named("holder"), send_under_lock, std::ref(m), std::move(tx));
    s.go(named("asker"), lock_then_receive, std::ref(m), std::move(rx));
    co_return;
  });
}

// The events see to it that both transfers have their first lock, in every run.
task<> transfer(const char* who, leash::mutex& from, leash::event& started, leash::mutex& to, leash::event& other) {
  resource held;
  auto first = co_await from.lock();
  started.set();
  co_await other.wait();
  auto second = co_await to.lock();
  if (second.poisoned()) noted.add(std::string(who) + " got its second lock, marked poisoned, and went on");
}
task<> ab_ba() {
  leash::mutex a;
  leash::mutex b;
  leash::event left, right;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("left"), transfer, "left", std::ref(a), std::ref(left), std::ref(b), std::ref(right));
    s.go(named("right"), transfer, "right", std::ref(b), std::ref(right), std::ref(a), std::ref(left));
    co_return;
  });
}

task<> pass_on(receiver<int> from, sender<int> to) {
  resource held;
  while (auto v = co_await from.recv())
    if (!co_await to.send(*v + 1)) co_return;
  noted.add("one of the circle saw the end of its channel");
}
task<> circle() {
  co_await with_scope([](scope& s) -> task<> {
    auto [to_a, at_a] = channel<int>();
    auto [to_b, at_b] = channel<int>();
    auto [to_c, at_c] = channel<int>();
    s.go(named("a"), pass_on, std::move(at_a), std::move(to_b));
    s.go(named("b"), pass_on, std::move(at_b), std::move(to_c));
    s.go(named("c"), pass_on, std::move(at_c), std::move(to_a));
    co_return;
  });
}

task<> wait_for_last(receiver<leash::goroutine<void>> handles) {
  resource held;
  auto last = co_await handles.recv();
  if (last) (void)co_await last->join();
}
task<> own_end() {
  co_await with_scope([](scope& s) -> task<> {
    auto [tx, rx] = channel<leash::goroutine<void>>(1);
    auto last = s.go(named("tail"), wait_for_last, std::move(rx));
    (void)co_await tx.send(std::move(last));
  });
}

void set_up(leash::cancel_source stop) { (void)stop; }

}  // namespace

task<> wait_for_nobody() {
  resource held;
  leash::cancel_source stop;
  co_await leash::with_cancel(stop, [&stop]() -> task<> {
    set_up(std::move(stop));  // took the only source, and let it go
    co_await leash::this_context().done();
  });
}

const std::vector<planted> planted_leaks = {
    {"a receiver that returns early", "the consumer returns after the first value; its producer has two more to send",
     fate::ended, early_return},
    {"N results, one wanted", "five mirrors are asked, the first answer is taken, four still want to send", fate::ended,
     first_of_five},
    {"a sender kept by the one who waits for the end", "all workers are done, but the collector still holds `results`",
     fate::reclaimed, forgotten_end},
    {"a lock held while sending to the one who wants it",
     "the holder sends under the lock; the asker locks before it receives", fate::reclaimed, lock_held_while_sending},
    {"AB-BA", "left locks a then b, right locks b then a", fate::reclaimed, ab_ba},
    {"a circle of three", "a waits for c, b for a, c for b: each would send only after it has received",
     fate::reclaimed, circle},
    {"a goroutine that waits for its own end", "it was given a handle to join: its own", fate::reclaimed, own_end},
};

}  // namespace demo
