// Profiles in Go's forms: read by a reader of our own, and by Go's.
#include <protozero/pbf_reader.hpp>
#include <regex>

#include "client.hpp"

namespace leash::test::pprof_tests {

using debug::serve;

struct sample {
  std::uint64_t count = 0;
  std::vector<std::string> stack;  // functions, innermost first
  std::vector<std::string> places;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::pair<std::int64_t, std::string>> numbers;
};
struct decoded {
  std::vector<std::pair<std::string, std::string>> types;
  std::pair<std::string, std::string> period_type;
  std::int64_t period = 0, time = 0;
  std::vector<std::uint64_t> location_ids, function_ids;
  std::vector<std::string> texts;
  std::vector<sample> samples;
  std::string program;
  std::uint64_t mapped = 0, addresses = 0;  // locations in it; the sum of what its mapping says

  const sample* with(std::string_view key, std::string_view value) const {
    for (auto& s : samples)
      if (auto it = s.labels.find(std::string(key)); it != s.labels.end() && it->second == value) return &s;
    return nullptr;
  }
  std::uint64_t total() const {
    std::uint64_t n = 0;
    for (auto& s : samples) n += s.count;
    return n;
  }
};

decoded decode(const std::string& gz) {
  std::string const raw = gunzip(gz);
  decoded d;
  using protozero::pbf_reader;
  for (pbf_reader r(raw); r.next(6);) d.texts.push_back(r.get_string());
  auto text = [&](std::int64_t i) { return d.texts.at(static_cast<std::size_t>(i)); };
  auto type = [&](pbf_reader r) {
    std::pair<std::string, std::string> t;
    while (r.next()) (r.tag() == 1 ? t.first : t.second) = text(r.get_int64());
    return t;
  };
  struct function {
    std::string name, file;
  };
  std::map<std::uint64_t, function> functions;
  std::map<std::uint64_t, std::pair<std::uint64_t, std::int64_t>> locations;
  for (pbf_reader r(raw); r.next();) {
    switch (r.tag()) {
      case 1:
        d.types.push_back(type(r.get_message()));
        break;
      case 3:
        for (pbf_reader m = r.get_message(); m.next();) {
          std::uint64_t const v = m.get_uint64();
          if (m.tag() == 5) d.program = text(static_cast<std::int64_t>(v));
          if (m.tag() >= 2 && m.tag() <= 4) d.addresses += v;
        }
        break;
      case 4: {
        std::uint64_t id = 0, fn = 0;
        std::int64_t line = 0;
        for (pbf_reader l = r.get_message(); l.next();) {
          if (l.tag() == 1) {
            id = l.get_uint64();
          } else if (l.tag() == 2) {
            d.mapped += l.get_uint64() == 1;
          } else {
            for (pbf_reader n = l.get_message(); n.next();)
              if (n.tag() == 1) {
                fn = n.get_uint64();
              } else {
                line = n.get_int64();
              }
          }
        }
        d.location_ids.push_back(id);
        locations[id] = {fn, line};
        break;
      }
      case 5: {
        std::uint64_t id = 0;
        function f;
        for (pbf_reader m = r.get_message(); m.next();) {
          if (m.tag() == 1) {
            id = m.get_uint64();
          } else {
            std::string const s = text(m.get_int64());
            if (m.tag() == 2) f.name = s;
            if (m.tag() == 4) f.file = s;
          }
        }
        d.function_ids.push_back(id);
        functions[id] = f;
        break;
      }
      case 9:
        d.time = r.get_int64();
        break;
      case 11:
        d.period_type = type(r.get_message());
        break;
      case 12:
        d.period = r.get_int64();
        break;
      default:
        r.skip();
    }
  }
  for (pbf_reader r(raw); r.next(2);) {
    sample s;
    for (pbf_reader m = r.get_message(); m.next();) {
      if (m.tag() == 1) {
        for (auto id : m.get_packed_uint64()) {
          auto [fn, line] = locations.at(id);
          s.stack.push_back(functions.at(fn).name);
          s.places.push_back(functions.at(fn).file + ":" + std::to_string(line));
        }
      } else if (m.tag() == 2) {
        for (auto n : m.get_packed_int64()) s.count += static_cast<std::uint64_t>(n);
      } else {
        std::string key, str, unit;
        std::int64_t num = 0;
        for (pbf_reader l = m.get_message(); l.next();) {
          std::int64_t const v = l.get_int64();
          if (l.tag() == 1) key = text(v);
          if (l.tag() == 2) str = text(v);
          if (l.tag() == 3) num = v;
          if (l.tag() == 4) unit = text(v);
        }
        if (unit.empty()) {
          s.labels[key] = str;
        } else {
          s.numbers[key] = {num, unit};
        }
      }
    }
    d.samples.push_back(std::move(s));
  }
  return d;
}

TEST(Protobuf, SaysWhatGoSaysAndWhereGoroutinesStand) {
  scene running(5);
  auto s = serve("127.0.0.1:0");
  response const r = get(s.port(), "/debug/pprof/goroutine");
  EXPECT_EQ(r.headers.at("content-type"), "application/octet-stream");
  EXPECT_EQ(r.headers.at("content-disposition"), "attachment; filename=\"goroutine\"");
  decoded const d = decode(r.body);
  using kind = std::pair<std::string, std::string>;
  EXPECT_EQ(d.types, std::vector<kind>{kind("goroutine", "count")});
  EXPECT_EQ(d.period_type, kind("goroutine", "count"));
  EXPECT_EQ(d.period, 1);
  EXPECT_GT(d.time, 1'600'000'000'000'000'000);
  ASSERT_FALSE(d.texts.empty());
  EXPECT_EQ(d.texts[0], "");
  for (std::size_t i = 0; i < d.location_ids.size(); ++i) EXPECT_EQ(d.location_ids[i], i + 1);
  for (std::size_t i = 0; i < d.function_ids.size(); ++i) EXPECT_EQ(d.function_ids[i], i + 1);
  EXPECT_EQ(d.total(), num_goroutines());
  EXPECT_EQ(d.program, "test_debug");
  EXPECT_EQ(d.mapped, d.location_ids.size());
  EXPECT_EQ(d.addresses, 0u) << "it says where nothing lies";

  const sample* idlers = d.with("name", "idler");
  ASSERT_NE(idlers, nullptr);
  EXPECT_EQ(idlers->count, 5u);
  EXPECT_EQ(idlers->labels.at("state"), "chan receive");
  EXPECT_NE(idlers->labels.at("site").find("client.cpp:"), std::string::npos);
  ASSERT_GE(idlers->stack.size(), 2u) << "from the wait to the line that started it";
  EXPECT_EQ(idlers->stack.front(), "leash::test::receive");
  EXPECT_EQ(idlers->labels.at("site"), idlers->places.back());
  const sample* alice = d.with("name", "alice");
  ASSERT_NE(alice, nullptr);
  EXPECT_EQ(alice->labels.at("team"), "talkers");
  EXPECT_EQ(alice->count, 1u);
}
TEST(Protobuf, LeaksAreThoseThatAreProved) {
  scene running;
  auto s = serve("127.0.0.1:0");
  decoded const d = decode(get(s.port(), "/debug/pprof/goroutineleak").body);
  using kind = std::pair<std::string, std::string>;
  EXPECT_EQ(d.types, std::vector<kind>{kind("goroutineleak", "count")});
  EXPECT_EQ(d.total(), 3u);
  EXPECT_NE(d.with("name", "alice"), nullptr);
  EXPECT_NE(d.with("name", "bob"), nullptr);
  EXPECT_NE(d.with("name", "talk"), nullptr);
  EXPECT_EQ(d.with("name", "idler"), nullptr);
}
TEST(Protobuf, LongWaitsAreKeptApartByPowersOfTwo) {
  scene running(4);
  for (auto const end = std::chrono::steady_clock::now() + longest_wait; std::chrono::steady_clock::now() < end;) {
    auto const all = goroutines();
    bool const old = std::all_of(all.begin(), all.end(), [](auto& g) { return g.wait.empty() || g.waited >= 2s; });
    if (old) break;
    std::this_thread::sleep_for(50ms);
  }
  auto s = serve("127.0.0.1:0");
  decoded const d = decode(get(s.port(), "/debug/pprof/goroutine").body);
  const sample* idlers = d.with("name", "idler");
  ASSERT_NE(idlers, nullptr);
  EXPECT_GE(idlers->numbers.at("wait").first, 2);
  EXPECT_EQ(idlers->numbers.at("wait").second, "seconds");
}
TEST(Protobuf, TextsThatAreNoUtf8AreMadeSo) {
  std::thread program([] {
    run([]() -> task<> {
      label const l("odd", "a\xff\xc3(");
      auto s = serve("127.0.0.1:0");
      std::string body;
      co_await blocking([&] { body = get(s.port(), "/debug/pprof/goroutine").body; });
      const decoded d = decode(body);
      EXPECT_NE(d.with("odd", "a\xEF\xBF\xBD\xEF\xBF\xBD("), nullptr);
    });
  });
  program.join();
}
// Memory must not follow what the program does: so many labels are not kept apart.
TEST(Protobuf, WithoutBoundDifferentLabelsAreCountedTogether) {
  constexpr std::size_t many = 60'000;
  std::thread program([] {
    run([]() -> task<> {
      auto [tx, rx] = channel<int>();
      co_await with_scope([&](scope& s) -> task<> {
        for (std::size_t i = 0; i < many; ++i) {
          s.go(named("n" + std::to_string(i)), [&]() -> task<> { (void)co_await rx.recv(); });
        }
        co_await parked("n59999", "chan receive");
        auto served = serve("127.0.0.1:0");
        std::string body;
        co_await blocking([&] { body = get(served.port(), "/debug/pprof/goroutine").body; });
        const decoded d = decode(body);
        EXPECT_EQ(d.total(), num_goroutines());
        EXPECT_LT(d.samples.size(), many - 1000);
        EXPECT_GT(d.samples.size(), 1000u);
        s.cancel("seen");
      });
    });
  });
  program.join();
}

TEST(Counts, HaveGosForm) {
  scene running(3);
  auto s = serve("127.0.0.1:0");
  response const r = get(s.port(), "/debug/pprof/goroutine?debug=1");
  EXPECT_EQ(r.headers.at("content-type"), "text/plain; charset=utf-8");
  std::istringstream in(r.body);
  std::string line;
  std::getline(in, line);
  EXPECT_EQ(line, "goroutine profile: total " + std::to_string(num_goroutines()));
  std::regex const count("[0-9]+ @( 0x[0-9a-f]+)+"), labels("# labels: \\{\".*\"\\}"),
      frame("#\t0x[0-9a-f]+\t[^\t]+\\+0x0\t[^\t]+:[0-9]+");
  std::size_t total = 0, addresses = 0, frames = 0;
  while (std::getline(in, line)) {
    if (line.empty()) {
      EXPECT_EQ(addresses, frames);
    } else if (std::regex_match(line, count)) {
      total += std::stoul(line);
      addresses = static_cast<std::size_t>(std::count(line.begin(), line.end(), 'x'));
      frames = 0;
    } else if (std::regex_match(line, frame)) {
      ++frames;
    } else {
      EXPECT_TRUE(std::regex_match(line, labels)) << line;
    }
  }
  EXPECT_EQ(total, num_goroutines());
  EXPECT_NE(r.body.find("3 @ "), r.body.npos);
  EXPECT_NE(r.body.find("# labels: {\"name\":\"alice\", \"team\":\"talkers\", \"state\":\"chan receive\"}"),
            r.body.npos)
      << r.body;
  EXPECT_TRUE(get(s.port(), "/debug/pprof/goroutineleak?debug=1").body.starts_with("goroutineleak profile: total 3\n"));
}

TEST(Dump, HasGosForm) {
  scene running(3);
  auto s = serve("127.0.0.1:0");
  std::string const body = get(s.port(), "/debug/pprof/goroutineleak?debug=2").body;
  std::regex const header(
      "goroutine [1-9][0-9]* \\[[a-zA-Z. ]+( \\(leaked\\))?(, [0-9]+ minutes)?( labels:\\{\".*\"\\})?\\]:"),
      function("[^\t ].*\\(\\.\\.\\.\\)"), place("\t[^ ]+:[0-9]+ \\+0x0"),
      created("created by [^ ].*?( in goroutine [1-9][0-9]*)?");
  std::istringstream in(body);
  std::size_t n = 0;
  for (std::string line; std::getline(in, line);) {
    EXPECT_TRUE(std::regex_match(line, header)) << line;
    ++n;
    bool ended = false;
    while (std::getline(in, line) && !line.empty()) {
      EXPECT_FALSE(ended);
      ended = std::regex_match(line, created);
      EXPECT_TRUE(ended || std::regex_match(line, function)) << line;
      ASSERT_TRUE(std::getline(in, line));
      EXPECT_TRUE(std::regex_match(line, place)) << line;
    }
    EXPECT_TRUE(ended);
  }
  EXPECT_EQ(n, num_goroutines());
  EXPECT_NE(
      body.find(
          "[chan receive (leaked) labels:{\"name\": \"alice\", \"team\": \"talkers\"}]:\nleash::test::relay(...)\n"),
      body.npos)
      << body;
  EXPECT_NE(body.find("[scope join (leaked) labels:{\"name\": \"talk\"}]:"), body.npos);
  EXPECT_NE(body.find("[chan receive labels:{\"name\": \"idler\"}]:"), body.npos);
  EXPECT_NE(body.find("[sync.Mutex.Lock labels:{\"name\": \"locker\"}]:"), body.npos);
}
TEST(Dump, IsStreamed) {
  scene running(30'000);
  auto s = serve("127.0.0.1:0");
  response const r = get(s.port(), "/debug/pprof/goroutine?debug=2");
  EXPECT_TRUE(r.whole);
  EXPECT_EQ(r.headers.at("transfer-encoding"), "chunked");
  std::size_t n = 0;
  for (std::size_t at = r.body.find("goroutine "); at != r.body.npos; at = r.body.find("\n\ngoroutine ", at + 1)) ++n;
  EXPECT_EQ(n, num_goroutines());
}

TEST(GoTool, ReadsTheProfiles) {
  if (!have("go")) GTEST_SKIP() << "skipped: go is not installed";
  // Newer ones build the tool when it is first used.
  if (shell("timeout 90 go tool -n pprof").second != 0)
    GTEST_SKIP() << "skipped: this go has no pprof, or builds it for too long";
  scene running(5);
  auto s = serve("127.0.0.1:0");
  folder files;
  for (std::string kind : {"goroutine", "goroutineleak"}) {
    std::string const file = files.write(kind, get(s.port(), "/debug/pprof/" + kind).body);
    for (std::string form : {"-top", "-traces", "-raw", "-tags"}) {
      auto [text, code] = shell("go tool pprof " + form + " " + file);
      EXPECT_EQ(code, 0) << text;
      EXPECT_NE(text.find(form == "-tags" ? "alice" : "relay"), text.npos) << form << "\n" << text;
      EXPECT_EQ(text.find("File: test_debug\n") != text.npos, form == "-top" || form == "-traces") << text;
    }
  }
  auto [diff, diff_code] =
      shell("go tool pprof -top -base " + files.file("goroutineleak") + " " + files.file("goroutine"));
  EXPECT_NE(diff_code, 0) << "they are of different types" << diff;
  std::tie(diff, diff_code) =
      shell("go tool pprof -top -base " + files.file("goroutine") + " " + files.file("goroutine"));
  EXPECT_EQ(diff_code, 0) << diff;
  EXPECT_EQ(diff.find("not available"), diff.npos) << diff;
  auto [top, code] = shell("go tool pprof -top -tagfocus='state=chan receive' " + files.file("goroutine"));
  EXPECT_NE(top.find("leash::test::receive"), top.npos) << top;
  EXPECT_EQ(top.find("sleep"), top.npos) << top;
  auto [fetched, fetched_code] = shell(
      "cd " + files.file("") + " && PPROF_TMPDIR=. go tool pprof -top http://localhost:" + std::to_string(s.port()) +
      "/debug/pprof/goroutine");
  EXPECT_EQ(fetched_code, 0) << fetched;
  EXPECT_NE(fetched.find("relay"), fetched.npos) << fetched;
  // debug=1 is a form that the tool reads too.
  auto [counts, counts_code] =
      shell("go tool pprof -top " + files.write("counts", get(s.port(), "/debug/pprof/goroutine?debug=1").body));
  EXPECT_EQ(counts_code, 0) << counts;
}

}  // namespace leash::test::pprof_tests
