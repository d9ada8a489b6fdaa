// The service under faults: what it depends on is killed, cut off or full, it is killed itself, its clients go away, all in a load.
// Afterwards nothing that was promised is lost, and nothing is left behind.
#include "faults.hpp"

#include "proxy.hpp"
#include "sql/database.hpp"
#include "support/nats_server.hpp"

namespace orders::tests {
namespace {

using namespace std::chrono_literals;
using leash::task;
using leash::test::sql_tests::database;
using postgres_server = leash::test::sql_tests::server;

/// What goes well goes on so far before something happens to it, and afterwards.
constexpr std::uint64_t some = 20;

std::size_t baseline(const service& s) {
  EXPECT_EQ(s.order(apples).status, 201);
  return goroutines_at_rest(s);
}

void all_is_well(service& s, const load_totals& t, std::size_t goroutines) {
  EXPECT_EQ(complaints(s, t, goroutines), std::vector<std::string>());
  EXPECT_EQ(t.shipped, t.acknowledged);
  EXPECT_EQ(s.get("/health").status, 200);
  EXPECT_EQ(s.end(), 0);
}

/// `fault` comes and goes in a load, which goes on well before and after it; whether its clients `feel` it.
template <class F>
void endures(service& s, const load_settings& how, bool feel, F fault, const char* goes_on = "accepted") {
  std::size_t const before = baseline(s);
  load_under_way load(s, how);
  ASSERT_TRUE(counts(s, "accepted", some));
  fault();
  ASSERT_TRUE(counts(s, goes_on, count_of(s, goes_on) + some));
  load_totals const t = load.end();
  EXPECT_EQ(t.failures > 0u, feel) << t.last_failure;
  all_is_well(s, t, before);
}

// --- the service itself

TEST(Faults, the_service_is_killed_and_comes_again) {
  service s({"--visibility", "1s"});
  std::size_t const before = baseline(s);
  load_under_way load(s);
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(counts(s, "accepted", some));
    s.kill();
    s.start();
  }
  ASSERT_TRUE(counts(s, "accepted", some));
  load_totals const t = load.end();
  EXPECT_GT(t.failures, 0u) << "it was never away";
  all_is_well(s, t, before);
}

// --- its clients

TEST(Faults, clients_are_reset_in_the_middle_of_requests_and_answers) {
  service s;
  std::size_t const before = baseline(s);
  load_under_way load(s, {.clients = 8, .rate = 100, .timeout = 60s});
  ASSERT_TRUE(counts(s, "accepted", 300));
  many_are_rude(s);
  ASSERT_TRUE(counts(s, "accepted", count_of(s, "accepted") + some));
  load_totals const t = load.end();
  EXPECT_EQ(t.failures, 0u) << "others do not feel it: " << t.last_failure;
  all_is_well(s, t, before);
}

// --- the disk

TEST(Faults, the_disk_is_full_and_has_room_again) {
  small_disk disk;
  if (!disk.missing().empty()) GTEST_SKIP() << "no small disk can be mounted: " << disk.missing();
  service s({"--data", disk.path() + "/data"}, disk.seen_by());
  endures(s, {.clients = 8, .rate = 100}, true, [&] {
    disk.becomes_full();
    reply refused;
    EXPECT_TRUE(eventually_here([&] { return (refused = s.order(apples)).status != 201; }));
    EXPECT_EQ(refused.status, 503);
    EXPECT_NE(refused.text.find("full"), std::string::npos) << refused.text;
    EXPECT_TRUE(counts(s, "failed", some));
    EXPECT_EQ(s.get("/orders?limit=1").status, 200) << "what is there can be read";
    disk.has_room();
  });
}

// --- servers

/// The database is away from `goes` until `comes`.
template <class F, class G>
void without_database(service& s, F goes, G comes) {
  endures(s, {.clients = 8, .rate = 100, .timeout = 1s}, true, [&] {
    goes();
    EXPECT_TRUE(eventually_here([&] { return s.get("/health").status == 503; }));
    EXPECT_TRUE(eventually_here([&] { return s.stats().at("orders").is_null(); })) << "what is known is told";
    comes();
  });
}

/// The queue is away from `goes` until `comes`: orders are taken all the same.
template <class F, class G>
void without_queue(service& s, F goes, G comes) {
  auto const away = [&] {
    goes();
    EXPECT_TRUE(eventually_here([&] {
      json const now = s.stats();
      return now.at("queue").is_null() && now.at("outbox") > some;
    }));
    auto const asked = std::chrono::steady_clock::now();
    EXPECT_TRUE(s.stats().at("queue").is_null());
    EXPECT_LT(std::chrono::steady_clock::now() - asked, 4s) << "a call to the queue takes 5 s";
    comes();
  };
  endures(s, {.clients = 8, .rate = 20, .timeout = 60s}, false, away, "relayed");
}

TEST(Faults, postgres_is_killed_and_comes_again) {
  LEASH_NEEDS_POSTGRES();
  database db(leash::sql::backend::postgres);
  service s({"--postgres", db.address()});
  without_database(s, [] { postgres_server::get()->kill(); }, [] { postgres_server::get()->start(); });
}

TEST(Faults, nats_is_killed_and_comes_again) {
  LEASH_NEEDS_NATS();
  nats_server nats;
  auto s = started({"--nats", nats.url(), "--visibility", "1s"});
  without_queue(*s, [&] { nats.kill(); }, [&] { nats.start(); });
}

// --- the network between the service and its servers

class Cut : public testing::TestWithParam<network> {};
INSTANTIATE_TEST_SUITE_P(Faults, Cut, testing::Values(network::refuses, network::swallows), [](const auto& test) {
  return test.param == network::refuses ? "that_is_refused" : "that_nobody_is_told_of";
});

TEST_P(Cut, from_postgres) {
  LEASH_NEEDS_POSTGRES();
  database db(leash::sql::backend::postgres);
  postgres_proxy wire(db);
  service s({"--postgres", wire.conninfo()});
  without_database(s, [&] { wire.becomes(GetParam()); }, [&] { wire.becomes(network::passes); });
}

TEST_P(Cut, from_nats) {
  LEASH_NEEDS_NATS();
  nats_server nats;
  proxy wire(nats.address());
  auto s = started({"--nats", "nats://" + wire.address(), "--visibility", "1s"});
  without_queue(*s, [&] { wire.becomes(GetParam()); }, [&] { wire.becomes(network::passes); });
}

// --- the verdict sees what it is there to see

/// Somebody changes the database beside the service.
void tamper(const service& s, std::string statements) {
  leash::run({.workers = 1}, [&]() -> task<> {
    leash::sql::pool p("sqlite:" + s.data() + "/orders.db");
    co_await p.script(statements);
    co_await p.close();
  });
}

/// The verdict of a load of one client, in the middle of which the first of its orders, long acknowledged and shipped, is tampered with.
std::vector<std::string> verdict_after(const std::string& statements) {
  service s;
  std::size_t const before = goroutines_at_rest(s);
  load_under_way load(s, {.clients = 1, .rate = 30, .wait = 3s});
  EXPECT_TRUE(counts(s, "fulfilled", some));
  std::string all = statements;
  std::string const first = "(SELECT order_id FROM shipments ORDER BY seq LIMIT 1)";
  for (std::size_t at; (at = all.find("$first")) != all.npos;) all.replace(at, 6, first);
  tamper(s, all);
  auto const verdict = complaints(s, load.end(), before, 3s);
  EXPECT_EQ(s.end(), 0);
  return verdict;
}

TEST(Verdict, is_good_where_nothing_was_done) { EXPECT_EQ(verdict_after("SELECT 1"), std::vector<std::string>()); }
TEST(Verdict, tells_of_an_order_that_was_lost) {
  auto const v = verdict_after("DELETE FROM orders WHERE id = $first");
  ASSERT_EQ(v.size(), 2u);
  EXPECT_EQ(v[0], "1 acknowledged orders were lost");
  EXPECT_NE(v[1].find(" shipments of "), std::string::npos) << v[1];
}
TEST(Verdict, tells_of_an_order_that_was_shipped_twice) {
  auto const v = verdict_after("INSERT INTO shipments (order_id) VALUES ($first)");
  ASSERT_EQ(v.size(), 2u);
  EXPECT_EQ(v[0], "1 acknowledged orders were shipped more than once");
  EXPECT_NE(v[1].find(" shipments of "), std::string::npos) << v[1];
}
TEST(Verdict, tells_of_an_order_that_was_not_fulfilled) {
  auto const v = verdict_after(
      "UPDATE orders SET state = 'accepted' WHERE id = $first; DELETE FROM shipments WHERE order_id = $first");
  ASSERT_EQ(v.size(), 2u);
  EXPECT_EQ(v[0], "1 acknowledged orders were not fulfilled");
  EXPECT_NE(v[1].find("it does not come to rest"), std::string::npos) << v[1];
}
TEST(Verdict, tells_of_leaks_and_of_goroutines_that_were_not_there_before) {
  service s({"--plant", "first-answer"});
  std::size_t const before = goroutines_at_rest(s);
  load_under_way load(s, {.clients = 1});
  EXPECT_TRUE(counts(s, "accepted", some));
  auto const v = complaints(s, load.end(), before, 500ms);
  ASSERT_EQ(v.size(), 3u);
  EXPECT_NE(v[0].find(" goroutines, not "), std::string::npos) << v[0];
  EXPECT_NE(v[1].find(" goroutines are leaked"), std::string::npos) << v[1];
  EXPECT_TRUE(v[2].starts_with("leash leaks: ")) << v[2];
  EXPECT_EQ(s.end(), 0);
}

}  // namespace
}  // namespace orders::tests
