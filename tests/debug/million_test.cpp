// Many goroutines: a profile of them needs little memory and time, and stops nobody. LEASH_LONG=1: a million.
#include <fstream>

#include "client.hpp"

namespace leash::test::million_tests {

using debug::serve;

std::size_t status_kib(const std::string& key) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key + ":")) return std::stoul(line.substr(key.size() + 1));
  return 0;
}

#if !LEASH_TSAN && !LEASH_ASAN  // they have memory of their own
TEST(Many, ProfilesTakeLittleMemory) {
  std::size_t const many = long_run() ? 1'000'000 : 100'000;
  std::atomic<std::uint64_t> steps{0};
  std::thread program([&] {
    options o;
    o.workers = 2;
    run(o, [&]() -> task<> {
      auto [tx, rx] = channel<int>();
      std::atomic<std::size_t> arrived{0};
      co_await with_scope([&](scope& s) -> task<> {
        for (std::size_t i = 0; i < many; ++i) {
          s.go([&]() -> task<> {
            ++arrived;
            (void)co_await rx.recv();
          });
        }
        while (arrived != many) co_await yield();
        s.go([&]() -> task<> {  // goes on all the time
          for (;;) {
            ++steps;
            co_await yield();
          }
        });
        auto served = serve("127.0.0.1:0");
        for (std::string what : {"goroutine", "goroutine?debug=1", "goroutine?debug=2"}) {
          (void)co_await blocking([&] { return get(served.port(), "/debug/pprof/cmdline"); });
          std::ofstream("/proc/self/clear_refs") << "5";  // the peak counts from here
          std::size_t const before = status_kib("VmRSS");
          std::uint64_t const stepped = steps;
          auto const from = std::chrono::steady_clock::now();
          response r;
          std::size_t told = 0;
          if (what == "goroutine?debug=2") {
            told = co_await blocking([&] {
              connection c(served.port());
              EXPECT_TRUE(c.write("GET /debug/pprof/" + what + " HTTP/1.0\r\n\r\n"));
              return c.count_all("\ngoroutine ");
            });
          } else {
            r = co_await blocking([&] { return get(served.port(), "/debug/pprof/" + what); });
          }
          auto const took = std::chrono::steady_clock::now() - from;
          std::size_t const peak = status_kib("VmHWM"), more = peak > before ? peak - before : 0;
          if (what == "goroutine?debug=2") {
            EXPECT_EQ(told, many + 2);
          } else {
            EXPECT_TRUE(r.whole);
          }
          if (what == "goroutine?debug=1")
            EXPECT_NE(r.body.find("total " + std::to_string(many + 2) + "\n"), r.body.npos) << r.body;
          EXPECT_LT(more, 64u << 10) << "KiB for " << what;
          EXPECT_GT(steps, stepped) << "nobody was stopped";
#ifdef NDEBUG
          if (what == "goroutine" && many == 1'000'000) EXPECT_LT(took, 1500ms);
#endif
          std::printf("%zu goroutines, %s: %.3f s, %zu KiB more, %zu bytes\n", many, what.c_str(),
                      std::chrono::duration<double>(took).count(), more, r.body.size());
        }
        s.cancel("seen");
      });
    });
  });
  program.join();
}
#endif

}  // namespace leash::test::million_tests
