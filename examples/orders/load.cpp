#include "load.hpp"

#include <algorithm>
#include <leash/http/client.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

namespace orders {

using leash::task;
namespace http = leash::http;
using namespace std::chrono_literals;
using std::chrono::milliseconds;

double load_totals::percentile(double p) const {
  if (latencies.empty()) return 0;
  return latencies[static_cast<std::size_t>(p * static_cast<double>(latencies.size() - 1))];
}

namespace {

/// One client: places orders one after the other, some of which it leaves in the middle.
class customer {
 public:
  customer(const load_settings& s, http::client c, std::string name, std::uint64_t seed)
      : set_(s), client_(std::move(c)), name_(std::move(name)), random_(seed) {}

  /// next: the number of orders that all clients have begun.
  task<> buy(leash::clock::time_point start, std::atomic<std::uint64_t>& next) {
    auto const end = start + set_.during;
    for (;;) {
      auto due = leash::now();
      if (set_.rate > 0) {
        due = start + std::chrono::duration_cast<leash::nanoseconds>(
                          std::chrono::duration<double>(static_cast<double>(next.fetch_add(1)) / set_.rate));
        if (due < end) co_await leash::sleep_until(due);
      }
      if (due >= end || set_.enough.stop_requested()) co_return;
      if (!chance(set_.abandon)) {
        co_await buy_one(due, end);
      } else if (chance(0.5)) {
        co_await leave_order();
      } else {
        co_await leave_report();
      }
    }
  }

  /// Looks for what was acknowledged, until all of it was shipped.
  task<> check(leash::clock::time_point until) {
    for (const std::string& id : acknowledged_) ++co_await what_became_of(id, until);
  }

  load_totals totals;

 private:
  bool chance(double p) { return std::bernoulli_distribution(p)(random_); }
  milliseconds between(int least, int most) {
    return milliseconds(std::uniform_int_distribution<>(least, most)(random_));
  }
  http::client_request new_order() {
    http::client_request q{"POST", set_.url + "/orders", {}, {}};
    q.headers.add("Content-Type", "application/json");
    q.headers.add("Idempotency-Key", name_ + "-" + std::to_string(++orders_));
    q.body = nlohmann::json{{"customer", name_}, {"item", "apples"}, {"quantity", 1 + orders_ % 9}}.dump();
    return q;
  }

  /// The order's id, if it was acknowledged; nullopt: refused for now. Errors: http::failure.
  task<std::optional<std::string>> send(http::client_request q) {
    auto answer = co_await client_.send(std::move(q));
    std::string const text = co_await answer.text();
    if (answer.status == 503) co_return std::nullopt;
    if (answer.status != 201 && answer.status != 200)
      throw std::runtime_error("POST /orders: " + std::to_string(answer.status) + " " + text);
    co_return nlohmann::json::parse(text).at("id").get<std::string>();
  }
  void acknowledged(std::string id) {
    ++totals.acknowledged;
    acknowledged_.push_back(std::move(id));
  }
  void failed(std::string why) {
    ++totals.failures;
    totals.last_failure = std::move(why);
  }

  task<> buy_one(leash::clock::time_point due, leash::clock::time_point end) {
    http::client_request const q = new_order();
    for (;;) {
      try {
        if (auto id = co_await send(q)) {
          acknowledged(std::move(*id));
          totals.latencies.push_back(std::chrono::duration<double, std::milli>(leash::now() - due).count());
          co_return;
        }
        failed("503");
      } catch (const http::failure& e) {
        failed(e.what());
      }
      if (leash::now() >= end || set_.enough.stop_requested()) break;
      co_await leash::sleep(between(20, 100));
    }
    ++totals.unacknowledged;
  }

