// use_goroutine: Asio's own operations in goroutines. The streams of net have tests of their own.
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <leash/net/async.hpp>

#include "support/support.hpp"

namespace {

using namespace leash;
using namespace leash::test;
namespace asio = boost::asio;
using asio::ip::tcp;
using net::use_goroutine;

struct pair_of_sockets {
  tcp::socket a{net::context()}, b{net::context()};
};

// Two connected sockets.
task<> connect(pair_of_sockets& p) {
  tcp::acceptor listener(net::context(), tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  co_await p.a.async_connect(listener.local_endpoint(), use_goroutine);
  p.b = co_await listener.async_accept(use_goroutine);
}

LEASH_TEST_REAL(AsioInGoroutines, bytes_go_to_and_fro) {
  pair_of_sockets p;
  co_await connect(p);
  char in[5];
  for (int i = 0; i < 100; ++i) {
    co_await asio::async_write(p.a, asio::buffer("hello", 5), use_goroutine);
    std::size_t n = co_await asio::async_read(p.b, asio::buffer(in), use_goroutine);
    CO_ASSERT_EQ(n, 5u);
    CO_ASSERT_EQ(std::string_view(in, 5), "hello");
  }
}

LEASH_TEST_REAL(AsioInGoroutines, a_reader_is_woken_by_a_writer) {
  pair_of_sockets p;
  co_await connect(p);
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("reader"), [&p]() -> task<> {
      char in[1];
      for (int i = 0; i < 50; ++i) co_await p.b.async_read_some(asio::buffer(in), use_goroutine);
    });
    for (int i = 0; i < 50; ++i) {
      co_await parked("reader", "IO wait");
      co_await p.a.async_write_some(asio::buffer("x", 1), use_goroutine);
    }
  });
}

LEASH_TEST_REAL(AsioInGoroutines, an_error_is_thrown_or_returned) {
  tcp::socket s(net::context());
  tcp::endpoint nobody;
  {
    tcp::acceptor gone(net::context(), tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    nobody = gone.local_endpoint();
  }
  std::string what;
  try {
    co_await s.async_connect(nobody, use_goroutine);
  } catch (const net::system_error& e) {
    if (e.code() == asio::error::connection_refused) what = e.what();
  }
  EXPECT_NE(what, "");
  tcp::socket t(net::context());
  auto [error] = co_await t.async_connect(nobody, asio::as_tuple(use_goroutine));
  EXPECT_EQ(error, asio::error::connection_refused);
}

LEASH_TEST_REAL(AsioInGoroutines, a_deadline_cancels_the_operation_and_awaits_its_end) {
  pair_of_sockets p;
  co_await connect(p);
  char in[100];
  auto r = co_await with_timeout(5ms, [&]() -> task<> {
    co_await asio::async_read(p.a, asio::buffer(in), use_goroutine);  // composed
  });
  EXPECT_FALSE(r);
  // The socket is as it was.
  co_await asio::async_write(p.b, asio::buffer("y", 1), use_goroutine);
  EXPECT_EQ(co_await p.a.async_read_some(asio::buffer(in), use_goroutine), 1u);
}

LEASH_TEST_REAL(AsioInGoroutines, a_context_that_has_ended_starts_nothing) {
  pair_of_sockets p;
  co_await connect(p);
  co_await asio::async_write(p.b, asio::buffer("z", 1), use_goroutine);
  char in = 0;
  auto r =
      co_await with_timeout(0s, [&]() -> task<> { co_await p.a.async_read_some(asio::buffer(&in, 1), use_goroutine); });
  EXPECT_FALSE(r);
  EXPECT_EQ(p.a.available(), 1u);
}

LEASH_TEST_REAL(AsioInGoroutines, a_losing_case_of_select_is_awaited) {
  pair_of_sockets p;
  co_await connect(p);
  char in[8];
  auto r = co_await select(p.a.async_read_some(asio::buffer(in), use_goroutine), sleep(2ms));
  EXPECT_EQ(r.index(), 1u);
  co_await asio::async_write(p.b, asio::buffer("w", 1), use_goroutine);
  auto again = co_await select(p.a.async_read_some(asio::buffer(in), use_goroutine), sleep(20s));
  CO_ASSERT_EQ(again.index(), 0u);
  EXPECT_EQ(std::get<0>(again), 1u);
  EXPECT_EQ(in[0], 'w');
}

LEASH_TEST_REAL(AsioInGoroutines, two_operations_in_one_select) {
  pair_of_sockets p, q;
  co_await connect(p);
  co_await connect(q);
  char x[1], y[1];
  for (int i = 0; i < 20; ++i) {
    co_await asio::async_write(i % 2 == 0 ? p.b : q.b, asio::buffer("v", 1), use_goroutine);
    auto r = co_await select(p.a.async_read_some(asio::buffer(x), use_goroutine),
                             q.a.async_read_some(asio::buffer(y), use_goroutine));
    CO_ASSERT_EQ(r.index(), static_cast<std::size_t>(i % 2));
  }
}

LEASH_TEST_REAL(AsioInGoroutines, a_ready_case_wins_while_another_waits_outside) {
  pair_of_sockets p;
  co_await connect(p);
  auto [tx, rx] = channel<int>(1);
  char in[1];
  for (int i = 0; i < 200; ++i) {
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&tx, i]() -> task<> { (void)co_await tx.send(i); });
      auto r = co_await select(p.a.async_read_some(asio::buffer(in), use_goroutine), rx.recv());
      EXPECT_EQ(r.index(), 1u);
      if (r.index() == 1) EXPECT_EQ(std::get<1>(r), i);
    });
  }
}

