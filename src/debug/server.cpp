// The HTTP server. One thread runs everything here: it accepts, reads, lets the viewer answer, writes. It is no worker,
// so that it answers while no goroutine gets on. Nothing else includes Boost.
//
// Whoever can reach the socket may be hostile:
//  - a request's head has a size and a time in which it must be there; bodies are refused;
//  - so many connections at once; a new one takes the place of the one that has been idle longest;
//  - so many requests in a second, and half of the thread's time: what is over that is told 429;
//  - replies are made piece by piece and a piece only when the one before is on its way, within a time;
//  - the Host must be an address, localhost or a name that was allowed: a web page may have its own name point here;
//  - the token, where there is one, is compared in constant time;
//  - an exception ends its request, and nothing else.
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <leash/debug.hpp>
#include <list>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "viewer.hpp"

namespace leash::debug {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = net::ip::tcp;
using local = net::local::stream_protocol;
using any_protocol = net::generic::stream_protocol;
using boost::system::error_code;
using namespace std::chrono_literals;

namespace {

constexpr auto request_time = 10s, piece_time = 30s, idle_time = 120s;
constexpr auto pause_at_most = 250ms;  // of a source that waits: who asked may have gone
constexpr std::size_t most_head = 8192;
constexpr std::string_view unix_prefix = "unix:";
constexpr double share_of_thread = 0.5, most_saved_seconds = 10;

bool same(std::string_view a, std::string_view b) noexcept {
  std::size_t differs = a.size() ^ b.size();
  for (std::size_t i = 0; i < a.size(); ++i)
    differs |= static_cast<std::size_t>(static_cast<unsigned char>(a[i]) ^
                                        static_cast<unsigned char>(i < b.size() ? b[i] : 0));
  return differs == 0;
}

/// Without the port; in lower case.
std::string host_only(std::string_view host) {
  if (host.starts_with('[')) {
    host = host.substr(1, host.find(']') - 1);
  } else {
    host = host.substr(0, host.find(':'));
  }
  std::string s(host);
  for (char& c : s) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return s;
}

tcp::endpoint parse_address(std::string_view address) {
  std::size_t const colon = address.rfind(':');
  std::string const text(address);
  auto const refuse = [&]() -> std::invalid_argument {
    return std::invalid_argument("leash::debug::serve: '" + text + "' is no address: IP:PORT, localhost:PORT");
  };
  if (colon == address.npos || colon + 1 == address.size() || address.size() - colon > 6) throw refuse();
  unsigned port = 0;
  for (char c : address.substr(colon + 1)) {
    if (c < '0' || c > '9') throw refuse();
    port = port * 10 + static_cast<unsigned>(c - '0');
  }
  if (port > 65535) throw refuse();
  std::string_view host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  error_code no;
  auto const ip = net::ip::make_address(host == "localhost" ? "127.0.0.1"
                                        : host.empty()      ? "0.0.0.0"
                                                            : std::string(host),
                                        no);
  if (no) throw refuse();
  return {ip, static_cast<unsigned short>(port)};
}

/// Seconds that this thread has had a processor: what it costs the program, also where that must wait for one.
double used_by_thread() noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

/// What may be used, filled over time.
class allowance {
 public:
  allowance(double per_second, double most) : per_second_(per_second), most_(most), left_(most) {}
  bool any() {
    auto const now = steady::now();
    left_ = std::min(most_, left_ + per_second_ * std::chrono::duration<double>(now - at_).count());
    at_ = now;
    return left_ > 0;
  }
  void use(double n) { left_ -= n; }

 private:
  double per_second_, most_, left_;
  steady::time_point at_ = steady::now();
};

}  // namespace

class session;

// The order matters: sessions, which live in the handlers that io holds, use what stands before it.
struct server::state {
  serve_options o;
  viewer v;
  std::list<session*> sessions;
  allowance requests, time{share_of_thread, most_saved_seconds};
  net::io_context io{1};
  tcp::acceptor acceptor{io};
  local::acceptor local_acceptor{io};
  net::steady_timer clock{io}, later{io};
  tcp::endpoint at;
  std::string path;  // of the Unix domain socket; empty: TCP
  std::thread thread;

