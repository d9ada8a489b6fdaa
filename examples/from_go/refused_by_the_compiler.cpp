// Go's advice: run vet (copied locks, lost cancel functions, variables caught by a goroutine) and check with -race.
// Here the types refuse most of it; what the language cannot see, go() refuses when it is called.
// The static checks for the rest come later, as clang-tidy checks.
#include <concepts>
#include <cstdio>
#include <leash/leash.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

using leash::task;

task<> print(std::string_view text) {
  std::printf("A borrowed view was printed: %.*s\n", int(text.size()), text.data());
  co_return;
}

// copylocks: locks and groups stay where they are; ends and guards move, but are never copied by accident.
static_assert(!std::movable<leash::mutex> && !std::movable<leash::wait_group>);
static_assert(std::movable<leash::sender<int>> && !std::copy_constructible<leash::sender<int>>);
static_assert(std::movable<leash::mutex::guard> && !std::copy_constructible<leash::mutex::guard>);

// lostcancel: a source that is dropped can never fire, so there is no cancel function that must be called.
static_assert(std::movable<leash::cancel_source> && !std::copy_constructible<leash::cancel_source>);

// Unlock without lock, Done without Add, close by a receiver: there is no such call.
template <class T>
concept has_unlock = requires(T& t) { t.unlock(); };
template <class T>
concept has_done = requires(T& t) { t.done(); };
template <class T>
concept has_close = requires(T& t) { t.close(); };
static_assert(!has_unlock<leash::mutex> && !has_done<leash::wait_group> && !has_close<leash::receiver<int>>);

// A goroutine may outlive what a view looks at: the view is refused, its owner or borrow(view) is taken.
template <class Arg>
concept can_be_started_with = requires(leash::scope& s, Arg arg) { s.go(print, std::move(arg)); };
static_assert(!can_be_started_with<std::string_view>);
static_assert(can_be_started_with<std::string> && can_be_started_with<leash::borrowed<std::string_view>>);

task<int> app() {
  std::string told;
  bool refused = false;
  const std::string outside = "it lives outside the scope";
  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    int local = 0;
    try {
      s.go([&local] { ++local; });  // `local` dies before the goroutine is joined
    } catch (const std::logic_error& e) {
      refused = true;
      told = e.what();
    }
    s.go(print, leash::borrow(std::string_view(outside)));
    co_return;
  });
  std::printf("A goroutine that would have used a dead variable was refused: %s\n", told.c_str());
  if (!refused || told.empty()) std::puts("FAILED: it was started.");
  co_return refused && !told.empty() ? 0 : 1;
}

int main() { return leash::run(app); }
