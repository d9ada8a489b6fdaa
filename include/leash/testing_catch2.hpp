// Catch2, 2 or 3: every test case expects no leaks. Included in one source file of the test program; with Catch2 2 the
// one that defines CATCH_CONFIG_MAIN or CATCH_CONFIG_RUNNER, behind that.
//
// A test case fails, with the whole report, if a goroutine of a run that was started during it is provably leaked and
// nobody was told (leash::testing::leak_watch says who is), whether the test looked or not. expect_no_leaks() does not
// end the test that it fails.
#pragma once
#if __has_include(<catch2/reporters/catch_reporter_event_listener.hpp>)
#include <catch2/catch_test_macros.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>
#else
#ifndef CATCH_CONFIG_EXTERNAL_INTERFACES
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#endif
#include <catch2/catch.hpp>
#endif

#include <leash/testing.hpp>
#include <memory>
#include <string>

#ifdef CATCH_CONFIG_PREFIX_ALL
#define LEASH_CATCH2_FAIL(...) CATCH_FAIL_CHECK(__VA_ARGS__)
#else
#define LEASH_CATCH2_FAIL(...) FAIL_CHECK(__VA_ARGS__)
#endif

namespace leash::testing {

#if __has_include(<catch2/reporters/catch_reporter_event_listener.hpp>)
using catch2_listener_base = Catch::EventListenerBase;
#else
using catch2_listener_base = Catch::TestEventListenerBase;
#endif

class catch2_listener : public catch2_listener_base {
 public:
  using catch2_listener_base::catch2_listener_base;
  void testRunStarting(Catch::TestRunInfo const&) override {
    set_failure_handler([](const std::string& text, std::source_location where) {
      LEASH_CATCH2_FAIL(where.file_name() << ":" << where.line() << ": " << text);
    });
  }
  void sectionStarting(Catch::SectionInfo const&) override {
    if (depth_++ == 0) watch_ = std::make_unique<leak_watch>();
  }
  // The outermost section is the test case. A check may still fail here; when the test case has ended, no more.
  void sectionEnded(Catch::SectionStats const&) override {
    if (--depth_ != 0) return;
    std::string const text = watch_->take();
    watch_.reset();
    if (text.empty()) return;
    try {
      LEASH_CATCH2_FAIL("leash: " << text);
    } catch (...) {  // with --abort a check that fails throws, and here nobody would catch it; it has been counted
    }
  }

 private:
  int depth_ = 0;
  std::unique_ptr<leak_watch> watch_;
};

CATCH_REGISTER_LISTENER(catch2_listener)
#undef LEASH_CATCH2_FAIL

}  // namespace leash::testing
