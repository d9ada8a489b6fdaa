// A soak: two instances that share a database and a queue, under a mixed load and faults, one after another, chosen at random. One is
// never killed: its memory stays what it was.
//
//   LEASH_SOAK=SECONDS   how long each of them takes (60; with LEASH_LONG=1: 600), after each fault has happened once
//   LEASH_SEED=N         the choice of faults; printed
#include <functional>
#include <random>

#include "faults.hpp"
#include "proxy.hpp"
#include "sql/database.hpp"
#include "support/nats_server.hpp"

namespace orders::tests {
namespace {

using namespace std::chrono_literals;
using leash::test::sql_tests::database;
using postgres_server = leash::test::sql_tests::server;

/// What the memory may have grown by, from the second quarter of the time to the last one: with the database SQLite's caches grow, up
/// to 2 MB for each of ten connections.
constexpr double growth_allowed = 1.1;

struct fault {
  std::string name;
  std::function<void()> happens;
};

std::size_t number_in_environment(const char* name, std::size_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::stoul(text) : otherwise;
}

/// kB that are in the machine's memory.
std::size_t resident(pid_t id) {
  for (const std::string& line : lines_of("/proc/" + std::to_string(id) + "/status"))
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6));
  return 0;
}

std::size_t median(std::vector<std::size_t> v) {
  std::ranges::sort(v);
  return v.at(v.size() / 2);
}

/// Whether so many more orders are accepted by both.
bool both_go_on(const service& a, const service& b) {
  return std::ranges::all_of(std::array{&a, &b},
                             [](const service* s) { return counts(*s, "accepted", count_of(*s, "accepted") + 30); });
}

void soak(service& lasting, service& other, std::vector<fault> faults) {
  faults.push_back({"the other instance is killed", [&] {
                      other.kill();
                      other.start();
                    }});
  faults.push_back({"clients are rude", [&] { many_are_rude(lasting); }});
  std::chrono::seconds const lasts(number_in_environment("LEASH_SOAK", long_run() ? 600 : 60));
  std::size_t const seed = number_in_environment("LEASH_SEED", std::random_device()());
  std::printf("LEASH_SEED=%zu, %lld s\n", seed, static_cast<long long>(lasts.count()));
  std::mt19937_64 random(seed);

  for (service* s : {&lasting, &other}) ASSERT_EQ(s->order(apples).status, 201);
  std::array const before{goroutines_at_rest(lasting), goroutines_at_rest(other)};
  struct sample {
    double at;
    std::size_t kb;
  };
  std::vector<sample> memory;
  std::uint64_t acknowledged = 0, failures = 0, rounds = 0;
  auto const happens = [&](const fault& f) {
    load_settings const load{.clients = 6, .rate = 15, .timeout = 2s, .abandon = 0.1};
    std::array<load_totals, 2> t;
    {
      load_under_way one(lasting, load), two(other, load);
      ASSERT_TRUE(both_go_on(lasting, other));
      f.happens();
      ASSERT_TRUE(both_go_on(lasting, other));
      t = {one.end(), two.end()};
    }
    ASSERT_EQ(complaints(lasting, t[0], before[0]), std::vector<std::string>());
    ASSERT_EQ(complaints(other, t[1], before[1]), std::vector<std::string>());
    acknowledged += t[0].acknowledged + t[1].acknowledged;
    failures += t[0].failures + t[1].failures;
    ++rounds;
  };
  // What is kept for good after the first time of a fault is no growth.
  for (const fault& f : faults) ASSERT_NO_FATAL_FAILURE(happens(f)) << f.name;
  auto const start = std::chrono::steady_clock::now();
  auto const part = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start) / lasts; };
  while (part() < 1) {
    std::ranges::shuffle(faults, random);
    for (const fault& f : faults) {
      if (part() >= 1) break;
      ASSERT_NO_FATAL_FAILURE(happens(f)) << f.name;
      memory.push_back({part(), resident(lasting.process_id())});
      std::printf("%3.0f %%  %-40s %6zu kB\n", 100 * memory.back().at, f.name.c_str(), memory.back().kb);
      std::fflush(stdout);
    }
  }
  std::vector<std::size_t> early, late;
  for (const sample& s : memory) {
    if (s.at > 0.25 && s.at <= 0.5) early.push_back(s.kb);
    if (s.at > 0.75) late.push_back(s.kb);
  }
  ASSERT_FALSE(early.empty() || late.empty()) << "too short";
  std::printf(
      "%llu rounds, %llu orders acknowledged, %llu attempts failed; resident in the second quarter %zu kB, in the last "
      "%zu kB\n",
      static_cast<unsigned long long>(rounds), static_cast<unsigned long long>(acknowledged),
      static_cast<unsigned long long>(failures), median(early), median(late));
  // A sanitizer's own memory grows with what is freed.
  if (!LEASH_ASAN && !LEASH_TSAN)
    EXPECT_LE(static_cast<double>(median(late)), growth_allowed * static_cast<double>(median(early)));
  EXPECT_EQ(other.end(), 0);
  EXPECT_EQ(lasting.end(), 0);
}

TEST(Soak, with_the_embedded_database_and_queue) {
  small_disk disk;
  if (!disk.missing().empty()) GTEST_SKIP() << "no small disk can be mounted: " << disk.missing();
  std::vector<std::string> const options{"--data", disk.path() + "/data", "--visibility", "1s"};
  service lasting(options, disk.seen_by()), other(options, disk.seen_by());
  soak(lasting, other, {{"the disk is full", [&] {
                           std::uint64_t const failed = count_of(lasting, "failed");
                           disk.becomes_full();
                           EXPECT_TRUE(counts(lasting, "failed", failed));
                           disk.has_room();
                         }}});
}

TEST(Soak, with_its_servers) {
  LEASH_NEEDS_POSTGRES();
  LEASH_NEEDS_NATS();
  database db(leash::sql::backend::postgres);
  postgres_proxy to_postgres(db);
  nats_server nats;
  proxy to_nats(nats.address());
  std::vector<std::string> const options{
      "--postgres", to_postgres.conninfo(), "--nats", "nats://" + to_nats.address(), "--visibility", "1s"};
  auto lasting = started(options), other = started(options);
  auto const felt = [&](const char* part) {
    EXPECT_TRUE(eventually_here([&] { return lasting->stats().at(part).is_null(); })) << part;
  };
  auto const cut = [&](proxy& wire, network how, const char* part) {
    wire.becomes(how);
    felt(part);
    wire.becomes(network::passes);
  };
  soak(*lasting, *other,
       {{"PostgreSQL is killed",
         [&] {
           postgres_server::get()->kill();
           felt("orders");
           postgres_server::get()->start();
         }},
        {"nats-server is killed",
         [&] {
           nats.kill();
           felt("queue");
           nats.start();
         }},
        {"PostgreSQL is cut off, and refused", [&] { cut(to_postgres, network::refuses, "orders"); }},
        {"PostgreSQL is cut off, untold", [&] { cut(to_postgres, network::swallows, "orders"); }},
        {"nats-server is cut off, and refused", [&] { cut(to_nats, network::refuses, "queue"); }},
        {"nats-server is cut off, untold", [&] { cut(to_nats, network::swallows, "queue"); }}});
}

}  // namespace
}  // namespace orders::tests
