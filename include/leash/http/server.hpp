// The HTTP server.
//
// A goroutine for each connection reads requests one after the other and runs their handlers, each in a context of its own
// that ends with the client's disconnection, with the deadline, or with the server's. One goroutine, the keeper, looks after
// all connections: times that have run out, clients that have gone away.
//
// A connection that is stuck, slow, or malicious is bounded in memory (a head, a piece of a body) and in time (every phase has
// a limit), and so is their number.
#pragma once
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <leash/http/router.hpp>
#include <leash/looking.hpp>
#include <memory>
#include <string>
#include <vector>

namespace leash::net {
class tcp_listener;
class tls_context;
}  // namespace leash::net

namespace leash::http {

class acceptor;

/// Every member has a default. Times are exact to some ten milliseconds, plus one for each hundred connections.
struct server_options {
  std::size_t max_connections = 20'000;                    // one more is told 503 and closed
  std::size_t max_requests = 10'000;                       // handlers at once; one more is told 503
  std::chrono::seconds retry_after{1};                     // what those are told
  std::size_t max_head = 16 << 10;                         // request line and header fields; more is told 431
  std::uint64_t max_body = 16 << 20;                       // more is told 413
  nanoseconds head_timeout = std::chrono::seconds(10);     // from a head's first byte to its last; later: 408
  nanoseconds body_timeout = std::chrono::seconds(30);     // for each piece of a body; later: 408
  nanoseconds write_timeout = std::chrono::seconds(30);    // for each piece of a response
  nanoseconds idle_timeout = std::chrono::seconds(60);     // between two requests
  nanoseconds request_timeout = std::chrono::seconds(60);  // for a handler, until it returns its response; later: 503
  std::chrono::seconds keep_alive{15};  // a client that is silent for so long is probed by TCP: is it still there?
  nanoseconds grace = std::chrono::seconds(10);  // for what runs when the server is told to end
  bool half_close = false;                       // true: a client that only ends its own sending has not gone away
  bool compress = true;  // bodies of types that are worth it, by gzip or deflate, if the client takes them
  /// Told of exceptions that end handlers (not of http::error); on the handler's worker. Empty: a line on stderr.
  std::function<void(const request&, std::exception_ptr)> on_error = {};
  /// Told what was cut when the grace had passed, before it is waited for.
  std::function<void(const struct shutdown_result&)> on_shutdown = {};
};

/// A request that was still running when the grace had passed.
struct unfinished_request {
  goroutine_info who;  // with its stack, as it was cancelled
  std::string route;   // the pattern; empty: it had not come so far
  http::method method = http::method::other;
  nanoseconds running{};
};

struct shutdown_result {
  std::vector<unfinished_request> cut;
  bool clean() const noexcept { return cut.empty(); }
};

/// Thread safety: shutdown() and figures() from any thread.
class server {
 public:
  /// Errors: std::invalid_argument for options that make no sense (a time or limit of 0 or less).
  explicit server(router, server_options = {});
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server();

  /// Serves until shutdown() or until the context ends, then lets what runs finish within the grace, cancels what is left,
  /// and waits for it to end.
  ///
  /// Suspends: yes. Wait reasons: `IO wait`, `event`, `scope join`.
  /// Returns: what had to be cut. If the context ended, it unwinds instead, when all has ended; on_shutdown is told either
  ///   way.
  /// Cancellation: begins the shutdown, and nothing is cut before the grace has passed; after shutdown() it cuts at once.
  /// Errors: std::system_error if the listener fails for good; std::logic_error if it serves already.
  task<shutdown_result> serve(net::tcp_listener);
  /// The same over TLS. Handshakes must be done within head_timeout.
  task<shutdown_result> serve(net::tcp_listener, net::tls_context);

  /// Begins the end: no new connections, idle ones are closed, what runs has `options.grace`, or until the context of
  /// serve() ends. Idempotent.
  void shutdown() noexcept;
  server_figures figures() const noexcept;

  struct state;  // the library's own

 private:
  task<shutdown_result> serve_from(std::unique_ptr<acceptor>);
  std::shared_ptr<state> s_;
};

}  // namespace leash::http
