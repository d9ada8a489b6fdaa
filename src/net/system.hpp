// What net's sources share: errors of system calls, and sockets made by them.
#pragma once
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <leash/net/async.hpp>
#include <utility>

namespace leash::net {

inline error_code system_code(int number) { return error_code(number, boost::system::system_category()); }
[[noreturn]] inline void throw_errno() { throw system_error(system_code(errno)); }

/// A descriptor until it is handed on.
class raw_fd {
 public:
  explicit raw_fd(int fd) : fd_(fd) {
    if (fd_ < 0) throw_errno();
  }
  raw_fd(raw_fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  raw_fd& operator=(raw_fd&&) = delete;
  ~raw_fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

inline raw_fd make_socket(int family, int type) {
  return raw_fd(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

template <class Endpoint>
Endpoint name_of_socket(int fd, int (*call)(int, sockaddr*, socklen_t*)) {
  Endpoint e;
  socklen_t size = static_cast<socklen_t>(e.capacity());
  if (call(fd, static_cast<sockaddr*>(e.data()), &size) != 0) throw_errno();
  e.resize(size);
  return e;
}

inline void set_option(int fd, int level, int name, int value) {
  if (::setsockopt(fd, level, name, &value, sizeof value) != 0) throw_errno();
}

/// A non-blocking connect that is under way: waits for its end. `fd` is closed if it fails.
template <class Stream>
task<Stream> finish_connect(raw_fd fd, const sockaddr* to, socklen_t size) {
  int const r = ::connect(fd.get(), to, size);
  // A Unix socket whose queue is full says EAGAIN and cannot be waited for.
  if (r != 0 && errno != EINPROGRESS) throw_errno();
  int const number = fd.get();
  Stream s(fd.release());
  if (r != 0) {
    co_await s.writable();
    int e = 0;
    socklen_t n = sizeof e;
    if (::getsockopt(number, SOL_SOCKET, SO_ERROR, &e, &n) != 0) e = errno;
    if (e != 0) throw system_error(system_code(e));
  }
  co_return s;
}

}  // namespace leash::net
