// Every form of profile that Go 1.19 to 1.27 and leash give, and what is no profile.
#include "read.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>

#include "sites.hpp"
#include "support.hpp"

namespace leash::cli {
namespace {

using test::corpus;
using test::read_all;

class Reading : public ::testing::Test {
 protected:
  profile read(std::string bytes) { return read_profile(std::move(bytes), s, "it"); }
  profile read_corpus(const std::string& name) { return read(read_all(corpus / name)); }

  const group* group_in(const profile& p, std::string_view function) const {
    for (const group& g : p.groups) {
      for (id f : s.frames(g.stack)) {
        if (s.function(f) == function) return &g;
      }
    }
    return nullptr;
  }
  std::string error_of(std::string bytes) {
    try {
      read(std::move(bytes));
    } catch (const input_error& e) {
      return e.what();
    }
    return "no error";
  }

  symbols s;
};

std::string packed(const std::string& bytes) {
  z_stream z{};
  deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, bytes.size()), 0);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

// ---- real ones: six goroutines leaked in watch(), each with its own label -----------------------------------------
TEST_F(Reading, real_profiles_of_all_forms_and_versions_agree) {
  for (const std::string version : {"go119", "go126", "go127"}) {
    for (const char* form : {".pb.gz", ".counts.txt", ".dump.txt"}) {
      SCOPED_TRACE(version + form);
      const profile p = read_corpus(version + form);
      const group* g = group_in(p, "main.watch");
      ASSERT_NE(g, nullptr);
      EXPECT_EQ(g->count, 6u) << "labels do not split a stack";
      EXPECT_FALSE(g->leaked);
      EXPECT_FALSE(p.cut);
      EXPECT_EQ(p.total, [&] {
        std::uint64_t n = 0;
        for (const group& each : p.groups) n += each.count;
        return n;
      }());
      if (p.form != profile_form::counts) {
        EXPECT_EQ(s.text(g->state), "select");
      }
      const stack_sight seen = look_at(g->stack, g->state, s);
      EXPECT_EQ(s.function(seen.key.wait), "main.watch");
      EXPECT_EQ(s.text(seen.key.entry), "main.watch");
      EXPECT_TRUE(s.file(seen.key.wait).ends_with("leaks.go"));
      EXPECT_EQ(seen.kind, nature::ordinary);
    }
  }
}
TEST_F(Reading, labels_are_kept_beside_the_group) {
  for (const char* name : {"go126.pb.gz", "go126.counts.txt", "go126.dump.txt"}) {
    SCOPED_TRACE(name);
    const profile p = read_corpus(name);
    std::uint64_t sum = 0;
    std::vector<std::string> texts;
    for (const label_count& l : p.labels) {
      if (&p.groups[l.group] != group_in(p, "main.watch")) continue;
      sum += l.count;
      texts.emplace_back(s.text(l.labels));
    }
    EXPECT_EQ(sum, 6u);
    std::ranges::sort(texts);
    ASSERT_EQ(texts.size(), 6u);
    EXPECT_EQ(texts[0], "request: 1");
  }
}
TEST_F(Reading, proofs_of_go_are_seen_in_all_forms) {
  for (const std::string version : {"go126_proof_leak", "go127_leak"}) {
    for (const char* form : {".pb.gz", ".counts.txt", ".dump.txt"}) {
      SCOPED_TRACE(version + form);
      const profile p = read_corpus(version + form);
      const group* g = group_in(p, "main.earlyReturn.func1.1");
      ASSERT_NE(g, nullptr);
      EXPECT_TRUE(g->leaked);
      EXPECT_EQ(g->count, 6u);
      EXPECT_EQ(p.of_leaks, p.form != profile_form::dump);
    }
  }
}
TEST_F(Reading, what_a_dying_program_prints_is_a_dump) {
  const profile p = read_corpus("go126_sigquit.dump.txt");
  const group* g = group_in(p, "main.update");
  ASSERT_NE(g, nullptr);
  EXPECT_EQ(g->count, 4u);
  EXPECT_EQ(s.text(g->state), "sync.Mutex.Lock");
  const stack_sight seen = look_at(g->stack, g->state, s);
  EXPECT_EQ(s.function(seen.key.wait), "main.update");
  EXPECT_EQ(seen.kind, nature::lock);
}

// ---- headers ---------------------------------------------------------------------------------------------------------
struct header_case {
  const char* header;
  std::uint64_t number;
  const char* state;
  bool leaked, locked;
  std::uint32_t wait;
  const char* labels;
};
void PrintTo(const header_case& c, std::ostream* out) { *out << c.header; }

class Headers : public Reading, public ::testing::WithParamInterface<header_case> {};
TEST_P(Headers, are_understood) {
  const header_case& c = GetParam();
  const profile p = read(std::string(c.header) + "\nmain.f(0x1, {0x2, ...})\n\t/a/b.go:12 +0x45\n");
  ASSERT_EQ(p.goroutines.size(), 1u);
  EXPECT_EQ(p.goroutines[0].number, c.number);
  EXPECT_EQ(p.goroutines[0].wait, c.wait);
  const group& g = p.groups[0];
  EXPECT_EQ(s.text(g.state), c.state);
  EXPECT_EQ(g.leaked, c.leaked);
  EXPECT_EQ(g.locked, c.locked ? 1u : 0u);
  EXPECT_EQ(p.labels.empty() ? "" : s.text(p.labels[0].labels), c.labels);
  ASSERT_EQ(s.frames(g.stack).size(), 1u);
  EXPECT_EQ(s.function(s.frames(g.stack)[0]), "main.f");
}
INSTANTIATE_TEST_SUITE_P(
    Forms, Headers,
    ::testing::Values(
        header_case{"goroutine 1 [running]:", 1, "running", false, false, 0, ""},
        header_case{"goroutine 18 [chan receive, 5 minutes]:", 18, "chan receive", false, false, 300, ""},
        header_case{"goroutine 18 [chan receive, 1 minutes, locked to thread]:", 18, "chan receive", false, true, 60,
                    ""},
        header_case{"goroutine 7 [chan send (leaked)]:", 7, "chan send", true, false, 0, ""},
        header_case{"goroutine 7 [chan send (leaked) (scan), 2 minutes]:", 7, "chan send", true, false, 120, ""},
        header_case{"goroutine 7 [select (no cases), 3 minutes]:", 7, "select (no cases)", false, false, 180, ""},
        header_case{"goroutine 7 [chan receive (nil chan)]:", 7, "chan receive (nil chan)", false, false, 0, ""},
        header_case{"goroutine 7 [select (durable), synctest bubble 3]:", 7, "select (durable)", false, false, 0, ""},
        header_case{"goroutine 9 gp=0xc000002380 m=nil [GC worker (idle)]:", 9, "GC worker (idle)", false, false, 0,
                    ""},
        header_case{"goroutine 9 gp=0xc000002380 m=0 mp=0xa33d00 [syscall, 4 minutes]:", 9, "syscall", false, false,
                    240, ""},
        header_case{"goroutine 5 [select labels:{\"a\": \"x], 9 minutes\", \"b\": \"}\"}]:", 5, "select", false, false,
                    0, "a: x], 9 minutes, b: }"},
        header_case{"goroutine 5 [select, 2 minutes labels:{\"a\": \"b\"}]:", 5, "select", false, false, 120, "a: b"},
        header_case{"goroutine 3 [chan receive (leaked)] {name: bob}:", 3, "chan receive", true, false, 0, "name: bob"},
        header_case{"goroutine 18446744073709551610 [select]:", 18446744073709551610u, "select", false, false, 0, ""},
        header_case{"goroutine 4 [select, 99999999999 minutes]:", 4, "select", false, false, 71582760, ""}));

TEST_F(Reading, creators_old_and_new_are_seen) {
  const profile p = read(
      "goroutine 1 [select]:\nmain.f()\n\t/a.go:1 +0x1\ncreated by main.g\n\t/a.go:7 +0x1\n\n"
      "goroutine 2 [select]:\nmain.f()\n\t/a.go:1 +0x1\ncreated by main.g in goroutine 77\n\t/a.go:7 +0x1\n\n"
      "goroutine 3 [chan receive]:\ntask<> relay(receiver<int>, sender<int>)\n\texamples/readme.cpp:7\ncreated by "
      "goroutine 1\n\texamples/readme.cpp:16\n\n");
  ASSERT_EQ(p.total, 3u);
  ASSERT_EQ(p.groups.size(), 2u) << "the creator's number does not separate";
  const id creator = s.stack_of(p.groups[0].stack).creator;
  EXPECT_EQ(s.function(creator), "main.g");
  EXPECT_EQ(s.frame_of(creator).line, 7u);
  const group& ours = p.groups[1];
  EXPECT_EQ(s.function(s.frames(ours.stack)[0]), "task<> relay(receiver<int>, sender<int>)");
  EXPECT_EQ(s.frame_of(s.stack_of(ours.stack).creator).line, 16u);
  EXPECT_EQ(s.function(s.stack_of(ours.stack).creator), "");
}
TEST_F(Reading, left_out_frames_and_ancestors_are_no_frames) {
  const profile p = read(
      "goroutine 1 [select]:\nmain.f(...)\n\t/a.go:1\n...additional frames elided...\ncreated by main.g in goroutine "
      "5\n\t/a.go:7 +0x1\n"
      "[originating from goroutine 5]:\nmain.h()\n\t/a.go:9 +0x1\n\n"
      "goroutine 2 [running]:\n\tgoroutine running on other thread; stack unavailable\n\n");
  ASSERT_EQ(p.total, 2u);
  EXPECT_EQ(s.frames(p.groups[0].stack).size(), 1u);
  EXPECT_TRUE(s.stack_of(p.groups[0].stack).elided);
  EXPECT_EQ(s.frames(p.groups[1].stack).size(), 0u);
}
TEST_F(Reading, a_dump_amid_other_lines_and_with_carriage_returns) {
  const profile p =
      read("panic: oops\r\n\r\ngoroutine 1 [running]:\r\nmain.f()\r\n\t/a.go:1 +0x1\r\n\r\nexit status 2\r\n");
  ASSERT_EQ(p.total, 1u);
  EXPECT_EQ(s.file(s.frames(p.groups[0].stack)[0]), "/a.go");
}
TEST_F(Reading, a_dump_cut_short_is_read_and_said_to_be_cut) {
  const std::string whole = read_all(corpus / "go126.dump.txt");
  const profile p = read(whole.substr(0, whole.size() / 2 + 3));
  EXPECT_TRUE(p.cut);
  EXPECT_GT(p.total, 0u);
}
TEST_F(Reading, counts_cut_short_are_read_and_said_to_be_cut) {
  const std::string whole = read_all(corpus / "go126.counts.txt");
  EXPECT_TRUE(read(whole.substr(0, whole.size() / 2)).cut);
}
TEST_F(Reading, counts_that_are_absurd_are_refused) {
  EXPECT_EQ(error_of("goroutine profile: total 1\n18446744073709551615 @ 0x1\n#\t0x1\tmain.f+0x1\t/a.go:1\n"),
            "a stack has an impossible count");
  EXPECT_NE(error_of("goroutine profile: total lots\n").find("first line"), std::string::npos);
}
TEST_F(Reading, a_first_name_that_is_empty_is_a_name) {
  EXPECT_EQ(read("goroutine profile: total 1\n1 @ 0x1\n#\t0x1\t+0x1\t/a.go:1\n").total, 1u);
}
TEST_F(Reading, waits_are_told_from_the_locks_frames_where_go_says_semacquire) {
  const profile p = read(
      "goroutine 8 [semacquire, 3 minutes]:\nsync.runtime_SemacquireMutex(0x1, 0x2, "
      "0x3)\n\t/usr/lib/go/src/runtime/sema.go:71 +0x1\n"
      "sync.(*Mutex).lockSlow(0x1)\n\t/usr/lib/go/src/sync/mutex.go:162 "
      "+0x1\nsync.(*Mutex).Lock(...)\n\t/usr/lib/go/src/sync/mutex.go:81\n"
      "main.f()\n\t/a.go:3 +0x1\n");
  EXPECT_EQ(s.text(p.groups[0].state), "sync.Mutex.Lock");
}

// ---- what is no profile ------------------------------------------------------------------------------------------------
TEST_F(Reading, other_things_are_named) {
  EXPECT_NE(error_of("").find("empty"), std::string::npos);
  EXPECT_NE(error_of("<!DOCTYPE html><html>").find("web page"), std::string::npos);
  EXPECT_NE(error_of("{\"a\": 1}").find("JSON"), std::string::npos);
  EXPECT_NE(error_of("heap profile: 3: 4 [5: 6] @ heap/1048576\n").find("heap profile"), std::string::npos);
  EXPECT_NE(error_of("hello\n").find("no goroutine profile"), std::string::npos);
  EXPECT_NE(error_of(std::string("\x0a\xff\xff\xff\xff\xff", 6)).find("broken"), std::string::npos);
  EXPECT_NE(error_of(std::string("\0\1\2\3", 4)).find("broken"), std::string::npos);
  // A heap profile as protobuf: sample_type {type: 1}, string_table "", "inuse_space".
  EXPECT_NE(error_of(std::string("\x0a\x02\x08\x01\x32\x00\x32\x0binuse_space", 19)).find("another kind: inuse_space"),
            std::string::npos);
}
TEST_F(Reading, broken_packing_is_said_to_be_broken) {
  const std::string good = read_all(corpus / "go126.pb.gz");
  EXPECT_NE(error_of(good.substr(0, good.size() / 2)).find("ends in the middle"), std::string::npos);
  std::string bad = good;
  for (std::size_t i = 100; i < 200; ++i) bad[i] = static_cast<char>(~bad[i]);
  EXPECT_NE(error_of(bad).find("broken"), std::string::npos) << error_of(bad);
}
TEST_F(Reading, every_truncation_of_a_protobuf_is_an_error_or_a_profile) {
  const std::string good = unpacked(read_all(corpus / "go126.pb.gz"));
  std::size_t errors = 0;
  for (std::size_t n = 0; n < good.size(); ++n) errors += error_of(good.substr(0, n)) != "no error";
  EXPECT_GT(errors, good.size() / 2);
}
TEST_F(Reading, a_bomb_is_stopped_at_the_limit) {
  const std::string bomb = packed(std::string(3 << 20, 'a'));
  EXPECT_LT(bomb.size(), 20'000u);
  EXPECT_THROW(unpacked(bomb, 1 << 20), input_error);
  EXPECT_EQ(unpacked(bomb, 4 << 20).size(), std::size_t{3} << 20);
}
TEST_F(Reading, packed_files_one_behind_the_other_are_one) {
  EXPECT_EQ(unpacked(packed("abc") + packed("def")), "abcdef");
  EXPECT_EQ(unpacked(packed("abc") + "trailing"), "abc");
}
TEST_F(Reading, a_stack_of_absurd_depth_is_cut) {
  std::string deep = "goroutine 1 [select]:\n";
  for (int i = 0; i < 10'000; ++i) deep += "main.f()\n\t/a.go:1 +0x1\n";
  const profile p = read(deep);
  EXPECT_EQ(s.frames(p.groups[0].stack).size(), most_depth);
  EXPECT_TRUE(s.stack_of(p.groups[0].stack).elided);
}

}  // namespace
}  // namespace leash::cli
