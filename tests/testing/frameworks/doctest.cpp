#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <leash/testing_doctest.hpp>

#include "scenes.hpp"

#define TEST_OF(name) TEST_CASE(#name)
LEASH_SCENES(TEST_OF, CHECK)
