// refused: (deleted|implicitly-deleted|no matching) .*constructor
// An operation refers to its place; it is awaited or handed to select where it is made.
#include <leash/leash.hpp>
#include <utility>

leash::task<> app(leash::receiver<int> rx) {
#ifdef REFUSED
  auto&& op = rx.recv();
  auto moved = std::move(op);
#else
  (void)co_await rx.recv();
#endif
  co_return;
}
