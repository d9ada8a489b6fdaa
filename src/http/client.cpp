// Invariants
//  K1. A connection goes back to its pool only when the response was read to its end, both sides keep it, and no byte follows.
//  K2. A permit of its host is held for as long as a connection is in use; idle ones hold none.
//  K3. A request is sent again only if its method is idempotent and not one byte of a response has come.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <leash/boundary.hpp>
#include <leash/http/client.hpp>
#include <leash/semaphore.hpp>
#include <leash/sleep.hpp>
#include <map>
#include <mutex>
#include <random>

#include "buffer.hpp"
#include "parser.hpp"
#include "transport.hpp"

namespace leash::http {

using kind = failure::kind;

namespace {

struct idle_connection {
  std::unique_ptr<transport> io;
  clock::time_point since;
};

struct host_pool {
  semaphore places;
  std::vector<idle_connection> idle;  // under the client's lock; the one used last is at the end
  explicit host_pool(std::size_t n) : places(n) {}
};

}  // namespace

struct client::state {
  client_options o;
  std::unique_ptr<connector> connect;
  mutable std::mutex lock;  // short: nothing waits under it
  std::map<std::string, std::unique_ptr<host_pool>, std::less<>> hosts;
  double budget;
  client_figures figures;
  std::minstd_rand random{std::random_device{}()};

  explicit state(client_options options)
      : o(std::move(options)), connect(make_connector({o.ca_file})), budget(o.retry_burst) {}
};

class client_exchange {
 public:
  client_exchange(std::shared_ptr<client::state> s, host_pool& pool, semaphore::permit place)
      : s_(std::move(s)), pool_(pool), place_(std::move(place)) {}
  client_exchange(const client_exchange&) = delete;
  ~client_exchange() { drop(); }

  void use(std::unique_ptr<transport> what) {
    io = std::move(what);
    std::lock_guard guard(s_->lock);
    ++s_->figures.open;
  }
  /// Closes it.
  void drop() noexcept {
    if (!io) return;
    io.reset();
    std::lock_guard guard(s_->lock);
    --s_->figures.open;
  }

  std::unique_ptr<transport> io;  // by use() and drop()
  input_buffer in;
  std::optional<message_parser<false>> parser;
  bool reused = false;

  task<std::optional<std::string_view>> read() {
    in.consume(std::exchange(taken_, 0));
    for (error_code ec;;) {
      if (!io || parser->is_done()) {
        give_back();
        co_return std::nullopt;
      }
      if (!in.empty()) {
        std::size_t const used = parser->put(boost::asio::buffer(in.text().data(), in.size()), ec);
        std::string_view const piece = parser->take_piece();
        if (ec && ec != boost::beast::http::error::need_more) {
          drop();
          throw failure(kind::malformed, "the response's body is malformed: " + ec.message());
        }
        if (!piece.empty()) {
          taken_ = used;
          co_return piece;
        }
        in.consume(used);
        if (!ec) continue;
        if (in.size() >= s_->o.max_head) {
          drop();
          throw failure(kind::malformed, "a chunk's head has no end");
        }
      }
      char* const to = in.room(16 << 10);
      auto const n = co_await with_timeout(s_->o.body_timeout, io->read(to, in.room_there()));
      if (!n) {
        drop();
        throw failure(kind::timed_out, "the response's body did not go on");
      }
      if (*n == 0) {
        parser->put_eof(ec);
        drop();
        if (ec) throw failure(kind::closed, "the server closed the connection within a response");
        co_return std::nullopt;
      }
      in.added(*n);
    }
  }
  std::size_t max_body() const noexcept { return s_->o.max_body; }

 private:
  void give_back() noexcept {  // K1
    if (!io) return;
    if (!parser->keep_alive() || !in.empty()) {
      drop();
      return;
    }
    std::unique_ptr<transport> oldest;  // closed outside of the lock
    std::lock_guard guard(s_->lock);
    --s_->figures.open;
    pool_.idle.push_back({std::move(io), now()});
    if (pool_.idle.size() > s_->o.max_idle_per_host) {
      oldest = std::move(pool_.idle.front().io);
      pool_.idle.erase(pool_.idle.begin());
    }
    place_ = {};
  }

