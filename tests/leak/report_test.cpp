// How a report is told: in an order that does not depend on memory, as text, JSON, graph and picture.
#include <algorithm>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "kernel.hpp"
#include "leak/picture.hpp"

namespace leash::test::report_tests {

std::vector<std::uint64_t> ids_in_memory_order() {
  std::ostringstream out;
  dump(out);
  std::istringstream in(out.str());
  std::vector<std::uint64_t> all;
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("goroutine ")) all.push_back(std::stoull(line.substr(10)));
  return all;
}

/// Starts goroutines whose slots come back in an order of their own, so that later ones lie anywhere in memory.
task<> scramble_memory() {
  co_await with_scope([](scope& s) -> task<> {
    std::vector<sender<int>> ends;
    for (int i = 0; i < 64; ++i) {
      auto [tx, rx] = channel<int>();
      ends.push_back(std::move(tx));
      s.go([](receiver<int> rx) -> task<> { (void)co_await rx.recv(); }, std::move(rx));
    }
    co_await yield();
    for (std::size_t i = 0; i < ends.size(); ++i) {
      ends[i * 13 % ends.size()].drop();
      co_await yield();
    }
  });
}

/// Two knots whose members are started in turn, and two that wait for them.
void plant(scope& s) {
  auto wait = [](receiver<int> rx, sender<int>) -> task<> { (void)co_await rx.recv(); };
  auto wait_only = [](receiver<int> rx) -> task<> { (void)co_await rx.recv(); };
  auto [a, from_a] = channel<int>();
  auto [b, from_b] = channel<int>();
  auto [c, from_c] = channel<int>();
  auto [d, from_d] = channel<int>();
  s.go(named("waits for d"), wait_only, from_d.dup());
  s.go(named("first a"), wait, std::move(from_a), std::move(b));
  s.go(named("second c"), wait, std::move(from_c), std::move(d));
  s.go(named("first b"), wait, from_b.dup(), std::move(a));
  s.go(named("second d"), wait, std::move(from_d), std::move(c));
  s.go(named("waits for b"), wait_only, std::move(from_b));
}
const std::vector<std::string> planted_order = {"first a",  "first b",     "second c",
                                                "second d", "waits for d", "waits for b"};

/// What it takes to find the names in order: where each stands in the text.
std::vector<std::string> sorted_by_place(const std::string& text, std::vector<std::string> names) {
  std::sort(names.begin(), names.end(), [&](auto& a, auto& b) { return text.find(a) < text.find(b); });
  return names;
}

TEST(Report, TellsKnotsAndMembersByTheirIdsWhereverTheyLie) {
  auto body = []() -> task<> {
    co_await scramble_memory();
    co_await with_scope([](scope& s) -> task<> {
      plant(s);
      for (int i = 0; i < 10; ++i) co_await yield();
      auto const memory = ids_in_memory_order();
      EXPECT_FALSE(std::is_sorted(memory.begin(), memory.end())) << "the test shows nothing";
      auto const r = find_leaks();
      CO_ASSERT_EQ(r.size(), planted_order.size());
      std::vector<std::string> names;
      for (const leak& l : r) names.push_back(l.who.name);
      EXPECT_EQ(names, planted_order);
      // Each is named at the head of its own entry.
      std::vector<std::string> heads, at;
      for (const leak& l : r) {
        heads.push_back((l.role == leak_role::core ? "\ncore, proven: goroutine " : "\ndependent, proven: goroutine ") +
                        std::to_string(l.who.id) + " (");
        at.push_back("\"id\": " + std::to_string(l.who.id) + ",");
      }
      EXPECT_EQ(sorted_by_place(text(r), heads), heads);
      EXPECT_EQ(sorted_by_place(r.to_json(), at), at);
      std::vector<std::string> boxes;
      for (const leak& l : r) boxes.push_back("  g" + std::to_string(l.who.id) + " [label");
      EXPECT_EQ(sorted_by_place(r.to_dot(), boxes), boxes);
      s.cancel();
    });
  };
  for (std::uint64_t seed = 1; seed <= seeds; ++seed)
    testing::simulate(seed, with_workers(1, leaks::are_expected), body);
}

