// What the server answers, and how connections go on.
#include "http.hpp"

namespace leash::test::http_tests {

using http::request;
using http::response;
using http::router;

static router simple() {
  router r;
  r.get("/", [] { return "hello"; });
  r.post("/echo", [](request& q) -> task<response> { co_return response(co_await q.text()); });
  r.get("/u/{id}", [](request& q) { return q.param("id") + "?" + q.query("q").value_or("-"); });
  return r;
}

LEASH_TEST_REAL(Server, AnswersOneAfterTheOtherOnOneConnection) {
  co_await serving(simple(), {}, [](std::uint16_t port) {
    raw c(port);
    for (int i = 0; i < 3; ++i) {
      auto const a = c.ask(get("/"));
      EXPECT_EQ(a.status, 200);
      EXPECT_EQ(a.body, "hello");
      EXPECT_EQ(a.field("Content-Type"), "text/plain; charset=utf-8");
      EXPECT_EQ(a.field("Connection"), "");
      EXPECT_EQ(a.field("Date").size(), 29u);
    }
    EXPECT_EQ(c.ask(post("/echo", "body")).body, "body");
    EXPECT_EQ(c.ask(get("/u/7?q=x%20y")).body, "7?x y");
    EXPECT_EQ(c.ask(get("/none")).status, 404);
    auto const no = c.ask(post("/", "x"));
    EXPECT_EQ(no.status, 405);
    EXPECT_EQ(no.field("Allow"), "GET, HEAD, OPTIONS");
    EXPECT_EQ(c.ask("OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n").status, 204);
    auto const head = c.ask("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(head.field("Content-Length"), "5");
    EXPECT_EQ(c.ask(get("/")).body, "hello") << "nothing follows the answer to HEAD";
    EXPECT_EQ(c.ask(get("/", "Connection: close\r\n")).field("Connection"), "close");
    EXPECT_TRUE(c.ends());
  });
}
LEASH_TEST_REAL(Server, AnswersWhatWasSentAheadInOrder) {
  co_await serving(simple(), {}, [](std::uint16_t port) {
    raw c(port);
    std::string all;
    for (int i = 0; i < 50; ++i) all += i % 2 ? post("/echo", "b" + std::to_string(i)) : get("/u/" + std::to_string(i));
    EXPECT_TRUE(c.write(all));
    for (int i = 0; i < 50; ++i) EXPECT_EQ(c.read().body, i % 2 ? "b" + std::to_string(i) : std::to_string(i) + "?-");
    EXPECT_TRUE(c.write(get("/") + get("/", "Connection: close\r\n") + get("/")));
    EXPECT_EQ(c.read().body, "hello");
    EXPECT_EQ(c.read().body, "hello");
    EXPECT_TRUE(c.ends()) << "what follows a close is not answered";
  });
}
LEASH_TEST_REAL(Server, SpeaksTheOldVersion) {
  co_await serving(simple(), {}, [](std::uint16_t port) {
    raw once(port);
    EXPECT_EQ(once.ask("GET / HTTP/1.0\r\n\r\n").body, "hello");
    EXPECT_TRUE(once.ends());
    raw kept(port);
    EXPECT_EQ(kept.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").field("Connection"), "keep-alive");
    EXPECT_EQ(kept.ask("GET / HTTP/1.0\r\n\r\n").body, "hello");
    EXPECT_TRUE(kept.ends());
  });
}
LEASH_TEST_REAL(Server, LetsAHandlerReadABodyInPieces) {
  router r;
  r.post("/count", [](request& q) -> task<response> {
    std::size_t bytes = 0, pieces = 0;
    while (auto piece = co_await q.read()) {
      bytes += piece->size();
      ++pieces;
    }
    co_return response(std::to_string(bytes) + (pieces > 1 ? " in pieces" : ""));
  });
  r.post("/first", [](request& q) -> task<response> {
    auto piece = co_await q.read();
    co_return response(std::string(piece->substr(0, 1)));
  });
  r.post("/none", [] { return "unread"; });
  co_await serving(std::move(r), {}, [](std::uint16_t port) {
    std::string const large(1'000'000, 'x');
    raw c(port);
    EXPECT_EQ(c.ask(post("/count", large)).body, "1000000 in pieces");
    EXPECT_EQ(
        c.ask("POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
            .body.substr(0, 1),
        "6");
    EXPECT_EQ(c.ask(post("/first", "abc")).body, "a");
    EXPECT_EQ(c.ask(post("/none", "little")).body, "unread");
    EXPECT_EQ(c.ask(post("/none", std::string(100'000, 'x'))).body, "unread");
    EXPECT_EQ(c.ask(get("/none")).status, 405) << "little that is left of a body is read away";
    EXPECT_TRUE(c.write("POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n"));
    auto const a = c.read();
    EXPECT_EQ(a.body, "unread");
    EXPECT_EQ(a.field("Connection"), "close") << "much is not";
  });
}
LEASH_TEST_REAL(Server, BodiesHaveALimit) {
  router r;
  r.post("/echo", [](request& q) -> task<response> { co_return response(co_await q.text()); });
  r.post("/large", [](request& q) -> task<response> { co_return response(std::to_string((co_await q.text()).size())); },
         {.max_body = 2000});
  co_await serving(std::move(r), {.max_body = 1000}, [](std::uint16_t port) {
    raw c(port);
    EXPECT_EQ(c.ask(post("/echo", std::string(1000, 'x'))).body.size(), 1000u);
    EXPECT_EQ(c.ask(post("/large", std::string(2000, 'x'))).body, "2000");
    EXPECT_EQ(c.ask(post("/echo", std::string(1001, 'x'))).status, 413);
    EXPECT_TRUE(c.ends());
    raw chunks(port);
    EXPECT_TRUE(chunks.write("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for (int i = 0; i < 11; ++i) EXPECT_TRUE(chunks.write("64\r\n" + std::string(100, 'x') + "\r\n"));
    EXPECT_EQ(chunks.read().status, 413);
    EXPECT_TRUE(chunks.ends());
  });
}
LEASH_TEST_REAL(Server, HeadsHaveALimit) {
  co_await serving(simple(), {.max_head = 1000}, [](std::uint16_t port) {
    raw fits(port), whole(port), endless(port);
    EXPECT_EQ(fits.ask(get("/", "X: " + std::string(900, 'x') + "\r\n")).status, 200);
    EXPECT_EQ(whole.ask(get("/", "X: " + std::string(1000, 'x') + "\r\n")).status, 431);
    EXPECT_TRUE(whole.ends());
    EXPECT_TRUE(endless.write("GET /" + std::string(2000, 'x')));
    EXPECT_EQ(endless.read().status, 431);
    EXPECT_TRUE(endless.ends());
  });
}
LEASH_TEST_REAL(Server, SendsBodiesWhileTheyAreMade) {
  router r;
  r.get("/channel", [](request&) -> task<response> {
    auto [tx, rx] = channel<std::string>(3);
    for (const char* p : {"one,", "two,", "three"}) (void)tx.try_send(std::string(p));
    co_return response::stream(std::move(rx), "text/plain");
  });
  r.get("/writer", [] {
    return response::stream([n = 3](http::body_writer& w) -> task<> {
      for (int i = 0; i < n; ++i) co_await w.write(std::to_string(i));
    });
  });
  r.get("/known", [] {
    auto a = response::stream([](http::body_writer& w) -> task<> { co_await w.write("12345"); });
    a.length = 5;
    return a;
  });
  r.get("/large", [] {
    return response::stream([](http::body_writer& w) -> task<> {
      std::string const piece(100'000, 'x');
      for (int i = 0; i < 100; ++i) co_await w.write(piece);
    });
  });
  co_await serving(std::move(r), {.compress = false}, [](std::uint16_t port) {
    raw c(port);
    auto const a = c.ask(get("/channel"));
    EXPECT_EQ(a.body, "one,two,three");
    EXPECT_EQ(a.field("Transfer-Encoding"), "chunked");
    EXPECT_EQ(c.ask(get("/writer")).body, "012");
    auto const known = c.ask(get("/known"));
    EXPECT_EQ(known.body, "12345");
    EXPECT_EQ(known.field("Content-Length"), "5");
    EXPECT_EQ(c.ask(get("/large")).body.size(), 10'000'000u);
    EXPECT_EQ(c.ask("HEAD /writer HTTP/1.1\r\nHost: x\r\n\r\n").field("Transfer-Encoding"), "chunked");
    EXPECT_EQ(c.ask(get("/writer")).body, "012");
    raw old(port);
    auto const plain = old.ask("GET /writer HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(plain.body, "012");
    EXPECT_EQ(plain.field("Connection"), "close");
    EXPECT_EQ(plain.field("Transfer-Encoding"), "");
  });
}
LEASH_TEST_REAL(Server, ABodyThatFailsDoesNotLookWhole) {
  std::atomic<int> told{0};
  router r;
  r.get("/throws", [] {
    return response::stream([](http::body_writer& w) -> task<> {
      co_await w.write("some");
      throw std::runtime_error("no more");
    });
  });
  r.get("/short", [] {
    auto a = response::stream([](http::body_writer& w) -> task<> { co_await w.write("1234"); });
    a.length = 5;
    return a;
  });
  r.get("/long", [] {
    auto a = response::stream([](http::body_writer& w) -> task<> { co_await w.write("123456"); });
    a.length = 5;
    return a;
  });
  co_await serving(std::move(r), {.on_error = [&](const request&, std::exception_ptr) { ++told; }},
                   [](std::uint16_t port) {
                     for (const char* target : {"/throws", "/short", "/long"}) {
                       raw c(port);
                       EXPECT_FALSE(c.ask(get(target)).whole) << target;
                     }
                   });
  EXPECT_EQ(told, 2);
}
LEASH_TEST_REAL(Server, ExceptionsOfHandlersAreToldAndAnswered) {
  std::atomic<int> told{0};
  router r;
  r.get("/throws", [](request&) -> task<response> { throw std::runtime_error("secret"); });
  r.get("/status", [](request&) -> task<response> { throw http::error(409, "taken"); });
  r.get("/int", [](request&) -> task<response> { throw 7; });
  r.get("/later", [](request&) -> task<response> {
    throw http::error(503, "{}").header("Retry-After", "5").header("Content-Type", "application/json");
  });
  r.get("/forged", [](request&) -> task<response> { throw http::error(503).header("X", "1\r\nY: 2"); });
  co_await serving(std::move(r),
                   {.on_error = [&](const request& q, std::exception_ptr) { told += q.path() != "/status" ? 1 : 100; }},
                   [](std::uint16_t port) {
                     raw c(port);
                     auto const a = c.ask(get("/throws"));
                     EXPECT_EQ(a.status, 500);
                     EXPECT_EQ(a.body.find("secret"), std::string::npos);
                     EXPECT_EQ(c.ask(get("/int")).status, 500);
                     auto const b = c.ask(get("/status"));
                     EXPECT_EQ(b.status, 409);
                     EXPECT_EQ(b.body, "taken\n");
                     auto const later = c.ask(get("/later"));
                     EXPECT_EQ(later.status, 503);
                     EXPECT_EQ(later.field("Retry-After"), "5");
                     EXPECT_EQ(later.field("Content-Type"), "application/json");
                     EXPECT_EQ(c.ask(get("/forged")).status, 500);
                   });
  EXPECT_EQ(told, 3);
}
LEASH_TEST_REAL(Server, TellsAClientThatWaitsToGoOn) {
  router r = simple();
  r.post("/refuse", [] { return response(403); });
  co_await serving(std::move(r), {}, [](std::uint16_t port) {
    raw c(port);
    EXPECT_TRUE(c.write("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"));
    EXPECT_EQ(c.read().status, 100);
    EXPECT_EQ(c.ask("body").body, "body");
    EXPECT_EQ(c.ask(post("/echo", "body", "Expect: 100-continue\r\n")).body, "body") << "not told when it did not wait";
    EXPECT_TRUE(c.write("POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"));
    auto const a = c.read();
    EXPECT_EQ(a.status, 403);
    EXPECT_EQ(a.field("Connection"), "close") << "the body may come or not";
    EXPECT_TRUE(c.ends());
  });
}
LEASH_TEST_REAL(Server, AHandlerSeesTheFiguresOfItsServer) {
  router r;
  r.get("/figures", [](request& q) {
    http::server_figures const f = q.figures();
    return std::to_string(f.connections) + " " + std::to_string(f.requests) + " " + std::to_string(f.served);
  });
  co_await serving(std::move(r), {}, [](std::uint16_t port) {
    raw c(port);
    EXPECT_EQ(c.ask(get("/figures")).body, "1 1 0");
    EXPECT_EQ(c.ask(get("/figures")).body, "1 1 1");
  });
  request const of_none;
  EXPECT_EQ(of_none.figures().connections, 0u);
}
LEASH_TEST_REAL(Server, ShedsRequestsOverTheLimit) {
  event* go = new event;
  std::atomic<int> inside{0};
  router r;
  r.get("/wait", [&, go](request&) -> task<response> {
    ++inside;
    co_await go->wait();
    co_return response("done");
  });
  co_await serving(std::move(r), {.max_requests = 2, .retry_after = std::chrono::seconds(7)}, [&](std::uint16_t port) {
    raw a(port), b(port), c(port);
    EXPECT_TRUE(a.write(get("/wait")));
    EXPECT_TRUE(b.write(get("/wait")));
    while (inside < 2) std::this_thread::sleep_for(1ms);
    auto const shed = c.ask(get("/wait"));
    EXPECT_EQ(shed.status, 503);
    EXPECT_EQ(shed.field("Retry-After"), "7");
    go->set();
    EXPECT_EQ(a.read().body, "done");
    EXPECT_EQ(b.read().body, "done");
    EXPECT_EQ(c.ask(get("/wait")).body, "done") << "the connection goes on";
  });
  delete go;
}
LEASH_TEST_REAL(Server, ShedsConnectionsOverTheLimit) {
  co_await serving(simple(), {.max_connections = 2}, [](std::uint16_t port, http::server& s) {
    raw a(port), b(port);
    EXPECT_EQ(a.ask(get("/")).status, 200);
    EXPECT_EQ(b.ask(get("/")).status, 200);
    raw c(port);
    auto const shed = c.read();
    EXPECT_EQ(shed.status, 503);
    EXPECT_EQ(shed.field("Retry-After"), "1");
    EXPECT_GE(s.figures().shed, 1u);
    a.close();
    // One place is free when its goroutine has ended.
    for (int i = 0; i < 10'000 && s.figures().connections > 1; ++i) std::this_thread::sleep_for(1ms);
    for (int i = 0; i < 100; ++i)
      if (raw d(port); d.ask(get("/")).status == 200) return;
    ADD_FAILURE() << "no place was free again";
  });
}
LEASH_TEST_REAL(Server, OptionsThatMakeNoSenseAreRefused) {
  EXPECT_THROW(http::server(simple(), {.max_connections = 0}), std::invalid_argument);
  EXPECT_THROW(http::server(simple(), {.head_timeout = 0s}), std::invalid_argument);
  EXPECT_THROW(http::server(simple(), {.grace = -1s}), std::invalid_argument);
  co_return;
}

}  // namespace leash::test::http_tests
