#include "service.hpp"

#ifdef LEASH_DEMO_SERVICE
#include <leash/leash.hpp>
#include <string>

#include "../orders/folder.hpp"
#include "../orders/load.hpp"
#include "../orders/service.hpp"
#include "term.hpp"
#endif

namespace demo {

#ifndef LEASH_DEMO_SERVICE
bool has_service() { return false; }
bool service_act(unsigned, interrupt&) { return true; }
#else

namespace {

using namespace std::chrono_literals;
using leash::task;

task<> serve_and_drive(const orders::settings& set, leash::shutdown_request& stop, orders::load_totals& seen) {
  auto [started, address] = leash::channel<std::string>(1);
  auto const ready = [&](std::string url) { (void)started.try_send(std::move(url)); };
  auto const service = [&] { return orders::serve(set, stop, ready); };
  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    s.go(leash::named("service"), service);
    auto const url = co_await address.recv();
    say("  " + bold(*url) + dim(" with SQLite for its database and its queue"));
    seen = co_await orders::drive(
        {.url = *url, .clients = 8, .rate = 80, .during = 1500ms, .abandon = 0.1, .check = true});
    stop.request();
  });
}

}  // namespace

bool has_service() { return true; }

bool service_act(unsigned workers, interrupt& ctrl_c) {
  headline(
      "A service: orders over HTTP, a database with an outbox, a durable queue, and clients some of which go away");
  orders::temporary_folder const folder;
  orders::settings set;
  set.listen = "127.0.0.1:0";
  set.data = folder.path();
  set.drain = 1s;
  orders::load_totals seen;
  leash::options o;
  o.workers = workers;
  auto const act = [&] {  // ^C is the demo's, so the service catches no signals
    return leash::with_shutdown({.signals = {}},
                                [&](leash::shutdown_request& stop) { return serve_and_drive(set, stop, seen); });
  };
  leash::run(o, [&]() -> task<> { (void)co_await leash::with_cancel(ctrl_c.source, act); });
  if (ctrl_c.signal()) return true;
  say("  " + std::to_string(seen.acknowledged) + " orders were acknowledged, half within " +
      fixed(seen.percentile(0.5), 1) + " ms: " + std::to_string(seen.shipped) + " shipped once, " +
      std::to_string(seen.lost + seen.waiting) + " lost, " + std::to_string(seen.shipped_twice) + " shipped twice");
  say("  " + std::to_string(seen.abandoned_orders + seen.abandoned_reports) +
      " requests were left by their clients in the middle; the service cancelled " + std::to_string(seen.cancelled) +
      " (above), and had answered the others");
  say("  ./demo orders runs it until ^C, with a page, leaks to plant, and real servers if there are any");
  return seen.good();
}

#endif

}  // namespace demo