// Made for the user by the library: the place is the user's line all the same.
LEASH_TEST_OF_LEAKS(Report, NamesTheLineThatMadeWhatLiesInASharedObject) {
  auto const line = std::source_location::current().line();
  auto m = share<mutex>();
  auto rw = share<shared_mutex>();
  auto permits = share<semaphore>(1);
  auto value = share<guarded<std::string>>(3u, 'x');
  tracked_box<event> boxed(std::in_place);
  guarded<int> here(7);
  std::vector<std::string> const kinds{"mutex", "shared_mutex", "semaphore", "mutex", "event", "mutex"};
  co_await with_scope([&](scope& s) -> task<> {
    // Each holds what it waits for.
    s.go([](shared<mutex> m) -> task<> { auto a = co_await m->lock(), b = co_await m->lock(); }, std::move(m));
    s.go([](shared<shared_mutex> m) -> task<> { auto a = co_await m->lock(), b = co_await m->lock(); }, std::move(rw));
    s.go([](shared<semaphore> p) -> task<> { auto a = co_await p->acquire(), b = co_await p->acquire(); },
         std::move(permits));
    s.go([](shared<guarded<std::string>> g) -> task<> { auto a = co_await g->lock(), b = co_await g->lock(); },
         std::move(value));
    s.go([](tracked_box<event> e) -> task<> { co_await e->wait(); }, std::move(boxed));
    s.go([](guarded<int>& g) -> task<> { auto a = co_await g.lock(), b = co_await g.lock(); }, std::ref(here));
    for (int i = 0; i < 100 && find_leaks().size() < kinds.size(); ++i) co_await sleep(1ms);
    leak_report r = find_leaks();
    EXPECT_EQ(r.size(), kinds.size()) << text(r);
    std::size_t i = 0;
    for (const leak& l : r) {
      std::string const made = kinds[i] + " made at " + __FILE__ + ":" + std::to_string(line + 1 + i);
      EXPECT_NE(l.why.find(made), std::string::npos) << made << " is not in: " << l.why;
      ++i;
    }
    s.cancel();
  });
}
TEST(Report, OfTwoRunsOfASeedIsTheSameToTheLetter) {
  auto told = [](bool scrambled) {
    std::string all;
    testing::simulate(7, with_workers(1, leaks::are_expected), [&]() -> task<> {
      if (scrambled) {
        std::vector<std::unique_ptr<cancel_source>> noise;  // other memory, the same ids
        for (int i = 0; i < 100; ++i) noise.push_back(std::make_unique<cancel_source>());
      }
      co_await with_scope([&](scope& s) -> task<> {
        plant(s);
        for (int i = 0; i < 10; ++i) co_await yield();
        auto const r = find_leaks();
        all = text(r) + r.to_json() + r.to_dot() + r.to_svg();
        s.cancel();
      });
    });
    return all;
  };
  std::string const first = told(false);
  EXPECT_NE(first.find("second d"), std::string::npos);
  run_at(1, scramble_memory);
  EXPECT_EQ(told(true), first);
  EXPECT_EQ(told(false), first);
}

LEASH_TEST_OF_LEAKS(Report, TellsManyHoldersByTheirIds) {
  co_await scramble_memory();
  co_await with_scope([](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    for (int i = 0; i < 5; ++i)
      s.go(named("holder " + std::to_string(i)), receive_holding<sender<int>>, rx.dup(), tx.dup());
    rx.drop(), tx.drop();
    for (int i = 0; i < 5; ++i) co_await parked("holder " + std::to_string(i), "chan receive");
    auto const r = find_leaks();
    CO_ASSERT_EQ(r.size(), 5u);
    for (const leak& l : r) {
      std::size_t last = 0;
      for (int i = 0; i < 5; ++i) {
        std::string const name = "holder " + std::to_string(i);
        if (name == l.who.name) continue;
        std::size_t const at = l.why.find(name);
        EXPECT_NE(at, std::string::npos) << l.why;
        EXPECT_GT(at, last) << l.why;
        last = at;
      }
    }
    s.cancel();
  });
}

