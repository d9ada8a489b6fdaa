// refused: nodiscard
// A task that nobody awaits never runs.
#include <leash/leash.hpp>

leash::task<> work() { co_return; }

leash::task<> app() {
#ifdef REFUSED
  work();
  co_return;
#else
  co_await work();
#endif
}
