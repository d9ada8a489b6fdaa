// Inputs of the corpus, damaged at random: each gives a profile or an input_error, nothing else, and soon. The seeds are
// fixed, so a failure repeats. fuzz.cpp does the same with libFuzzer (./check --long).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "rank.hpp"
#include "read.hpp"
#include "support.hpp"

namespace leash::cli {
namespace {

using random = std::mt19937_64;

std::string damaged(std::string s, random& r) {
  auto at = [&] { return s.empty() ? 0 : r() % s.size(); };
  for (std::uint64_t n = 1 + r() % 4; n > 0; --n) {
    switch (r() % 7) {
      case 0:
        if (!s.empty()) s[at()] = static_cast<char>(r());
        break;
      case 1:
        if (!s.empty()) s[at()] ^= static_cast<char>(1 << r() % 8);
        break;
      case 2:
        s.resize(at());
        break;
      case 3:
        s.insert(at(), std::string(1 + r() % 20, static_cast<char>(r())));
        break;
      case 4:
        s.erase(at(), r() % 40);
        break;
      case 5:
        s.insert(at(), s.substr(at(), r() % 200));
        break;
      default: {
        static const char* const words[] = {
            "goroutine ",  "[",   "]:",   " labels:{\"",         "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "created by ", " @ ", "\n\n", "18446744073709551615"};
        s.insert(at(), words[r() % std::size(words)]);
      }
    }
  }
  return s;
}

class Mutated : public ::testing::TestWithParam<const char*> {};
TEST_P(Mutated, input_gives_a_profile_or_an_error) {
  const std::string good = unpacked(test::read_all(test::corpus / GetParam()));
  ASSERT_FALSE(good.empty());
  random r(1);
  const int rounds = std::getenv("LEASH_LONG") ? 50'000 : 1'000;
  int profiles = 0, errors = 0;
  for (int i = 0; i < rounds; ++i) {
    const std::string bad = damaged(good, r);
    symbols s;
    try {
      observation o;
      o.snapshots.push_back(read_profile(bad, s, "it"));
      const analysis a = analyse(o, s);
      std::uint64_t sum = 0;
      for (const group& g : o.snapshots[0].groups) sum += g.count;
      ASSERT_EQ(sum, o.snapshots[0].total);
      ASSERT_EQ(a.total, sum);
      ++profiles;
    } catch (const input_error& e) {
      ASSERT_STRNE(e.what(), "");
      ++errors;
    }
  }
  EXPECT_GT(profiles, 0);
  EXPECT_EQ(profiles + errors, rounds);
}
INSTANTIATE_TEST_SUITE_P(Corpus, Mutated,
                         ::testing::Values("go119.pb.gz", "go126.pb.gz", "go126_proof_leak.pb.gz",
                                           "leash_proof_leak.pb.gz", "go119.counts.txt", "go126.counts.txt",
                                           "go119.dump.txt", "go126.dump.txt", "go126_sigquit.dump.txt",
                                           "leash_report.dump.txt"),
                         [](const auto& i) {
                           std::string name = i.param;
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

}  // namespace
}  // namespace leash::cli
