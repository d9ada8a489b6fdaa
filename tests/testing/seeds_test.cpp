// How schedules are written down.
#include <random>

#include "run/schedule.hpp"
#include "support/support.hpp"

namespace leash::testing {

TEST(Seeds, spell_out_few_deviations_and_give_them_back) {
  std::mt19937_64 random(1);
  int spelled = 0;
  for (int round = 0; round < 20'000; ++round) {
    deviations all;
    std::uint32_t at = 0;
    std::uint32_t const gaps = 1u << random() % 12, bys = 1u << random() % 6;
    for (std::uint64_t n = random() % 9; n > 0; --n) {
      at += static_cast<std::uint32_t>(random() % gaps);
      all.push_back({at++, 1 + static_cast<std::uint32_t>(random() % bys)});
    }
    EXPECT_EQ(deviations_of(text_of(all)), all);
    auto const seed = seed_of(all);
    if (!seed) continue;
    ++spelled;
    ASSERT_EQ(deviations_of(*seed), all) << text_of(all);
  }
  EXPECT_GT(spelled, 10'000);
}

TEST(Seeds, of_small_programs_hold_many_deviations) {
  deviations all;
  for (std::uint32_t i = 0; i < 13; ++i) all.push_back({i * 4, 1 + i % 2});
  EXPECT_FALSE(seed_of(all));  // 4 bits each
  all.resize(12);
  EXPECT_TRUE(seed_of(all));
  EXPECT_TRUE(seed_of({{60'000, 200}}));
  EXPECT_FALSE(seed_of({{100'000, 1}}));
  EXPECT_EQ(deviations_of(seed_of({}).value()), deviations());
}

TEST(Seeds, that_are_drawn_from_are_told_from_those_that_spell) {
  for (std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 55, ~std::uint64_t{0} >> 1})
    EXPECT_EQ(deviations_of(seed), std::nullopt);
}

}  // namespace leash::testing