  // Who leaves cancels its own context: that closes the connection, which ends the request's context in the service.
  task<> leave_order() {
    try {
      auto const answer = co_await leash::with_timeout(between(0, 5), send(new_order()));
      if (answer && *answer)
        acknowledged(std::move(**answer));  // it was quicker
      else if (!answer)
        ++totals.abandoned_orders;
    } catch (const http::failure& e) {
      failed(e.what());
    }
  }
  task<> leave_report() {
    try {
      if (!co_await leash::with_timeout(between(20, 60), client_.get(set_.url + "/report?ms=5000")))
        ++totals.abandoned_reports;
    } catch (const http::failure& e) {
      failed(e.what());
    }
  }

  task<std::uint64_t&> what_became_of(const std::string& id, leash::clock::time_point until) {
    for (;; co_await leash::sleep(100ms)) {
      bool const last = leash::now() >= until;
      try {
        auto answer = co_await client_.get(set_.url + "/orders/" + id);
        std::string const text = co_await answer.text();
        if (answer.status == 404) co_return totals.lost;
        if (answer.status == 200) {
          std::int64_t const shipments = nlohmann::json::parse(text).at("shipments");
          if (shipments == 1) co_return totals.shipped;
          if (shipments > 1) co_return totals.shipped_twice;
        }
      } catch (const http::failure& e) {
        if (last) failed(e.what());
      }
      if (last) co_return totals.waiting;
    }
  }

  const load_settings& set_;
  http::client client_;
  std::string name_;
  std::mt19937_64 random_;
  std::uint64_t orders_ = 0;
  std::vector<std::string> acknowledged_;
};

/// How many requests the service has cut short because their clients went away.
task<std::uint64_t> cancelled(const load_settings& set, http::client client) {
  try {
    auto answer = co_await client.get(set.url + "/stats");
    co_return nlohmann::json::parse(co_await answer.text()).at("since_start").at("cancelled").get<std::uint64_t>();
  } catch (const http::failure&) {
    co_return 0;
  }
}

}  // namespace

task<load_totals> drive(load_settings set) {
  http::client client({.max_connections_per_host = set.clients + 1,
                       .max_idle_per_host = set.clients + 1,
                       .timeout = set.timeout,
                       .body_timeout = set.timeout});
  (void)http::url::parse(set.url);
  std::random_device any;
  std::string const run = std::to_string(any());  // keys and customers of this run
  std::vector<std::unique_ptr<customer>> customers;
  for (std::size_t i = 0; i < set.clients; ++i)
    customers.push_back(std::make_unique<customer>(set, client, run + "-" + std::to_string(i), any()));

  std::uint64_t const before = co_await cancelled(set, client);
  auto const start = leash::now();
  std::atomic<std::uint64_t> next = 0;
  co_await leash::with_scope([&](leash::scope& s) {
    for (auto& c : customers) s.go(leash::named("customer"), [&, who = c.get()] { return who->buy(start, next); });
  });
  load_totals all;
  all.seconds = std::chrono::duration<double>(leash::now() - start).count();
  if (set.check) {
    auto const until = leash::now() + set.wait;
    co_await leash::with_scope([&](leash::scope& s) {
      for (auto& c : customers) s.go(leash::named("check"), [until, who = c.get()] { return who->check(until); });
    });
    all.checked = true;
  }
  std::uint64_t const after = co_await cancelled(set, client);
  all.cancelled = after > before ? after - before : 0;
  for (auto& c : customers) {
    const load_totals& t = c->totals;
    all.acknowledged += t.acknowledged;
    all.unacknowledged += t.unacknowledged;
    all.failures += t.failures;
    all.abandoned_orders += t.abandoned_orders;
    all.abandoned_reports += t.abandoned_reports;
    all.shipped += t.shipped;
    all.lost += t.lost;
    all.waiting += t.waiting;
    all.shipped_twice += t.shipped_twice;
    if (!t.last_failure.empty()) all.last_failure = t.last_failure;
    all.latencies.insert(all.latencies.end(), t.latencies.begin(), t.latencies.end());
  }
  std::ranges::sort(all.latencies);
  co_return all;
}

}  // namespace orders
