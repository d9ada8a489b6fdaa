#include "service.hpp"

#include <leash/http/server.hpp>
#include <leash/net/tcp.hpp>
#include <sstream>

#include "api.hpp"
#include "fulfil.hpp"
#include "log.hpp"
#include "relay.hpp"

namespace orders {

using leash::named, leash::scope, leash::task;
namespace http = leash::http;
namespace mq = leash::mq;
using namespace std::chrono_literals;

static task<mq::queue> open_queue(const settings& set) {
  if (set.nats.empty())
    return mq::open_sqlite({.file = set.data + "/queue.db", .name = set.queue, .ordered_by_key = true});
  return mq::open_nats({.url = set.nats, .name = set.queue, .ordered_by_key = true});
}

static mq::consumer_options consuming(const settings& set) {
  return {.concurrency = set.consumers,
          .handler_limit = {},  // an order is not given up; a handler that can never go on is proved to be leaked
          .visibility = set.visibility,
          .drain_within = set.drain,
          .on_failure = [](const mq::message* m, const std::string& what) {
            log((m != nullptr ? "order " + m->body : std::string("queue")) + ": " + what);
          }};
}

static void tell_of(const http::shutdown_result& end) {
  for (const http::unfinished_request& r : end.cut)
    log("cut at the end: " + std::string(http::name_of(r.method)) + " " + r.route);
}

task<> serve(const settings& set, leash::shutdown_request& stop, std::function<void(const std::string&)> ready) {
  leash::net::tcp_listener listener(set.listen);  // first: an address that is in use is told at once
  counters count;
  news tell(count);
  garden plants(set.plants, set.twins);
  store orders(set);
  co_await orders.prepare();
  mq::queue queue = co_await open_queue(set);
  queue_look look(queue);
  mq::consumer consumer(queue, consuming(set));
  auto [commit, committed] = leash::channel<std::monostate>(1);

  http::server server(routes({count, orders, look, tell, commit, plants}),
                      {.max_requests = 1000, .request_timeout = 30s, .grace = set.drain, .on_shutdown = tell_of});

  auto const relaying = [&] { return relay(orders, queue, committed, count); };
  auto const fulfilling = [&]() -> task<> {
    co_await consumer.run([&](const mq::message& m) { return fulfil(m, set.work, orders, tell, count); });
  };
  auto const ending = [&]() -> task<> {
    co_await stop.requested();
    log("shutting down");
    tell.close();  // whoever listens for events would do so until the end
    consumer.drain();
    server.shutdown();
  };

  std::ostringstream url;
  url << "http://" << listener.local_endpoint();
  ready(url.str());
  co_await leash::with_scope([&](scope& s) -> task<> {
    plants.dig(s);
    s.go(named("relay"), relaying);
    s.go(named("queue look"), [&] { return look.run(); });
    auto consuming = s.go(named("fulfilment"), fulfilling);
    s.go(named("ending"), ending);
    co_await server.serve(std::move(listener));
    co_await consuming.join();
    // The relay: what is in the outbox will be there. Who looks at the queue, and what was planted.
    s.cancel("the service ends");
  });
  co_await orders.close();
}

}  // namespace orders
