// The reactor as part of the scheduler's idle path: no thread of its own, no work when nothing happens, and nobody left waiting
// while a worker computes.
#include <sys/resource.h>

#include <filesystem>
#include <mutex>

#include "net/net.hpp"

namespace {

using namespace leash;
using namespace leash::test;

double processor_seconds() {
  rusage r{};
  ::getrusage(RUSAGE_SELF, &r);
  auto seconds = [](timeval t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return seconds(r.ru_utime) + seconds(r.ru_stime);
}

std::size_t threads() {
  auto all = std::filesystem::directory_iterator("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

void run_plain(unsigned workers, task<> (*body)()) {
  options o;
  o.workers = workers;
  leash::run(o, body);
  EXPECT_EQ(num_goroutines(), 0u);
}

class Reactor : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, Reactor, ::testing::Values(1, 2, 4), [](auto& i) { return std::to_string(i.param); });

TEST_P(Reactor, an_idle_program_that_waits_for_a_socket_uses_no_processor) {
  run_plain(GetParam(), []() -> task<> {
    net::tcp_listener listener("127.0.0.1:0");
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("waits"), [&]() -> task<> { (void)co_await listener.accept(); });
      co_await sleep(20ms);
      double const before = processor_seconds();
      co_await sleep(500ms);
      // A poll each millisecond would show as 500 of them.
      EXPECT_LT(processor_seconds() - before, 0.02);
      s.cancel("seen");
    });
  });
}

TEST_P(Reactor, needs_no_thread) {
  static std::size_t before;
  before = threads() + GetParam() - 1;  // this one is a worker
  run_plain(GetParam(), []() -> task<> {
    co_await eventually([] { return threads() == before; }, "all workers to have begun");
    auto [a, b] = co_await tcp_streams();
    co_await a.write_all("x");
    char in[1];
    (void)co_await b.read_some(in);
    EXPECT_EQ(threads(), before);
  });
}

// With two workers or more: one computes, and the others see to what comes.
TEST_P(Reactor, a_worker_that_computes_holds_up_nobody) {
  if (GetParam() == 1) GTEST_SKIP() << "one worker has no other";
  run_plain(GetParam(), []() -> task<> {
    auto [a, b] = co_await tcp_streams();
    std::atomic<int> rounds{0};
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("echo"), [&]() -> task<> {
        char in[1];
        while (co_await b.read_some(in)) co_await b.write_all(net::const_bytes(in, 1));
      });
      s.go(named("asks"), [&]() -> task<> {
        char in[1];
        for (; rounds < 200; ++rounds) {
          co_await a.write_all("x");
          (void)co_await a.read_some(in);
        }
        a.shutdown();
      });
      co_await eventually([&] { return rounds > 0; });
      // This worker does not get on until they have.
      for (auto end = std::chrono::steady_clock::now() + 20s; rounds < 200 && std::chrono::steady_clock::now() < end;) {
      }
      EXPECT_EQ(rounds, 200);
    });
  });
}

TEST_P(Reactor, busy_workers_see_to_it_in_between) {
  run_plain(GetParam(), []() -> task<> {
    auto [a, b] = co_await tcp_streams();
    std::atomic<bool> done{false};
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 8; ++i)  // more than workers, and never idle
        s.go([&done]() -> task<> {
          while (!done) co_await yield();
        });
      s.go([&]() -> task<> {
        char in[1];
        for (int i = 0; i < 100; ++i) {
          co_await a.write_all("x");
          (void)co_await b.read_some(in);
        }
        done = true;
      });
      co_return;
    });
    EXPECT_TRUE(done);
  });
}

TEST_P(Reactor, foreign_threads_and_timers_get_through_while_it_waits) {
  run_plain(GetParam(), []() -> task<> {
    auto [a, b] = co_await tcp_streams();
    auto [tx, rx] = channel<int>();
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("waits"), [&]() -> task<> {
        char in[1];
        (void)co_await a.read_some(in);
      });
      std::thread foreign([&tx] {
        for (int i = 0; i < 200;) i += tx.try_send(i) == try_result::done ? 1 : 0;
      });
      for (int i = 0; i < 200; ++i) EXPECT_EQ(co_await rx.recv(), i);
      foreign.join();
      for (int i = 0; i < 20; ++i) {
        auto const t = now();
        co_await sleep(200us);
        EXPECT_GE(now() - t, 200us);
      }
      EXPECT_EQ(co_await blocking([] { return 5; }), 5);
      s.cancel("seen");
    });
  });
}

