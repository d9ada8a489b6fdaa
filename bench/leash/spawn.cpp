// Rows that start and join goroutines, or let two of them yield.
#include "harness.hpp"

namespace bench {
namespace {

using leash::scope, leash::task, leash::with_scope;

task<> empty() { co_return; }

task<> spawn_all(std::size_t n) {
  co_await with_scope([n](scope& s) -> task<> {
    for (std::size_t i = 0; i < n; ++i) s.go(empty);
    co_return;
  });
}
const row spawn_join_1m("spawn_join_1m", [] { return per_op(million, million, spawn_all); });

task<> spawn_one_by_one(std::size_t n) {
  co_await with_scope([n](scope& s) -> task<> {
    for (std::size_t i = 0; i < n; ++i) {
      auto child = s.go(empty);
      (void)co_await child.join();
    }
  });
}
const row spawn_join_one("spawn_join_one", [] { return per_op(100'000, million, spawn_one_by_one); });

task<> yield_often(std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) co_await leash::yield();
}

task<> two_yield(std::size_t n) {
  co_await with_scope([n](scope& s) -> task<> {
    s.go(yield_often, n / 2);
    s.go(yield_often, n / 2);
    co_return;
  });
}
const row yield_2("yield_2", [] { return per_op(million, 10 * million, two_yield); });

// Ten children per node; sums go up over one unbuffered channel per node.
task<> skynet(leash::sender<std::int64_t> out, std::int64_t num, std::int64_t size) {
  if (size == 1) {
    (void)co_await out.send(num);
    co_return;
  }
  std::int64_t sum = 0;
  co_await with_scope([&](scope& s) -> task<> {
    auto [tx, rx] = leash::channel<std::int64_t>();
    for (std::int64_t i = 0; i < 10; ++i) s.go(skynet, tx.dup(), num + i * size / 10, size / 10);
    for (int i = 0; i < 10; ++i) sum += *co_await rx.recv();
  });
  (void)co_await out.send(sum);
}

task<> skynet_tree(std::int64_t leaves) {
  std::int64_t sum = 0;
  co_await with_scope([&](scope& s) -> task<> {
    auto [tx, rx] = leash::channel<std::int64_t>();
    s.go(skynet, std::move(tx), std::int64_t{0}, leaves);
    sum = *co_await rx.recv();
  });
  require(sum == leaves * (leaves - 1) / 2, "skynet: wrong sum");
}

const row skynet_1m("skynet_1m", []() -> task<double> {
  std::size_t leaves = 10;
  while (leaves * 10 <= count(million)) leaves *= 10;
  const double per_count = co_await per_op(
      million, million, [leaves](std::size_t) { return skynet_tree(static_cast<std::int64_t>(leaves)); });
  const double asked = static_cast<double>(count(million)), made = static_cast<double>(leaves);
  const double per_leaf = per_count * asked / made;
  co_return per_leaf;
});

}  // namespace
}  // namespace bench
