// Go's advice: receive with "v, ok :=" or with range, or a closed channel will feed you zeros.
// Here recv gives an optional, so the end cannot be mistaken for a value, and a loop over recv is the range.
#include <chrono>
#include <cstdio>
#include <leash/leash.hpp>
#include <utility>
#include <variant>

using leash::task;
using namespace std::chrono_literals;

task<> meter(leash::sender<int> readings) {
  for (int v : {0, 7, 0})
    if (!co_await readings.send(v)) co_return;
}

task<int> app() {
  int readings = 0, zeros = 0;
  bool still_ended = false;
  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    auto [tx, rx] = leash::channel<int>();
    s.go(meter, std::move(tx));
    while (auto v = co_await rx.recv()) {
      ++readings;
      if (*v == 0) ++zeros;
    }
    still_ended = rx.ended() && !co_await rx.recv();
  });
  std::printf("The meter sent %d readings, of which %d are real zeros; then the loop ended.\n", readings, zeros);

  // In select the end is a value too: the case that ended is told apart from one that received.
  auto [tx, rx] = leash::channel<int>();
  tx.drop();
  auto got = co_await leash::select(rx.recv(), leash::sleep(1h));
  bool seen = got.index() == 0 && !std::get<0>(got).has_value();
  std::printf("select says %s.\n", seen ? "that the channel has ended" : "something else");

  bool as_told = readings == 3 && zeros == 2 && still_ended && seen;
  if (!as_told) std::puts("FAILED: the end of the channel was taken for a value.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
