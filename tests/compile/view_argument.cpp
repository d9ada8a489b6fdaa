// refused: no matching member function for call to 'go'
// A goroutine owns its arguments; a view owns nothing, so passing one on must be said: borrow().
#include <leash/leash.hpp>
#include <string_view>

leash::task<> look(std::string_view) { co_return; }

leash::task<> app(std::string_view text) {
  co_await leash::with_scope([&](leash::scope& s) -> leash::task<> {
#ifdef REFUSED
    s.go(look, text);
#else
    s.go(look, leash::borrow(text));
#endif
    co_return;
  });
}
