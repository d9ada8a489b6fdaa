// What the tests of net share: connected streams, and how every operation that waits must behave when it is cancelled.
#pragma once
#include <leash/net.hpp>

#include "support/support.hpp"

namespace leash::test {

/// Two ends of one TCP connection on loopback.
struct tcp_pair {
  net::tcp_stream a, b;
};
inline task<tcp_pair> tcp_streams() {
  net::tcp_listener listener("127.0.0.1:0");
  tcp_pair p;
  p.a = co_await net::connect(listener.local_endpoint());
  p.b = co_await listener.accept();
  co_return p;
}

/// `waits` makes a task that waits for something that does not come. It must end when its context does: before it begins, while
/// it waits, by a deadline; and leave nothing behind.
template <class F>
task<> ends_with_its_context(F waits) {
  bool came_back = false;
  auto body = [&]() -> task<> {
    co_await waits();
    came_back = true;
  };
  EXPECT_FALSE(co_await with_timeout(0s, body)) << "before";
  EXPECT_FALSE(co_await with_timeout(2ms, body)) << "by a deadline";
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go(named("cancelled"), [&body]() -> task<> { co_await body(); });
    co_await parked("cancelled", "IO wait");
    s.cancel("enough");
  });
  cancel_source stop;
  auto twice = stop.dup();
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("canceller"), [&twice]() -> task<> {
      co_await parked("inside", "IO wait");
      twice.cancel("from outside");
    });
    s.go(named("inside"), [&]() -> task<> { EXPECT_FALSE(co_await with_cancel(stop, body)); });
    co_return;
  });
  EXPECT_FALSE(came_back);
}

/// A pattern in which a byte that is lost, doubled or out of order shows.
inline unsigned char byte_at(std::uint64_t i) { return static_cast<unsigned char>((i * 2654435761u) >> 13); }

template <class S>
task<> send_pattern(S& s, std::uint64_t total) {
  std::vector<unsigned char> part(64 * 1024);
  for (std::uint64_t at = 0; at < total;) {
    std::size_t const n = static_cast<std::size_t>(std::min<std::uint64_t>(part.size() - at % 1000, total - at));
    for (std::size_t i = 0; i < n; ++i) part[i] = byte_at(at + i);
    co_await s.write_all(net::const_bytes(part.data(), n));
    at += n;
  }
}

template <class S>
task<> expect_pattern(S& s, std::uint64_t total) {
  std::vector<unsigned char> part(50'000);
  std::uint64_t at = 0, wrong = 0;
  while (at < total) {
    std::size_t const n = co_await s.read_some(part);
    if (n == 0) break;
    for (std::size_t i = 0; i < n; ++i) wrong += part[i] != byte_at(at + i);
    at += n;
  }
  EXPECT_EQ(at, total);
  EXPECT_EQ(wrong, 0u);
}

}  // namespace leash::test
