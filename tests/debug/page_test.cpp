// The live page in a real browser, driven by page.mjs: what it shows, keys, no errors on the console.
#include "client.hpp"

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
  EXPECT_LT(r.body.size(), 40'000u);
  std::string const policy = r.headers.at("content-security-policy");
  std::size_t const at = policy.find("'nonce-");
  ASSERT_NE(at, policy.npos);
  EXPECT_NE(r.body.find("<script nonce=\"" + policy.substr(at + 7, 32) + "\">"), r.body.npos);
  EXPECT_EQ(r.body.find("@NONCE@"), r.body.npos);
  EXPECT_EQ(r.body.find("src=\"http"), r.body.npos);
  EXPECT_NE(get(s.port(), "/debug/leash").headers.at("content-security-policy"), policy);
}
// Names that would be markup if they were taken for it.
TEST(Page, ShowsTheProgramInABrowser) {
  std::string const chromium = browser();
  if (chromium.empty() || !have("node")) GTEST_SKIP() << "skipped: chromium or node is not installed";
  scene running(300);
  auto s = serve("127.0.0.1:0");
  const char* shots = std::getenv("LEASH_SHOTS");  // a folder for pictures, to be looked at
  scratch files;
  auto [text, code] = shell("timeout 100 node " LEASH_TESTS_DEBUG "/page.mjs " + chromium + " " + s.address() + " " +
                            (shots != nullptr ? shots : files.path("")));
  EXPECT_EQ(code, 0) << text;
  EXPECT_NE(text.find("all was as expected"), text.npos) << text;
}

}  // namespace leash::test::page_tests
