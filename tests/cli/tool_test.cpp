// The tool as it is run: exit codes, output, errors.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <nlohmann/json.hpp>

#include "support.hpp"

namespace leash::cli {
namespace {

using json = nlohmann::json;
using test::corpus;
using test::outcome;
using test::run_tool;
using test::scratch;

std::string in_corpus(const std::string& name) { return (corpus / name).string(); }

TEST(Tool, proven_leaks_give_1_and_a_profile_without_any_gives_0) {
  const outcome leaky = run_tool({"leaks", in_corpus("go126_proof_leak.dump.txt")});
  EXPECT_EQ(leaky.code, 1);
  EXPECT_NE(leaky.out.find("PROVEN: 6 goroutines at 1 place"), std::string::npos) << leaky.out;
  EXPECT_NE(leaky.out.find("main.earlyReturn.func1"), std::string::npos) << leaky.out;
  EXPECT_NE(leaky.out.find("/tmp/leaky/leaks.go:17"), std::string::npos) << leaky.out;
  const outcome fine = run_tool({"leaks", in_corpus("go126.dump.txt")});
  EXPECT_EQ(fine.code, 0) << fine.out;
  EXPECT_NE(fine.out.find("SUSPECTED: none"), std::string::npos) << fine.out;
}
TEST(Tool, what_fails_can_be_chosen) {
  const std::string leaky = in_corpus("go126_proof_leak.pb.gz");
  EXPECT_EQ(run_tool({"leaks", "--fail-on", "proven", leaky}).code, 1);
  EXPECT_EQ(run_tool({"leaks", "--fail-on", "never", leaky}).code, 0);
  EXPECT_EQ(run_tool({"leaks", "--fail-on", "what", leaky}).code, 2);
}
TEST(Tool, several_targets_are_told_apart_and_one_leaky_one_is_enough) {
  const outcome r =
      run_tool({"leaks", "--json", in_corpus("go126.dump.txt"), in_corpus("go126_proof_leak.counts.txt")});
  EXPECT_EQ(r.code, 1);
  const json j = json::parse(r.out);
  ASSERT_EQ(j["targets"].size(), 2u);
  EXPECT_EQ(j["targets"][0]["findings"].size(), 0u);
  EXPECT_EQ(j["targets"][1]["findings"][0]["count"], 6);
  EXPECT_EQ(j["proven"], 1);
}
TEST(Tool, a_target_that_fails_does_not_hide_the_others) {
  const std::string leaky = in_corpus("go126_proof_leak.dump.txt"), fine = in_corpus("go126.dump.txt");
  const outcome r = run_tool({"leaks", "127.0.0.1:1", leaky});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.out.find("FAILED: http://127.0.0.1:1"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("PROVEN: 6 goroutines"), std::string::npos) << r.out;
  EXPECT_EQ(run_tool({"leaks", "127.0.0.1:1", fine}).code, 2) << "it could not be told";
}
TEST(Tool, standard_input_is_a_target) {
  const outcome r = run_tool({"leaks", "-"}, test::read_all(corpus / "go126_proof_leak.pb.gz"));
  EXPECT_EQ(r.code, 1) << r.err;
}
TEST(Tool, mistakes_give_2_and_say_what_is_wrong) {
  const scratch files;
  const std::string html = files.write("page", "<html>"),
                    heap = files.write("heap", "heap profile: 1: 2 [3: 4] @ heap/1\n");
  struct mistake {
    std::vector<std::string> arguments;
    const char* text;
  };
  const mistake mistakes[] = {{{}, "subcommand"},
                              {{"leaks"}, "target"},
                              {{"frobnicate"}, ""},
                              {{"leaks", "/no/such/file"}, "no such file"},
                              {{"leaks", files.path("")}, "directory"},
                              {{"leaks", html}, "web page"},
                              {{"leaks", heap}, "heap profile"},
                              {{"leaks", "--for", "soon", html}, "no time"},
                              {{"leaks", "http://"}, "no host"},
                              {{"leaks", "http://127.0.0.1:1"}, "cannot connect"},
                              {{"leaks", "ftp://x"}, "no such file"},
                              {{"dump", "--raw", "7", html}, "--raw"},
                              {{"top", html}, "processes"},
                              {{"fleet"}, "no instances"},
                              {{"fleet", "--discovery", html}, "Prometheus"},
                              {{"leaks", "-H", "nonsense", html}, "header"}};
  for (const mistake& m : mistakes) {
    const outcome r = run_tool(m.arguments);
    EXPECT_EQ(r.code, 2) << ::testing::PrintToString(m.arguments) << r.out << r.err;
    EXPECT_NE((r.out + r.err).find(m.text), std::string::npos)
        << ::testing::PrintToString(m.arguments) << r.out << r.err;
  }
}
TEST(Tool, names_cannot_steer_the_terminal) {
  const scratch files;
  const std::string evil = files.write(
      "evil",
      "goroutine 7 [chan send (nil chan)]:\nmain.\x1b]0;pwned\x07\xff\xe2\x80\xae()\n\t/a\x1b[2J.go:1 +0x1\n\n");
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"leaks", "--stacks", evil}, {"dump", evil}}) {
    const outcome r = run_tool(arguments);
    EXPECT_EQ(r.out.find_first_of("\x1b\x07\xff"), std::string::npos);
    EXPECT_EQ(r.out.find("\u202e"), std::string::npos);
    EXPECT_NE(r.out.find("main.?]0;pwned"), std::string::npos) << r.out;
  }
  EXPECT_TRUE(json::accept(run_tool({"leaks", "--json", evil}).out));
}
TEST(Tool, diff_shows_what_grew) {
  const scratch files;
  const std::string one = "goroutine 5 [select]:\nmain.f()\n\t/a.go:1 +0x1\n\n";
  std::string more = one;
  for (int i = 6; i < 16; ++i) more += "goroutine " + std::to_string(i) + " [select]:\nmain.f()\n\t/a.go:1 +0x1\n\n";
  const std::string a = files.write("a", one), b = files.write("b", more);
  const outcome grown = run_tool({"diff", a, b});
  EXPECT_EQ(grown.code, 1);
  EXPECT_NE(grown.out.find("CHANGES: 1 goroutine before, 11 after"), std::string::npos) << grown.out;
  EXPECT_NE(grown.out.find("+10"), std::string::npos) << grown.out;
  const outcome shrunk = run_tool({"diff", b, a});
  EXPECT_EQ(shrunk.code, 0) << shrunk.out;
  EXPECT_NE(shrunk.out.find("-10"), std::string::npos) << shrunk.out;
}
/// A dump of 100,000 goroutines at 60 places, and of those that leak.
std::string large_dump(int leaked) {
  std::string text;
  for (int i = 0; i < 100'000 + leaked; ++i) {
    const std::string n = std::to_string(i < 100'000 ? i % 60 : 60);
    text += "goroutine " + std::to_string(1000 + 3 * i) + " [select, " + std::to_string(1 + i % 50) + " minutes]:\n" +
            "example.com/shop/orders.(*Server" + n + ").loop(0xc000" + std::to_string(100'000 + i) +
            ", 0x1)\n\t/src/shop/orders/server.go:" + n + " +0x1f\n" + "created by example.com/shop/orders.(*Server" +
            n + ").Start in goroutine 1\n" + "\t/src/shop/orders/start.go:" + n + " +0x2c\n\n";
  }
  return text;
}
TEST(Tool, ranks_two_large_dumps_in_less_than_a_second) {
  const scratch files;
  const std::string before = files.write("before", large_dump(3)), after = files.write("after", large_dump(40));
  EXPECT_GT(test::fs::file_size(before), 20'000'000u);
  const auto used = [] {
    rusage all{};
    getrusage(RUSAGE_CHILDREN, &all);
    return static_cast<double>(all.ru_utime.tv_sec + all.ru_stime.tv_sec) +
           1e-6 * static_cast<double>(all.ru_utime.tv_usec + all.ru_stime.tv_usec);
  };
  const double begin = used();
  const outcome r = run_tool({"leaks", "--json", "--series", before, after});
  const double took = used() - begin;
  EXPECT_EQ(r.code, 1) << r.err;
  const json target = json::parse(r.out)["targets"][0], first = target["findings"][0];
  EXPECT_EQ(target["goroutines"], 100'040);
  EXPECT_EQ(first["counts"], json::array({3, 40}));
  EXPECT_EQ(first["wait"]["line"], 60);
  std::printf("two dumps of %zu MB: %.2f s of a processor\n", test::fs::file_size(before) / 1'000'000, took);
#ifdef NDEBUG  // as it is installed
  EXPECT_LT(took, 1);
#endif
}
TEST(Tool, dump_groups_filters_and_passes_on) {
  const std::string file = in_corpus("go126.dump.txt");
  const outcome all = run_tool({"dump", file}), some = run_tool({"dump", "--match", "main.watch", file});
  EXPECT_NE(all.out.find("6 goroutines [select]"), std::string::npos) << all.out;
  EXPECT_NE(some.out.find("6 goroutines [select]"), std::string::npos);
  EXPECT_EQ(some.out.find("IO wait"), std::string::npos) << some.out;
  const json j = json::parse(run_tool({"dump", "--json", "--state", "select", file}).out);
  ASSERT_EQ(j["groups"].size(), 1u);
  EXPECT_EQ(j["groups"][0]["count"], 6);
  EXPECT_EQ(j["groups"][0]["labels"].size(), 6u);
  const scratch files;
  EXPECT_EQ(run_tool({"dump", "--raw", "2", "-o", files.path("raw"), file}).code, 0);
  EXPECT_EQ(test::read_all(files.path("raw")), test::read_all(file));
}
TEST(Tool, a_report_is_one_page_that_loads_nothing) {
  const scratch files;
  const std::string evil =
      files.write("evil", "goroutine 7 [chan send (nil chan)]:\nmain.<script>alert(1)</script>()\n\t/a.go:1 +0x1\n\n");
  const outcome r = run_tool({"report", "-o", files.path("r.html"), evil, in_corpus("go126_proof_leak.dump.txt")});
  EXPECT_EQ(r.code, 1) << r.err;
  const std::string page = test::read_all(files.path("r.html"));
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>"));
  EXPECT_NE(page.find("main.earlyReturn.func1"), std::string::npos);
  EXPECT_NE(page.find("&lt;script&gt;"), std::string::npos);
  for (const char* outside : {"<script", "src=", "href=", "url(", "@import"})
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
  EXPECT_TRUE(page.ends_with("</body></html>\n"));
}
TEST(Tool, help_tells_every_command_and_the_exit_codes) {
  const outcome r = run_tool({"--help"});
  EXPECT_EQ(r.code, 0);
  for (const char* text :
       {"leaks", "diff", "dump", "trace", "top", "report", "fleet", "completion", "Exit codes", "Examples"})
    EXPECT_NE(r.out.find(text), std::string::npos) << text;
  EXPECT_NE(run_tool({"--version"}).out.find("leash "), std::string::npos);
}

/// All words that begin with two dashes in the help of all commands.
std::vector<std::string> all_options() {
  std::vector<std::string> all;
  for (const char* command : {"leaks", "diff", "dump", "trace", "top", "report", "fleet"}) {
    const std::string help = run_tool({command, "--help"}).out;
    for (std::size_t at = help.find("--"); at != help.npos; at = help.find("--", at + 2)) {
      const std::size_t end = std::min(help.find_first_not_of("abcdefghijklmnopqrstuvwxyz-", at + 2), help.size());
      if (end > at + 3) all.push_back(help.substr(at, end - at));
    }
  }
  return all;
}
TEST(Tool, the_manual_page_tells_every_option) {
  std::string page = test::read_all(test::fs::path(CLI_SOURCE) / "docs/man/leash.1");
  for (std::size_t at; (at = page.find("\\-")) != page.npos;) page.erase(at, 1);
  const std::vector<std::string> options = all_options();
  ASSERT_GT(options.size(), 20u);
  for (const std::string& o : options) EXPECT_NE(page.find(o), std::string::npos) << o;
}
TEST(Tool, completions_know_every_option) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = run_tool({"completion", shell}).out;
    for (const std::string& o : all_options()) {
      const std::string name = std::string(shell) == "fish" ? "-l " + o.substr(2) : o;
      EXPECT_NE(script.find(name), std::string::npos) << shell << ": " << o;
    }
  }
}
/// Runs the script in its shell, if that is there; `what` is printed by it.
void expect_in_shell(const std::string& shell, const std::string& arguments, const std::string& expected) {
  if (std::system(("command -v " + shell + " >/dev/null").c_str()) != 0) GTEST_SKIP() << "skipped: no " << shell;
  const scratch files;
  const std::string script = files.write("script", run_tool({"completion", shell}).out);
  const std::string command = shell + " " + arguments + " " + script + " > " + files.path("out") + " 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0) << test::read_all(files.path("out"));
  EXPECT_NE(test::read_all(files.path("out")).find(expected), std::string::npos) << test::read_all(files.path("out"));
}
TEST(Tool, bash_completes) {
  expect_in_shell("bash",
                  "-c 'source \"$0\"; COMP_WORDS=(leash leaks --fai); COMP_CWORD=2; _leash; echo \"${COMPREPLY[@]}\"'",
                  "--fail-on");
}
TEST(Tool, bash_completes_values) {
  expect_in_shell(
      "bash",
      "-c 'source \"$0\"; COMP_WORDS=(leash leaks --fail-on pr); COMP_CWORD=3; _leash; echo \"${COMPREPLY[@]}\"'",
      "proven");
}
TEST(Tool, zsh_takes_its_script) {
  expect_in_shell("zsh", "-f -c 'autoload -Uz compinit && compinit -D && source \"$0\" && which _leash'", "fail-on");
}
TEST(Tool, fish_completes) {
  expect_in_shell("fish", "--no-config -c 'source $argv[1]; complete -C \"leash leaks --fai\"'", "--fail-on");
}

}  // namespace
}  // namespace leash::cli
