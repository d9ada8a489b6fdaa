#include "corpus.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <sstream>

namespace leash::test::corpus {

namespace {

constexpr std::size_t some_schedules = 500, few_schedules = 50;

std::vector<row*>& registered() {
  static std::vector<row*> all;
  return all;
}

std::size_t schedules(const row& r) {
  return (r.in_every_schedule() || r.go == go_says::never ? few_schedules : some_schedules) * (long_run() ? 20 : 1);
}

bool contains(const std::vector<std::string>& all, std::string_view one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

std::string full_name(const row& r) { return r.set + "/" + r.name + (r.form.empty() ? "" : ", " + r.form); }

bool failed() { return ::testing::Test::HasFailure(); }

// ---- one report -------------------------------------------------------------------------------------------------
/// Everything named is named as claimed; everything claimed is named. `root`: the kernel itself has no name.
void verify(const leak_report& report, const row& r, const std::string& at, bool root = false) {
  const claim& c = r.expected;
  const std::string all = at + "\n" + text(report);
  auto named_as = [&](std::string_view name, leak_role role) {
    return std::count_if(report.begin(), report.end(),
                         [&](const leak& l) { return l.who.name == name && l.role == role; });
  };
  for (const std::string& name : c.core) {
    if (root && name == "kernel") continue;
    EXPECT_GT(named_as(name, leak_role::core), 0) << name << " is not core: " << all;
    EXPECT_EQ(named_as(name, leak_role::dependent), 0) << name << " is a dependent: " << all;
    EXPECT_NE(report.to_json().find("\"" + name + "\""), std::string::npos) << all;
  }
  for (const std::string& name : c.dependent) {
    if (root && name == "kernel") continue;
    EXPECT_GT(named_as(name, leak_role::dependent), 0) << name << " is no dependent: " << all;
    EXPECT_EQ(named_as(name, leak_role::core), 0) << name << " is core: " << all;
  }
  for (const leak& l : report) {
    const bool is_root = root && l.who.parent == 0;
    EXPECT_TRUE(is_root || contains(c.core, l.who.name) || contains(c.dependent, l.who.name) ||
                contains(c.either, l.who.name))
        << "'" << l.who.name << "' is not expected to leak: " << all;
    EXPECT_EQ(l.grade, c.grade) << l.who.name << ": " << all;
    EXPECT_FALSE(l.why.empty()) << all;
    EXPECT_FALSE(l.who.stack.empty()) << all;
  }
  EXPECT_EQ(report.to_dot().rfind("digraph", 0), 0u) << all;
  EXPECT_EQ(report.to_svg().rfind("<svg ", 0), 0u) << all;
}

// ---- under a live observer ----------------------------------------------------------------------------------------
enum class time_is { simulated, real };

/// Waits until nothing can change any more, and looks. In virtual time the sleep ends only when nothing else can run;
/// in real time all is quiet once everything but the observer is proved, or has ended.
task<leak_report> look(time_is time, const std::string& at) {
  leak_report report;
  if (time == time_is::simulated) {
    co_await sleep(1s);
    report = find_leaks();
    const std::size_t left = num_goroutines() - 1;
    std::ostringstream out;
    if (report.size() != left) dump(out);
    EXPECT_EQ(report.size(), left) << at << ": something hangs that was not proved\n" << text(report) << out.str();
  } else {
    co_await eventually(
        [&] {
          report = find_leaks();
          return report.size() + 1 == num_goroutines();
        },
        at + ": everything to be proved or to have ended");
  }
  co_return report;
}

task<> look_at_the_living(time_is time, const std::string& at) {
  if (time == time_is::simulated) {
    co_await sleep(1s);
  } else {
    co_await eventually(
        [] {
          for (const goroutine_info& g : goroutines())
            if (g.state != "running" && g.wait.empty()) return false;
          return true;
        },
        at + ": all to be parked");
  }
  leak_report report = find_leaks();
  EXPECT_EQ(report.size(), 0u) << at << ": a false alarm\n" << text(report);
  EXPECT_GT(num_goroutines(), 1u) << at << ": it has ended";
}

/// One run of the kernel, or of its twin, as the child of an observer that stays live.
task<> observe(const row& r, bool fixed, time_is time, tally& n, std::string at) {
  ++n.explored;
  at = full_name(r) + (fixed ? " (twin), " : ", ") + at;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("kernel"), r.kernel, fixed);
    if (!fixed && r.expected.what == answer::live) {
      co_await look_at_the_living(time, at);
      s.cancel();
      co_return;
    }
    leak_report report = co_await look(time, at);
    if (!report.empty()) {
      ++n.leaking;
      if (fixed || !r.leaks()) {
        ADD_FAILURE() << at << ": a false alarm\n" << text(report);
      } else {
        verify(report, r, at);
        EXPECT_EQ(find_leaks().size(), report.size()) << at << ": a verdict was taken back";
      }
      for (int round = 0; !report.empty() && round < 64 && !failed(); ++round) {
        const std::size_t freed = co_await reclaim(report, {.confined = true});
        EXPECT_GT(freed, 0u) << at << ": nothing could be reclaimed\n" << text(report);
        if (freed != 0) report = co_await look(time, at + ", reclaimed");
      }
      if (!failed()) ++n.proved;
    }
    EXPECT_EQ(num_goroutines(), 1u) << at << ": something is left";
    s.cancel();
  });
}

