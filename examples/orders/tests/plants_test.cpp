// Each leak that can be planted is found by the command line tool and shown on the debug page, in its line, and its twin is not.
#include "plants.hpp"

#include <map>
#include <set>

#include "service.hpp"

namespace orders::tests {
namespace {

using namespace std::chrono_literals;

/// The lines of plants.cpp that are marked `leaks: NAME`.
std::set<std::string> marked(const std::string& name) {
  std::set<std::string> places;
  int number = 0;
  for (const std::string& line : lines_of(LEASH_ORDERS_SOURCE "/plants.cpp")) {
    ++number;
    if (line.ends_with("// leaks: " + name)) places.insert("examples/orders/plants.cpp:" + std::to_string(number));
  }
  return places;
}

std::string place(const json& at) {
  std::string file = at.at("file");
  if (std::size_t const begin = file.find("examples/orders/"); begin != file.npos) file.erase(0, begin);
  return file + ":" + std::to_string(at.at("line").get<int>());
}

const std::set<std::string_view> not_provable{"never-cancelled", "deaf-ticker", "kept-guard"};

/// What the tool says of the process, by the grade and the place where goroutines wait: how many.
std::map<std::string, std::map<std::string, int>> found(const service& s, std::vector<std::string> options = {}) {
  options.insert(options.begin(), {LEASH_TOOL, "leaks", "--json", "--fail-on", "never", s.debug()});
  printed const p = run_program(options);
  EXPECT_EQ(p.code, 0) << p.error;
  std::map<std::string, std::map<std::string, int>> all;
  json const said = json::parse(p.out);
  for (const json& f : said.at("targets").at(0).at("findings"))
    all[f.at("grade")][place(f.at("wait"))] += f.at("count").get<int>();
  return all;
}

/// What the debug page shows of leaks, by the place where goroutines wait.
std::map<std::string, std::uint64_t> on_page(const service& s) {
  json const shown = s.send({"GET", s.debug() + "/api/leaks", {}, {}}).body();
  std::map<std::string, std::uint64_t> all;
  for (const json& site : shown.at("sites"))
    if (site.contains("at")) all[place(site.at("at"))] += site.at("count").get<std::uint64_t>();
  return all;
}

std::string joined(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& n : names) all += (all.empty() ? "" : ",") + n;
  return all;
}

class Plant : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, Plant, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const plant& p : all_plants())
                             if (!not_provable.contains(p.name)) names.emplace_back(p.name);
                           return names;
                         }()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST_P(Plant, is_proved_in_its_line_and_grows_with_the_load) {
  service s({"--plant", GetParam()});
  load_totals const t = s.load({.clients = 2, .rate = 40, .during = 500ms});
  ASSERT_GT(t.acknowledged, 5u);
  std::set<std::string> const lines = marked(GetParam());
  ASSERT_FALSE(lines.empty());
  auto const in_lines = [&] {
    std::uint64_t n = 0;
    auto const all = found(s);
    if (!all.contains("proven")) return n;
    for (const auto& [place, count] : all.at("proven"))
      if (lines.contains(place)) n += static_cast<std::uint64_t>(count);
    return n;
  };
  std::uint64_t n = 0;
  EXPECT_TRUE(eventually_here([&] { return (n = in_lines()) >= t.acknowledged; })) << n << " of " << t.acknowledged;
  EXPECT_GE(s.stats().at("leaks"), t.acknowledged);
  std::uint64_t shown = 0;
  for (const auto& [at, count] : on_page(s))
    if (lines.contains(at)) shown += count;
  EXPECT_GE(shown, t.acknowledged);
  EXPECT_EQ(s.end(), 0) << "what leaks ends with the service";
}

TEST(Plants, that_cannot_be_proved_are_suspected_by_their_growth) {
  std::vector<std::string> const names(not_provable.begin(), not_provable.end());
  service s({"--plant", joined(names)});
  std::jthread load([&] { (void)s.load({.clients = 2, .rate = 40, .during = 6s}); });
  eventually_here([&] { return s.stats().at("since_start").at("accepted") > 5; });
  auto all = found(s, {"--for", "4s", "--every", "400ms"});
  load.join();
  for (const std::string& name : names)
    for (const std::string& line : marked(name)) EXPECT_GT(all["suspect"][line], 0) << name << " " << line;
  EXPECT_TRUE(all["proven"].empty());
  EXPECT_EQ(s.end(), 0);
}

TEST(Plants, written_right_are_no_leaks) {
  std::vector<std::string> names;
  for (const plant& p : all_plants()) names.emplace_back(p.name);
  service s({"--twin", joined(names)});
  (void)s.order(apples);
  std::size_t const before = s.settled(12);
  load_totals const t = s.load({.clients = 4, .during = 1s});
  EXPECT_TRUE(t.good());
  EXPECT_TRUE(found(s)["proven"].empty());
  EXPECT_TRUE(on_page(s).empty());
  EXPECT_EQ(s.stats().at("leaks"), 0);
  EXPECT_LE(s.settled(before), before) << "every twin has ended";
  EXPECT_EQ(s.errors().find("proved to be leaked"), std::string::npos) << "at no time";
  EXPECT_EQ(s.end(), 0);
}

}  // namespace
}  // namespace orders::tests
