// Listeners and the accept loop.
#include <sys/resource.h>

#include "net/net.hpp"

namespace {

using namespace leash;
using namespace leash::test;

task<> echo(net::tcp_stream s) {
  char in[256];
  while (std::size_t n = co_await s.read_some(in)) co_await s.write_all(net::const_bytes(in, n));
}

LEASH_TEST_REAL(Listener, accepts_who_connects) {
  net::tcp_listener listener("127.0.0.1:0");
  for (int i = 0; i < 20; ++i) {
    auto a = co_await net::connect(listener.local_endpoint());
    auto b = co_await listener.accept();
    EXPECT_EQ(b.remote_endpoint(), a.local_endpoint());
    EXPECT_EQ(a.remote_endpoint(), listener.local_endpoint());
  }
}

LEASH_TEST_REAL(Listener, accept_ends_with_its_context) {
  net::tcp_listener listener("127.0.0.1:0");
  co_await ends_with_its_context([&]() -> task<> { (void)co_await listener.accept(); });
  auto a = co_await net::connect(listener.local_endpoint());
  EXPECT_TRUE((co_await listener.accept()).is_open());
}

LEASH_TEST_REAL(Listener, an_accept_that_loses_in_select_loses_no_connection) {
  net::tcp_listener listener("127.0.0.1:0");
  int const total = 60;
  int accepted = 0;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      for (int i = 0; i < total; ++i) {
        auto a = co_await net::connect(listener.local_endpoint());
        char in[1];
        EXPECT_EQ(co_await a.read_some(in), 1u);  // it was served
      }
    });
    while (accepted < total) {
      auto r = co_await select(listener.accept(), sleep(std::chrono::microseconds(accepted * 3)));
      if (r.index() == 1) continue;
      ++accepted;
      co_await std::get<0>(r).write_all("x");
    }
  });
  EXPECT_EQ(accepted, total);
}

LEASH_TEST_REAL(Listener, two_goroutines_accept_from_one) {
  net::tcp_listener listener("127.0.0.1:0");
  std::atomic<int> accepted{0};
  co_await with_scope([&](scope& s) -> task<> {
    for (int k = 0; k < 2; ++k)
      s.go(named("acceptor"), [&]() -> task<> {
        for (;;) {
          auto c = co_await listener.accept();
          ++accepted;
        }
      });
    for (int i = 0; i < 40; ++i) (void)co_await net::connect(listener.local_endpoint());
    co_await eventually([&] { return accepted == 40; });
    s.cancel("seen");
  });
}

LEASH_TEST_REAL(Serve, serves_many_at_once) {
  net::tcp_listener listener("127.0.0.1:0");
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> { co_await net::serve(listener, echo); });
    co_await with_scope([&](scope& clients) -> task<> {
      for (int i = 0; i < 50; ++i)
        clients.go([&, i]() -> task<> {
          auto c = co_await net::connect(listener.local_endpoint());
          std::string const text = "number " + std::to_string(i);
          std::string in(text.size(), ' ');
          for (int k = 0; k < 20; ++k) {
            co_await c.write_all(text);
            CO_ASSERT_TRUE(co_await c.read_exactly(in));
            CO_ASSERT_EQ(in, text);
          }
        });
      co_return;
    });
    s.cancel("served");
  });
}

LEASH_TEST_REAL(Serve, accepts_no_more_than_its_limit) {
  net::tcp_listener listener("127.0.0.1:0");
  std::atomic<int> now_open{0}, most{0}, served{0};
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      co_await net::serve(listener, {.max_connections = 3}, [&](net::tcp_stream c) -> task<> {
        most = std::max(most.load(), ++now_open);
        co_await c.write_all("x");
        char in[1];
        (void)co_await c.read_some(in);
        --now_open;
        ++served;
      });
    });
    co_await with_scope([&](scope& clients) -> task<> {
      for (int i = 0; i < 12; ++i)
        clients.go([&]() -> task<> {
          auto c = co_await net::connect(listener.local_endpoint());
          char in[1];
          EXPECT_EQ(co_await c.read_some(in), 1u);
        });
      co_return;
    });
    co_await eventually([&] { return served == 12; });
    s.cancel("served");
  });
  EXPECT_EQ(most, 3);
}

