#include "reactor.hpp"

#include <sys/timerfd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <leash/net/async.hpp>
#include <memory>
#include <system_error>

namespace leash::net {

// --- Asio

asio_part::asio_part(const pollers& all) {
  int const fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "leash::net: timerfd_create");
  clock_.assign(fd);
  for (std::uint32_t i = 0; i < all.size(); ++i) places_.emplace_back(context_, all[i].handle());
  listen();
}
asio_part::~asio_part() {
  for (place& p : places_) (void)p.fd.release();
}

void asio_part::listen() {
  clock_.async_read_some(boost::asio::buffer(&expirations_, sizeof expirations_), [this](error_code e, std::size_t) {
    if (e) return;
    armed_ = INT64_MAX;
    listen();
  });
}

void asio_part::arm(std::int64_t until) noexcept {
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
void asio_part::poll() noexcept {
  context_.poll();
  settle_cancelled();
}

void asio_part::wait(std::uint32_t place, std::int64_t until) noexcept {
  if (auto& p = places_[place]; !std::exchange(p.watched, true))
    p.fd.async_wait(asio::posix::descriptor_base::wait_read, [&p](error_code) { p.watched = false; });
  arm(until);
  // What else is ready comes with the next poll: one more here would ask the kernel once more for each event.
  context_.run_one();
  settle_cancelled();
}

// N2: a part of the wait for as long as it is listed.
void asio_part::cancel(io_wait_core* w) noexcept {
  w->next_cancelled_ = cancelled_;
  cancelled_ = w;
  w->listed_.store(true);
}

void asio_part::emit_cancelled() noexcept {
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

void asio_part::settle_cancelled() noexcept {
  while (cancelled_ != nullptr) {
    emit_cancelled();
    if (context_.poll() == 0) break;
  }
}

// --- the whole

asio_reactor::asio_reactor(std::uint32_t workers) : reactor(workers), pollers_(workers) {}
asio_reactor::~asio_reactor() = default;

void asio_reactor::poll(std::uint32_t place) noexcept {
  pollers_[place].wait(0);
  asio_part* const a = asio_.load(std::memory_order_acquire);
  if (a == nullptr) return;
  if (std::unique_lock const turn(a->turn, std::try_to_lock); turn) a->poll();
}

// Who finds the turn taken by one that polls need not wait in Asio: that one does, when it goes to sleep in its turn.
void asio_reactor::wait(std::uint32_t place, std::int64_t until) noexcept {
  if (asio_part* const a = asio_.load(std::memory_order_acquire)) {
    if (std::unique_lock const turn(a->turn, std::try_to_lock); turn) {
      a->wait(place, until);
      until = 0;
    }
  }
  pollers_[place].wait(until);
}

void asio_reactor::cancel(io_wait_core* w) noexcept {
  if (!outside_wait::begin_part(w)) return;
  asio_part& a = *asio_.load(std::memory_order_acquire);
  if (std::unique_lock const turn(a.turn, std::try_to_lock); turn) {
    a.cancel(w);
    a.emit_cancelled();
  } else {
    boost::asio::post(a.context(), [&a, w] { a.cancel(w); });
  }
}

void asio_reactor::look_again() noexcept {
  boost::asio::post(asio_.load(std::memory_order_acquire)->context(), [] {});
}

boost::asio::io_context& asio_reactor::context() {
  if (asio_part* const a = asio_.load(std::memory_order_acquire)) return a->context();
  std::lock_guard guard(making_);
  if (made_ == nullptr) {
    made_ = std::make_unique<asio_part>(pollers_);
    asio_.store(made_.get(), std::memory_order_release);
    // Of those who wait in their pollers one waits in it from now on.
    for (std::uint32_t i = 0; i < pollers_.size(); ++i) pollers_[i].interrupt();
  }
  return made_->context();
}

watched_fd& asio_reactor::watch(int fd) {
  watched_fd& f = fds_.take();
  f.open(pollers_, fd);
  return f;
}

asio_reactor& reactor_of(runtime& rt) {
  if (reactor* r = rt.io.load(std::memory_order_acquire)) return static_cast<asio_reactor&>(*r);
  return static_cast<asio_reactor&>(rt.use_reactor(std::make_shared<asio_reactor>(rt.worker_count)));
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
