#include "server.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <stdexcept>
#include <vector>

namespace leash::cli::test {

server::server(std::function<std::string(const std::string&)> answer, const std::string& path)
    : answer_(std::move(answer)) {
  listener_ = socket(path.empty() ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_un there{};
  there.sun_family = AF_UNIX;
  path.copy(there.sun_path, sizeof there.sun_path - 1);
  const bool bound = path.empty() ? bind(listener_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0
                                  : bind(listener_, reinterpret_cast<sockaddr*>(&there), sizeof there) == 0;
  socklen_t size = sizeof at;
  if (!bound || listen(listener_, 64) != 0 ||
      (path.empty() && getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size) != 0))
    throw std::runtime_error("no listening socket");
  port_ = ntohs(at.sin_port);
  thread_ = std::jthread([this] { serve(); });
}

server::~server() {
  over_ = true;
  thread_.join();
  close(listener_);
}

void server::serve() {
  std::vector<int> silent;
  while (!over_) {
    pollfd p{listener_, POLLIN, 0};
    if (poll(&p, 1, 20) <= 0) continue;
    const int c = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    std::string request;
    char buffer[4096];
    for (ssize_t n; request.find("\r\n\r\n") == request.npos && (n = recv(c, buffer, sizeof buffer, 0)) > 0;)
      request.append(buffer, static_cast<std::size_t>(n));
    const std::size_t path = request.find(' ') + 1;
    const std::string answer = answer_(request.substr(path, request.find(' ', path) - path));
    for (std::size_t sent = 0; sent < answer.size();) {
      const ssize_t n = send(c, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<std::size_t>(n);
    }
    if (answer.empty()) {
      silent.push_back(c);
    } else {
      close(c);
    }
  }
  for (int c : silent) close(c);
}

}  // namespace leash::cli::test
