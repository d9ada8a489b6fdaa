// Boost.Beast in goroutines: its operations are composed of many, with a strand's worth of state in between.
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "net/net.hpp"

namespace {

using namespace leash;
using namespace leash::test;
using net::use_goroutine;
using net::asio::ip::tcp;
namespace beast = boost::beast;
namespace http = boost::beast::http;

struct pair_of_sockets {
  tcp::socket a{net::context()}, b{net::context()};
};
task<> connect(pair_of_sockets& p) {
  tcp::acceptor listener(net::context(), tcp::endpoint(net::asio::ip::address_v4::loopback(), 0));
  co_await p.a.async_connect(listener.local_endpoint(), use_goroutine);
  p.b = co_await listener.async_accept(use_goroutine);
}

LEASH_TEST_REAL(Beast, requests_and_responses) {
  pair_of_sockets p;
  co_await connect(p);
  std::string const body(300'000, 'b');
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      beast::flat_buffer buffer;
      for (;;) {
        http::request<http::string_body> request;
        auto [error, n] = co_await http::async_read(p.b, buffer, request, net::asio::as_tuple(use_goroutine));
        if (error == http::error::end_of_stream) co_return;
        EXPECT_FALSE(error);
        http::response<http::string_body> response{http::status::ok, 11};
        response.body() = request.body();
        response.prepare_payload();
        co_await http::async_write(p.b, response, use_goroutine);
      }
    });
    beast::flat_buffer buffer;
    for (int i = 0; i < 10; ++i) {
      http::request<http::string_body> request{http::verb::post, "/", 11};
      request.body() = body;
      request.prepare_payload();
      co_await http::async_write(p.a, request, use_goroutine);
      http::response<http::string_body> response;
      http::response_parser<http::string_body> parser;
      parser.body_limit(boost::none);
      co_await http::async_read(p.a, buffer, parser, use_goroutine);
      EXPECT_TRUE(parser.get().body() == body);
    }
    p.a.shutdown(tcp::socket::shutdown_send);
  });
}

LEASH_TEST_REAL(Beast, a_read_ends_with_its_context_in_the_middle_of_a_request) {
  pair_of_sockets p;
  co_await connect(p);
  for (int i = 0; i < 50; ++i) {
    bool came = false;
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> {
        // One byte after the other: the operation is between two reads most of the time.
        for (char c : std::string_view("POST / HTTP/1.1\r\nHost: x\r\n"))
          co_await net::asio::async_write(p.a, net::asio::buffer(&c, 1), use_goroutine);
      });
      co_await with_timeout(std::chrono::microseconds(100 + 20 * i), [&]() -> task<> {
        beast::flat_buffer buffer;
        http::request<http::string_body> request;
        (void)co_await http::async_read(p.b, buffer, request, net::asio::as_tuple(use_goroutine));
        came = true;
      });
    });
    char rest[4096];
    while (p.b.available() > 0) (void)co_await p.b.async_read_some(net::asio::buffer(rest), use_goroutine);
    (void)came;
  }
}

}  // namespace
