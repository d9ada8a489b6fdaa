// Requests, responses and fields, without a socket.
#include <leash/http.hpp>

#include "http/access.hpp"
#include "support/support.hpp"

namespace leash::test::http_tests {

using namespace http;

TEST(Fields, NamesAreFoundInAnyCase) {
  fields f;
  f.add("Content-Type", "text/plain").add("X-One", "1").add("x-one", "2");
  EXPECT_EQ(f.get("content-type"), "text/plain");
  EXPECT_EQ(f.get("X-ONE"), "1");
  EXPECT_EQ(f.count("x-One"), 2u);
  EXPECT_FALSE(f.has("X-On"));
  EXPECT_EQ(f.get("X-On"), "");
}
TEST(Fields, SettingReplacesAll) {
  fields f;
  f.add("A", "1").add("B", "2").add("a", "3");
  f.set("A", "4");
  EXPECT_EQ(f.lines(), "B: 2\r\nA: 4\r\n");
  f.set("B", f.get("B"));
  EXPECT_EQ(f.get("B"), "2");
  f.remove("b").remove("none");
  EXPECT_EQ(f.lines(), "A: 4\r\n");
}
TEST(Fields, AreWalkedInOrder) {
  fields f;
  f.lines() = "A:1\r\nB: \t 2 \t\r\nC:\r\n";
  std::string all;
  for (const fields::field& one : f) all += std::string(one.name) + "=" + std::string(one.value) + ";";
  EXPECT_EQ(all, "A=1;B=2;C=;");
}
TEST(Fields, NothingCanBeSmuggledIntoThem) {
  fields f;
  for (std::string_view bad :
       {std::string_view("a\r\nb"), std::string_view("a\nb"), std::string_view("a\rb"), std::string_view("a\0b", 3)})
    EXPECT_THROW(f.add("A", bad), std::invalid_argument);
  for (const char* bad : {"", "A B", "A:", "A\r\n", "Ä", "A\t"})
    EXPECT_THROW(f.add(bad, "x"), std::invalid_argument) << bad;
  EXPECT_TRUE(f.empty());
  EXPECT_THROW(response::redirect("/a\r\nSet-Cookie: x"), std::invalid_argument);
}
TEST(Fields, TokensOfAListAreFound) {
  EXPECT_TRUE(has_token("keep-alive, Upgrade", "upgrade"));
  EXPECT_TRUE(has_token("close", "Close"));
  EXPECT_FALSE(has_token("closed, not-close", "close"));
  EXPECT_FALSE(has_token("", "close"));
}

TEST(Percent, DecodesOrRefuses) {
  EXPECT_EQ(percent_decoded("a%20b%2Fc"), "a b/c");
  EXPECT_EQ(percent_decoded("a+b"), "a+b");
  EXPECT_EQ(percent_decoded("a+b", true), "a b");
  for (const char* bad : {"%", "%2", "%zz", "a%0", "%00"}) EXPECT_EQ(percent_decoded(bad), std::nullopt) << bad;
}

static void set(request& r, std::string_view method, std::string_view target) {
  std::string const line = std::string(method) + " " + std::string(target) + " HTTP/1.1";
  request_access::set_line(r, line, method, target, 11);
}
TEST(Request, TheTargetIsTakenApart) {
  request r;
  set(r, "GET", "/a/b?x=1&y=%2B+z&x=2&empty=&alone");
  EXPECT_EQ(r.method(), method::get);
  EXPECT_EQ(r.path(), "/a/b");
  EXPECT_EQ(r.query_text(), "x=1&y=%2B+z&x=2&empty=&alone");
  EXPECT_EQ(r.query("x"), "1");
  EXPECT_EQ(r.query("y"), "+ z");
  EXPECT_EQ(r.query("empty"), "");
  EXPECT_EQ(r.query("alone"), "");
  EXPECT_EQ(r.query("none"), std::nullopt);
  set(r, "PROPFIND", "http://host:80/p?q");
  EXPECT_EQ(r.method(), method::other);
  EXPECT_EQ(r.method_name(), "PROPFIND");
  EXPECT_EQ(r.path(), "/p");
  EXPECT_EQ(r.query_text(), "q");
  set(r, "OPTIONS", "*");
  EXPECT_EQ(r.target(), "*");
  set(r, "GET", "http://host");
  EXPECT_EQ(r.path(), "");
  set(r, "GET", "/p#f?no");
  EXPECT_EQ(r.path(), "/p");
  EXPECT_EQ(r.query_text(), "");
}
TEST(Request, MethodsKnowWhatMayBeSentTwice) {
  EXPECT_TRUE(idempotent(method::get));
  EXPECT_TRUE(idempotent(method::put));
  EXPECT_FALSE(idempotent(method::post));
  EXPECT_FALSE(idempotent(method::patch));
  EXPECT_EQ(method_of("get"), method::other) << "the case counts";
  EXPECT_EQ(name_of(method::delete_), "DELETE");
}
TEST(Response, ErrorsHaveABody) {
  EXPECT_EQ(std::get<std::string>(response(404).body), "Not Found\n");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(response(204).body));
}

TEST(Url, IsTakenApart) {
  url u = url::parse("https://Example.org:8443/a?b#c");
  EXPECT_TRUE(u.secure);
  EXPECT_EQ(u.host, "Example.org");
  EXPECT_EQ(u.port, 8443);
  EXPECT_EQ(u.target, "/a?b");
  EXPECT_EQ(url::parse("http://h").target, "/");
  EXPECT_EQ(url::parse("http://h?q").target, "/?q");
  EXPECT_EQ(url::parse("http://[::1]:80/").host, "::1");
  EXPECT_EQ(url::parse("http://[::1]:81/").authority(), "[::1]:81");
  EXPECT_EQ(url::parse("HTTPS://h/").authority(), "h");
  for (const char* bad : {"", "h", "ftp://h/", "http://", "http:///a", "http://h:0/", "http://h:x/", "http://h:99999/",
                          "http://u@h/", "http://h/a b", "http://h/\r\nX: y", "http://[::1", "http://h\\a"})
    EXPECT_THROW((void)url::parse(bad), failure) << bad;
}
TEST(Url, ReferencesAreResolved) {
  url const u = url::parse("http://h:81/a/b?c");
  EXPECT_EQ(u.resolved("https://x/y").text(), "https://x:443/y");
  EXPECT_EQ(u.resolved("//x/y").text(), "http://x:80/y");
  EXPECT_EQ(u.resolved("/y").text(), "http://h:81/y");
  EXPECT_EQ(u.resolved("y").text(), "http://h:81/a/y");
  EXPECT_EQ(u.resolved("../y").text(), "http://h:81/y");
  EXPECT_EQ(u.resolved("../../../y/./z/..").text(), "http://h:81/y/");
  EXPECT_EQ(u.resolved("?d").text(), "http://h:81/a/b?d");
  EXPECT_EQ(u.resolved("/r?u=http://x/").text(), "http://h:81/r?u=http://x/");
}

TEST(Events, AreWrittenAsBrowsersReadThem) {
  EXPECT_EQ(text_of({"a"}), "data: a\n\n");
  EXPECT_EQ(text_of({"a\nb\r\nc\rd"}), "data: a\ndata: b\ndata: c\ndata: d\n\n");
  EXPECT_EQ(text_of({"", "n\nx", "7"}), "event: nx\nid: 7\ndata: \n\n");
  EXPECT_EQ(text_of({"a", {}, {}, std::chrono::milliseconds(5)}), "retry: 5\ndata: a\n\n");
}

}  // namespace leash::test::http_tests
