// Requests and responses, as handlers see them.
//
// A request is given to a handler by reference and lives until the response has been written. Its body is read in pieces,
// from the socket, when the handler asks for them. A response carries its body as text, or as something that makes it piece
// by piece while it is sent: a channel's receiver, or a coroutine that writes.
//
// Thread safety: a request belongs to one goroutine at a time; so does a response.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <leash/channel.hpp>
#include <leash/clock.hpp>
#include <leash/task.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace leash::http {

enum class method : std::uint8_t { get, head, post, put, delete_, connect, options, trace, patch, other };
/// "GET"; of `other`: "".
std::string_view name_of(method) noexcept;
/// `other` for what is none of the nine. Case matters, as in the protocol.
method method_of(std::string_view) noexcept;
/// GET, HEAD, PUT, DELETE, OPTIONS, TRACE: doing it twice is as doing it once.
bool idempotent(method) noexcept;
/// "Not Found"; of a number without a name: "Status".
std::string_view reason_of(int status) noexcept;

/// True for the same text when the case of ASCII letters does not count.
bool same_name(std::string_view, std::string_view) noexcept;
/// True if one of the comma-separated elements of `list` is `token`, in any case.
bool has_token(std::string_view list, std::string_view token) noexcept;

/// Header fields, in order, with names in any case. Kept as the lines of the protocol: few allocations, a linear look.
class fields {
 public:
  struct field {
    std::string_view name, value;
  };
  class iterator {
   public:
    using value_type = field;
    using difference_type = std::ptrdiff_t;
    iterator() = default;
    explicit iterator(std::string_view rest) : rest_(rest) { read(); }
    const field& operator*() const noexcept { return now_; }
    const field* operator->() const noexcept { return &now_; }
    iterator& operator++() {
      rest_.remove_prefix(line_);
      read();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return line_ == 0; }

   private:
    void read() noexcept;
    std::string_view rest_;
    std::size_t line_ = 0;
    field now_;
  };

  /// The first value of that name; empty if there is none.
  std::string_view get(std::string_view name) const noexcept;
  bool has(std::string_view name) const noexcept;
  /// How many fields of that name there are.
  std::size_t count(std::string_view name) const noexcept;
  /// Adds one more. Errors: std::invalid_argument for a name that is no token, or a value with CR, LF or NUL in it.
  fields& add(std::string_view name, std::string_view value);
  /// Replaces all of that name by one. Errors: as add.
  fields& set(std::string_view name, std::string_view value);
  fields& remove(std::string_view name);
  void clear() noexcept { lines_.clear(); }
  bool empty() const noexcept { return lines_.empty(); }
  iterator begin() const { return iterator(lines_); }
  std::default_sentinel_t end() const noexcept { return {}; }

  /// For the library: "Name: value\r\n" for each.
  const std::string& lines() const noexcept { return lines_; }
  std::string& lines() noexcept { return lines_; }

 private:
  std::string lines_;
};

/// Ends a handler with a response of that status and text: `throw http::error(404, "no such order")`. What went wrong with a
/// request's body comes as one too (400, 408, 413).
class error : public std::runtime_error {
 public:
  explicit error(int status, const std::string& text = {})
      : std::runtime_error(text.empty() ? std::string(reason_of(status)) : text), status_(status) {}
  /// One that the response has: `throw http::error(503, "too much to do").header("Retry-After", "5")`. Errors: as fields::add.
  error&& header(std::string_view name, std::string_view value) && {
    auto all = std::make_shared<fields>(headers());
    all->set(name, value);
    headers_ = std::move(all);
    return std::move(*this);
  }
  int status() const noexcept { return status_; }
  fields headers() const { return headers_ != nullptr ? *headers_ : fields(); }

 private:
  std::shared_ptr<const fields> headers_;  // copying an exception must not throw
  int status_;
};

/// Percent-decodes; nullopt if a % is not followed by two hexadecimal digits, or what it stands for is NUL.
std::optional<std::string> percent_decoded(std::string_view, bool plus_is_space = false);

/// Where a request's or a response's body comes from; the library's.
class body_source {
 public:
  virtual ~body_source() = default;
  /// The next piece, valid until the next call; nullopt: the body has ended.
  virtual task<std::optional<std::string_view>> read() = 0;
};

struct server_figures {
  std::size_t connections = 0, requests = 0;  // now
  std::uint64_t served = 0;                   // requests answered
  std::uint64_t shed = 0;                     // told 503: connections and requests over the limits
  std::uint64_t refused = 0;                  // malformed, too large or too slow
};

class connection;

class request {
 public:
  request() = default;
  request(const request&) = delete;
  request& operator=(const request&) = delete;

  http::method method() const noexcept { return method_; }
  /// As it was sent: also of methods that have no name here.
  std::string_view method_name() const noexcept { return {head_.data(), method_bytes_}; }
  /// As it was sent: "/orders/7?full=1".
  std::string_view target() const noexcept { return {head_.data() + method_bytes_ + 1, target_bytes_}; }
  /// The target's path, not decoded: "/orders/7".
  std::string_view path() const noexcept { return target().substr(path_at_, path_bytes_); }
  /// What follows the "?", not decoded.
  std::string_view query_text() const noexcept;
  /// The first parameter of that name in the query, decoded; nullopt if there is none.
  std::optional<std::string> query(std::string_view name) const;
  /// A path parameter: of the route "/orders/{id}" param("id"), decoded. Errors: std::out_of_range if the route has none
  /// of that name.
  const std::string& param(std::string_view name) const;
  /// The first field of that name; empty if there is none.
  std::string_view header(std::string_view name) const noexcept { return headers.get(name); }
  /// 10 or 11.
  int version() const noexcept { return version_; }
  /// The client's address, "192.0.2.1:40312".
  const std::string& remote() const noexcept;
  bool secure() const noexcept { return secure_; }
  /// Of the server that it came to, this request among them; of one that came to none (a test's): all 0.
  server_figures figures() const noexcept;
  /// The pattern of the route that was taken: "/orders/{id}".
  std::string_view route() const noexcept { return route_; }
  /// How long its body is said to be: nullopt: not said (chunked). 0: it has none.
  std::optional<std::uint64_t> content_length() const noexcept { return length_; }

