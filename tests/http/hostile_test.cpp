// Clients that mean no good: they cost bounded memory and time, and no goroutine.
#include "hostile.hpp"

#include <sys/resource.h>

#include <fstream>

#include "http.hpp"
#include "support/files.hpp"

namespace leash::test::http_tests {

using http::request;
using http::response;
using http::router;

// A sanitizer's own memory grows with what is freed.
constexpr bool sanitized = LEASH_ASAN || LEASH_TSAN;
static std::size_t resident() {
  std::ifstream in("/proc/self/statm");
  std::size_t all = 0, here = 0;
  in >> all >> here;
  return here * 4096;
}

static router simple() {
  router r;
  r.get("/", [] { return "hello"; });
  r.post("/echo", [](request& q) -> task<response> { co_return response(co_await q.text()); });
  return r;
}

LEASH_TEST_REAL(Hostile, TheCorpusIsRefusedAndNothingBehindItIsAnswered) {
  co_await serving(simple(), {}, [](std::uint16_t port, http::server& s) {
    std::size_t const all = hostile_requests().size();
    for (const sample& bad : hostile_requests()) {
      raw c(port);
      // What a smuggler hopes for: that this is read as a request of its own.
      EXPECT_TRUE(c.write(bad.text + get("/", "X-Smuggled: 1\r\n"))) << bad.name;
      EXPECT_EQ(c.read().status, bad.status) << bad.name;
      EXPECT_TRUE(c.ends()) << bad.name;
    }
    EXPECT_EQ(s.figures().refused, all);
  });
}
LEASH_TEST_REAL(Hostile, GoodRequestsThatAreMuchLikeThemPass) {
  co_await serving(simple(), {}, [](std::uint16_t port, http::server& s) {
    for (const sample& good : good_requests()) {
      raw c(port);
      EXPECT_TRUE(c.write(good.text));
      auto const a = c.read();
      EXPECT_EQ(a.status, 200) << good.name;
      EXPECT_EQ(a.body, good.text.starts_with("GET") ? "hello" : good.body) << good.name;
      if (good.text.find("HTTP/1.0") == good.text.npos)
        EXPECT_EQ(c.ask(get("/")).body, "hello") << "after " << good.name;
    }
    EXPECT_EQ(s.figures().refused, 0u);
  });
}
LEASH_TEST_REAL(Hostile, HeadsThatDoNotComeAreNotWaitedForForEver) {
  co_await serving(simple(), {.idle_timeout = 100ms},
                   [](std::uint16_t port) { EXPECT_TRUE(raw(port).ends()) << "who says nothing"; });
  co_await serving(simple(), {.head_timeout = 100ms}, [](std::uint16_t port, http::server& s) {
    raw part(port);
    EXPECT_TRUE(part.write("GET / HTTP/1.1\r\nHost"));
    EXPECT_EQ(part.read().status, 408);
    EXPECT_TRUE(part.ends());
    // One byte now and then does not help.
    raw drops(port);
    std::string const head = "GET / HTTP/1.1\r\nX: " + std::string(100'000, 'x');
    std::size_t sent = 0;
    while (sent < head.size() && drops.write(head.substr(sent, 1)) && s.figures().refused < 2) {
      ++sent;
      std::this_thread::sleep_for(1ms);
    }
    EXPECT_LT(sent, head.size());
    EXPECT_EQ(s.figures().refused, 2u);
  });
}
LEASH_TEST_REAL(Hostile, BodiesThatDoNotComeAreNotWaitedForForEver) {
  co_await serving(simple(), {.body_timeout = 100ms}, [](std::uint16_t port) {
    raw c(port);
    EXPECT_TRUE(c.write("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome"));
    EXPECT_EQ(c.read().status, 408);
    EXPECT_TRUE(c.ends());
  });
}
LEASH_TEST_REAL(Hostile, AClientThatDoesNotReadIsNotWaitedForForEver) {
  std::atomic<int> ended{0};
  router r;
  r.get("/stream", [&] {
    return response::stream([&](http::body_writer& w) -> task<> {
      struct note {
        std::atomic<int>& e;
        ~note() { ++e; }
      } const here{ended};
      for (std::string const piece(64 << 10, 'x');;) co_await w.write(piece);
    });
  });
  r.get("/large", [] { return std::string(std::size_t{64} << 20, 'x'); });
  co_await serving(std::move(r), {.write_timeout = 100ms}, [&](std::uint16_t port, http::server& s) {
    raw a(port, 4096), b(port, 4096);
    EXPECT_TRUE(a.write(get("/stream")));
    EXPECT_TRUE(b.write(get("/large")));
    for (int i = 0; i < 20'000 && (ended == 0 || s.figures().connections != 0); ++i) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(ended, 1);
    EXPECT_EQ(s.figures().connections, 0u);
  });
}
LEASH_TEST_REAL(Hostile, EndlessBodiesAndTrailersAreCutOff) {
  co_await serving(simple(), {.max_head = 4096, .max_body = 100'000}, [](std::uint16_t port) {
    std::string const head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    std::size_t const before = resident();
    auto const endless = [&](std::string begin, std::string_view again) {
      raw c(port);
      bool taken = c.write(head + begin);
      for (int i = 0; i < 100'000 && taken; ++i) taken = c.write(again);
      int const status = c.read().status;
      // What is sent on after the refusal may take it back; that the connection ends is what counts.
      EXPECT_TRUE(status == 413 || status == 400 || status == 0) << status;
      EXPECT_TRUE(c.rest().empty());
    };
    endless("", "400\r\n" + std::string(1024, 'x') + "\r\n");
    endless("1", std::string(1000, '0'));                       // a size
    endless("1;", std::string(1000, 'x'));                      // an extension
    endless("0\r\n", "X: " + std::string(1000, 'x') + "\r\n");  // trailers
    endless("0\r\nX: ", std::string(1000, 'x'));
    // Of up to 100 MB that each sends.
    if (!sanitized) EXPECT_LT(resident(), before + (8u << 20));
  });
}
LEASH_TEST_REAL(Hostile, ConnectionsThatAreDroppedAtOnceLeaveNothing) {
  co_await serving(simple(), {}, [](std::uint16_t port, http::server& s) {
    for (int i = 0; i < 200; ++i) {
      raw a(port), b(port), c(port);
      a.reset();
      EXPECT_TRUE(b.write(get("/")));
      b.reset();
      EXPECT_TRUE(c.write("GET / HT"));
      c.close();
    }
    EXPECT_EQ(raw(port).ask(get("/")).body, "hello");
    for (int i = 0; i < 20'000 && s.figures().connections != 0; ++i) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(s.figures().connections, 0u);
  });
}
LEASH_TEST_REAL(Hostile, HalfOpenConnectionsEnd) {
  // The other side is gone without a word: nothing comes, nothing is refused. The time is long beside that between a connection
  // and its request, on a machine however busy.
  co_await serving(simple(), {.idle_timeout = 2s}, [](std::uint16_t port, http::server& s) {
    std::vector<raw> held;
    for (int i = 0; i < 50; ++i) {
      held.emplace_back(port);
      EXPECT_EQ(held.back().ask(get("/")).status, 200);
    }
    for (int i = 0; i < 20'000 && s.figures().connections != 0; ++i) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(s.figures().connections, 0u);
  });
}

TEST(Hostile, AClientThatIsGoneWithoutAWordIsFound) {
  bool may = true;
  run_at(2, [&]() -> task<> {
    std::atomic<int> ended{0};
    router r;
    r.get("/stream", [&] {
      return response::stream([&](http::body_writer& w) -> task<> {
        co_await w.write("begun");
        co_await finally(sleep(1h), [&](outcome) { ++ended; });
      });
    });
    co_await serving(std::move(r), {.keep_alive = 1s}, [&](std::uint16_t port, http::server& s) {
      raw c(port);
      EXPECT_TRUE(c.write(get("/stream")));
      while (c.unread().find("begun") == std::string::npos && c.more()) {
      }
      may = c.vanish();
      if (may) EXPECT_TRUE(eventually_here([&] { return ended == 1 && s.figures().connections == 0; }, longest_wait));
    });
  });
  if (!may) GTEST_SKIP() << "TCP_REPAIR takes CAP_NET_ADMIN";
}

LEASH_TEST_REAL(Hostile, ManyIdleConnectionsCostLittle) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  // Both ends are in this process.
  std::size_t const most = sanitized ? 500 : long_run() ? 10'000 : 2'000;
  std::size_t const many = std::min<std::size_t>(most, (files.rlim_cur - 200) / 2);
  if (many < most)
    std::printf("only %zu connections: the limit of open files is %zu\n", many,
                static_cast<std::size_t>(files.rlim_cur));
  // Long, and shorter than the machine has been up: a connection that has just come is not one that has idled since then.
  co_await serving(simple(), {.idle_timeout = 1min}, [&](std::uint16_t port, http::server& s) {
    std::vector<raw> held;
    held.reserve(many);
    std::size_t before = 0;
    for (std::size_t i = 0; i < many; ++i) {
      held.emplace_back(port);
      EXPECT_EQ(held.back().ask(get("/")).status, 200);
      if (i == many / 10) before = resident();
    }
    EXPECT_EQ(s.figures().connections, many);
    std::size_t const each = (resident() - std::min(resident(), before)) / (many - many / 10);
    std::printf("%zu idle connections, %zu bytes each\n", many, each);
    if (!sanitized) EXPECT_LE(each, 6u << 10);
    EXPECT_EQ(raw(port).ask(get("/")).body, "hello") << "others are served";
  });
}

}  // namespace leash::test::http_tests
