// Servers that answer, that do not, and that answer badly.
#include "fetch.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "error.hpp"
#include "server.hpp"
#include "support.hpp"

namespace leash::cli {
namespace {

using namespace std::chrono_literals;
using json = nlohmann::json;
using test::not_found;
using test::ok;
using test::run_tool;
using test::server;

std::string error_of(const std::string& address, const fetch_options& o = {}) {
  try {
    return "status " + std::to_string(fetch(parse_address(address), o).status);
  } catch (const input_error& e) {
    return e.what();
  }
}

fetch_options within(std::chrono::milliseconds timeout) {
  fetch_options o;
  o.timeout = timeout;
  return o;
}
fetch_options at_most(std::size_t bytes) {
  fetch_options o;
  o.most = bytes;
  return o;
}

TEST(Addresses, are_taken_apart) {
  const address a = parse_address("https://me:secret@[::1]:8443/a/b?debug=2#x");
  EXPECT_EQ(a.scheme, "https");
  EXPECT_EQ(a.user, "me:secret");
  EXPECT_EQ(a.host, "::1");
  EXPECT_EQ(a.port, "8443");
  EXPECT_EQ(a.path, "/a/b");
  EXPECT_EQ(a.query, "debug=2");
  EXPECT_EQ(a.text(), "https://[::1]:8443/a/b?debug=2") << "no passwords in messages";
  EXPECT_EQ(parse_address("localhost:6060").text(), "http://localhost:6060/");
  EXPECT_EQ(parse_address("http://h").port, "80");
}
TEST(Addresses, that_are_none_are_refused) {
  for (const char* bad :
       {"ftp://h", "http://", "http://h:port", "http://[::1", "http://h\r\nX: y", "http://h:1:2", "http://h:123456"})
    EXPECT_THROW(parse_address(bad), input_error) << bad;
}
TEST(Fetching, gives_status_and_body) {
  server s([](const std::string& path) { return path == "/a?b=1" ? ok("hello") : not_found; });
  const answer a = fetch(parse_address(s.address() + "/a?b=1"), {});
  EXPECT_EQ(a.status, 200u);
  EXPECT_EQ(a.body, "hello");
  EXPECT_EQ(fetch(parse_address(s.address() + "/other"), {}).status, 404u);
}
TEST(Fetching, understands_chunks_and_bodies_that_end_with_the_connection) {
  server s([](const std::string& path) {
    return path == "/chunks" ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                             : "HTTP/1.0 200 OK\r\n\r\nabcde";
  });
  EXPECT_EQ(fetch(parse_address(s.address() + "/chunks"), {}).body, "abcde");
  EXPECT_EQ(fetch(parse_address(s.address() + "/rest"), {}).body, "abcde");
}
TEST(Fetching, follows_redirections_but_not_for_ever) {
  server s([](const std::string& path) {
    if (path == "/end") return ok("there");
    return "HTTP/1.1 302 Found\r\nLocation: " + std::string(path == "/loop" ? "/loop" : "/end") +
           "\r\nContent-Length: 0\r\n\r\n";
  });
  EXPECT_EQ(fetch(parse_address(s.address() + "/start"), {}).body, "there");
  EXPECT_NE(error_of(s.address() + "/loop").find("circle"), std::string::npos);
}
TEST(Fetching, gives_up_in_time_on_a_silent_server) {
  server s([](const std::string&) { return std::string(); });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_NE(error_of(s.address(), within(100ms)).find("no answer in time"), std::string::npos);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
}
TEST(Fetching, takes_no_more_than_it_may) {
  server s([](const std::string& path) {
    const std::string head = path == "/said" ? "HTTP/1.1 200 OK\r\nContent-Length: 999999999999" : "HTTP/1.0 200 OK";
    return head + "\r\n\r\n" + std::string(3 << 20, 'a');
  });
  for (const char* path : {"/said", "/unsaid"})
    EXPECT_EQ(error_of(s.address() + path, at_most(1 << 20)), "the answer is larger than 1 MB, the most that is read")
        << path;
}
TEST(Fetching, says_what_is_wrong_with_bad_answers) {
  server s([](const std::string& path) -> std::string {
    return path == "/garbage" ? "SSH-2.0-OpenSSH_9.2\r\n\r\n" : "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort";
  });
  EXPECT_NE(error_of(s.address() + "/garbage").find("cannot receive"), std::string::npos);
  EXPECT_NE(error_of(s.address() + "/short").find("cannot receive"), std::string::npos);
}

// ---- the tool on servers -----------------------------------------------------------------------------------------------
std::string counts(std::uint64_t n) {
  return "goroutine profile: total " + std::to_string(n + 1) + "\n" + std::to_string(n) +
         " @ 0x1\n#\t0x1\tmain.stuck+0x1\t/a/stuck.go:7\n\n" + "1 @ 0x2\n#\t0x2\tmain.main+0x1\t/a/main.go:7\n";
}
TEST(Processes, are_asked_for_the_right_profiles) {
  std::vector<std::string> asked;
  {
    server s([&](const std::string& path) {
      asked.push_back(path);
      return path.starts_with("/debug/pprof/goroutine") && !path.starts_with("/debug/pprof/goroutineleak")
                 ? ok(counts(3))
                 : not_found;
    });
    const test::outcome r = run_tool({"leaks", s.address()});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_NE(r.out.find("offers no goroutineleak profile"), std::string::npos) << r.out;
  }
  EXPECT_EQ(asked, (std::vector<std::string>{"/debug/pprof/goroutineleak", "/debug/pprof/goroutine",
                                             "/debug/pprof/goroutine?debug=2"}));
}
TEST(Processes, are_found_by_the_address_of_their_page) {
  std::vector<std::string> asked;
  {
    server s([&](const std::string& path) {
      asked.push_back(path);
      return path == "/debug/pprof/goroutine" ? ok(counts(3)) : not_found;
    });
    run_tool({"leaks", "--no-proof", s.address() + "/debug/leash/"});
  }
  EXPECT_EQ(asked[0], "/debug/pprof/goroutine");
}
TEST(Processes, are_given_the_token_of_the_page_which_is_not_shown) {
  std::vector<std::string> asked;
  {
    server s([&](const std::string& path) {
      asked.push_back(path);
      return path.starts_with("/debug/pprof/goroutine") ? ok(counts(3)) : not_found;
    });
    const std::string page = s.address() + "/debug/leash?token=secret", one = s.address() + "/debug/pprof/goroutine";
    for (const test::outcome& r :
         {run_tool({"leaks", "--no-proof", page}), run_tool({"trace", "-o", "-", page}),
          run_tool({"trace", "--perfetto", "-o", "-", page}), run_tool({"leaks", one + "?debug=1&token=secret"})})
      EXPECT_EQ((r.out + r.err).find("secret"), std::string::npos) << r.out << r.err;
  }
  EXPECT_EQ(asked, (std::vector<std::string>{"/debug/pprof/goroutine?token=secret",
                                             "/debug/pprof/goroutine?debug=2&token=secret",
                                             "/debug/pprof/trace?seconds=5&token=secret",
                                             "/debug/leash/trace?seconds=5&format=perfetto&token=secret",
                                             "/debug/pprof/goroutine?debug=1&token=secret"}));
}
TEST(Processes, with_very_many_goroutines_are_not_asked_for_dumps) {
  std::vector<std::string> asked;
  {
    server s([&](const std::string& path) {
      asked.push_back(path);
      return ok(counts(70'000));
    });
    run_tool({"leaks", "--no-proof", s.address()});
  }
  EXPECT_EQ(asked, (std::vector<std::string>{"/debug/pprof/goroutine"}));
}
TEST(Processes, that_stop_answering_are_judged_by_what_was_seen) {
  std::atomic<int> n{0};
  server s([&](const std::string&) { return ++n > 4 ? not_found : ok(counts(10 + static_cast<std::uint64_t>(n))); });
  const test::outcome r = run_tool({"leaks", "--no-proof", "--for", "1s", "--every", "200ms", s.address()});
  EXPECT_EQ(r.code, 0) << r.out << r.err;
  EXPECT_NE(r.out.find("a look was missed"), std::string::npos) << r.out;
}
TEST(Processes, without_profiles_give_2) {
  server s([](const std::string&) { return not_found; });
  const test::outcome r = run_tool({"leaks", s.address()});
  EXPECT_EQ(r.code, 2);
  EXPECT_NE(r.err.find("net/http/pprof"), std::string::npos) << r.err;
}
TEST(Top, shows_as_many_frames_as_asked_for_and_what_grew) {
  std::atomic<std::uint64_t> n{5};
  server s([&](const std::string&) { return ok(counts(n += 5)); });
  const test::outcome r = run_tool({"top", "-n", "3", "--every", "10ms", s.address()});
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find("       20        +10"), std::string::npos) << r.out;
  const test::outcome j = run_tool({"top", "--json", "-n", "2", "--every", "10ms", s.address()});
  EXPECT_EQ(std::ranges::count(j.out, '\n'), 2);
  EXPECT_EQ(json::parse(j.out.substr(0, j.out.find('\n')))["places"][0]["count"], 25);
}

TEST(Processes, on_unix_sockets_are_asked_too) {
  const test::scratch files;
  const std::string path = files.path("debug.sock");
  std::vector<std::string> asked;
  {
    server s(
        [&](const std::string& what) {
          asked.push_back(what);
          return what.starts_with("/debug/pprof/goroutine") && what.find("leak") == what.npos ? ok(counts(3))
                                                                                              : not_found;
        },
        path);
    const test::outcome r = run_tool({"leaks", "unix:" + path});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_NE(r.out.find("unix:" + path + ":/debug/pprof: 4 goroutines"), std::string::npos) << r.out;
    EXPECT_EQ(fetch(parse_address("unix:" + path + ":/debug/pprof/goroutine?debug=1"), {}).body, counts(3));
    EXPECT_EQ(run_tool({"leaks", "unix:" + path + "/none"}).code, 2);
  }
  EXPECT_EQ(asked, (std::vector<std::string>{"/debug/pprof/goroutineleak", "/debug/pprof/goroutine",
                                             "/debug/pprof/goroutine?debug=2", "/debug/pprof/goroutine?debug=1"}));
}
TEST(Trace, is_saved_as_the_process_gives_it) {
  std::vector<std::string> asked;
  const test::scratch files;
  {
    server s([&](const std::string& path) {
      asked.push_back(path);
      return path.starts_with("/debug/pprof/trace") ? ok("go 1.19 trace...") : not_found;
    });
    const std::string file = files.path("trace.out");
    const test::outcome r = run_tool({"trace", "--for", "1500ms", "-o", file, s.address()});
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(test::read_all(file), "go 1.19 trace...");
    EXPECT_NE(r.out.find("go tool trace " + file), std::string::npos) << r.out;
    EXPECT_EQ(json::parse(run_tool({"trace", "--json", "-o", file, s.address()}).out)["bytes"], 16);
    EXPECT_EQ(run_tool({"trace", "-o", "-", s.address()}).out, "go 1.19 trace...");
    const test::outcome none = run_tool({"trace", "--perfetto", "--last", "10s", "-o", file, s.address()});
    EXPECT_EQ(none.code, 2);
    EXPECT_NE(none.err.find("only leash programs"), std::string::npos) << none.err;
  }
  EXPECT_EQ(asked,
            (std::vector<std::string>{"/debug/pprof/trace?seconds=2", "/debug/pprof/trace?seconds=5",
                                      "/debug/pprof/trace?seconds=5", "/debug/leash/trace?last=10&format=perfetto"}));
  EXPECT_EQ(run_tool({"trace", files.write("f", "text")}).code, 2) << "a file records nothing";
}
/// As counts, of a goroutineleak profile.
std::string proof(std::uint64_t n) {
  return "goroutineleak profile: total " + std::to_string(n) + "\n" + std::to_string(n) +
         " @ 0x1\n#\t0x1\tmain.stuck+0x1\t/a/stuck.go:7\n\n";
}
const std::string told = R"({"leaks":[
  {"id":7,"name":"other","why":"waits elsewhere","spawned_at":{"file":"/a/main.go","line":3},"stack":[{"file":"/a/else.go","line":7}]},
  {"id":9,"name":"bob","why":"waits for \u001b[31malice","spawned_at":{"file":"/a/main.go","line":4},
   "stack":[{"file":"/lib/scope.hpp","line":5},{"file":"/a/stuck.go","line":7}]}]})";
