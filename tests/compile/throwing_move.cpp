// refused: nothrow|noexcept
// A value changes hands under no one's eyes: its move must not throw.
#include <leash/leash.hpp>

struct fragile {
  fragile();
#ifdef REFUSED
  fragile(fragile&&) noexcept(false);
#else
  fragile(fragile&&) noexcept;
#endif
};

void make() { auto ends = leash::channel<fragile>(1); }
