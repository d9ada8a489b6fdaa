#include <sys/socket.h>

#include "net/net.hpp"

namespace {

using namespace leash;
using namespace leash::test;

LEASH_TEST_REAL(Stream, what_is_written_is_read) {
  auto [a, b] = co_await tcp_streams();
  char in[16];
  for (int i = 0; i < 100; ++i) {
    co_await a.write_all("hello");
    CO_ASSERT_TRUE(co_await b.read_exactly(net::mutable_bytes(in, 5)));
    CO_ASSERT_EQ(std::string_view(in, 5), "hello");
  }
}

LEASH_TEST_REAL(Stream, pieces_are_written_in_order) {
  auto [a, b] = co_await tcp_streams();
  std::string many(300, 'x');
  std::vector<net::const_bytes> pieces{"one ", "", "two ", many, "three"};
  co_await a.write_all(std::span<const net::const_bytes>(pieces));
  a.shutdown();
  std::string all;
  char in[64];
  while (std::size_t n = co_await b.read_some(in)) all.append(in, n);
  EXPECT_EQ(all, "one two " + many + "three");
}

LEASH_TEST_REAL(Stream, much_goes_both_ways_at_once_and_every_byte_arrives) {
  auto [a, b] = co_await tcp_streams();
  std::uint64_t const total = long_run() ? 1'000'000'000 : 20'000'000;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> { co_await send_pattern(a, total); });
    s.go([&]() -> task<> { co_await send_pattern(b, total); });
    s.go([&]() -> task<> { co_await expect_pattern(a, total); });
    s.go([&]() -> task<> { co_await expect_pattern(b, total); });
    co_return;
  });
}

LEASH_TEST_REAL(Stream, a_half_that_is_shut_down_ends_the_reader_and_the_other_half_goes_on) {
  auto [a, b] = co_await tcp_streams();
  a.shutdown();
  char in[8];
  EXPECT_EQ(co_await b.read_some(in), 0u);
  EXPECT_FALSE(co_await b.read_exactly(in));
  co_await b.write_all("still");
  EXPECT_EQ(co_await a.read_some(in), 5u);
}

LEASH_TEST_REAL(Stream, an_end_in_the_middle_is_an_error) {
  auto [a, b] = co_await tcp_streams();
  co_await a.write_all("abc");
  a.close();
  char in[8];
  bool eof = false;
  try {
    (void)co_await b.read_exactly(in);
  } catch (const net::system_error& e) {
    eof = e.code() == net::asio::error::eof;
  }
  EXPECT_TRUE(eof);
}

LEASH_TEST_REAL(Stream, a_peer_that_resets_is_an_error_for_both_directions) {
  auto [a, b] = co_await tcp_streams();
  linger now{1, 0};
  ::setsockopt(a.native_handle(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  bool seen = false;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("reader"), [&]() -> task<> {
      char in[8];
      net::error_code e;
      EXPECT_EQ(co_await b.read_some(in, e), 0u);
      seen = e == net::asio::error::connection_reset;
    });
    co_await parked("reader", "IO wait");
    a.close();
  });
  EXPECT_TRUE(seen);
  net::error_code e;
  (void)co_await b.write_some("x", e);
  EXPECT_TRUE(e);
}

LEASH_TEST_REAL(Stream, a_write_to_a_peer_that_is_gone_raises_no_signal) {
  auto [a, b] = co_await tcp_streams();
  b.close();
  bool failed = false;
  try {
    for (int i = 0; i < 1000; ++i) co_await a.write_all("xxxxxxxxxxxxxxxxxxxxxxx");
  } catch (const net::system_error&) {
    failed = true;
  }
  EXPECT_TRUE(failed);
  auto [in, out] = net::pipe();
  in.close();
  net::error_code e;
  (void)co_await out.write_some("x", e);
  EXPECT_EQ(e, net::asio::error::broken_pipe);
}

LEASH_TEST_REAL(Stream, a_reader_ends_with_its_context) {
  auto [a, b] = co_await tcp_streams();
  char in[8];
  co_await ends_with_its_context([&]() -> task<> { (void)co_await a.read_some(in); });
  co_await ends_with_its_context([&]() -> task<> { (void)co_await a.read_exactly(in); });
  co_await ends_with_its_context([&]() -> task<> { co_await a.readable(); });
  co_await b.write_all("alive");  // nothing was lost by it
  EXPECT_EQ(co_await a.read_some(in), 5u);
}

