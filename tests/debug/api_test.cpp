// /metrics and the JSON of the page.
#include <unistd.h>

#include <regex>

#include "office.hpp"

namespace leash::test::api_tests {

using debug::serve;

std::string metric(const std::string& text, const std::string& name) {
  for (std::size_t at = text.find(name + " "); at != text.npos; at = text.find(name + " ", at + 1)) {
    if (at != 0 && text[at - 1] != '\n') continue;
    return text.substr(at + name.size() + 1, text.find('\n', at) - at - name.size() - 1);
  }
  return "missing";
}

TEST(Metrics, TellStatesLeaksAndRuntimes) {
  scene running(7);
  auto s = serve("127.0.0.1:0");
  response const r = get(s.port(), "/metrics");
  EXPECT_EQ(r.headers.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  std::string const& m = r.body;
  EXPECT_EQ(metric(m, "leash_goroutines{state=\"chan receive\"}"), "9");
  EXPECT_EQ(metric(m, "leash_goroutines{state=\"sync.Mutex.Lock\"}"), "1");
  EXPECT_EQ(metric(m, "leash_goroutines{state=\"sleep\"}"), "2");
  EXPECT_EQ(metric(m, "leash_leaked_goroutines{grade=\"proven\",role=\"core\"}"), "2");
  EXPECT_EQ(metric(m, "leash_leaked_goroutines{grade=\"proven\",role=\"dependent\"}"), "1");
  EXPECT_EQ(metric(m, "leash_leaked_goroutines{grade=\"confined\",role=\"core\"}"), "0");
  EXPECT_EQ(metric(m, "go_goroutines"), std::to_string(num_goroutines()));
  EXPECT_TRUE(std::regex_search(m, std::regex("leash_spawned_goroutines_total\\{runtime=\"[0-9]+\"\\} 13\n"))) << m;
  EXPECT_TRUE(std::regex_search(m, std::regex("leash_workers\\{runtime=\"[0-9]+\"\\} 2\n"))) << m;
  EXPECT_TRUE(std::regex_search(m, std::regex("leash_timers\\{runtime=\"[0-9]+\"\\} 2\n"))) << m;
  EXPECT_NE(metric(m, "leash_leak_passes_total"), "0");
}
TEST(Metrics, PassPromtool) {
  if (!have("promtool")) GTEST_SKIP() << "skipped: promtool is not installed (Debian: prometheus)";
  scene running;
  auto s = serve("127.0.0.1:0");
  folder files;
  auto [text, code] = shell("promtool check metrics < " + files.write("m", get(s.port(), "/metrics").body));
  EXPECT_EQ(code, 0) << text;
}

/// Values of a key, in order, as they stand in the JSON.
std::vector<std::string> values(const std::string& json, const std::string& key) {
  std::vector<std::string> all;
  std::regex const one("\"" + key + "\":(\"(?:[^\"\\\\]|\\\\.)*\"|[^,}\\]]+)");
  for (std::sregex_iterator i(json.begin(), json.end(), one), end; i != end; ++i) all.push_back((*i)[1]);
  return all;
}
/// Braces and brackets close in the order in which they were opened, outside of strings.
bool well_formed(const std::string& json) {
  std::string open;
  bool quoted = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    char const c = json[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      open += c;
    } else if (c == '}' || c == ']') {
      if (open.empty() || open.back() != (c == '}' ? '{' : '[')) return false;
      open.pop_back();
    }
  }
  return !quoted && open.empty() && json.find(",,") == json.npos && json.find(",}") == json.npos &&
         json.find("[,") == json.npos;
}

TEST(Api, EverythingIsJson) {
  scene running;
  auto s = serve("127.0.0.1:0");
  for (const char* what : {"about", "overview", "goroutines", "leaks", "flame", "suspects", "growth", "scopes"}) {
    response const r = get(s.port(), std::string("/debug/leash/api/") + what);
    EXPECT_EQ(r.status, 200) << what;
    EXPECT_EQ(r.headers.at("content-type"), "application/json");
    EXPECT_TRUE(well_formed(r.body)) << r.body;
    if (have("node")) {
      folder files;
      auto [text, code] = shell("node -e 'JSON.parse(require(\"fs\").readFileSync(0))' < " + files.write("j", r.body));
      EXPECT_EQ(code, 0) << what << "\n" << text;
    }
  }
}
TEST(Api, AboutSaysWhichProgramThisIs) {
  auto s = serve("127.0.0.1:0");
  std::string const body = get(s.port(), "/debug/leash/api/about").body;
  EXPECT_EQ(values(body, "program").at(0), "\"test_debug\"");
  EXPECT_EQ(values(body, "pid").at(0), std::to_string(getpid()));
  char host[256] = "";
  ASSERT_EQ(gethostname(host, sizeof host - 1), 0);
  EXPECT_EQ(values(body, "host").at(0), "\"" + std::string(host) + "\"");
}
TEST(Api, HistoryHasLeaksOnlyWhereSomebodyLooked) {
  scene running;
  auto s = serve("127.0.0.1:0", {.max_requests_per_second = 10'000});
  auto ask = [&](const char* what) { return get(s.port(), std::string("/debug/leash/api/") + what).body; };
  // Growth is taken from the same looks, and asks for no pass.
  std::regex const two_looks("counts\":\\[\\d+,");
  ASSERT_TRUE(eventually_here([&] { return std::regex_search(ask("growth"), two_looks); }));
  auto history = [&] {
    std::string const body = ask("overview");
    std::size_t const at = body.find("\"leaked\":[");
    return at == body.npos ? body : body.substr(at, body.find(']', at) + 1 - at);
  };
  std::string const first = history();
  EXPECT_TRUE(std::regex_match(first, std::regex("\"leaked\":\\[null,(null,)*3\\]"))) << first;
  EXPECT_TRUE(eventually_here([&] { return history().ends_with("null,3,3]"); })) << history();
}
TEST(Api, OverviewCountsByStateAndPlace) {
  scene running(7);
  auto s = serve("127.0.0.1:0");
  std::string const body = get(s.port(), "/debug/leash/api/overview").body;
  EXPECT_EQ(values(body, "goroutines").at(0), std::to_string(num_goroutines()));
  EXPECT_EQ(values(body, "proven").at(0), "3");
  EXPECT_NE(body.find("{\"state\":\"chan receive\",\"count\":9,"), body.npos) << body;
  EXPECT_NE(body.find("{\"count\":7,\"state\":\"chan receive\""), body.npos) << body;
}
TEST(Api, OverviewHasTimersPoolAndSitesOverTime) {
  office running;
  auto s = serve("127.0.0.1:0");
  std::string body;
  for (auto const end = now() + longest_wait; now() < end;) {
    body = get(s.port(), "/debug/leash/api/overview").body;
    if (values(body, "at").size() != 0 && body.find("\"history\":{\"at\":[]") == body.npos) break;
  }
  auto sum = [&](const char* key) {
    std::size_t n = 0;
    for (auto& v : values(body, key))
      if (!v.starts_with('[')) n += std::stoul(v);  // a runtime's, not the history's
    return n;
  };
  EXPECT_GT(sum("timers"), 1u) << body;
  EXPECT_EQ(sum("workers"), 2u) << body;
  for (const char* key : {"pool_threads", "pool_busy", "pool_queued", "sleeping", "in_flight"})
    EXPECT_NE(body.find("\"" + std::string(key) + "\":"), body.npos) << key;
  EXPECT_NE(body.find("office.cpp\",\"line\":"), body.npos);
  EXPECT_NE(body.find("},\"counts\":["), body.npos) << body;
}
TEST(Api, GoroutinesAreFilteredAndPaged) {
  scene running(120);
  auto s = serve("127.0.0.1:0");
  auto ask = [&](const std::string& q) { return get(s.port(), "/debug/leash/api/goroutines?" + q).body; };
  auto matching = [&](const std::string& q) { return values(ask(q), "matching").at(0); };
  EXPECT_EQ(matching(""), std::to_string(num_goroutines()));
  EXPECT_EQ(matching("state=sleep"), "2");
  EXPECT_EQ(matching("state=waiting"), std::to_string(num_goroutines()));
  EXPECT_EQ(matching("q=idler"), "120");
  EXPECT_EQ(matching("q=team%3Dtalkers"), "2");
  EXPECT_EQ(matching("label=team"), "2");
  EXPECT_EQ(matching("label=team%3Dtalkers"), "2");
  EXPECT_EQ(matching("label=team%3Dothers"), "0");
  EXPECT_EQ(matching("label=name%3Dalice"), "1");
  EXPECT_EQ(matching("state=sleep&q=idler"), "0");
  EXPECT_EQ(matching("site=client.cpp"), std::to_string(num_goroutines()));
  EXPECT_EQ(matching("site=nowhere.cpp"), "0");
  EXPECT_EQ(matching("scope=client.cpp"), std::to_string(num_goroutines() - 1));
  EXPECT_EQ(matching("scope=nowhere.cpp"), "0");
  EXPECT_EQ(matching("min_age=3600"), "0");
  EXPECT_EQ(matching("leaked=1"), "3");
  std::set<std::string> seen;
  for (int offset = 0; offset < 120; offset += 50)
    for (auto& id : values(ask("q=idler&limit=50&offset=" + std::to_string(offset)), "id"))
      EXPECT_TRUE(seen.insert(id).second);
  EXPECT_EQ(seen.size(), 120u);
  EXPECT_EQ(values(ask("q=idler&limit=0"), "id").size(), 0u);
  EXPECT_EQ(values(ask("limit=99999999999999999999&offset=-1"), "matching").at(0), std::to_string(num_goroutines()));
}
TEST(Api, LeaksComeWithReasonAndPicture) {
  scene running;
  auto s = serve("127.0.0.1:0");
  std::string const body = get(s.port(), "/debug/leash/api/leaks").body;
  EXPECT_EQ(values(body, "total").at(0), "3");
  EXPECT_EQ(values(body, "core").at(0), "2");
  EXPECT_NE(body.find("waits for the channel made at"), body.npos);
  auto const roles = values(body, "role");
  EXPECT_EQ(roles, (std::vector<std::string>{"\"core\"", "\"core\"", "\"dependent\""}));
  EXPECT_NE(values(body, "dot").at(0).find("digraph"), std::string::npos);
  EXPECT_NE(body.find("\"knots\":1,\"kinds\":[{\"knots\":1,\"goroutines\":2,\"members\":[{\"count\":1,"), body.npos)
      << body;
  std::string const id = values(body, "id").at(0);
  std::string const knot = get(s.port(), "/debug/leash/api/knot?id=" + id).body;
  EXPECT_EQ(values(knot, "id").at(0), id);
  EXPECT_NE(knot.find("\"members\":2,\"dependents\":1,"), knot.npos) << knot;
  EXPECT_EQ(values(knot, "role"), roles);
  auto const svg = values(knot, "svg");
  ASSERT_EQ(svg.size(), 1u);
  EXPECT_NE(svg[0].find("alice"), std::string::npos);
  EXPECT_NE(svg[0].find("talk"), std::string::npos) << "who waits for the knot is shown too";
  for (const char* wrong : {"0", "999999999", "", "x", "-1", "18446744073709551615"})
    EXPECT_EQ(get(s.port(), "/debug/leash/api/knot?id=" + std::string(wrong)).status, 404) << wrong;
  if (!have("xmllint") || !have("node")) return;
  folder files;
  std::string const all = files.write("knot", knot);
  auto [text, code] = shell("node -e 'process.stdout.write(JSON.parse(require(\"fs\").readFileSync(0)).svg)' < " + all +
                            " | xmllint --noout -");
  EXPECT_EQ(code, 0) << text;
}
TEST(Api, KnotsThatAreAlikeAreOneKind) {
  office running;
  auto s = serve("127.0.0.1:0");
  std::string const body = get(s.port(), "/debug/leash/api/leaks").body;
  EXPECT_EQ(values(body, "knots"), (std::vector<std::string>{"4", "3", "1"})) << body;  // in all, then of each kind
  std::regex const ids("\"ids\":\\[(\\d+),(\\d+),(\\d+)\\]");
  std::smatch found;
  ASSERT_TRUE(std::regex_search(body, found, ids)) << body;
  std::set<std::string> pictures;
  for (std::size_t i = 1; i <= 3; ++i) {
    std::string const knot = get(s.port(), "/debug/leash/api/knot?id=" + found[i].str()).body;
    EXPECT_NE(knot.find("\"members\":2,"), knot.npos) << knot;
    pictures.insert(values(knot, "svg").at(0));
  }
  EXPECT_EQ(pictures.size(), 3u) << "each has its own";
}
TEST(Api, FlameIsATreeOfWaits) {
  scene running(7);
  auto s = serve("127.0.0.1:0");
  std::string const body = get(s.port(), "/debug/leash/api/flame").body;
  EXPECT_EQ(values(body, "total").at(0), std::to_string(num_goroutines())) << body;
  EXPECT_NE(body.find("{\"kind\":\"state\",\"value\":7,\"count\":7,\"name\":\"chan receive\",\"children\":[]}"),
            body.npos)
      << body;
  EXPECT_EQ(body.find("/leash/channel.hpp"), body.npos) << "the library's own frames are left out";
  std::string const some = get(s.port(), "/debug/leash/api/flame?state=sleep").body;
  EXPECT_EQ(values(some, "total").at(0), "2") << some;
  EXPECT_EQ(some.find("\"name\":\"chan receive\""), some.npos) << some;
  EXPECT_EQ(values(get(s.port(), "/debug/leash/api/flame?by=time").body, "by").at(0), "\"time\"");
}
TEST(Api, WithoutLeaksThereAreNone) {
  auto s = serve("127.0.0.1:0");
  std::string const body = get(s.port(), "/debug/leash/api/leaks").body;
  EXPECT_EQ(values(body, "total").at(0), "0");
  EXPECT_EQ(values(body, "svg").size(), 0u);
}
TEST(Api, ScopesAreATree) {
  scene running(10);
  auto s = serve("127.0.0.1:0");
  std::string const body = get(s.port(), "/debug/leash/api/scopes").body;
  EXPECT_EQ(values(body, "total").at(0), "3") << body;
  EXPECT_EQ(values(body, "goroutines").at(0), std::to_string(num_goroutines()));
  // The run itself, the scope of stand() below it, that of talk() below that.
  EXPECT_EQ(values(body, "members"), (std::vector<std::string>{"1", "13", "2"})) << body;
  EXPECT_EQ(values(body, "below"), (std::vector<std::string>{"15", "2", "0"})) << body;
}
TEST(Api, ScopesThatAreAlikeAreOneNode) {
  auto s = serve("127.0.0.1:0");
  run([&]() -> task<> {
    auto [tx, rx] = channel<int>();
    co_await with_scope([&](scope& all) -> task<> {
      for (int i = 0; i < 50; ++i)
        all.go(named("outer"), [&]() -> task<> {
          co_await with_scope([&](scope& inner) -> task<> {
            for (int k = 0; k < 3; ++k) inner.go(named("inner"), [&]() -> task<> { (void)co_await rx.recv(); });
            co_return;
          });
        });
      co_await parked("inner", "chan receive", 150);
      std::string const body = (co_await blocking([&] { return get(s.port(), "/debug/leash/api/scopes"); })).body;
      EXPECT_EQ(values(body, "scopes"), (std::vector<std::string>{"1", "1", "50"})) << body;
      EXPECT_EQ(values(body, "members"), (std::vector<std::string>{"1", "50", "150"})) << body;
      all.cancel("seen");
    });
  });
}
TEST(Api, GrowthSeesASiteThatGrows) {
  auto s = serve("127.0.0.1:0");
  std::thread program([&] {
    run([&]() -> task<> {
      auto [tx, rx] = channel<int>();
      co_await with_scope([&](scope& sc) -> task<> {
        auto grown = [&] {
          auto const all = values(get(s.port(), "/debug/leash/api/growth").body, "per_minute");
          return !all.empty() && std::stod(all[0]) > 10;
        };
        for (const auto end = now() + longest_wait; now() < end;) {
          for (int i = 0; i < 20; ++i) sc.go([&]() -> task<> { (void)co_await rx.recv(); });
          if (co_await blocking(grown)) break;
          co_await sleep(200ms);
        }
        EXPECT_TRUE(grown());
        sc.cancel("seen");
      });
    });
  });
  program.join();
}
TEST(Api, SuspectsAreListed) {
  scene running;
  auto s = serve("127.0.0.1:0");
  EXPECT_NE(values(get(s.port(), "/debug/leash/api/suspects").body, "total").at(0), "missing");
}

}  // namespace leash::test::api_tests