  /// The next piece of the body, valid until the next call; nullopt: it has ended.
  ///
  /// Suspends when: no piece is there. Wait reason: `IO wait`. Cancellation: first; a client that goes away ends the
  /// request's context, and the handler unwinds here. Errors: http::error 400 (malformed), 408 (too slow), 413 (larger
  /// than the server's limit). A client that waits for "100 Continue" is told to go on by the first call.
  task<std::optional<std::string_view>> read();
  /// All that is left of the body. Errors: as read; http::error 413 beyond `most` bytes.
  task<std::string> text(std::size_t most = std::size_t{16} << 20);

  fields headers;

 private:
  friend class router;
  friend struct request_access;
  std::string head_;  // the request line
  std::uint32_t method_bytes_ = 0, target_bytes_ = 0, path_at_ = 0, path_bytes_ = 0;
  http::method method_ = http::method::get;
  bool secure_ = false;
  int version_ = 11;
  std::optional<std::uint64_t> length_ = 0;
  std::string_view route_;
  std::vector<std::pair<std::string_view, std::string>> params_;
  body_source* body_ = nullptr;
  const std::string* remote_ = nullptr;
  const connection* connection_ = nullptr;
};

/// Sends a response's body piece by piece.
class body_writer {
 public:
  virtual ~body_writer() = default;
  /// Sends a piece; returns when it has been handed to the system.
  ///
  /// Suspends when: the client does not take it fast enough. Wait reason: `IO wait`. Cancellation: first; a client that
  /// goes away ends the request's context.
  virtual task<> write(std::string_view) = 0;
};

class websocket;

/// What makes a body while it is sent; the library's.
struct body_producer {
  virtual ~body_producer() = default;
  virtual task<> run(body_writer&) = 0;
};
/// Of a WebSocket; every member has a default.
struct websocket_options {
  std::size_t max_message = 1 << 20;  // more: the connection is closed with 1009
  nanoseconds send_timeout = std::chrono::seconds(30);
  nanoseconds idle_timeout = std::chrono::seconds(60);  // nothing came: a ping; nothing for as long again: closed
};
/// What goes on with the connection after "101 Switching Protocols"; the library's.
struct session_runner {
  websocket_options options;
  virtual ~session_runner() = default;
  virtual task<> run(websocket&) = 0;
};
/// A part of an open file that is sent as a body.
struct file_part {
  int fd = -1;
  std::uint64_t offset = 0, bytes = 0;
  file_part(int f, std::uint64_t at, std::uint64_t n) noexcept : fd(f), offset(at), bytes(n) {}
  file_part(file_part&& o) noexcept : fd(std::exchange(o.fd, -1)), offset(o.offset), bytes(o.bytes) {}
  file_part& operator=(file_part&&) noexcept;
  ~file_part();
};

class response {
 public:
  using body_type = std::variant<std::monostate, std::string, std::shared_ptr<const std::string>, receiver<std::string>,
                                 std::unique_ptr<body_producer>, file_part, std::unique_ptr<session_runner>>;

  /// 200 without a body.
  response() = default;
  /// Text: 200, text/plain; charset=utf-8.
  response(std::string text) : body(std::move(text)) {  // NOLINT: implicit, so that a handler may return text
    headers.lines() = "Content-Type: text/plain; charset=utf-8\r\n";
  }
  response(std::string_view text) : response(std::string(text)) {}
  response(const char* text) : response(std::string(text)) {}
  /// A status without a body; of an error status with its name as the body.
  explicit response(int status);
  response(int s, std::string text) : response(std::move(text)) { status = s; }
  /// A text of that type: response(200, "text/html", page).
  response(int s, std::string_view type, std::string text) : status(s), body(std::move(text)) {
    headers.add("Content-Type", type);
  }

  /// The pieces that come out of a channel, until it ends. Chunked, to a client of HTTP/1.0 until the connection closes.
  static response stream(receiver<std::string> pieces, std::string_view type = "application/octet-stream");
  /// What `f(body_writer&)`, a coroutine, writes. It runs in the request's context, with the callable kept.
  template <class F>
    requires std::is_same_v<std::invoke_result_t<std::decay_t<F>&, body_writer&>, task<>>
  static response stream(F&& f, std::string_view type = "application/octet-stream") {
    struct producer final : body_producer {
      std::decay_t<F> f;
      explicit producer(F&& from) : f(std::forward<F>(from)) {}
      task<> run(body_writer& w) override { return f(w); }
    };
    response r;
    r.headers.add("Content-Type", type);
    r.body = std::make_unique<producer>(std::forward<F>(f));
    return r;
  }
  /// 302, or another status, to `where`. Errors: std::invalid_argument if it cannot stand in a header.
  static response redirect(std::string_view where, int status = 302);

  response& header(std::string_view name, std::string_view value) & {
    headers.set(name, value);
    return *this;
  }
  response&& header(std::string_view name, std::string_view value) && {
    headers.set(name, value);
    return std::move(*this);
  }

  int status = 200;
  fields headers;
  body_type body;
  /// For bodies that are made while they are sent: their length, if it is known; then they are not chunked.
  std::optional<std::uint64_t> length = {};
};

}  // namespace leash::http
