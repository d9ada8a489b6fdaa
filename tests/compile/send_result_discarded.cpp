// refused: nodiscard
// Whoever sends decides what becomes of a value that nobody takes.
#include <leash/leash.hpp>

leash::task<> app(leash::sender<int> tx) {
#ifdef REFUSED
  co_await tx.send(1);
#else
  (void)co_await tx.send(1);
#endif
}
