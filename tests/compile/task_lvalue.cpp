// refused: a task is awaited as an rvalue
// A task runs once: awaiting it uses it up.
#include <leash/leash.hpp>
#include <utility>

leash::task<> work() { co_return; }

leash::task<> app() {
  auto t = work();
#ifdef REFUSED
  co_await t;
#else
  co_await std::move(t);
#endif
}
