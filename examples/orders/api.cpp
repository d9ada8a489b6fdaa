#include "api.hpp"

#include <charconv>
#include <leash/http/json.hpp>
#include <optional>
#include <string>

#include "log.hpp"
#include "page.hpp"
#include "patience.hpp"

namespace orders {

using leash::task;
namespace http = leash::http;
namespace sql = leash::sql;
using namespace std::chrono_literals;
using nlohmann::json;

// --- JSON

static void from_json(const json& j, new_order& o) {
  j.at("customer").get_to(o.customer);
  j.at("item").get_to(o.item);
  j.at("quantity").get_to(o.quantity);
}
static void to_json(json& j, const order& o) {
  j = {{"id", o.id},       {"customer", o.customer},  {"item", o.item}, {"quantity", o.quantity},
       {"state", o.state}, {"shipments", o.shipments}};
}

static std::int64_t number(http::request& q, std::string_view name, std::int64_t otherwise, std::int64_t most) {
  std::optional<std::string> const text = q.query(name);
  if (!text) return otherwise;
  std::int64_t n = 0;
  auto const [end, wrong] = std::from_chars(text->data(), text->data() + text->size(), n);
  if (wrong != std::errc{} || end != text->data() + text->size() || n < 1 || n > most)
    throw http::error(400, std::string(name) + ": a number from 1 to " + std::to_string(most));
  return n;
}

// --- orders

static void check(const new_order& o, std::string_view key) {
  constexpr std::size_t longest = 200;
  for (std::string_view text : {std::string_view(o.customer), std::string_view(o.item)})
    if (text.empty() || text.size() > longest || text.find('\0') != text.npos)
      throw http::error(422, "customer and item: a text of 1 to 200 bytes");
  if (o.quantity < 1 || o.quantity > 1'000'000) throw http::error(422, "quantity: from 1 to 1000000");
  if (key.size() > longest) throw http::error(422, "Idempotency-Key: at most 200 bytes");
}

static task<http::response> post_order(parts& p, http::request& q) {
  new_order const wanted = co_await http::json_body<new_order>(q, 4096);
  std::string const key(q.header("Idempotency-Key"));
  check(wanted, key);
  store::placed const placed = co_await p.orders.place(wanted, key);
  if (placed.is_new) {
    ++p.count.accepted;
    (void)p.committed.try_send({});  // full: the relay has not looked since somebody else told it
    p.tell.tell(placed.what.id, placed.what.state);
    p.plants.plant();
  } else {
    ++p.count.replayed;
  }
  co_return http::json(placed.what, placed.is_new ? 201 : 200).header("Location", "/orders/" + placed.what.id);
}

static task<http::response> get_order(parts& p, http::request& q) {
  auto const found = co_await p.orders.find(q.param("id"));
  if (!found) throw http::error(404, "no such order");
  co_return http::json(*found);
}

static task<http::response> get_newest(parts& p, http::request& q) {
  co_return http::json(co_await p.orders.newest(static_cast<int>(number(q, "limit", 20, 1000))));
}

// --- a query that takes long. Its client may go away: then the statement ends in the database, and the place is free.

static task<http::response> get_report(parts& p, leash::semaphore& places, http::request& q) {
  std::chrono::milliseconds const how_long(number(q, "ms", 500, 60'000));
  ++p.count.reports;
  auto const place = co_await places.acquire();
  co_await p.orders.audit(how_long);
  totals const t = co_await p.orders.count();
  co_return http::json(json{{"audited_ms", how_long.count()}, {"orders", t.accepted + t.fulfilled + t.refused}});
}

// --- what there is to see

/// What a part of /stats says; null if it does not say it in time.
template <class F>
static task<json> in_time(F ask) {
  try {
    auto answer = co_await leash::with_timeout(1s, ask);
    co_return answer ? std::move(*answer) : json();
  } catch (const sql::error&) {
    co_return json();
  }
}

static task<http::response> get_stats(parts& p, http::request& q) {
  json all = co_await in_time([&]() -> task<json> {
    totals const t = co_await p.orders.count();
    co_return json{{"orders", {{"accepted", t.accepted}, {"fulfilled", t.fulfilled}, {"refused", t.refused}}},
                   {"shipments", t.shipments},
                   {"outbox", t.outbox}};
  });
  if (all.is_null()) all = {{"orders", nullptr}, {"shipments", nullptr}, {"outbox", nullptr}};
  all["queue"] = co_await in_time([&]() -> task<json> {
    auto const n = co_await p.queue.counts();
    if (!n) co_return json();
    co_return json{{"waiting", n->waiting}, {"in_flight", n->in_flight}, {"dead", n->dead}};
  });
  counters const& c = p.count;
  all["since_start"] = {{"accepted", c.accepted.load()},   {"replayed", c.replayed.load()},
                        {"relayed", c.relayed.load()},     {"fulfilled", c.fulfilled.load()},
                        {"refused", c.refused.load()},     {"repeated", c.repeated.load()},
                        {"cancelled", c.cancelled.load()}, {"timed_out", c.timed_out.load()},
                        {"failed", c.failed.load()},       {"events_cut_off", c.events_cut_off.load()},
                        {"reports", c.reports.load()}};
  sql::pool_stats const s = p.orders.stats();
  all["pool"] = {{"open", s.open}, {"idle", s.idle}, {"in_use", s.in_use}, {"waiting", s.waiting}};
  all["listeners"] = p.tell.listeners();
  all["connections"] = q.figures().connections;
  all["requests"] = q.figures().requests;
  all["goroutines"] = leash::num_goroutines();
  all["leaks"] = leash::find_leaks().size();
  co_return http::json(all);
}

static task<http::response> get_health(parts& p) {
  bool const well = co_await leash::with_timeout(1s, [&] { return p.orders.ping(); });
  co_return well ? http::response("well\n") : http::response(503);
}

// --- around all of them

/// Counts and tells what was cut short, and why.
static task<http::response> watched(parts& p, http::request& q, const http::handler& next) {
  leash::context const mine = leash::this_context();
  auto const began = leash::now();
  co_return co_await leash::finally(next(q), [&](leash::outcome how) {
    if (how != leash::outcome::cancelled) return;
    bool const late = mine.err() == leash::context_error::deadline_exceeded;
    ++(late ? p.count.timed_out : p.count.cancelled);
    auto const ms = std::chrono::floor<std::chrono::milliseconds>(leash::now() - began).count();
    log(std::string(q.method_name()) + " " + std::string(q.route()) + " was cancelled after " + std::to_string(ms) +
        " ms: " + (late ? "it took too long" : mine.cause().reason));
  });
}

/// A database that is away, busy or full: try again. Anything else is a bug, and a 500.
static task<http::response> with_errors(parts& p, http::request& q, const http::handler& next) {
  try {
    co_return co_await next(q);
  } catch (const sql::error& e) {
    ++p.count.failed;
    if (!may_pass(e)) throw;
    co_return http::response(503, e.message() + "\n").header("Retry-After", "1");
  } catch (const key_taken&) {
    throw http::error(422, "the Idempotency-Key was used for another order");
  }
}

http::router routes(parts p) {
  http::router r;
  auto all = std::make_shared<parts>(p);
  auto reports = std::make_shared<leash::semaphore>(2);
  r.wrap([all](http::request& q, const http::handler& next) { return watched(*all, q, next); });
  r.wrap([all](http::request& q, const http::handler& next) { return with_errors(*all, q, next); });
  r.post("/orders", [all](http::request& q) { return post_order(*all, q); });
  r.get("/orders", [all](http::request& q) { return get_newest(*all, q); });
  r.get("/orders/{id}", [all](http::request& q) { return get_order(*all, q); });
  r.get("/report", [all, reports](http::request& q) { return get_report(*all, *reports, q); }, {.timeout = 2min});
  r.get("/events", [all] { return http::events([all](http::event_writer& to) { return listen(all->tell, to); }); });
  r.get("/stats", [all](http::request& q) { return get_stats(*all, q); });
  r.get("/health", [all] { return get_health(*all); });
  r.get("/", [] { return http::response(200, "text/html; charset=utf-8", std::string(page)); });
  return r;
}

}  // namespace orders
