// A request's context: what ends it, and that whatever the handler waits in ends with it.
#include "http.hpp"
#include "support/files.hpp"

namespace leash::test::http_tests {

using http::request;
using http::response;
using http::router;

/// What a handler that is cut leaves behind.
struct notes {
  std::atomic<int> inside{0}, unwound{0}, returned{0};
  struct inner {
    notes& n;
    explicit inner(notes& to) : n(to) { ++n.inside; }
    ~inner() { ++(unwinding() ? n.unwound : n.returned); }
  };
};

template <class F>
static bool soon(F f) {
  return eventually_here(f, longest_wait);
}

/// Handlers that wait in all ways, for ever.
static router waiting(notes& n) {
  router r;
  r.get("/channel", [&](request&) -> task<response> {
    notes::inner const here(n);
    auto [tx, rx] = channel<int>();
    auto kept = std::make_unique<sender<int>>(std::move(tx));  // somebody could send
    (void)co_await rx.recv();
    co_return response("never");
  });
  r.get("/sleep", [&](request&) -> task<response> {
    notes::inner const here(n);
    co_await sleep(1h);
    co_return response("never");
  });
  r.get("/blocking", [&](request&) -> task<response> {
    notes::inner const here(n);
    co_await blocking([&n] {
      while (n.inside.load() > 0) std::this_thread::sleep_for(1ms);  // it cannot be cut, only what follows
    });
    co_return response("never");
  });
  r.get("/done", [&](request&) -> task<response> {
    notes::inner const here(n);
    co_await this_context().done();
    EXPECT_EQ(this_context().err(), context_error::cancelled);
    co_await yield();
    co_return response("never");
  });
  r.get("/children", [&](request&) -> task<response> {
    (void)co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 3; ++i)
        s.go([&n]() -> task<> {
          notes::inner const here(n);
          co_await sleep(1h);
        });
      co_await sleep(1h);
    });
    co_return response("never");
  });
  r.post("/body", [&](request& q) -> task<response> {
    notes::inner const here(n);
    co_return response(co_await q.text());
  });
  r.get("/stream", [&] {
    return response::stream([&](http::body_writer& w) -> task<> {
      notes::inner const here(n);
      co_await w.write("first");
      co_await sleep(1h);
    });
  });
  r.get("/full", [&] {
    return response::stream([&](http::body_writer& w) -> task<> {
      notes::inner const here(n);
      for (std::string const piece(1 << 20, 'x');;) co_await w.write(piece);
    });
  });
  return r;
}