  state(std::string_view address, serve_options options)
      : o(std::move(options)),
        requests(std::max(1u, o.max_requests_per_second), 2.0 * std::max(1u, o.max_requests_per_second)) {
    for (std::string& h : o.hosts) h = host_only(h);
    v.trace_memory = o.trace_memory;
    if (v.trace_memory < std::size_t{128} << 10 || v.trace_memory > std::size_t{1} << 30)
      throw std::invalid_argument("leash::debug::serve: trace_memory must lie between 128 KiB and 1 GiB");
    try {
      if (address.starts_with(unix_prefix)) {
        listen_on_path(address.substr(unix_prefix.size()));
        accept(local_acceptor);
      } else {
        listen_on_port(address);
        accept(acceptor);
      }
    } catch (const boost::system::system_error& e) {
      throw std::system_error(e.code().value(), std::system_category(),
                              "leash::debug::serve: cannot listen on " + std::string(address));
    }
    tick();
    sigset_t all, before;  // signals are the program's own threads'
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      thread = std::thread([this] { run(); });
    } catch (...) {
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~state() {
    io.stop();
    if (thread.joinable()) thread.join();
    if (!path.empty()) ::unlink(path.c_str());
  }

  void listen_on_port(std::string_view address) {
    at = parse_address(address);
    if (o.token.empty() && !at.address().is_loopback()) {
      throw std::invalid_argument("leash::debug::serve: " + std::string(address) +
                                  " can be reached from other machines: that needs serve_options::token");
    }
    acceptor.open(at.protocol());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    acceptor.bind(at);
    acceptor.listen();
    at = acceptor.local_endpoint();
  }
  /// A socket that only this user may connect to. One that a program has left behind is replaced, one in use is not.
  void listen_on_path(std::string_view wanted) {
    std::string const name(wanted);
    if (name.empty() || name.size() >= sizeof(sockaddr_un::sun_path) || name.find('\0') != name.npos) {
      throw std::invalid_argument("leash::debug::serve: unix:PATH takes a path of 1 to " +
                                  std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " bytes");
    }
    local::endpoint const place(name);
    struct stat st;
    if (::lstat(name.c_str(), &st) == 0 && S_ISSOCK(st.st_mode)) {
      error_code refused;
      local::socket(io).connect(place, refused);
      if (refused == net::error::connection_refused) ::unlink(name.c_str());
    }
    local_acceptor.open();
    if (::fchmod(local_acceptor.native_handle(), 0600) != 0)  // what bind makes has this mode from the first moment
      throw boost::system::system_error(errno, boost::system::system_category());
    local_acceptor.bind(place);
    path = name;
    local_acceptor.listen();
  }

  void run() {
    pthread_setname_np(pthread_self(), "leash-debug");
    while (!io.stopped()) {
      try {
        io.run();
        return;
      } catch (...) {  // out of memory, most likely: that handler's request is lost, the others go on
      }
    }
  }
  template <class Acceptor>
  void accept(Acceptor& from);
  void serve_one(any_protocol::socket socket);
  void tick() {
    bool const done = v.tick();
    clock.expires_after(done ? std::chrono::milliseconds(250) : 1ms);
    clock.async_wait([this](error_code e) {
      if (!e) tick();
    });
  }
};

class session : public std::enable_shared_from_this<session> {
 public:
  session(server::state& s, any_protocol::socket socket) : s_(s), stream_(std::move(socket)) {
    place_ = s_.sessions.insert(s_.sessions.end(), this);
  }
  session(const session&) = delete;
  ~session() { s_.sessions.erase(place_); }

  bool idle() const noexcept { return idle_; }
  steady::time_point since() const noexcept { return since_; }
  void close() noexcept {
    idle_ = false;
    error_code ignored;
    stream_.socket().close(ignored);
  }

  void read() {
    idle_ = true;
    since_ = steady::now();
    parser_.emplace();
    parser_->header_limit(most_head);
    parser_->body_limit(0);
    // The first byte may take its time, the rest may not. What came with the request before is the next one's begin.
    if (buffer_.size() != 0) return read_head();
    stream_.expires_after(first_ ? std::chrono::seconds(request_time) : std::chrono::seconds(idle_time));
    stream_.async_read_some(buffer_.prepare(2048), [self = shared_from_this()](error_code e, std::size_t n) {
      if (e) return;
      self->buffer_.commit(n);
      self->read_head();
    });
  }

