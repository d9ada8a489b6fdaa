#include <leash/testing_gtest.hpp>

#include "scenes.hpp"

#define TEST_OF(name) TEST(Leaks, name)
LEASH_SCENES(TEST_OF, EXPECT_TRUE)
