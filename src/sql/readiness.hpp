// Waiting until a client library's descriptor can be read or written, by the runtime's reactor.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <leash/net/async.hpp>
#include <leash/select.hpp>
#include <leash/sql/error.hpp>
#include <system_error>

namespace leash::sql {

/// Waits on a duplicate: the library may close its own at any time (libpq does so as soon as a connection is lost), and its number may
/// be another connection's before this goes. Made in a goroutine. Errors: error_kind::connection, when there are no descriptors.
class readiness {
 public:
  explicit readiness(int fd) : at_(net::context(), duplicate(fd)) {}
  readiness(const readiness&) = delete;
  // Taken out of the reactor first: closing does not do it while the other descriptor is open.
  ~readiness() { ::close(at_.release()); }

  task<> readable() { co_await at_.async_wait(at_.wait_read, net::use_goroutine); }
  task<> writable() { co_await at_.async_wait(at_.wait_write, net::use_goroutine); }
  task<> either() {
    (void)co_await select(at_.async_wait(at_.wait_read, net::use_goroutine),
                          at_.async_wait(at_.wait_write, net::use_goroutine));
  }

 private:
  static int duplicate(int fd) {
    int const mine = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (mine < 0) throw error(error_kind::connection, std::generic_category().message(errno));
    return mine;
  }
  boost::asio::posix::stream_descriptor at_;
};

}  // namespace leash::sql
