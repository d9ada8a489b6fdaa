// What the HTTP tests share: a server for the time of a client, and a client that speaks bytes, on threads that may block.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <leash/http.hpp>
#include <leash/net/tcp.hpp>
#include <map>
#include <support/support.hpp>

namespace leash::test::http_tests {

/// A client without manners. Every wait of it ends after longest_wait, with an empty answer.
class raw {
 public:
  explicit raw(std::uint16_t port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer != 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) close();
  }
  raw(raw&& o) noexcept : fd_(std::exchange(o.fd_, -1)), in_(std::move(o.in_)) {}
  raw& operator=(raw&& o) noexcept {
    std::swap(fd_, o.fd_);
    std::swap(in_, o.in_);
    return *this;
  }
  ~raw() { close(); }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// As close, with a reset instead of an orderly end.
  void reset() {
    linger const at_once{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close();
  }
  /// Goes without a word, as when its machine loses its power. False: that takes rights that this process has not.
  [[nodiscard]] bool vanish() {
    int const on = 1;
    if (::setsockopt(fd_, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) != 0) return false;
    close();
    return true;
  }
  void end_sending() { ::shutdown(fd_, SHUT_WR); }
  bool connected() const { return fd_ >= 0; }

  bool write(std::string_view s) {
    while (!s.empty() && fd_ >= 0) {
      pollfd p{fd_, POLLOUT, 0};
      if (::poll(&p, 1, most) != 1) return false;
      ssize_t const n = ::send(fd_, s.data(), s.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno != EAGAIN) return false;
      if (n > 0) s.remove_prefix(static_cast<std::size_t>(n));
    }
    return fd_ >= 0;
  }
  /// False: the other side has ended, or nothing came.
  bool more() {
    if (fd_ < 0) return false;
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, most) != 1) return false;
    char piece[16384];
    ssize_t const n = ::recv(fd_, piece, sizeof piece, 0);
    if (n <= 0) return false;
    in_.append(piece, static_cast<std::size_t>(n));
    return true;
  }
  /// All that comes until the end.
  std::string rest() {
    while (more()) {
    }
    return std::exchange(in_, {});
  }
  /// True: it ends without a further byte.
  bool ends() { return in_.empty() && !more() && in_.empty(); }

  struct answer {
    int status = 0;
    std::string head, body;
    bool whole = false;
    std::string field(std::string_view name) const {
      http::fields f;
      f.lines() = head.substr(std::min(head.find('\n') + 1, head.size()));
      return std::string(f.get(name));
    }
  };
  answer read(bool head_only = false) {
    answer a;
    std::size_t end;
    while ((end = in_.find("\r\n\r\n")) == in_.npos)
      if (!more()) return a;
    a.head = in_.substr(0, end + 2);
    in_.erase(0, end + 4);
    if (a.head.size() > 12) a.status = std::atoi(a.head.c_str() + 9);
    if (head_only || a.status < 200 || a.status == 204 || a.status == 304) {
      a.whole = true;
    } else if (a.field("Transfer-Encoding") == "chunked") {
      for (;;) {
        std::size_t line;
        while ((line = in_.find("\r\n")) == in_.npos)
          if (!more()) return a;
        std::size_t const n = std::strtoul(in_.c_str(), nullptr, 16);
        while (in_.size() < line + 2 + n + 2)
          if (!more()) return a;
        a.body += in_.substr(line + 2, n);
        in_.erase(0, line + 2 + n + 2);
        if (n == 0) break;
      }
      a.whole = true;
    } else if (std::string const length = a.field("Content-Length"); !length.empty()) {
      std::size_t const n = std::strtoul(length.c_str(), nullptr, 10);
      while (in_.size() < n)
        if (!more()) return a;
      a.body = in_.substr(0, n);
      in_.erase(0, n);
      a.whole = true;
    } else {
      a.body = rest();
      a.whole = true;
    }
    return a;
  }
  answer ask(std::string_view text) { return write(text) ? read(text.starts_with("HEAD ")) : answer(); }
  const std::string& unread() const { return in_; }

 private:
  static constexpr int most = 20'000;
  int fd_;
  std::string in_;
};

inline std::string get(std::string_view target, std::string_view more = {}) {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(more) + "\r\n";
}
inline std::string post(std::string_view target, std::string_view body, std::string_view more = {}) {
  return "POST " + std::string(target) +
         " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + std::string(more) +
         "\r\n" + std::string(body);
}

/// Whether other servers start and end meanwhile: then goroutines are not counted.
enum class among_others : bool { no, yes };
/// Serves while `client(port)` runs, on a thread that may block; then shuts down. Nothing of it is left afterwards.
template <class F>
task<http::shutdown_result> serving(http::router routes, http::server_options o, F client,
                                    among_others others = among_others::no) {
  if (!o.on_error)
    o.on_error = [](const http::request& r, std::exception_ptr) { ADD_FAILURE() << "at " << r.target(); };
  std::size_t const before = num_goroutines();
  http::server server(std::move(routes), std::move(o));
  http::shutdown_result result;
  (void)co_await with_scope([&](scope& s) -> task<> {
    net::tcp_listener at("127.0.0.1:0");
    std::uint16_t const port = at.local_endpoint().port();
    auto serving =
        s.go(named("serving"), [&server, at = std::move(at)]() mutable { return server.serve(std::move(at)); });
    if constexpr (std::is_invocable_v<F&, std::uint16_t, http::server&>) {
      if constexpr (is_task<std::invoke_result_t<F&, std::uint16_t, http::server&>>) {
        co_await client(port, server);
      } else {
        co_await blocking([&] { client(port, server); });
      }
    } else {
      co_await blocking([&] { client(port); });
    }
    server.shutdown();
    auto r = co_await serving.join();
    EXPECT_TRUE(r);
    if (r) result = std::move(*r);
  });
  if (others == among_others::no) EXPECT_EQ(num_goroutines(), before);
  EXPECT_TRUE(find_leaks().empty());
  http::server_figures const f = server.figures();
  EXPECT_EQ(f.connections, 0u);
  EXPECT_EQ(f.requests, 0u);
  co_return result;
}

}  // namespace leash::test::http_tests
