#include "net/net.hpp"

namespace {

using namespace leash;
using namespace leash::test;

net::udp_endpoint here() { return {net::asio::ip::address_v4::loopback(), 0}; }

LEASH_TEST_REAL(Udp, datagrams_go_and_come) {
  net::udp_socket a(here()), b(here());
  char in[16];
  for (int i = 0; i < 50; ++i) {
    co_await a.send_to("ping", b.local_endpoint());
    auto r = co_await b.receive(in);
    CO_ASSERT_EQ(std::string_view(in, r.size), "ping");
    CO_ASSERT_EQ(r.from, a.local_endpoint());
    EXPECT_FALSE(r.truncated);
    co_await b.send_to("", r.from);
    CO_ASSERT_EQ((co_await a.receive(in)).size, 0u);
  }
  co_await a.send_to("longer than that", b.local_endpoint());
  auto r = co_await b.receive(net::mutable_bytes(in, 4));
  EXPECT_EQ(r.size, 4u);
  EXPECT_TRUE(r.truncated);
}

LEASH_TEST_REAL(Udp, receive_ends_with_its_context) {
  net::udp_socket a(here());
  char in[16];
  co_await ends_with_its_context([&]() -> task<> { (void)co_await a.receive(in); });
}

LEASH_TEST_REAL(Udp, a_receive_that_loses_in_select_keeps_the_datagram) {
  net::udp_socket a(here()), b(here());
  int const total = 200;
  int got = 0;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      for (int i = 0; i < total; ++i) {
        co_await a.send_to(std::to_string(i), b.local_endpoint());
        if (i % 8 == 0) co_await sleep(100us);  // loopback drops what the receiver has no room for
      }
    });
    while (got < total) {
      char in[16];
      auto r = co_await select(b.receive(in), sleep(std::chrono::microseconds(got % 40)));
      if (r.index() == 1) continue;
      EXPECT_EQ(std::string_view(in, std::get<0>(r).size), std::to_string(got));
      ++got;
      if (::testing::Test::HasFailure()) co_return;
    }
  });
}

LEASH_TEST_REAL(Udp, nobody_there_is_an_error_of_a_connected_socket) {
  net::udp_socket a(here());
  net::udp_endpoint nobody;
  {
    net::udp_socket gone(here());
    nobody = gone.local_endpoint();
  }
  a.connect(nobody);
  co_await a.send_to("x", nobody);
  char in[4];
  net::error_code e;
  (void)co_await a.receive(in, e);
  EXPECT_EQ(e, net::asio::error::connection_refused);
}

// --- names

LEASH_TEST_REAL(Resolve, numbers_and_names) {
  auto n = co_await net::resolve("127.0.0.1", "80");
  CO_ASSERT_EQ(n.size(), 1u);
  EXPECT_EQ(n[0], net::tcp_endpoint(net::asio::ip::address_v4::loopback(), 80));
  auto six = co_await net::resolve("::1", "81");
  CO_ASSERT_EQ(six.size(), 1u);
  EXPECT_EQ(six[0].port(), 81);
  auto name = co_await net::resolve("localhost", "82");
  CO_ASSERT_FALSE(name.empty());
  EXPECT_TRUE(name[0].address().is_loopback());
}

LEASH_TEST_REAL(Resolve, what_is_unknown_is_an_error) {
  bool failed = false;
  try {
    (void)co_await net::resolve(std::string(300, 'x'), "80");
  } catch (const net::system_error&) {
    failed = true;
  }
  EXPECT_TRUE(failed);
}

LEASH_TEST_REAL(Resolve, nobody_waits_for_a_name_when_the_context_ends) {
  for (int i = 0; i < 20; ++i) {
    auto r = co_await with_timeout(std::chrono::microseconds(i * 10), [&]() -> task<> {
      try {
        (void)co_await net::resolve("localhost", "80");
      } catch (const net::system_error&) {
      }
    });
    (void)r;
  }
  auto r = co_await select(net::resolve("localhost", "80"), sleep(20s));
  EXPECT_EQ(r.index(), 0u);
}

LEASH_TEST_REAL(Connect, by_host_and_port) {
  net::tcp_listener listener("localhost:0");
  auto a = co_await net::connect("localhost:" + std::to_string(listener.local_endpoint().port()));
  EXPECT_TRUE(a.is_open());
}

LEASH_TEST_REAL(Connect, to_nobody_is_an_error) {
  net::tcp_endpoint nobody;
  {
    net::tcp_listener gone("127.0.0.1:0");
    nobody = gone.local_endpoint();
  }
  bool refused = false;
  try {
    (void)co_await net::connect(nobody);
  } catch (const net::system_error& e) {
    refused = e.code() == net::asio::error::connection_refused;
  }
  EXPECT_TRUE(refused);
}

// A full queue leaves the attempt pending.
LEASH_TEST_REAL(Connect, ends_with_its_context) {
  net::tcp_listener full("127.0.0.1:0", {.backlog = 1});
  std::vector<net::tcp_stream> clients;
  while (true) {
    auto c = co_await with_timeout(
        50ms, [&]() -> task<net::tcp_stream> { co_return co_await net::connect(full.local_endpoint()); });
    if (!c) break;
    clients.push_back(std::move(*c));
    CO_ASSERT_TRUE(clients.size() < 100);
  }
  co_await ends_with_its_context([&]() -> task<> { (void)co_await net::connect(full.local_endpoint()); });
}

}  // namespace
