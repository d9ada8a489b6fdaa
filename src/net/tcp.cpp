#include <netinet/in.h>
#include <netinet/tcp.h>

#include <charconv>
#include <leash/net/resolve.hpp>
#include <leash/net/tcp.hpp>
#include <stdexcept>

#include "system.hpp"

namespace leash::net {

tcp_stream::tcp_stream(int fd, std::source_location where) : stream(fd, where) {
  // A socket that its peer has left already says so when it is used.
  int const on = 1;
  (void)::setsockopt(native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}
tcp_endpoint tcp_stream::local_endpoint() const { return name_of_socket<tcp_endpoint>(native_handle(), ::getsockname); }
tcp_endpoint tcp_stream::remote_endpoint() const {
  return name_of_socket<tcp_endpoint>(native_handle(), ::getpeername);
}
void tcp_stream::set_no_delay(bool on) { set_option(native_handle(), IPPROTO_TCP, TCP_NODELAY, on); }
void tcp_stream::set_keep_alive(std::chrono::seconds idle) {
  int const seconds = static_cast<int>(std::max<std::int64_t>(1, idle.count()));
  set_option(native_handle(), SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(native_handle(), IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  set_option(native_handle(), IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, seconds / 3));
  set_option(native_handle(), IPPROTO_TCP, TCP_KEEPCNT, 3);
}

task<tcp_stream> connect(tcp_endpoint to) {
  co_return co_await finish_connect<tcp_stream>(make_socket(to.protocol().family(), SOCK_STREAM),
                                                static_cast<const sockaddr*>(to.data()),
                                                static_cast<socklen_t>(to.size()));
}

task<tcp_stream> connect(std::string host, std::string service) {
  std::vector<tcp_endpoint> const all = co_await resolve(std::move(host), std::move(service));
  std::exception_ptr last;
  for (const tcp_endpoint& e : all) {
    try {
      co_return co_await connect(e);
    } catch (const system_error&) {
      last = std::current_exception();
    }
  }
  std::rethrow_exception(last);
}

task<tcp_stream> connect(std::string host_and_port) {
  auto [host, port] = split_host_port(host_and_port);
  co_return co_await connect(std::move(host), std::move(port));
}

std::pair<std::string, std::string> split_host_port(std::string_view s) {
  std::size_t const colon = s.rfind(':');
  std::string_view host = s.substr(0, colon == s.npos ? 0 : colon);
  bool const bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (colon == s.npos || colon + 1 == s.size() || (!bracketed && host.find(':') != host.npos))
    throw std::invalid_argument("leash::net: not of the form host:port: " + std::string(s));
  if (bracketed) host = host.substr(1, host.size() - 2);
  return {std::string(host), std::string(s.substr(colon + 1))};
}

// --- listeners

listener_core& listener_core::operator=(listener_core&& o) noexcept {
  if (this != &o) {
    close();
    fd_ = std::move(o.fd_);
    kept_ = std::move(o.kept_);
    o.kept_.clear();
  }
  return *this;
}
listener_core::~listener_core() { close(); }
void listener_core::close() noexcept {
  fd_.close();
  for (int fd : kept_) ::close(fd);
  kept_.clear();
}

const fd_wait::kind accept_wait::how = fd_wait::kind_of<accept_wait>(false);

accept_wait::~accept_wait() {
  if (!untaken()) return;
  try {
    listener_->kept_.push_back(connection_);
  } catch (...) {
    ::close(connection_);
  }
}

bool accept_wait::attempt() noexcept {
  if (!listener_->kept_.empty()) {
    connection_ = listener_->kept_.front();
    listener_->kept_.pop_front();
    on().set_drained(false, false);
    return came_ = true;
  }
  for (;;) {
    connection_ = ::accept4(on().native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection_ >= 0) break;
    switch (errno) {
      case ECONNABORTED:  // it left while it stood in line; the others are no worse for it
      case EINTR:
      case EPROTO:
      case ENETDOWN:
      case EHOSTDOWN:
      case EHOSTUNREACH:
      case ENETUNREACH:
      case ENONET:
      case ENOPROTOOPT:
        continue;
      default:
        return failed(errno);
    }
  }
  on().set_drained(false, false);
  return came_ = true;
}

int accept_wait::take() { return succeeded() ? connection_ : -1; }

static int listen_at(tcp_endpoint at, const listen_options& o) {
  int number = ::socket(at.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (number < 0 && errno == EAFNOSUPPORT && at.address() == asio::ip::address_v6::any()) {
    at = {asio::ip::address_v4::any(), at.port()};  // "all addresses" of a machine without IPv6
    number = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  }
  raw_fd fd(number);
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (o.reuse_port) set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (at.protocol().family() == AF_INET6) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, o.v6_only);
  if (::bind(fd.get(), static_cast<const sockaddr*>(at.data()), static_cast<socklen_t>(at.size())) != 0) throw_errno();
  if (::listen(fd.get(), o.backlog) != 0) throw_errno();
  return fd.release();
}

static tcp_endpoint numeric_endpoint(std::string_view at) {
  auto [host, port] = split_host_port(at);
  std::uint16_t number = 0;
  auto const [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size())
    throw std::invalid_argument("leash::net: not a port number: " + port);
  if (host.empty()) return {asio::ip::tcp::v6(), number};
  error_code e;
  auto const address = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, e);
  if (e) throw std::invalid_argument("leash::net: not a numeric address: " + host);
  return {address, number};
}

tcp_listener::tcp_listener(tcp_endpoint at, listen_options o, std::source_location where)
    : listener_core(listen_at(at, o), where) {}
tcp_listener::tcp_listener(std::string_view at, listen_options o, std::source_location where)
    : tcp_listener(numeric_endpoint(at), o, where) {}
tcp_endpoint tcp_listener::local_endpoint() const {
  return name_of_socket<tcp_endpoint>(native_handle(), ::getsockname);
}

}  // namespace leash::net
