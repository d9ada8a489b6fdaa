// Go's advice: break circles, in which each waits for what only the other could send.
// Here the circle is proved: its only senders lie in the frames of those who wait. Reclaiming one frees the other.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <iostream>
#include <leash/leash.hpp>
#include <utility>

using leash::task;
using namespace std::chrono_literals;

struct resource {
  std::atomic<int>& held;
  explicit resource(std::atomic<int>& held) : held(held) { ++held; }
  resource(const resource&) = delete;
  ~resource() { --held; }
};

// Waits for the neighbour, who waits for this one. Nobody says the first word.
task<> polite(leash::receiver<int> in, leash::sender<int> out, std::atomic<int>& held) {
  resource r(held);
  while (auto v = co_await in.recv())
    if (!co_await out.send(*v + 1)) break;
}

task<int> app() {
  std::atomic<int> held = 0;
  leash::leak_report found;
  std::size_t reclaimed = 0;
  bool alice_returned = false, bob_returned = false;

  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    auto [to_alice, from_bob] = leash::channel<int>();
    auto [to_bob, from_alice] = leash::channel<int>();
    auto alice = s.go(leash::named("alice"), polite, std::move(from_bob), std::move(to_bob), std::ref(held));
    auto bob = s.go(leash::named("bob"), polite, std::move(from_alice), std::move(to_alice), std::ref(held));

    co_await leash::with_timeout(5s, [&]() -> task<> {
      while ((found = leash::find_leaks()).size() < 2) co_await leash::yield();  // until both are parked
    });
    std::cout << found << "\n";
    reclaimed = co_await leash::reclaim(found);
    alice_returned = co_await alice.join();  // false: unwound from outside
    bob_returned = co_await bob.join();
  });

  bool proven = found.size() == 2;
  for (const leash::leak& l : found)
    proven = proven && l.grade == leash::leak_grade::proven && l.role == leash::leak_role::core && !l.why.empty();
  std::cout << "Proven to wait for each other: " << (proven ? "alice and bob" : "not as expected") << ".\n"
            << "One was reclaimed; its sender went with it, so the other saw the end and returned.\n"
            << "Resources still held: " << held << ".\n";

  bool as_told = proven && reclaimed >= 1 && alice_returned != bob_returned && held == 0;
  if (!as_told) std::cout << "FAILED: the circle was not proved and broken up.\n";
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
