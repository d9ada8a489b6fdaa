#include "connection.hpp"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <leash/blocking.hpp>
#include <leash/http/websocket.hpp>
#include <system_error>

#include "access.hpp"
#include "compress.hpp"

namespace leash::http {

namespace {

constexpr std::size_t body_room = 16 << 10, most_drained = 256 << 10, file_piece = 64 << 10, write_piece = 256 << 10;
constexpr std::size_t worth_bytes = 1024;  // shorter bodies are not compressed

/// "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"; made once a second.
std::string_view date_line() noexcept {
  thread_local time_t made_for = 0;
  thread_local char text[40];
  timespec t{};
  clock_gettime(CLOCK_REALTIME_COARSE, &t);
  if (t.tv_sec != made_for) {
    tm parts{};
    gmtime_r(&t.tv_sec, &parts);
    strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
    made_for = t.tv_sec;
  }
  return {text, 37};
}

void append_number(std::string& out, std::uint64_t n, int base = 10) {
  char digits[20];
  auto const end = std::to_chars(digits, digits + sizeof digits, n, base).ptr;
  out.append(digits, end);
}

void tell(const std::function<void(const request&, std::exception_ptr)>& on_error, const request& r) noexcept {
  try {
    if (on_error) {
      on_error(r, std::current_exception());
      return;
    }
    std::string what = "no std::exception";
    try {
      throw;
    } catch (const std::exception& e) {
      what = e.what();
    } catch (...) {
    }
    std::fprintf(stderr, "leash::http: %.*s %.200s: %s\n", static_cast<int>(r.method_name().size()),
                 r.method_name().data(), std::string(r.path()).c_str(), what.c_str());
  } catch (...) {
  }
}

}  // namespace

connection::connection(server::state& s, std::unique_ptr<transport> io, std::string remote)
    : server_(s), io_(std::move(io)), descriptor_(io_->descriptor()), remote_(std::move(remote)) {
  request_access::set_connection(request_, *this, &remote_, io_->secure());
}
connection::~connection() = default;

void connection::cut(const char* why, bool gone) {
  (gone ? gone_ : stopped_).store(true, std::memory_order_relaxed);
  source_.cancel(why);
}

task<> connection::run() {
  struct listed {
    connection& c;
    explicit listed(connection& to) : c(to) { c.server_.add(c); }
    listed(const listed&) = delete;
    ~listed() { c.server_.remove(c); }  // N2
  };
  goroutine.store((co_await this_goroutine{})->id, std::memory_order_relaxed);
  listed const here(*this);
  enter(phase::head);
  if (!co_await io_->start()) co_return;
  while (co_await next() == verdict::keep) {
  }
  if (!gone_.load(std::memory_order_relaxed)) co_await linger();
}

task<connection::verdict> connection::next() {
  enter(phase::idle);
  if (server_.draining.load(std::memory_order_relaxed) && in_.empty()) co_return verdict::close;
  in_.shrink();
  head_scan scan;
  for (bool begun = false;;) {
    // An empty line before a request is let pass.
    while (!begun && in_.text().starts_with("\r\n")) in_.consume(2);
    if (!in_.empty() && in_.text() != "\r") {
      auto const found = scan.look(in_.text());
      if (found == head_scan::result::malformed) co_return co_await refuse(400);
      if (found == head_scan::result::whole ? scan.bytes() > server_.o.max_head : in_.size() >= server_.o.max_head)
        co_return co_await refuse(431);
      if (found == head_scan::result::whole) break;
      if (!std::exchange(begun, true)) enter(phase::head);
    }
    char* const to = in_.room(1);
    std::size_t const n = co_await io_->read(to, in_.room_there());
    if (n == 0) {
      if (begun && expired.load(std::memory_order_relaxed)) co_return co_await refuse(408);
      gone_.store(!expired.load(std::memory_order_relaxed), std::memory_order_relaxed);
      co_return verdict::close;
    }
    in_.added(n);
  }
  message_parser<true> parser;
  error_code ec;
  std::string_view const head = in_.text().substr(0, scan.bytes());
  parser.put(boost::asio::buffer(head.data(), head.size()), ec);
  if (ec || !parser.is_header_done()) co_return co_await refuse(refused_with(ec, head));
  if (int const status = check_request(parser)) co_return co_await refuse(status);
  std::size_t const line = head.find('\r');
  request_access::set_line(request_, head.substr(0, line), parser.head.method, parser.head.target, parser.head.version);
  request_.headers.lines().assign(head.substr(line + 2, head.size() - line - 4));
  in_.consume(head.size());
  parser_ = &parser;
  verdict const v = co_await answer_one(parser);
  parser_ = nullptr;
  request_access::shrink(request_);
  co_return v;
}

task<connection::verdict> connection::answer_one(message_parser<true>& parser) {
  enter(phase::handler);
  bool const has_body = !parser.is_done();
  std::optional<std::uint64_t> length = 0;
  if (has_body && parser.chunked()) {
    length = std::nullopt;
  } else if (has_body) {
    length = *parser.content_length();
  }
  request_access::set_body(request_, has_body ? this : nullptr, length);
  taken_ = 0;
  keep_ = parser.keep_alive();
  head_sent_ = bad_body_ = false;
  continue_ = parser.head.expects_continue && has_body && parser.head.version >= 11;
  head_only_ = request_.method() == method::head;
  at_method.store(request_.method(), std::memory_order_relaxed);

  struct place {
    server::state& s;
    bool const got;
    explicit place(server::state& of)
        : s(of), got(s.requests.fetch_add(1, std::memory_order_relaxed) < s.o.max_requests) {}
    place(const place&) = delete;
    ~place() { s.requests.fetch_sub(1, std::memory_order_relaxed); }
  };
  response answer;
  {
    place const mine(server_);
    if (!mine.got) {
      server_.shed.fetch_add(1, std::memory_order_relaxed);
      answer = response(503);
      answer.headers.add("Retry-After", std::to_string(server_.o.retry_after.count()));
      keep_ = keep_ && !has_body;
    } else if (router::match const m = server_.routes.find(request_); m.found == nullptr) {
      answer = response(m.status);
      if (!m.allow.empty()) answer.headers.add("Allow", m.allow);
    } else {
      std::uint64_t const most = m.found->options.max_body.value_or(server_.o.max_body);
      if (length && *length > most) {
        answer = response(413);
        keep_ = false;
      } else {
        parser.body_limit(most);
        at_route.store(m.found, std::memory_order_release);
        auto body = [this, to = m.found, &answer] { return call(*to, answer); };
        source_.core()->refs.fetch_add(1, std::memory_order_relaxed);
        bool const returned = co_await run_bounded<void>(kept_body<decltype(body)>(std::move(body)), INT64_MAX,
                                                         m.found->options.timeout.value_or(server_.o.request_timeout),
                                                         false, source_.core(), std::source_location::current());
        if (gone_.load(std::memory_order_relaxed)) {
          at_route.store(nullptr, std::memory_order_relaxed);
          co_return verdict::close;
        }
        if (!returned) {
          answer = response(503, stopped_.load(std::memory_order_relaxed) ? "The server is shutting down.\n"
                                                                          : "The request took too long.\n");
          keep_ = keep_ && parser.is_done() && !stopped_.load(std::memory_order_relaxed);
        }
      }
    }
    bool const sent = co_await send(answer);
    at_route.store(nullptr, std::memory_order_relaxed);
    if (!sent) co_return verdict::close;
  }
  server_.served.fetch_add(1, std::memory_order_relaxed);
  co_return co_await after_response();
}

task<> connection::call(const route& to, response& r) {
  try {
    r = co_await to.call(request_);
  } catch (const error& e) {
    r = response(e.status(), std::string(e.what()) + "\n");
    fields const also = e.headers();
    for (const fields::field& f : also) r.headers.set(f.name, f.value);
  } catch (...) {
    if (!gone_.load(std::memory_order_relaxed)) tell(server_.o.on_error, request_);
    r = response(500);
  }
}

task<connection::verdict> connection::refuse(int status) {
  server_.refused.fetch_add(1, std::memory_order_relaxed);
  keep_ = head_only_ = head_sent_ = false;
  request_.headers.clear();
  response r(status);
  (void)co_await send(r);
  co_return verdict::close;
}

// --- the request's body

void connection::client_gone() {
  gone_.store(true, std::memory_order_relaxed);
  source_.cancel("the client disconnected");
}

task<std::optional<std::string_view>> connection::read() {
  in_.consume(std::exchange(taken_, 0));
  if (bad_body_) throw error(400);
  for (error_code ec;;) {
    if (parser_->is_done()) co_return std::nullopt;
    if (!in_.empty()) {
      std::size_t const used = parser_->put(boost::asio::buffer(in_.text().data(), in_.size()), ec);
      std::string_view const piece = parser_->take_piece();
      if (ec && ec != boost::beast::http::error::need_more) {
        bad_body_ = true;
        keep_ = false;
        server_.refused.fetch_add(1, std::memory_order_relaxed);
        throw error(refused_with(ec, {}));
      }
      if (!piece.empty()) {
        taken_ = used;
        co_return piece;
      }
      in_.consume(used);
      if (!ec) continue;
      if (in_.size() >= server_.o.max_head) {  // a chunk's size or the trailers have no end
        bad_body_ = true;
        keep_ = false;
        server_.refused.fetch_add(1, std::memory_order_relaxed);
        throw error(400);
      }
    }
    if (std::exchange(continue_, false) && !co_await put({"HTTP/1.1 100 Continue\r\n\r\n", {}, {}})) client_gone();
    enter(phase::body);
    char* const to = in_.room(body_room);
    std::size_t const n = co_await io_->read(to, in_.room_there());
    enter(phase::handler);
    if (n == 0) {
      keep_ = false;
      if (expired.load(std::memory_order_relaxed)) {
        bad_body_ = true;
        server_.refused.fetch_add(1, std::memory_order_relaxed);
        throw error(408);
      }
      // A server that ends has shut the reading side itself; the client still gets an answer.
      if (!stopped_.load(std::memory_order_relaxed)) client_gone();
      co_await unwind_if_cancelled{};
      throw std::system_error(ECONNRESET, std::generic_category(), "http: the client disconnected");
    }
    in_.added(n);
  }
}

task<connection::verdict> connection::after_response() {
  if (!keep_) co_return verdict::close;
  if (parser_ == nullptr || parser_->is_done()) {
    in_.consume(std::exchange(taken_, 0));
    co_return verdict::keep;
  }
  std::size_t drained = 0;
  auto drain = [this, &drained]() -> task<> {
    while (auto piece = co_await read()) {
      drained += piece->size();
      if (drained > most_drained) break;
    }
  };
  try {
    if (!co_await with_timeout(server_.o.body_timeout, std::ref(drain))) co_return verdict::close;
  } catch (const std::exception&) {
    co_return verdict::close;
  }
  co_return drained > most_drained ? verdict::close : verdict::keep;
}

// The client is given a moment to read the last response: a close with unread input would take it back.
task<> connection::linger() {
  enter(phase::linger);
  co_await io_->finish();
  in_.consume(in_.size());
  for (std::size_t left = 1 << 20; left > 0;) {
    char* const to = in_.room(body_room);
    std::size_t const n = co_await io_->read(to, in_.room_there());
    if (n == 0 || n > left) break;
    left -= n;
  }
}

// --- the response

task<bool> connection::put(transport::pieces what) {
  enter(phase::write);
  bool const sent = co_await io_->write(what);
  enter(phase::handler);
  co_return sent;
}

void connection::begin_head(const response& r, std::string& out) {
  if (r.status == 200) {
    out.append("HTTP/1.1 200 OK\r\n");
  } else {
    out.append("HTTP/1.1 ");
    append_number(out, static_cast<std::uint64_t>(r.status));
    out.append(" ").append(reason_of(r.status)).append("\r\n");
  }
  bool dated = false;
  for (const fields::field& f : r.headers) {
    if (same_name(f.name, "Connection")) {
      if (has_token(f.value, "close")) keep_ = false;
      if (r.status != 101 && r.status != 426) continue;
    }
    if (same_name(f.name, "Content-Length") || same_name(f.name, "Transfer-Encoding")) continue;  // ours
    dated = dated || same_name(f.name, "Date");
    out.append(f.name).append(": ").append(f.value).append("\r\n");
  }
  if (!dated) out.append(date_line());
  if (!keep_ && r.status != 101) {
    out.append("Connection: close\r\n");
  } else if (keep_ && request_.version() < 11) {
    out.append("Connection: keep-alive\r\n");
  }
}

class connection::writer final : public body_writer {
 public:
  writer(connection& c, std::optional<std::uint64_t> length, coding how) : c_(c), left_(length) {
    if (how != coding::none) compressor_.emplace(how);
  }
  task<> write(std::string_view data) override {
    if (data.empty() || c_.head_only_) co_return;
    if (!compressor_) {
      co_await raw(data);
      co_return;
    }
    std::string packed;
    compressor_->put(data, false, packed);
    co_await raw(packed);
  }
  /// False: less was written than was said.
  task<bool> end() {
    if (c_.head_only_) co_return true;
    if (compressor_) {
      std::string packed;
      compressor_->put({}, true, packed);
      co_await raw(packed);
    }
    if (c_.chunked_) co_return co_await c_.put({"0\r\n\r\n", {}, {}});
    co_return !left_ || *left_ == 0;
  }

