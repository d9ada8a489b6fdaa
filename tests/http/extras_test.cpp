// Files, compression, events, WebSockets, TLS.
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <leash/net/tls.hpp>

#include "http.hpp"
#include "support/files.hpp"

namespace leash::test::http_tests {

using http::request;
using http::response;
using http::router;

static std::string unpacked(std::string_view in, int window = 15 + 32) {
  z_stream z{};
  inflateInit2(&z, window);
  std::string out;
  char piece[4096];
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
  z.avail_in = static_cast<uInt>(in.size());
  int r;
  do {
    z.next_out = reinterpret_cast<Bytef*>(piece);
    z.avail_out = sizeof piece;
    r = inflate(&z, Z_NO_FLUSH);
    out.append(piece, sizeof piece - z.avail_out);
  } while (r == Z_OK && (z.avail_in != 0 || z.avail_out == 0));
  inflateEnd(&z);
  return r == Z_STREAM_END ? out : "no end after " + out;
}

LEASH_TEST_REAL(Files, AreServedWithTypeAndTag) {
  folder f;
  f.write("pub/index.html", "<p>home");
  f.write("pub/a/index.html", "<p>a");
  f.write("pub/t.txt", "0123456789");
  f.write("pub/large.bin", std::string(300'000, 'x') + "end");
  router r;
  r.get("/s/{path...}", http::files(f.path() / "pub"));
  co_await serving(std::move(r), {}, [](std::uint16_t port) {
    raw c(port);
    EXPECT_EQ(c.ask(get("/s/")).body, "<p>home");
    EXPECT_EQ(c.ask(get("/s/a/")).body, "<p>a");
    auto const moved = c.ask(get("/s/a"));
    EXPECT_EQ(moved.status, 301);
    EXPECT_EQ(moved.field("Location"), "/s/a/");
    auto const t = c.ask(get("/s/t.txt"));
    EXPECT_EQ(t.body, "0123456789");
    EXPECT_EQ(t.field("Content-Type"), "text/plain; charset=utf-8");
    std::string const tag = t.field("ETag");
    EXPECT_EQ(c.ask(get("/s/t.txt", "If-None-Match: \"x\", " + tag + "\r\n")).status, 304);
    EXPECT_EQ(c.ask(get("/s/t.txt", "If-None-Match: W/" + tag + "\r\n")).status, 304);
    EXPECT_EQ(c.ask(get("/s/t.txt", "If-None-Match: \"x\"\r\n")).status, 200);
    EXPECT_EQ(c.ask(get("/s/t.txt", "If-Modified-Since: " + t.field("Last-Modified") + "\r\n")).status, 304);
    EXPECT_EQ(c.ask(get("/s/t.txt", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n")).status, 200);
    auto const large = c.ask(get("/s/large.bin"));
    EXPECT_EQ(large.body.size(), 300'003u);
    EXPECT_TRUE(large.body.ends_with("xend"));
    auto const head = c.ask("HEAD /s/large.bin HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(head.field("Content-Length"), "300003");
    EXPECT_EQ(c.ask(post("/s/t.txt", "x")).status, 405);
    for (const char* none : {"/s/none", "/s/t.txt/", "/s/t.txt/x", "/s/none/"})
      EXPECT_EQ(c.ask(get(none)).status, 404) << none;
  });
}
LEASH_TEST_REAL(Files, ARangeOfThemIsServed) {
  folder f;
  f.write("t", "0123456789");
  f.write("empty", "");
  f.write("large", std::string(100'000, 'x') + std::string(100'000, 'y'));
  router r;
  r.get("/{path...}", http::files(f.path()));
  co_await serving(std::move(r), {}, [](std::uint16_t port) {
    raw c(port);
    std::string const tag = c.ask(get("/t")).field("ETag");
    auto const ask = [&](std::string_view range, std::string_view more = {}) {
      return c.ask(get("/t", "Range: " + std::string(range) + "\r\n" + std::string(more)));
    };
    auto const a = ask("bytes=2-4");
    EXPECT_EQ(a.status, 206);
    EXPECT_EQ(a.body, "234");
    EXPECT_EQ(a.field("Content-Range"), "bytes 2-4/10");
    EXPECT_EQ(ask("bytes=7-").body, "789");
    EXPECT_EQ(ask("bytes=-3").body, "789");
    EXPECT_EQ(ask("bytes=-30").body, "0123456789");
    EXPECT_EQ(ask("bytes=8-99").body, "89");
    EXPECT_EQ(ask("bytes=0-0").body, "0");
    auto const no = ask("bytes=10-");
    EXPECT_EQ(no.status, 416);
    EXPECT_EQ(no.field("Content-Range"), "bytes */10");
    EXPECT_EQ(ask("bytes=-0").status, 416);
    for (const char* whole :
         {"bytes=5-2", "bytes=a-b", "bytes=", "bytes=-", "lines=1-2", "bytes=0-1,3-4", "bytes=99999999999999999999-"})
      EXPECT_EQ(ask(whole).status, 200) << whole;
    EXPECT_EQ(ask("bytes=2-4", "If-Range: " + tag + "\r\n").status, 206);
    EXPECT_EQ(ask("bytes=2-4", "If-Range: \"other\"\r\n").status, 200);
    EXPECT_EQ(c.ask(get("/empty")).body, "");
    EXPECT_EQ(c.ask(get("/large", "Range: bytes=99999-100000\r\n")).body, "xy");
  });
}
LEASH_TEST_REAL(Files, NothingOutsideIsReached) {
  folder f;
  f.write("pub/ok.txt", "ok");
  f.write("secret.txt", "secret");
  f.write("pub/.hidden", "secret");
  f.write("pub/.git/config", "secret");
  std::filesystem::create_symlink(f.path() / "secret.txt", f.path() / "pub/link");
  std::filesystem::create_symlink("..", f.path() / "pub/up");
  std::filesystem::create_symlink("ok.txt", f.path() / "pub/inside");
  router r;
  r.get("/s/{path...}", http::files(f.path() / "pub"));
  co_await serving(std::move(r), {}, [](std::uint16_t port) {
    raw c(port);
    EXPECT_EQ(c.ask(get("/s/ok.txt")).body, "ok");
    EXPECT_EQ(c.ask(get("/s/inside")).status / 100 * 100, 200) << "a link that stays inside";
    for (const char* out :
         {"/s/../secret.txt", "/s/%2e%2e/secret.txt", "/s/..%2fsecret.txt", "/s/%2e%2e%2fsecret.txt",
          "/s/a/../../secret.txt", "/s//etc/passwd", "/s/%2fetc%2fpasswd", "/s/./ok.txt", "/s/link", "/s/up/secret.txt",
          "/s/.hidden", "/s/.git/config", "/s/ok.txt%00.html", "/s/....//secret.txt", "/s/..\\secret.txt"}) {
      auto const a = c.ask(get(out));
      EXPECT_TRUE(a.status == 404 || a.status == 400) << out << ": " << a.status;
      EXPECT_EQ(a.body.find("secret"), std::string::npos) << out;
      if (a.field("Connection") == "close") c = raw(port);
    }
  });
  EXPECT_THROW((void)http::files(f.path() / "none"), std::system_error);
}

LEASH_TEST_REAL(Compression, IsUsedWhereItIsWorthItAndTaken) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "line " + std::to_string(i) + "\n";
  router r;
  r.get("/text", [&] { return response(200, "text/plain", text).header("ETag", "\"t\""); });
  r.get("/short", [] { return "short"; });
  r.get("/image", [&] { return response(200, "image/png", text); });
  r.get("/packed", [&] { return response(200, "text/plain", text).header("Content-Encoding", "br"); });
  r.get("/stream", [&] {
    return response::stream(
        [&](http::body_writer& w) -> task<> {
          co_await w.write(std::string_view(text).substr(0, 1000));
          co_await w.write(std::string_view(text).substr(1000));
        },
        "text/plain");
  });
  co_await serving(std::move(r), {}, [&](std::uint16_t port) {
    raw c(port);
    auto const a = c.ask(get("/text", "Accept-Encoding: br, gzip;q=0.5\r\n"));
    EXPECT_EQ(a.field("Content-Encoding"), "gzip");
    EXPECT_EQ(a.field("Vary"), "Accept-Encoding");
    EXPECT_EQ(a.field("ETag"), "W/\"t\"");
    EXPECT_LT(a.body.size(), text.size() / 2);
    EXPECT_EQ(unpacked(a.body), text);
    auto const d = c.ask(get("/text", "Accept-Encoding: deflate\r\n"));
    EXPECT_EQ(d.field("Content-Encoding"), "deflate");
    EXPECT_EQ(unpacked(d.body), text);
    auto const s = c.ask(get("/stream", "Accept-Encoding: gzip\r\n"));
    EXPECT_EQ(s.field("Content-Encoding"), "gzip");
    EXPECT_EQ(unpacked(s.body), text);
    for (const char* no : {"", "Accept-Encoding: identity\r\n", "Accept-Encoding: gzip;q=0, deflate;q=0.0\r\n"}) {
      auto const plain = c.ask(get("/text", no));
      EXPECT_EQ(plain.field("Content-Encoding"), "") << no;
      EXPECT_EQ(plain.field("Vary"), "Accept-Encoding");
      EXPECT_EQ(plain.body, text);
    }
    EXPECT_EQ(c.ask(get("/short", "Accept-Encoding: gzip\r\n")).field("Content-Encoding"), "");
    EXPECT_EQ(c.ask(get("/image", "Accept-Encoding: gzip\r\n")).field("Content-Encoding"), "");
    EXPECT_EQ(c.ask(get("/packed", "Accept-Encoding: gzip\r\n")).field("Content-Encoding"), "br");
  });
}

LEASH_TEST_REAL(Events, GoOutWhenTheyHappenAndEndWithTheClient) {
  std::atomic<int> ended{0};
  auto [tx, rx] = channel<http::server_event>(1);
  auto from = std::make_shared<receiver<http::server_event>>(std::move(rx));
  router r;
  r.get("/events", [from] { return http::events(std::move(*from), 20ms); });
  r.get("/own", [&] {
    return http::events([&](http::event_writer& w) -> task<> {
      struct note {
        std::atomic<int>& e;
        ~note() { ++e; }
      } const here{ended};
      co_await w.send({"x", "tick", "1"});
      co_await sleep(1h);
    });
  });
  auto out = std::make_shared<sender<http::server_event>>(std::move(tx));
  co_await serving(std::move(r), {}, [&, out](std::uint16_t port) {
    raw c(port), own(port);
    EXPECT_TRUE(c.write(get("/events")));
    EXPECT_EQ(out->try_send({"first"}), try_result::done);
    std::string got;
    while (got.find("data: first\n\n") == got.npos || got.find(":\n\n") == got.npos) {
      if (!c.more()) break;
      got = c.unread();
    }
    EXPECT_NE(got.find("Content-Type: text/event-stream\r\n"), got.npos);
    EXPECT_NE(got.find("data: first\n\n"), got.npos);
    out->close();
    while (!c.unread().ends_with("\r\n0\r\n\r\n") && c.more()) {
    }
    EXPECT_TRUE(c.unread().ends_with("\r\n0\r\n\r\n")) << "the channel's end is the response's";
    EXPECT_TRUE(own.write(get("/own")));
    while (own.unread().find("event: tick\nid: 1\ndata: x\n\n") == std::string::npos && own.more()) {
    }
    own.close();
    for (int i = 0; i < 20'000 && ended == 0; ++i) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(ended, 1);
  });
}

// A client's frames, by hand.
static std::string frame(unsigned op, std::string_view data, bool last = true, bool masked = true) {
  std::string f{static_cast<char>((last ? 0x80u : 0u) | op)};
  char const m = masked ? static_cast<char>(0x80) : '\0';
  if (data.size() < 126) {
    f += static_cast<char>(m | static_cast<char>(data.size()));
  } else if (data.size() < 65536) {
    f += static_cast<char>(m | 126);
    for (int i = 1; i >= 0; --i) f += static_cast<char>(data.size() >> (8 * i));
  } else {
    f += static_cast<char>(m | 127);
    for (int i = 7; i >= 0; --i) f += static_cast<char>(data.size() >> (8 * i));
  }
  std::string const mask = "\x12\x34\x56\x78";
  if (masked) f += mask;
  for (std::size_t i = 0; i < data.size(); ++i) f += masked ? static_cast<char>(data[i] ^ mask[i % 4]) : data[i];
  return f;
}
static std::string asks_for(std::string_view target) {
  return get(target,
             "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
}
std::string const handshake = asks_for("/ws");
/// What the server sends after the handshake, until it ends.
static std::string talk(std::uint16_t port, std::string_view frames) {
  raw c(port);
  auto const a = c.ask(handshake);
  EXPECT_EQ(a.status, 101);
  EXPECT_EQ(a.field("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") << "the example of RFC 6455";
  EXPECT_TRUE(c.write(frames));
  return c.rest();
}
static std::string closed(unsigned code) {
  return std::string{static_cast<char>(0x88), 2, static_cast<char>(code >> 8), static_cast<char>(code)};
}
static std::string code(unsigned c) { return {static_cast<char>(c >> 8), static_cast<char>(c)}; }

static router echoing(std::atomic<int>& unwound) {
  router r;
  r.get("/ws", [&](request& q) {
    return http::upgrade(q,
                         [&](http::websocket& w) -> task<> {
                           struct note {
                             std::atomic<int>& e;
                             ~note() {
                               if (unwinding()) ++e;
                             }
                           } const here{unwound};
                           while (auto m = co_await w.recv()) {
                             if (m->data == "throw") throw std::runtime_error("as asked");
                             if (m->data == "return") co_return;
                             if (!co_await w.send(m->data, m->binary)) break;
                           }
                         },
                         {.max_message = 100'000});
  });
  return r;
}

LEASH_TEST_REAL(WebSocket, EchoesMessages) {
  std::atomic<int> unwound{0};
  co_await serving(echoing(unwound), {}, [](std::uint16_t port) {
    std::string const large(70'000, 'x'), medium(300, 'y');
    EXPECT_EQ(talk(port, frame(1, "hello") + frame(8, code(1000))), "\x81\x05hello" + closed(1000));
    EXPECT_EQ(talk(port, frame(2, std::string("\0\xff", 2)) + frame(8, "")),
              std::string("\x82\x02\0\xff", 4) + closed(1000));
    EXPECT_EQ(talk(port, frame(1, medium) + frame(8, code(3000))), frame(1, medium, true, false) + closed(3000));
    EXPECT_EQ(talk(port, frame(2, large) + frame(8, code(1000))), frame(2, large, true, false) + closed(1000));
    EXPECT_EQ(talk(port, frame(1, "a", false) + frame(9, "ping") + frame(0, "b", false) + frame(0, "c") +
                             frame(8, code(1001))),
              "\x8a\x04ping\x81\x03" + std::string("abc") + closed(1001))
        << "fragments, with a ping between them";
    EXPECT_EQ(talk(port, frame(10, "unasked") + frame(1, "return")), closed(1000));
  });
  EXPECT_EQ(unwound, 0);
}
LEASH_TEST_REAL(WebSocket, WhatBreaksTheProtocolIsClosed) {
  std::atomic<int> unwound{0};
  co_await serving(echoing(unwound), {}, [](std::uint16_t port) {
    EXPECT_EQ(talk(port, frame(1, "x", true, false)), closed(1002)) << "no mask";
    EXPECT_EQ(talk(port, frame(3, "x")), closed(1002)) << "an opcode that is none";
    EXPECT_EQ(talk(port, frame(0x41, "x")), closed(1002)) << "a reserved bit";
    EXPECT_EQ(talk(port, frame(0, "x")), closed(1002)) << "a fragment of nothing";
    EXPECT_EQ(talk(port, frame(1, "x", false) + frame(1, "y")), closed(1002)) << "a message within another";
    EXPECT_EQ(talk(port, frame(9, "x", false)), closed(1002)) << "a fragment of a ping";
    EXPECT_EQ(talk(port, frame(9, std::string(126, 'x'))), closed(1002)) << "a ping that is too long";
    EXPECT_EQ(talk(port, frame(8, "x")), closed(1002)) << "half a code";
    EXPECT_EQ(talk(port, frame(8, code(1005))), closed(1002)) << "a code that is not sent";
    EXPECT_EQ(talk(port, frame(8, code(1000) + "\xff")), closed(1002)) << "a reason that is no text";
    EXPECT_EQ(talk(port, frame(1, "\xc3\x28")), closed(1007)) << "no UTF-8";
    EXPECT_EQ(talk(port, frame(1, "\xed\xa0\x80")), closed(1007)) << "a surrogate";
    EXPECT_EQ(talk(port, frame(2, std::string(100'001, 'x')).substr(0, 14)), closed(1009)) << "too large";
    EXPECT_EQ(talk(port, frame(2, std::string(60'000, 'x'), false) + frame(0, std::string(60'000, 'x'))), closed(1009))
        << "too large in pieces";
  });
}
LEASH_TEST_REAL(WebSocket, AClientThatIsSilentIsAskedAndThenLeft) {
  std::atomic<unsigned> closed_with{0};
  router r;
  auto const session = [&](http::websocket& w) -> task<> {
    while (auto m = co_await w.recv()) (void)co_await w.send(m->data, m->binary);
    closed_with = w.closed_with();
  };
  r.get("/ws", [&](request& q) { return http::upgrade(q, session, {.idle_timeout = 100ms}); });
  r.get("/patient", [&](request& q) { return http::upgrade(q, session, {.idle_timeout = 2s}); });
  std::string const ping{static_cast<char>(0x89), 0};
  co_await serving(std::move(r), {}, [&](std::uint16_t port) {
    EXPECT_EQ(talk(port, ""), ping + closed(1000));
    EXPECT_EQ(closed_with, 1006u);
    EXPECT_EQ(talk(port, frame(1, "begun", false)), ping + closed(1000)) << "in the midst of a message";
    raw alive(port);
    EXPECT_EQ(alive.ask(asks_for("/patient")).status, 101);
    for (std::size_t pings = 1; pings < 3; ++pings) {
      while (alive.unread().size() < pings * ping.size() && alive.more()) {
      }
      EXPECT_TRUE(alive.write(frame(10, "")));
    }
    EXPECT_TRUE(alive.write(frame(1, "hello") + frame(8, code(1000))));
    EXPECT_EQ(alive.rest(), ping + ping + "\x81\x05hello" + closed(1000));
  });
}
LEASH_TEST_REAL(WebSocket, EndsWithItsClientWithItsServerAndWithAnException) {
  std::atomic<int> unwound{0}, told{0};
  co_await serving(
      echoing(unwound), {.grace = 20ms, .on_error = [&](const request&, std::exception_ptr) { ++told; }},
      [&](std::uint16_t port, http::server& s) {
        EXPECT_EQ(talk(port, frame(1, "throw")), closed(1011));
        EXPECT_EQ(told, 1);
        raw gone(port), stays(port), no(port);
        EXPECT_EQ(gone.ask(handshake).status, 101);
        EXPECT_EQ(stays.ask(handshake).status, 101);
        EXPECT_EQ(no.ask(get("/ws")).status, 426);
        EXPECT_EQ(
            no.ask(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")).status,
            400)
            << "no key";
        gone.close();
        for (int i = 0; i < 20'000 && s.figures().connections > 2; ++i) std::this_thread::sleep_for(1ms);
        EXPECT_LE(s.figures().connections, 2u);
        s.shutdown();
        EXPECT_EQ(stays.rest(), closed(1001));
      });
  EXPECT_GE(unwound, 1);
}

struct certificate {
  folder f;
  std::string const key = (f.path() / "key.pem").string(), chain = (f.path() / "chain.pem").string();
  /// False, with a line that says so: there is no openssl here to make it with.
  task<bool> made() {
    std::string const make =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout " +
        key + " -out " + chain + " >/dev/null 2>&1";
    bool const ok = co_await blocking([&] { return std::system(make.c_str()); }) == 0;
    if (!ok) std::printf("skipped: no openssl here to make a certificate with\n");
    co_return ok;
  }
};
LEASH_TEST_REAL(Tls, AHandshakeThatDoesNotComeIsNotWaitedForForEver) {
  certificate own;
  if (!co_await own.made()) co_return;
  http::server server(router(), {.head_timeout = 100ms});
  net::tcp_listener at("127.0.0.1:0");
  std::uint16_t const port = at.local_endpoint().port();
  co_await with_scope([&](scope& s) -> task<> {
    s.go([&, at = std::move(at)]() mutable {
      return server.serve(std::move(at), net::tls_context::server_from_files(own.chain, own.key));
    });
    co_await blocking([&] {
      raw silent(port), begins(port);
      EXPECT_TRUE(begins.write("\x16\x03\x01"));  // a hello that goes on
      EXPECT_TRUE(silent.ends());
      EXPECT_TRUE(begins.ends());
    });
    co_await eventually([&] { return server.figures().connections == 0; }, "their end");
    server.shutdown();
  });
}
LEASH_TEST_REAL(Tls, IsServedAndVerified) {
  certificate own;
  if (!co_await own.made()) co_return;
  router r;
  r.get("/", [](request& q) { return q.secure() ? "secure" : "open"; });
  r.get("/large", [] { return std::string(1'000'000, 'x'); });
  http::server server(std::move(r), {.head_timeout = 1h});
  net::tcp_listener at("127.0.0.1:0");
  std::string const port = std::to_string(at.local_endpoint().port());
  (void)co_await with_scope([&](scope& s) -> task<> {
    s.go([&, at = std::move(at)]() mutable {
      return server.serve(std::move(at), net::tls_context::server_from_files(own.chain, own.key));
    });
    // No time is short here: reading what the system trusts takes long on a busy machine.
    http::client trusts({.connect_timeout = 1h, .timeout = 1h, .ca_file = own.chain});
    for (const char* host : {"localhost", "127.0.0.1"}) {
      auto a = co_await trusts.get("https://" + std::string(host) + ":" + port + "/");
      EXPECT_EQ(co_await a.text(), "secure") << host;
    }
    EXPECT_EQ((co_await (co_await trusts.get("https://localhost:" + port + "/large")).text()).size(), 1'000'000u);
    EXPECT_EQ(trusts.figures().connected, 2u);
    http::client knows_nobody({.connect_timeout = 1h, .timeout = 1h, .max_retries = 0});
    std::optional<http::failure::kind> why;
    try {
      (void)co_await knows_nobody.get("https://localhost:" + port + "/");
    } catch (const http::failure& e) {
      why = e.why();
    }
    EXPECT_EQ(why, http::failure::kind::insecure);
    co_await blocking([&] {
      raw plain(static_cast<std::uint16_t>(std::atoi(port.c_str())));
      EXPECT_NE(plain.ask(get("/")).status, 200);
    });
    server.shutdown();
  });
}

}  // namespace leash::test::http_tests
