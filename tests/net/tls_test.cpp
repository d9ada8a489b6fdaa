#include <atomic>
#include <boost/asio/ssl/error.hpp>

#include "net/certificates.hpp"
#include "net/net.hpp"

namespace {

using namespace leash;
using namespace leash::test;

struct authority {
  certificate ca = make_certificate("");
  certificate server = make_certificate("DNS:localhost,IP:127.0.0.1", &ca);
  net::tls_context serving() const { return net::tls_context::server(server.pem(), server.key_pem()); }
  net::tls_context trusting() const {
    net::tls_context c = net::tls_context::client();
    c.trust(ca.pem());
    return c;
  }
};

struct tls_pair {
  net::tls_stream client, server;
};

// What the client's handshake ended with, if it failed, in `error`.
task<tls_pair> tls_streams(net::tls_context client, net::tls_context server, std::string host,
                           std::string* error = nullptr) {
  auto [a, b] = co_await tcp_streams();
  tls_pair p;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&, b = std::move(b)]() mutable -> task<> {
      try {
        p.server = co_await net::tls_stream::server(std::move(b), server);
      } catch (const net::system_error& e) {
        if (error == nullptr) ADD_FAILURE() << "server: " << e.what();
      }
    });
    s.go([&, a = std::move(a)]() mutable -> task<> {
      try {
        p.client = co_await net::tls_stream::client(std::move(a), client, host);
      } catch (const net::system_error& e) {
        if (error == nullptr) ADD_FAILURE() << "client: " << e.what();
        if (error != nullptr) *error = e.what();
      }
    });
    co_return;
  });
  co_return p;
}

LEASH_TEST_REAL(Tls, a_handshake_and_a_few_words) {
  authority at;
  auto client = at.trusting(), server = at.serving();
  client.set_alpn({"h2", "http/1.1"});
  server.set_alpn({"http/1.1"});
  auto [a, b] = co_await tls_streams(client, server, "localhost");
  CO_ASSERT_TRUE(a.is_open() && b.is_open());
  EXPECT_EQ(a.version(), "TLSv1.3");
  EXPECT_EQ(a.alpn(), "http/1.1");
  EXPECT_EQ(b.alpn(), "http/1.1");
  EXPECT_NE(a.peer_subject().find("localhost"), std::string::npos);
  char in[32];
  for (int i = 0; i < 10; ++i) {
    co_await a.write_all("hello");
    CO_ASSERT_TRUE(co_await b.read_exactly(net::mutable_bytes(in, 5)));
    std::vector<net::const_bytes> pieces{"to", " you"};
    co_await b.write_all(std::span<const net::const_bytes>(pieces));
    CO_ASSERT_TRUE(co_await a.read_exactly(net::mutable_bytes(in, 6)));
    CO_ASSERT_EQ(std::string_view(in, 6), "to you");
  }
  co_await a.shutdown();
  EXPECT_EQ(co_await b.read_some(in), 0u);
}

LEASH_TEST_REAL(Tls, much_goes_both_ways_at_once) {
  authority at;
  auto [a, b] = co_await tls_streams(at.trusting(), at.serving(), "127.0.0.1");
  CO_ASSERT_TRUE(a.is_open() && b.is_open());
  std::uint64_t const total = 5'000'000;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> { co_await send_pattern(a, total); });
    s.go([&]() -> task<> { co_await send_pattern(b, total); });
    s.go([&]() -> task<> { co_await expect_pattern(a, total); });
    s.go([&]() -> task<> { co_await expect_pattern(b, total); });
    co_return;
  });
}

LEASH_TEST_REAL(Tls, a_client_refuses_who_it_cannot_verify) {
  authority at;
  std::string error;
  (void)co_await tls_streams(net::tls_context::client(), at.serving(), "localhost", &error);
  EXPECT_NE(error.find("unable to get local issuer certificate"), std::string::npos) << error;
  error.clear();
  (void)co_await tls_streams(at.trusting(), at.serving(), "other.example", &error);
  EXPECT_NE(error.find("ostname mismatch"), std::string::npos) << error;
  error.clear();
  (void)co_await tls_streams(at.trusting(), at.serving(), "127.0.0.2", &error);
  EXPECT_NE(error.find("IP address mismatch"), std::string::npos) << error;
  error.clear();
  certificate const old = make_certificate("DNS:localhost", &at.ca, -3600);
  (void)co_await tls_streams(at.trusting(), net::tls_context::server(old.pem(), old.key_pem()), "localhost", &error);
  EXPECT_NE(error.find("expired"), std::string::npos) << error;
  error.clear();
  certificate const self = make_certificate("DNS:localhost");
  (void)co_await tls_streams(at.trusting(), net::tls_context::server(self.pem(), self.key_pem()), "localhost", &error);
  EXPECT_NE(error.find("self-signed"), std::string::npos) << error;
}

