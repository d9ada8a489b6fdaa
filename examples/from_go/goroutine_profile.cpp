// Go's advice: look at the goroutine profile of pprof; many in one place, for long, are a leak.
// Here goroutines() gives the same facts to the program itself. The pprof endpoint comes with leash::http.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <leash/leash.hpp>
#include <map>
#include <string>

using leash::task;
using namespace std::chrono_literals;

task<> read_from(leash::receiver<int> rx, std::string tenant) {
  leash::label who("tenant", tenant);
  co_await rx.recv();
}

task<> lock_behind(leash::mutex& m) { auto g = co_await m.lock(); }

std::string tenant_of(const leash::goroutine_info& g) {
  for (auto& [key, value] : g.labels)
    if (key == "tenant") return " [tenant " + std::string(value) + "]";
  return "";
}

std::map<std::string, int> profile() {
  std::map<std::string, int> count;
  for (const leash::goroutine_info& g : leash::goroutines())
    if (g.name == "reader" || g.name == "writer") ++count[g.name + ": " + g.wait + tenant_of(g)];
  return count;
}

task<int> app() {
  const std::map<std::string, int> expected = {{"reader: chan receive [tenant blue]", 2},
                                               {"reader: chan receive [tenant red]", 1},
                                               {"writer: sync.Mutex.Lock", 3}};
  std::map<std::string, int> seen;
  bool sites = false;
  leash::mutex m;
  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    auto held = co_await m.lock();
    auto [tx, rx] = leash::channel<int>();
    for (const char* tenant : {"blue", "red", "blue"})
      s.go(leash::named("reader"), read_from, rx.dup(), std::string(tenant));
    for (int i = 0; i < 3; ++i) s.go(leash::named("writer"), lock_behind, std::ref(m));

    co_await leash::with_timeout(5s, [&]() -> task<> {
      while ((seen = profile()) != expected) co_await leash::yield();  // until all are parked
    });
    auto all = leash::goroutines();
    sites = std::ranges::all_of(all, [](const auto& g) { return g.name.empty() || !g.stack.empty(); });
  });  // the lock and the sender go first, so everybody ends

  for (auto& [what, n] : seen) std::printf("%d x %s\n", n, what.c_str());
  bool as_told = seen == expected && sites;
  if (!as_told) std::puts("FAILED: the profile is not what it should be.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
