// Unix sockets: streams between processes of one machine. Datagrams: udp.hpp.
#pragma once
#include <leash/net/tcp.hpp>
#include <string>
#include <utility>

namespace leash::net {

class unix_stream : public stream {
 public:
  using stream::stream;
  /// Two connected streams.
  static std::pair<unix_stream, unix_stream> pair(std::source_location where = std::source_location::current());
  /// The process at the other end when it connected.
  struct credentials {
    int pid, uid, gid;
  };
  credentials peer() const;
};

/// Connects to a socket in the file system, or, if the path begins with '@', in the abstract name space.
task<unix_stream> connect_unix(std::string path);

class unix_listener : public listener_core {
 public:
  using stream_type = unix_stream;
  /// Makes the socket's file, in place of one that nobody listens at any more; closing removes it.
  explicit unix_listener(std::string path, listen_options = {},
                         std::source_location where = std::source_location::current());
  unix_listener(unix_listener&& o) noexcept : listener_core(std::move(o)), path_(std::exchange(o.path_, {})) {}
  unix_listener& operator=(unix_listener&&) = delete;
  ~unix_listener();
  /// As tcp_listener's.
  accept_operation<unix_stream> accept() noexcept { return {this, nullptr}; }
  accept_operation<unix_stream> accept(error_code& error) noexcept { return {this, &error}; }

 private:
  std::string path_;
};

}  // namespace leash::net
