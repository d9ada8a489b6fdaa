// What the behaviour tests share: a test body that is a coroutine and runs on several schedulers, assertions that
// work inside coroutines, and waiting until a goroutine is parked, so that no test needs a sleep of its own.
//
//   LEASH_TEST(Suite, behaviour) { ... co_await ...; }       1, 2 and 4 workers, and simulated seeds
//   LEASH_TEST_REAL(Suite, behaviour) { ... }                workers only: for foreign threads and real clocks
//   LEASH_TEST_OF_LEAKS(Suite, behaviour) { ... }            as LEASH_TEST; a reported leak is no failure
//
// Each body is a task<>. Every run ends with num_goroutines() == 0; a leak reported where none is declared is a
// false alarm and fails the test. gtest's ASSERT_* say `return`: inside coroutines use CO_ASSERT_* (task<> only).
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <leash/leash.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#if !defined(LEASH_HAS_SIMULATE) && (__has_include(<leash/testing.hpp>) || __has_include(<leash/simulate.hpp>))
#define LEASH_HAS_SIMULATE 1
#endif

namespace leash::test {

using namespace std::chrono_literals;

enum class leaks { are_false_alarms, are_expected };

inline std::string text(const leak_report& r) {
  std::ostringstream out;
  out << r;
  return out.str();
}

inline options with_workers(unsigned workers, leaks expected = leaks::are_false_alarms) {
  options o;
  o.workers = workers;
  o.leak_check_every = 5ms;  // often: a false proof must show
  o.on_leak = [expected](const leak_report& r) {
    if (expected == leaks::are_false_alarms) ADD_FAILURE() << "false alarm:\n" << text(r);
  };
  return o;
}

/// Runs `body` on a runtime of so many workers; nothing may be left afterwards.
template <class F>
void run_at(unsigned workers, F body, leaks expected = leaks::are_false_alarms) {
  try {
    run(with_workers(workers, expected), std::move(body));
  } catch (const deadlock_error& e) {
    ADD_FAILURE() << e.what() << "\n" << text(e.report());
  }
  EXPECT_EQ(num_goroutines(), 0u) << "left behind at " << workers << " workers";
}

inline constexpr std::uint64_t seeds = 10;  // schedules that every simulated test sees

template <class F>
void run_simulated(F body, leaks expected = leaks::are_false_alarms) {
#ifdef LEASH_HAS_SIMULATE
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    try {
      leash::testing::simulate(seed, with_workers(1, expected), body);
    } catch (const deadlock_error& e) {
      ADD_FAILURE() << e.what() << "\n" << text(e.report());
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
    EXPECT_EQ(num_goroutines(), 0u);
    if (::testing::Test::HasFailure()) {
      ADD_FAILURE() << "in the simulated schedule of seed " << seed;
      return;
    }
  }
#else
  (void)body, (void)expected;
  GTEST_SKIP() << "this build has no simulator";
#endif
}

// ---- waiting until something is so ---------------------------------------------------------------------------
inline constexpr auto longest_wait = 20s;

/// Polls until `f()` holds. False, and a failure with a dump, when that takes too long. Looking takes half of the time at
/// most: what is waited for must get on, however much there is to look at.
template <class F>
task<bool> eventually(F f, std::string what = "a condition") {
  const auto end = now() + longest_wait;
  for (auto began = now(); !f(); began = now()) {
    const auto looked = now() - began;
    if (now() < end) {
      co_await sleep(std::max<std::chrono::nanoseconds>(looked, 100us));
      continue;
    }
    std::ostringstream out;
    dump(out);
    ADD_FAILURE() << "waited in vain for " << what << "\n" << out.str();
    co_return false;
  }
  co_return true;
}

/// How many goroutines of that name (any, if empty) wait for that reason (any, if empty).
inline std::size_t count_parked(std::string_view name, std::string_view wait) {
  std::size_t n = 0;
  for (const goroutine_info& g : goroutines()) {
    if (!name.empty() && std::string_view(g.name) != name) continue;
    if (wait.empty() ? !std::string_view(g.wait).empty() : std::string_view(g.wait) == wait) ++n;
  }
  return n;
}

/// Waits until `how_many` goroutines started with named(name) are parked for the reason `wait`, in Go's words.
inline task<bool> parked(std::string name, std::string wait, std::size_t how_many = 1) {
  std::string what = std::to_string(how_many) + " parked: " + name + " in " + wait;
  co_return co_await eventually([=] { return count_parked(name, wait) >= how_many; }, what);
}

/// As parked, from a thread that is no worker.
inline bool parked_seen_from_outside(std::string_view name, std::string_view wait, std::size_t how_many = 1) {
  for (const auto end = std::chrono::steady_clock::now() + longest_wait; std::chrono::steady_clock::now() < end;) {
    if (count_parked(name, wait) >= how_many) return true;
    std::this_thread::sleep_for(100us);
  }
  ADD_FAILURE() << "waited in vain for " << how_many << " parked: " << name << " in " << wait;
  return false;
}

/// True when long runs are wanted: LEASH_LONG=1.
inline bool long_run() {
  const char* v = std::getenv("LEASH_LONG");
  return v && *v && *v != '0';
}

// ---- counting values -------------------------------------------------------------------------------------------
/// A move-only value that counts its living, non-empty instances; moved-from ones hold nothing.
class counted {
 public:
  explicit counted(int v) noexcept : value_(v) { ++alive_; }
  counted(counted&& o) noexcept : value_(std::exchange(o.value_, none)) {}
  counted& operator=(counted&& o) noexcept {
    if (this == &o) return *this;
    reset();
    value_ = std::exchange(o.value_, none);
    return *this;
  }
  ~counted() { reset(); }
  int value() const { return value_; }
  bool holds() const { return value_ != none; }
  static int alive() { return alive_; }

