// refused: this operation is no case of a select
// yield() as a handler's case would always win; forever() never does.
#include <leash/leash.hpp>

leash::task<> app() {
#ifdef REFUSED
  co_await leash::select(leash::on(leash::yield(), [] {}), leash::on(leash::sleep(leash::nanoseconds(1)), [] {}));
#else
  co_await leash::select(leash::on(leash::forever(), [] {}), leash::on(leash::sleep(leash::nanoseconds(1)), [] {}));
#endif
}
