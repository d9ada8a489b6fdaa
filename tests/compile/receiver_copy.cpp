// refused: (deleted|implicitly-deleted) .*constructor
// Ends are counted; another one is made by saying so.
#include <leash/leash.hpp>

leash::receiver<int> another(const leash::receiver<int>& rx) {
#ifdef REFUSED
  return rx;
#else
  return rx.dup();
#endif
}