void observe_schedules(const row& r, bool fixed, tally& n) {
  n = {};
  auto result = leash::testing::explore({.schedules = schedules(r)}, [&]() -> task<> {
    if (failed()) co_return;  // one failure says enough
    co_await observe(r, fixed, time_is::simulated, n, "schedule " + std::to_string(n.explored + 1));
  });
  EXPECT_FALSE(result.failing_seed.has_value() || result.error || result.leaked) << full_name(r);
  EXPECT_EQ(num_goroutines(), 0u) << full_name(r);
}

void observe_at_workers(const row& r, bool fixed, tally& n) {
  for (unsigned workers : {1u, 2u, 4u}) {
    run_at(
        workers,
        [&]() -> task<> { co_await observe(r, fixed, time_is::real, n, "at " + std::to_string(workers) + " workers"); },
        !fixed && r.leaks() ? leaks::are_expected : leaks::are_false_alarms);
  }
}

// ---- as a whole program ----------------------------------------------------------------------------------------
/// True: it threw a deadlock_error, whose report is as claimed.
template <class Run>
bool deadlocks(const row& r, const std::string& at, Run run) {
  try {
    run([&] { return r.kernel(false); });
    return false;
  } catch (const deadlock_error& e) {
    verify(e.report(), r, at, true);
    return true;
  }
}

void explore_programs(row& r) {
  tally& n = r.as_it_was;
  n = {};
  for (std::uint64_t seed = 1; seed <= schedules(r) && !failed(); ++seed) {
    ++n.explored;
    if (!deadlocks(r, full_name(r) + ", seed " + std::to_string(seed),
                   [&](auto body) { leash::testing::simulate(seed, body); }))
      continue;
    ++n.leaking;
    if (!failed()) ++n.proved;
  }
  EXPECT_EQ(num_goroutines(), 0u);
}

// ---- the tests of a row --------------------------------------------------------------------------------------------
class row_test : public ::testing::Test {
 public:
  row_test(row& r, void (*body)(row&)) : row_(r), body_(body) {}
  void TestBody() override { body_(row_); }

 private:
  row& row_;
  void (*body_)(row&);
};

void explored(row& r) {
  if (r.expected.what == answer::program)
    explore_programs(r);
  else
    observe_schedules(r, false, r.as_it_was);
  if (failed()) return;
  const tally& n = r.as_it_was;
  EXPECT_EQ(n.explored, schedules(r));
  EXPECT_EQ(n.proved, n.leaking);
  if (!r.leaks())
    EXPECT_EQ(n.leaking, 0u);
  else if (r.in_every_schedule())
    EXPECT_EQ(n.leaking, n.explored) << full_name(r);
  else
    EXPECT_GT(n.leaking, 0u) << full_name(r) << ": no schedule leaks";
}

void twin(row& r) {
  observe_schedules(r, true, r.as_fixed);
  tally at_workers;
  if (!failed()) observe_at_workers(r, true, at_workers);
  EXPECT_EQ(r.as_fixed.leaking + at_workers.leaking, 0u);
}

void at_workers(row& r) {
  tally n;
  if (r.expected.what == answer::program) {
    for (unsigned workers : {1u, 2u, 4u})
      EXPECT_TRUE(
          deadlocks(r, full_name(r), [&](auto body) { leash::run(with_workers(workers, leaks::are_expected), body); }));
    return;
  }
  observe_at_workers(r, false, n);
  EXPECT_EQ(n.explored, 3u);
  EXPECT_EQ(n.proved, n.leaking);
  if (r.leaks() && r.in_every_schedule()) EXPECT_EQ(n.leaking, 3u) << full_name(r);
}

