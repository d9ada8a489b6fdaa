// A web server for tests, in this process: it answers each request with what it is given.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

namespace leash::cli::test {

class server {
 public:
  /// `answer(path with query)` gives all bytes of an answer. An empty one keeps the connection open and silent.
  /// `socket`: the path of a Unix domain socket instead of a port.
  explicit server(std::function<std::string(const std::string&)> answer, const std::string& socket = {});
  ~server();
  server(const server&) = delete;

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  void serve();
  std::function<std::string(const std::string&)> answer_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> over_{false};
  std::jthread thread_;
};

/// An answer of status 200.
inline std::string ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
inline const std::string not_found = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

}  // namespace leash::cli::test
