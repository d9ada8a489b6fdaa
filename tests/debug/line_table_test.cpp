// DWARF's line programs, made by hand: whole, cut and damaged; and those of this program.
#include "debug/line_table.hpp"

#include <link.h>

#include <filesystem>
#include <random>
#include <sstream>

#include "client.hpp"
#include "debug/native_symbols.hpp"

namespace leash::test::line_table_tests {

using debug::line_search;

template <class T>
std::string fixed(T v) {
  return {reinterpret_cast<const char*>(&v), sizeof v};
}
std::string number(std::uint64_t n) {
  std::string s;
  for (; n >= 128; n >>= 7) s += static_cast<char>(n | 128);
  return s + static_cast<char>(n);
}
std::string text(std::string_view s) { return std::string(s) + '\0'; }

constexpr std::uint8_t arguments[] = {0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1};
std::string program_of(std::uint64_t from) {
  std::string p;
  p += '\0' + number(9) + '\2' + fixed(from);  // set address
  p += '\3' + number(9);                       // line 10
  p += '\1';                                   // a row
  p += '\2' + number(4);                       // four bytes on
  p += '\4' + number(1);                       // the first file
  p += '\3' + std::string("\x7d");             // three lines back: 7
  p += '\1';
  p += static_cast<char>(13 + 4 - (-5) + 14 * 8);  // by one opcode: 8 bytes, 4 lines: 11
  p += '\2' + number(16);
  p += '\0' + number(1) + '\1';  // the end
  return p;
}
std::string unit_of(std::uint16_t version, std::uint64_t from) {
  std::string head = '\1' + (version >= 4 ? std::string("\1") : "") + '\1' + '\xfb' + '\x0e' + '\x0d';
  head.append(reinterpret_cast<const char*>(arguments), sizeof arguments);
  if (version < 5) {
    head += text("src") + '\0';
    head += text("a.cpp") + number(1) + number(0) + number(0) + '\0';
  } else {
    head += '\1' + number(1) + number(0x1f);  // folders: a path, in .debug_line_str
    head += number(2) + fixed(std::uint32_t{0}) + fixed(std::uint32_t{5});
    head += '\2' + number(1) + number(0x08) + number(2) + number(0x0b);  // files: a path, its folder
    head += number(2) + text("main.cpp") + '\0' + text("a.cpp") + '\1';
  }
  std::string body = fixed(version);
  if (version == 5) body += "\x08" + std::string(1, '\0');
  body += fixed(static_cast<std::uint32_t>(head.size())) + head + program_of(from);
  return fixed(static_cast<std::uint32_t>(body.size())) + body;
}
const std::string texts = text("/top") + text("src");

std::map<std::uint64_t, debug::source_line> found(const std::string& programs, std::vector<std::uint64_t> wanted) {
  line_search s(programs, texts, {}, std::move(wanted));
  while (s.step()) {
  }
  return s.found;
}

TEST(LineTable, SaysWhichLineAnInstructionWasMadeFrom) {
  for (std::uint16_t version : {2, 3, 4, 5}) {
    auto const lines =
        found(unit_of(4, 0x900) + unit_of(version, 0x1000), {0x1000, 0x1003, 0x1004, 0x100b, 0x100c, 0x101b});
    ASSERT_EQ(lines.size(), 6u) << version;
    EXPECT_EQ(lines.at(0x1000).line, 10u);
    EXPECT_EQ(lines.at(0x1003).line, 10u);
    EXPECT_EQ(lines.at(0x1004).line, 7u);
    EXPECT_EQ(lines.at(0x100b).line, 7u);
    EXPECT_EQ(lines.at(0x100c).line, 11u);
    EXPECT_EQ(lines.at(0x101b).line, 11u);
    EXPECT_EQ(lines.at(0x1000).file, version == 5 ? "/top/src/a.cpp" : "src/a.cpp");
  }
}
TEST(LineTable, KnowsNothingBeyondItsSequences) {
  EXPECT_TRUE(found(unit_of(5, 0x1000), {0xfff, 0x101c}).empty());
  EXPECT_TRUE(found(unit_of(5, 0), {4}).empty()) << "code that the linker has left out";
  EXPECT_TRUE(found(unit_of(6, 0x1000), {0x1000}).empty()) << "a version that is not known";
  EXPECT_EQ(found(unit_of(6, 0x1000) + unit_of(5, 0x1000), {0x1000}).size(), 1u) << "and the units after it";
  EXPECT_TRUE(found("", {0x1000}).empty());
}
TEST(LineTable, SaysWhatLlvmSaysOfThisProgram) {
  if (!have("llvm-symbolizer-19")) GTEST_SKIP() << "skipped: llvm-symbolizer-19 is not installed";
  struct segment {
    std::uint64_t base = 0, from = 0, bytes = 0;
  } here;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* to) {
        for (int i = 0; i < info->dlpi_phnum; ++i)
          if (auto const& p = info->dlpi_phdr[i]; p.p_type == PT_LOAD && (p.p_flags & PF_X) != 0)
            *static_cast<segment*>(to) = {info->dlpi_addr, p.p_vaddr, p.p_memsz};
        return 1;  // the program itself comes first
      },
      &here);
  ASSERT_NE(here.bytes, 0u);
  std::mt19937_64 random(5);
  std::vector<std::uint64_t> places;
  debug::native_symbols symbols;
  folder files;
  std::string asked;
  for (int i = 0; i < 3000; ++i) {
    places.push_back(here.from + random() % here.bytes);
    symbols.want_line(here.base + places.back());
    char text[24];
    std::snprintf(text, sizeof text, "0x%llx\n", static_cast<unsigned long long>(places.back()));
    asked += text;
  }
  while (symbols.find_lines()) {
  }
  auto [said, code] = shell("llvm-symbolizer-19 --obj=/proc/" + std::to_string(getpid()) +
                            "/exe --output-style=GNU --functions=none --no-inlines < " + files.write("asked", asked));
  ASSERT_EQ(code, 0) << said;
  std::istringstream lines(said);
  std::size_t known = 0;
  for (std::uint64_t place : places) {
    std::string theirs;
    ASSERT_TRUE(std::getline(lines, theirs));
    theirs = theirs.substr(0, theirs.find(" (discriminator"));
    debug::source_line const ours = symbols.at(here.base + place).line;
    if (theirs.ends_with(":0") || theirs.ends_with(":?")) {
      EXPECT_EQ(ours.line, 0u) << theirs << ", but " << ours.file;
      continue;
    }
    ++known;
    auto whole = [](const std::string& path) { return std::filesystem::path(path).lexically_normal().string(); };
    std::string const file = ours.file.substr(ours.file.starts_with("./") ? 2 : 0);
    EXPECT_TRUE(whole(theirs).ends_with(whole(file + ":" + std::to_string(ours.line)))) << theirs << " " << file;
  }
  EXPECT_GT(known, places.size() / 2);
}
TEST(LineTable, SurvivesWhatIsDamaged) {
  std::mt19937 random(3);
  std::string const whole = unit_of(4, 0x1000) + unit_of(5, 0x2000);
  ASSERT_EQ(found(whole, {0x1000, 0x2000}).size(), 2u);
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_LE(found(whole.substr(0, n), {0x1000, 0x2000}).size(), 2u);
  for (int round = 0; round < 20'000; ++round) {
    std::string damaged = whole;
    for (int k = 0; k < 3; ++k) damaged[random() % damaged.size()] = static_cast<char>(random());
    EXPECT_LE(found(damaged, {0x1000, 0x2000}).size(), 2u);
  }
}

}  // namespace leash::test::line_table_tests
