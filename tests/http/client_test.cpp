// The client, against our own server and against ones that misbehave.
#include "http.hpp"

namespace leash::test::http_tests {

using http::client;
using http::failure;
using http::request;
using http::response;
using http::router;

static std::string at(std::uint16_t port, std::string_view target = "/") {
  return "http://127.0.0.1:" + std::to_string(port) + std::string(target);
}

template <class F>
task<std::optional<failure::kind>> fails(F f) {
  try {
    co_await f();
  } catch (const failure& e) {
    co_return e.why();
  }
  co_return std::nullopt;
}

/// A server of one connection after the other that says what it is told to, whatever it is asked.
class scripted {
 public:
  explicit scripted(std::vector<std::string> answers) : listener_("127.0.0.1:0"), answers_(std::move(answers)) {}
  std::uint16_t port() const { return listener_.local_endpoint().port(); }
  int asked() const { return asked_; }
  /// An empty answer closes without a word.
  task<> run() {
    for (std::string const& a : answers_) {
      net::tcp_stream s = co_await listener_.accept();
      std::string in;
      std::array<char, 4096> piece;
      while (in.find("\r\n\r\n") == in.npos) {
        std::size_t const n = co_await s.read_some(piece);
        if (n == 0) break;
        in.append(piece.data(), n);
      }
      ++asked_;
      if (!a.empty()) co_await s.write_all(a);
    }
  }

