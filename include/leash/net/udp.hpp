// Datagrams: UDP.
#pragma once
#include <boost/asio/ip/udp.hpp>
#include <deque>
#include <leash/net/buffer.hpp>
#include <leash/net/descriptor.hpp>
#include <leash/task.hpp>
#include <vector>

namespace leash::net {

using udp_endpoint = asio::ip::udp::endpoint;

/// What came, and from whom. A datagram that was longer than the buffer is cut: `truncated`.
struct received {
  std::size_t size = 0;
  udp_endpoint from;
  bool truncated = false;
};

class receive_operation;

/// A UDP socket. One goroutine receives and one sends at a time.
class udp_socket {
 public:
  /// Bound to an address of this machine; port 0: any that is free. Errors: boost::system::system_error.
  explicit udp_socket(udp_endpoint at, std::source_location where = std::source_location::current());
  udp_socket(udp_socket&&) noexcept = default;
  udp_socket& operator=(udp_socket&&) noexcept = default;

  /// Receives one datagram. Suspends when: there is none. Wait reason: `IO wait`. Selectable: what a losing case took comes next
  /// time. Errors: boost::system::system_error, or `error` where it is given.
  receive_operation receive(mutable_bytes to) noexcept;
  receive_operation receive(mutable_bytes to, error_code& error) noexcept;
  /// Sends one datagram. Suspends when: the system has no room. Errors: boost::system::system_error.
  task<> send_to(const_bytes what, udp_endpoint to);
  /// Only datagrams from there are received.
  void connect(udp_endpoint);
  udp_endpoint local_endpoint() const;
  void close() noexcept { fd_.close(); }
  bool is_open() const noexcept { return fd_.is_open(); }
  int native_handle() const noexcept { return fd_.native_handle(); }

 private:
  friend class receive_wait;
  descriptor fd_;
  struct datagram {
    received what;
    std::vector<std::byte> bytes;
  };
  std::deque<datagram> kept_;
};

class receive_wait : public fd_wait {
 public:
  template <class Op>
  explicit receive_wait(Op& op) noexcept : fd_wait(how, op.on_->fd_, op.error_), socket_(op.on_), to_(op.to_) {}
  ~receive_wait();
  bool fast() noexcept { return (!socket_->kept_.empty() || worth_a_try()) && attempt(); }
  bool attempt() noexcept;
  received result() { return succeeded() ? got_ : received{}; }

 private:
  static const kind how;
  udp_socket* socket_;
  mutable_bytes to_;
  received got_;
};

class [[nodiscard]] receive_operation : public operation_base {
 public:
  using wait_type = receive_wait;
  using value_type = received;
  using result_type = received;
  receive_operation(udp_socket* s, mutable_bytes to, error_code* e) noexcept : on_(s), to_(to), error_(e) {}

 private:
  friend class receive_wait;
  [[maybe_unused]] udp_socket* on_;
  [[maybe_unused]] mutable_bytes to_;
  [[maybe_unused]] error_code* error_;
};
inline receive_operation udp_socket::receive(mutable_bytes to) noexcept { return {this, to, nullptr}; }
inline receive_operation udp_socket::receive(mutable_bytes to, error_code& e) noexcept { return {this, to, &e}; }

}  // namespace leash::net
