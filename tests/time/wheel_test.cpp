// The timer wheel against a plain list.
#include <algorithm>
#include <leash/timers.hpp>
#include <memory>
#include <random>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {

struct alarm_entry : timer_entry {
  alarm_entry() {
    expire = [](timer_entry* t, timer_entry*&) -> goroutine_core* {
      auto& self = static_cast<alarm_entry&>(*t);
      self.fired->push_back(self.number);
      return nullptr;
    };
  }
  int number = 0;
  std::vector<int>* fired = nullptr;
};

class wheel_run {
 public:
  wheel_run(std::size_t entries, int grain_bits) : entries_(entries) {
    for (std::size_t i = 0; i < entries; ++i) {
      entries_[i].number = static_cast<int>(i);
      entries_[i].fired = &fired;
    }
    wheel_->start(0, grain_bits);
  }
  ~wheel_run() {
    for (alarm_entry& t : entries_) disarm(t.number);
  }
  void arm(int i, std::int64_t when) {
    spin_guard guard(wheel_->lock());
    wheel_->arm(&entries_[static_cast<std::size_t>(i)], when);
  }
  bool disarm(int i) {
    spin_guard guard(wheel_->lock());
    return wheel_->disarm(&entries_[static_cast<std::size_t>(i)]);
  }
  void expire(std::int64_t now) { wheel_->expire(now); }
  const timer_wheel& wheel() const { return *wheel_; }

  std::vector<int> fired;

 private:
  std::vector<alarm_entry> entries_;
  std::unique_ptr<timer_wheel> wheel_ = std::make_unique<timer_wheel>();
};

// Near times, far ones, and many that share a grain.
std::int64_t some_time(std::mt19937_64& random, std::int64_t now, int grain_bits) {
  switch (random() % 4) {
    case 0:
      return now + (static_cast<std::int64_t>(random() % 4) << grain_bits);
    case 1:
      return now + static_cast<std::int64_t>(random() % (std::uint64_t{5000} << grain_bits));
    case 2:
      return now + static_cast<std::int64_t>(random() % (std::uint64_t{1} << (grain_bits + 24)));
    default:
      return now + static_cast<std::int64_t>(random() % (std::uint64_t{1} << 58));
  }
}

class TimerWheel : public ::testing::TestWithParam<int> {};

TEST_P(TimerWheel, FiresWhatAPlainListWouldFire) {
  int const grain_bits = GetParam();
  constexpr std::int64_t not_armed = -1;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::mt19937_64 random(seed);
    constexpr int n = 300;
    wheel_run w(n, grain_bits);
    std::vector<std::int64_t> at(n, not_armed);
    std::int64_t now = 0;
    for (int step = 0; step < 3000; ++step) {
      int const i = static_cast<int>(random() % n);
      if (random() % 16 == 0) {
        now += static_cast<std::int64_t>(random() % (std::uint64_t{1} << (grain_bits + random() % 20)));
        w.fired.clear();
        w.expire(now);
        // Never early, and at most a grain late.
        std::vector<int> due;
        for (int k = 0; k < n; ++k) {
          std::int64_t& when = at[static_cast<std::size_t>(k)];
          if (when == not_armed) continue;
          bool const has_fired = std::ranges::count(w.fired, k) == 1;
          if (has_fired) ASSERT_LE(when, now) << "seed " << seed;
          if (when + (std::int64_t{1} << grain_bits) <= now) ASSERT_TRUE(has_fired) << "seed " << seed;
          if (has_fired) due.push_back(k), when = not_armed;
        }
        ASSERT_EQ(w.fired.size(), due.size()) << "one fired twice, or was not armed; seed " << seed;
      } else if (at[static_cast<std::size_t>(i)] != not_armed) {
        ASSERT_TRUE(w.disarm(i)) << "seed " << seed;
        at[static_cast<std::size_t>(i)] = not_armed;
      } else {
        at[static_cast<std::size_t>(i)] = some_time(random, now, grain_bits);
        w.arm(i, at[static_cast<std::size_t>(i)]);
        ASSERT_LE(w.wheel().next_time(), at[static_cast<std::size_t>(i)] + (std::int64_t{1} << grain_bits));
      }
      ASSERT_EQ(w.wheel().size(), n - static_cast<std::size_t>(std::ranges::count(at, not_armed))) << "seed " << seed;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Grains, TimerWheel, ::testing::Values(0, 16));

// A simulated run must be the same again, wherever its frames lie.
TEST(TimerWheelOrder, DoesNotDependOnAddresses) {
  constexpr int n = 50;
  wheel_run forth(n, 0), back(n, 0);
  for (int i = 0; i < n; ++i) {
    forth.arm(i, 1000 + i % 3);
    back.arm(n - 1 - i, 1000 + i % 3);
  }
  forth.expire(2000);
  back.expire(2000);
  ASSERT_EQ(forth.fired.size(), std::size_t{n});
  for (int& k : back.fired) k = n - 1 - k;
  EXPECT_EQ(forth.fired, back.fired);
}

}  // namespace
}  // namespace leash
