// A small service, and a client that asks it. It ends by itself.
#include <cstdio>
#include <leash/http.hpp>
#include <leash/leash.hpp>
#include <leash/net/tcp.hpp>
#include <map>

using namespace leash;
using namespace std::chrono_literals;

struct orders {
  mutex lock;
  std::map<std::string, std::string> all;  // by id
};

http::router routes(std::shared_ptr<orders> db) {
  http::router r;
  r.get("/orders/{id}", [db](http::request& q) -> task<http::response> {
    auto held = co_await db->lock.lock();
    auto it = db->all.find(q.param("id"));
    if (it == db->all.end()) throw http::error(404, "no such order");
    co_return it->second;
  });
  r.put("/orders/{id}",
        [db](http::request& q) -> task<http::response> {
          std::string text =
              co_await q.text(4096);  // more: 413; a client that stops sending: 408; one that goes away: it ends here
          auto held = co_await db->lock.lock();
          db->all[q.param("id")] = std::move(text);
          co_return http::response(201);
        },
        {.timeout = 2s});
  r.get("/ticks", [] {  // while the client listens
    return http::response::stream(
        [](http::body_writer& to) -> task<> {
          for (int i = 0; i < 3; ++i) {
            co_await to.write("tick\n");
            co_await sleep(10ms);
          }
        },
        "text/plain");
  });
  return r;
}

task<> app() {
  http::server server(routes(std::make_shared<orders>()), {.max_requests = 100, .request_timeout = 5s, .grace = 3s});
  net::tcp_listener listener("127.0.0.1:0");
  std::string const base = "http://127.0.0.1:" + std::to_string(listener.local_endpoint().port());

  co_await with_scope([&](scope& s) -> task<> {
    auto serving = s.go([&server, l = std::move(listener)]() mutable { return server.serve(std::move(l)); });
    http::client c;
    auto put = co_await c.send({"PUT", base + "/orders/7", {}, "two pounds of apples"});
    std::printf("%d\n", put.status);
    auto got = co_await c.get(base + "/orders/7");
    std::printf("%s\n", (co_await got.text()).c_str());
    auto missing = co_await c.get(base + "/orders/8");
    std::printf("%d %s", missing.status, (co_await missing.text()).c_str());
    auto ticks = co_await c.get(base + "/ticks");
    while (auto piece = co_await ticks.read()) std::printf("%.*s", static_cast<int>(piece->size()), piece->data());

    server.shutdown();  // what runs has the grace to finish
    auto end = co_await serving.join();
    std::printf("%zu requests were cut\n", end->cut.size());
  });
}

int main() { leash::run(app); }
