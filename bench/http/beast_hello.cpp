// "hello" by Boost.Beast and Asio's awaitable, as their examples do it: nothing but the answer, no limits, no times, no contexts.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = net::ip::tcp;

net::awaitable<void> session(tcp::socket s) {
  beast::flat_buffer buffer;
  try {
    for (;;) {
      http::request<http::string_body> q;
      co_await http::async_read(s, buffer, q, net::use_awaitable);
      http::response<http::string_body> a{q.target() == "/" ? http::status::ok : http::status::not_found, q.version()};
      a.set(http::field::content_type, "text/plain; charset=utf-8");
      a.keep_alive(q.keep_alive());
      if (q.target() == "/") a.body() = "hello, world\n";
      a.prepare_payload();
      bool const more = a.keep_alive();
      co_await http::async_write(s, a, net::use_awaitable);
      if (!more) break;
    }
  } catch (const std::exception&) {
  }
}

net::awaitable<void> listen(tcp::acceptor& a) {
  for (;;) {
    tcp::socket s = co_await a.async_accept(net::use_awaitable);
    s.set_option(tcp::no_delay(true));
    net::co_spawn(a.get_executor(), session(std::move(s)), net::detached);
  }
}

int main(int argc, char** argv) {
  net::io_context io(1);
  tcp::acceptor a(io,
                  {net::ip::make_address("127.0.0.1"), static_cast<unsigned short>(argc > 1 ? std::atoi(argv[1]) : 0)});
  std::printf("%u\n", a.local_endpoint().port());
  std::fflush(stdout);
  net::co_spawn(io, listen(a), net::detached);
  io.run();
}
