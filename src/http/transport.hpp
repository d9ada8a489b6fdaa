// A connection's two directions, whatever is below: TCP, TLS, or a test's own.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <leash/task.hpp>
#include <memory>
#include <string>
#include <string_view>

namespace leash::http {

class transport {
 public:
  using pieces = std::array<std::string_view, 3>;

  virtual ~transport() = default;
  /// Before all else, in the connection's own goroutine: the handshake of TLS. False: it failed.
  virtual task<bool> start() { co_return true; }
  /// Waits for bytes; how many were read. 0: no more will come, for whatever reason.
  virtual task<std::size_t> read(char* to, std::size_t most) = 0;
  /// Sends all of it. False: it cannot be sent any more.
  virtual task<bool> write(pieces) = 0;
  /// Tells the other side that no more will be sent, as far as that is possible.
  virtual task<> finish() = 0;
  /// For shutdown() and poll() by others, as long as the transport lives.
  virtual int descriptor() const noexcept = 0;
  virtual bool secure() const noexcept = 0;
};

/// Where a server's connections come from.
class acceptor {
 public:
  virtual ~acceptor() = default;
  /// The next one; null: none can be had just now (too many files are open). Errors: std::system_error when none will come.
  virtual task<std::unique_ptr<transport>> accept(std::string& remote) = 0;
};

/// Makes a client's connections.
class connector {
 public:
  virtual ~connector() = default;
  /// Errors: failure unreachable, insecure.
  virtual task<std::unique_ptr<transport>> open(const std::string& host, std::uint16_t port, bool secure) = 0;
};
struct connector_options {
  std::string ca_file;  // trusted besides the system's
};
std::unique_ptr<connector> make_connector(connector_options);

}  // namespace leash::http
