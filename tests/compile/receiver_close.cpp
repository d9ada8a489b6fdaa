// refused: no member named 'close' in 'leash::receiver<int>'
// Only senders close.
#include <leash/leash.hpp>

void end(leash::sender<int> tx, leash::receiver<int> rx) {
#ifdef REFUSED
  rx.close();
#else
  rx.drop();
#endif
  tx.close();
}
