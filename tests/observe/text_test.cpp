// Functions' names without what makes them long, and texts as other formats want them.
#include "observe/text.hpp"

#include "support/support.hpp"

namespace leash::test::text_tests {

TEST(PlainFunction, LosesResultAndParameters) {
  struct {
    const char *pretty, *plain;
  } const all[] = {
      {"task<> relay(receiver<int>, sender<int>)", "relay"},
      {"int main()", "main"},
      {"main", "main"},
      {"leash::task<std::map<int, std::string> > ns::f(const std::function<void (int)> &)", "ns::f"},
      {"auto talk()::(anonymous class)::operator()(leash::scope &) const", "talk::lambda"},
      {"auto leash::test::(anonymous namespace)::stand(std::size_t)::(anonymous class)::operator()(scope "
       "&)::(anonymous "
       "class)::operator()() const",
       "leash::test::stand::lambda::lambda"},
      {"task<maybe_t<R>> leash::run_scope(scope_options, kept_body<B>) [R = void, B = (lambda at a.cpp:1:2)]",
       "leash::run_scope"},
      {"task<int> box<int>::operator()(int)", "box<int>::operator()"},
      {"bool operator<(const a &, const b &)", "operator<"},
      {"char *text(int)", "text"},
      {"leash::task<void> f(T) [with T = int]", "f"},
      {"talk()::<lambda(leash::scope&)>", "talk::<lambda>"},
      {"", ""},
      {"(", "("},
      {"a(b", "a(b"},
  };
  for (auto& one : all) EXPECT_EQ(plain_function(one.pretty), one.plain) << one.pretty;
  // What a compiler says of this very place.
  auto here = [] { return plain_function(std::source_location::current().function_name()); };
  EXPECT_TRUE(here().ends_with("TestBody::lambda")) << here();
}
TEST(Text, JsonStringsAreEscapedAndUtf8) {
  auto json = [](std::string_view s) {
    std::string out;
    append_json(out, s);
    return out;
  };
  EXPECT_EQ(json("a\"b\\c\n\t\r\x01"), "\"a\\\"b\\\\c\\n\\t\\r\\u0001\"");
  EXPECT_EQ(json("gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\x95"), "\"gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\x95\"");
  EXPECT_EQ(json("\xff"), "\"\xEF\xBF\xBD\"");
  for (std::string_view bad :
       {"\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC3", "\xE2\x82", "\x80"})
    EXPECT_EQ(valid_utf8(bad).find(bad), std::string::npos);
  EXPECT_EQ(valid_utf8("\xC3(x"), "\xEF\xBF\xBD(x");
}
TEST(Text, OneLineIsWhatATerminalShowsAndNeverObeys) {
  EXPECT_EQ(one_line("gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\x95 \\ \"q\""), "gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\x95 \\ \"q\"");
  EXPECT_EQ(one_line("a\nb\tc\rd\x1b[31m\x7f"), "a\\nb\\tc\\rd\\x1b[31m\\x7f");
  EXPECT_EQ(one_line(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(one_line("\xC2\x80\xC2\x9B\xC2\xA0\xE2\x80\xA7\xE2\x80\xA8\xE2\x80\xA9"),
            "\\u0080\\u009b\xC2\xA0\xE2\x80\xA7\\u2028\\u2029");
  EXPECT_EQ(one_line("\xff|\xC3|\xE2\x82"), "\\xff|\\xc3|\\xe2\\x82");
  std::string const longest = std::string(100, 'a') + std::string(100, '\n');
  EXPECT_TRUE(one_line(longest).ends_with("\\n\\n"));
  EXPECT_EQ(one_line(longest + "b"), one_line(longest) + "...");
  EXPECT_EQ(one_line(std::string(1'000'000, 'x')), std::string(200, 'x') + "...");
}

}  // namespace leash::test::text_tests