LEASH_TEST_REAL(AsioInGoroutines, cancellation_races_with_completion) {
  pair_of_sockets p;
  co_await connect(p);
  std::size_t got = 0, cut = 0, sent = 0;
  for (int i = 0; i < 300; ++i) {
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> {
        char in[1];
        bool done = false;
        auto r = co_await with_timeout(std::chrono::microseconds(30 + i % 40), [&]() -> task<> {
          co_await p.a.async_read_some(asio::buffer(in), use_goroutine);
          done = true;
        });
        done ? ++got : ++cut;
        (void)r;
      });
      co_await sleep(std::chrono::microseconds(i % 60));
      co_await asio::async_write(p.b, asio::buffer("u", 1), use_goroutine);
      ++sent;
    });
  }
  EXPECT_EQ(got + cut, 300u);
  // No byte was lost: what no read took is still there.
  p.b.shutdown(tcp::socket::shutdown_send);
  char in[64];
  for (;;) {
    auto [error, n] = co_await p.a.async_read_some(asio::buffer(in), asio::as_tuple(use_goroutine));
    if (error == asio::error::eof) break;
    got += n;
  }
  EXPECT_EQ(got, sent);
}

LEASH_TEST_OF_LEAKS(AsioInGoroutines, a_goroutine_in_io_is_not_judged_and_a_leak_beside_it_is) {
  pair_of_sockets p;
  co_await connect(p);
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("reads"), [&p]() -> task<> {
      char in[1];
      co_await p.a.async_read_some(asio::buffer(in), use_goroutine);
    });
    s.go(named("leaks"), []() -> task<> {
      auto [tx, rx] = channel<int>();
      (void)co_await rx.recv();
      (void)tx;
    });
    co_await parked("reads", "IO wait");
    co_await parked("leaks", "chan receive");
    leak_report r = find_leaks();
    for (int i = 0; i < 1000 && r.empty(); ++i) {
      co_await sleep(1ms);
      r = find_leaks();
    }
    CO_ASSERT_EQ(r.size(), 1u);
    EXPECT_EQ(r.begin()->who.name, "leaks");
    s.cancel("seen");
  });
}

LEASH_TEST(AsioInGoroutines, an_asio_timer_beside_leash_timers) {
  asio::steady_timer t(net::context());
  for (int i = 0; i < 5; ++i) {
    t.expires_after(1ms);
    co_await t.async_wait(use_goroutine);
    co_await sleep(100us);
  }
}

// A foreign callback on the io_context runs on a worker, and may use handles that it owns.
LEASH_TEST_REAL(AsioInGoroutines, a_plain_handler_can_send) {
  auto [tx, rx] = channel<int>(1);
  asio::steady_timer t(net::context());
  t.expires_after(1ms);
  t.async_wait([tx = std::move(tx)](boost::system::error_code) mutable { (void)tx.try_send(7); });
  EXPECT_EQ(co_await rx.recv(), 7);
}

// An operation of somebody who knows nothing of leash nor of cancellation, on a thread of its own.
template <class Token>
auto async_slowly(std::chrono::milliseconds d, Token&& token) {
  return asio::async_initiate<Token, void(boost::system::error_code, int)>(
      [d](auto handler) {
        std::thread([d, h = std::move(handler)]() mutable {
          std::this_thread::sleep_for(d);
          std::move(h)(boost::system::error_code(), 42);
        }).detach();
      },
      token);
}

LEASH_TEST_REAL(AsioInGoroutines, what_cannot_be_cancelled_is_awaited_and_its_result_delivered) {
  EXPECT_EQ(co_await async_slowly(1ms, use_goroutine), 42);
  int got = 0;
  bool went_on = false;
  (void)co_await with_timeout(1ms, [&]() -> task<> {
    got = co_await async_slowly(20ms, use_goroutine);
    co_await yield();  // a wait: cancelled here
    went_on = true;
  });
  EXPECT_EQ(got, 42);
  EXPECT_FALSE(went_on);
  auto r = co_await select(async_slowly(20ms, use_goroutine), sleep(1ms));
  EXPECT_EQ(r.index(), 1u);
}

// What starts the operation throws, or drops its handler.
LEASH_TEST_REAL(AsioInGoroutines, an_operation_that_does_not_begin_is_an_error) {
  auto throws = [](auto&& token) {
    return asio::async_initiate<decltype(token), void(boost::system::error_code)>(
        [](auto) { throw std::runtime_error("no"); }, token);
  };
  auto drops = [](auto&& token) {
    return asio::async_initiate<decltype(token), void(boost::system::error_code)>([](auto) {}, token);
  };
  std::string what;
  try {
    co_await throws(use_goroutine);
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  EXPECT_EQ(what, "no");
  bool aborted = false;
  try {
    co_await drops(use_goroutine);
  } catch (const net::system_error& e) {
    aborted = e.code() == asio::error::operation_aborted;
  }
  EXPECT_TRUE(aborted);
}

// A handler that never ran is destroyed with the runtime, and gives back what it holds.
TEST(AsioInGoroutines, handlers_left_behind_are_destroyed) {
  auto alive = std::make_shared<int>(1);
  leash::run([&]() -> task<> {
    auto t = std::make_shared<asio::steady_timer>(net::context(), std::chrono::hours(1));
    auto [tx, rx] = channel<int>();
    t->async_wait([alive, t, tx = std::make_shared<sender<int>>(std::move(tx))](boost::system::error_code) {});
    co_return;
  });
  EXPECT_EQ(alive.use_count(), 1);
}

}  // namespace
