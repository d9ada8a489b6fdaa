// Waiting until a client library's descriptor can be read or written, by the runtime's reactor.
#pragma once
#include <boost/asio/posix/stream_descriptor.hpp>
#include <leash/net/async.hpp>
#include <leash/select.hpp>

namespace leash::sql {

/// Does not own the descriptor; must go before it is closed. Made in a goroutine.
class readiness {
 public:
  explicit readiness(int fd) : at_(net::context(), fd) {}
  readiness(const readiness&) = delete;
  ~readiness() { at_.release(); }

  task<> readable() { co_await at_.async_wait(at_.wait_read, net::use_goroutine); }
  task<> writable() { co_await at_.async_wait(at_.wait_write, net::use_goroutine); }
  task<> either() {
    (void)co_await select(at_.async_wait(at_.wait_read, net::use_goroutine),
                          at_.async_wait(at_.wait_write, net::use_goroutine));
  }

 private:
  boost::asio::posix::stream_descriptor at_;
};

}  // namespace leash::sql
