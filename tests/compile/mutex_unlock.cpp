// refused: no member named 'unlock' in 'leash::mutex'
// A lock is held only through its guard.
#include <leash/leash.hpp>

leash::task<> app(leash::mutex& m) {
  auto guard = co_await m.lock();
#ifdef REFUSED
  m.unlock();
#endif
}
