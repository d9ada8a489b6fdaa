// As main.cpp, with the debug endpoints: one value through one channel, and the program asks itself for its metrics meanwhile.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <leash/debug.hpp>
#include <leash/leash.hpp>
#include <string>
#include <utility>

std::string metrics(unsigned short port) {
  int const fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string const ask = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  std::string all;
  char bytes[4096];
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 && ::send(fd, ask.data(), ask.size(), 0) > 0)
    for (ssize_t n; (n = ::recv(fd, bytes, sizeof bytes, 0)) > 0;) all.append(bytes, static_cast<std::size_t>(n));
  ::close(fd);
  return all;
}

leash::task<int> app(unsigned short port) {
  int got = 0;
  co_await leash::with_scope([&](leash::scope& s) -> leash::task<> {
    auto [tx, rx] = leash::channel<int>();
    s.go([](leash::sender<int> out) -> leash::task<> { (void)co_await out.send(42); }, std::move(tx));
    std::string const seen = co_await leash::blocking([=] { return metrics(port); });
    if (seen.find("# TYPE leash_goroutines gauge\n") == seen.npos) std::printf("metrics: %s\n", seen.c_str());
    got = (co_await rx.recv()).value();
  });
  co_return got;
}

int main() {
  auto const sight = leash::debug::serve("127.0.0.1:0");
  std::printf("received %d\n", leash::run(app, sight.port()));
  return 0;
}
