// Awaitables that leash does not know: resumed by whoever, from any thread, never torn down under their feet.
#include <atomic>
#include <coroutine>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/support.hpp"

namespace leash::test::foreign_tests {

/// Threads that are joined when the test ends.
struct threads {
  std::mutex lock;
  std::vector<std::thread> all;
  threads() {}
  ~threads() {
    for (;;) {  // one that still starts another may be among them
      std::vector<std::thread> some;
      {
        std::lock_guard g(lock);
        some.swap(all);
      }
      if (some.empty()) return;
      for (auto& t : some) t.join();
    }
  }
  void start(std::function<void()> f) {
    std::lock_guard g(lock);
    all.emplace_back(std::move(f));
  }
};

/// Completes with a value on a thread of its own, after a time.
struct from_a_thread {
  threads& on;
  std::chrono::milliseconds after;
  std::atomic<int>* destroyed = nullptr;
  std::atomic<bool>* completed = nullptr;
  int value = 0;
  from_a_thread(threads& on, std::chrono::milliseconds after, std::atomic<int>* destroyed = nullptr,
                std::atomic<bool>* completed = nullptr)
      : on(on), after(after), destroyed(destroyed), completed(completed) {}
  from_a_thread(const from_a_thread&) = delete;
  ~from_a_thread() {
    if (destroyed) ++*destroyed;
  }
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    on.start([this, h] {
      std::this_thread::sleep_for(after);
      value = 7;
      if (completed) *completed = true;
      h.resume();
    });
  }
  int await_resume() { return value; }
};

LEASH_TEST_REAL(Foreign, ResumedFromAThread) {
  threads on;
  EXPECT_EQ(co_await from_a_thread(on, 1ms), 7);
  auto [tx, rx] = channel<int>(1);  // and it is a goroutine as before
  EXPECT_TRUE(co_await tx.send(1));
  EXPECT_EQ(co_await rx.recv(), 1);
  co_await sleep(1ms);
  EXPECT_EQ(num_goroutines(), 1u);
}

LEASH_TEST_REAL(Foreign, ManyAtOnceFromManyThreads) {
  threads on;
  std::atomic<int> sum = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 50; ++i)
      s.go(
          [](threads& on, std::atomic<int>& sum, int i) -> task<> {
            for (int round = 0; round < 3; ++round) sum += co_await from_a_thread(on, std::chrono::milliseconds(i % 3));
          },
          std::ref(on), std::ref(sum), i);
    co_return;
  });
  EXPECT_EQ(sum, 50 * 3 * 7);
}

struct ready_now {
  bool await_ready() { return true; }
  void await_suspend(std::coroutine_handle<>) { ADD_FAILURE() << "it was ready"; }
  int await_resume() { return 1; }
};
struct answer {
  bool suspend;
  threads* on;
  bool await_ready() { return false; }
  bool await_suspend(std::coroutine_handle<> h) {
    if (!suspend) return false;
    on->start([h] { h.resume(); });
    return true;
  }
  int await_resume() { return 2; }
};
struct back_to_itself {
  bool await_ready() { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) { return h; }
  int await_resume() { return 3; }
};
struct nobody_next {
  threads* on;
  bool await_ready() { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) {
    on->start([h] { h.resume(); });
    return std::noop_coroutine();
  }
  int await_resume() { return 4; }
};
struct resumed_inside_await_suspend {  // a callback interface that had its answer at once
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> h) { h.resume(); }
  int await_resume() { return 5; }
};
struct by_member {
  ready_now operator co_await() && { return {}; }
};
struct by_function {};
ready_now operator co_await(by_function) { return {}; }

LEASH_TEST_REAL(Foreign, EveryFormOfAwaitSuspend) {
  threads on;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(co_await ready_now(), 1);
    EXPECT_EQ(co_await answer(false, &on), 2);
    EXPECT_EQ(co_await back_to_itself(), 3);
    EXPECT_EQ(co_await resumed_inside_await_suspend(), 5);
    EXPECT_EQ(co_await by_member(), 1);
    EXPECT_EQ(co_await by_function(), 1);
  }
  EXPECT_EQ(co_await answer(true, &on), 2);
  EXPECT_EQ(co_await nobody_next(&on), 4);
  co_await yield();
}

