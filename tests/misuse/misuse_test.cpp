// Mistakes: each is answered with what went wrong, where, and what to do instead.
#include <atomic>
#include <coroutine>
#include <cstring>
#include <exception>
#include <list>
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/support.hpp"

namespace leash::test::misuse_tests {

/// What the error said that `f` throws as an E; empty, and a failure, if it throws none.
template <class E, class F>
std::string said(F f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  ADD_FAILURE() << "no exception";
  return "";
}
template <class E, class Body>
task<std::string> said_by(Body body) {
  try {
    co_await body();
  } catch (const E& e) {
    co_return e.what();
  }
  ADD_FAILURE() << "no exception";
  co_return "";
}
void expect_in(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

// ---- operations -----------------------------------------------------------------------------------------------
/// A coroutine of somebody else, run at once by whoever calls it.
struct foreign {
  struct promise_type {
    std::exception_ptr error;
    foreign get_return_object() { return foreign(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { error = std::current_exception(); }
  };
  std::coroutine_handle<promise_type> handle;
  explicit foreign(std::coroutine_handle<promise_type> h) : handle(h) {}
  foreign(const foreign&) = delete;
  ~foreign() { handle.destroy(); }
  void rethrow() const {
    if (handle.promise().error) std::rethrow_exception(handle.promise().error);
  }
};

TEST(Misuse, AnOperationAwaitedOutsideAGoroutine) {
  auto [tx, rx] = channel<int>();
  auto receives = [](receiver<int>& from) -> foreign { (void)co_await from.recv(); };
  auto sleeps = []() -> foreign { co_await sleep(1ms); };
  auto awaits_a_task = []() -> foreign { co_await []() -> task<> { co_return; }(); };
  expect_in(said<std::logic_error>([&] { receives(rx).rethrow(); }), {"misuse_test.cpp:", "goroutine", "run"});
  expect_in(said<std::logic_error>([&] { sleeps().rethrow(); }), {"misuse_test.cpp:", "goroutine", "run"});
  expect_in(said<std::logic_error>([&] { awaits_a_task().rethrow(); }), {"misuse_test.cpp:", "goroutine", "run"});
}

LEASH_TEST(Misuse, AnOperationAwaitedInAForeignCoroutineInsideARun) {
  auto sleeps = []() -> foreign { co_await sleep(1ms); };
  expect_in(said<std::logic_error>([&] { sleeps().rethrow(); }), {"goroutine"});
  co_await yield();  // and the goroutine that called it is unharmed
}

LEASH_TEST(Misuse, AnEmptyEnd) {
  receiver<int> no_receiver;
  sender<int> no_sender;
  auto [tx, rx] = channel<int>(1);
  auto moved = std::move(tx);
  expect_in(co_await said_by<std::logic_error>([&]() -> task<> { (void)co_await no_receiver.recv(); }),
            {"recv", "empty", "misuse_test.cpp"});
  expect_in(co_await said_by<std::logic_error>([&]() -> task<> { (void)co_await no_sender.send(1); }),
            {"send", "empty", "misuse_test.cpp"});
  expect_in(co_await said_by<std::logic_error>([&]() -> task<> { (void)co_await tx.send(1); }),
            {"send", "empty", "misuse_test.cpp"});
  EXPECT_TRUE(co_await moved.send(3));
  auto r =
      co_await select(no_receiver.recv(), no_sender.send(1), rx.recv());  // there it is a case that is switched off
  EXPECT_EQ(r.index(), 2u);
}

LEASH_TEST(Misuse, OneOperationAwaitedTwice) {
  auto [tx, rx] = channel<int>(2);
  EXPECT_TRUE(co_await tx.send(1));
  EXPECT_TRUE(co_await tx.send(2));
  auto op = rx.recv();
  EXPECT_EQ(co_await std::move(op), 1);
  expect_in(co_await said_by<std::logic_error>([&]() -> task<> { (void)co_await std::move(op); }),
            {"twice", "misuse_test.cpp"});
  EXPECT_EQ(rx.len(), 1u);
}

LEASH_TEST(Misuse, ATaskAwaitedAfterItWasMovedAway) {
  auto one = []() -> task<int> { co_return 1; };
  task<int> t = one();
  task<int> other = std::move(t);
  expect_in(co_await said_by<std::logic_error>([&]() -> task<> { (void)co_await std::move(t); }),
            {"task", "misuse_test.cpp"});
  EXPECT_EQ(co_await std::move(other), 1);
}

LEASH_TEST(Misuse, ANegativeDuration) {
  bool ran = false;
  auto body = [&ran] { ran = true; };
  using invalid = std::invalid_argument;
  for (const std::string& text : {
           co_await said_by<invalid>([]() -> task<> { co_await sleep(-1ns); }),
           co_await said_by<invalid>([&]() -> task<> { (void)co_await with_timeout(-1s, body); }),
           co_await said_by<invalid>([&]() -> task<> { (void)co_await with_timeout(nanoseconds::min(), body); }),
           co_await said_by<invalid>([&]() -> task<> { (void)co_await shielded(-1s, body); }),
           said<invalid>([&] { (void)after_func(-1h, body); }),
       })
    expect_in(text, {"negative", "misuse_test.cpp"});
  expect_in(said<invalid>([] { ticker t(-1s); }), {"ticker", "positive", "misuse_test.cpp"});
  EXPECT_THROW(ticker(0s), std::invalid_argument);
  EXPECT_FALSE(ran);
}

LEASH_TEST(Misuse, ExtremePointsInTimeAndDurationsDoNotWrapAround) {
  const auto before = now();
  co_await sleep(0s);
  co_await sleep_until(now() - 1h);
  co_await sleep_until(clock::time_point::min());
  EXPECT_FALSE(co_await with_deadline(clock::time_point::min(), yield()));
  EXPECT_TRUE(co_await with_deadline(clock::time_point::max(), yield()));
  EXPECT_TRUE(co_await with_timeout(nanoseconds::max(), yield()));
  EXPECT_TRUE(co_await with_timeout(std::chrono::hours::max(), yield()));
  EXPECT_FALSE(co_await with_timeout(1ms, sleep(nanoseconds::max())));
  timer t = after_func(nanoseconds::max(), [] { ADD_FAILURE() << "fired"; });
  co_await sleep(1ms);
  EXPECT_TRUE(t.stop());
  EXPECT_LT(now() - before, 10s);
}

// ---- run ----------------------------------------------------------------------------------------------------------
TEST(Misuse, RunInsideRun) {
  std::string text = run([]() -> task<std::string> { co_return said<std::logic_error>([] { run([] {}); }); });
  expect_in(text, {"misuse_test.cpp:", "run", "co_await"});
}

LEASH_TEST(Misuse, AConditionWithAGuardThatHoldsNothing) {
  condition cv;
  mutex::guard nothing;
  expect_in(co_await said_by<std::logic_error>([&] { return cv.wait(nothing, [] { return false; }); }),
            {"misuse_test.cpp:", "condition::wait", "holds nothing"});
}

LEASH_TEST(Misuse, ReclaimWaitedForOnAWorker) {
  expect_in(said<std::logic_error>([] { (void)reclaim(find_leaks()).wait(); }), {"misuse_test.cpp:", "co_await"});
  co_return;
}

TEST(Misuse, TooManyWorkers) {
  options o;
  o.workers = 1'000'000;
  expect_in(said<std::invalid_argument>([&] { run(o, [] {}); }), {"misuse_test.cpp:", "workers", "1000000"});
  options negative;
  negative.stuck_after = -1s;
  expect_in(said<std::invalid_argument>([&] { run(negative, [] {}); }), {"misuse_test.cpp:", "negative duration"});
  EXPECT_EQ(run([] { return 1; }), 1);
}

// ---- scopes ---------------------------------------------------------------------------------------------------------
LEASH_TEST(Misuse, AnExceptionOfAChildWhoseHandleWasDropped) {
  std::string text = co_await said_by<std::runtime_error>([]() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      s.go([]() -> task<> {
        co_await yield();
        throw std::runtime_error("nobody joins");
      });
      co_return;
    });
  });
  EXPECT_EQ(text, "nobody joins");
}

LEASH_TEST(Misuse, AClosureThatPointsIntoTheBodysFrame) {
  co_await with_scope([](scope& s) -> task<> {
    std::vector<int> local(3);
    std::string text = said<std::logic_error>([&] {
      s.go([&local]() -> task<> {
        local.clear();
        co_return;
      });
    });
    expect_in(text, {"misuse_test.cpp", "join", "move"});
    EXPECT_THROW(s.go([](std::vector<int>&) {}, std::ref(local)), std::logic_error);
    EXPECT_THROW(s.go([](std::vector<int>*) {}, &local), std::logic_error);
    co_await yield();
    EXPECT_THROW(s.go([](std::vector<int>&) {}, std::ref(local)), std::logic_error);
    local.push_back(1);
  });
}

// What lay there before the value: an address of the stack in use, in each word.
template <class T, class... Args>
T& made_on_remains(std::byte* place, std::size_t bytes, int& local, Args&&... args) {
  int* remains = &local;
  for (std::size_t i = 0; i < bytes; i += sizeof(remains)) std::memcpy(place + i, &remains, sizeof(remains));
  return *new (place) T(std::forward<Args>(args)...);
}
struct padded {
  const void* p;
  bool flag;
};
void remains_of_addresses(scope& s) {
  int local = 0;
  alignas(16) std::byte a[sizeof(std::string)], b[sizeof(std::optional<int*>)], c[sizeof(padded)];
  auto& text = made_on_remains<std::string>(a, sizeof(a), local, "ab");
  auto& nothing = made_on_remains<std::optional<int*>>(b, sizeof(b), local);
  auto& with_padding = made_on_remains<padded>(c, sizeof(c), local, padded{nullptr, false});
  s.go([](std::string t, std::optional<int*> n, padded p) { EXPECT_TRUE(t == "ab" && !n && !p.flag); }, text, nothing,
       with_padding);
  s.go([text, nothing, with_padding] { EXPECT_TRUE(text == "ab" && !nothing && !with_padding.flag); });
  EXPECT_THROW(s.go([&local, n = 1L] { local = static_cast<int>(n); }), std::logic_error);  // the control
}
LEASH_TEST(Misuse, WhatUnusedBytesHoldIsNoAddress) {
  co_await with_scope([](scope& s) -> task<> {
    for (int i = 0; i < 10; ++i) remains_of_addresses(s);
    co_return;
  });
}

void from_a_plain_function(scope& s) {
  int on_the_stack = 0;
  EXPECT_THROW(s.go([&on_the_stack] { ++on_the_stack; }), std::logic_error);
  EXPECT_THROW(s.go([](int* p) { ++*p; }, &on_the_stack), std::logic_error);
  EXPECT_EQ(on_the_stack, 0);
}
LEASH_TEST(Misuse, AClosureThatPointsIntoTheWorkersStack) {
  co_await with_scope([](scope& s) -> task<> {
    from_a_plain_function(s);
    co_await yield();
    from_a_plain_function(s);
  });
}

LEASH_TEST(Misuse, WhatIsRefusedIsDestroyedAndTheScopeGoesOn) {
  int ran = 0;
  co_await with_scope([&](scope& s) -> task<> {
    int local = 0;
    EXPECT_THROW(s.go([](int&, counted) {}, std::ref(local), counted(1)), std::logic_error);
    EXPECT_EQ(counted::alive(), 0);
    EXPECT_EQ(num_goroutines(), 1u);
    s.go([](int& ran) { ++ran; }, std::ref(ran));
    co_return;
  });
  EXPECT_EQ(ran, 1);
}

LEASH_TEST(Misuse, WhatOnlyLooksAlikeIsAccepted) {
  int outside = 0;
  co_await with_scope([&](scope& s) -> task<> {
    std::string small = "short";  // points into itself, and so do an empty list and map
    std::list<int> list;
    std::map<int, int> map;
    s.go(
        [](std::string t, std::list<int> l, std::map<int, int> m) -> task<> {
          co_await yield();
          EXPECT_EQ(t, "short");
          EXPECT_TRUE(l.empty() && m.empty());
        },
        small, list, map);
    s.go([small, list, map]() -> task<> {
      co_await yield();
      EXPECT_EQ(small, "short");
    });
    s.go([&outside] { std::atomic_ref<int>(outside) += 1; });
    s.go([&s] { s.go([] {}); });
    co_return;
  });
  EXPECT_EQ(outside, 1);
}

// ---- memory
// -----------------------------------------------------------------------------------------------------------
// Without optimisation the compiler keeps a dead copy of each local on the stack, where this one does not fit.
#ifdef __OPTIMIZE__
char* volatile touched;
void touch(char* p) { touched = p; }
/// Its frame is larger than memory.
task<int> huge_body(counted) {
  char big[std::size_t(1) << 46];
  touch(big);
  co_await yield();
  touch(big);
  co_return big[0];
}
task<int> (*volatile huge)(counted) = huge_body;  // volatile: the frame cannot be placed in its caller's

LEASH_TEST(Misuse, NoMemoryForAFrameThrowsOutOfTheCall) {
  EXPECT_THROW((void)huge(counted(1)), std::bad_alloc);
  EXPECT_THROW((void)co_await huge(counted(1)), std::bad_alloc);
  EXPECT_THROW(co_await with_scope([](scope& s) -> task<> {
                 s.go(huge_body, counted(1));
                 co_await yield();
               }),
               std::bad_alloc);
  EXPECT_THROW((void)co_await with_timeout(1h, [] { return huge(counted(1)); }), std::bad_alloc);
  EXPECT_EQ(counted::alive(), 0);
  EXPECT_EQ(num_goroutines(), 1u);
  auto small = []() -> task<int> { co_return 1; };
  EXPECT_EQ(co_await small(), 1);
}

TEST(Misuse, NoMemoryForTheRootsFrame) {
  EXPECT_THROW(run(huge_body, counted(1)), std::bad_alloc);
  EXPECT_EQ(counted::alive(), 0);
  EXPECT_EQ(num_goroutines(), 0u);
}

#endif  // __OPTIMIZE__

// ---- what cannot go on
// ---------------------------------------------------------------------------------------------------
struct throws_at_its_end {
  ~throws_at_its_end() noexcept(false) { throw std::runtime_error("thrown by a destructor"); }
};
TEST(MisuseDeathTest, ADestructorThatThrowsWhileUnwinding) {
  EXPECT_DEATH(run([]() -> task<> {
                 (void)co_await with_timeout(1ms, []() -> task<> {
                   throws_at_its_end t;
                   co_await forever();
                 });
               }),
               "destructor.*unwind");
}

TEST(MisuseDeathTest, AMutexDestroyedWhileItIsLocked) {
  EXPECT_DEATH(run([]() -> task<> {
                 std::optional<mutex> m(std::in_place);
                 auto g = co_await m->lock();
                 m.reset();
               }),
               "mutex.*destroyed.*held");
}

TEST(MisuseDeathTest, AMutexDestroyedWhileItIsWaitedFor) {
  EXPECT_DEATH(run([]() -> task<> {
                 std::optional<mutex> m(std::in_place);
                 std::optional<mutex::guard> g;
                 g.emplace(co_await m->lock());
                 co_await with_scope([&](scope& s) -> task<> {
                   s.go(named("waiter"), [](mutex& m) -> task<> { auto g = co_await m.lock(); }, std::ref(*m));
                   co_await parked("waiter", "sync.Mutex.Lock");
                   m.reset();
                 });
               }),
               "mutex.*destroyed");
}

TEST(MisuseDeathTest, AnEventDestroyedWhileItIsWaitedFor) {
  EXPECT_DEATH(run([]() -> task<> {
                 std::optional<event> e(std::in_place);
                 co_await with_scope([&](scope& s) -> task<> {
                   s.go(named("waiter"), [](event& e) -> task<> { co_await e.wait(); }, std::ref(*e));
                   co_await parked("waiter", "event");
                   e.reset();
                 });
               }),
               "event.*destroyed");
}

TEST(MisuseDeathTest, AHandleWhoseBytesWereCopied) {
  EXPECT_DEATH(run([]() -> task<> {
                 auto [tx, rx] = channel<int>();
                 alignas(sender<int>) std::byte copy[sizeof(sender<int>)];
                 std::memcpy(copy, static_cast<const void*>(&tx), sizeof(tx));
                 reinterpret_cast<sender<int>*>(copy)->~sender<int>();
                 co_return;
               }),
               "");
}

}  // namespace leash::test::misuse_tests
