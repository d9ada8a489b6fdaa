#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <leash/net/descriptor.hpp>
#include <leash/worker.hpp>
#include <stdexcept>

#include "reactor.hpp"

namespace leash::net {

bool fd_wait::worth_a_try() const noexcept { return on_->is_open() && (polled_ || !on_->is_drained(kind_->writes)); }

bool fd_wait::failed(int number) noexcept {
  if (number == EAGAIN || number == EWOULDBLOCK) {
    on_->set_drained(kind_->writes, true);
    return false;
  }
  error_ = error_code(number, boost::system::system_category());
  return came_ = true;
}

void fd_wait::start(outside_wait* o) noexcept {
  auto* w = static_cast<fd_wait*>(o);
  if (w->on_->is_open()) {
    w->at_ = &w->on_->here();
    return w->at_->add(w);
  }
  w->fails(asio::error::bad_descriptor);
  ended_part(w);
}

void fd_wait::cancel(outside_wait* o) noexcept {
  auto* w = static_cast<fd_wait*>(o);
  w->at_->cut(w);
}

void fd_wait::fails(const error_code& e) noexcept {
  error_ = e;
  came_ = true;
}

bool fd_wait::leaves_some() const noexcept {
  return kind_->how == mode::tries && (error_ || !on_->is_drained(kind_->writes));
}

bool fd_wait::cut_short(const outside_wait* o) noexcept {
  auto* w = static_cast<const fd_wait*>(o);
  return w->error_ == asio::error::operation_aborted;
}

bool fd_wait::succeeded() {
  taken_ = true;
  if (out_ != nullptr) {
    *out_ = error_;
  } else if (error_) {
    throw system_error(error_);
  }
  return !error_;
}

// poll(2) costs as much as waiting, so a wait on its own does not ask first.
bool ready_wait::fast() noexcept {
  if (!polled()) return false;
  pollfd p{on().native_handle(), static_cast<short>(writes() ? POLLOUT : POLLIN), 0};
  return on().is_open() && ::poll(&p, 1, 0) == 1 && attempt();
}

void ready_wait::put_back() noexcept {
  if (kind_->how == mode::news && on().is_open()) on().here().renew();
}

const fd_wait::kind ready_wait::in = fd_wait::kind_of<ready_wait>(false, mode::asks);
const fd_wait::kind ready_wait::out = fd_wait::kind_of<ready_wait>(true, mode::asks);
const fd_wait::kind ready_wait::news = fd_wait::kind_of<ready_wait>(false, mode::news);

descriptor::descriptor(int fd, std::source_location where) { adopt(fd, true, where); }
descriptor::descriptor(int fd, borrowed_t, std::source_location where) { adopt(fd, false, where); }

void descriptor::adopt(int fd, bool owned, std::source_location where) {
  try {
    std::shared_ptr<reactor> r = reactor_here(where);
    int on = 1;
    if (::ioctl(fd, FIONBIO, &on) != 0) throw system_error(error_code(errno, boost::system::system_category()));
    fd_ = &static_cast<asio_reactor&>(*r).watch(fd);
    keep_ = std::move(r);
    owned_ = owned;
  } catch (...) {
    if (owned) ::close(fd);  // who gives it away need not think of this case
    throw;
  }
}

descriptor::descriptor() noexcept = default;
descriptor::descriptor(descriptor&& o) noexcept
    : keep_(std::move(o.keep_)),
      fd_(std::exchange(o.fd_, nullptr)),
      owned_(o.owned_),
      drained_{o.is_drained(false), o.is_drained(true)} {}
descriptor& descriptor::operator=(descriptor&& o) noexcept {
  if (this != &o) {
    close();
    keep_ = std::move(o.keep_);
    fd_ = std::exchange(o.fd_, nullptr);
    owned_ = o.owned_;
    set_drained(false, o.is_drained(false));
    set_drained(true, o.is_drained(true));
  }
  return *this;
}
descriptor::~descriptor() { close(); }

int descriptor::native_handle() const noexcept { return fd_ != nullptr ? fd_->fd() : -1; }

watched_fd& descriptor::here() const {
  if (fd_ == nullptr) throw std::logic_error("leash::net: the descriptor is closed");
  return *fd_;
}

void descriptor::close() noexcept {
  bool const owned = owned_;
  if (int const fd = release(); owned && fd >= 0) ::close(fd);
}

int descriptor::release() noexcept {
  if (fd_ == nullptr) return -1;
  watched_fd& f = *std::exchange(fd_, nullptr);
  int const fd = f.fd();
  std::shared_ptr<reactor> const keep = std::move(keep_);
  f.close();
  static_cast<asio_reactor&>(*keep).forget(f);
  return fd;
}

}  // namespace leash::net
