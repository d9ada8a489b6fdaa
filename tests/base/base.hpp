// What the tests of tracked memory share: nothing may be left in the arena, and values that count themselves.
#pragma once
#include <stdexcept>

#include "support/support.hpp"

namespace leash::test {

/// Every block, pool and chunk that a test makes must be gone at its end.
class TrackedMemory : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(arena::live(arena::kind::object), before_); }

 private:
  const std::int64_t before_ = arena::live(arena::kind::object);
};

/// Counts its living instances, copies included.
struct instance {
  explicit instance(int v = 0) : value(v) { ++alive; }
  instance(const instance& o) : value(o.value) { ++alive; }
  instance& operator=(const instance&) = default;
  virtual ~instance() { --alive; }
  int value;
  static inline std::atomic<int> alive{0};
};

struct throws_when_made {
  instance first;
  explicit throws_when_made(const char* what) { throw std::runtime_error(what); }
};

}  // namespace leash::test
