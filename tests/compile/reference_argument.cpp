// refused: no matching (member function for call to 'go'|function for call to)|cannot bind|could not bind|static
// assertion failed A parameter T& would refer to the goroutine's own copy: the caller says std::ref.
#include <functional>
#include <leash/leash.hpp>

leash::task<> count(int& n) {
  ++n;
  co_return;
}

leash::task<> app() {
  int n = 0;
  co_await leash::with_scope([&](leash::scope& s) -> leash::task<> {
#ifdef REFUSED
    s.go(count, n);
#else
    s.go(count, std::ref(n));
#endif
    co_return;
  });
}
