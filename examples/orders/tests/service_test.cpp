// The service from outside, with its embedded database and queue.
#include "service.hpp"

#include <set>
#include <thread>

namespace orders::tests {
namespace {

using namespace std::chrono_literals;
using leash::task;
namespace http = leash::http;

bool shipped(const service& s, const std::string& id) {
  return eventually_here([&] { return s.get("/orders/" + id).body().at("shipments") == 1; });
}

TEST(Orders, are_accepted_fulfilled_and_shipped_once) {
  service s;
  reply const made = s.order(apples);
  ASSERT_EQ(made.status, 201) << made.text;
  std::string const id = made.body().at("id");
  EXPECT_EQ(made.location, "/orders/" + id);
  EXPECT_EQ(made.body().at("state"), "accepted");
  EXPECT_TRUE(shipped(s, id));
  EXPECT_EQ(s.get("/orders/" + id).body(), (json{{"id", id},
                                                 {"customer", "ann"},
                                                 {"item", "apples"},
                                                 {"quantity", 2},
                                                 {"state", "fulfilled"},
                                                 {"shipments", 1}}));
  EXPECT_EQ(s.get("/orders?limit=5").body().size(), 1u);
  json const all = s.stats();
  EXPECT_EQ(all.at("orders"), (json{{"accepted", 0}, {"fulfilled", 1}, {"refused", 0}}));
  EXPECT_EQ(all.at("leaks"), 0);
  EXPECT_EQ(s.get("/health").status, 200);
  EXPECT_NE(s.get("/").text.find("<title>orders"), std::string::npos);
  EXPECT_EQ(s.end(), 0);
}

TEST(Orders, that_come_twice_with_a_key_are_one) {
  service s;
  std::string const id = s.order(apples, "k").body().at("id");
  reply const again = s.order(apples, "k");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.body().at("id"), id);
  EXPECT_EQ(s.order(R"({"customer": "bob", "item": "pears", "quantity": 1})", "k").status, 422);
  EXPECT_NE(s.order(apples, "another").body().at("id"), id);