LEASH_TEST_REAL(Tls, a_server_may_demand_a_certificate) {
  authority at;
  auto server = at.serving();
  server.trust(at.ca.pem());
  server.require_client_certificate();
  auto client = at.trusting();
  certificate const mine = make_certificate("DNS:client", &at.ca);
  client.use_certificate(mine.pem(), mine.key_pem());
  auto [a, b] = co_await tls_streams(client, server, "localhost");
  CO_ASSERT_TRUE(a.is_open() && b.is_open());
  EXPECT_NE(b.peer_subject().find("client"), std::string::npos);
}

LEASH_TEST_REAL(Tls, an_end_without_a_farewell_is_an_error) {
  authority at;
  auto [a, b] = co_await tls_streams(at.trusting(), at.serving(), "localhost");
  CO_ASSERT_TRUE(a.is_open() && b.is_open());
  char in[8];
  co_await a.write_all("x");
  EXPECT_EQ(co_await b.read_some(in), 1u);
  co_await b.write_all("y");  // what is closed with something unread is reset, and that is another error
  EXPECT_EQ(co_await a.read_some(in), 1u);
  a.close();
  bool truncated = false;
  try {
    (void)co_await b.read_some(in);
  } catch (const net::system_error& e) {
    truncated = e.code() == net::asio::ssl::error::stream_truncated;
  }
  EXPECT_TRUE(truncated);
}

LEASH_TEST_REAL(Tls, a_reader_ends_with_its_context_and_loses_nothing) {
  authority at;
  auto [a, b] = co_await tls_streams(at.trusting(), at.serving(), "localhost");
  CO_ASSERT_TRUE(a.is_open() && b.is_open());
  char in[8];
  co_await ends_with_its_context([&]() -> task<> { (void)co_await b.read_some(in); });
  co_await a.write_all("alive");
  EXPECT_EQ(co_await b.read_some(in), 5u);
}

// Cut in the middle of a record, the next write fails; cut between two, what comes is whole records. Never a stream that the
// other end cannot read.
LEASH_TEST_REAL(Tls, a_write_that_was_cut_short_corrupts_nothing) {
  authority at;
  auto [a, b] = co_await tls_streams(at.trusting(), at.serving(), "localhost");
  CO_ASSERT_TRUE(a.is_open() && b.is_open());
  std::string const much(32 << 20, 'x');
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("writer"), [&]() -> task<> { co_await a.write_all(much); });
    co_await parked("writer", "IO wait");  // nobody reads
    s.cancel("enough");
  });
  std::atomic<bool> broken = false;  // what orders the two is a socket
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      std::vector<char> in(1 << 16);
      std::string end;
      try {
        while (std::size_t n = co_await b.read_some(in))
          if (n >= 4) end.assign(in.data() + n - 4, 4);
        EXPECT_TRUE(!broken && end == "more");
      } catch (const net::system_error& e) {
        EXPECT_TRUE(broken.load()) << e.what();
      }
    });
    try {
      co_await a.write_all("more");
      co_await a.shutdown();
    } catch (const net::system_error& e) {
      EXPECT_EQ(e.code(), net::asio::error::broken_pipe);
      broken = true;
      a.close();
    }
    co_await s.join();
  });
}

LEASH_TEST_REAL(Tls, a_handshake_with_who_says_nothing_ends_with_its_context) {
  authority at;
  co_await ends_with_its_context([&]() -> task<> {
    auto [a, b] = co_await tcp_streams();
    (void)co_await net::tls_stream::client(std::move(a), at.trusting(), "localhost");
  });
}

LEASH_TEST_REAL(Tls, connects_by_name) {
  authority at;
  net::tcp_listener listener("127.0.0.1:0");
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      auto server = co_await net::tls_stream::server(co_await listener.accept(), at.serving());
      co_await server.write_all("hi");
      co_await server.shutdown();
    });
    auto c = co_await net::connect_tls("localhost:" + std::to_string(listener.local_endpoint().port()), at.trusting());
    char in[8];
    EXPECT_EQ(co_await c.read_some(in), 2u);
    EXPECT_EQ(co_await c.read_some(in), 0u);
  });
}

}  // namespace
