// A port of 127.0.0.1 that stays a test's own while nobody listens at it, as between two lives of a server.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>

namespace leash::test {

/// Its socket is bound and does not listen: connections are refused, the system gives the port to nobody else, and a server
/// with SO_REUSEADDR can listen there.
class kept_port {
 public:
  kept_port() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    int const on = 1;
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t n = sizeof a;
    if (socket_ < 0 || ::setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        ::bind(socket_, reinterpret_cast<sockaddr*>(&a), n) != 0 ||
        ::getsockname(socket_, reinterpret_cast<sockaddr*>(&a), &n) != 0)
      throw std::system_error(errno, std::generic_category(), "no port");
    number_ = ntohs(a.sin_port);
  }
  kept_port(const kept_port&) = delete;
  ~kept_port() { ::close(socket_); }
  std::uint16_t number() const { return number_; }
  /// "127.0.0.1:4711".
  std::string address() const { return "127.0.0.1:" + std::to_string(number_); }

 private:
  int socket_;
  std::uint16_t number_ = 0;
};

}  // namespace leash::test