void replayed(row& r) {
  auto found = leash::testing::explore({.schedules = schedules(r)}, [&r] { return r.kernel(false); });
  ASSERT_TRUE(found.leaked && found.failing_seed) << full_name(r) << ": no schedule leaks";
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(deadlocks(r, full_name(r), [&](auto body) { leash::testing::simulate(*found.failing_seed, body); }))
        << full_name(r) << ": seed " << *found.failing_seed << " does not repeat it";
  EXPECT_EQ(num_goroutines(), 0u);
}

const std::filesystem::path root_of_tree = SOURCE_ROOT;

void refused(row& r) {
  if (r.kernel == nullptr) {
    EXPECT_TRUE(std::filesystem::exists(root_of_tree / "tests" / "compile" / r.expected.file)) << r.expected.file;
    return;
  }
  for (unsigned workers : {1u, 2u}) {
    EXPECT_THROW(leash::run(with_workers(workers), [&] { return r.kernel(false); }), std::logic_error);
    leash::run(with_workers(workers), [&] { return r.kernel(true); });
  }
  EXPECT_EQ(num_goroutines(), 0u);
}

void add_test(row& r, const char* what, void (*body)(row&)) {
  std::string suite = r.set, name = r.name;
  suite[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(suite[0])));
  for (char c : r.form.empty() ? std::string() : " " + r.form) name += c == ' ' ? '_' : c;
  std::erase_if(name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)) && c != '_'; });
  ::testing::RegisterTest(suite.c_str(), (name + "_" + what).c_str(), nullptr, nullptr, r.where.file_name(),
                          static_cast<int>(r.where.line()),
                          [&r, body]() -> ::testing::Test* { return new row_test(r, body); });
}

// ---- the table --------------------------------------------------------------------------------------------------
const char* word(go_says g) {
  switch (g) {
    case go_says::always:
      return "always";
    case go_says::sometimes:
      return "sometimes";
    case go_says::never:
      return "never";
    case go_says::not_run:
      return "not run";
  }
  return "";
}

std::string what_leash_does(const row& r) {
  std::string s;
  switch (r.expected.what) {
    case answer::cannot_be_written:
      s = r.expected.file.empty() ? "cannot be written: its first use throws"
                                  : "cannot be written: [refused](../tests/compile/" + r.expected.file + ")";
      break;
    case answer::ends:
      s = "ends by itself";
      break;
    case answer::proved:
      s = r.expected.grade == leak_grade::confined ? "proved (confined) and reclaimed" : "proved and reclaimed";
      break;
    case answer::program:
      s = "proved: `run` throws `deadlock_error`";
      break;
    case answer::live:
      s = "never reported";
      break;
  }
  return s + (r.form.empty() ? "" : " (" + r.form + ")");
}

/// The columns that do not depend on a run.
std::string head_of_line(const row& r) {
  return "| " + r.set + " | " + r.name + " | " + word(r.go) + " | " + what_leash_does(r) + " | ";
}

std::string line(const row& r) {
  std::ostringstream out;
  out << head_of_line(r);
  if (r.kernel == nullptr || r.expected.what == answer::cannot_be_written) {
    out << "- | - | - |";
  } else {
    const tally& n = r.as_it_was;
    out << n.leaking << " / " << n.explored << " | "
        << (n.leaking == 0          ? "-"
            : n.proved == n.leaking ? "yes"
                                    : "NO")
        << " | " << r.as_fixed.leaking << " |";
  }
  return out.str();
}