 private:
  void read_head() {
    idle_ = first_ = false;
    stream_.expires_after(request_time);
    http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](error_code e, std::size_t) {
      if (!e) return self->answer();
      if (e == http::error::header_limit) return self->refuse(431, "the request is too large");
      if (e == http::error::body_limit) return self->refuse(413, "no body is wanted");
      if (e.category() == http::make_error_code(http::error::bad_method).category() &&
          e != http::error::end_of_stream && e != http::error::partial_message)
        return self->refuse(400, "this is no HTTP request");
    });
  }

  void refuse(unsigned status, const char* text) {
    ++s_.v.refused;
    keep_alive_ = false;
    reply r = failure(status, text);
    if (status == 429) r.headers.emplace_back("Retry-After", "1");
    if (status == 405) r.headers.emplace_back("Allow", "GET, HEAD");
    if (status == 401) r.headers.emplace_back("WWW-Authenticate", "Bearer");
    write(std::move(r));
  }

  bool host_is_known(std::string_view host) const {
    std::string const name = host_only(host);
    if (name == "localhost" || std::find(s_.o.hosts.begin(), s_.o.hosts.end(), name) != s_.o.hosts.end()) return true;
    error_code no;
    (void)net::ip::make_address(name, no);
    return !no;
  }

  void answer() {
    auto const& q = parser_->get();
    auto text = [](beast::string_view s) { return std::string_view(s.data(), s.size()); };
    version_ = q.version();
    keep_alive_ = q.keep_alive();
    head_ = q.method() == http::verb::head;
    s_.requests.use(1);
    if (q.method() != http::verb::get && !head_) return refuse(405, "only GET and HEAD");
    if (q.count(http::field::host) > 1 || (version_ > 10 && q.count(http::field::host) == 0))
      return refuse(400, "one Host is needed");
    if (q.count(http::field::host) != 0 && !host_is_known(text(q[http::field::host]))) {
      return refuse(421,
                    "not served under this name: use localhost or an IP address, or allow the name "
                    "(serve_options::hosts)");
    }
    // A page of another site may follow a link to here, but not make requests by itself.
    if (text(q["Sec-Fetch-Site"]) == "cross-site" && text(q["Sec-Fetch-Mode"]) != "navigate")
      return refuse(403, "not for pages of other sites");
    std::optional<request> const asked = parse_target(text(q.target()));
    if (!asked) return refuse(400, "the address is malformed");
    if (!s_.o.token.empty()) {
      std::string_view const given = text(q[http::field::authorization]);
      bool const by_header = given.starts_with("Bearer ") && same(s_.o.token, given.substr(7));
      if (!by_header && !same(s_.o.token, (*asked)["token"])) return refuse(401, "a token is needed");
    }
    if (!s_.requests.any() || !s_.time.any()) return refuse(429, "too much is asked: try again later");
    double const from = used_by_thread();
    try {
      reply r = s_.v.answer(*asked);
      charge(from);
      write(std::move(r));
    } catch (const std::exception& e) {
      charge(from);
      refuse(500, "this request failed");
    }
  }
  void charge(double from) { s_.time.use(used_by_thread() - from); }

  void write(reply r) {
    message_ = {};
    message_.version(version_);
    message_.result(r.status);
    message_.set(http::field::content_type, r.type);
    message_.set(http::field::cache_control, "no-store");
    message_.set("X-Content-Type-Options", "nosniff");
    message_.set("Referrer-Policy", "no-referrer");
    message_.set("Cross-Origin-Resource-Policy", "same-origin");
    message_.set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    for (auto& [k, v] : r.headers) message_.set(k, v);
    source_ = std::move(r.stream);
    if (source_ != nullptr) {
      if (version_ < 11) keep_alive_ = false;  // its end is the connection's
      message_.chunked(version_ >= 11);
    } else {
      message_.body() = std::move(r.body);
      message_.content_length(message_.body().size());
    }
    message_.keep_alive(keep_alive_);
    stream_.expires_after(piece_time);
    serializer_.emplace(message_);
    serializer_->split(source_ != nullptr || head_);
    auto done = [self = shared_from_this()](error_code e, std::size_t) {
      if (e) return;
      if (self->source_ != nullptr && !self->head_) return self->pump();
      self->finish();
    };
    if (source_ != nullptr || head_) {
      http::async_write_header(stream_, *serializer_, std::move(done));
    } else {
      http::async_write(stream_, *serializer_, std::move(done));
    }
  }

