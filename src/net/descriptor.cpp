#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <leash/net/descriptor.hpp>
#include <leash/worker.hpp>
#include <stdexcept>

#include "reactor.hpp"

namespace leash::net {

struct descriptor::state {
  std::shared_ptr<reactor> keep;  // outlives the run with the descriptor, if that does
  asio::posix::basic_stream_descriptor<executor_type> fd;
  bool owned;
  state(std::shared_ptr<reactor> r, int number, bool own)
      : keep(std::move(r)), fd(static_cast<asio_reactor&>(*keep).context().get_executor(), number), owned(own) {}
};

class fd_handler {
 public:
  using allocator_type = io_allocator<std::byte>;
  using cancellation_slot_type = asio::cancellation_slot;
  explicit fd_handler(fd_wait* w) noexcept : wait_(w) {}
  fd_handler(fd_handler&& o) noexcept : wait_(std::exchange(o.wait_, nullptr)) {}
  fd_handler& operator=(fd_handler&&) = delete;
  ~fd_handler() {
    if (wait_ != nullptr) wait_->answered(asio::error::operation_aborted);
  }
  void operator()(const error_code& e) noexcept { std::exchange(wait_, nullptr)->answered(e); }
  allocator_type get_allocator() const noexcept { return {}; }
  cancellation_slot_type get_cancellation_slot() const noexcept {
    return wait_ != nullptr ? wait_->slot() : asio::cancellation_slot();
  }

 private:
  fd_wait* wait_;
};

bool fd_wait::worth_a_try() const noexcept { return on_->is_open() && (polled_ || !on_->is_drained(kind_->writes)); }

bool fd_wait::failed(int number) noexcept {
  if (number == EAGAIN || number == EWOULDBLOCK || number == EINTR) {
    on_->set_drained(kind_->writes, true);
    return false;
  }
  error_ = error_code(number, boost::system::system_category());
  return came_ = true;
}

void fd_wait::start(outside_wait* o) noexcept {
  auto* w = static_cast<fd_wait*>(o);
  w->prepare();
  w->ask();
}

void fd_wait::ask() noexcept {
  if (!on_->is_open()) return answered(asio::error::bad_descriptor);
  using wait = asio::posix::descriptor_base;
  try {
    on_->here().fd.async_wait(kind_->writes ? wait::wait_write : wait::wait_read, fd_handler(this));
  } catch (...) {
    failure_ = std::current_exception();  // the handler has answered
  }
}

void fd_wait::answered(const error_code& e) noexcept {
  if (!e && !kind_->attempt(this)) return ask();
  if (e) {
    error_ = e;
    came_ = true;
  }
  over();
}

bool fd_wait::cut_short(const outside_wait* o) noexcept {
  auto* w = static_cast<const fd_wait*>(o);
  return w->error_ == asio::error::operation_aborted;
}

bool fd_wait::succeeded() {
  taken_ = true;
  if (failure_) std::rethrow_exception(std::move(failure_));
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

const fd_wait::kind ready_wait::in = fd_wait::kind_of<ready_wait>(false);
const fd_wait::kind ready_wait::out = fd_wait::kind_of<ready_wait>(true);

descriptor::descriptor(int fd, std::source_location where) { adopt(fd, true, where); }
descriptor::descriptor(int fd, borrowed_t, std::source_location where) { adopt(fd, false, where); }

void descriptor::adopt(int fd, bool owned, std::source_location where) {
  try {
    state_ = std::make_unique<state>(reactor_here(where), fd, owned);
    state_->fd.native_non_blocking(true);  // set once, so that a reader and a writer need not
  } catch (...) {
    // Who gives it away need not think of this case; Asio has closed it, if it came that far.
    if (state_ != nullptr) {
      if (!owned) (void)state_->fd.release();
      state_ = nullptr;
    } else if (owned) {
      ::close(fd);
    }
    throw;
  }
}

descriptor::descriptor() noexcept = default;
descriptor::descriptor(descriptor&& o) noexcept
    : state_(std::move(o.state_)), drained_{o.is_drained(false), o.is_drained(true)} {}
descriptor& descriptor::operator=(descriptor&& o) noexcept {
  if (this != &o) {
    close();
    state_ = std::move(o.state_);
    set_drained(false, o.is_drained(false));
    set_drained(true, o.is_drained(true));
  }
  return *this;
}
descriptor::~descriptor() { close(); }

int descriptor::native_handle() const noexcept { return state_ != nullptr ? state_->fd.native_handle() : -1; }

descriptor::state& descriptor::here() const {
  if (state_ == nullptr) throw std::logic_error("leash::net: the descriptor is closed");
  return *state_;
}

void descriptor::close() noexcept {
  if (state_ == nullptr) return;
  if (!state_->owned) (void)release();
  state_ = nullptr;
}

int descriptor::release() noexcept {
  if (state_ == nullptr) return -1;
  int const fd = state_->fd.release();
  state_ = nullptr;
  return fd;
}

}  // namespace leash::net
