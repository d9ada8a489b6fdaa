// leash trace: what is asked of a process, what is taken for a trace, where it goes.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server.hpp"
#include "support.hpp"

namespace leash::cli {
namespace {

using test::not_found;
using test::ok;
using test::outcome;
using test::run_tool;
using test::scratch;
using test::server;

const std::string go_trace = std::string("go 1.21 trace\0\0\0", 16) + "events";
const std::string perfetto = "\n\x02\x50\x01";

TEST(Trace, of_a_go_program_is_saved) {
  server s([](const std::string& path) { return path == "/debug/pprof/trace?seconds=2" ? ok(go_trace) : not_found; });
  const scratch files;
  const outcome r = run_tool({"trace", "--for", "2s", "-o", files.path("t"), s.address()});
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find("go tool trace " + files.path("t")), std::string::npos) << r.out;
  EXPECT_EQ(test::read_all(files.path("t")), go_trace);
}
TEST(Trace, of_a_leash_program_may_be_for_perfetto_or_of_the_past) {
  server s([](const std::string& path) {
    if (path == "/debug/leash/trace?seconds=2&format=perfetto") return ok(perfetto);
    if (path == "/debug/leash/trace?last=10&format=go") return ok(go_trace);
    return not_found;
  });
  const scratch files;
  const outcome r = run_tool({"trace", "--perfetto", "--for", "2s", "-o", files.path("p"), s.address()});
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find("ui.perfetto.dev"), std::string::npos) << r.out;
  EXPECT_EQ(test::read_all(files.path("p")), perfetto);
  EXPECT_EQ(run_tool({"trace", "--last", "10s", "-o", "-", s.address()}).out, go_trace);
}
TEST(Trace, is_told_as_json) {
  server s([](const std::string&) { return ok(go_trace); });
  const scratch files;
  const auto j = nlohmann::json::parse(run_tool({"trace", "--json", "-o", files.path("t"), s.address()}).out);
  EXPECT_EQ(j["file"], files.path("t"));
  EXPECT_EQ(j["bytes"], go_trace.size());
}
TEST(Trace, that_is_none_is_refused) {
  const scratch files;
  struct {
    std::string answer, text;
    std::vector<std::string> arguments;
  } const all[] = {
      {ok("<html>"), "no Go execution trace", {}},
      {ok(perfetto), "no Go execution trace", {}},
      {ok(go_trace), "no Perfetto trace", {"--perfetto"}},
      {ok(""), "no Go execution trace", {}},
      {not_found, "404", {}},
      {not_found, "only leash programs", {"--perfetto"}},
      {"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n", "nothing is being recorded", {"--last", "5s"}}};
  for (auto& one : all) {
    server s([&](const std::string&) { return one.answer; });
    std::vector<std::string> arguments = {"trace", "-o", files.path("none"), s.address()};
    arguments.insert(arguments.end(), one.arguments.begin(), one.arguments.end());
    const outcome r = run_tool(arguments);
    EXPECT_EQ(r.code, 2);
    EXPECT_NE(r.err.find(one.text), std::string::npos) << r.err;
    EXPECT_FALSE(test::fs::exists(files.path("none"))) << "no file is begun";
  }
  EXPECT_EQ(run_tool({"trace", (test::corpus / "go126.dump.txt").string()}).code, 2) << "files have no traces";
}

}  // namespace
}  // namespace leash::cli
