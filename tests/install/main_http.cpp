// As main.cpp, with leash::http: the value is the response of a server in the same program.
#include <cstdio>
#include <cstdlib>
#include <leash/http.hpp>
#include <leash/leash.hpp>
#include <leash/net/tcp.hpp>
#include <string>

leash::task<int> app() {
  leash::http::router routes;
  routes.get("/", [] { return leash::http::response("42"); });
  leash::http::server server(std::move(routes));
  int got = 0;
  co_await leash::with_scope([&](leash::scope& s) -> leash::task<> {
    leash::net::tcp_listener at("127.0.0.1:0");
    std::string const url = "http://127.0.0.1:" + std::to_string(at.local_endpoint().port()) + "/";
    s.go([&server, at = std::move(at)]() mutable -> leash::task<> { (void)co_await server.serve(std::move(at)); });
    leash::http::client c;
    auto r = co_await c.get(url);
    got = std::atoi((co_await r.text()).c_str());
    server.shutdown();
  });
  co_return got;
}

int main() {
  std::printf("received %d\n", leash::run(app));
  return 0;
}
