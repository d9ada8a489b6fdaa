// refused: this operation is no case of a select
// A call that runs on another thread cannot be taken back when another case wins.
#include <leash/leash.hpp>

leash::task<> app() {
#ifdef REFUSED
  co_await leash::select(leash::blocking([] {}), leash::sleep(leash::nanoseconds(1)));
#else
  co_await leash::with_scope([](leash::scope& s) -> leash::task<> {
    auto call = s.go([]() -> leash::task<> { co_await leash::blocking([] {}); });
    (void)co_await leash::select(call.join(), leash::sleep(leash::nanoseconds(1)));
  });
#endif
}
