// A TCP proxy between a service and its server: the network that a test cuts.
#pragma once
#include <atomic>
#include <leash/leash.hpp>
#include <string>
#include <thread>

#include "sql/database.hpp"
#include "support/kept_port.hpp"

namespace orders::tests {

enum class network {
  passes,
  refuses,   // connections are reset, new ones are refused
  swallows,  // connections stay, new ones are made, and nothing comes through any more: a cut that nobody is told of
};

/// Thread safety: one thread.
class proxy {
 public:
  /// to: "127.0.0.1:4222", or the path of a Unix domain socket.
  explicit proxy(std::string to);
  proxy(const proxy&) = delete;
  ~proxy();
  /// Returns when it is so. What was swallowed is reset then.
  void becomes(network);
  std::uint16_t port() const { return port_.number(); }
  std::string address() const { return port_.address(); }

 private:
  leash::task<> work(leash::receiver<network> changes);

  std::string to_;
  leash::test::kept_port port_;
  std::atomic<int> changed_ = 0;
  leash::sender<network> change_;
  std::thread thread_;
};

/// To PostgreSQL's Unix domain socket.
class postgres_proxy : public proxy {
 public:
  explicit postgres_proxy(const leash::test::sql_tests::database&);
  /// What libpq connects to it with.
  const std::string& conninfo() const { return conninfo_; }

 private:
  std::string conninfo_;
};

}  // namespace orders::tests
