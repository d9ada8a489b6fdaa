#define CATCH_CONFIG_MAIN
#include <leash/testing_catch2.hpp>

#include "scenes.hpp"

#define TEST_OF(name) TEST_CASE(#name)
LEASH_SCENES(TEST_OF, CHECK)
