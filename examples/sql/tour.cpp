// A tour of leash::sql; docs/sql.md explains each part. Runs on SQLite; give it another address for PostgreSQL.
#include <chrono>
#include <filesystem>
#include <iostream>
#include <leash/leash.hpp>
#include <leash/sql.hpp>
#include <optional>
#include <stdexcept>
#include <string>

using namespace leash;
using namespace std::chrono_literals;

// [pool]
task<> tour(std::string address) {
  sql::pool pool(address, {.max_open = 4, .held_limit = 30s});
  co_await pool.script(
      "CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, money INTEGER NOT NULL CHECK (money >= 0))");
  // [pool]

  // [statements]
  co_await pool.exec("INSERT INTO accounts VALUES ($1, $2, $3)", 1, "Ada", 100);
  co_await pool.exec("INSERT INTO accounts VALUES ($1, $2, $3)", 2, "Robert'); DROP TABLE accounts; --", 100);
  for (const sql::row& r :
       co_await pool.query("SELECT id, owner, money FROM accounts WHERE money >= $1 ORDER BY id", 50)) {
    auto [id, owner, money] = r.as<int, std::string, std::optional<int>>();
    std::cout << id << " " << owner << " has " << r.get<int>("money") << "\n";
  }
  // [statements]

  // [transaction]
  auto transfer = [&pool](int from, int to, int amount) -> task<> {
    co_await pool.transaction([=](sql::connection& c) -> task<> {
      co_await c.exec("UPDATE accounts SET money = money + $1 WHERE id = $2", amount, to);
      co_await c.exec("UPDATE accounts SET money = money - $1 WHERE id = $2", amount, from);
    });
  };
  co_await transfer(1, 2, 30);
  try {
    co_await transfer(1, 2, 1000);
  } catch (const sql::error& e) {
    std::cout << "refused: " << name_of(e.kind()) << ", SQLSTATE " << e.sqlstate() << "\n";
  }
  // [transaction]

  // [cursor]
  sql::connection c = co_await pool.acquire();
  {
    sql::cursor rows = co_await c.stream(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT i FROM n");
    std::int64_t sum = 0;
    while (auto row = co_await rows.next()) {
      sum += row->get<std::int64_t>(0);
      if (sum > 1000) break;  // leaving early is fine
    }
    std::cout << "summed up to " << sum << "\n";
  }
  // [cursor]

  // [cancel]
  bool const done = co_await with_timeout(50ms, [&]() -> task<> {
    co_await c.exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n");
  });
  std::cout << (done ? "done" : "cancelled") << "; the connection is well: "
            << (co_await c.query("SELECT count(*) AS n FROM accounts")).one().get<int>("n") << " accounts\n";
  // [cancel]

  // [listen]
  co_await with_scope([&](scope& s) -> task<> {
    sql::listener news = co_await sql::listen(s, pool, {"accounts"});
    co_await c.transaction([](sql::connection& t) -> task<> {
      co_await t.exec("INSERT INTO accounts VALUES (3, 'Grace', 5)");
      co_await t.notify("accounts", "3");  // when it commits
    });
    if (auto n = co_await news.recv()) std::cout << "new on " << n->channel << ": " << n->payload << "\n";
  });
  // [listen]

  // [held]
  for (const sql::held_connection& h : pool.held())
    std::cout << "held by goroutine " << h.who.id << ": " << h.statement << "\n";
  // [held]
}

int main(int argc, char** argv) {
  std::string const file = (std::filesystem::temp_directory_path() / "leash_tour.db").string();
  auto const clean = [&] {
    for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(file + end);
  };
  clean();
  leash::run(tour, argc > 1 ? std::string(argv[1]) : "sqlite:" + file);
  clean();
  return 0;
}