 private:
  static constexpr int none = -1'000'000'000;
  void reset() {
    if (std::exchange(value_, none) != none) --alive_;
  }
  int value_;
  static inline std::atomic<int> alive_{0};
};

}  // namespace leash::test

// ---- tests -----------------------------------------------------------------------------------------------------
#define LEASH_TEST_AT_WORKERS_(suite, name, expected)                                  \
  static ::leash::task<> suite##_##name##_body();                                      \
  TEST(suite, name##_1) { ::leash::test::run_at(1, suite##_##name##_body, expected); } \
  TEST(suite, name##_2) { ::leash::test::run_at(2, suite##_##name##_body, expected); } \
  TEST(suite, name##_4) { ::leash::test::run_at(4, suite##_##name##_body, expected); }

#define LEASH_TEST_EVERYWHERE_(suite, name, expected) \
  LEASH_TEST_AT_WORKERS_(suite, name, expected)       \
  TEST(suite, name##_simulated) { ::leash::test::run_simulated(suite##_##name##_body, expected); }

#define LEASH_TEST(suite, name)                                               \
  LEASH_TEST_EVERYWHERE_(suite, name, ::leash::test::leaks::are_false_alarms) \
  static ::leash::task<> suite##_##name##_body()
#define LEASH_TEST_REAL(suite, name)                                          \
  LEASH_TEST_AT_WORKERS_(suite, name, ::leash::test::leaks::are_false_alarms) \
  static ::leash::task<> suite##_##name##_body()
#define LEASH_TEST_OF_LEAKS(suite, name)                                  \
  LEASH_TEST_EVERYWHERE_(suite, name, ::leash::test::leaks::are_expected) \
  static ::leash::task<> suite##_##name##_body()

// ---- assertions that end a task<> --------------------------------------------------------------------------------
#define CO_ASSERT_(ok, what)                                                                                          \
  GTEST_AMBIGUOUS_ELSE_BLOCKER_                                                                                       \
  if (static_cast<bool>(ok))                                                                                          \
    ;                                                                                                                 \
  else                                                                                                                \
    co_return ::testing::internal::AssertHelper(::testing::TestPartResult::kFatalFailure, __FILE__, __LINE__, what) = \
        ::testing::Message()
#define CO_ASSERT_TRUE(...) CO_ASSERT_((__VA_ARGS__), #__VA_ARGS__ " is false")
#define CO_ASSERT_FALSE(...) CO_ASSERT_(!(__VA_ARGS__), #__VA_ARGS__ " is true")
#define CO_ASSERT_EQ(a, b) CO_ASSERT_((a) == (b), #a " differs from " #b)
#define CO_ASSERT_NE(a, b) CO_ASSERT_((a) != (b), #a " equals " #b)
