// An HTTP client that can be as rude as a test wants, a program with leaks to look at, and other programs' output.
#pragma once
#include <leash/debug.hpp>
#include <map>
#include <thread>
#include <vector>

#include "support/files.hpp"

namespace leash::test {

struct response {
  int status = 0;                              // 0: the connection ended without a reply
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks joined
  bool whole = false;                          // as long as it said, or the last chunk came
};

/// A connection, to 127.0.0.1:port most of the time. Reads end after some seconds.
class connection {
 public:
  explicit connection(unsigned short port);
  /// To a Unix domain socket.
  explicit connection(const std::string& path);
  connection(const connection&) = delete;
  ~connection();
  bool open() const { return fd_ >= 0; }
  /// False: the other side does not take it any more.
  bool write(std::string_view);
  /// Up to the other side's end, or until nothing has come for a while.
  std::string read_all();
  /// As that, but keeps nothing: how often `text` stood in it.
  std::size_t count_all(std::string_view text);
  /// One reply; what comes after it stays.
  response read();
  /// True when the other side has closed, within some seconds.
  bool ends();

 private:
  bool fill();
  int fd_ = -1;
  std::string buffer_;
};

response get(unsigned short port, std::string_view target, std::string_view more_headers = {},
             std::string_view host = "localhost");
/// Over a connection that is open.
response get(connection&, std::string_view target, std::string_view more_headers = {},
             std::string_view host = "localhost");
std::string gunzip(const std::string&);

/// Runs `command` by the shell: its output, both kinds, and its exit code.
std::pair<std::string, int> shell(const std::string& command);
bool have(const std::string& program);

/// A program that runs until stop(): two goroutines, alice and bob, that wait for each other, and who waits for them; live ones in
/// recv, in sleep and in a lock; with labels.
class scene {
 public:
  explicit scene(std::size_t receivers = 3);
  ~scene() { stop(); }
  void stop();

 private:
  std::optional<cancel_source> over_;
  std::thread thread_;
};

}  // namespace leash::test
