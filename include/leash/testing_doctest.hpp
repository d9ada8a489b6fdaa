// doctest: every test case expects no leaks. Included in one source file of the test program, behind the
// DOCTEST_CONFIG_IMPLEMENT... macro if that file has it.
//
// A test case fails, with the whole report, if a goroutine of a run that was started during it is provably leaked and
// nobody was told (leash::testing::leak_watch says who is), whether the test looked or not. expect_no_leaks() does not
// end the test that it fails.
#pragma once
#include <doctest/doctest.h>

#include <leash/testing.hpp>
#include <memory>
#include <string>

namespace leash::testing {

class doctest_listener : public doctest::IReporter {
 public:
  explicit doctest_listener(const doctest::ContextOptions&) {
    set_failure_handler([](const std::string& text, std::source_location where) {
      DOCTEST_ADD_FAIL_CHECK_AT(where.file_name(), static_cast<int>(where.line()), text);
    });
  }
  void test_case_start(const doctest::TestCaseData& test) override {
    test_ = &test;
    watch_ = std::make_unique<leak_watch>();
  }
  // doctest has settled by now whether the test passed, and gives listeners no earlier call: so what it settled is
  // corrected, in the object that it owns and reports from.
  void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
    std::string const text = watch_->take();
    watch_.reset();
    if (text.empty()) return;
    DOCTEST_ADD_FAIL_CHECK_AT(test_->m_file.c_str(), static_cast<int>(test_->m_line), "leash: " << text);
    auto& settled = const_cast<doctest::CurrentTestCaseStats&>(stats);
    ++settled.numAssertsCurrentTest;
    ++settled.numAssertsFailedCurrentTest;
    ++failed_asserts_;
    settled.failure_flags |= doctest::TestCaseFailureReason::AssertFailure;
    if (settled.testCaseSuccess) ++failed_tests_;
    settled.testCaseSuccess = false;
  }
  void test_run_end(const doctest::TestRunStats& stats) override {
    auto& settled = const_cast<doctest::TestRunStats&>(stats);
    settled.numTestCasesFailed += failed_tests_;
    settled.numAsserts += failed_asserts_;
    settled.numAssertsFailed += failed_asserts_;
  }
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}

 private:
  const doctest::TestCaseData* test_ = nullptr;
  std::unique_ptr<leak_watch> watch_;
  unsigned failed_tests_ = 0;
  int failed_asserts_ = 0;
};

inline const int doctest_listener_registered = doctest::registerReporter<doctest_listener>("leash", 1, false);

}  // namespace leash::testing
