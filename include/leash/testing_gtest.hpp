// GoogleTest: every test expects no leaks. Included in one source file of the test program, or in more.
//
// A test fails, with the whole report, if a goroutine of a run that was started during it is provably leaked and nobody
// was told (leash::testing::leak_watch says who is), whether the test looked or not. expect_no_leaks() does not end the
// test that it fails. Runs that go on beyond a test, in a fixture of a suite, say, belong to the whole program and are
// looked at in its end.
#pragma once
#include <gtest/gtest.h>

#include <leash/testing.hpp>
#include <memory>
#include <string>

namespace leash::testing {

class gtest_listener : public ::testing::EmptyTestEventListener {
 public:
  void OnTestIterationStart(const ::testing::UnitTest&, int) override { program_ = std::make_unique<leak_watch>(); }
  void OnTestIterationEnd(const ::testing::UnitTest&, int) override { end(program_); }
  void OnTestStart(const ::testing::TestInfo&) override { test_ = std::make_unique<leak_watch>(); }
  void OnTestEnd(const ::testing::TestInfo&) override { end(test_); }

  /// True: appended. GoogleTest owns the listener.
  static bool append() {
    ::testing::UnitTest::GetInstance()->listeners().Append(new gtest_listener);
    set_failure_handler([](const std::string& text, std::source_location where) {
      ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line())) << text;
    });
    return true;
  }

 private:
  static void end(std::unique_ptr<leak_watch>& watch) {
    std::string const text = watch->take();
    watch.reset();
    if (!text.empty()) ADD_FAILURE() << "leash: " << text;
  }
  std::unique_ptr<leak_watch> program_, test_;
};

inline const bool gtest_listener_appended = gtest_listener::append();

}  // namespace leash::testing
