// What is suspected and what is not: each planted case with its innocent twin.
#include "rank.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "read.hpp"
#include "support.hpp"

namespace leash::cli {
namespace {

struct member {
  std::uint64_t number;
  std::uint32_t minutes;
};

/// Goroutines that wait at one line, as debug=2 shows them.
struct crowd {
  std::string state;
  std::string stack;  // "main.wait /a/wait.go:7; main.run /a/run.go:3", the leaf first
  std::vector<member> members;
  std::string mark = {};
};

std::string text_of(const crowd& c) {
  std::string frames;
  for (std::size_t at = 0; at < c.stack.size();) {
    const std::size_t end = std::min(c.stack.find("; ", at), c.stack.size());
    const std::string one = c.stack.substr(at, end - at);
    frames += one.substr(0, one.find(' ')) + "(0xc000123456)\n\t" + one.substr(one.find(' ') + 1) + " +0x1d\n";
    at = end + 2;
  }
  std::string text;
  for (const member& m : c.members) {
    text += "goroutine " + std::to_string(m.number) + " [" + c.state + c.mark;
    if (m.minutes != 0) text += ", " + std::to_string(m.minutes) + " minutes";
    text += "]:\n" + frames + "created by main.start in goroutine 1\n\t/a/start.go:9 +0x2\n\n";
  }
  return text;
}

std::vector<member> numbered(std::uint64_t first, std::uint64_t step, std::size_t n, std::uint32_t minutes = 0) {
  std::vector<member> all;
  for (std::size_t i = 0; i < n; ++i) all.push_back({first + i * step, minutes});
  return all;
}
/// Each started later than the one before, and stuck since.
std::vector<member> one_by_one(std::size_t n, std::uint32_t oldest) {
  std::vector<member> all;
  for (std::size_t i = 0; i < n; ++i) all.push_back({1000 + i * 3, static_cast<std::uint32_t>(oldest * (n - i) / n)});
  return all;
}

class Ranking : public ::testing::Test {
 protected:
  void look(const std::vector<crowd>& crowds) {
    std::string text = "goroutine 1 [chan receive, 500 minutes]:\nmain.main()\n\t/a/main.go:3 +0x1\n\n";
    for (const crowd& c : crowds) text += text_of(c);
    o.snapshots.push_back(read_profile(text, s, "it"));
  }
  void look_at_counts(const std::string& text) { o.snapshots.push_back(read_profile(text, s, "it")); }

  analysis judged() { return analyse(o, s, ignore); }
  std::string function_of(const finding& f) const { return std::string(s.function(f.key.wait)); }
  finding at(const std::string& function) {
    for (const finding& f : judged().findings) {
      if (function_of(f) == function) return f;
    }
    ADD_FAILURE() << "nobody waits in " << function;
    return {};
  }
  grade verdict_at(const std::string& function) { return at(function).verdict; }
  std::string why_at(const std::string& function) {
    std::string all;
    for (const std::string& w : at(function).why) all += w + "\n";
    return all;
  }