TEST(Report, TellsHowLongEachHasWaited) {
  testing::simulate(1, with_workers(1, leaks::are_expected), []() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      auto [tx, rx] = channel<int>();
      s.go(named("old"), receive_holding<sender<int>>, std::move(rx), std::move(tx));
      co_await sleep(59s);
      auto const young = find_leaks();
      CO_ASSERT_EQ(young.size(), 1u);
      EXPECT_EQ(text(young).find("minutes"), std::string::npos) << text(young);
      EXPECT_NE(young.to_json().find("\"since_ms\": 59000,"), std::string::npos) << young.to_json();
      co_await sleep(5min);
      auto const r = find_leaks();
      EXPECT_NE(text(r).find("[chan receive (leaked), 5 minutes]"), std::string::npos) << text(r);
      EXPECT_NE(r.to_json().find("\"since_ms\": 359000,"), std::string::npos) << r.to_json();
      EXPECT_NE(r.to_dot().find("(old)\\nchan receive, 5 minutes\\n"), std::string::npos) << r.to_dot();
      EXPECT_NE(r.to_svg().find("chan receive, 5 minutes<"), std::string::npos) << r.to_svg();
      // The pictures have the rest where one points: the verdict, the async stack, the line that started it.
      for (const std::string& picture : {r.to_dot(), r.to_svg()})
        for (const char* what : {"core, proven: goroutine 2 (old) waits for", "receive_holding",
                                 "created by goroutine 1", "report_test.cpp:"})
          EXPECT_NE(picture.find(what), std::string::npos) << what << " is not in\n" << picture;
      s.cancel();
    });
  });
}

