// Go's advice: close from the sender, once, when all sending is over.
// Here each sender drops its own end; the last one to do so ends the channel. close() is for ending it earlier.
#include <cstdio>
#include <leash/leash.hpp>
#include <optional>
#include <string>

using leash::task;

template <class End>
concept closable = requires(End& end) { end.close(); };
static_assert(closable<leash::sender<int>>);
static_assert(!closable<leash::receiver<int>>, "a receiver has nothing to close with");

task<> produce(leash::sender<int> out, int from, int to) {
  for (int i = from; i < to; ++i)
    if (!co_await out.send(i)) co_return;
}  // `out` is dropped here, however this function is left

task<int> app() {
  int sum = 0;
  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    auto [tx, rx] = leash::channel<int>();
    for (int i = 0; i < 4; ++i) s.go(produce, tx.dup(), i * 25, (i + 1) * 25);
    tx.drop();
    while (auto v = co_await rx.recv()) sum += *v;  // ends when the fourth producer has ended
  });
  std::printf("Four producers, none of which knows who is last: the sum is %d.\n", sum);

  auto [tx, rx] = leash::channel<std::string>(2);
  auto other = tx.dup();
  bool before = co_await tx.send("in time");
  tx.close();
  tx.close();
  other.close();
  bool after = co_await other.send("too late");
  std::optional<std::string> back = co_await other.send_or("too late as well");
  auto first = co_await rx.recv(), second = co_await rx.recv();
  std::printf("Closed three times without harm. A send after it %s, and the value %s.\n",
              after ? "succeeded" : "failed", back ? "came back" : "is lost");
  std::printf("The receiver still got \"%s\", then %s.\n", first ? first->c_str() : "nothing",
              second ? "something else" : "the end");

  bool as_told = sum == 4950 && before && !after && back == "too late as well" && first == "in time" && !second;
  if (!as_told) std::puts("FAILED: the channel did not end as it should.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
