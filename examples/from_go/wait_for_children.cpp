// Go's advice: wait for what you start (WaitGroup, errgroup).
// Here there is no other way: a goroutine belongs to a scope, and a scope does not end before its goroutines.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <leash/leash.hpp>
#include <stdexcept>
#include <string>

using leash::task;
using namespace std::chrono_literals;

task<> square(int n, int& result) {
  co_await leash::sleep(n * 1ms);
  result = n * n;
}

struct counted {
  int& alive;
  explicit counted(int& n) : alive(n) { ++alive; }
  counted(const counted&) = delete;
  ~counted() { --alive; }
};

task<> wait_for_ever(int& alive, leash::wait_group::token started) {
  counted me(alive);
  started.done();
  co_await leash::sleep(1h);
}

task<int> app() {
  std::array<int, 5> squares{};
  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    for (int i = 0; i < 5; ++i) s.go(square, i, std::ref(squares[std::size_t(i)]));
    co_return;  // nobody waits here, yet all five are joined
  });
  int sum = 0;
  for (int q : squares) sum += q;
  std::printf("All five goroutines had ended when the scope did: their squares sum up to %d.\n", sum);

  // One that fails ends the others, and its error comes out of the scope.
  int alive = 0;
  std::string error;
  leash::wait_group started;
  try {
    co_await leash::with_scope([&](leash::scope& s) -> task<> {
      s.go(wait_for_ever, std::ref(alive), started.add());
      co_await started.wait();
      s.go([]() -> task<> {
        throw std::runtime_error("no such host");
        co_return;
      });
    });
  } catch (const std::runtime_error& e) {
    error = e.what();
  }
  std::printf("The scope failed with \"%s\"; goroutines left behind: %d.\n", error.c_str(), alive);

  bool as_told = sum == 30 && error == "no such host" && alive == 0 && leash::num_goroutines() == 1;
  if (!as_told) std::puts("FAILED: the scope ended before its goroutines.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
