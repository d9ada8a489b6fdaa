// refused: (deleted|implicitly-deleted) .*constructor
// Ends are counted; another one is made by saying so.
#include <leash/leash.hpp>

leash::sender<int> another(const leash::sender<int>& tx) {
#ifdef REFUSED
  return tx;
#else
  return tx.dup();
#endif
}
