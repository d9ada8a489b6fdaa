#include "fetch.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <cstdint>
#include <limits>

#include "error.hpp"

namespace leash::cli {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using error = boost::system::error_code;

std::string address::text() const {
  std::string shown = query.empty() ? "" : "?" + query;
  shown.resize(std::min(shown.size(), shown.find("token=")));
  while (shown.ends_with('&') || shown == "?") shown.pop_back();
  if (scheme == "unix") return "unix:" + host + ":" + path + shown;
  const std::string h = host.find(':') == host.npos ? host : "[" + host + "]";
  const bool usual = port == (scheme == "https" ? "443" : "80");
  return scheme + "://" + h + (usual ? "" : ":" + port) + path + shown;
}

bool is_address(const std::string& text) {
  if (text.starts_with("http://") || text.starts_with("https://") || text.starts_with("unix:")) return true;
  // host:port, perhaps with a path
  const std::size_t end = std::min(text.find('/'), text.size()), colon = text.substr(0, end).rfind(':');
  return colon != text.npos && colon + 1 < end && text.find_first_not_of("0123456789", colon + 1) >= end;
}

namespace {
void split_query(address& a) {
  if (const std::size_t q = a.path.find('?'); q != a.path.npos) {
    a.query = a.path.substr(q + 1);
    a.path.resize(q);
  }
  if (a.path.empty()) a.path = "/";
}
}  // namespace

address parse_address(const std::string& text) {
  auto wrong = [&](const char* why) { return input_error("'" + text.substr(0, 200) + "' is no address: " + why); };
  for (unsigned char c : text) {
    if (c <= ' ' || c == 127) throw wrong("it contains blanks or control characters");
  }
  address a;
  std::string rest = text;
  if (rest.starts_with("unix:")) {  // unix:SOCKET, unix:SOCKET:/PATH
    a.scheme = "unix";
    rest = rest.substr(5, rest.find('#') - 5);
    const std::size_t colon = std::min(rest.find(":/"), rest.size());
    a.host = rest.substr(0, colon);
    if (a.host.empty()) throw wrong("no socket");
    if (a.host.size() > 107) throw wrong("the path of a socket has at most 107 bytes");
    a.path = colon == rest.size() ? "/" : rest.substr(colon + 1);
    split_query(a);
    return a;
  }
  if (const std::size_t at = rest.find("://"); at != rest.npos) {
    a.scheme = rest.substr(0, at);
    rest.erase(0, at + 3);
  } else {
    a.scheme = "http";
  }
  if (a.scheme != "http" && a.scheme != "https") throw wrong("only http, https and unix: are spoken");
  rest = rest.substr(0, rest.find('#'));
  const std::size_t end = std::min(rest.find_first_of("/?"), rest.size());
  std::string host = rest.substr(0, end);
  a.path = rest.substr(end);
  split_query(a);
  if (const std::size_t at = host.rfind('@'); at != host.npos) {
    a.user = host.substr(0, at);
    host.erase(0, at + 1);
  }
  if (host.starts_with('[')) {
    const std::size_t close = host.find(']');
    if (close == host.npos) throw wrong("a bracket is not closed");
    a.host = host.substr(1, close - 1);
    host.erase(0, close + 1);
  } else {
    const std::size_t colon = std::min(host.find(':'), host.size());
    a.host = host.substr(0, colon);
    host.erase(0, colon);
  }
  if (host.starts_with(':')) {
    a.port = host.substr(1);
  } else if (!host.empty()) {
    throw wrong("something stands behind the host");
  }
  if (a.host.empty()) throw wrong("no host");
  if (a.port.empty()) a.port = a.scheme == "https" ? "443" : "80";
  if (a.port.size() > 5 || a.port.find_first_not_of("0123456789") != a.port.npos) throw wrong("the port is no number");
  return a;
}

std::string base64(std::string_view s) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < s.size(); i += 3) {
    auto byte = [&](std::size_t k) { return k < s.size() ? static_cast<unsigned char>(s[k]) : 0u; };
    const unsigned n = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    out += digits[n >> 18];
    out += digits[n >> 12 & 63];
    out += i + 1 < s.size() ? digits[n >> 6 & 63] : '=';
    out += i + 2 < s.size() ? digits[n & 63] : '=';
  }
  return out;
}

namespace {

/// As Beast's string_body, but it takes memory for what has come, not for what the answer says will come, and sees itself that
/// this is not too much: Beast's own limit does not hold where a length is announced.
struct text_body {
  struct value_type {
    std::string text;
    std::size_t most = 0;
  };
  class reader {
   public:
    template <bool is_request, class Fields>
    reader(http::header<is_request, Fields>&, value_type& to) : to_(to) {}
    template <class Length>
    void init(const Length&, error& e) {
      e = {};
    }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, error& e) {
      e = {};
      std::size_t size = 0;
      for (auto it = asio::buffer_sequence_begin(buffers); it != asio::buffer_sequence_end(buffers); ++it) {
        const asio::const_buffer b = *it;
        if (b.size() > to_.most - to_.text.size()) {
          e = http::error::body_limit;
          return size;
        }
        to_.text.append(static_cast<const char*>(b.data()), b.size());
        size += b.size();
      }
      return size;
    }
    void finish(error& e) { e = {}; }