// Many pairs, all hand over at once; each waits for the other most of the time.
TEST_P(Reactor, many_pairs_ping_and_pong) {
  run_plain(GetParam(), []() -> task<> {
    int const pairs = 50, rounds = 100;
    std::vector<tcp_pair> all;
    for (int i = 0; i < pairs; ++i) all.push_back(co_await tcp_streams());
    co_await with_scope([&](scope& s) -> task<> {
      for (auto& p : all) {
        s.go([&p]() -> task<> {
          char in[1];
          for (int i = 0; i < rounds; ++i) {
            co_await p.a.write_all("x");
            (void)co_await p.a.read_some(in);
          }
          p.a.shutdown();
        });
        s.go([&p]() -> task<> {
          char in[1];
          while (co_await p.b.read_some(in)) co_await p.b.write_all("y");
        });
      }
      co_return;
    });
  });
}

// The run cannot deadlock while something may come, and can when nothing may.
TEST_P(Reactor, a_goroutine_in_io_is_no_deadlock_and_one_beside_it_is) {
  static std::mutex telling;
  static std::string report;
  report.clear();
  options o;
  o.workers = GetParam();
  o.on_leak = [](const leak_report& r) {
    std::lock_guard guard(telling);
    report += text(r);
  };
  o.leak_check_every = 2ms;
  leash::run(o, []() -> task<> {
    auto [a, b] = co_await tcp_streams();
    co_await with_scope([&](scope& s) -> task<> {
      s.go(named("reads"), [&a]() -> task<> {
        char in[1];
        (void)co_await a.read_some(in);
      });
      s.go(named("leaks"), []() -> task<> {
        auto [tx, rx] = channel<int>();
        (void)co_await rx.recv();
        (void)tx;
      });
      co_await eventually([] {
        std::lock_guard guard(telling);
        return !report.empty();
      });
      s.cancel("seen");
    });
  });
  EXPECT_NE(report.find("leaks"), std::string::npos) << report;
  EXPECT_EQ(report.find("\"reads\""), std::string::npos) << report;
  EXPECT_THROW(leash::run([]() -> task<> {
                 auto [a, b] = co_await tcp_streams();
                 auto [tx, rx] = channel<int>();
                 (void)co_await rx.recv();
                 (void)tx;
               }),
               deadlock_error);
}

// Idle connections cost memory only. As many as the limit on descriptors allows, up to 10,000.
TEST_P(Reactor, idle_connections_are_cheap) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  static int connections;
  connections = static_cast<int>(std::min<rlim_t>(10'000, (limit.rlim_cur - 200) / 2));
  if (LEASH_TSAN) connections = std::min(connections, 1000);
  auto resident = [] {
    long pages = 0, size = 0;
    if (std::FILE* f = std::fopen("/proc/self/statm", "r")) {
      if (std::fscanf(f, "%ld %ld", &size, &pages) != 2) pages = 0;
      std::fclose(f);
    }
    return static_cast<double>(pages) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  };
  static double before, after;
  static decltype(resident)* measure = &resident;
  run_plain(GetParam(), []() -> task<> {
    net::tcp_listener listener("127.0.0.1:0");
    std::vector<int> clients;  // plain descriptors: what is measured is the server's side
    clients.reserve(static_cast<std::size_t>(connections));
    before = (*measure)();
    co_await with_scope([&](scope& s) -> task<> {
      s.go([&]() -> task<> {
        co_await net::serve(listener, {.max_connections = 20'000, .name = "idle"}, [](net::tcp_stream c) -> task<> {
          char in[16];
          while (std::size_t n = co_await c.read_some(in)) co_await c.write_all(net::const_bytes(in, n));
        });
      });
      auto const at = listener.local_endpoint();
      for (int i = 0; i < connections; ++i) {
        int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CO_ASSERT_TRUE(fd >= 0);
        clients.push_back(fd);
        // Not on a worker: it may have to wait for the server.
        int const r = co_await blocking(
            [&] { return ::connect(fd, static_cast<const sockaddr*>(at.data()), static_cast<socklen_t>(at.size())); });
        CO_ASSERT_EQ(r, 0);
      }
      co_await eventually([] { return count_parked("idle", "IO wait") == static_cast<std::size_t>(connections); });
      after = (*measure)();
      // They are alive.
      for (int i = 0; i < connections; i += 97) {
        char c = 'x';
        CO_ASSERT_EQ(::write(clients[static_cast<std::size_t>(i)], &c, 1), 1);
        co_await blocking([&] { return ::read(clients[static_cast<std::size_t>(i)], &c, 1); });
      }
      s.cancel("seen");
    });
    for (int fd : clients) ::close(fd);
  });
  double const each = (after - before) / connections;
  std::printf("%d idle connections: %.0f bytes each, user space, server's side\n", connections, each);
#if !LEASH_TSAN && !LEASH_ASAN
  EXPECT_LT(each, 6 * 1024);
#endif
}

}  // namespace
