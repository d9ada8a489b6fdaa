// A server that sends back what it gets: docs/net.md. `echo [address]`, by default 127.0.0.1:7007; Ctrl-C drains it, twice ends it.
#include <csignal>
#include <cstdio>
#include <leash/leash.hpp>
#include <leash/net.hpp>
#include <string>

using namespace leash;

task<> echo(net::tcp_stream s) {
  char buffer[4096];
  while (std::size_t n = co_await s.read_some(buffer)) co_await s.write_all(net::const_bytes(buffer, n));
}

task<> app(std::string address) {
  net::tcp_listener listener(address);
  net::signals stop{SIGINT, SIGTERM};
  event drain;
  std::printf("listening at %s:%d\n", listener.local_endpoint().address().to_string().c_str(),
              listener.local_endpoint().port());
  std::fflush(stdout);
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("server"),
         [&]() -> task<> { co_await net::serve(listener, {.max_connections = 1000, .drain = &drain}, echo); });
    (void)co_await stop.next();  // the first: no new connections
    drain.set();
    auto second = co_await select(stop.next(), s.join());
    if (second.index() == 0) s.cancel("stopped");  // the second: no old ones either
  });
}

int main(int argc, char** argv) { return run(app, std::string(argc > 1 ? argv[1] : "127.0.0.1:7007")), 0; }