LEASH_TEST_REAL(RequestContext, EndsWhenTheClientGoesAwayWhateverTheHandlerWaitsIn) {
  for (const char* target : {"/channel", "/sleep", "/done", "/children", "/stream", "/full", "/blocking"})
    for (bool by_reset : {false, true}) {
      notes n;
      co_await serving(waiting(n), {}, [&](std::uint16_t port) {
        raw c(port);
        EXPECT_TRUE(c.write(get(target)));
        int const expected = std::string_view(target) == "/children" ? 3 : 1;
        EXPECT_TRUE(soon([&] { return n.inside == expected; })) << target;
        by_reset ? c.reset() : c.close();
        if (std::string_view(target) == "/blocking") {
          std::this_thread::sleep_for(50ms);  // more likely to be seen while the call runs; right either way
          n.inside = 0;
        }
        EXPECT_TRUE(soon([&] { return n.unwound == expected; }))
            << target << (by_reset ? " by a reset" : " by a close");
        EXPECT_EQ(n.returned, 0) << target;
      });
    }
}
LEASH_TEST_REAL(RequestContext, AClientThatStaysIsNoneThatWentAway) {
  std::atomic<int> inside{0};
  auto go = std::make_unique<event>();
  router r;
  r.get("/wait", [&](request&) -> task<response> {
    ++inside;
    co_await go->wait();
    co_return response(this_context().err() == context_error::none ? "fine" : "ended");
  });
  co_await serving(std::move(r), {}, [&](std::uint16_t port) {
    raw c(port), gone(port);
    EXPECT_TRUE(c.write(get("/wait") + get("/wait")));
    EXPECT_TRUE(gone.write(get("/wait")));
    EXPECT_TRUE(soon([&] { return inside == 2; }));
    gone.close();
    std::this_thread::sleep_for(100ms);  // some of the keeper's rounds
    go->set();
    EXPECT_EQ(c.read().body, "fine");
    EXPECT_EQ(c.read().body, "fine");
  });
}
LEASH_TEST_REAL(RequestContext, ItsEndIsSeenBehindRequestsThatWereSentAhead) {
  notes n;
  co_await serving(waiting(n), {}, [&](std::uint16_t port) {
    raw c(port);
    EXPECT_TRUE(c.write(get("/sleep") + get("/sleep") + get("/sleep")));
    EXPECT_TRUE(soon([&] { return n.inside == 1; }));
    c.close();
    EXPECT_TRUE(soon([&] { return n.unwound == 1; }));
  });
  EXPECT_EQ(n.inside, 1) << "nobody waits for the others";
}
// It sleeps until somebody goes away, or something is due.
LEASH_TEST_REAL(RequestContext, NobodyLooksAtAHandlerWhileItRuns) {
  notes n;
  co_await serving(waiting(n), {}, [&](std::uint16_t port) {
    raw c(port);
    EXPECT_TRUE(c.write(get("/sleep")));
    EXPECT_TRUE(soon([] {
      for (const goroutine_info& g : goroutines())
        if (g.name == "http keeper" && g.waited > 300ms) return true;
      return false;
    }));
    c.close();
    EXPECT_TRUE(soon([&] { return n.unwound == 1; }));
  });
}
LEASH_TEST_REAL(RequestContext, AClientThatOnlyEndsItsSendingMayBeServed) {
  for (bool allowed : {false, true}) {
    notes n;
    router r = waiting(n);
    r.get("/short", [&](request&) -> task<response> {
      notes::inner const here(n);
      co_await sleep(200ms);
      co_return response("served");
    });
    co_await serving(std::move(r), {.half_close = allowed}, [&](std::uint16_t port) {
      raw c(port);
      EXPECT_TRUE(c.write(get("/short")));
      c.end_sending();
      EXPECT_EQ(c.read().body, allowed ? "served" : "");
    });
    EXPECT_EQ(n.returned, allowed ? 1 : 0);
  }
}
LEASH_TEST_REAL(RequestContext, ABodyThatBreaksOffEndsIt) {
  notes n;
  co_await serving(waiting(n), {}, [&](std::uint16_t port) {
    raw c(port);
    EXPECT_TRUE(c.write("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome"));
    EXPECT_TRUE(soon([&] { return n.inside == 1; }));
    c.close();
    EXPECT_TRUE(soon([&] { return n.unwound == 1; }));
  });
  EXPECT_EQ(n.returned, 0);
}
LEASH_TEST_REAL(RequestContext, EndsWithTheDeadline) {
  notes n;
  router r = waiting(n);
  r.get("/left",
        [](request&) {
          auto const d = this_context().deadline();
          return d && *d - now() <= 1h && *d - now() > 59min ? "an hour" : "something else";
        },
        {.timeout = 1h});
  r.get("/endless", [](request&) { return this_context().deadline() ? "some" : "none"; },
        {.timeout = nanoseconds::max()});
  co_await serving(std::move(r), {.request_timeout = 50ms}, [&](std::uint16_t port) {
    raw c(port);
    EXPECT_EQ(c.ask(get("/sleep")).status, 503);
    EXPECT_EQ(n.unwound, 1);
    EXPECT_EQ(c.ask(get("/left")).body, "an hour") << "the connection goes on";
    EXPECT_EQ(c.ask(get("/endless")).body, "none");
    raw body(port);
    EXPECT_TRUE(body.write("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome"));
    EXPECT_EQ(body.read().status, 503) << "in the midst of its body";
  });
}
LEASH_TEST_REAL(RequestContext, AStreamIsNotCutByTheDeadlineOfItsHandler) {
  router r;
  r.get("/slow", [] {
    return response::stream([](http::body_writer& w) -> task<> {
      for (int i = 0; i < 4; ++i) {
        co_await sleep(30ms);
        co_await w.write("x");
      }
    });
  });
  co_await serving(std::move(r), {.request_timeout = 50ms},
                   [](std::uint16_t port) { EXPECT_EQ(raw(port).ask(get("/slow")).body, "xxxx"); });
}