LEASH_TEST_REAL(Stream, a_writer_that_finds_no_room_ends_with_its_context) {
  auto [a, b] = co_await tcp_streams();
  std::string const much(32 << 20, 'x');
  co_await ends_with_its_context([&]() -> task<> { co_await a.write_all(much); });
  co_await ends_with_its_context([&]() -> task<> {
    while (true) (void)co_await a.write_some(much);
  });
}

LEASH_TEST_REAL(Stream, a_reader_whose_cancellation_races_with_data_loses_none) {
  auto [a, b] = co_await tcp_streams();
  std::uint64_t const total = 3000;
  std::uint64_t got = 0, cut = 0;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      for (std::uint64_t i = 0; i < total; ++i) {
        unsigned char const c = byte_at(i);
        co_await a.write_all(net::const_bytes(&c, 1));
        if (i % 3 == 0) co_await sleep(std::chrono::microseconds(i % 50));
      }
      a.shutdown();
    });
    s.go([&]() -> task<> {
      for (bool ended = false; !ended;) {
        unsigned char in[7];
        std::size_t n = 0;
        bool came = false;
        (void)co_await with_timeout(std::chrono::microseconds(cut % 60), [&]() -> task<> {
          n = co_await b.read_some(in);
          came = true;
        });
        if (!came) ++cut;
        ended = came && n == 0;
        for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(in[i], byte_at(got + i));
        got += n;
        if (::testing::Test::HasFailure()) co_return;
      }
    });
    co_return;
  });
  EXPECT_EQ(got, total);
}

LEASH_TEST_REAL(Stream, a_read_that_loses_in_select_loses_no_byte) {
  auto [a, b] = co_await tcp_streams();
  auto [tx, rx] = channel<int>();
  std::uint64_t const total = 2000;
  std::uint64_t got = 0, others = 0;
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&]() -> task<> {
      for (std::uint64_t i = 0; i < total; ++i) {
        unsigned char const c = byte_at(i);
        co_await a.write_all(net::const_bytes(&c, 1));
      }
      a.shutdown();
    });
    s.go([&, tx = std::move(tx)]() mutable -> task<> {
      for (int i = 0;; ++i)
        if (!co_await tx.send(i)) co_return;
    });
    s.go([&, rx = std::move(rx)]() mutable -> task<> {
      for (;;) {
        unsigned char in[5];
        auto r = co_await select(b.read_some(in), rx.recv());
        if (r.index() == 1) {
          ++others;
          continue;
        }
        std::size_t const n = std::get<0>(r);
        if (n == 0) co_return;
        for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(in[i], byte_at(got + i));
        got += n;
      }
    });
    co_return;
  });
  EXPECT_EQ(got, total);
  EXPECT_GT(others, 0u);
}

LEASH_TEST_REAL(Stream, a_write_that_loses_in_select_has_written_nothing) {
  auto [a, b] = co_await tcp_streams();
  std::string const much(1 << 20, 'x');
  std::uint64_t sent = 0;
  for (;;) {  // until there is no room
    auto r = co_await select(a.write_some(much), sleep(5ms));
    if (r.index() == 1) break;
    sent += std::get<0>(r);
  }
  for (int i = 0; i < 20; ++i) {
    auto r = co_await select(a.write_some("lost"), sleep(std::chrono::microseconds(10 * i)));
    if (r.index() == 0) sent += std::get<0>(r);
  }
  a.shutdown();
  std::uint64_t got = 0;
  std::vector<char> in(1 << 20);
  while (std::size_t n = co_await b.read_some(in)) got += n;
  EXPECT_EQ(got, sent);
}

LEASH_TEST_REAL(Stream, a_read_has_its_turn_beside_a_case_that_is_always_ready) {
  auto [a, b] = co_await tcp_streams();
  char in[1];
  EXPECT_FALSE(co_await with_timeout(1ms, [&]() -> task<> { (void)co_await b.read_some(in); }));
  co_await a.write_all("x");
  bool read = false, readable = false;
  for (int i = 0; i < 100'000 && !readable; ++i) {
    auto r = co_await select(b.readable(), sleep(0s));
    readable = r.index() == 0;
  }
  for (int i = 0; i < 100'000 && !read; ++i) {
    auto r = co_await select(b.read_some(in), sleep(0s));
    read = r.index() == 0;
  }
  EXPECT_TRUE(read && readable);
}

