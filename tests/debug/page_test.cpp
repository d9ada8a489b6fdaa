// The live page in a real browser, driven by page.mjs: what it shows, keys, no errors on the console.
#include <filesystem>

#include "client.hpp"
#include "office.hpp"

namespace leash::test::page_tests {

using debug::serve;

std::string browser() {
  for (const char* name : {"chromium", "chromium-browser", "google-chrome"})
    if (have(name)) return name;
  return {};
}

TEST(Page, IsOneFileThatOnlyItsOwnScriptMayActIn) {
  auto s = serve("127.0.0.1:0");
  response const r = get(s.port(), "/debug/leash");
  EXPECT_EQ(r.headers.at("content-type"), "text/html; charset=utf-8");
  EXPECT_LT(r.body.size(), 60'000u);
  std::string const policy = r.headers.at("content-security-policy");
  std::size_t const at = policy.find("'nonce-");
  ASSERT_NE(at, policy.npos);
  EXPECT_NE(r.body.find("<script nonce=\"" + policy.substr(at + 7, 32) + "\">"), r.body.npos);
  EXPECT_EQ(r.body.find("@NONCE@"), r.body.npos);
  EXPECT_EQ(r.body.find("src=\"http"), r.body.npos);
  EXPECT_NE(get(s.port(), "/debug/leash").headers.at("content-security-policy"), policy);
}

std::string in_browser(const std::string& script, const std::string& address) {
  std::string const folder = LEASH_TESTS_SHOTS;  // the pictures stay there, to be looked at
  std::filesystem::create_directories(folder);
  auto [text, code] =
      shell("timeout 300 node " LEASH_TESTS_DEBUG "/" + script + " " + browser() + " " + address + " " + folder);
  EXPECT_EQ(code, 0) << text;
  EXPECT_NE(text.find("all was as expected"), text.npos) << text;
  return text;
}
#define NEEDS_BROWSER() \
  if (browser().empty() || !have("node")) GTEST_SKIP() << "skipped: chromium or node is not installed"

TEST(Page, ShowsTheProgramInABrowser) {
  NEEDS_BROWSER();
  scene running(300);
  auto s = serve("127.0.0.1:0");
  in_browser("page.mjs", s.address());
}
TEST(Page, HasPicturesOfEveryView) {
  NEEDS_BROWSER();
  office running;
  auto s = serve("127.0.0.1:0");
  in_browser("tour.mjs", s.address());
}

#if !LEASH_TSAN && !LEASH_ASAN
TEST(Page, IsUsedWithManyGoroutinesAlive) {
  NEEDS_BROWSER();
  std::size_t const many = 100'000;
  std::thread program([&] {
    options o;
    o.workers = 2;
    o.stuck_after = 500ms;  // all of them are suspects soon
    run(o, [&]() -> task<> {
      auto [tx, rx] = channel<int>();
      std::atomic<std::size_t> arrived{0};
      co_await with_scope([&](scope& s) -> task<> {
        for (std::size_t i = 0; i < many / 2; ++i) {
          s.go(
              [&](std::size_t n) -> task<> {
                label const l("user", std::to_string(n % 1000));
                co_await with_scope([&](scope& inner) -> task<> {
                  ++arrived;
                  inner.go([&]() -> task<> {
                    ++arrived;
                    (void)co_await rx.recv();
                  });
                  co_return;
                });
              },
              i);
        }
        while (arrived != many) co_await yield();
        auto served = serve("127.0.0.1:0");
        std::string const seen = co_await blocking([&] { return in_browser("speed.mjs", served.address()); });
        std::printf("%zu goroutines\n%s", many, seen.c_str());
        s.cancel("seen");
      });
    });
  });
  program.join();
}
#endif

}  // namespace leash::test::page_tests
