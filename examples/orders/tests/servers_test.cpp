// The service with real servers, started by the tests on loopback. Skipped, with a line that says so, where they are not installed.
#include "service.hpp"
#include "sql/database.hpp"
#include "support/nats_server.hpp"

namespace orders::tests {
namespace {

using namespace std::chrono_literals;
using leash::test::sql_tests::database;

void bears_a_load(service& s) {
  (void)s.order(apples);
  std::size_t const before = s.settled(1'000'000);
  load_totals const t = s.load({.clients = 8, .during = 2s, .abandon = 0.2, .check = true});
  EXPECT_TRUE(t.good()) << t.lost << " lost, " << t.waiting << " wait, " << t.shipped_twice << " twice";
  json const all = s.stats();
  EXPECT_EQ(all.at("orders").at("fulfilled"), all.at("shipments"));
  EXPECT_EQ(all.at("leaks"), 0);
  EXPECT_LE(s.settled(before), before);
  cancelled_each_report(s);
  EXPECT_EQ(s.end(), 0);
}

TEST(Postgres, keeps_orders) {
  LEASH_NEEDS_POSTGRES();
  database db(leash::sql::backend::postgres);
  service s({"--postgres", db.address()});
  bears_a_load(s);
}
TEST(Nats, carries_orders) {
  LEASH_NEEDS_NATS();
  nats_server nats;
  auto s = started({"--nats", nats.url()});
  bears_a_load(*s);
}
TEST(PostgresAndNats, serve_two_instances) {
  LEASH_NEEDS_POSTGRES();
  LEASH_NEEDS_NATS();
  database db(leash::sql::backend::postgres);
  nats_server nats;
  auto a = started({"--postgres", db.address(), "--nats", nats.url()});
  auto b = started({"--postgres", db.address(), "--nats", nats.url()});
  load_totals t;
  std::jthread other([&] { t = b->load({.clients = 4, .during = 2s, .check = true}); });
  bears_a_load(*a);  // at its end b goes on alone
  other.join();
  EXPECT_TRUE(t.good()) << t.lost << " lost, " << t.waiting << " wait, " << t.shipped_twice << " twice";
  EXPECT_EQ(b->end(), 0);
}

TEST(Servers, that_are_not_there_are_said_to_be) {
  auto const nats =
      run_program({LEASH_ORDERS, "--listen", "127.0.0.1:0", "--debug", "none", "--nats", "nats://127.0.0.1:1"});
  EXPECT_EQ(nats.code, 1);
  EXPECT_TRUE(nats.error.starts_with("leash_orders: ")) << nats.error;
  if (!leash::sql::has(leash::sql::backend::postgres)) GTEST_SKIP() << "leash::sql was built without PostgreSQL";
  auto const postgres =
      run_program({LEASH_ORDERS, "--listen", "127.0.0.1:0", "--debug", "none", "--postgres", "host=127.0.0.1 port=1"});
  EXPECT_EQ(postgres.code, 1);
  EXPECT_NE(postgres.error.find("refused"), std::string::npos) << postgres.error;
}

}  // namespace
}  // namespace orders::tests
