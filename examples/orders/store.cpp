#include "store.hpp"

#include <random>

namespace orders {

using leash::task;
namespace sql = leash::sql;
using namespace std::chrono_literals;

// What both databases understand; $seq is how each counts rows.
static constexpr std::string_view schema = R"(
  CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, customer TEXT NOT NULL, item TEXT NOT NULL, quantity BIGINT NOT NULL, state TEXT NOT NULL,
    idempotency_key TEXT UNIQUE, accepted_at BIGINT NOT NULL);
  CREATE INDEX IF NOT EXISTS orders_by_time ON orders (accepted_at);
  CREATE INDEX IF NOT EXISTS orders_by_state ON orders (state);
  CREATE TABLE IF NOT EXISTS outbox (seq $seq, order_id TEXT NOT NULL, customer TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS shipments (seq $seq, order_id TEXT NOT NULL);
  CREATE INDEX IF NOT EXISTS shipments_by_order ON shipments (order_id);)";

static constexpr std::string_view columns =
    "id, customer, item, quantity, state, (SELECT count(*) FROM shipments WHERE order_id = id)";

static order read(const sql::row& r) {
  auto [id, customer, item, quantity, state, shipments] =
      r.as<std::string, std::string, std::string, std::int64_t, std::string, std::int64_t>();
  return {{customer, item, quantity}, id, state, shipments};
}

static std::string new_id() {
  static constexpr char digits[] = "0123456789abcdef";
  std::random_device any;
  std::string id;
  for (int word = 0; word < 4; ++word)
    for (std::uint32_t i = 0, bits = any(); i < 8; ++i, bits >>= 4) id += digits[bits & 15];
  return id;
}

static std::int64_t milliseconds_now() {
  return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now()).time_since_epoch().count();
}

bool may_pass(const sql::error& e) {
  using enum sql::error_kind;
  for (auto k : {connection, timeout, busy, serialization, disk_full, cancelled, rolled_back})
    if (e.kind() == k) return true;
  return false;
}

store::store(const settings& s)
    : pool_(s.postgres.empty() ? "sqlite:" + s.data + "/orders.db" : s.postgres, {.connect_timeout = 3s}) {}

task<> store::prepare() {
  bool const sqlite = pool_.backend() == sql::backend::sqlite;
  // PostgreSQL's IF NOT EXISTS does not bear two who make the same table at once.
  std::string text = (sqlite ? "" : "SELECT pg_advisory_xact_lock(5);") + std::string(schema);
  for (std::size_t at; (at = text.find("$seq")) != std::string::npos;)
    text.replace(at, 4,
                 sqlite ? "INTEGER PRIMARY KEY AUTOINCREMENT" : "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY");
  co_await pool_.script(text);
}

task<store::placed> store::place(new_order o, std::string key) {
  order made{o, new_id(), "accepted"};
  std::optional<std::string> const kept_key = key.empty() ? std::nullopt : std::optional(key);
  try {
    co_await pool_.transaction([&](sql::connection& c) -> task<> {
      co_await c.exec("INSERT INTO orders VALUES ($1, $2, $3, $4, $5, $6, $7)", made.id, o.customer, o.item, o.quantity,
                      made.state, kept_key, milliseconds_now());
      co_await c.exec("INSERT INTO outbox (order_id, customer) VALUES ($1, $2)", made.id, o.customer);
    });
    co_return {std::move(made), true};
  } catch (const sql::error& e) {
    if (e.kind() != sql::error_kind::unique) throw;
  }
  auto const there =
      co_await pool_.query("SELECT " + std::string(columns) + " FROM orders WHERE idempotency_key = $1", key);
  order first = read(there.one());
  if (static_cast<const new_order&>(first) != o) throw key_taken();
  co_return {std::move(first), false};
}

task<std::optional<order>> store::find(std::string id) {
  auto const rows = co_await pool_.query("SELECT " + std::string(columns) + " FROM orders WHERE id = $1", id);
  if (rows.empty()) co_return std::nullopt;
  co_return read(rows.one());
}

task<std::vector<order>> store::newest(int most) {
  auto const rows =
      co_await pool_.query("SELECT " + std::string(columns) + " FROM orders ORDER BY accepted_at DESC LIMIT $1", most);
  std::vector<order> all;
  for (const sql::row& r : rows) all.push_back(read(r));
  co_return all;
}

task<totals> store::count() {
  // One statement: the figures belong together.
  auto const rows = co_await pool_.query(
      "SELECT state, count(*) FROM orders GROUP BY state UNION ALL SELECT 'shipments', count(*) FROM shipments "
      "UNION ALL SELECT 'outbox', count(*) FROM outbox");
  totals t;
  for (const sql::row& r : rows) {
    auto [what, n] = r.as<std::string, std::int64_t>();
    (what == "accepted"    ? t.accepted
     : what == "fulfilled" ? t.fulfilled
     : what == "refused"   ? t.refused
     : what == "shipments" ? t.shipments
                           : t.outbox) = n;
  }
  co_return t;
}

task<> store::ping() { co_await pool_.query("SELECT 1"); }

task<fulfilment> store::fulfil(std::string id) {
  co_return co_await pool_.transaction([&](sql::connection& c) -> task<fulfilment> {
    auto const found = co_await c.query("SELECT item, state FROM orders WHERE id = $1", id);
    if (found.empty()) co_return fulfilment::unknown;
    bool const can = found.one().get<std::string>("item") != "unobtainium";
    // Of two who read `accepted` one changes the row: the other one waits for it, and then finds nothing to change.
    auto const changed = co_await c.exec("UPDATE orders SET state = $2 WHERE id = $1 AND state = 'accepted'", id,
                                         can ? "fulfilled" : "refused");
    if (changed == 0) co_return can ? fulfilment::repeated : fulfilment::refused;
    if (!can) co_return fulfilment::refused;
    co_await c.exec("INSERT INTO shipments (order_id) VALUES ($1)", id);
    co_return fulfilment::done;
  });
}

task<std::vector<outgoing>> store::outbox(int most) {
  auto const rows = co_await pool_.query("SELECT seq, order_id, customer FROM outbox ORDER BY seq LIMIT $1", most);
  std::vector<outgoing> all;
  for (const sql::row& r : rows) {
    auto [seq, id, customer] = r.as<std::int64_t, std::string, std::string>();
    all.push_back({seq, std::move(id), std::move(customer)});
  }
  co_return all;
}

task<> store::sent(std::vector<outgoing> rows) {
  co_await pool_.transaction([&](sql::connection& c) -> task<> {
    for (const outgoing& row : rows) co_await c.exec("DELETE FROM outbox WHERE seq = $1", row.seq);
  });
}

task<> store::audit(std::chrono::milliseconds how_long) {
  (void)co_await leash::with_timeout(how_long, [&]() -> task<> {
    co_await pool_.query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n");
  });
}

}  // namespace orders