void write_table(std::ostream& out) {
  std::size_t kernels = 0, leaking = 0, proved = 0, quiet = 0, alarms = 0;
  const row* last = nullptr;
  for (const row* r : rows()) {
    if (last == nullptr || last->set != r->set || last->name != r->name) ++kernels;
    last = r;
    leaking += r->as_it_was.leaking;
    proved += r->as_it_was.proved;
    quiet += r->as_fixed.explored + (r->leaks() ? 0 : r->as_it_was.explored);
    alarms += r->as_fixed.leaking + (r->leaks() ? 0 : r->as_it_was.leaking);
  }
  out << "# The leak corpus\n\nEnglish | [中文](zh/leaks.md)\n\n"
         "Small programs that leak in Go, each with the cause of a real bug, written anew as users of leash would "
         "write\n"
         "them ([tests/leaks](../tests/leaks)), and what leash makes of each. A program that can be written in "
         "several\n"
         "ways has a line for each: with ends, guards and tokens owned by who uses them, most leaks end by "
         "themselves;\n"
         "where one is kept elsewhere, the leak remains possible, and is proved.\n\n"
      << kernels << " programs in " << rows().size() << " forms: of " << leaking << " schedules that leak, " << proved
      << " are proved and reclaimed; in " << quiet << " that do not, there are " << alarms << " false alarms.\n\n"
      << "This page is written by the tests themselves: `LEASH_LEAKS_TABLE=docs/leaks.md "
         "build/dev/tests/leaks/test_leaks`.\n"
         "The schedules are simulated, so the figures are the same on every machine.\n\n"
         "- *Go*: whether Go's detector is expected to find it: always, only in some schedules, or never (no leak).\n"
         "- *leaking / explored*: schedules in which the program as it was leaks, of those tried.\n"
         "- *all proved*: every one of these was proved, with the right goroutines named as core and as dependents, "
         "and\n  reclaimed until nothing was left.\n"
         "- *false alarms in twin*: reports about the smallest correct variant, in as many schedules.\n\n"
         "| set | name | Go | what leash does | leaking / explored | all proved | false alarms in twin |\n"
         "|---|---|---|---|---|---|---|\n";
  for (const row* r : rows()) out << line(*r) << "\n";
}

class table_writer : public ::testing::Environment {
 public:
  void TearDown() override {
    const char* file = std::getenv("LEASH_LEAKS_TABLE");
    if (file == nullptr || *file == '\0') return;
    for (const row* r : rows()) {
      const bool has_run =
          r->as_it_was.explored == (r->expected.what == answer::cannot_be_written || !r->kernel ? 0 : schedules(*r));
      if (has_run && !long_run()) continue;
      ADD_FAILURE() << "no table is written: " << full_name(*r) << " was not explored as usual; run all tests";
      return;
    }
    std::ofstream out(file);
    write_table(out);
    EXPECT_TRUE(out.flush().good()) << file;
  }
};
[[maybe_unused]] const auto* const writer = ::testing::AddGlobalTestEnvironment(new table_writer);

/// The page in the tree lists these rows and no others.
TEST(Table, IsOfTheRowsThatAreThere) {
  const char* being_written = std::getenv("LEASH_LEAKS_TABLE");
  if (being_written != nullptr && *being_written != '\0') GTEST_SKIP() << "the page is being written";
  std::ifstream in(root_of_tree / "docs" / "leaks.md");
  ASSERT_TRUE(in.good()) << "docs/leaks.md is missing: run this program with LEASH_LEAKS_TABLE=docs/leaks.md";
  std::vector<std::string> listed;
  for (std::string one; std::getline(in, one);)
    if (one.starts_with("| ") && !one.starts_with("| set |")) listed.push_back(one);
  std::vector<const row*> all = rows();
  EXPECT_EQ(listed.size(), all.size());
  for (std::size_t i = 0; i < std::min(listed.size(), all.size()); ++i)
    EXPECT_TRUE(listed[i].starts_with(head_of_line(*all[i])))
        << "docs/leaks.md is stale\nit says   " << listed[i] << "\nexpected  " << head_of_line(*all[i]);
}

}  // namespace

row::row(std::string set, std::string name, std::string form, go_says go, claim expected, kernel_type kernel,
         std::source_location where)
    : set(std::move(set)),
      name(std::move(name)),
      form(std::move(form)),
      go(go),
      expected(std::move(expected)),
      kernel(kernel),
      where(where) {
  registered().push_back(this);
  if (this->expected.what == answer::cannot_be_written) {
    add_test(*this, "refused", refused);
    return;
  }
  if (kernel == nullptr) return;
  add_test(*this, "explored", explored);
  add_test(*this, "twin", twin);
  add_test(*this, "at_workers", at_workers);
  if (leaks()) add_test(*this, "replayed", replayed);
}

std::vector<const row*> rows() {
  static constexpr std::string_view sets[] = {"simple", "commonpatterns", "stresstests", "goker", "more", "controls"};
  std::vector<const row*> all;
  for (std::string_view set : sets) {
    const std::size_t first = all.size();
    for (const row* r : registered()) {
      if (r->set != set) continue;
      // By name; the forms of one name stay in their order.
      all.insert(std::upper_bound(all.begin() + static_cast<std::ptrdiff_t>(first), all.end(), r,
                                  [](const row* a, const row* b) { return a->name < b->name; }),
                 r);
    }
  }
  return all;
}

}  // namespace leash::test::corpus