LEASH_TEST_REAL(Serve, a_connection_ends_with_the_servers_context) {
  net::tcp_listener listener("127.0.0.1:0");
  auto c = net::tcp_stream();
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> { co_await net::serve(listener, {.name = "served"}, echo); });
    c = co_await net::connect(listener.local_endpoint());
    co_await parked("served", "IO wait");
    s.cancel("shutdown");
  });
  char in[1];
  EXPECT_EQ(co_await c.read_some(in), 0u);
}

LEASH_TEST_REAL(Serve, drains_those_that_are_connected) {
  net::tcp_listener listener("127.0.0.1:0");
  event drain;
  std::atomic<bool> ended{false};
  co_await with_scope([&](scope& s) -> task<> {
    auto server = s.go([&]() -> task<> {
      co_await net::serve(listener, {.drain = &drain, .name = "served"}, echo);
      ended = true;
    });
    auto c = co_await net::connect(listener.local_endpoint());
    co_await parked("served", "IO wait");
    drain.set();
    co_await c.write_all("last");
    char in[4];
    CO_ASSERT_TRUE(co_await c.read_exactly(in));
    EXPECT_FALSE(ended);
    c.close();
    (void)co_await server.join();
  });
  EXPECT_TRUE(ended);
}

LEASH_TEST_REAL(Serve, a_handler_that_throws_ends_its_connection_only) {
  net::tcp_listener listener("127.0.0.1:0");
  std::atomic<int> told{0};
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      co_await net::serve(listener, {.on_error = [&](std::exception_ptr) { ++told; }}, [](net::tcp_stream c) -> task<> {
        co_await c.write_all("x");
        throw std::runtime_error("handler");
      });
    });
    for (int i = 0; i < 3; ++i) {
      auto c = co_await net::connect(listener.local_endpoint());
      char in[2];
      EXPECT_EQ(co_await c.read_some(in), 1u);
      EXPECT_EQ(co_await c.read_some(in), 0u);
    }
    s.cancel("seen");
  });
  EXPECT_EQ(told, 3);
}

// Alone in its process, as ctest runs it: the limit is the process's.
#if !LEASH_ASAN  // the sanitizer's check of a type opens a pipe, and takes it for an error if it cannot
LEASH_TEST_REAL(Serve, survives_running_out_of_descriptors) {
  net::tcp_listener listener("127.0.0.1:0");
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> { co_await net::serve(listener, {.name = "served"}, echo); });
    // Clients that the server has no descriptor for.
    int const first_free = ::dup(0);
    ::close(first_free);
    rlimit few = before;
    few.rlim_cur = static_cast<rlim_t>(first_free + 12);
    ::setrlimit(RLIMIT_NOFILE, &few);
    std::vector<net::tcp_stream> clients;
    try {
      for (int i = 0; i < 12; ++i) clients.push_back(co_await net::connect(listener.local_endpoint()));
    } catch (const net::system_error& e) {
      EXPECT_EQ(e.code(), boost::system::errc::too_many_files_open);
    }
    EXPECT_GT(clients.size(), 3u);
    clients.erase(clients.begin(), clients.begin() + 2);
    co_await sleep(20ms);  // it goes on trying
    ::setrlimit(RLIMIT_NOFILE, &before);
    for (auto& c : clients) {
      co_await c.write_all("y");
      char in[1];
      CO_ASSERT_TRUE(co_await c.read_exactly(in));
    }
    s.cancel("seen");
  });
}
#endif

TEST(HostAndPort, are_split) {
  using net::split_host_port;
  EXPECT_EQ(split_host_port("a.example:80"), std::pair(std::string("a.example"), std::string("80")));
  EXPECT_EQ(split_host_port("[::1]:https"), std::pair(std::string("::1"), std::string("https")));
  EXPECT_EQ(split_host_port(":8080"), std::pair(std::string(), std::string("8080")));
  for (const char* bad : {"", "host", "host:", "::1:80", "a:b:1"})
    EXPECT_THROW((void)split_host_port(bad), std::invalid_argument) << bad;
}

}  // namespace
