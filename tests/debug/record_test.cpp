// Block, mutex and CPU profiles: read by a reader of our own, and by Go's.
#include <signal.h>

#include <protozero/pbf_reader.hpp>

#include "client.hpp"

namespace leash::test::record_tests {

using debug::serve;

struct sample {
  std::int64_t first = 0, second = 0;
  std::vector<std::string> stack;   // functions, innermost first
  std::vector<std::int64_t> lines;  // of each
  std::map<std::string, std::string> labels;
};
struct profile {
  std::vector<std::string> types;
  std::int64_t period = 0, duration = 0;
  std::vector<sample> samples;
  sample with(std::string_view function) const {
    sample sum;
    for (auto& s : samples)
      for (auto& f : s.stack)
        if (f.find(function) != f.npos) {
          sum.first += s.first;
          sum.second += s.second;
          sum.stack = s.stack;
          sum.lines = s.lines;
          sum.labels = s.labels;
          break;
        }
    return sum;
  }
};

profile decode(const std::string& packed) {
  using protozero::pbf_reader;
  std::string const raw = gunzip(packed);
  EXPECT_FALSE(raw.empty()) << "no gzip: " << packed.substr(0, 200);
  profile p;
  std::vector<std::string> texts;
  for (pbf_reader r(raw); r.next(6);) texts.push_back(r.get_string());
  auto text = [&](std::int64_t i) { return texts.at(static_cast<std::size_t>(i)); };
  std::map<std::uint64_t, std::string> functions;
  for (pbf_reader r(raw); r.next(5);) {
    std::uint64_t id = 0;
    for (pbf_reader f = r.get_message(); f.next();) {
      if (f.tag() == 1) {
        id = f.get_uint64();
      } else if (f.tag() == 2) {
        functions[id] = text(f.get_int64());
      } else {
        f.skip();
      }
    }
  }
  std::map<std::uint64_t, std::pair<std::string, std::int64_t>> locations;
  for (pbf_reader r(raw); r.next(4);) {
    std::uint64_t id = 0;
    for (pbf_reader l = r.get_message(); l.next();) {
      if (l.tag() == 1) {
        id = l.get_uint64();
      } else if (l.tag() == 2) {
        l.skip();
      } else {
        for (pbf_reader n = l.get_message(); n.next();)
          n.tag() == 1 ? void(locations[id].first = functions.at(n.get_uint64()))
                       : void(locations[id].second = n.get_int64());
      }
    }
  }
  for (pbf_reader r(raw); r.next();) {
    switch (r.tag()) {
      case 1: {
        std::string type, unit;
        for (pbf_reader t = r.get_message(); t.next();) (t.tag() == 1 ? type : unit) = text(t.get_int64());
        p.types.push_back(type + "/" + unit);
        break;
      }
      case 2: {
        sample s;
        for (pbf_reader m = r.get_message(); m.next();) {
          if (m.tag() == 1) {
            for (auto id : m.get_packed_uint64()) {
              s.stack.push_back(locations.at(id).first);
              s.lines.push_back(locations.at(id).second);
            }
          } else if (m.tag() == 2) {
            std::vector<std::int64_t> values;
            for (auto v : m.get_packed_int64()) values.push_back(v);
            s.first = values.at(0);
            s.second = values.at(1);
          } else {
            std::string key, value;
            for (pbf_reader l = m.get_message(); l.next();) (l.tag() == 1 ? key : value) = text(l.get_int64());
            s.labels[key] = value;
          }
        }
        p.samples.push_back(std::move(s));
        break;
      }
      case 10:
        p.duration = r.get_int64();
        break;
      case 12:
        p.period = r.get_int64();
        break;
      default:
        r.skip();
    }
  }
  return p;
}

task<> hold_and_wait(mutex& m) {
  for (;;) {
    auto const g = co_await m.lock();
    co_await sleep(2ms);
  }
}
[[gnu::noinline]] std::uint64_t burn(std::uint64_t n) {
  std::uint64_t x = n | 1;
  for (int i = 0; i < 20'000; ++i) x = x * 6364136223846793005u + 1442695040888963407u;
  return x;
}
std::atomic<std::uint64_t> burnt{0};
task<> compute() {
  label const l("kind", "computing");
  for (;;) {
    burnt += burn(burnt);
    co_await yield();
  }
}

/// A program that runs until its end: three that wait for a lock, one that computes.
class busy {
 public:
  busy() {
    cancel_source over;
    over_.emplace(over.dup());
    thread_ = std::thread([over = std::move(over)]() mutable {
      options o;
      o.workers = 2;
      run(o, [&]() -> task<> {
        (void)co_await with_cancel(over, []() -> task<> {
          mutex m;
          co_await with_scope([&](scope& s) {
            for (int i = 0; i < 3; ++i) s.go(named("locker"), hold_and_wait, std::ref(m));
            s.go(named("cruncher"), compute);
          });
        });
      });
    });
    EXPECT_TRUE(parked_seen_from_outside("locker", "sync.Mutex.Lock"));
  }
  ~busy() {
    over_->cancel("the test is over");
    thread_.join();
  }

 private:
  std::optional<cancel_source> over_;
  std::thread thread_;
};

TEST(Block, SaysWhereGoroutinesWaitedAndForHowLong) {
  busy running;
  auto s = serve("127.0.0.1:0");
  response const r = get(s.port(), "/debug/pprof/block?seconds=0.3&rate=1000");
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.headers.at("content-disposition"), "attachment; filename=\"block\"");
  profile const p = decode(r.body);
  EXPECT_EQ(p.types, (std::vector<std::string>{"contentions/count", "delay/nanoseconds"}));
  EXPECT_GE(p.duration, 250'000'000);
  sample const locks = p.with("hold_and_wait");
  EXPECT_GE(locks.first, 1);
  EXPECT_GE(locks.second, 1'000'000);
  EXPECT_EQ(locks.stack.front(), "leash::test::record_tests::hold_and_wait");
  EXPECT_EQ(locks.labels.at("state"), "sync.Mutex.Lock");
  for (auto& one : p.samples) EXPECT_NE(one.labels.at("state"), "sleep") << "who sleeps is not kept waiting";
}

// Who hoards keeps those waiting who hurry; the lines are where each gives the lock back.
task<> hoard(mutex& m) {
  for (;;) {
    auto const g = co_await m.lock();
    co_await sleep(2ms);
  }
}
constexpr std::int64_t end_of_hoard = __LINE__ - 2;
task<> hurry(mutex& m) {
  for (;;) {
    auto g = co_await m.lock();
    g.unlock();
    co_await yield();
  }
}
[[gnu::noinline]] void let_go(mutex::guard& g) { g.unlock(); }
constexpr std::int64_t line_of_let_go = __LINE__ - 1;
task<> hoard_and_call(mutex& m) {
  for (;;) {
    auto g = co_await m.lock();
    co_await sleep(2ms);
    let_go(g);
  }
}
task<> keep_to_itself() {
  mutex m;
  for (;;) {
    auto const g = co_await m.lock();
    co_await sleep(1ms);
  }
}
void hoarding(const std::function<void(std::uint16_t port)>& look) {
  std::thread program([&] {
    options o;
    o.workers = 2;
    run(o, [&]() -> task<> {
      mutex m, other;
      co_await with_scope([&](scope& s) -> task<> {
        s.go(hoard, std::ref(m));
        s.go(hoard_and_call, std::ref(other));
        s.go(keep_to_itself);
        for (mutex* wanted : {&m, &other})
          for (int i = 0; i < 3; ++i) s.go(named("hurrier"), hurry, std::ref(*wanted));
        auto served = serve("127.0.0.1:0");
        co_await blocking([&] { look(served.port()); });
        s.cancel("seen");
      });
    });
  });
  program.join();
}

TEST(Mutex, ChargesWhoHeldTheLockWithWhatOthersWaited) {
  hoarding([](std::uint16_t port) {
    response const r = get(port, "/debug/pprof/mutex?seconds=0.5&rate=1000");
    EXPECT_EQ(r.headers.at("content-disposition"), "attachment; filename=\"mutex\"");
    profile const p = decode(r.body);
    EXPECT_EQ(p.types, (std::vector<std::string>{"contentions/count", "delay/nanoseconds"}));
    sample const held = p.with("record_tests::hoard"), hurried = p.with("record_tests::hurry");
    EXPECT_GT(held.second, 100'000'000) << "three of them wait, twice";
    EXPECT_GT(held.second, 5 * hurried.second) << "who holds it for a moment is not to blame";
    EXPECT_EQ(p.with("keep_to_itself").first, 0) << "nobody waits for that";
    for (auto& one : p.samples) EXPECT_EQ(one.labels.at("state"), "sync.Mutex.Lock");
    sample guard, called;
    for (auto& one : p.samples) {
      if (one.stack.front() == "leash::test::record_tests::hoard") guard = one;
      if (one.stack.front() == "leash::test::record_tests::let_go") called = one;
    }
    ASSERT_GT(guard.second, 0);
    ASSERT_GT(called.second, 0);
#if defined(__clang__)  // see LEASH_AT_CALLER
    EXPECT_EQ(guard.lines.front(), end_of_hoard) << "where the guard dies";
    EXPECT_EQ(called.lines.front(), line_of_let_go);
#endif
    EXPECT_EQ(called.stack.at(1), "leash::test::record_tests::hoard_and_call");
    sample const waited =
        decode(get(port, "/debug/pprof/block?seconds=0.3&rate=1000").body).with("record_tests::hurry");
    EXPECT_GT(waited.second, 50'000'000) << "the block profile tells who waited";
  });
}
TEST(Block, AsText) {
  busy running;
  auto s = serve("127.0.0.1:0");
  std::string const block = get(s.port(), "/debug/pprof/block?debug=1&seconds=0.3&rate=1000").body;
  EXPECT_TRUE(block.starts_with("--- contention:\ncycles/second=1000000000\n")) << block;
  EXPECT_NE(block.find("hold_and_wait+0x0\t"), std::string::npos) << block;
  std::string const mutexes = get(s.port(), "/debug/pprof/mutex?debug=1&seconds=0.3&rate=1000").body;
  EXPECT_TRUE(mutexes.starts_with("--- mutex:\ncycles/second=1000000000\nsampling period=1\n")) << mutexes;
  EXPECT_NE(mutexes.find("hold_and_wait+0x0\t"), std::string::npos) << mutexes;
}
TEST(Block, IsEmptyUnlessWaitsAreCollected) {
  busy running;
  auto s = serve("127.0.0.1:0");
  EXPECT_TRUE(decode(get(s.port(), "/debug/pprof/block").body).samples.empty());
  wait_profiling const on(1us);
  for (auto const end = std::chrono::steady_clock::now() + longest_wait; std::chrono::steady_clock::now() < end;)
    if (!decode(get(s.port(), "/debug/pprof/block").body).samples.empty()) return;
  FAIL() << "nothing was collected";
}
TEST(Block, RefusesWhatIsOutOfBounds) {
  auto s = serve("127.0.0.1:0");
  for (const char* q : {"block?seconds=0", "block?seconds=1000", "mutex?rate=1", "block?rate=x", "block?debug=2",
                        "profile?seconds=0", "profile?seconds=301"})
    EXPECT_EQ(get(s.port(), std::string("/debug/pprof/") + q).status, 400) << q;
}

TEST(Cpu, SaysWhatWorkersComputeAndForWhom) {
  busy running;
  auto s = serve("127.0.0.1:0");
  // By processor time: on a busy machine a second of it takes longer.
  profile p;
  sample burning;
  for (auto const end = std::chrono::steady_clock::now() + longest_wait;
       burning.first < 5 && std::chrono::steady_clock::now() < end;) {
    response const r = get(s.port(), "/debug/pprof/profile?seconds=1");
    ASSERT_EQ(r.status, 200) << r.body;
    p = decode(r.body);
    burning = p.with("record_tests::burn");
  }
  EXPECT_EQ(p.types, (std::vector<std::string>{"samples/count", "cpu/nanoseconds"}));
  EXPECT_EQ(p.period, 10'000'000);
  ASSERT_GE(burning.first, 5);
  EXPECT_EQ(burning.second, burning.first * 10'000'000);
  EXPECT_NE(burning.stack.front().find("burn"), std::string::npos) << "the function itself";
  EXPECT_EQ(burning.stack.at(1), "leash::test::record_tests::compute") << "and the goroutine's";
  EXPECT_EQ(burning.labels.at("kind"), "computing");
  EXPECT_EQ(burning.labels.at("name"), "cruncher");
  EXPECT_EQ(p.with("hold_and_wait").labels.count("kind"), 0u) << "labels are those of who runs";
}
TEST(Cpu, OneAtATime) {
  auto s = serve("127.0.0.1:0");
  connection first(s.port());
  ASSERT_TRUE(
      first.write("GET /debug/pprof/profile?seconds=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
  response second;
  for (auto const end = std::chrono::steady_clock::now() + longest_wait;
       second.status != 503 && std::chrono::steady_clock::now() < end;)
    second = get(s.port(), "/debug/pprof/profile?seconds=0.01");
  EXPECT_EQ(second.status, 503);
  EXPECT_EQ(first.read().status, 200);
}
TEST(Cpu, LeavesSIGPROFToWhoUsesItAlready) {
  struct sigaction mine{}, before{};
  mine.sa_handler = [](int) {};
  sigaction(SIGPROF, &mine, &before);
  auto s = serve("127.0.0.1:0");
  EXPECT_EQ(get(s.port(), "/debug/pprof/profile?seconds=0.1").status, 409);
  sigaction(SIGPROF, &before, nullptr);
  EXPECT_EQ(get(s.port(), "/debug/pprof/profile?seconds=0.1").status, 200);
}

TEST(GoTool, ReadsBlockMutexAndCpuProfiles) {
  if (!have("go")) {
    std::printf("skipped: no go on this machine\n");
    GTEST_SKIP() << "skipped: no go on this machine";
  }
  busy running;
  auto s = serve("127.0.0.1:0");
  std::string const at = "http://localhost:" + std::to_string(s.port()) + "/debug/pprof/";
  folder const files;
  std::string const pprof = "PPROF_TMPDIR=" + files.file("") + " go tool pprof ";
  auto const [block, c1] = shell(pprof + "-top '" + at + "block?seconds=1&rate=1000'");
  EXPECT_EQ(c1, 0) << block;
  EXPECT_NE(block.find("hold_and_wait"), std::string::npos) << block;
  auto const [mutexes, c2] = shell(pprof + "-traces '" + at + "mutex?seconds=1&rate=1000'");
  EXPECT_EQ(c2, 0) << mutexes;
  EXPECT_NE(mutexes.find("sync.Mutex.Lock"), std::string::npos) << mutexes;
  auto const [cpu, c3] = shell(pprof + "-top -tagfocus=kind=computing '" + at + "profile?seconds=2'");
  EXPECT_EQ(c3, 0) << cpu;
  EXPECT_NE(cpu.find("burn"), std::string::npos) << cpu;
  std::string damaged = get(s.port(), "/debug/pprof/block?seconds=0.1&rate=1000").body;
  damaged.resize(damaged.size() / 2);
  EXPECT_NE(shell(pprof + "-top " + files.write("cut", damaged)).second, 0) << "a damaged one is refused";
}

TEST(GoTool, NamesWhoHeldTheLock) {
  if (!have("go")) {
    std::printf("skipped: no go on this machine\n");
    GTEST_SKIP() << "skipped: no go on this machine";
  }
  hoarding([](std::uint16_t port) {
    folder const files;
    auto const [top, code] = shell("PPROF_TMPDIR=" + files.file("") + " go tool pprof -top -lines 'http://localhost:" +
                                   std::to_string(port) + "/debug/pprof/mutex?seconds=1&rate=1000'");
    EXPECT_EQ(code, 0) << top;
    EXPECT_NE(top.find("Type: delay"), std::string::npos) << top;
    std::size_t const held = top.find("record_tests::hoard"), hurried = top.find("record_tests::hurry");
    ASSERT_NE(held, std::string::npos) << top;
    EXPECT_LT(held, hurried) << top;
#if defined(__clang__)
    EXPECT_NE(top.find("record_test.cpp:" + std::to_string(end_of_hoard)), std::string::npos) << top;
#endif
  });
}

}  // namespace leash::test::record_tests
