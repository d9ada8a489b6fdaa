#include <iostream>
#include <leash/leash.hpp>

using leash::named, leash::receiver, leash::sender, leash::task;

task<> relay(receiver<int> in, sender<int> out) {
  while (auto v = co_await in.recv())
    if (!co_await out.send(*v + 1)) co_return;  // nobody is left to receive
}

task<> talk() {
  co_await leash::with_scope([](leash::scope& s) {
    auto [a, from_a] = leash::channel<int>();
    auto [b, from_b] = leash::channel<int>();
    s.go(named("alice"), relay, std::move(from_a), std::move(b));
    s.go(named("bob"), relay, std::move(from_b), std::move(a));  // who says the first word?
  });
}

int main() {
  leash::options o{.on_leak = [](const leash::leak_report& leaks) { std::cout << leaks; },
                   .action = leash::leak_action::reclaim};
  leash::run(o, talk);
  std::cout << "all have ended\n";
}