  symbols s;
  observation o;
  std::vector<std::string> ignore;
};

const std::string leaf = "main.stuck /a/stuck.go:7; main.run /a/run.go:3";

// ---- growth ------------------------------------------------------------------------------------------------------------
TEST_F(Ranking, growth_comes_before_age_and_count) {
  const crowd old{"chan receive", "main.old /a/old.go:1", one_by_one(300, 400)};
  look({old, {"chan receive", leaf, numbered(5000, 7, 5)}});
  look({old, {"chan receive", leaf, numbered(5000, 7, 12)}});
  const analysis a = judged();
  ASSERT_GE(a.findings.size(), 2u);
  EXPECT_EQ(function_of(a.findings[0]), "main.stuck");
  EXPECT_EQ(a.findings[0].verdict, grade::suspect);
  EXPECT_EQ(a.findings[0].counts, (std::vector<std::uint64_t>{5, 12}));
  EXPECT_EQ(function_of(a.findings[1]), "main.old");
  EXPECT_EQ(a.findings[1].verdict, grade::suspect) << "old, many, one after another: suspected too, but behind";
}
TEST_F(Ranking, growth_of_goroutines_that_end_is_load) {
  look({{"chan receive", leaf, numbered(5000, 7, 5)}});
  look({{"chan receive", leaf, numbered(9000, 7, 25)}});
  EXPECT_NE(verdict_at("main.stuck"), grade::suspect);
  EXPECT_NE(why_at("main.stuck").find("they end"), std::string::npos) << why_at("main.stuck");
}
TEST_F(Ranking, a_few_where_nobody_was_before_may_be_load) {
  look({});
  look({{"chan receive", leaf, numbered(9000, 7, 4)}});
  EXPECT_NE(verdict_at("main.stuck"), grade::suspect);
}
TEST_F(Ranking, a_crowd_where_nobody_was_before_is_suspected) {
  look({});
  look({{"chan receive", leaf, numbered(9000, 7, 14)}});
  EXPECT_EQ(verdict_at("main.stuck"), grade::suspect);
}
TEST_F(Ranking, a_crowd_that_stays_as_large_does_not_grow) {
  for (int i = 0; i < 2; ++i) look({{"chan receive", leaf, numbered(5000, 7, 9)}});
  EXPECT_NE(verdict_at("main.stuck"), grade::suspect);
}
std::string counts_text(std::uint64_t n) {
  return "goroutine profile: total " + std::to_string(n) + "\n" + std::to_string(n) +
         " @ 0x1\n#\t0x1\tmain.stuck+0x1\t/a/stuck.go:7\n";
}
TEST_F(Ranking, counts_that_rise_steadily_are_growth) {
  for (std::uint64_t n : {10, 12, 12, 15, 18, 21}) look_at_counts(counts_text(n));
  EXPECT_EQ(verdict_at("main.stuck"), grade::suspect);
}
TEST_F(Ranking, counts_that_go_up_and_down_are_none) {
  for (std::uint64_t n : {10, 30, 12, 28, 11, 25}) look_at_counts(counts_text(n));
  EXPECT_NE(verdict_at("main.stuck"), grade::suspect);
}
TEST_F(Ranking, growth_of_io_waits_is_worth_watching_no_more) {
  const std::string reads =
      "internal/poll.runtime_pollWait /usr/local/go/src/runtime/netpoll.go:351; main.read /a/read.go:4";
  look({{"IO wait", reads, numbered(5000, 7, 5)}});
  look({{"IO wait", reads, numbered(5000, 7, 50)}});
  EXPECT_EQ(verdict_at("main.read"), grade::watch);
}
TEST_F(Ranking, what_is_gone_is_said_to_have_fallen) {
  look({{"chan receive", leaf, numbered(5000, 7, 5)}});
  look({});
  EXPECT_EQ(at("main.stuck").counts, (std::vector<std::uint64_t>{5, 0}));
  EXPECT_EQ(at("main.stuck").verdict, grade::idle);
}
TEST_F(Ranking, the_same_place_is_found_in_profiles_of_different_forms) {
  for (const char* name : {"go126.dump.txt", "go126.counts.txt", "go126.pb.gz"})
    o.snapshots.push_back(read_profile(test::read_all(test::corpus / name), s, name));
  EXPECT_EQ(at("main.watch").counts, (std::vector<std::uint64_t>{6, 6, 6}));
}

// ---- one look ------------------------------------------------------------------------------------------------------------
TEST_F(Ranking, workers_started_together_are_a_pool) {
  look({{"chan receive", leaf, numbered(20, 1, 500, 300)}});
  EXPECT_EQ(verdict_at("main.stuck"), grade::idle);
  EXPECT_NE(why_at("main.stuck").find("started together"), std::string::npos);
}
TEST_F(Ranking, goroutines_stuck_one_after_another_are_suspected) {
  look({{"chan receive", leaf, one_by_one(40, 300)}});
  EXPECT_EQ(verdict_at("main.stuck"), grade::suspect);
}
TEST_F(Ranking, workers_that_take_turns_are_not) {
  // As a pool in use looks: who worked last waits least, wherever it stands.
  std::vector<member> turns = numbered(1000, 1, 40);
  for (std::size_t i = 0; i < turns.size(); ++i) turns[i].minutes = static_cast<std::uint32_t>((i * 17) % 40);
  look({{"chan receive", leaf, turns}});
  EXPECT_EQ(verdict_at("main.stuck"), grade::idle);
}
TEST_F(Ranking, many_senders_started_at_different_times_are_suspected) {
  look({{"chan send", leaf, numbered(1000, 5, 120)}});
  EXPECT_EQ(verdict_at("main.stuck"), grade::suspect);
}
TEST_F(Ranking, companions_of_connections_are_not) {
  const std::string reads =
      "internal/poll.runtime_pollWait /usr/local/go/src/runtime/netpoll.go:351; example.com/app/conn.read /a/read.go:4";
  look({{"IO wait", reads, numbered(1000, 5, 200)},
        {"select", "example.com/app/conn.write /a/write.go:4", numbered(1001, 5, 200)}});
  EXPECT_NE(verdict_at("example.com/app/conn.write"), grade::suspect) << why_at("example.com/app/conn.write");
}
const std::string http_reads =
    "internal/poll.runtime_pollWait /usr/local/go/src/runtime/netpoll.go:351; net/http.(*conn).serve "
    "/usr/local/go/src/net/http/server.go:7";
TEST_F(Ranking, more_than_there_are_connections_are) {
  look({{"IO wait", http_reads, numbered(1000, 5, 200)},
        {"select", "example.com/app/jobs.wait /a/jobs.go:4", numbered(3001, 5, 2000)}});
  EXPECT_EQ(verdict_at("example.com/app/jobs.wait"), grade::suspect);
}
TEST_F(Ranking, growth_with_connections_is_worth_watching) {
  const std::string stream = "example.com/app/streams.watch /a/streams.go:4";
  look({{"IO wait", http_reads, numbered(1000, 5, 20)}, {"select", stream, numbered(1001, 5, 20)}});
  look({{"IO wait", http_reads, numbered(1000, 5, 60)}, {"select", stream, numbered(1001, 5, 60)}});
  EXPECT_EQ(verdict_at("example.com/app/streams.watch"), grade::watch) << why_at("example.com/app/streams.watch");
  EXPECT_TRUE(at("example.com/app/streams.watch").grows);
}
TEST_F(Ranking, growth_without_connections_is_suspected_however_many_there_are) {
  const std::string stream = "example.com/app/streams.watch /a/streams.go:4";
  look({{"IO wait", http_reads, numbered(1000, 5, 60)}, {"select", stream, numbered(1001, 5, 20)}});
  look({{"IO wait", http_reads, numbered(1000, 5, 60)}, {"select", stream, numbered(1001, 5, 60)}});
  EXPECT_EQ(verdict_at("example.com/app/streams.watch"), grade::suspect);
}
TEST_F(Ranking, a_lock_waited_for_long_is_suspected) {
  look({{"sync.Mutex.Lock", leaf, numbered(1000, 5, 2, 3)}});
  EXPECT_EQ(verdict_at("main.stuck"), grade::suspect);
}
TEST_F(Ranking, a_lock_waited_for_briefly_is_not) {
  look({{"sync.Mutex.Lock", leaf, numbered(1000, 5, 2)}});
  EXPECT_EQ(verdict_at("main.stuck"), grade::watch);
}
TEST_F(Ranking, a_nil_channel_is_suspected) {
  look({{"chan receive (nil chan)", leaf, numbered(1000, 5, 1)}});
  EXPECT_EQ(verdict_at("main.stuck"), grade::suspect);
}
TEST_F(Ranking, what_waits_by_its_nature_is_never_suspected_even_if_it_grows) {
  const std::string go = "/usr/local/go/src/";
  const std::vector<crowd> natures = {
      {"IO wait",
       "internal/poll.runtime_pollWait " + go + "runtime/netpoll.go:351; net.(*TCPListener).Accept " + go +
           "net/tcpsock.go:380; main.serve /a/serve.go:1",
       {}},
      {"syscall",
       "os/signal.signal_recv " + go + "runtime/sigqueue.go:152; os/signal.loop " + go + "os/signal/signal_unix.go:23",
       {}},
      {"GC worker (idle)", "runtime.gcBgMarkWorker " + go + "runtime/mgc.go:1463", {}},
      {"force gc (idle)", "runtime.forcegchelper " + go + "runtime/proc.go:381", {}},
      {"running", "main.spin /a/spin.go:4", {}},
      {"syscall", "syscall.Syscall " + go + "syscall/syscall.go:5; main.read /a/file.go:4", {}}};
  for (std::size_t n : {5, 50}) {
    std::vector<crowd> grown = natures;
    std::uint64_t first = 1000;
    for (crowd& c : grown) c.members = numbered(first += 10'000, 7, n, 90);
    look(grown);
  }
  const analysis a = judged();
  EXPECT_EQ(a.count_of(grade::suspect), 0u);
  EXPECT_EQ(a.findings.size(), natures.size() + 1);
}
TEST_F(Ranking, a_program_that_only_sleeps_is_not_suspected) {
  look({{"sleep", "time.Sleep /usr/local/go/src/runtime/time.go:363; main.nap /a/nap.go:2", numbered(1000, 5, 20)}});
  EXPECT_EQ(verdict_at("main.nap"), grade::idle);
}
TEST_F(Ranking, sleepers_that_grow_are) {
  const std::string nap = "time.Sleep /usr/local/go/src/runtime/time.go:363; main.nap /a/nap.go:2";
  look({{"sleep", nap, numbered(1000, 5, 20)}});
  look({{"sleep", nap, numbered(1000, 5, 40)}});
  EXPECT_EQ(verdict_at("main.nap"), grade::suspect) << "a loop that nothing ends";
}

// ---- proofs --------------------------------------------------------------------------------------------------------------
TEST_F(Ranking, what_the_process_proved_is_proven_and_first) {
  look({{"chan receive", "main.old /a/old.go:1", one_by_one(300, 400)},
        {"chan send", leaf, numbered(20, 1, 1), " (leaked)"}});
  const analysis a = judged();
  EXPECT_EQ(function_of(a.findings[0]), "main.stuck");
  EXPECT_EQ(a.findings[0].verdict, grade::proven);
  EXPECT_TRUE(a.proof_was_given);
}
TEST_F(Ranking, without_the_mark_it_is_not) {
  look({{"chan send", leaf, numbered(20, 1, 1)}});
  EXPECT_EQ(judged().count_of(grade::proven), 0u);
  EXPECT_FALSE(judged().proof_was_given);
}
TEST_F(Ranking, a_leak_profile_beside_an_unmarked_dump_proves) {
  look({{"chan send", leaf, numbered(20, 3, 8)}, {"chan send", "main.other /a/other.go:7", numbered(100, 3, 8)}});
  o.proof = read_profile(
      "goroutineleak profile: total 5\n5 @ 0x1 "
      "0x2\n#\t0x1\tmain.stuck+0x1\t/a/stuck.go:7\n#\t0x2\tmain.run+0x1\t/a/run.go:3\n",
      s, "it");
  EXPECT_EQ(verdict_at("main.stuck"), grade::proven);
  EXPECT_EQ(at("main.stuck").count, 5u);
  EXPECT_NE(verdict_at("main.other"), grade::proven);
}
TEST_F(Ranking, what_is_to_be_ignored_is_never_suspected) {
  look({{"chan send", leaf, numbered(1000, 5, 120), " (leaked)"},
        {"chan send", "main.other /a/other.go:7", numbered(9000, 5, 120)}});
  ignore = {"run.go"};
  EXPECT_EQ(verdict_at("main.stuck"), grade::idle);
  EXPECT_EQ(verdict_at("main.other"), grade::suspect);
}

TEST_F(Ranking, a_report_of_leash_is_read_as_what_it_is) {
  o.snapshots.push_back(read_profile(test::read_all(test::corpus / "leash_report.dump.txt"), s, "it"));
  const analysis a = judged();
  EXPECT_EQ(a.total, 3u);
  EXPECT_EQ(a.count_of(grade::proven), 3u);
  EXPECT_TRUE(a.proof_was_given);
  const finding relay = at("task<> relay(receiver<int>, sender<int>)");
  EXPECT_EQ(s.frame_of(relay.key.wait).line, 7u);
  EXPECT_EQ(s.text(relay.state), "chan receive");
  ASSERT_EQ(relay.labels.size(), 1u);
  EXPECT_TRUE(relay.labels[0].first == "name: alice" || relay.labels[0].first == "name: bob");
  EXPECT_EQ(at("task<> talk()").kind, nature::join) << "the line is the user's, not leash's own";
}

TEST_F(Ranking, what_a_leash_program_proves_and_marks_is_counted_once) {
  o.snapshots.push_back(read_profile(test::read_all(test::corpus / "leash_proof.dump.txt"), s, "it"));
  o.proof = read_profile(test::read_all(test::corpus / "leash_proof_leak.pb.gz"), s, "it");
  const analysis a = judged();
  std::uint64_t proven = 0;
  for (const finding& f : a.findings) {
    if (f.verdict != grade::proven) continue;
    proven += f.count;
    EXPECT_TRUE(s.file(f.key.wait).ends_with("office.cpp")) << "the line is the user's: " << s.file(f.key.wait);
    EXPECT_NE(f.creator, none) << s.function(f.key.wait);
  }
  EXPECT_EQ(proven, 14u);
  EXPECT_EQ(at("leash::test::dine").count, 3u);
}
TEST_F(Ranking, the_proof_of_a_leash_program_tells_where_they_were_started) {
  o.snapshots.push_back(read_profile(test::read_all(test::corpus / "leash_proof_leak.pb.gz"), s, "it"));
  const analysis a = judged();
  EXPECT_EQ(a.total, 14u);
  const finding dine = at("leash::test::dine");
  EXPECT_EQ(s.function(dine.creator), "leash::test::dinner::lambda");
  EXPECT_EQ(s.text(dine.key.entry), "leash::test::dine");
}

// ---- which line ----------------------------------------------------------------------------------------------------------
TEST_F(Ranking, the_line_is_the_users_not_the_librarys) {
  look({{"sync.Mutex.Lock",
         "internal/sync.runtime_SemacquireMutex /usr/local/go/src/runtime/sema.go:95; sync.(*Mutex).Lock "
         "/usr/local/go/src/sync/mutex.go:46; "
         "golang.org/x/sync/errgroup.(*Group).Go /m/errgroup.go:7; main.update /a/update.go:5",
         numbered(1000, 5, 1)}});
  EXPECT_EQ(verdict_at("main.update"), grade::watch);
}
TEST(Packages, are_told_from_functions) {
  EXPECT_EQ(package_of("net/http.(*conn).serve"), "net/http");
  EXPECT_EQ(package_of("github.com/a/b.v2.F"), "github.com/a/b");
  EXPECT_EQ(package_of("main.f[go.shape.struct { github.com/x/y.Z }]"), "main");
  EXPECT_TRUE(is_standard("net/http.(*conn).serve", "/usr/local/go/src/net/http/server.go"));
  EXPECT_TRUE(is_standard("net/http.(*conn).serve", "net/http/server.go")) << "-trimpath";
  EXPECT_TRUE(is_standard("time.Sleep", "/usr/local/go/src/runtime/time.go"));
  EXPECT_FALSE(is_standard("time/zones.Load", "/home/me/time/zones/load.go")) << "a module of that name";
  EXPECT_FALSE(is_standard("main.main", "/a/main.go"));
  EXPECT_FALSE(is_standard("task<> relay(receiver<int>, sender<int>)", "examples/readme.cpp"));
}

}  // namespace
}  // namespace leash::cli