LEASH_TEST_REAL(Shutdown, LetsWhatRunsFinish) {
  std::atomic<int> inside{0};
  auto go = std::make_unique<event>();
  router r;
  r.get("/", [] { return "hello"; });
  r.get("/wait", [&](request&) -> task<response> {
    ++inside;
    co_await go->wait();
    co_return response("finished");
  });
  auto const result = co_await serving(std::move(r), {.grace = 1min}, [&](std::uint16_t port, http::server& s) {
    raw idle(port), busy(port), never(port);
    EXPECT_EQ(idle.ask(get("/")).status, 200);
    EXPECT_TRUE(busy.write(get("/wait")));
    EXPECT_TRUE(soon([&] { return inside == 1; }));
    s.shutdown();
    s.shutdown();
    EXPECT_TRUE(idle.ends());
    EXPECT_TRUE(never.ends());
    EXPECT_TRUE(soon([&] { return raw(port).ask(get("/")).status == 0; })) << "nobody is let in";
    go->set();
    auto const a = busy.read();
    EXPECT_EQ(a.body, "finished");
    EXPECT_EQ(a.field("Connection"), "close");
    EXPECT_TRUE(busy.ends());
  });
  EXPECT_TRUE(result.clean());
}
LEASH_TEST_REAL(Shutdown, NamesAndCutsWhatIsLeftAfterTheGrace) {
  notes n;
  http::shutdown_result told;
  std::optional<http::shutdown_result> result =
      co_await serving(waiting(n), {.grace = 50ms, .on_shutdown = [&](const http::shutdown_result& r) { told = r; }},
                       [&](std::uint16_t port, http::server& s) {
                         raw c(port), stream(port), body(port);
                         EXPECT_TRUE(c.write(get("/sleep")));
                         EXPECT_TRUE(stream.write(get("/stream")));
                         EXPECT_TRUE(body.write("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome"));
                         EXPECT_TRUE(soon([&] { return n.inside == 3; }));
                         s.shutdown();
                         auto const a = c.read();
                         EXPECT_EQ(a.status, 503);
                         EXPECT_EQ(a.field("Connection"), "close");
                         EXPECT_FALSE(stream.read().whole);
                         EXPECT_EQ(body.read().whole, true);
                         EXPECT_TRUE(soon([&] { return n.unwound == 3; }));
                       });
  CO_ASSERT_EQ(result->cut.size(), 3u);
  EXPECT_EQ(told.cut.size(), 3u);
  std::map<std::string, http::unfinished_request> by_route;
  for (auto& u : result->cut) by_route.emplace(u.route, u);
  EXPECT_EQ(by_route["/sleep"].who.wait, "sleep");
  EXPECT_EQ(by_route["/sleep"].method, http::method::get);
  EXPECT_NE(by_route["/sleep"].who.id, 0u);
  bool handler_in_stack = false;
  for (const frame_info& f : by_route["/sleep"].who.stack) handler_in_stack |= f.file.ends_with("context_test.cpp");
  EXPECT_TRUE(handler_in_stack);
  EXPECT_EQ(by_route["/body"].who.wait, "IO wait");
  EXPECT_EQ(by_route["/body"].method, http::method::post);
  EXPECT_EQ(by_route.count("/stream"), 1u);
}
/// Runs `client(port)` beside a server in a context that `stop` ends. False: that end was passed on.
template <class F>
task<bool> serving_until(cancel_source& stop, http::server& server, F client) {
  net::tcp_listener at("127.0.0.1:0");
  std::uint16_t const port = at.local_endpoint().port();
  bool ended_by_itself = true;
  (void)co_await with_scope([&](scope& s) -> task<> {
    s.go([&, at = std::move(at)]() mutable -> task<> {
      ended_by_itself = co_await with_cancel(stop, [&]() -> task<> { (void)co_await server.serve(std::move(at)); });
    });
    co_await blocking([&] { client(port); });
  });
  co_return ended_by_itself;
}

LEASH_TEST_REAL(Shutdown, ThatWasBegunCutsAtOnceWhenTheContextEnds) {
  notes n;
  http::shutdown_result told;
  http::server server(waiting(n), {.grace = 1h, .on_shutdown = [&](const http::shutdown_result& r) { told = r; }});
  cancel_source stop;
  EXPECT_FALSE(co_await serving_until(stop, server, [&](std::uint16_t port) {
    raw idle(port), c(port), answered(port);
    EXPECT_TRUE(answered.write("GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    EXPECT_EQ(answered.read().status, 404);
    EXPECT_TRUE(answered.ends()) << "it lingers until the client closes";
    EXPECT_TRUE(c.write(get("/sleep")));
    EXPECT_TRUE(soon([&] { return n.inside == 1; }));
    server.shutdown();
    EXPECT_TRUE(idle.ends()) << "it drains";
    EXPECT_EQ(n.unwound, 0);
    stop.cancel("at once");
    EXPECT_EQ(c.read().status, 503);
    EXPECT_TRUE(soon([&] { return n.unwound == 1; }));
  }));
  CO_ASSERT_EQ(told.cut.size(), 1u);
  EXPECT_EQ(told.cut[0].route, "/sleep");
}
LEASH_TEST_REAL(Shutdown, BeginsWhenTheContextOfTheServerEnds) {
  std::atomic<int> inside{0}, told{0};
  router r;
  r.get("/wait", [&](request&) -> task<response> {
    ++inside;
    co_await sleep(100ms);
    co_return response("finished");
  });
  http::server server(std::move(r), {.grace = 1min, .on_shutdown = [&](const http::shutdown_result& s) {
                                       told += s.clean() ? 1 : 100;
                                     }});
  cancel_source stop;
  EXPECT_FALSE(co_await serving_until(stop, server, [&](std::uint16_t port) {
    raw c(port);
    EXPECT_TRUE(c.write(get("/wait")));
    EXPECT_TRUE(soon([&] { return inside == 1; }));
    stop.cancel("enough");
    EXPECT_EQ(c.read().body, "finished");
  }));
  EXPECT_EQ(told, 1);
}

}  // namespace leash::test::http_tests
