// The HTTP client: connections that are kept and used again, bounded in number and time.
//
//   http::client c;
//   auto r = co_await c.get("https://example.org/orders/7");
//   if (r.status == 200) use(co_await r.text());
//
// Everything it waits for ends with the context of the goroutine that waits.
#pragma once
#include <chrono>
#include <cstdint>
#include <leash/http/message.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace leash::http {

/// Every member has a default.
struct client_options {
  std::size_t max_connections_per_host = 64;  // at once; more requests wait for one
  std::size_t max_idle_per_host = 16;
  nanoseconds idle_timeout = std::chrono::seconds(30);     // a connection idle for longer is not used again
  nanoseconds connect_timeout = std::chrono::seconds(10);  // name, connection, TLS
  nanoseconds timeout = std::chrono::seconds(30);          // from the request to the response's head, retries included
  nanoseconds body_timeout = std::chrono::seconds(30);     // for each piece of a response's body
  std::size_t max_head = 64 << 10;
  std::size_t max_body = 64 << 20;  // what text() takes
  unsigned max_redirects = 10;      // 0: none is followed, the response is given as it is
  // A request that may be sent twice (GET, HEAD, PUT, DELETE, OPTIONS, TRACE) is, when no response has begun: so often, and as
  // long as the client's budget lasts. Each request adds `retry_share` to it, each retry takes 1; at most `retry_burst`.
  unsigned max_retries = 2;
  double retry_share = 0.1, retry_burst = 10;
  nanoseconds retry_after = std::chrono::milliseconds(50);  // before the first, doubled each time, less a random part
  // A server's certificate and name are always verified: by what the system trusts, and by the PEM certificates of this file.
  std::string ca_file = {};
  bool insecure_redirects = false;  // true: also from https to http
};

/// A request that got no response.
class failure : public std::runtime_error {
 public:
  enum class kind : std::uint8_t { bad_url, unreachable, insecure, timed_out, closed, malformed, too_large, redirects };
  failure(kind k, const std::string& what) : std::runtime_error("http: " + what), kind_(k) {}
  kind why() const noexcept { return kind_; }

 private:
  kind kind_;
};

/// The parts of "http://host:port/path?query".
struct url {
  bool secure = false;
  std::string host;  // of an IPv6 address without brackets
  std::uint16_t port = 80;
  std::string target;  // path and query; "/" at least
  /// Errors: failure bad_url, also for user names, blanks and control characters in it.
  static url parse(std::string_view);
  /// What `reference`, a Location, means for something that was got from here.
  url resolved(std::string_view reference) const;
  std::string origin() const;  // "https://host:port"
  std::string text() const { return origin() + target; }
  /// For the Host field: without a port that goes without saying.
  std::string authority() const;
};

class client_exchange;

/// A response, as far as its head; the body is read from the connection as it is asked for. Dropped before its end it closes
/// the connection.
class client_response {
 public:
  client_response(client_response&&) noexcept;
  client_response& operator=(client_response&&) noexcept;
  ~client_response();

  int status = 0;
  fields headers;
  std::string url;  // that it came from, redirects followed

  std::string_view header(std::string_view name) const noexcept { return headers.get(name); }
  /// The next piece of the body, valid until the next call; nullopt: it has ended, whole.
  /// Suspends when: no piece is there. Wait reason: `IO wait`. Cancellation: first; ends the connection. Errors: failure
  /// closed, malformed, timed_out.
  task<std::optional<std::string_view>> read();
  /// All that is left of it. Errors: as read; failure too_large.
  task<std::string> text();
  task<std::string> text(std::size_t most);

 private:
  friend class client;
  client_response() = default;
  std::unique_ptr<client_exchange> exchange_;
};

struct client_request {
  std::string method = "GET";
  std::string url;
  fields headers = {};
  std::string body = {};
};

struct client_figures {
  std::uint64_t requests = 0, connected = 0, reused = 0, retried = 0, redirected = 0;
  std::size_t open = 0, idle = 0;
};

/// Thread safety: any number of goroutines at once, of one runtime. Copies share connections.
class client {
 public:
  explicit client(client_options = {});
  ~client();
  client(const client&) = default;
  client& operator=(const client&) = default;

  /// Sends a request and waits for the response's head.
  ///
  /// Suspends: yes. Wait reasons: `IO wait`, `semaphore`, `sleep`. Returns: the response, whatever its status, redirects
  /// followed. Cancellation: first; ends the connection. Errors: failure.
  task<client_response> send(client_request);
  task<client_response> get(std::string url) { return send({"GET", std::move(url), {}, {}}); }
  task<client_response> post(std::string url, std::string body, std::string_view type = "application/octet-stream");
  client_figures figures() const;
  /// Closes what is idle.
  void drop_idle();

  struct state;  // the library's own

 private:
  std::shared_ptr<state> s_;
};

}  // namespace leash::http