/// A coroutine type of somebody else that resumes its awaiter at its end, as most libraries' tasks do.
struct other_task {
  struct promise_type {
    std::coroutine_handle<> continuation;
    int value = 0;
    other_task get_return_object() { return other_task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct to_continuation {
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> h) noexcept {
          return h.promise().continuation;
        }
        void await_resume() noexcept {}
      };
      return to_continuation();
    }
    void return_value(int v) { value = v; }
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
  explicit other_task(std::coroutine_handle<promise_type> h) : handle(h) {}
  other_task(other_task&& o) noexcept : handle(std::exchange(o.handle, {})) {}
  ~other_task() {
    if (handle) handle.destroy();
  }
  bool await_ready() { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) {
    handle.promise().continuation = h;
    return handle;
  }
  int await_resume() { return handle.promise().value; }
};
other_task other(threads& on, int n) {
  int sum = 0;
  for (int i = 0; i < n; ++i) sum += co_await from_a_thread(on, 0ms);
  co_return sum;
}

LEASH_TEST_REAL(Foreign, AnotherLibrarysTask) {
  threads on;
  EXPECT_EQ(co_await other(on, 0), 0);
  EXPECT_EQ(co_await other(on, 3), 21);
  co_await yield();
}

struct throws_in {
  int step;
  bool await_ready() {
    if (step == 0) throw std::runtime_error("ready");
    return false;
  }
  bool await_suspend(std::coroutine_handle<>) {
    if (step == 1) throw std::runtime_error("suspend");
    return false;
  }
  void await_resume() {
    if (step == 2) throw std::runtime_error("resume");
  }
};

LEASH_TEST(Foreign, AnExceptionOfTheAwaitableArrivesAtTheAwait) {
  const char* words[] = {"ready", "suspend", "resume"};
  for (int step = 0; step < 3; ++step) {
    std::string what;
    try {
      co_await throws_in(step);
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_EQ(what, words[step]);
  }
  co_await yield();
}

LEASH_TEST_REAL(Foreign, UnwindingWaitsUntilItCompletes) {
  threads on;
  std::atomic<int> destroyed = 0;
  std::atomic<bool> completed = false, complete_at_destruction = false, after_next_wait = false;
  struct look {
    std::atomic<bool>&completed, &seen;
    ~look() { seen = completed.load(); }
  };
  bool whole = co_await with_timeout(5ms, [&]() -> task<> {
    look l{completed, complete_at_destruction};
    (void)co_await from_a_thread(on, 60ms, &destroyed, &completed);
    co_await yield();
    after_next_wait = true;
  });
  EXPECT_FALSE(whole);
  EXPECT_TRUE(completed);
  EXPECT_TRUE(complete_at_destruction);
  EXPECT_FALSE(after_next_wait);
  EXPECT_EQ(destroyed, 1);
}

LEASH_TEST_REAL(Foreign, AScopeThatIsCancelledWaitsForIt) {
  threads on;
  std::atomic<int> destroyed = 0;
  std::atomic<bool> completed = false;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("foreign"),
        [](threads& on, std::atomic<int>& destroyed, std::atomic<bool>& completed) -> task<> {
          (void)co_await from_a_thread(on, 40ms, &destroyed, &completed);
          co_await yield();
          ADD_FAILURE() << "cancelled, yet it went on";
        },
        std::ref(on), std::ref(destroyed), std::ref(completed));
    co_await eventually([&] {
      std::lock_guard g(on.lock);
      return !on.all.empty();
    });
    s.cancel();
  });
  EXPECT_TRUE(completed);
  EXPECT_EQ(destroyed, 1);
}

// Is cancelled when it would complete. Not sooner: what is cancelled before it is awaited does not begin.
struct cancelled_from_a_thread : from_a_thread {
  std::shared_ptr<cancel_source> end;
  cancelled_from_a_thread(std::shared_ptr<cancel_source> e, threads& on, std::atomic<int>* destroyed,
                          std::atomic<bool>* completed)
      : from_a_thread(on, 1ms, destroyed, completed), end(std::move(e)) {}
  void await_suspend(std::coroutine_handle<> h) {
    on.start([end = end] {
      std::this_thread::sleep_for(1ms);
      end->cancel();
    });
    from_a_thread::await_suspend(h);
  }
};

LEASH_TEST_REAL(Foreign, CompletionRacingWithCancellationLosesNeither) {
  threads on;
  for (int i = 0; i < 100; ++i) {
    std::atomic<int> destroyed = 0;
    std::atomic<bool> completed = false;
    auto const end = std::make_shared<cancel_source>();
    (void)co_await with_cancel(*end, [&]() -> task<> {
      (void)co_await cancelled_from_a_thread(end, on, &destroyed, &completed);
      co_await yield();
    });
    EXPECT_TRUE(completed);
    EXPECT_EQ(destroyed, 1);
  }
}

}  // namespace leash::test::foreign_tests