// What a name or a label holds comes from anywhere: it neither breaks a line nor moves the terminal's cursor, and the formats
// stay what they are.
LEASH_TEST_OF_LEAKS(Report, ShowsNamesAndLabelsInOneLineEach) {
  std::string const name = "a\n\"b\\ &lt; \x1b[2J\xff", shown = "a\\n\"b\\ &lt; \\x1b[2J\\xff";
  std::string const key = "k\r\n", value = std::string(100'000, 'v') + "\n";
  co_await with_scope([&](scope& s) -> task<> {
    for (std::string const& n : {std::string("plain"), name}) {
      auto [tx, rx] = channel<int>();
      std::optional<label> l;
      n == name ? l.emplace(key, value) : l.emplace("key", "value");
      s.go(named(n), receive_holding<sender<int>>, std::move(rx), std::move(tx));
    }
    co_await parked("", "chan receive", 2);
    auto const r = find_leaks();
    CO_ASSERT_EQ(r.size(), 2u);
    EXPECT_EQ(r[1].who.name, name) << "programs see it as it is";
    std::string const told = text(r);
    EXPECT_TRUE(std::none_of(told.begin(), told.end(), [](char c) {
      return c != '\n' && c != '\t' && (c == '\x7f' || static_cast<unsigned char>(c) < 0x20);
    })) << told;
    std::size_t const second = told.find("\ncore, ", told.find("\ncore, ") + 1);
    CO_ASSERT_TRUE(second != told.npos);
    auto lines = [](std::string_view s) { return std::count(s.begin(), s.end(), '\n'); };
    // The first has the line with the number of leaks, too, and the empty one between them.
    EXPECT_EQ(lines(told.substr(0, second)), lines(told.substr(second)) + 1) << told;
    EXPECT_NE(told.find("(" + shown + ")"), told.npos) << told;
    EXPECT_NE(told.find("{name: " + shown + ", k\\r\\n: vvv"), told.npos) << told;
    EXPECT_NE(told.find("vvv...}"), told.npos) << told;
    EXPECT_LT(told.size(), 10'000u);

    std::string const json = r.to_json();
    EXPECT_NE(json.find("\"name\": \"a\\n\\\"b\\\\ &lt; \\u001b[2J\xEF\xBF\xBD\""), json.npos) << json.substr(0, 2000);
    EXPECT_NE(json.find("\"k\\r\\n\": \"vvv"), json.npos);
    EXPECT_NE(json.find(std::string(4096, 'v') + "\"}"), json.npos) << "more than a line of it";
    std::string const dot = r.to_dot();
    EXPECT_NE(dot.find("label=\"goroutine " + std::to_string(r[1].who.id) +
                       " (a\\\\n\\\"b\\\\ &amp;lt; \\\\x1b[2J\\\\xff)\\nchan receive"),
              dot.npos)
        << dot;
    EXPECT_NE(dot.find(" (a\\\\\\\\n\\\"b\\\\\\\\ &amp;lt;"), dot.npos) << "a tooltip loses two: " << dot;
    s.cancel();
  });
}

// ---- the picture
// -----------------------------------------------------------------------------------------------------

/// Enough of an XML parser to refuse what is not well-formed: tags that nest, quoted attributes, known entities,
/// characters that XML has. Collects the text.
struct xml {
  std::string_view s;
  std::size_t at = 0;
  std::string text, error;
  std::map<std::string, int> elements;

  explicit xml(std::string_view all) : s(all) {
    if (!valid_characters()) error = "a character that XML does not have";
    if (error.empty()) element();
    while (at < s.size() && std::isspace(static_cast<unsigned char>(s[at]))) ++at;
    if (error.empty() && at != s.size()) fail("something behind the root element");
  }
  bool valid_characters() const {
    for (std::size_t i = 0; i < s.size();) {
      unsigned const c = static_cast<unsigned char>(s[i]);
      std::size_t const n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;
      if (n == 0 || i + n > s.size() || (c < 0x20 && c != '\n' && c != '\t' && c != '\r')) return false;
      for (std::size_t k = 1; k < n; ++k)
        if ((static_cast<unsigned char>(s[i + k]) & 0xc0) != 0x80) return false;
      i += n;
    }
    return true;
  }
  void fail(std::string what) {
    if (error.empty()) error = std::move(what) + " at " + std::string(s.substr(at, 60));
    at = s.size();
  }
  bool takes(std::string_view what) {
    if (!s.substr(at).starts_with(what)) return false;
    at += what.size();
    return true;
  }
  std::string name() {
    std::size_t const from = at;
    while (at < s.size() && (std::isalnum(static_cast<unsigned char>(s[at])) || s[at] == '-' || s[at] == ':')) ++at;
    if (at == from) fail("no name");
    return std::string(s.substr(from, at - from));
  }
  void entity() {
    for (auto [spelled, c] : {std::pair{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}})
      if (takes(spelled)) {
        text += c;
        return;
      }
    fail("an unknown entity");
  }
  void element() {
    if (!takes("<")) return fail("no element");
    std::string const tag = name();
    ++elements[tag];
    for (;;) {
      bool space = false;
      while (takes(" ")) space = true;
      if (takes("/>")) return;
      if (takes(">")) break;
      if (!space) return fail("no space before an attribute");
      (void)name();
      if (!takes("=\"")) return fail("an attribute without a quoted value");
      while (at < s.size() && s[at] != '"') {
        if (s[at] == '<') return fail("< in an attribute");
        s[at] == '&' ? entity() : void(++at);
      }
      if (!takes("\"")) return fail("an attribute without an end");
    }
    while (at < s.size() && !s.substr(at).starts_with("</")) {
      if (s[at] == '<') {
        element();
      } else if (s[at] == '&') {
        entity();
      } else {
        text += s[at++];
      }
    }
    if (!takes("</" + tag + ">")) fail("<" + tag + "> is not closed");
    text += '\n';
  }
};

TEST(Picture, TheCheckerRefusesWhatIsNotWellFormed) {
  for (const char* good : {"<a/>", "<a b=\"c\">d<e/>&lt;</a>\n"}) EXPECT_EQ(xml(good).error, "") << good;
  for (const char* bad : {"<a>", "<a></b>", "<a b=c/>", "<a>&nbsp;</a>", "<a b=\"<\"/>", "<a/><b/>", "<a>\x01</a>",
                          "<a>\xff</a>", "<a>\xc3</a>", "a", "<a b=\"c\"d=\"e\"/>"})
    EXPECT_NE(xml(bad).error, "") << bad;
}

TEST(Picture, EscapesWhatIsMarkupOrNoCharacter) {
  EXPECT_EQ(xml_text("a<b>&\"c\" \xc3\xa9\xf0\x9f\xa6\x8a"), "a&lt;b&gt;&amp;&quot;c&quot; \xc3\xa9\xf0\x9f\xa6\x8a");
  // A control character, a byte alone, a character cut off, one spelled too long, half a surrogate pair, beyond the last.
  for (const char* bad : {"\x01", "\x80", "\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    std::string const shown = xml_text("<" + std::string(bad) + ">");
    EXPECT_EQ(xml("<a>" + shown + "</a>").error, "") << shown;
    EXPECT_NE(shown.find("\xef\xbf\xbd"), std::string::npos) << shown;
  }
}

LEASH_TEST_OF_LEAKS(Picture, NamesEachGoroutineAndObject) {
  co_await with_scope([](scope& s) -> task<> {
    plant(s);
    co_await parked("", "chan receive", 6);
    auto const r = find_leaks();
    CO_ASSERT_EQ(r.size(), 6u);
    std::string const svg = r.to_svg();
    xml const read(svg);
    EXPECT_EQ(read.error, "") << svg;
    for (const leak& l : r)
      EXPECT_NE(read.text.find("goroutine " + std::to_string(l.who.id) + " (" + l.who.name + ")\n"), std::string::npos)
          << svg;
    int channels = 0;
    for (std::size_t at = read.text.find("\nchannel\n"); at != std::string::npos;
         at = read.text.find("\nchannel\n", at + 1))
      ++channels;
    EXPECT_EQ(channels, 4) << svg;
    EXPECT_NE(read.text.find("report_test.cpp:"), std::string::npos);
    // 6 waits and 4 holders, and the legend's two.
    EXPECT_EQ(read.elements.at("path"), 6 + 4 + 2 + 2) << svg;
    EXPECT_NE(read.text.find("Leaked goroutines: 4 core, 2 dependent"), std::string::npos) << svg;
    s.cancel();
  });
}

LEASH_TEST_OF_LEAKS(Picture, OfNamesThatAreNoXmlIsWellFormed) {
  co_await with_scope([](scope& s) -> task<> {
    auto [tx, rx] = channel<int>();
    s.go(named("</text><script>\"\xff\x01 & \xe2\x82\xac"), receive_holding<sender<int>>, std::move(rx), std::move(tx));
    co_await parked("", "chan receive", 1);
    std::string const svg = find_leaks().to_svg();
    xml const read(svg);
    EXPECT_EQ(read.error, "") << svg;
    EXPECT_FALSE(read.elements.contains("script"));
    EXPECT_NE(read.text.find("(</text><script>\"\\xff\\x01 & \xe2\x82\xac)"), std::string::npos) << svg;
    s.cancel();
  });
}

TEST(Picture, OfNothingSaysSo) {
  std::string const svg = leak_report().to_svg();
  EXPECT_EQ(xml(svg).error, "") << svg;
  EXPECT_NE(svg.find("0 core, 0 dependent"), std::string::npos) << svg;
}

LEASH_TEST_OF_LEAKS(Picture, OfManyDrawsTheFirstAndSaysHowManyAreLeftOut) {
  co_await with_scope([](scope& s) -> task<> {
    for (int i = 0; i < 50; ++i) {
      auto [tx, rx] = channel<int>();
      s.go(named("alone"), receive_holding<sender<int>>, std::move(rx), std::move(tx));
    }
    co_await parked("alone", "chan receive", 50);
    std::string const svg = find_leaks().to_svg();
    xml const read(svg);
    EXPECT_EQ(read.error, "") << svg;
    EXPECT_NE(read.text.find("40 core, 0 dependent, and 10 more"), std::string::npos) << svg;
    EXPECT_EQ(read.elements.at("g"), 40 + 40);
    s.cancel();
  });
}

LEASH_TEST_OF_LEAKS(Picture, OfASelectOverManyDrawsSomeOfThem) {
  co_await with_scope([](scope& s) -> task<> {
    constexpr std::size_t cases = 400;
    std::vector<receiver<int>> from;
    tracked_vector<sender<int>> to;
    for (std::size_t i = 0; i < cases; ++i) {
      auto [tx, rx] = channel<int>();
      to.push_back(std::move(tx));
      from.push_back(std::move(rx));
    }
    s.go(
        named("many"),
        [](std::vector<receiver<int>> from, tracked_vector<sender<int>>) -> task<> { (void)co_await select(from); },
        std::move(from), std::move(to));
    co_await parked("many", "select");
    auto const r = find_leaks();
    CO_ASSERT_EQ(r.size(), 1u);
    std::string const svg = r.to_svg();
    xml const read(svg);
    EXPECT_EQ(read.error, "") << svg;
    EXPECT_NE(read.text.find("; 242 objects are not drawn"), std::string::npos) << svg.substr(0, 500);
    EXPECT_EQ(read.elements.at("g"), static_cast<int>(drawn_boxes));
    s.cancel();
  });
}

LEASH_TEST_OF_LEAKS(Picture, OfOneKnotShowsItAndWhoWaitsForIt) {
  co_await with_scope([](scope& s) -> task<> {
    plant(s);
    co_await parked("", "chan receive", 6);
    auto const r = find_leaks();
    CO_ASSERT_EQ(r.knots(), 2u);
    const std::vector<std::vector<const char*>> in{{"(first a)", "(first b)", "(waits for b)"},
                                                   {"(second c)", "(second d)", "(waits for d)"}};
    for (std::size_t knot = 0; knot < 2; ++knot) {
      std::string const svg = r.to_svg(knot);
      xml const read(svg);
      EXPECT_EQ(read.error, "") << svg;
      EXPECT_NE(read.text.find("2 core, 1 dependent\n"), std::string::npos) << svg;
      EXPECT_EQ(read.elements.at("g"), 3 + 2) << "goroutines and channels";
      for (const char* name : in[knot]) EXPECT_NE(read.text.find(name), std::string::npos) << name;
      for (const char* name : in[1 - knot]) EXPECT_EQ(read.text.find(name), std::string::npos) << name;
    }
    EXPECT_THROW((void)r.to_svg(2), std::out_of_range);
    EXPECT_EQ(leak_report().knots(), 0u);
    EXPECT_THROW((void)leak_report().to_svg(0), std::out_of_range);
    s.cancel();
  });
}

LEASH_TEST_OF_LEAKS(Picture, OfOneKnotHasTheNearestOfManyThatWait) {
  co_await with_scope([](scope& s) -> task<> {
    // Each waits for what the next one holds; the last one holds its own.
    auto wait = [](receiver<int> rx, sender<int>) -> task<> { (void)co_await rx.recv(); };
    auto [tx, rx] = channel<int>();
    s.go(named("link 0"), wait, rx.dup(), std::move(tx));
    for (int i = 1; i < 60; ++i) {
      auto [next_tx, next_rx] = channel<int>();
      s.go(named("link " + std::to_string(i)), wait, std::move(rx), std::move(next_tx));
      rx = std::move(next_rx);
    }
    co_await parked("link 59", "chan receive");
    auto const r = find_leaks();
    EXPECT_EQ(r.knots(), 1u);
    std::string const svg = r.to_svg(0);
    EXPECT_NE(svg.find("1 core, 39 dependent, and 20 more"), std::string::npos) << svg.substr(0, 300);
    s.cancel();
  });
}

// Every kind of wait and place can be drawn.
LEASH_TEST_OF_LEAKS(Picture, OfAllKinds) {
  co_await with_scope([](scope& s) -> task<> {
    struct place {
      event e;
      std::optional<sender<int>> tx;
    };
    auto at = share<place>();
    auto [tx, rx] = channel<int>();
    at->tx = std::move(tx);
    s.go(named("in a block"), [](shared<place> p) -> task<> { co_await p->e.wait(); }, std::move(at));
    s.go(named("receiver"), [](receiver<int> rx) -> task<> { (void)co_await rx.recv(); }, std::move(rx));
    s.go(named("in a frame"), []() -> task<> {
      event e;
      co_await e.wait();
    });
    s.go(named("joiner"), []() -> task<> {
      co_await with_scope([](scope& inner) -> task<> {
        inner.go(named("locker"), []() -> task<> {
          mutex m;
          auto g = co_await m.lock();
          auto again = co_await m.lock();
        });
        co_return;
      });
    });
    s.go(named("nothing"), []() -> task<> { co_await select(sender<int>().send(1), receiver<int>().recv()); });
    co_await parked("in a block", "event");
    co_await parked("receiver", "chan receive");
    co_await parked("in a frame", "event");
    co_await parked("locker", "sync.Mutex.Lock");
    co_await parked("nothing", "select");
    co_await parked("joiner", "scope join");
    auto const r = find_leaks();
    EXPECT_EQ(r.size(), 6u) << text(r);
    std::string const svg = r.to_svg();
    xml const read(svg);
    EXPECT_EQ(read.error, "") << svg;
    for (const char* what : {"\nevent\n", "\nshared object (", "\nchannel\n", "\nmutex\n", "\nscope\n", "(nothing)"})
      EXPECT_NE(read.text.find(what), std::string::npos) << what << svg;
    s.cancel();
  });
}

}  // namespace leash::test::report_tests
