// Go's advice: read the trace of a goroutine that hangs: which calls led to the wait, and who started it.
// Here each goroutine has its whole async stack, from the wait up to its first function, and its parent.
// The trace endpoint comes with leash::http.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <leash/leash.hpp>
#include <optional>
#include <string_view>
#include <utility>

using leash::task;
using namespace std::chrono_literals;

task<int> wait_for_reply(leash::receiver<int>& rx) { co_return (co_await rx.recv()).value_or(-1); }

task<int> ask_storage(leash::receiver<int>& rx) { co_return co_await wait_for_reply(rx) + 1; }

task<> load_profile(leash::receiver<int> rx) { (void)co_await ask_storage(rx); }

std::optional<leash::goroutine_info> find(std::string_view name) {
  for (leash::goroutine_info& g : leash::goroutines())
    if (g.name == name) return std::move(g);
  return std::nullopt;
}

task<int> app() {
  std::optional<leash::goroutine_info> loader, starter;
  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    s.go(leash::named("starter"), [&]() -> task<> {
      co_await leash::with_scope([&](leash::scope& inner) -> task<> {
        auto [tx, rx] = leash::channel<int>();
        inner.go(leash::named("loader"), load_profile, std::move(rx));
        co_await leash::with_timeout(5s, [&]() -> task<> {
          do {
            co_await leash::yield();
            loader = find("loader");
            starter = find("starter");
          } while (!loader || loader->wait != "chan receive");  // until it is parked
        });
      });
    });
    co_return;
  });
  if (!loader || !starter) {
    std::puts("FAILED: a goroutine is missing.");
    co_return 1;
  }

  std::printf("goroutine %llu \"loader\" waits: %s\n", static_cast<unsigned long long>(loader->id),
              loader->wait.c_str());
  for (const auto& f : loader->stack) std::printf("  %s:%u\n", std::string(f.function).c_str(), unsigned(f.line));
  std::printf("started by goroutine %llu \"starter\"\n", static_cast<unsigned long long>(loader->parent));

  auto passes_through = [&](std::string_view function) {
    return std::ranges::any_of(loader->stack, [&](const auto& f) {
      return std::string_view(f.function).find(function) != std::string_view::npos && f.line != 0;
    });
  };
  bool as_told = loader->wait == "chan receive" && loader->parent == starter->id && passes_through("wait_for_reply") &&
                 passes_through("ask_storage") && passes_through("load_profile");
  if (!as_told) std::puts("FAILED: the stack does not lead from the wait to the start.");
  co_return as_told ? 0 : 1;
}

int main() { return leash::run(app); }