TEST(Proofs, of_a_leash_program_come_with_its_reasons) {
  std::string answer = told;
  server s([&](const std::string& path) {
    if (path.starts_with("/debug/pprof/goroutineleak")) return ok(proof(4));
    if (path.starts_with("/debug/pprof/goroutine")) return ok(counts(4));
    return path == "/debug/leash/api/leaks?limit=500" ? ok(answer) : not_found;
  });
  const test::outcome r = run_tool({"leaks", s.address()});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.out.find("one of them: goroutine 9 (bob) waits for ?[31malice\n"), r.out.npos) << r.out;
  EXPECT_EQ(r.out.find("elsewhere"), r.out.npos) << r.out;
  const json why = json::parse(run_tool({"leaks", "--json", s.address()}).out)["targets"][0]["findings"][0]["why"];
  EXPECT_EQ(why[1], "one of them: goroutine 9 (bob) waits for \x1b[31malice");
  // Whatever it answers: what is proved is proved.
  for (const std::string& nonsense :
       {std::string(R"({"leaks":[{"id":-1}]})"), std::string(100'000, '['), std::string("7"),
        R"({"leaks":[)" + std::string(std::size_t{9} << 20, ' ') + "]}"}) {
    answer = nonsense;
    const test::outcome without = run_tool({"leaks", s.address()});
    EXPECT_EQ(without.code, 1) << without.err;
    EXPECT_EQ(without.out.find("one of them"), without.out.npos) << without.out;
  }
}
TEST(Report, has_the_pictures_of_a_leash_program_as_images_that_cannot_act) {
  server s([&](const std::string& path) {
    if (path.starts_with("/debug/pprof/goroutineleak")) return ok(proof(4));
    if (path.starts_with("/debug/pprof/goroutine")) return ok(counts(4));
    if (path == "/debug/leash/api/leaks?limit=0")
      return ok(R"({"kinds":[{"knots":2,"goroutines":4,"ids":[17,18]},{"knots":1,"goroutines":1,"ids":[9]}]})");
    if (path == "/debug/leash/api/knot?id=17") return ok(R"({"svg":"<svg><script>alert(1)</script></svg>"})");
    return not_found;
  });
  const test::scratch files;
  const test::outcome r = run_tool({"report", "-o", files.path("r.html"), s.address()});
  EXPECT_EQ(r.code, 1) << r.err;
  const std::string page = test::read_all(files.path("r.html"));
  EXPECT_NE(page.find("2 knots like this, 4 goroutines"), page.npos) << page;
  EXPECT_NE(page.find("src=\"data:image/svg+xml;base64,PHN2Zz48c2NyaXB0PmFsZXJ0KDEpPC9zY3JpcHQ+PC9zdmc+\""), page.npos)
      << page;
  EXPECT_EQ(page.find("<script"), page.npos);
  EXPECT_NE(page.find("<svg class=\"flame\""), page.npos) << "and a flame graph";
  EXPECT_EQ(json::parse(run_tool({"report", "--json", "-o", files.path("r.html"), s.address()}).out)["proven"], 1);
  EXPECT_EQ(run_tool({"report", "--json", "-o", "-", s.address()}).code, 2);
}
TEST(Report, of_a_process_that_answers_nonsense_does_without_pictures) {
  server s([&](const std::string& path) {
    if (path.starts_with("/debug/pprof/goroutineleak")) return ok(proof(4));
    return path.starts_with("/debug/pprof/goroutine") ? ok(counts(4))
                                                      : ok(R"({"kinds":[{"knots":-1,"ids":[]}],"svg":7})");
  });
  const test::scratch files;
  EXPECT_EQ(run_tool({"report", "-o", files.path("r.html"), s.address()}).code, 1);
  EXPECT_EQ(test::read_all(files.path("r.html")).find("<img"), std::string::npos);
}

// ---- fleets --------------------------------------------------------------------------------------------------------------
TEST(Fleet, ranks_over_all_instances_and_keeps_history) {
  std::atomic<std::uint64_t> n{0};
  server leaky(
      [&](const std::string& path) { return path.find("leak") == path.npos ? ok(counts(n += 10)) : not_found; }),
      fine([](const std::string&) { return ok(counts(10)); });
  const test::scratch files;
  const std::string list = files.write("targets.json", R"([{"targets": [")" + leaky.address() + R"(", ")" +
                                                           fine.address() + R"("], "labels": {"job": "x"}}])");
  const std::string history = files.path("history.sqlite");
  // Five rounds in one call, then one in each of two: all of them are judged together.
  const test::outcome first =
      run_tool({"fleet", "--discovery", list, "--history", history, "--rounds", "3", "--every", "10ms"});
  EXPECT_EQ(first.code, 0) << first.out << first.err;
  EXPECT_EQ(run_tool({"fleet", "--discovery", list, "--history", history}).code, 1) << "four looks that rise";
  const test::outcome r = run_tool({"fleet", "--json", "--discovery", list, "--history", history});
  EXPECT_EQ(r.code, 1) << r.err;
  const json j = json::parse(r.out);
  EXPECT_EQ(j["answered"], 2);
  const json f = j["findings"][0];
  EXPECT_EQ(f["grade"], "suspect");
  EXPECT_EQ(f["wait"]["function"], "main.stuck");
  EXPECT_EQ(f["rising"], 1);
  EXPECT_EQ(f["most"], 50);
  EXPECT_EQ(f["total"], 60);
  EXPECT_NE(f["most_at"].get<std::string>().find(leaky.address()), std::string::npos);
  EXPECT_NEAR(f["root_mean_square"].get<double>(), 36.06, 0.01);  // sqrt((50^2 + 10^2) / 2)
  EXPECT_EQ(run_tool({"fleet", "--rounds", "0", "--history", history}).code, 1) << "the history alone tells it";
}
TEST(Fleet, what_processes_prove_comes_first) {
  std::atomic<int> proofs{0};
  server proving([&](const std::string& path) {
    if (path.starts_with("/debug/pprof/goroutineleak")) return ++proofs, ok(proof(3));
    return ok(counts(5));
  }),
      older([](const std::string& path) { return path.find("leak") == path.npos ? ok(counts(2)) : not_found; }),
      clean([](const std::string& path) { return ok(path.find("leak") == path.npos ? counts(2) : proof(0)); });
  const test::scratch files;
  const std::string history = files.path("history.sqlite");
  const std::vector<std::string> call{"fleet",         "--rounds",     "3",     "--every",
                                      "10ms",          "--history",    history, proving.address(),
                                      older.address(), clean.address()};
  const test::outcome r = run_tool(call);
  EXPECT_EQ(r.code, 1) << r.out << r.err;
  EXPECT_NE(r.out.find("PROVEN: 1 place"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("1 instance proved it"), std::string::npos) << r.out;
  EXPECT_EQ(proofs, 1) << "asked for once, at the last look";
  // The history knows it too.
  const json j = json::parse(run_tool({"fleet", "--rounds", "0", "--json", "--history", history}).out);
  EXPECT_EQ(j["findings"][0]["grade"], "proven");
  EXPECT_EQ(j["findings"][0]["proven"], 3);
  EXPECT_EQ(j["findings"][0]["proven_at"], 1);
  EXPECT_EQ(run_tool({"fleet", "--fail-on", "never", proving.address()}).code, 0);
  EXPECT_EQ(run_tool({"fleet", "--fail-on", "proven", proving.address()}).code, 1);
  EXPECT_EQ(run_tool({"fleet", "--no-proof", proving.address()}).code, 0);
}
TEST(Fleet, a_steady_one_is_fine) {
  server a([](const std::string&) { return ok(counts(10)); }), b([](const std::string&) { return ok(counts(12)); });
  const test::outcome r = run_tool({"fleet", "--rounds", "6", "--every", "10ms", a.address(), b.address()});
  EXPECT_EQ(r.code, 0) << r.out << r.err;
  EXPECT_NE(r.out.find("2 instances, 2 answered"), std::string::npos) << r.out;
}
TEST(Fleet, a_crowd_over_the_threshold_is_suspected_at_once) {
  server a([](const std::string&) { return ok(counts(10)); }), b([](const std::string&) { return ok(counts(20'000)); });
  const test::outcome r = run_tool({"fleet", a.address(), b.address()});
  EXPECT_EQ(r.code, 1) << r.out << r.err;
  EXPECT_EQ(run_tool({"fleet", "--threshold", "50000", a.address(), b.address()}).code, 0);
}
TEST(Fleet, instances_that_fail_are_named_and_the_rest_is_judged) {
  server a([](const std::string&) { return ok(counts(10)); }), b([](const std::string&) { return ok("<html>"); });
  const test::outcome r = run_tool({"fleet", a.address(), b.address(), "127.0.0.1:1"});
  EXPECT_EQ(r.code, 0) << r.out << r.err;
  EXPECT_NE(r.out.find("3 instances, 1 answered"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("web page"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("cannot connect"), std::string::npos) << r.out;
  EXPECT_EQ(run_tool({"fleet", "127.0.0.1:1"}).code, 2) << "nobody answers";
}
TEST(Fleet, discovery_over_http_is_read) {
  server a([](const std::string&) { return ok(counts(10)); });
  server d([&](const std::string&) {
    return ok(R"([{"targets": [")" + a.address() + R"("], "labels": {"__scheme__": "http"}}])");
  });
  const test::outcome r = run_tool({"fleet", "--discovery", "http://" + d.address() + "/sd"});
  EXPECT_EQ(r.code, 0) << r.out << r.err;
  EXPECT_NE(r.out.find("1 instance, 1 answered"), std::string::npos) << r.out;
}
TEST(Fleet, a_history_that_is_no_database_gives_2) {
  const test::scratch files;
  const test::outcome r = run_tool({"fleet", "--history", files.write("h", std::string(5000, 'x')), "127.0.0.1:1"});
  EXPECT_EQ(r.code, 2);
  EXPECT_NE(r.err.find("not a database"), std::string::npos) << r.err;
}

}  // namespace
}  // namespace leash::cli
