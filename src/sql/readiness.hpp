// Waiting until a client library's descriptor can be read or written, by the runtime's reactor.
#pragma once
#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <leash/net/descriptor.hpp>
#include <leash/select.hpp>
#include <leash/sql/error.hpp>
#include <string>

namespace leash::sql {

/// Of a descriptor of its own to the same socket: the library closes its one when it likes, and that number may be another
/// connection's by the time that we stop waiting for it. Made in a goroutine. Errors: error (connection).
class readiness {
 public:
  explicit readiness(int fd) : at_(watched(fd)) {}

  net::ready_operation readable() noexcept { return at_.readable(); }
  net::ready_operation writable() noexcept { return at_.writable(); }
  net::ready_operation arrived() noexcept { return at_.arrived(); }
  task<> either() { (void)co_await select(at_.readable(), at_.writable()); }

 private:
  [[noreturn]] static void failed(const std::string& why) {
    throw error(error_kind::connection, "the connection's socket cannot be waited for: " + why, "08006");
  }
  static net::descriptor watched(int fd) {
    int const own = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0) failed(std::strerror(errno));
    try {
      return net::descriptor(own);
    } catch (const net::system_error& e) {
      failed(e.what());
    }
  }

  net::descriptor at_;
};

}  // namespace leash::sql
