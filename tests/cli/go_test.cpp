// The tool on real Go processes with a planted leak each: it is ranked first, with the line where it waits. And on a healthy
// one: nothing.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "fetch.hpp"
#include "read.hpp"
#include "support.hpp"

extern char** environ;

namespace leash::cli {
namespace {

using json = nlohmann::json;
using test::fs::path;

const path built = CLI_BUILT;

/// A running service; it ends when its standard input does.
class service {
 public:
  service(const path& program, const std::string& kind) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
    std::string name = program.string(), argument = kind;
    char* argv[] = {name.data(), argument.data(), nullptr};
    const int rc = posix_spawn(&pid_, name.c_str(), &files, nullptr, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    close(in[0]);
    close(out[1]);
    stdin_ = in[1];
    if (rc != 0) throw std::runtime_error("cannot start " + name);
    for (char c; ::read(out[0], &c, 1) == 1 && c != '\n';) address_ += c;
    close(out[0]);
  }
  service(const service&) = delete;
  ~service() {
    close(stdin_);
    waitpid(pid_, nullptr, 0);
  }
  const std::string& address() const { return address_; }
  std::string get(const std::string& what) const { return fetch(parse_address("http://" + address_ + what), {}).body; }

  void work(int times) {
    for (int i = 0; i < times; ++i) get("/work");
  }
  /// Waits until so many goroutines have come to wait at that line.
  void until_parked(const std::string& line, std::size_t n) const {
    for (const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);;) {
      const std::string dump = get("/debug/pprof/goroutine?debug=2");
      std::size_t found = 0;
      for (std::size_t at = dump.find(line); at != dump.npos; at = dump.find(line, at + 1)) {
        const char after = dump[at + line.size()];  // an inlined frame has no offset
        found += after == ' ' || after == '\n';
      }
      if (found >= n) return;
      if (std::chrono::steady_clock::now() > end)
        throw std::runtime_error("waited in vain for goroutines at " + line + ":\n" + dump);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

 private:
  pid_t pid_ = -1;
  int stdin_ = -1;
  std::string address_;
};

/// "/leaks.go:17": the line of that file that ends so.
std::string marked(const std::string& file, const std::string& mark) {
  std::ifstream in(path(CLI_GO) / file);
  int n = 0;
  for (std::string line; std::getline(in, line);) {
    ++n;
    if (line.ends_with(mark)) return "/" + file + ":" + std::to_string(n);
  }
  return "not in " + file + ": " + mark;
}
std::string wait_of(const json& finding) {
  return finding["wait"]["file"].get<std::string>() + ":" + std::to_string(finding["wait"]["line"].get<int>());
}

struct kind_case {
  const char* name;
  bool proved_by_go;
};
void PrintTo(const kind_case& c, std::ostream* out) { *out << c.name; }
class Leaky : public ::testing::TestWithParam<kind_case> {
 protected:
  const std::string kind = GetParam().name, line = marked("leaks.go", "// leak: " + kind);
};

TEST_P(Leaky, is_ranked_first_in_two_profiles_of_each_form) {
  service it(built / "leaky", kind);
  const test::scratch files;
  it.work(6);
  it.until_parked(line, 6);
  for (int form : {0, 1, 2})
    files.write("a" + std::to_string(form), it.get("/debug/pprof/goroutine?debug=" + std::to_string(form)));
  it.work(20);
  it.until_parked(line, 26);
  for (int form : {0, 1, 2}) {
    SCOPED_TRACE(form);
    const std::string n = std::to_string(form), before = files.path("a" + n),
                      after = files.write("b" + n, it.get("/debug/pprof/goroutine?debug=" + n));
    const test::outcome r = test::run_tool({"leaks", "--series", "--json", before, after});
    ASSERT_EQ(r.code, 1) << r.err;
    const json first = json::parse(r.out)["targets"][0]["findings"][0];
    EXPECT_EQ(first["grade"], "suspect");
    EXPECT_TRUE(wait_of(first).ends_with(line)) << wait_of(first);
    EXPECT_EQ(first["counts"], json::array({6, 26}));
  }
}
TEST_P(Leaky, is_ranked_first_when_watched) {
  service it(built / "leaky", kind);
  it.work(6);
  it.until_parked(line, 6);
  std::jthread load([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      it.work(1);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  const test::outcome r =
      test::run_tool({"leaks", "--json", "--no-proof", "--for", "3s", "--every", "500ms", it.address()});
  load.request_stop();
  ASSERT_EQ(r.code, 1) << r.err << r.out;
  const json target = json::parse(r.out)["targets"][0], first = target["findings"][0];
  EXPECT_EQ(target["snapshots"], 7);
  EXPECT_TRUE(wait_of(first).ends_with(line)) << r.out;
  EXPECT_GT(first["growth_per_minute"], 0);
}
TEST_P(Leaky, is_proved_where_go_proves_it) {
  if (!test::fs::exists(built / "leaky_proof")) GTEST_SKIP() << "skipped: this go builds no leak profile";
  service it(built / "leaky_proof", kind);
  it.work(6);
  it.until_parked(line, 6);
  const test::outcome r = test::run_tool({"leaks", "--json", "--fail-on", "proven", it.address()});
  const json target = json::parse(r.out)["targets"][0];
  EXPECT_EQ(target["proof"]["given"], true);
  if (!GetParam().proved_by_go) {
    EXPECT_EQ(r.code, 0) << r.out;
    return;
  }
  ASSERT_EQ(r.code, 1) << r.err << r.out;
  const json first = target["findings"][0];
  EXPECT_EQ(first["grade"], "proven");
  EXPECT_EQ(first["count"], 6);
  EXPECT_TRUE(wait_of(first).ends_with(line)) << r.out;
}
// The lock is reachable for the closure that handles requests, and a ticker wakes: nothing to prove.
INSTANTIATE_TEST_SUITE_P(Kinds, Leaky,
                         ::testing::Values(kind_case{"early_return", true}, kind_case{"forgot_close", true},
                                           kind_case{"ticker", false}, kind_case{"lock_held", false},
                                           kind_case{"never_cancel", true}, kind_case{"nil_channel", true}),
                         [](const auto& i) { return i.param.name; });

TEST(Healthy, nothing_is_suspected_at_one_look) {
  service it(built / "leaky", "healthy");
  it.work(50);
  it.until_parked(marked("healthy.go", "// idle: writer"), 30);
  const test::outcome r = test::run_tool({"leaks", it.address()});
  EXPECT_EQ(r.code, 0) << r.out << r.err;
  EXPECT_NE(r.out.find("SUSPECTED: none"), std::string::npos) << r.out;
}
TEST(Healthy, nothing_is_suspected_under_load) {
  service it(built / "leaky", "healthy");
  std::vector<std::jthread> load;
  for (int i = 0; i < 4; ++i) {
    load.emplace_back([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) it.work(1);
    });
  }
  const test::outcome r = test::run_tool({"leaks", "--for", "2s", "--every", "200ms", it.address()});
  for (auto& t : load) t.request_stop();
  EXPECT_EQ(r.code, 0) << r.out << r.err;
  EXPECT_NE(r.out.find("SUSPECTED: none"), std::string::npos) << r.out;
}
TEST(Healthy, its_trace_is_saved_and_gos_own_tool_opens_it) {
  service it(built / "leaky", "healthy");
  it.work(5);
  const test::scratch files;
  const test::outcome r = test::run_tool({"trace", "--for", "1s", "-o", files.path("trace"), it.address()});
  ASSERT_EQ(r.code, 0) << r.out << r.err;
  const std::string open = "go tool trace -d=parsed " + files.path("trace") + " > " + files.path("events");
  EXPECT_EQ(std::system(open.c_str()), 0);
  EXPECT_NE(test::read_all(files.path("events")).find("GoID"), std::string::npos);
}
TEST(Healthy, nothing_is_proved) {
  if (!test::fs::exists(built / "leaky_proof")) GTEST_SKIP() << "skipped: this go builds no leak profile";
  service it(built / "leaky_proof", "healthy");
  it.work(5);
  const test::outcome r = test::run_tool({"leaks", it.address()});
  EXPECT_EQ(r.code, 0) << r.out << r.err;
  EXPECT_NE(r.out.find("PROVEN: none\n"), std::string::npos) << r.out;
}

}  // namespace
}  // namespace leash::cli