   private:
    value_type& to_;
  };
};

/// One connection. Every step is started asynchronously and waited for until the deadline, which covers them all.
class exchange {
 public:
  exchange(const address& a, const fetch_options& o, std::chrono::steady_clock::time_point deadline)
      : address_(a), options_(o), deadline_(deadline) {}

  answer run(std::string& location) {
    if (address_.scheme == "unix") {
      using local = asio::local::stream_protocol;
      local::socket socket(context_);
      step("cannot connect", [&](auto done) { socket.async_connect(local::endpoint(address_.host), done); });
      return talk(socket, location);
    }
    tcp::resolver resolver(context_);
    tcp::resolver::results_type where;
    step("cannot find the host", [&](auto done) {
      resolver.async_resolve(address_.host, address_.port, [&, done](error e, tcp::resolver::results_type r) {
        where = std::move(r);
        done(e);
      });
    });
    if (address_.scheme == "http") {
      tcp::socket socket(context_);
      connect(socket, where);
      return talk(socket, location);
    }
    asio::ssl::context tls(asio::ssl::context::tls_client);
    tls.set_default_verify_paths();
    tls.set_verify_mode(options_.insecure ? asio::ssl::verify_none : asio::ssl::verify_peer);
    asio::ssl::stream<tcp::socket> stream(context_, tls);
    SSL_set_tlsext_host_name(stream.native_handle(), address_.host.c_str());
    if (!options_.insecure) stream.set_verify_callback(asio::ssl::host_name_verification(address_.host));
    connect(stream.next_layer(), where);
    step("TLS", [&](auto done) { stream.async_handshake(asio::ssl::stream_base::client, done); });
    return talk(stream, location);
  }

 private:
  template <class Start>
  void step(const char* what, Start start) {
    bool over = false;
    error result;
    start([&](error e, auto&&...) {
      over = true;
      result = e;
    });
    context_.restart();
    context_.run_until(deadline_);
    if (!over) throw input_error("no answer in time (" + std::string(what) + ")");
    if (result == http::error::body_limit)
      throw input_error("the answer is larger than " + std::to_string(options_.most >> 20) +
                        " MB, the most that is read");
    if (result) throw input_error(std::string(what) + ": " + result.message());
  }

  void connect(tcp::socket& socket, const tcp::resolver::results_type& where) {
    step("cannot connect", [&](auto done) { asio::async_connect(socket, where, done); });
  }

  template <class Stream>
  answer talk(Stream& stream, std::string& location) {
    http::request<http::empty_body> request(http::verb::get,
                                            address_.path + (address_.query.empty() ? "" : "?" + address_.query), 11);
    request.set(http::field::host, host_field());
    request.set(http::field::user_agent, "leash");
    request.set(http::field::connection, "close");
    if (!address_.user.empty()) request.set(http::field::authorization, "Basic " + base64(address_.user));
    for (const std::string& h : options_.headers) {
      const std::size_t colon = h.find(':');
      const std::size_t value = h.find_first_not_of(' ', colon + 1);
      request.set(h.substr(0, colon), value == h.npos ? "" : h.substr(value));
    }
    step("cannot send", [&](auto done) { http::async_write(stream, request, done); });
    beast::flat_buffer buffer;
    http::response_parser<text_body> parser;
    parser.body_limit(std::numeric_limits<std::uint64_t>::max());
    parser.get().body().most = options_.most;
    step("cannot receive", [&](auto done) { http::async_read(stream, buffer, parser, done); });
    http::response<text_body> response = parser.release();
    if (const auto at = response.find(http::field::location); at != response.end()) location = std::string(at->value());
    return {response.result_int(), std::move(response.body().text)};
  }

  std::string host_field() const {
    if (address_.scheme == "unix") return "localhost";
    const bool usual = address_.port == (address_.scheme == "https" ? "443" : "80");
    const std::string host = address_.host.find(':') == address_.host.npos ? address_.host : "[" + address_.host + "]";
    return usual ? host : host + ":" + address_.port;
  }

  const address& address_;
  const fetch_options& options_;
  const std::chrono::steady_clock::time_point deadline_;
  asio::io_context context_;
};

}  // namespace

answer fetch(const address& a, const fetch_options& o) {
  const auto deadline = std::chrono::steady_clock::now() + o.timeout;
  address at = a;
  for (int redirections = 0;; ++redirections) {
    std::string location;
    answer got;
    try {
      got = exchange(at, o, deadline).run(location);
    } catch (const boost::system::system_error& e) {
      throw input_error(e.what());
    }
    if (got.status < 301 || got.status > 308 || location.empty()) return got;
    if (redirections == 5) throw input_error("it redirects in a circle");
    if (location.starts_with('/')) {
      const address there = parse_address("http://x" + location);
      at.path = there.path;
      at.query = there.query;
    } else {
      const address before = at;
      at = parse_address(location);
      // What was meant for one host is not shown to another.
      if (at.host != before.host && !o.headers.empty()) throw input_error("it redirects to another host: " + at.text());
    }
  }
}

}  // namespace leash::cli
