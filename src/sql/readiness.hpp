// Waiting until a client library's descriptor can be read or written, by the runtime's reactor.
#pragma once
#include <fcntl.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <leash/net/async.hpp>
#include <leash/select.hpp>
#include <system_error>

namespace leash::sql {

/// Of a descriptor of its own to the same socket: the library closes its one when it likes, and that number may be another
/// connection's by the time that we stop waiting for it. Made in a goroutine. Errors: std::system_error.
class readiness {
 public:
  explicit readiness(int fd) : at_(net::context(), own(fd)) {}

  task<> readable() { co_await at_.async_wait(at_.wait_read, net::use_goroutine); }
  task<> writable() { co_await at_.async_wait(at_.wait_write, net::use_goroutine); }
  task<> either() {
    (void)co_await select(at_.async_wait(at_.wait_read, net::use_goroutine),
                          at_.async_wait(at_.wait_write, net::use_goroutine));
  }

 private:
  static int own(int fd) {
    int const n = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (n < 0) throw std::system_error(errno, std::generic_category(), "sql: the connection's socket");
    return n;
  }

  boost::asio::posix::stream_descriptor at_;
};

}  // namespace leash::sql