  std::shared_ptr<client::state> s_;
  host_pool& pool_;
  semaphore::permit place_;  // K2
  std::size_t taken_ = 0;
};

client_response::client_response(client_response&&) noexcept = default;
client_response& client_response::operator=(client_response&&) noexcept = default;
client_response::~client_response() = default;

task<std::optional<std::string_view>> client_response::read() { return exchange_->read(); }
task<std::string> client_response::text() { return text(exchange_->max_body()); }
task<std::string> client_response::text(std::size_t most) {
  std::string all;
  while (auto piece = co_await exchange_->read()) {
    if (piece->size() > most - all.size()) {
      exchange_->drop();
      throw failure(kind::too_large, "the response's body has more than " + std::to_string(most) + " bytes");
    }
    all.append(*piece);
  }
  co_return all;
}

namespace {

/// The client's side closed it, or something came that nobody asked for: not to be used again.
bool stale(const transport& io) noexcept {
  pollfd p{io.descriptor(), POLLIN | POLLRDHUP, 0};
  return ::poll(&p, 1, 0) != 0;
}

std::string head_of(const client_request& r, const url& u) {
  std::string out;
  out.append(r.method).append(" ").append(u.target).append(" HTTP/1.1\r\nHost: ").append(u.authority()).append("\r\n");
  for (const fields::field& f : r.headers) {
    if (same_name(f.name, "Host") || same_name(f.name, "Content-Length") || same_name(f.name, "Transfer-Encoding") ||
        same_name(f.name, "Connection"))
      continue;  // ours
    out.append(f.name).append(": ").append(f.value).append("\r\n");
  }
  bool const usual_body = r.method == "POST" || r.method == "PUT" || r.method == "PATCH";
  if (!r.body.empty() || usual_body)
    out.append("Content-Length: ").append(std::to_string(r.body.size())).append("\r\n");
  return out.append("\r\n");
}

/// Sends the request over the exchange's connection and reads the response's head. Throws failure; `begun` if a byte came.
task<> exchange_heads(client_exchange& x, const client_request& r, const url& u, std::size_t max_head,
                      client_response& to, bool& begun) {
  begun = false;
  std::string const head = head_of(r, u);
  // A server may answer and close before it has read all of a request: its answer is looked for all the same.
  bool const sent = co_await x.io->write({head, r.body, {}});
  for (int informational = 0;; ++informational) {
    head_scan scan;
    for (;;) {
      auto const found = x.in.empty() ? head_scan::result::more : scan.look(x.in.text());
      if (found == head_scan::result::malformed) throw failure(kind::malformed, "the response's head is malformed");
      if (found == head_scan::result::whole ? scan.bytes() > max_head : x.in.size() >= max_head)
        throw failure(kind::malformed, "the response's head has more than " + std::to_string(max_head) + " bytes");
      if (found == head_scan::result::whole) break;
      char* const space = x.in.room(1);
      std::size_t const n = co_await x.io->read(space, x.in.room_there());
      if (n == 0)
        throw failure(kind::closed, sent ? "the server closed the connection" : "the request could not be sent");
      begun = true;
      x.in.added(n);
    }
    x.parser.emplace();
    if (r.method == "HEAD") x.parser->skip(true);
    std::string_view const text = x.in.text().substr(0, scan.bytes());
    error_code ec;
    x.parser->put(boost::asio::buffer(text.data(), text.size()), ec);
    if (ec || !x.parser->is_header_done() || !check_response(*x.parser))
      throw failure(kind::malformed, "the response's head is malformed");
    std::size_t const line = text.find('\r');
    to.status = x.parser->head.status;
    to.headers.lines().assign(text.substr(line + 2, text.size() - line - 4));
    x.in.consume(text.size());
    if (to.status / 100 != 1 || to.status == 101) co_return;
    if (informational > 10) throw failure(kind::malformed, "too many responses that only inform");
  }
}

}  // namespace

client::client(client_options o) : s_(std::make_shared<state>(std::move(o))) {}
client::~client() = default;

client_figures client::figures() const {
  std::lock_guard guard(s_->lock);
  client_figures f = s_->figures;
  for (const auto& [name, pool] : s_->hosts) f.idle += pool->idle.size();
  return f;
}

void client::drop_idle() {
  std::vector<idle_connection> all;
  std::lock_guard guard(s_->lock);
  for (auto& [name, pool] : s_->hosts) {
    std::move(pool->idle.begin(), pool->idle.end(), std::back_inserter(all));
    pool->idle.clear();
  }
}

task<client_response> client::post(std::string url, std::string body, std::string_view type) {
  client_request r{"POST", std::move(url), {}, std::move(body)};
  r.headers.add("Content-Type", type);
  return send(std::move(r));
}

namespace {

/// One request to one place, over a kept connection or a new one.
task<client_response> attempt(std::shared_ptr<client::state> s, const client_request& r, const url& u, bool fresh,
                              client_response made, bool& begun, bool& reused,
                              std::unique_ptr<client_exchange>& exchange) {
  host_pool* pool;
  {
    std::lock_guard guard(s->lock);
    auto& p = s->hosts[u.origin()];
    if (!p) p = std::make_unique<host_pool>(s->o.max_connections_per_host);
    pool = p.get();
  }
  begun = reused = false;
  auto x = std::make_unique<client_exchange>(s, *pool, co_await pool->places.acquire());
  while (!fresh && !x->io) {
    idle_connection kept;
    {
      std::lock_guard guard(s->lock);
      if (pool->idle.empty()) break;
      kept = std::move(pool->idle.back());
      pool->idle.pop_back();
    }
    if (now() - kept.since < s->o.idle_timeout && !stale(*kept.io)) x->use(std::move(kept.io));
  }
  reused = x->io != nullptr;
  {
    std::lock_guard guard(s->lock);
    ++(reused ? s->figures.reused : s->figures.connected);
  }
  if (!reused) {
    auto made_io = co_await with_timeout(s->o.connect_timeout, s->connect->open(u.host, u.port, u.secure));
    if (!made_io) throw failure(kind::timed_out, "no connection to " + u.origin() + " in time");
    x->use(std::move(*made_io));
  }
  co_await exchange_heads(*x, r, u, s->o.max_head, made, begun);
  exchange = std::move(x);
  co_return made;
}

}  // namespace

task<client_response> client::send(client_request r) {
  std::shared_ptr<state> const s = s_;
  url u = url::parse(r.url);
  if (method_of(r.method) == method::other || r.method == "CONNECT")
    throw std::invalid_argument("http: '" + r.method + "' is no method that the client sends");
  auto whole = [&]() -> task<client_response> {
    for (unsigned redirects = 0;; ++redirects) {
      std::optional<client_response> got;
      bool const again = idempotent(method_of(r.method));
      bool fresh = false;
      for (unsigned retries = 0; !got;) {
        bool begun = false, reused = false;
        std::exception_ptr error;
        {
          std::lock_guard guard(s->lock);
          ++s->figures.requests;
          if (retries == 0) s->budget = std::min(s->o.retry_burst, s->budget + s->o.retry_share);
        }
        try {
          std::unique_ptr<client_exchange> exchange;
          got = co_await attempt(s, r, u, fresh, client_response(), begun, reused, exchange);
          got->exchange_ = std::move(exchange);
          got->url = u.text();
        } catch (const failure& f) {
          bool const lost = f.why() == kind::closed || f.why() == kind::unreachable;
          if (!again || begun || !lost) throw;  // K3
          error = std::current_exception();
        }
        if (!error) break;
        // A kept connection that turned out to be closed is no sign of trouble.
        if (reused) {
          fresh = true;
          continue;
        }
        double part;
        {
          std::lock_guard guard(s->lock);
          if (retries >= s->o.max_retries || s->budget < 1) std::rethrow_exception(error);
          s->budget -= 1;
          ++s->figures.retried;
          part = std::uniform_real_distribution<>(0.5, 1)(s->random);
        }
        auto const pause = s->o.retry_after.count() << retries++;
        co_await sleep(nanoseconds(static_cast<std::int64_t>(static_cast<double>(pause) * part)));
      }
      int const status = got->status;
      bool const redirect = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
      std::string const where(got->header("Location"));
      if (!redirect || where.empty() || s->o.max_redirects == 0) co_return std::move(*got);
      if (redirects >= s->o.max_redirects)
        throw failure(kind::redirects, "more than " + std::to_string(redirects) + " redirects");
      // The body is read away if that is quick, so that the connection is kept.
      for (std::size_t bytes = 0; bytes < (64 << 10);) {
        auto piece = co_await got->read();
        if (!piece) break;
        bytes += piece->size();
      }
      url const next = u.resolved(where);
      if (u.secure && !next.secure && !s->o.insecure_redirects)
        throw failure(kind::insecure, "a redirect leads from " + u.origin() + " to " + next.origin());
      if (status == 303 || ((status == 301 || status == 302) && r.method == "POST")) {
        if (r.method != "HEAD") r.method = "GET";
        r.body.clear();
        r.headers.remove("Content-Type");
      }
      if (next.origin() != u.origin()) r.headers.remove("Authorization").remove("Cookie").remove("Proxy-Authorization");
      u = next;
      std::lock_guard guard(s->lock);
      ++s->figures.redirected;
    }
  };
  auto got = co_await with_timeout(s->o.timeout, std::ref(whole));
  if (!got) throw failure(kind::timed_out, "no response from " + u.origin() + " in time");
  co_return std::move(*got);
}

}  // namespace leash::http
