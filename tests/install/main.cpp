// What another project would write first: one value through one channel.
#include <cstdio>
#include <leash/leash.hpp>
#include <utility>

leash::task<int> app() {
  int got = 0;
  co_await leash::with_scope([&](leash::scope& s) -> leash::task<> {
    auto [tx, rx] = leash::channel<int>();
    s.go([](leash::sender<int> out) -> leash::task<> { (void)co_await out.send(42); }, std::move(tx));
    got = (co_await rx.recv()).value();
  });
  co_return got;
}

int main() {
  std::printf("received %d\n", leash::run(app));
  return 0;
}