 private:
  net::tcp_listener listener_;
  std::vector<std::string> answers_;
  std::atomic<int> asked_{0};
};

template <class F>
task<> against(std::vector<std::string> answers, F f) {
  scripted s(std::move(answers));
  (void)co_await with_scope([&](scope& all) -> task<> {
    all.go([&s] { return s.run(); });
    co_await f(s);
    all.cancel("enough");
  });
}

LEASH_TEST_REAL(Client, KeepsConnectionsAndUsesThemAgain) {
  router r;
  r.get("/", [] { return "hello"; });
  r.post("/echo",
         [](request& q) -> task<response> { co_return response(200, q.header("Content-Type"), co_await q.text()); });
  co_await serving(std::move(r), {}, [](std::uint16_t port, http::server&) -> task<> {
    client c;
    for (int i = 0; i < 5; ++i) {
      auto a = co_await c.get(at(port));
      EXPECT_EQ(a.status, 200);
      EXPECT_EQ(co_await a.text(), "hello");
    }
    auto echo = co_await c.post(at(port, "/echo"), std::string(300'000, 'x'), "text/x");
    EXPECT_EQ(echo.header("content-type"), "text/x");
    EXPECT_EQ((co_await echo.text()).size(), 300'000u);
    EXPECT_EQ((co_await c.get(at(port, "/none"))).status, 404);
    auto head = co_await c.send({"HEAD", at(port), {}, {}});
    EXPECT_EQ(head.header("Content-Length"), "5");
    EXPECT_EQ(co_await head.text(), "");
    auto const f = c.figures();
    EXPECT_EQ(f.requests, 8u);
    EXPECT_EQ(f.connected, 2u) << "the response of /none was not read to its end";
    EXPECT_EQ(f.reused, 6u);
    EXPECT_EQ(f.open, 0u);
    EXPECT_EQ(f.idle, 1u);
  });
}
LEASH_TEST_REAL(Client, HasSoManyConnectionsAtOnce) {
  std::atomic<int> now_inside{0}, most{0};
  router r;
  r.get("/", [&](request&) -> task<response> {
    int const n = ++now_inside;
    for (int m = most; n > m && !most.compare_exchange_weak(m, n);) {
    }
    co_await sleep(5ms);
    --now_inside;
    co_return response("x");
  });
  co_await serving(std::move(r), {}, [&](std::uint16_t port, http::server&) -> task<> {
    client c({.max_connections_per_host = 3});
    (void)co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 12; ++i)
        s.go([c, port]() -> task<> {
          client mine = c;
          auto a = co_await mine.get(at(port));
          EXPECT_EQ(co_await a.text(), "x");
        });
      co_return;
    });
    EXPECT_LE(most, 3);
    EXPECT_LE(c.figures().connected, 3u);
  });
}
LEASH_TEST_REAL(Client, EndsWithTheContextOfItsCaller) {
  std::atomic<int> inside{0};
  router r;
  r.get("/wait", [&](request&) -> task<response> {
    ++inside;
    co_await sleep(1h);
    co_return response();
  });
  r.get("/body", [] {
    return response::stream([](http::body_writer& w) -> task<> {
      co_await w.write("first");
      co_await sleep(1h);
    });
  });
  co_await serving(std::move(r), {}, [&](std::uint16_t port, http::server& s) -> task<> {
    client c;
    bool const whole = co_await with_timeout(50ms, [&]() -> task<> { (void)co_await c.get(at(port, "/wait")); });
    EXPECT_FALSE(whole);
    auto a = co_await c.get(at(port, "/body"));
    EXPECT_EQ(*co_await a.read(), "first");
    auto more = co_await with_timeout(50ms, a.read());
    EXPECT_FALSE(more.has_value());
    {
      auto dropped = std::move(a);
    }
    EXPECT_TRUE(co_await eventually([&] { return s.figures().requests == 0; }, "the server to notice"));
    EXPECT_EQ(c.figures().open, 0u);
    client hurried({.timeout = 50ms});
    EXPECT_EQ(co_await fails([&]() -> task<> { (void)co_await hurried.get(at(port, "/wait")); }),
              failure::kind::timed_out);
    client slow({.body_timeout = 50ms});
    auto b = co_await slow.get(at(port, "/body"));
    EXPECT_EQ(co_await fails([&]() -> task<> { (void)co_await b.text(); }), failure::kind::timed_out);
  });
}
LEASH_TEST_REAL(Client, FollowsRedirectsAndNoMoreThanItMay) {
  router r;
  r.get("/a", [] { return response::redirect("b?x=1"); });
  r.get("/b", [](request& q) { return "got " + q.query("x").value_or("") + std::string(q.header("Authorization")); });
  r.post("/p", [] { return response::redirect("/b", 303); });
  r.post("/keep", [] { return response::redirect("/echo", 307); });
  r.post("/echo", [](request& q) -> task<response> { co_return response(co_await q.text()); });
  r.get("/loop", [] { return response::redirect("/loop"); });
  r.get("/bad", [] { return response::redirect("ftp://x/"); });
  router other;
  other.get("/", [](request& q) { return "other" + std::string(q.header("Authorization")); });
  co_await serving(std::move(other), {}, [&](std::uint16_t second, http::server&) -> task<> {
    r.get("/away", [second] { return response::redirect(at(second)); });
    co_await serving(
        std::move(r), {},
        [](std::uint16_t port, http::server&) -> task<> {
          client c;
          http::client_request q{"GET", at(port, "/a"), {}, {}};
          q.headers.add("Authorization", " secret");
          auto a = co_await c.send(std::move(q));
          EXPECT_EQ(a.url, at(port, "/b?x=1"));
          EXPECT_EQ(co_await a.text(), "got 1secret");
          http::client_request away{"GET", at(port, "/away"), {}, {}};
          away.headers.add("Authorization", " secret");
          EXPECT_EQ(co_await (co_await c.send(std::move(away))).text(), "other") << "secrets stay with their origin";
          EXPECT_EQ(co_await (co_await c.post(at(port, "/p"), "x")).text(), "got ");
          EXPECT_EQ(co_await (co_await c.post(at(port, "/keep"), "x")).text(), "x");
          EXPECT_EQ(co_await fails([&]() -> task<> { (void)co_await c.get(at(port, "/loop")); }),
                    failure::kind::redirects);
          EXPECT_EQ(co_await fails([&]() -> task<> { (void)co_await c.get(at(port, "/bad")); }),
                    failure::kind::bad_url);
          client still({.max_redirects = 0});
          EXPECT_EQ((co_await still.get(at(port, "/a"))).status, 302);
        },
        among_others::yes);
  });
}
LEASH_TEST_REAL(Client, SendsAgainOnlyWhatMayBeSentTwiceAndWithinItsBudget) {
  std::string const fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
  co_await against({"", "", fine}, [&](scripted& s) -> task<> {
    client c({.retry_after = 1ms});
    EXPECT_EQ(co_await (co_await c.get(at(s.port()))).text(), "ok");
    EXPECT_EQ(c.figures().retried, 2u);
  });
  co_await against({"", fine}, [&](scripted& s) -> task<> {
    client c({.retry_after = 1ms});
    EXPECT_EQ(co_await fails([&]() -> task<> { (void)co_await c.post(at(s.port()), "x"); }), failure::kind::closed);
    EXPECT_EQ(s.asked(), 1);
  });
  co_await against({"HTTP/1.1 2", fine}, [&](scripted& s) -> task<> {
    client c({.retry_after = 1ms});
    EXPECT_EQ(co_await fails([&]() -> task<> { (void)co_await c.get(at(s.port())); }), failure::kind::closed);
    EXPECT_EQ(s.asked(), 1) << "a response had begun";
  });
  co_await against({"", "", "", fine}, [&](scripted& s) -> task<> {
    client c({.max_retries = 2, .retry_share = 0, .retry_burst = 1, .retry_after = 1ms});
    EXPECT_EQ(co_await fails([&]() -> task<> { (void)co_await c.get(at(s.port())); }), failure::kind::closed);
    EXPECT_EQ(s.asked(), 2) << "the budget is spent";
    EXPECT_EQ(co_await fails([&]() -> task<> { (void)co_await c.get(at(s.port())); }), failure::kind::closed);
    EXPECT_EQ(s.asked(), 3) << "and stays so";
  });
}
LEASH_TEST_REAL(Client, AKeptConnectionThatWasClosedCostsNothing) {
  std::string const fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  co_await against({fine, fine}, [&](scripted& s) -> task<> {
    client c;
    EXPECT_EQ(co_await (co_await c.get(at(s.port()))).text(), "ok");
    EXPECT_EQ(co_await (co_await c.get(at(s.port()))).text(), "ok");
    EXPECT_EQ(c.figures().retried, 0u);
  });
}
LEASH_TEST_REAL(Client, ResponsesThatAreMalformedOrHaveNoEndAreRefused) {
  using kind = failure::kind;
  std::pair<std::string, kind> const bad[] = {
      {"nonsense\r\n\r\n", kind::malformed},
      {"HTTP/1.1 200 OK\n\n", kind::malformed},
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", kind::malformed},
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", kind::malformed},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", kind::malformed},
      {"HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n", kind::malformed},
      {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", kind::closed},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", kind::closed},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", kind::malformed},
      {"HTTP/1.1 200 OK\r\n\r\n" + std::string(3000, 'x'), kind::too_large},
      {"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + std::string(3000, 'x'), kind::too_large},
  };
  for (const auto& [answer, why] : bad)
    co_await against({answer}, [&](scripted& s) -> task<> {
      client c({.max_body = 2000, .max_retries = 0});
      EXPECT_EQ(co_await fails([&]() -> task<> { (void)co_await (co_await c.get(at(s.port()))).text(); }), why)
          << answer.substr(0, 60);
      EXPECT_EQ(c.figures().idle, 0u);
    });
  co_await against(
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil the end"},
      [&](scripted& s) -> task<> {
        client c;
        EXPECT_EQ(co_await (co_await c.get(at(s.port()))).text(), "until the end");
      });
}
LEASH_TEST_REAL(Client, SaysWhatCannotBeReached) {
  client c({.max_retries = 0});
  std::uint16_t port;
  {
    net::tcp_listener l("127.0.0.1:0");
    port = l.local_endpoint().port();
  }
  EXPECT_EQ(co_await fails([&]() -> task<> { (void)co_await c.get(at(port)); }), failure::kind::unreachable);
  EXPECT_EQ(co_await fails([&]() -> task<> { (void)co_await c.get("nowhere"); }), failure::kind::bad_url);
}

}  // namespace leash::test::http_tests
