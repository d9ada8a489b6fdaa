// Traces in both forms: read by strict readers of our own, by Go's, and after everything that may be late or missing.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "client.hpp"
#include "trace_readers.hpp"

namespace leash::test::trace_tests {

using debug::flight_options;
using debug::flight_recorder;
using debug::serve;
using debug::trace_format;

std::string written(trace t, trace_format f) {
  std::ostringstream out;
  write_trace(out, std::move(t), f);
  return std::move(out).str();
}

task<> send_all(sender<int> tx, int n) {
  for (int i = 0; i < n; ++i) (void)co_await tx.send(i);
}
task<> take_all(receiver<int> rx) {
  while (co_await rx.recv()) {
  }
}
task<> talk(int n) {
  auto [tx, rx] = channel<int>();
  co_await with_scope([&](scope& s) {
    s.go(named("taker"), take_all, std::move(rx));
    s.go(named("giver"), send_all, std::move(tx), n);
  });
}
/// A little of everything.
task<> mixed(int n) {
  mutex m;
  co_await with_scope([&](scope& s) {
    s.go(talk, n);
    for (int i = 0; i < 3; ++i)
      s.go([&]() -> task<> {
        for (int k = 0; k < n; ++k) {
          auto const g = co_await m.lock();
          co_await yield();
        }
        co_await sleep(100us);
        co_await blocking([] {});
      });
  });
}
trace recorded_at(unsigned workers, int n) {
  trace t;
  run_at(workers, [&]() -> task<> {
    trace_recording const r;
    co_await mixed(n);
    t = r.take();
  });
  return t;
}

constexpr unsigned all_workers[] = {1, 2, 4};

TEST(Perfetto, EachGoroutineHasATrackOfItsStates) {
  for (unsigned workers : all_workers) {
    perfetto_read const p = read_perfetto(written(recorded_at(workers, 50), trace_format::perfetto));
    std::size_t goroutines = 0;
    std::set<std::string> states;
    for (auto& [id, t] : p.tracks) {
      if (!t.name.starts_with("goroutine ")) continue;
      ++goroutines;
      EXPECT_EQ(t.merge, 2u) << "tracks of one name must not merge";
      for (auto& e : t.events)
        if (e.type == 1) states.insert(e.name);
    }
    EXPECT_GE(goroutines, 6u);
    for (const char* s : {"running", "runnable", "chan receive", "scope join", "sleep", "blocking"})
      EXPECT_TRUE(states.contains(s)) << s << " at " << workers;
    for (const char* c : {"goroutines", "runnable", "running"}) {
      auto const* t = p.named(c);
      ASSERT_NE(t, nullptr) << c;
    }
    for (auto& [id, t] : p.tracks) {
      if (!t.counter) continue;
      EXPECT_EQ(t.unit, 2u) << "a unit";
      EXPECT_FALSE(t.events.empty());
      for (auto& e : t.events) EXPECT_GE(e.value, 0) << t.name;
    }
  }
}

TEST(Perfetto, FlowsLeadFromWhoWakesToTheTurnThatComesOfIt) {
  perfetto_read const p = read_perfetto(written(recorded_at(1, 50), trace_format::perfetto));
  std::size_t sends = 0, turns = 0;
  for (auto& [id, t] : p.tracks)
    for (auto& e : t.events) {
      if (e.type == 3 && (e.name == "send" || e.name == "receive")) {
        EXPECT_EQ(e.flows.size(), 1u);
        EXPECT_TRUE(e.file.ends_with("trace_test.cpp")) << e.file;
        ++sends;
      }
      if (!e.flows_end.empty()) {
        EXPECT_EQ(e.name, "running");
        ++turns;
      }
    }
  EXPECT_GE(sends, 40u);
  EXPECT_GE(turns, sends);
  EXPECT_EQ(p.flows, turns);
}

task<> with_timers() {
  auto [tx, rx] = channel<int>(1);
  timer const due = after_func(2ms, [&tx = tx] { (void)tx.try_send(1); });
  (void)co_await rx.recv();
  (void)co_await with_timeout(5ms, []() -> task<> { co_await sleep(10s); });
}
trace recorded_timers() {
  trace_recording const r;
  run_at(2, with_timers);
  return r.take();
}

TEST(Perfetto, FlowsLeadFromWhoSetsATimerToWhatComesOfIt) {
  perfetto_read const p = read_perfetto(written(recorded_timers(), trace_format::perfetto));
  std::map<std::uint64_t, std::string> set;
  std::set<std::string> came;
  for (auto& [id, t] : p.tracks)
    for (auto& e : t.events) {
      if (e.name != "after_func" && e.name != "deadline") continue;
      EXPECT_TRUE(t.name.starts_with("goroutine ")) << t.name;
      EXPECT_TRUE(e.file.ends_with("trace_test.cpp")) << e.file;
      ASSERT_EQ(e.notes.count("due in"), 1u);
      EXPECT_TRUE(e.notes.at("due in").ends_with(" ms")) << e.notes.at("due in");
      ASSERT_EQ(e.flows.size(), 1u);
      set[e.flows[0]] = e.name;
    }
  EXPECT_EQ(set.size(), 2u);
  for (auto& [id, t] : p.tracks)
    for (auto& e : t.events)
      for (std::uint64_t f : e.flows_end)
        if (set.contains(f)) came.insert(set[f] + ": " + e.name);
  EXPECT_EQ(came, (std::set<std::string>{"after_func: running", "deadline: context ended"}));
}

TEST(GoTrace, TellsOfTimersInItsLog) {
  go_read const g = read_go_trace(written(recorded_timers(), trace_format::go));
  std::set<std::string> told;
  for (auto& e : g.events)
    if (e.kind == 48) told.insert(e.text.substr(0, e.text.find(" in ")));
  EXPECT_TRUE(told.contains("after_func"));
  EXPECT_TRUE(told.contains("deadline"));
  EXPECT_TRUE(told.contains("a context ended: its deadline"));
}

TEST(GoTrace, IsWhatGoWouldHaveWritten) {
  for (unsigned workers : all_workers) {
    go_read const g = read_go_trace(written(recorded_at(workers, 50), trace_format::go));
    EXPECT_LE(g.places.size(), workers + 1u) << "and one for other threads";
    EXPECT_GE(g.places.size(), 2u);
    EXPECT_GE(g.goroutines.size(), 6u);
    EXPECT_EQ(g.count(4), 1u) << "Gomaxprocs";
    EXPECT_GE(g.count(22) + g.count(23), 40u) << "waits of channels";
    EXPECT_GE(g.count(25), 1u) << "waits of locks";
    EXPECT_GE(g.count(19), 3u) << "sleeps";
    bool here = false;
    for (auto& e : g.events)
      if (e.kind == 23 || e.kind == 22) {
        ASSERT_GE(e.stack.size(), 2u);
        here |= e.stack[0].find("trace_test.cpp:") != std::string::npos;
      }
    EXPECT_TRUE(here);
    bool named = false;
    for (auto& [id, frame] : g.started_at) named |= frame.find("talk") != std::string::npos;
    EXPECT_TRUE(named);
  }
}

std::size_t refused_by(const std::string& whole, const std::function<void(const std::string&)>& read,
                       std::mt19937& random, int rounds) {
  std::size_t refused = 0;
  for (int i = 0; i < rounds; ++i) {
    std::string damaged = whole;
    damaged.resize(whole.size() / 4 + random() % (whole.size() / 2));
    try {
      read(damaged);
    } catch (const std::exception&) {
      ++refused;
    }
  }
  return refused;
}

TEST(TraceReaders, RefuseWhatIsDamaged) {
  trace const t = recorded_at(2, 20);
  std::string const perfetto = written(t, trace_format::perfetto), go = written(t, trace_format::go);
  std::mt19937 random(1);
  // Cut somewhere: slices do not end, and most cuts go through a packet.
  EXPECT_EQ(refused_by(perfetto, [](auto& s) { (void)read_perfetto(s); }, random, 50), 50u);
  EXPECT_GE(refused_by(go, [](auto& s) { (void)read_go_trace(s); }, random, 50), 25u);  // a cut between events may pass
  EXPECT_THROW(read_go_trace(go.substr(1)), std::exception);
  EXPECT_THROW(read_go_trace("go 1.21 trace\0\0\0"), std::exception);
  EXPECT_THROW(read_perfetto(go), std::exception);
  // A wake that came from nowhere: GoUnblock (21, three numbers) of a goroutine that does not wait.
  go_read const fine = read_go_trace(go);
  EXPECT_FALSE(fine.events.empty());
  std::string extra = go;
  std::uint64_t const root = *fine.goroutines.begin();
  std::string body{'\0'};  // no time later than the one before
  for (std::uint64_t n = root;; n >>= 7) {
    body += static_cast<char>(n < 128 ? n : n | 128);
    if (n < 128) break;
  }
  body += "\x7f";
  body += '\0';
  extra += static_cast<char>(21 | 3 << 6);
  extra += static_cast<char>(body.size());
  extra += body;
  EXPECT_THROW(read_go_trace(extra), std::exception);
}

TEST(Timeline, IsConsistentWhateverIsLateOrMissing) {
  std::mt19937 random(7);
  for (int round = 0; round < (long_run() ? 300 : 30); ++round) {
    trace t = recorded_at(1 + round % 4, 20);
    std::vector<trace_event> kept;
    unsigned const losses = random() % 4;
    for (auto& e : t.events)
      if (losses == 0 || random() % 100 >= losses * 5) kept.push_back(e);
    // What was noted late: moved back a little, among the records of other threads.
    for (std::size_t i = 1; i < kept.size(); ++i) {
      if (random() % 3 != 0 || kept[i - 1].worker == kept[i].worker) continue;
      std::swap(kept[i - 1], kept[i]);
      std::swap(kept[i - 1].at, kept[i].at);
    }
    if (random() % 2 == 0) kept.erase(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(kept.size() / 3));
    t.events = std::move(kept);
    try {
      (void)read_go_trace(written(t, trace_format::go));
      (void)read_perfetto(written(t, trace_format::perfetto));
    } catch (const std::exception& e) {
      FAIL() << e.what() << " in round " << round;
    }
  }
}

trace_event event(trace_kind k, std::int64_t at, std::uint64_t g, std::uint32_t worker, std::uint32_t epoch,
                  std::uint64_t by = 0, wait_reason r = wait_reason::none) {
  trace_event e;
  e.kind = k;
  e.at = at;
  e.goroutine = g;
  e.worker = worker;
  e.worker_of = 1;
  e.epoch = epoch;
  e.by = by;
  e.reason = r;
  if (r != wait_reason::none || k == trace_kind::create) e.where = std::source_location::current();
  return e;
}

TEST(Timeline, AParkThatIsNotedAfterTheWakeStandsBeforeIt) {
  trace t;
  t.from = 1;
  t.to = 100;
  std::uint64_t const g = 1'000'000'001, h = 1'000'000'002;
  using enum trace_kind;
  t.events = {event(create, 10, g, 0, 1), event(run, 20, g, 0, 1), event(create, 21, h, 0, 5, g),
              event(run, 22, h, 1, 5),
              // Worker 0 parks g; worker 1 wakes it and runs it, before worker 0 notes that it parked it.
              event(wake, 30, g, 1, 2, h, wait_reason::chan_receive), event(end, 31, h, 1, 0), event(run, 32, g, 1, 2),
              event(park, 33, g, 0, 1), event(end, 40, g, 1, 0)};
  perfetto_read const p = read_perfetto(written(t, trace_format::perfetto));
  const perfetto_track* track = p.named("goroutine 1000000001");
  ASSERT_NE(track, nullptr);
  std::vector<std::string> states;
  for (auto& e : track->events)
    if (e.type == 1) states.push_back(e.name);
  EXPECT_EQ(states, (std::vector<std::string>{"runnable", "running", "chan receive", "runnable", "running"}));
  go_read const r = read_go_trace(written(t, trace_format::go));
  EXPECT_EQ(r.count(23), 1u);
  EXPECT_EQ(r.count(21), 1u);
  EXPECT_EQ(r.count(15), 2u);
}

// --- Go's own tool

bool go_is_here() {
  if (have("go")) return true;
  std::printf("skipped: no go on this machine\n");
  return false;
}

TEST(GoTool, OpensATraceAndItsProfiles) {
  if (!go_is_here()) GTEST_SKIP() << "skipped: no go on this machine";
  folder const files;
  std::string const file = files.write("trace", written(recorded_at(2, 200), trace_format::go));
  auto const [profile, code] = shell("cd " + files.file(".") + " && go tool trace -pprof=sync " + file +
                                     " > sync.pb.gz && go tool pprof -top -nodefraction=0 sync.pb.gz");
  EXPECT_EQ(code, 0) << profile;
  EXPECT_NE(profile.find("delay"), std::string::npos) << profile;
  EXPECT_NE(profile.find("send_all"), std::string::npos) << profile;
  auto const [events, parsed] = shell("go tool trace -d=parsed " + file);
  EXPECT_EQ(parsed, 0) << events.substr(0, 2000);
  EXPECT_NE(events.find("chan receive"), std::string::npos) << events.substr(0, 2000);
  EXPECT_NE(events.find("Running->Waiting"), std::string::npos) << events.substr(0, 2000);
  std::string const cut =
      files.write("cut", test::trace_tests::written(recorded_at(2, 200), trace_format::go).substr(0, 1000));
  EXPECT_NE(shell("go tool trace -d=parsed " + cut).second, 0) << "a damaged one is refused";
}

// --- endpoints

TEST(TraceEndpoint, GivesBothForms) {
  scene running;
  auto s = serve("127.0.0.1:0");
  response const go = get(s.port(), "/debug/pprof/trace?seconds=0.1");
  EXPECT_EQ(go.status, 200);
  EXPECT_EQ(go.headers.at("content-type"), "application/octet-stream");
  EXPECT_EQ(go.headers.at("content-disposition"), "attachment; filename=\"trace\"");
  go_read const g = read_go_trace(go.body);
  EXPECT_GE(g.count(31), 8u) << "goroutines that wait all the time are there too";
  response const perfetto = get(s.port(), "/debug/leash/trace?seconds=0.1");
  EXPECT_EQ(perfetto.status, 200);
  perfetto_read const p = read_perfetto(perfetto.body);
  const perfetto_track* alice = p.named("(alice)");
  ASSERT_NE(alice, nullptr);
  ASSERT_FALSE(alice->events.empty());
  EXPECT_EQ(alice->events[0].name, "chan receive");
  EXPECT_NO_THROW(read_go_trace(get(s.port(), "/debug/leash/trace?seconds=0.1&format=go").body));
  EXPECT_FALSE(recorded().has_value()) << "it was stopped";
}

TEST(TraceEndpoint, RefusesWhatItCannotDo) {
  auto s = serve("127.0.0.1:0");
  for (const char* q :
       {"seconds=0", "seconds=-1", "seconds=1e9", "seconds=x", "seconds=nan", "seconds=1&format=svg", "last=x"})
    EXPECT_EQ(get(s.port(), std::string("/debug/leash/trace?") + q).status, 400) << q;
  EXPECT_EQ(get(s.port(), "/debug/leash/trace?last=5").status, 409) << "nothing is recorded";
  trace_recording const r;
  EXPECT_EQ(get(s.port(), "/debug/leash/trace?last=5").status, 200);
}

TEST(TraceEndpoint, ServesOthersWhileItRecordsAndBoundsTheirNumber) {
  scene running;
  auto s = serve("127.0.0.1:0");
  std::vector<std::unique_ptr<connection>> all;
  for (int i = 0; i < 4; ++i) {
    all.push_back(std::make_unique<connection>(s.port()));
    ASSERT_TRUE(
        all.back()->write("GET /debug/leash/trace?seconds=2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
  }
  // The thread answers in the order in which it was asked; then the fifth finds no place.
  response fifth;
  for (auto const end = std::chrono::steady_clock::now() + longest_wait; std::chrono::steady_clock::now() < end;) {
    fifth = get(s.port(), "/debug/leash/trace?seconds=0.01");
    if (fifth.status == 503) break;
  }
  EXPECT_EQ(fifth.status, 503);
  EXPECT_EQ(get(s.port(), "/debug/pprof/goroutine?debug=1").status, 200);
  for (auto& c : all) {
    response const r = c->read();
    EXPECT_EQ(r.status, 200);
    EXPECT_TRUE(r.whole);
    EXPECT_NO_THROW(read_perfetto(r.body));
  }
}

// --- the flight recorder

std::vector<std::string> fly(flight_options o, bool leak) {
  flight_recorder recorder(std::move(o));
  options run_options;
  run_options.workers = 2;
  run_options.on_leak = [](const leak_report&) {};
  try {
    run(run_options, [leak]() -> task<> {
      co_await talk(20);
      co_await with_scope([&](scope& s) {
        auto [tx, rx] = channel<int>();  // it holds the only sender itself, or there is none
        s.go(
            named("stuck"),
            [](receiver<int> from, std::optional<sender<int>>) -> task<> { (void)co_await from.recv(); }, std::move(rx),
            leak ? std::optional(std::move(tx)) : std::nullopt);
      });
    });
  } catch (const deadlock_error&) {
  }
  // The recorder's end waits for what it was told of; files() alone does not.
  for (auto const end = std::chrono::steady_clock::now() + longest_wait;
       leak && recorder.files().empty() && std::chrono::steady_clock::now() < end;)
    std::this_thread::yield();
  return recorder.files();
}

TEST(FlightRecorder, WritesTheLastSecondsWhenALeakIsProved) {
  folder const files;
  for (trace_format f : {trace_format::perfetto, trace_format::go}) {
    auto const written = fly({.file = files.file("flight"), .format = f, .most_files = 1}, true);
    ASSERT_EQ(written.size(), 1u);
    std::ifstream in(written[0], std::ios::binary);
    std::string const bytes((std::istreambuf_iterator<char>(in)), {});
    if (f == trace_format::go) {
      go_read const g = read_go_trace(bytes);
      bool told = false;
      for (auto& e : g.events) told |= e.kind == 48 && e.text.find("proved leaked") != std::string::npos;
      EXPECT_TRUE(told);
    } else {
      perfetto_read const p = read_perfetto(bytes);
      bool told = false;
      for (auto& [id, t] : p.tracks)
        for (auto& e : t.events) told |= e.name == "proved leaked";
      EXPECT_TRUE(told);
    }
    std::filesystem::remove(written[0]);
  }
}
TEST(FlightRecorder, WritesNothingWhereNothingLeaks) {
  folder const files;
  EXPECT_TRUE(fly({.file = files.file("flight")}, false).empty());
  EXPECT_TRUE(std::filesystem::is_empty(files.file("")));
}

}  // namespace leash::test::trace_tests
