// As main.cpp, with leash::net: the value goes through a connection to itself.
#include <cstdio>
#include <leash/leash.hpp>
#include <leash/net.hpp>

leash::task<int> app() {
  leash::net::tcp_listener listener("127.0.0.1:0");
  auto a = co_await leash::net::connect(listener.local_endpoint());
  auto b = co_await listener.accept();
  co_await a.write_all("*");
  char in[1];
  co_return co_await b.read_exactly(in) ? in[0] : 0;
}

int main() {
  std::printf("received %d\n", leash::run(app));
  return 0;
}
