// gtest over model::result: a proof must be complete, a planted bug must be found with a trace.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "model.hpp"

#define EXPECT_PROVEN(...)                                                          \
  do {                                                                              \
    ::model::result checked_ = __VA_ARGS__;                                         \
    EXPECT_TRUE(checked_.proven()) << checked_.summary();                           \
    if (::model::long_run()) ::std::printf("    %s\n", checked_.summary().c_str()); \
  } while (false)

#define EXPECT_FOUND(text, ...)                                                          \
  do {                                                                                   \
    ::model::result checked_ = __VA_ARGS__;                                              \
    EXPECT_FALSE(checked_.ok) << checked_.summary();                                     \
    EXPECT_NE(checked_.failure.find(text), ::std::string::npos) << checked_.summary();   \
    EXPECT_NE(checked_.trace.find("FAILED"), ::std::string::npos) << checked_.summary(); \
  } while (false)
