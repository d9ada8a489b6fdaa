#include <boost/asio/post.hpp>
#include <leash/net/async.hpp>
#include <string>

#include "reactor.hpp"

namespace leash::net {

void io_wait_core::prepare() noexcept { (void)reactor_of(*runtime_at(who->runtime_index)); }

void io_wait_core::cancel(outside_wait* o) noexcept {
  auto* w = static_cast<io_wait_core*>(o);
  asio_reactor& r = reactor_of(*runtime_at(w->who->runtime_index));
  if (r.turn.try_lock()) {
    // The operation does not end meanwhile: its handler would need the turn.
    if (!w->over_.load(std::memory_order_relaxed)) w->signal_.emit(asio::cancellation_type::all);
    r.turn.unlock();
  } else {
    w->emit_later();
  }
}

void io_wait_core::emit_later() noexcept {
  if (!begin_part(this)) return;
  asio::post(reactor_of(*runtime_at(who->runtime_index)).context(), [this] {
    emitting_ = false;
    if (!over_.load(std::memory_order_relaxed)) signal_.emit(asio::cancellation_type::all);
    ended_part(this);
  });
}

void io_wait_core::cancel_again() noexcept {
  if (std::exchange(emitting_, true)) return;
  emit_later();
}

void throw_io_error(const error_code& e, std::source_location) { throw system_error(e); }

}  // namespace leash::net
