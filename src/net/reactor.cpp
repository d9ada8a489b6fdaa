#include "reactor.hpp"

#include <sys/timerfd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <leash/net/async.hpp>
#include <memory>
#include <system_error>

namespace leash::net {

asio_reactor::asio_reactor() {
  int const fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "leash::net: timerfd_create");
  clock_.assign(fd);
  listen();
}

void asio_reactor::listen() {
  clock_.async_read_some(boost::asio::buffer(&expirations_, sizeof expirations_), [this](error_code e, std::size_t) {
    if (e) return;
    armed_ = INT64_MAX;
    listen();
  });
}

void asio_reactor::arm(std::int64_t until) noexcept {
  if (until == armed_) return;
  itimerspec t{};
  if (until != INT64_MAX) {
    std::int64_t const at = until > 0 ? until : 1;
    t.it_value.tv_sec = at / 1'000'000'000;
    t.it_value.tv_nsec = at % 1'000'000'000;
  }
  timerfd_settime(clock_.native_handle(), TFD_TIMER_ABSTIME, &t, nullptr);
  armed_ = until;
}

// A handler that is not leash's may throw; nobody could catch that.
void asio_reactor::poll() noexcept {
  context_.poll();
  settle_cancelled();
}

void asio_reactor::wait(std::int64_t until) noexcept {
  arm(until);
  // What else is ready comes with the next poll: one more here would ask the kernel once more for each event.
  context_.run_one();
  settle_cancelled();
}

// N2: a part of the wait for as long as it is listed.
void asio_reactor::cancel(io_wait_core* w) noexcept {
  if (!outside_wait::begin_part(w)) return;
  if (turn.try_lock()) {
    add_cancelled(w);
    emit_cancelled();
    turn.unlock();
  } else {
    boost::asio::post(context_, [this, w] { add_cancelled(w); });
  }
}

void asio_reactor::add_cancelled(io_wait_core* w) noexcept {
  w->next_cancelled_ = cancelled_;
  cancelled_ = w;
  w->listed_.store(true);
}

void asio_reactor::emit_cancelled() noexcept {
  for (io_wait_core** at = &cancelled_; *at != nullptr;) {
    io_wait_core* w = *at;
    if (!w->over_.load()) w->signal_.emit(asio::cancellation_type::all);
    if (w->over_.load()) {
      *at = w->next_cancelled_;
      outside_wait::ended_part(w);
    } else {
      at = &w->next_cancelled_;
    }
  }
}

void asio_reactor::settle_cancelled() noexcept {
  while (cancelled_ != nullptr) {
    emit_cancelled();
    if (context_.poll() == 0) break;
  }
}

void asio_reactor::interrupt() noexcept {
  if (interrupted_.exchange(true, std::memory_order_acq_rel)) return;  // R3: it is kept
  boost::asio::post(context_, [this] { interrupted_.store(false, std::memory_order_release); });
}

asio_reactor& reactor_of(runtime& rt) {
  if (reactor* r = rt.io.load(std::memory_order_acquire)) return static_cast<asio_reactor&>(*r);
  return static_cast<asio_reactor&>(rt.use_reactor(std::make_shared<asio_reactor>()));
}

std::shared_ptr<reactor> reactor_here(std::source_location where) {
  runtime& rt = *runtime_at(running_goroutine("leash::net", where)->runtime_index);
  (void)reactor_of(rt);
  return rt.io_owner;
}

asio::io_context& context(std::source_location where) {
  return reactor_of(*runtime_at(running_goroutine("leash::net", where)->runtime_index)).context();
}

}  // namespace leash::net