 private:
  task<> raw(std::string_view data) {
    if (data.empty()) co_return;
    if (left_) {
      if (data.size() > *left_) throw std::logic_error("http: more was written than response::length says");
      *left_ -= data.size();
    }
    std::string size;
    if (c_.chunked_) {
      append_number(size, data.size(), 16);
      size.append("\r\n");
    }
    if (co_await c_.put({size, data, c_.chunked_ ? "\r\n" : ""})) co_return;
    c_.client_gone();
    co_await unwind_if_cancelled{};
    throw std::system_error(EPIPE, std::generic_category(), "http: the client disconnected");
  }

  connection& c_;
  std::optional<std::uint64_t> left_;
  std::optional<compressor> compressor_;
};

task<bool> connection::send(response& r) {
  if (server_.draining.load(std::memory_order_relaxed)) keep_ = false;
  if (keep_ && parser_ != nullptr && !parser_->is_done()) {
    // N4. What is left of the body is read only if that is little, and if the client sends it at all.
    auto const left = parser_->content_length_remaining();
    if (bad_body_ || continue_ || (left && *left > most_drained)) keep_ = false;
  }
  bool const bodiless = r.status < 200 || r.status == 204 || r.status == 304;
  const std::string* text = std::get_if<std::string>(&r.body);
  if (auto* s = std::get_if<std::shared_ptr<const std::string>>(&r.body)) text = s->get();
  bool const whole = bodiless || text != nullptr || std::holds_alternative<std::monostate>(r.body);

  coding how = coding::none;
  if (server_.o.compress && !bodiless && r.status != 206 && !r.length && !std::holds_alternative<file_part>(r.body) &&
      (!whole || (text != nullptr && text->size() >= worth_bytes))) {
    if (worth_compressing(r.headers.get("Content-Type")) && !r.headers.has("Content-Encoding")) {
      how = choose_coding(request_.header("Accept-Encoding"));
      if (!has_token(r.headers.get("Vary"), "Accept-Encoding")) r.headers.add("Vary", "Accept-Encoding");
      if (how != coding::none) {
        r.headers.add("Content-Encoding", name_of(how));
        std::string_view const tag = r.headers.get("ETag");
        if (tag.starts_with('"')) r.headers.set("ETag", "W/" + std::string(tag));
      }
    }
  }
  std::string packed;
  if (how != coding::none && text != nullptr) {
    compressor(how).put(*text, true, packed);
    text = &packed;
  }

  std::string head;
  head.reserve(256);
  begin_head(r, head);
  if (auto* session = std::get_if<std::unique_ptr<session_runner>>(&r.body)) {
    head.append("\r\n");
    co_return co_await put({head, {}, {}}) && co_await converse(**session);
  }
  if (whole) {
    if (!bodiless) {
      head.append("Content-Length: ");
      append_number(head, text != nullptr ? text->size() : 0);
      head.append("\r\n");
    }
    head.append("\r\n");
    head_sent_ = true;
    std::string_view left = text != nullptr && !bodiless && !head_only_ ? std::string_view(*text) : std::string_view();
    // In pieces: each has its time.
    bool sent = co_await put({head, left.substr(0, write_piece), {}});
    while (sent && left.size() > write_piece) {
      left.remove_prefix(write_piece);
      sent = co_await put({left.substr(0, write_piece), {}, {}});
    }
    co_return sent;
  }
  auto* part = std::get_if<file_part>(&r.body);
  if (part != nullptr) r.length = part->bytes;
  chunked_ = !r.length && request_.version() >= 11;
  if (r.length) {
    head.append("Content-Length: ");
    append_number(head, *r.length);
    head.append("\r\n");
  } else if (chunked_) {
    head.append("Transfer-Encoding: chunked\r\n");
  } else {
    if (keep_) head.resize(head.size() - std::string_view("Connection: keep-alive\r\n").size());
    if (std::exchange(keep_, false)) head.append("Connection: close\r\n");
  }
  head.append("\r\n");
  head_sent_ = true;
  if (!co_await put({head, {}, {}})) co_return false;
  if (head_only_) co_return true;

  bool done = false;
  auto body = [this, &r, how, &done]() -> task<> {
    try {
      writer w(*this, r.length, how);
      if (auto* pieces = std::get_if<receiver<std::string>>(&r.body)) {
        while (auto p = co_await pieces->recv()) co_await w.write(*p);
      } else if (auto* producer = std::get_if<std::unique_ptr<body_producer>>(&r.body)) {
        co_await (*producer)->run(w);
      } else if (auto* file = std::get_if<file_part>(&r.body)) {
        std::string piece;
        while (file->bytes > 0) {
          std::size_t const want = static_cast<std::size_t>(std::min<std::uint64_t>(file->bytes, file_piece));
          ssize_t const n = co_await blocking([&, want] {
            piece.resize(want);
            return ::pread(file->fd, piece.data(), want, static_cast<off_t>(file->offset));
          });
          if (n <= 0)
            throw std::system_error(n < 0 ? errno : EIO, std::generic_category(), "http: a file became shorter");
          piece.resize(static_cast<std::size_t>(n));
          file->offset += static_cast<std::uint64_t>(n);
          file->bytes -= static_cast<std::uint64_t>(n);
          co_await w.write(piece);
        }
      }
      done = co_await w.end();
    } catch (...) {
      if (!gone_.load(std::memory_order_relaxed)) tell(server_.o.on_error, request_);
    }
  };
  source_.core()->refs.fetch_add(1, std::memory_order_relaxed);
  (void)co_await run_bounded<void>(kept_body<decltype(body)>(std::move(body)), INT64_MAX, nanoseconds::max(), false,
                                   source_.core(), std::source_location::current());
  if (!done) {
    // What the client has got so far must not look whole: the connection is torn down.
    struct ::linger const at_once{1, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    gone_.store(true, std::memory_order_relaxed);
  }
  co_return done;
}

task<bool> connection::converse(session_runner& session) {
  keep_ = false;
  websocket w(*io_, in_, session.options);
  unsigned code = 1000;
  auto body = [this, &session, &w, &code]() -> task<> {
    try {
      co_await session.run(w);
    } catch (...) {
      if (!gone_.load(std::memory_order_relaxed)) tell(server_.o.on_error, request_);
      code = 1011;
    }
  };
  source_.core()->refs.fetch_add(1, std::memory_order_relaxed);
  bool const returned =
      co_await run_bounded<void>(kept_body<decltype(body)>(std::move(body)), INT64_MAX, nanoseconds::max(), false,
                                 source_.core(), std::source_location::current());
  if (gone_.load(std::memory_order_relaxed)) co_return false;
  (void)co_await with_timeout(std::chrono::seconds(2), w.close(returned ? code : 1001));
  co_return true;
}

}  // namespace leash::http
