// Waiting until a descriptor of a client library can be read or written.
#pragma once
#include <poll.h>

#include <leash/blocking.hpp>

namespace leash::sql {

class readiness {
 public:
  explicit readiness(int fd) noexcept : fd_(fd) {}
  task<> readable() { return wait(POLLIN); }
  task<> writable() { return wait(POLLOUT); }
  task<> either() { return wait(POLLIN | POLLOUT); }

 private:
  task<> wait(short events) {
    for (;;) {
      int const n = co_await blocking([fd = fd_, events] {
        pollfd p{fd, events, 0};
        return ::poll(&p, 1, 20);
      });
      if (n != 0) co_return;
    }
  }
  int fd_;
};

}  // namespace leash::sql
