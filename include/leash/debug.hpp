// Debug endpoints: the program's goroutines and leaks over HTTP, in the forms of Go's tools, and as a live page.
//
//   /debug/leash                   the page
//   /debug/leash/api/...           what it shows, as JSON
//   /debug/pprof/                  goroutine and goroutineleak profiles, for `go tool pprof` and whatever else reads Go's
//   /metrics                       for Prometheus
//
// A library of its own, leash::debug: the core depends on nothing but the standard library.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace leash::debug {

/// Every member has a default.
struct serve_options {
  /// Asked of every request: "Authorization: Bearer TOKEN", or token=TOKEN in the address. Needed on any address but a
  /// loopback one.
  std::string token = {};
  /// Names under which the program is reached, besides localhost and plain IP addresses: a request for another name is
  /// refused, since a web page elsewhere may have pointed its own name at this address.
  std::vector<std::string> hosts = {};
  std::size_t max_connections = 64;
  unsigned max_requests_per_second = 100;
};

/// The endpoints are served while it lives.
class [[nodiscard]] server {
 public:
  server(server&&) noexcept;
  server& operator=(server&&) noexcept;
  ~server();
  /// 0 for a Unix domain socket.
  unsigned short port() const noexcept;
  /// The page's: "http://127.0.0.1:6060/debug/leash"; of a Unix domain socket "unix:PATH".
  std::string address() const;
  struct state;  // the library's own

 private:
  explicit server(std::unique_ptr<state>);
  std::unique_ptr<state> s_;
  friend server serve(std::string_view, serve_options);
};

/// Serves the debug endpoints of this process, for all its runtimes, on a thread of its own, which needs no worker: a
/// program whose scheduler is stuck can be looked into.
///
/// Parameters: address, "HOST:PORT" with an IP address or localhost as host, port 0 takes a free one; or "unix:PATH", a
///   Unix domain socket that only this user may connect to (a socket left behind at PATH is replaced; it is removed at the end).
/// Thread safety: any thread, before, during and after runs; not inside a simulated run.
/// Errors: std::invalid_argument for an address that is none, or one beyond loopback without a token;
///   std::system_error when it cannot be listened on.
/// Cost: while nobody asks, a look at all goroutines every second, rarer when there are many: a hundredth of one
///   processor at most. See docs/design/sight.md.
server serve(std::string_view address = "127.0.0.1:6060", serve_options = {});

}  // namespace leash::debug
