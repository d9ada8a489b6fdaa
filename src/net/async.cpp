#include <leash/net/async.hpp>

#include "reactor.hpp"

namespace leash::net {

void io_wait_core::prepare() noexcept { (void)reactor_of(*runtime_at(who->runtime_index)).context(); }

void io_wait_core::cancel(outside_wait* o) noexcept {
  reactor_of(*runtime_at(o->who->runtime_index)).cancel(static_cast<io_wait_core*>(o));
}

void io_wait_core::over() noexcept {
  // seq_cst, both: either the reactor, which lists it, sees that it is over, or this sees that it is listed.
  over_.store(true);
  if (listed_.load()) {
    // The reactor takes it off its list. It does by itself if this runs inside.
    asio_reactor& r = reactor_of(*runtime_at(who->runtime_index));
    if (this_worker == nullptr || !this_worker->in_reactor) r.look_again();
  }
  ended_part(this);
}

void throw_io_error(const error_code& e, std::source_location) { throw system_error(e); }

}  // namespace leash::net
