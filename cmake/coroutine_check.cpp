// Run at configure time: coroutine shapes that some compilers get wrong. Prints each that fails; exits with their
// number. Every shape makes `probe`s, which know their own address: a bitwise copy or a forgotten destructor shows.
#include <coroutine>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <utility>

namespace {

int alive = 0;      // probes made and not destroyed
int misplaced = 0;  // probes destroyed, read or moved from where they were not made

struct probe {
  explicit probe(int v) : value(v), self(this) { ++alive; }
  probe(const probe& other) : value(other.value), self(this) { other.verify(), ++alive; }
  probe(probe&& other) noexcept : value(other.value), self(this) { other.verify(), ++alive; }
  ~probe() { verify(), --alive; }
  int read() const { return verify(), value; }
  void verify() const {
    if (self != this) ++misplaced;
  }

  int value;
  const probe* self;
};

struct coroutine {
  struct promise_type {
    coroutine get_return_object() { return coroutine{std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_value(int v) { result = v; }
    void unhandled_exception() { std::terminate(); }
    int result = -1;
  };
  std::coroutine_handle<promise_type> handle;
};

// Suspends once, then gives `value`. It is not a temporary with state of its own.
struct pause {
  explicit pause(int v) : value(v) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const noexcept { return value; }
  int value;
};

struct aggregate {
  probe a;
  probe b;
};

int sum(const aggregate& x) { return x.a.read() + x.b.read(); }
int sum(const probe& x, int y) { return x.read() + y; }
template <class F>
int call(F f, int y) {
  return f() + y;
}
pause pause_with(const aggregate& x) { return pause(sum(x)); }
pause pause_with(probe x) { return pause(x.read()); }
template <class F>
pause pause_calling(F f) {
  return pause(f());
}

struct keeps_aggregate {  // an awaitable that is itself handed an aggregate by value
  explicit keeps_aggregate(aggregate x) : held(std::move(x)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const { return sum(held); }
  aggregate held;
};

// ---- temporaries that live across, or are handed to, a co_await: each gives 3 ---------------------------------------
coroutine aggregate_argument() { co_return co_await pause_with(aggregate{probe(1), probe(2)}); }
coroutine aggregate_kept() { co_return co_await keeps_aggregate(aggregate{probe(1), probe(2)}); }
coroutine aggregate_across() { co_return sum(aggregate{probe(1), probe(2)}) + co_await pause(0); }
coroutine lambda_argument() {
  probe local(3);
  co_return co_await pause_calling([local] { return local.read(); });
}
coroutine lambda_across() {
  probe local(1);
  co_return call([local] { return local.read(); }, co_await pause(2));
}
coroutine conditional_argument_if(bool b) { co_return co_await pause_with(b ? probe(3) : probe(4)); }
coroutine conditional_argument() { return conditional_argument_if(true); }
coroutine conditional_across_if(bool b) { co_return sum(b ? probe(1) : probe(4), co_await pause(2)); }
coroutine conditional_across() { return conditional_across_if(true); }
coroutine probe_across() { co_return sum(probe(1), co_await pause(2)); }

// ---- expressions that are half built when they wait: as a whole they give 3, cut off they leave nothing
// --------------
coroutine half_an_aggregate() { co_return sum(aggregate{probe(1), probe(co_await pause(2))}); }
coroutine half_a_variable() {
  aggregate x{probe(1), probe(co_await pause(2))};
  co_return sum(x);
}
coroutine half_an_array() {
  probe x[] = {probe(1), probe(co_await pause(2))};
  co_return x[0].read() + x[1].read();
}
coroutine half_a_capture() {
  auto f = [a = probe(1), b = probe(co_await pause(2))] { return a.read() + b.read(); };
  co_return f();
}
coroutine half_a_condition_if(bool b) {
  co_return sum(b ? aggregate{probe(1), probe(co_await pause(2))} : aggregate{probe(5), probe(6)});
}
coroutine half_a_condition() { return half_a_condition_if(true); }
coroutine local_and_temporary() {
  probe local(1);
  co_return sum(probe(local.read()), co_await pause(2));
}

struct shape {
  const char* name;
  coroutine (*make)();
};
constexpr shape shapes[] = {
    {"an aggregate temporary as argument of an awaited call", aggregate_argument},
    {"an aggregate temporary moved into an awaitable", aggregate_kept},
    {"an aggregate temporary that outlives a co_await", aggregate_across},
    {"a lambda temporary capturing by value, as argument of an awaited call", lambda_argument},
    {"a lambda temporary capturing by value, that outlives a co_await", lambda_across},
    {"the result of ?: as argument of an awaited call", conditional_argument},
    {"the result of ?: that outlives a co_await", conditional_across},
    {"a class temporary that outlives a co_await", probe_across},
    {"a co_await inside a temporary's braces", half_an_aggregate},
    {"a co_await inside a variable's braces", half_a_variable},
    {"a co_await inside an array's braces", half_an_array},
    {"a co_await inside a lambda's captures", half_a_capture},
    {"a co_await inside the braces of a branch of ?:", half_a_condition},
    {"a co_await beside a temporary and a local", local_and_temporary},
};

// Runs to the end, or destroys the frame at its only wait.
bool goes_well(const shape& s, bool to_the_end) {
  alive = misplaced = 0;
  coroutine c = s.make();
  c.handle.resume();
  int result = 3;
  if (to_the_end) {
    while (!c.handle.done()) c.handle.resume();
    result = c.handle.promise().result;
  }
  c.handle.destroy();
  if (result == 3 && alive == 0 && misplaced == 0) return true;
  std::printf("  %s, %s: gave %d (right: 3), %d destructor(s) %s, %d on the wrong object\n", s.name,
              to_the_end ? "run to the end" : "destroyed while it waits", result, std::abs(alive),
              alive < 0 ? "too many" : "missing", misplaced);
  return false;
}

}  // namespace

int main() {
  std::setvbuf(stdout, nullptr, _IONBF, 0);
  int failed = 0;
  for (const shape& s : shapes) failed += !goes_well(s, true) + !goes_well(s, false);
  return failed;
}