  /// The next piece of the source.
  void pump() {
    piece_.clear();
    bool more = false;
    double const from = used_by_thread();
    try {
      more = source_->more(piece_);
    } catch (const std::exception&) {
      return close();  // the head is out: that it is cut short is all that can be said
    }
    charge(from);
    if (piece_.empty()) {
      if (!more) return end_source();
      if (auto const then = source_->not_before(); then > steady::now()) {
        pause_.expires_at(std::min(then, steady::now() + pause_at_most));
        return pause_.async_wait([self = shared_from_this()](error_code) { self->pump(); });
      }
      return net::post(stream_.get_executor(), [self = shared_from_this()] { self->pump(); });
    }
    stream_.expires_after(piece_time);
    auto done = [self = shared_from_this(), more](error_code e, std::size_t) {
      if (e) return;
      if (more) return self->pump();
      self->end_source();
    };
    if (version_ >= 11) {
      net::async_write(stream_, http::make_chunk(net::buffer(piece_)), std::move(done));
    } else {
      net::async_write(stream_, net::buffer(piece_), std::move(done));
    }
  }
  void end_source() {
    source_.reset();
    piece_ = {};
    if (version_ < 11) return finish();
    net::async_write(stream_, http::make_chunk_last(), [self = shared_from_this()](error_code e, std::size_t) {
      if (!e) self->finish();
    });
  }
  void finish() {
    source_.reset();
    message_ = {};
    if (keep_alive_) return read();
    // What is still on its way in must not turn the close into a reset that overtakes the reply.
    error_code ignored;
    stream_.socket().shutdown(net::socket_base::shutdown_send, ignored);
    drain(16);
  }
  void drain(int times) {
    if (times == 0) return;
    idle_ = true;
    since_ = steady::now();
    buffer_.clear();
    stream_.expires_after(2s);
    stream_.async_read_some(buffer_.prepare(2048), [self = shared_from_this(), times](error_code e, std::size_t) {
      if (!e) self->drain(times - 1);
    });
  }

  server::state& s_;
  beast::basic_stream<any_protocol> stream_;
  net::steady_timer pause_{stream_.get_executor()};
  std::list<session*>::iterator place_;
  beast::flat_buffer buffer_{64 << 10};
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> message_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
  std::unique_ptr<source> source_;
  std::string piece_;
  unsigned version_ = 11;
  bool keep_alive_ = false, head_ = false, first_ = true;
  bool idle_ = true;  // waits for a request
  steady::time_point since_;
};

template <class Acceptor>
void server::state::accept(Acceptor& from) {
  from.async_accept([this, &from](error_code e, typename Acceptor::protocol_type::socket socket) {
    if (e == net::error::operation_aborted) return;
    if (e) {  // no file descriptor is left, or the like
      later.expires_after(100ms);
      later.async_wait([this, &from](error_code stopped) {
        if (!stopped) accept(from);
      });
      return;
    }
    error_code ignored;                               // a Unix domain socket has nothing to say here
    socket.set_option(tcp::no_delay(true), ignored);  // else a short piece waits until the one before is acknowledged
    serve_one(std::move(socket));
    accept(from);
  });
}

void server::state::serve_one(any_protocol::socket socket) {
  session* longest = nullptr;
  for (session* s : sessions)
    if (s->idle() && (longest == nullptr || s->since() < longest->since())) longest = s;
  bool const full = sessions.size() >= std::max<std::size_t>(1, o.max_connections);
  if (full) ++v.refused;
  if (full && longest != nullptr) longest->close();
  if (full && longest == nullptr) return;
  try {
    std::make_shared<session>(*this, std::move(socket))->read();
  } catch (const std::exception&) {
    ++v.refused;
  }
}

server::server(std::unique_ptr<state> s) : s_(std::move(s)) {}
server::server(server&&) noexcept = default;
server& server::operator=(server&&) noexcept = default;
server::~server() = default;
unsigned short server::port() const noexcept { return s_->at.port(); }
std::string server::address() const {
  if (!s_->path.empty()) return std::string(unix_prefix) + s_->path;
  auto const ip = s_->at.address();
  std::string const host = ip.is_unspecified() ? "127.0.0.1" : ip.is_v6() ? "[" + ip.to_string() + "]" : ip.to_string();
  return "http://" + host + ":" + std::to_string(port()) + "/debug/leash";
}

server serve(std::string_view address, serve_options o) {
  return server(std::make_unique<server::state>(address, std::move(o)));
}

}  // namespace leash::debug