  // Many at once: the key decides, whoever comes first.
  std::set<std::string> ids;
  leash::run({.workers = 2}, [&]() -> task<> {
    http::client c;
    std::mutex lock;
    co_await leash::with_scope([&](leash::scope& scope) {
      for (int i = 0; i < 20; ++i)
        scope.go([&]() -> task<> {
          http::client_request q{"POST", s.url() + "/orders", {}, apples};
          q.headers.add("Content-Type", "application/json").add("Idempotency-Key", "same");
          auto answer = co_await c.send(std::move(q));
          std::string const text = co_await answer.text();
          std::lock_guard guard(lock);
          ids.insert(json::parse(text).at("id"));
        });
    });
  });
  EXPECT_EQ(ids.size(), 1u);
  EXPECT_TRUE(shipped(s, *ids.begin()));
  EXPECT_EQ(s.stats().at("since_start").at("accepted"), 3);
  EXPECT_EQ(s.end(), 0);
}

TEST(Orders, that_are_none_are_refused) {
  service s;
  EXPECT_EQ(s.order("{").status, 400);
  EXPECT_EQ(s.order(R"({"customer": "ann", "item": "apples"})").status, 400);
  EXPECT_EQ(s.order(R"({"customer": "ann", "item": "apples", "quantity": 0})").status, 422);
  EXPECT_EQ(s.order(R"({"customer": "", "item": "apples", "quantity": 1})").status, 422);
  EXPECT_EQ(s.order(std::string(5000, ' ')).status, 413);
  EXPECT_EQ(s.send({"POST", s.url() + "/orders", {}, apples}).status, 415);
  EXPECT_EQ(s.get("/orders/none").status, 404);
  EXPECT_EQ(s.get("/orders?limit=x").status, 400);
  EXPECT_EQ(s.get("/report?ms=0").status, 400);
  EXPECT_EQ(s.stats().at("since_start").at("accepted"), 0);
  EXPECT_EQ(s.end(), 0);
}

TEST(Orders, that_can_never_be_fulfilled_become_dead_letters) {
  service s;
  std::string const id = s.order(R"({"customer": "ann", "item": "unobtainium", "quantity": 1})").body().at("id");
  EXPECT_TRUE(eventually_here([&] { return s.stats().at("queue").at("dead") == 1; }));
  EXPECT_EQ(s.get("/orders/" + id).body().at("state"), "refused");
  EXPECT_EQ(s.get("/orders/" + id).body().at("shipments"), 0);
  EXPECT_EQ(s.end(), 0);
}

TEST(Orders, are_told_of_as_events) {
  service s;
  std::vector<std::string> states;
  leash::run({.workers = 1}, [&]() -> task<> {
    http::client c;
    auto events = co_await c.get(s.url() + "/events");
    EXPECT_EQ(co_await events.read(), ":\n\n");  // it is listened to
    http::client_request q{"POST", s.url() + "/orders", {}, apples};
    q.headers.add("Content-Type", "application/json");
    auto made = co_await c.send(std::move(q));
    std::string const id = json::parse(co_await made.text()).at("id");
    std::string text;
    while (states.size() < 2) {
      auto const piece = co_await events.read();
      CO_ASSERT_TRUE(piece);
      text += *piece;
      for (std::size_t at; (at = text.find("\n\n")) != text.npos; text.erase(0, at + 2)) {
        if (!text.starts_with("event: order\n")) continue;
        std::size_t const data = text.find("data: ");
        json const e = json::parse(text.substr(data + 6, at - data - 6));
        EXPECT_EQ(e.at("id"), id);
        states.push_back(e.at("state"));
      }
    }
  });
  EXPECT_EQ(states, (std::vector<std::string>{"accepted", "fulfilled"}));
  EXPECT_EQ(s.end(), 0);
}

TEST(Listeners, that_have_gone_away_are_forgotten) {
  service s;
  leash::run({.workers = 1}, [&]() -> task<> {
    http::client c;
    std::vector<http::client_response> all;
    for (int i = 0; i < 10; ++i) {
      all.push_back(co_await c.get(s.url() + "/events"));
      EXPECT_TRUE(co_await all.back().read());  // it is listened to
    }
    auto stats = co_await c.get(s.url() + "/stats");
    EXPECT_EQ(json::parse(co_await stats.text()).at("listeners"), 10);
  });
  EXPECT_TRUE(eventually_here([&] { return s.stats().at("listeners") == 0; }));
  EXPECT_EQ(s.end(), 0);
}

TEST(Clients, that_go_away_end_the_work_that_was_done_for_them) {
  service s;
  (void)s.get("/report?ms=1");
  std::size_t const before = s.settled(1'000'000);
  // Two reports of a minute each take both places; those who asked go away; then a third one gets its place at once.
  leash::run({.workers = 2}, [&]() -> task<> {
    http::client c;
    co_await leash::with_scope([&](leash::scope& scope) -> task<> {
      for (int i = 0; i < 2; ++i) scope.go([&]() -> task<> { (void)co_await c.get(s.url() + "/report?ms=60000"); });
      co_await leash::blocking([&] { EXPECT_TRUE(eventually_here([&] { return s.stats().at("requests") == 3; })); });
      scope.cancel();
    });
  });
  reply const third = s.get("/report?ms=20");
  EXPECT_EQ(third.status, 200);
  EXPECT_EQ(third.body().at("audited_ms"), 20);
  EXPECT_TRUE(eventually_here([&] { return s.stats().at("since_start").at("cancelled") == 2; }));
  EXPECT_TRUE(eventually_here([&] { return s.stats().at("pool").at("in_use") == 0; }));
  EXPECT_LE(s.settled(before), before);
  EXPECT_NE(s.errors().find("GET /report was cancelled after"), std::string::npos);
  EXPECT_NE(s.errors().find("ms: the client disconnected"), std::string::npos);
  EXPECT_EQ(s.end(), 0);
}

TEST(Load, with_clients_that_go_away_loses_nothing_and_leaves_nothing) {
  service s;
  (void)s.order(apples);
  std::size_t const before = s.settled(1'000'000);
  load_totals const t = s.load({.clients = 8, .during = 2s, .abandon = 0.3, .check = true});
  EXPECT_TRUE(t.good()) << t.lost << " lost, " << t.waiting << " wait, " << t.shipped_twice << " twice";
  EXPECT_EQ(t.shipped, t.acknowledged);
  EXPECT_GT(t.abandoned_reports, 0u);
  json const all = s.stats();
  EXPECT_EQ(all.at("leaks"), 0);
  EXPECT_EQ(all.at("orders").at("fulfilled"), all.at("shipments")) << "none was shipped twice, abandoned or not";
  EXPECT_LE(s.settled(before), before);
  cancelled_each_report(s);
  EXPECT_EQ(s.end(), 0);
}

/// The service ends in the middle of a load, and comes again at the same address.
template <class F>
void ends_in_a_load(service& s, F end) {
  load_totals t;
  std::jthread load([&] { t = s.load({.clients = 8, .during = 3s, .check = true}); });
  eventually_here([&] { return s.stats().at("since_start").at("accepted") > 20; });
  end();
  s.start();
  load.join();
  EXPECT_TRUE(t.good()) << t.lost << " lost, " << t.waiting << " wait, " << t.shipped_twice << " twice";
  EXPECT_GT(t.failures, 0u) << "it was never away";
  json const all = s.stats();
  EXPECT_EQ(all.at("orders").at("fulfilled"), all.at("shipments"));
  EXPECT_EQ(all.at("leaks"), 0);
  EXPECT_EQ(s.end(), 0);
}
TEST(Shutdown, in_a_load_finishes_what_was_begun_and_loses_nothing) {
  service s;
  ends_in_a_load(s, [&] { EXPECT_EQ(s.end(), 0); });
}
TEST(Shutdown, by_force_in_a_load_loses_nothing) {
  service s({"--visibility", "1s"});
  ends_in_a_load(s, [&] { s.kill(); });
}
TEST(Shutdown, ends_listeners_and_cuts_what_takes_longer_than_allowed) {
  service s({"--drain", "200ms"});
  std::jthread client([&] {
    leash::run({.workers = 1}, [&]() -> task<> {
      http::client c;
      auto events = co_await c.get(s.url() + "/events");
      auto report = co_await c.get(s.url() + "/report?ms=60000");
      EXPECT_EQ(report.status, 503);
      while (co_await events.read()) continue;
    });
  });
  EXPECT_TRUE(eventually_here([&] { return s.stats().at("requests") == 3; }));  // events, report, and this one
  EXPECT_EQ(s.end(), 0);
  client.join();
  EXPECT_NE(s.errors().find("cut at the end: GET /report"), std::string::npos);
}

// --- the command line

TEST(CommandLine, says_what_is_wrong) {
  auto const code_and_error = [](std::vector<std::string> more) {
    more.insert(more.begin(), LEASH_ORDERS);
    printed const p = run_program(std::move(more));
    return std::to_string(p.code) + ": " + p.error;
  };
  EXPECT_EQ(code_and_error({"--plant", "roses"}), "2: leash_orders: no such leak: roses (--list-plants)\n");
  EXPECT_TRUE(code_and_error({"--nonsense"}).starts_with("2: "));
  EXPECT_TRUE(code_and_error({"--drain", "soon"}).starts_with("2: "));
  EXPECT_TRUE(code_and_error({"--listen", "nowhere", "--debug", "none"}).starts_with("1: leash_orders: "));
  EXPECT_TRUE(run_program({LEASH_ORDERS_LOAD, "--abandon", "200%"}).code == 2);
  EXPECT_EQ(run_program({LEASH_ORDERS_LOAD, "--url", "http://127.0.0.1:1", "--for", "100ms"}).code, 1);

  service s;
  std::string const taken = s.url().substr(s.url().find("//") + 2);
  std::string const in_use = code_and_error({"--listen", taken, "--debug", "none"});
  EXPECT_TRUE(in_use.starts_with("1: ") && in_use.find("in use") != in_use.npos) << in_use;
  EXPECT_EQ(s.end(), 0);
}
TEST(CommandLine, lists_the_leaks_that_can_be_planted) {
  printed const p = run_program({LEASH_ORDERS, "--list-plants"});
  EXPECT_EQ(p.code, 0);
  EXPECT_NE(p.out.find("first-answer"), std::string::npos);
}
TEST(CommandLine, of_the_load_generator_prints_what_it_saw) {
  service s;
  printed const text =
      run_program({LEASH_ORDERS_LOAD, "--url", s.url(), "--for", "300ms", "--clients", "2", "--check"});
  EXPECT_EQ(text.code, 0) << text.error;
  EXPECT_NE(text.out.find(" shipped once, 0 lost"), std::string::npos) << text.out;
  printed const j = run_program({LEASH_ORDERS_LOAD, "--url", s.url(), "--for", "300ms", "--rate", "20", "--json"});
  EXPECT_EQ(j.code, 0) << j.error;
  EXPECT_GT(json::parse(j.out).at("acknowledged"), 0);
  EXPECT_EQ(s.end(), 0);
}

TEST(Wrk, drives_it_too) {
  if (program("wrk").empty()) GTEST_SKIP() << "wrk is not installed";
  service s;
  printed const p =
      run_program({"wrk", "-t1", "-c4", "-d1s", "-s", LEASH_ORDERS_SOURCE "/order.lua", s.url() + "/orders"});
  EXPECT_EQ(p.code, 0) << p.error;
  EXPECT_EQ(p.out.find("Non-2xx"), std::string::npos) << p.out;
  EXPECT_TRUE(eventually_here([&] {
    json const o = s.stats().at("orders");
    return o.at("accepted") == 0 && o.at("fulfilled") > 0;
  }));
  EXPECT_EQ(s.end(), 0);
}

TEST(Page, shows_orders_in_a_browser_without_errors) {
  std::string browser;
  for (const char* name : {"chromium", "chromium-browser", "google-chrome"})
    if (browser.empty()) browser = program(name);
  if (browser.empty() || program("node").empty()) GTEST_SKIP() << "chromium or node is not installed";
  service s;
  std::string const pictures = LEASH_ORDERS_BUILT "/shots";  // they stay there, to be looked at
  std::filesystem::create_directories(pictures);
  printed const p = run_program({"node", LEASH_ORDERS_SOURCE "/tests/page.mjs", browser, s.url(), pictures});
  EXPECT_EQ(p.code, 0) << p.out << p.error;
  EXPECT_NE(p.out.find("all was as expected"), std::string::npos) << p.out;
  EXPECT_EQ(s.end(), 0);
}

}  // namespace
}  // namespace orders::tests
