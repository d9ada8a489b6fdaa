// The server itself: what it answers, to whom, and what the rude cost it.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <filesystem>

#include "client.hpp"

namespace leash::test::http_tests {

using debug::serve;

TEST(Serve, TakesAFreePortAndTellsIt) {
  auto s = serve("127.0.0.1:0");
  EXPECT_NE(s.port(), 0);
  EXPECT_EQ(s.address(), "http://127.0.0.1:" + std::to_string(s.port()) + "/debug/leash");
  EXPECT_EQ(get(s.port(), "/debug/pprof/").status, 200);
}
TEST(Serve, EndsWithItsServer) {
  unsigned short port;
  {
    auto s = serve("localhost:0");
    port = s.port();
    auto moved = std::move(s);
    EXPECT_EQ(get(port, "/debug/pprof/").status, 200);
  }
  EXPECT_EQ(get(port, "/debug/pprof/").status, 0);
}
TEST(Serve, EndsWhileConnectionsAreOpenAndRepliesAreUnderWay) {
  scene running(2000);
  auto s = std::make_unique<debug::server>(serve("127.0.0.1:0"));
  connection idle(s->port()), reading(s->port());
  EXPECT_TRUE(reading.write("GET /debug/pprof/goroutine?debug=2 HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  s.reset();
  EXPECT_TRUE(idle.ends());
}
TEST(Serve, AnAddressThatIsTakenIsAnError) {
  auto s = serve("127.0.0.1:0");
  EXPECT_THROW((void)serve("127.0.0.1:" + std::to_string(s.port())), std::system_error);
}
TEST(Serve, WhatIsNoAddressIsRefused) {
  for (const char* bad :
       {"", "6060", "localhost", "localhost:", "localhost:x", "localhost:70000", "example.org:80", "1.2.3:1"})
    EXPECT_THROW((void)serve(bad), std::invalid_argument) << bad;
}
TEST(Serve, ListensOnAUnixSocketOfThisUser) {
  folder files;
  std::string const path = files.file("debug.sock");
  {
    scene running;
    auto s = serve("unix:" + path);
    EXPECT_EQ(s.address(), "unix:" + path);
    EXPECT_EQ(s.port(), 0);
    struct stat st;
    ASSERT_EQ(::stat(path.c_str(), &st), 0);
    EXPECT_TRUE(S_ISSOCK(st.st_mode));
    EXPECT_EQ(st.st_mode & 0777, 0600u);
    connection c(path), other(path);
    response const r = get(c, "/debug/pprof/goroutine?debug=2");
    EXPECT_EQ(r.status, 200);
    EXPECT_TRUE(r.whole);
    EXPECT_NE(r.body.find("chan receive"), r.body.npos);
    EXPECT_EQ(get(other, "/metrics", {}, "evil.example").status, 421) << "the rules are the same";
    EXPECT_THROW((void)serve("unix:" + path), std::system_error) << "in use";
  }
  EXPECT_FALSE(std::filesystem::exists(path)) << "gone with the server";
}
TEST(Serve, AUnixSocketThatWasLeftBehindIsReplacedAnotherFileIsNot) {
  folder files;
  std::string const path = files.file("debug.sock");
  int const fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  path.copy(to.sun_path, sizeof to.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  ::close(fd);  // the file stays
  auto s = serve("unix:" + path);
  connection c(path);
  EXPECT_EQ(get(c, "/debug/pprof/").status, 200);
  std::string const text = files.write("text", "precious");
  EXPECT_THROW((void)serve("unix:" + text), std::system_error);
  EXPECT_TRUE(std::filesystem::is_regular_file(text));
  EXPECT_THROW((void)serve("unix:"), std::invalid_argument);
  EXPECT_THROW((void)serve("unix:" + std::string(200, 'x')), std::invalid_argument);
  EXPECT_THROW((void)serve("unix:" + files.file("none/at/all")), std::system_error);
}
TEST(Serve, BeyondLoopbackATokenIsNeeded) {
  EXPECT_THROW((void)serve("0.0.0.0:0"), std::invalid_argument);
  EXPECT_THROW((void)serve(":0"), std::invalid_argument);
  auto s = serve("0.0.0.0:0", {.token = "open sesame"});
  EXPECT_EQ(get(s.port(), "/metrics").status, 401);
  EXPECT_EQ(get(s.port(), "/metrics", "Authorization: Bearer open sesam\r\n").status, 401);
  EXPECT_EQ(get(s.port(), "/metrics?token=open").status, 401);
  EXPECT_EQ(get(s.port(), "/metrics", "Authorization: Bearer open sesame\r\n").status, 200);
  EXPECT_EQ(get(s.port(), "/metrics?token=open%20sesame").status, 200);
}
TEST(Serve, OtherHostNamesAreRefused) {
  auto s = serve("127.0.0.1:0", {.hosts = {"Pod.internal"}});
  for (const char* good :
       {"localhost", "LOCALHOST:6060", "127.0.0.1", "127.0.0.1:80", "[::1]:6060", "10.0.0.7", "pod.internal:1"})
    EXPECT_EQ(get(s.port(), "/debug/pprof/", {}, good).status, 200) << good;
  for (const char* bad :
       {"evil.example", "evil.example:6060", "localhost.evil.example", "127.0.0.1.evil.example", "", "[", "[evil]"})
    EXPECT_EQ(get(s.port(), "/debug/pprof/", {}, bad).status, 421) << bad;
  EXPECT_EQ(get(s.port(), "/debug/pprof/", "Host: evil.example\r\n").status, 400) << "two of them";
}
TEST(Serve, PagesOfOtherSitesMayOnlyLinkHere) {
  auto s = serve("127.0.0.1:0");
  EXPECT_EQ(get(s.port(), "/debug/leash", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n").status, 200);
  EXPECT_EQ(get(s.port(), "/debug/leash", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n").status, 403);
}
TEST(Serve, AnswersOneAfterTheOtherOnOneConnection) {
  auto s = serve("127.0.0.1:0");
  connection c(s.port());
  std::string const q = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
  ASSERT_TRUE(c.write(q + q));
  for (int i = 0; i < 2; ++i) {
    response const r = c.read();
    EXPECT_EQ(r.status, 200);
    EXPECT_TRUE(r.whole);
  }
  ASSERT_TRUE(c.write(q));
  EXPECT_EQ(c.read().status, 200);
}
TEST(Serve, HeadGivesNoBody) {
  auto s = serve("127.0.0.1:0");
  connection c(s.port());
  ASSERT_TRUE(c.write("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
  std::string const all = c.read_all();
  EXPECT_TRUE(all.starts_with("HTTP/1.1 200")) << all;
  EXPECT_TRUE(all.ends_with("\r\n\r\n")) << all;
}
TEST(Serve, OldClientsGetTheirReplyUpToTheEnd) {
  scene running;
  auto s = serve("127.0.0.1:0");
  connection c(s.port());
  ASSERT_TRUE(c.write("GET /debug/pprof/goroutine?debug=2 HTTP/1.0\r\n\r\n"));
  std::string const all = c.read_all();
  EXPECT_EQ(all.find("Transfer-Encoding"), all.npos);
  EXPECT_NE(all.find("\r\n\r\ngoroutine "), all.npos) << all;
}
TEST(Serve, UnknownPathsAndMethods) {
  auto s = serve("127.0.0.1:0");
  EXPECT_EQ(get(s.port(), "/nowhere").status, 404);
  response const r = get(s.port(), "/debug/pprof/heap");
  EXPECT_EQ(r.status, 404);
  EXPECT_EQ(r.body, "Unknown profile\n");
  EXPECT_EQ(get(s.port(), "/").headers["location"], "/debug/leash");
  EXPECT_EQ(get(s.port(), "/debug/pprof").headers["location"], "/debug/pprof/");
  EXPECT_EQ(get(s.port(), "/debug/pprof/goroutine?debug=x").status, 400);
  EXPECT_EQ(get(s.port(), "/debug/pprof/goroutine?seconds=5").status, 400);
  EXPECT_EQ(get(s.port(), "/%zz").status, 400);
  connection c(s.port());
  ASSERT_TRUE(c.write("DELETE /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  EXPECT_EQ(c.read().status, 405);
}
TEST(Serve, RequestsThatAreTooLargeOrNoneAreRefused) {
  auto s = serve("127.0.0.1:0");
  struct {
    std::string sent;
    int status;
  } const all[] = {
      {"GET /" + std::string(100'000, 'a') + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 431},
      {"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(100'000, 'a') + "\r\n\r\n", 431},
      {"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 413},
      {"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", 413},
      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
      {"GET nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"GET / HTTP/9.9\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},
  };
  for (auto& one : all) {
    connection c(s.port());
    c.write(one.sent);
    EXPECT_EQ(c.read().status, one.status) << one.sent.substr(0, 60);
  }
  EXPECT_EQ(get(s.port(), "/metrics").status, 200);
}
TEST(Serve, RandomBytesDoNoHarm) {
  auto s = serve("127.0.0.1:0", {.max_requests_per_second = 100'000});
  std::uint64_t random = 7;
  auto next = [&] { return random = random * 6364136223846793005u + 1442695040888963407u, random >> 33; };
  std::string const parts[] = {"GET ",
                               "/debug/pprof/goroutine",
                               "?debug=2",
                               "&",
                               "%",
                               "%41",
                               " HTTP/1.1",
                               "\r\n",
                               "Host: localhost",
                               "\r\n\r\n",
                               ":",
                               "Transfer-Encoding: chunked",
                               "ffffffffffffffff",
                               "Content-Length: ",
                               "-1",
                               "\0",
                               "\xff",
                               "HEAD "};
  for (int i = 0; i < 300; ++i) {
    std::string sent;
    for (std::uint64_t n = next() % 12 + 1; n > 0; --n) sent += parts[next() % std::size(parts)];
    for (std::uint64_t n = next() % 3; n > 0 && !sent.empty(); --n)
      sent[next() % sent.size()] = static_cast<char>(next());
    connection c(s.port());
    c.write(sent);
  }
  EXPECT_EQ(get(s.port(), "/metrics").status, 200);
}
TEST(Serve, NewConnectionsTakeThePlaceOfIdleOnes) {
  auto s = serve("127.0.0.1:0", {.max_connections = 4});
  std::vector<std::unique_ptr<connection>> idle;
  for (int i = 0; i < 20; ++i) idle.push_back(std::make_unique<connection>(s.port()));
  EXPECT_EQ(get(s.port(), "/metrics").status, 200);
  EXPECT_TRUE(idle.front()->ends());
}
TEST(Serve, MoreRequestsThanAllowedAreToldToComeLater) {
  auto s = serve("127.0.0.1:0", {.max_requests_per_second = 1});
  EXPECT_EQ(get(s.port(), "/debug/pprof/cmdline").status, 200);
  int refused = 0;
  for (int i = 0; i < 20; ++i) {
    response const r = get(s.port(), "/debug/pprof/cmdline");
    if (r.status != 429) continue;
    ++refused;
    EXPECT_EQ(r.headers.at("retry-after"), "1");
  }
  EXPECT_GE(refused, 10);
}
TEST(Serve, WhoDoesNotReadHoldsUpNobody) {
  scene running(20'000);
  auto s = serve("127.0.0.1:0");
  std::vector<std::unique_ptr<connection>> lazy;
  for (int i = 0; i < 8; ++i) {
    lazy.push_back(std::make_unique<connection>(s.port()));
    ASSERT_TRUE(lazy.back()->write("GET /debug/pprof/goroutine?debug=2 HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  }
  EXPECT_EQ(get(s.port(), "/metrics").status, 200);
}
TEST(Serve, AnswersWhileTheSchedulerIsStuck) {
  std::atomic<bool> stuck{false}, release{false};
  std::thread program([&] {
    options o;
    o.workers = 1;
    run(o, [&] {
      stuck = true;
      while (!release) std::this_thread::yield();
    });
  });
  while (!stuck) std::this_thread::yield();
  auto s = serve("127.0.0.1:0");
  response const r = get(s.port(), "/debug/pprof/goroutine?debug=2");
  EXPECT_NE(r.body.find("[running]:\ncreated by"), r.body.npos) << r.body;
  release = true;
  program.join();
}
TEST(Serve, BeforeAndAfterRunsThereIsNothing) {
  auto s = serve("127.0.0.1:0");
  EXPECT_EQ(get(s.port(), "/debug/pprof/goroutine?debug=1").body, "goroutine profile: total 0\n");
  {
    scene running;
  }
  EXPECT_EQ(get(s.port(), "/debug/pprof/goroutine?debug=2").body, "");
}

}  // namespace leash::test::http_tests
