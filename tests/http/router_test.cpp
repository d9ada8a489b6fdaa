// Which route a path takes.
#include "http/access.hpp"
#include "leash/http.hpp"
#include "support/support.hpp"

namespace leash::test::http_tests {

using namespace http;

struct asked {
  request r;
  router::match m;
  asked(const router& routes, std::string_view method, std::string_view target) {
    request_access::set_line(r, std::string(method) + " " + std::string(target) + " HTTP/1.1", method, target, 11);
    m = routes.find(r);
  }
  std::string taken() const { return m.found != nullptr ? m.found->pattern : std::to_string(m.status); }
};
static std::string taken(const router& r, std::string_view method, std::string_view target) {
  return asked(r, method, target).taken();
}
static response nothing() { return response(); }

TEST(Router, TakesTheMostLiteralRoute) {
  router r;
  r.get("/files/{path...}", nothing).get("/files/{name}", nothing).get("/files/special", nothing).get("/", nothing);
  EXPECT_EQ(taken(r, "GET", "/files/special"), "/files/special");
  EXPECT_EQ(taken(r, "GET", "/files/other"), "/files/{name}");
  EXPECT_EQ(taken(r, "GET", "/files/a/b"), "/files/{path...}");
  EXPECT_EQ(taken(r, "GET", "/files/"), "/files/{path...}") << "a rest may be empty, a parameter may not";
  EXPECT_EQ(taken(r, "GET", "/files"), "404");
  EXPECT_EQ(taken(r, "GET", "/"), "/");
  EXPECT_EQ(taken(r, "GET", "/?q"), "/");
  EXPECT_EQ(taken(r, "GET", "//"), "404");
}
TEST(Router, ALiteralThatLeadsNowhereDoesNotHideAParameter) {
  router r;
  r.get("/a/b/c", nothing).get("/a/{x}/d", nothing).get("/{y}/b/e", nothing).get("/{rest...}", nothing);
  EXPECT_EQ(taken(r, "GET", "/a/b/c"), "/a/b/c");
  EXPECT_EQ(taken(r, "GET", "/a/b/d"), "/a/{x}/d");
  EXPECT_EQ(taken(r, "GET", "/a/b/e"), "/{y}/b/e");
  EXPECT_EQ(taken(r, "GET", "/a/b/f"), "/{rest...}");
}
TEST(Router, ParametersAreDecodedAfterThePathIsSplit) {
  router r;
  r.get("/u/{id}/p/{post}", nothing).get("/f/{path...}", nothing);
  asked a(r, "GET", "/u/a%2Fb/p/%C3%A4+");
  EXPECT_EQ(a.r.param("id"), "a/b");
  EXPECT_EQ(a.r.param("post"), "ä+");
  EXPECT_EQ(a.r.route(), "/u/{id}/p/{post}");
  EXPECT_THROW((void)a.r.param("other"), std::out_of_range);
  EXPECT_EQ(asked(r, "GET", "/f/a/../b%20c").r.param("path"), "a/../b c") << "dots are the handler's";
  EXPECT_EQ(taken(r, "GET", "/u/%zz/p/1"), "400");
  EXPECT_EQ(taken(r, "GET", "/u/%00/p/1"), "400");
}
TEST(Router, MethodsThatAPathHasNotAreToldWhichItHas) {
  router r;
  r.get("/a", nothing).post("/a", nothing).handle("PUT DELETE", "/b", nothing).handle("*", "/c", nothing);
  asked put(r, "PUT", "/a");
  EXPECT_EQ(put.m.status, 405);
  EXPECT_EQ(put.m.allow, "GET, POST, HEAD, OPTIONS");
  EXPECT_EQ(taken(r, "DELETE", "/b"), "/b");
  EXPECT_EQ(taken(r, "GET", "/b"), "405");
  EXPECT_EQ(taken(r, "HEAD", "/b"), "405");
  EXPECT_EQ(taken(r, "BREW", "/c"), "/c");
  EXPECT_EQ(taken(r, "PUT", "/none"), "404");
}
TEST(Router, HeadAndOptionsNeedNoRoutes) {
  router r;
  r.get("/a", nothing);
  EXPECT_EQ(taken(r, "HEAD", "/a"), "/a");
  asked options(r, "OPTIONS", "/a");
  EXPECT_EQ(options.m.status, 204);
  EXPECT_EQ(options.m.allow, "GET, HEAD, OPTIONS");
  EXPECT_EQ(taken(r, "OPTIONS", "*"), "204");
  EXPECT_EQ(taken(r, "GET", "*"), "404");
  EXPECT_EQ(taken(r, "CONNECT", "host:1"), "404");
}
TEST(Router, WhatIsNoPatternIsRefused) {
  router r;
  for (const char* bad : {"", "a", "/{}", "/{...}", "/{a}/{a}", "/{a...}/b", "/a{b}", "/{a}b", "/a}"})
    EXPECT_THROW(r.get(bad, nothing), std::invalid_argument) << bad;
  r.get("/a/{b}", nothing);
  EXPECT_THROW(r.get("/a/{c}", nothing), std::logic_error) << "the same, whatever its parameters are called";
  EXPECT_THROW(r.handle("", "/x", nothing), std::invalid_argument);
  EXPECT_NO_THROW(r.post("/a/{c}", nothing));
}

LEASH_TEST(Handlers, MayBeWrittenInManyForms) {
  router r;
  r.get("/1", [](request&) -> task<response> { co_return response("task"); });
  r.get("/2", [](request& q) { return std::string(q.path()); });
  r.get("/3", [] { return "text"; });
  r.get("/4", []() -> task<std::string> { co_return "later"; });
  r.get("/5", [](const request&) -> task<std::string_view> { co_return "view"; });
  r.get("/6", nothing);
  for (auto const& [target, text] :
       {std::pair{"/1", "task"}, {"/2", "/2"}, {"/3", "text"}, {"/4", "later"}, {"/5", "view"}, {"/6", ""}}) {
    asked a(r, "GET", target);
    CO_ASSERT_TRUE(a.m.found != nullptr);
    response made = co_await a.m.found->call(a.r);
    auto* body = std::get_if<std::string>(&made.body);
    EXPECT_EQ(body != nullptr ? *body : "", text);
  }
}
LEASH_TEST(Handlers, AreWrappedFromTheirTurnOn) {
  router r;
  r.get("/before", [] { return "x"; });
  r.wrap(
      [](request& q, const handler& next) -> task<response> { co_return (co_await next(q)).header("X-Outer", "1"); });
  r.wrap([](request& q, const handler& next) -> task<response> {
    if (q.query("deny")) co_return response(403);
    co_return (co_await next(q)).header("X-Inner", "1");
  });
  r.get("/after", [] { return "x"; });
  asked before(r, "GET", "/before"), after(r, "GET", "/after"), denied(r, "GET", "/after?deny");
  EXPECT_FALSE((co_await before.m.found->call(before.r)).headers.has("X-Outer"));
  response const both = co_await after.m.found->call(after.r);
  EXPECT_EQ(both.headers.lines(), "Content-Type: text/plain; charset=utf-8\r\nX-Inner: 1\r\nX-Outer: 1\r\n");
  response const no = co_await denied.m.found->call(denied.r);
  EXPECT_EQ(no.status, 403);
  EXPECT_FALSE(no.headers.has("X-Inner"));
  EXPECT_TRUE(no.headers.has("X-Outer"));
}

}  // namespace leash::test::http_tests
