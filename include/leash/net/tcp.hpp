// TCP: listeners and connections.
#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <deque>
#include <leash/net/stream.hpp>
#include <string>

namespace leash::net {

using tcp_endpoint = asio::ip::tcp::endpoint;

/// A TCP connection. Small writes go out at once (TCP_NODELAY), as in Go.
class tcp_stream : public stream {
 public:
  tcp_stream() noexcept = default;
  /// Takes over a connected socket.
  explicit tcp_stream(int fd, std::source_location where = std::source_location::current());

  tcp_endpoint local_endpoint() const;
  tcp_endpoint remote_endpoint() const;
  void set_no_delay(bool);
  /// Probes a silent peer after `idle`, every `idle / 3`; three in vain end the connection.
  void set_keep_alive(std::chrono::seconds idle);
};

/// Connects to an endpoint. Suspends until connected. Cancellation: the attempt is given up. Errors: boost::system::system_error.
task<tcp_stream> connect(tcp_endpoint to);
/// Connects to "host:port" or "[v6]:port"; a port may be a service's name. Every address of the host is tried, in the resolver's
/// order. Errors: boost::system::system_error, of the last attempt; std::invalid_argument if it is not of that form.
task<tcp_stream> connect(std::string host_and_port);
task<tcp_stream> connect(std::string host, std::string service);

/// Splits "host:port". Errors: std::invalid_argument.
std::pair<std::string, std::string> split_host_port(std::string_view);

struct listen_options {
  int backlog = 4096;       // connections that wait to be accepted; the system may set a lower limit
  bool reuse_port = false;  // several listeners on one port share its connections
  bool v6_only = false;
};

/// What accept() takes a new connection from; the untyped part of tcp_listener and unix_listener.
class listener_core {
 public:
  listener_core(int fd, std::source_location where) : fd_(fd, where) {}
  listener_core(listener_core&&) noexcept = default;
  listener_core& operator=(listener_core&&) noexcept;
  ~listener_core();
  bool is_open() const noexcept { return fd_.is_open(); }
  /// Goroutines in accept() get operation_aborted.
  void close() noexcept;
  int native_handle() const noexcept { return fd_.native_handle(); }

 private:
  friend class accept_wait;
  descriptor fd_;
  std::deque<int> kept_;  // accepted by an operation that nobody wanted
};

class accept_wait : public fd_wait {
 public:
  template <class Op>
  explicit accept_wait(Op& op) noexcept : fd_wait(how, op.on_->fd_, op.error_), listener_(op.on_) {}
  ~accept_wait();
  bool fast() noexcept { return (!listener_->kept_.empty() || worth_a_try()) && attempt(); }
  bool attempt() noexcept;

 protected:
  int take();  // the new connection; -1: an error was given to the caller

 private:
  static const kind how;
  listener_core* listener_;
  int connection_ = -1;
};

template <class Stream>
class [[nodiscard]] accept_operation : public operation_base {
 public:
  class wait_type : public accept_wait {
   public:
    using accept_wait::accept_wait;
    Stream result() {
      int const fd = take();
      return fd >= 0 ? Stream(fd) : Stream();
    }
  };
  using value_type = Stream;
  using result_type = Stream;
  accept_operation(listener_core* l, error_code* e) noexcept : on_(l), error_(e) {}

 private:
  friend class accept_wait;
  [[maybe_unused]] listener_core* on_;
  [[maybe_unused]] error_code* error_;
};

class tcp_listener : public listener_core {
 public:
  using stream_type = tcp_stream;
  /// Listens at an address of this machine; port 0: any that is free. Errors: boost::system::system_error.
  explicit tcp_listener(tcp_endpoint at, listen_options = {},
                        std::source_location where = std::source_location::current());
  /// At "host:port" with a numeric host; ":port" is all addresses.
  explicit tcp_listener(std::string_view at, listen_options = {},
                        std::source_location where = std::source_location::current());

  /// Takes the next connection. Suspends when: there is none. Wait reason: `IO wait`. Cancellation: first. Selectable: a
  /// connection that a losing case took comes next time.
  /// Errors: boost::system::system_error, or `error` where it is given. Out of descriptors (too_many_files_open) is one; the
  ///   connection stays in line.
  accept_operation<tcp_stream> accept() noexcept { return {this, nullptr}; }
  accept_operation<tcp_stream> accept(error_code& error) noexcept { return {this, &error}; }
  tcp_endpoint local_endpoint() const;
};

}  // namespace leash::net