LEASH_TEST_REAL(Stream, what_is_left_unread_is_readable_and_what_is_new_has_arrived) {
  auto [a, b] = co_await tcp_streams();
  net::tcp_stream& reader = a;
  char in[1];
  co_await b.write_all("xy");
  co_await reader.arrived();
  EXPECT_EQ(reader.try_read(in), 1u);
  co_await reader.readable();  // nothing new has come
  EXPECT_EQ(reader.try_read(in), 1u);
  EXPECT_EQ(reader.try_read(in), std::nullopt);
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(named("waits for news"), [&reader]() -> task<> {
      char c[1];
      do co_await reader.arrived();
      while (!reader.try_read(c));
    });
    co_await parked("waits for news", "IO wait");
    co_await b.write_all("z");
    EXPECT_TRUE(co_await h.join());
  });
  b.close();
  co_await reader.arrived();
  EXPECT_EQ(reader.try_read(in), 0u);
  co_await reader.arrived();  // the end does not pass
}

// The kernel tells of both at once, and a read that comes short says nothing of the end.
LEASH_TEST_REAL(Stream, an_end_that_came_with_the_last_bytes_is_seen) {
  for (int i = 0; i < 20; ++i) {
    auto [a, b] = co_await tcp_streams();
    char in[16];
    co_await b.write_all("0");
    EXPECT_EQ(co_await a.read_some(in), 1u);  // from here on the kernel tells of it
    co_await b.write_all("12");
    b.shutdown();
    co_await a.readable();
    EXPECT_EQ(co_await a.read_some(in), 2u);
    EXPECT_EQ(co_await a.read_some(in), 0u);
    EXPECT_EQ(co_await a.read_some(in), 0u);
  }
}

LEASH_TEST_REAL(Stream, try_read_does_not_wait) {
  auto [a, b] = co_await tcp_streams();
  char in[8];
  EXPECT_FALSE(a.try_read(in));
  co_await b.write_all("now");
  co_await a.readable();
  EXPECT_EQ(a.try_read(in), 3u);
  auto r = try_select(a.read_some(in));
  EXPECT_FALSE(r);
}

LEASH_TEST_REAL(Stream, a_pipe_carries_much) {
  auto [in, out] = net::pipe();
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&out]() -> task<> {
      co_await send_pattern(out, 3'000'000);
      out.close();
    });
    s.go([&in]() -> task<> {
      co_await expect_pattern(in, 3'000'000);
      char more[1];
      EXPECT_EQ(co_await in.read_some(more), 0u);
    });
    co_return;
  });
}

LEASH_TEST_REAL(Stream, unix_streams_do_as_tcp_streams) {
  std::string const path = "@leash-test-" + std::to_string(::getpid());
  net::unix_listener listener(path);
  auto a = co_await net::connect_unix(path);
  auto b = co_await listener.accept();
  EXPECT_EQ(b.peer().pid, ::getpid());
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&a]() -> task<> {
      co_await send_pattern(a, 5'000'000);
      a.shutdown();
    });
    s.go([&b]() -> task<> { co_await expect_pattern(b, 5'000'000); });
    co_return;
  });
  char in[1];
  co_await ends_with_its_context([&]() -> task<> { (void)co_await a.read_some(in); });
  co_await ends_with_its_context([&]() -> task<> { (void)co_await listener.accept(); });
}

LEASH_TEST_REAL(Stream, a_unix_socket_left_behind_is_replaced_and_one_in_use_is_not) {
  std::string const path = ::testing::TempDir() + "leash-" + std::to_string(::getpid()) + ".sock";
  int left = -1;
  {
    net::unix_listener first(path);
    bool refused = false;
    try {
      net::unix_listener second(path);
    } catch (const net::system_error& e) {
      refused = e.code() == net::asio::error::address_in_use;
    }
    EXPECT_TRUE(refused);
    left = ::dup(first.native_handle());
  }
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
  ::close(left);
  auto [a, b] = net::unix_stream::pair();
  co_await a.write_all("x");
  char in[1];
  EXPECT_EQ(co_await b.read_some(in), 1u);
}

// A library's own descriptor: waited for, but not owned.
LEASH_TEST_REAL(Stream, a_borrowed_descriptor_stays_open) {
  int fds[2];
  CO_ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  {
    net::descriptor d(fds[0], net::borrowed);
    co_await ends_with_its_context([&]() -> task<> { co_await d.readable(); });
    CO_ASSERT_EQ(::write(fds[1], "x", 1), 1);
    co_await d.readable();
    co_await d.writable();
  }
  char in;
  EXPECT_EQ(::read(fds[0], &in, 1), 1);
  ::close(fds[0]);
  ::close(fds[1]);
}

// A stream that is returned from a run, or outlives it otherwise, is only closed afterwards.
TEST(Stream, may_outlive_its_run) {
  net::stream in, out;
  leash::run([&]() -> task<> {
    auto p = net::pipe();
    in = std::move(p.first);
    out = std::move(p.second);
    co_return;
  });
  EXPECT_TRUE(in.is_open());
}

}  // namespace
