// A task: lazy, owned by one holder, and the carrier of a value or an exception.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/support.hpp"

namespace leash::test::task_tests {

/// Counts the instances that are alive.
struct counted {
  int* alive;
  explicit counted(int& n) : alive(&n) { ++*alive; }
  counted(counted&& other) noexcept : alive(other.alive) { ++*alive; }
  counted(const counted& other) : alive(other.alive) { ++*alive; }
  ~counted() { --*alive; }
};

task<int> mark(bool& ran) {
  ran = true;
  co_return 7;
}

LEASH_TEST(Task, DoesNotStartBeforeItIsAwaited) {
  bool ran = false;
  task<int> t = mark(ran);
  EXPECT_FALSE(ran);
  co_await yield();
  EXPECT_FALSE(ran);
  EXPECT_EQ(co_await std::move(t), 7);
  EXPECT_TRUE(ran);
}

LEASH_TEST(Task, DroppedUnstartedDestroysItsArgumentsAndNeverRuns) {
  int alive = 0;
  bool ran = false;
  auto body = [](counted, bool& ran) -> task<> {
    ran = true;
    co_return;
  };
  {
    task<> t = body(counted(alive), ran);
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
  EXPECT_FALSE(ran);
  co_return;
}

TEST(Task, MayBeDroppedUnstartedOutsideARuntime) {
  int alive = 0;
  {
    auto body = [](counted) -> task<> { co_return; };
    task<> t = body(counted(alive));
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
}

LEASH_TEST(Task, MoveHandsTheBodyOver) {
  bool first_ran = false, second_ran = false;
  int alive = 0;
  auto body = [](counted, bool& ran) -> task<int> { co_return co_await mark(ran); };
  task<int> first = body(counted(alive), first_ran);
  task<int> second = body(counted(alive), second_ran);
  EXPECT_EQ(alive, 2);
  second = std::move(first);  // the body that `second` held ends here
  EXPECT_EQ(alive, 1);
  task<int> third(std::move(second));
  EXPECT_EQ(co_await std::move(third), 7);
  EXPECT_TRUE(first_ran);
  EXPECT_FALSE(second_ran);
}

LEASH_TEST(Task, WaitsInAContainer) {
  std::vector<task<int>> kept;
  auto number = [](int i) -> task<int> { co_return i; };
  for (int i = 0; i < 100; ++i) kept.push_back(number(i));
  int sum = 0;
  for (auto& t : kept) sum += co_await std::move(t);
  EXPECT_EQ(sum, 4950);
}

LEASH_TEST(Task, ReturnsAReferenceToTheVeryObject) {
  int there = 1;
  auto body = [](int& x) -> task<int&> { co_return x; };
  int& here = co_await body(there);
  EXPECT_EQ(&here, &there);
  here = 5;
  EXPECT_EQ(there, 5);
}

LEASH_TEST(Task, ReturnsAMoveOnlyValue) {
  auto body = [](int n) -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(n); };
  std::unique_ptr<int> p = co_await body(3);
  EXPECT_EQ(*p, 3);
}

LEASH_TEST(Task, DestroysItsResultOnce) {
  int alive = 0;
  auto body = [](int& alive) -> task<counted> { co_return counted(alive); };
  {
    counted kept = co_await body(alive);
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
  (void)co_await body(alive);
  EXPECT_EQ(alive, 0);
}

bool aligned_to(const void* p, std::size_t alignment) { return reinterpret_cast<std::uintptr_t>(p) % alignment == 0; }

template <std::size_t Alignment>
struct alignas(Alignment) wide {
  int value;
  explicit wide(int v) : value(v) { EXPECT_TRUE(aligned_to(this, Alignment)); }
  wide(wide&& other) noexcept : value(other.value) { EXPECT_TRUE(aligned_to(this, Alignment)); }
};

// `Odd` bytes more in the frame, so that its size is no multiple of the alignment by luck.
template <std::size_t Alignment, std::size_t Odd>
task<> keeps_alignment() {
  auto body = [](wide<Alignment> w) -> task<wide<Alignment>> {
    std::array<char, Odd> odd;
    odd.fill('x');
    wide<Alignment> local(w.value + 1);
    co_await yield();
    EXPECT_TRUE(aligned_to(&local, Alignment));
    EXPECT_TRUE(aligned_to(&w, Alignment));
    EXPECT_EQ(std::ranges::count(odd, 'x'), std::ssize(odd));
    co_return wide<Alignment>(local.value + 1);
  };
  for (int i = 0; i < 20; ++i) {
    wide<Alignment> w = co_await body(wide<Alignment>(i));
    EXPECT_EQ(w.value, i + 2);
  }
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(body, wide<Alignment>(40));
    auto w = co_await h.join();
    EXPECT_TRUE(w && w->value == 42);
  });
}

LEASH_TEST(Task, KeepsTheAlignmentOfResultsLocalsAndArguments) {
  co_await keeps_alignment<32, 1>();
  co_await keeps_alignment<64, 17>();
  co_await keeps_alignment<64, 50>();
  co_await keeps_alignment<128, 65>();
  co_await keeps_alignment<256, 1100>();
  co_await keeps_alignment<1024, 3>();
  co_await keeps_alignment<4096, 3>();
}

task<int> down(int n) {
  if (n == 0) {
    co_await yield();
    co_return 0;
  }
  co_return 1 + co_await down(n - 1);
}
task<int> down_and_throw(int n) {
  if (n == 0) throw std::out_of_range("bottom");
  co_return 1 + co_await down_and_throw(n - 1);
}

LEASH_TEST_REAL(Task, NestsAHundredThousandDeep) { EXPECT_EQ(co_await down(100'000), 100'000); }

LEASH_TEST_REAL(Task, CarriesAnExceptionThroughTenThousandFrames) {
  EXPECT_THROW((void)co_await down_and_throw(10'000), std::out_of_range);
}

LEASH_TEST_REAL(Task, AwaitedInALoopNeedsNoStack) {
  auto one = []() -> task<int> { co_return 1; };
  int sum = 0;
  for (int i = 0; i < 1'000'000; ++i) sum += co_await one();
  EXPECT_EQ(sum, 1'000'000);
}

struct log_end {
  std::vector<std::string>& log;
  std::string name;
  ~log_end() { log.push_back(name); }
};
task<> leaf(std::vector<std::string>& log) {
  log_end end{log, "leaf"};
  co_await yield();
  throw std::runtime_error("from the leaf");
}
task<> middle(std::vector<std::string>& log) {
  log_end end{log, "middle"};
  co_await leaf(log);
}

LEASH_TEST(Task, AnExceptionUnwindsLeafFirstAndKeepsItsType) {
  std::vector<std::string> log;
  try {
    co_await middle(log);
    ADD_FAILURE() << "no exception";
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "from the leaf");
  }
  EXPECT_EQ(log, (std::vector<std::string>{"leaf", "middle"}));
  EXPECT_EQ(std::uncaught_exceptions(), 0);
}

LEASH_TEST(Task, AnExceptionMayBeCaughtAndReplacedOnTheWay) {
  auto replace = [](std::vector<std::string>& log) -> task<int> {
    try {
      co_await middle(log);
    } catch (const std::exception&) {
      throw std::logic_error("replaced");
    }
    co_return 1;
  };
  std::vector<std::string> log;
  EXPECT_THROW((void)co_await replace(log), std::logic_error);
}

LEASH_TEST(Task, ACatchBlockIsLeftBeforeTheNextWait) {
  auto recover = [](int n) -> task<int> {
    bool failed = false;
    try {
      (void)co_await down_and_throw(n);
    } catch (const std::out_of_range&) {
      failed = true;
    }
    co_await yield();  // another goroutine may run here on this thread
    EXPECT_EQ(std::current_exception(), nullptr);
    co_return failed ? 1 : 0;
  };
  std::vector<goroutine<int>> all;
  int sum = 0;
  co_await with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 20; ++i) all.push_back(s.go(recover, i));
    for (auto& h : all) sum += (co_await h.join()).value_or(0);
  });
  EXPECT_EQ(sum, 20);
}

// The compiler may place the frame of a task that is awaited at once inside its caller's.
LEASH_TEST(Task, FramesPlacedInTheCallersFrameAreUnwoundOnce) {
  int alive = 0;
  auto inner = [](counted c, bool wait) -> task<int> {
    counted local(c);
    if (wait) co_await forever();
    co_return *local.alive;
  };
  auto outer = [&](bool wait) -> task<int> {
    counted here(alive);
    co_return co_await inner(counted(alive), wait) + co_await inner(counted(alive), false);
  };
  for (int i = 0; i < 100; ++i) {
    EXPECT_GE(co_await outer(false), 3);
    EXPECT_EQ(alive, 0);
    auto r = co_await with_timeout(100us, outer(true));
    EXPECT_FALSE(r);
    EXPECT_EQ(alive, 0);
  }
}

}  // namespace leash::test::task_tests
