// gtest's main, with a watchdog: a test that hangs says where its goroutines wait, then aborts.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <leash/leash.hpp>
#include <thread>

namespace {

using seconds = std::chrono::seconds;

class watchdog : public ::testing::EmptyTestEventListener {
 public:
  explicit watchdog(seconds longest) : longest_(longest), thread_([this] { watch(); }) {}
  ~watchdog() override {
    over_ = true;
    thread_.join();
  }
  void OnTestStart(const ::testing::TestInfo&) override { ++tests_; }

 private:
  void watch() {
    std::uint64_t seen = 0;
    for (auto since = std::chrono::steady_clock::now(); !over_;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      const auto time = std::chrono::steady_clock::now();
      if (const std::uint64_t n = tests_; n != seen) {
        seen = n;
        since = time;
      } else if (time - since > longest_) {
        std::fprintf(stderr, "the running test hangs; its goroutines:\n");
        std::fflush(stdout);
        leash::dump(std::cerr);
        std::abort();
      }
    }
  }
  const seconds longest_;
  std::atomic<std::uint64_t> tests_{0};
  std::atomic<bool> over_{false};
  std::thread thread_;
};

seconds longest_test() {
  if (const char* v = std::getenv("LEASH_TEST_TIMEOUT")) return seconds(std::atoi(v));
  return seconds(std::getenv("LEASH_LONG") ? 1800 : 240);
}

}  // namespace

#if LEASH_TSAN
// Exceptions are counted inside libstdc++.so, where the sanitizer does not see it: the last owner's delete looks like a
// race with what the others read before they let go.
extern "C" const char* __tsan_default_suppressions() {
  return "race:std::runtime_error::~runtime_error\nrace:std::logic_error::~logic_error\n"
         "race:std::__exception_ptr::exception_ptr::_M_release\n"
         "race:_Sp_counted_ptr_inplace<leash::leak_\n";  // what a leaked_error refers to
}
#endif

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // tests run while workers exist: fork alone is not enough
  ::testing::UnitTest::GetInstance()->listeners().Append(new watchdog(longest_test()));
  return RUN_ALL_TESTS();
}
