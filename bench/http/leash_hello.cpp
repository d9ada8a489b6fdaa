// "hello" by leash::http, as it comes: a context with a deadline for each request, goroutines that dumps and the proof see.
#include <cstdio>
#include <cstdlib>
#include <leash/http.hpp>
#include <leash/leash.hpp>
#include <leash/net/tcp.hpp>

int main(int argc, char** argv) {
  std::string const at = argc > 1 ? argv[1] : "127.0.0.1:0";
  return leash::run([at]() -> leash::task<int> {
    leash::http::router r;
    r.get("/", [](leash::http::request&) -> leash::task<leash::http::response> { co_return "hello, world\n"; });
    leash::net::tcp_listener l(at);
    std::printf("%u\n", l.local_endpoint().port());
    std::fflush(stdout);
    leash::http::server s(std::move(r), {.max_connections = 100'000, .idle_timeout = std::chrono::hours(1)});
    (void)co_await s.serve(std::move(l));
    co_return 0;
  });
}
