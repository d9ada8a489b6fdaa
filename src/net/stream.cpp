#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <leash/net/stream.hpp>
#include <system_error>

#include "whole.hpp"

namespace leash::net {

namespace {

error_code last_error(int number) { return error_code(number, boost::system::system_category()); }

/// A write to a pipe that nobody reads raises SIGPIPE, which would end the process; of a socket it can be told not to.
class without_sigpipe {
 public:
  without_sigpipe() noexcept {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &old_);
  }
  ~without_sigpipe() {
    int const number = errno;
    timespec none{};
    if (number == EPIPE && !was_pending_)
      while (sigtimedwait(&pipe_, nullptr, &none) == -1 && errno == EINTR) {
      }
    pthread_sigmask(SIG_SETMASK, &old_, nullptr);
    errno = number;
  }

 private:
  sigset_t pipe_, old_;
  bool was_pending_;
};

ssize_t write_now(int fd, bool is_socket, iovec* pieces, std::size_t n) noexcept {
  for (;;) {
    ssize_t r;
    if (is_socket) {
      msghdr m{};
      m.msg_iov = pieces;
      m.msg_iovlen = n;
      r = ::sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    } else {
      without_sigpipe const here;
      r = ::writev(fd, pieces, static_cast<int>(n));
    }
    if (r >= 0 || errno != EINTR) return r;
  }
}

}  // namespace

stream::stream(descriptor d) : fd_(std::move(d)) {
  struct stat s{};
  is_socket_ = ::fstat(fd_.native_handle(), &s) == 0 && S_ISSOCK(s.st_mode);
}

std::size_t stream::take_kept(mutable_bytes to) noexcept {
  std::size_t const n = std::min(to.size(), kept_.size());
  if (n == 0) return 0;
  std::memcpy(to.data(), kept_.data(), n);
  kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(n));
  return n;
}

void stream::keep(const std::byte* p, std::size_t n) { kept_.insert(kept_.begin(), p, p + n); }

const fd_wait::kind read_wait::how = fd_wait::kind_of<read_wait>(false);
const fd_wait::kind write_wait::how = fd_wait::kind_of<write_wait>(true);

bool read_wait::attempt() noexcept {
  if (!on_->kept_.empty() || to_.empty()) {
    n_ = on_->take_kept(to_);
    on().set_drained(false, false);
    return came_ = true;
  }
  ssize_t r = 0;
  do r = ::read(on().native_handle(), to_.data(), to_.size());
  while (r < 0 && errno == EINTR);
  if (r < 0) return failed(errno);
  n_ = static_cast<std::size_t>(r);
  on().set_drained(false, n_ != 0 && n_ < to_.size());
  return came_ = true;
}

bool write_wait::write() noexcept {
  constexpr std::size_t most = 64;
  iovec v[most];
  std::size_t n = 0, bytes = 0, skip = op_.skip_;
  for (const const_bytes& piece : op_.pieces_) {
    if (n == most) break;
    v[n] = {const_cast<std::byte*>(piece.data()) + skip, piece.size() - skip};
    bytes += v[n++].iov_len;
    skip = 0;
  }
  ssize_t const r = write_now(on().native_handle(), op_.on_->is_socket_, v, n);
  if (r < 0) return failed(errno);
  n_ = static_cast<std::size_t>(r);
  on().set_drained(true, n_ < bytes);
  return written_ = came_ = true;
}

std::size_t write_wait::result() {
  if (!written_ && !error_ && on().is_open()) (void)write();
  return succeeded() ? n_ : 0;
}

std::optional<std::size_t> stream::try_read(mutable_bytes to) {
  if (!kept_.empty() || to.empty()) return take_kept(to);
  (void)fd_.here();
  ssize_t const r = ::read(fd_.native_handle(), to.data(), to.size());
  if (r >= 0) return static_cast<std::size_t>(r);
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return std::nullopt;
  throw system_error(last_error(errno));
}

task<bool> stream::read_exactly(mutable_bytes to) { return read_whole(*this, to); }

task<> stream::write_all(const_bytes from) {
  for (std::size_t n = 0; n < from.size();) n += co_await write_some(from.from(n));
}

task<> stream::write_all(std::span<const const_bytes> pieces) {
  std::size_t skip = 0;
  while (!pieces.empty()) {
    if (skip == pieces.front().size()) {
      skip = 0;
      pieces = pieces.subspan(1);
      continue;
    }
    std::size_t n = co_await write_some(pieces, skip);
    for (; n != 0; pieces = pieces.subspan(1), skip = 0) {
      std::size_t const here = std::min(n, pieces.front().size() - skip);
      skip += here;
      n -= here;
      if (n == 0) break;
    }
  }
}

void stream::shutdown(half which) {
  (void)fd_.here();
  int const how = which == half::read ? SHUT_RD : which == half::write ? SHUT_WR : SHUT_RDWR;
  if (::shutdown(native_handle(), how) != 0 && errno != ENOTCONN) throw system_error(last_error(errno));
}

void stream::close() noexcept {
  fd_.close();
  kept_.clear();
}

std::pair<stream, stream> pipe(std::source_location where) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) throw system_error(last_error(errno));
  try {
    stream in(std::exchange(fds[0], -1), where), out(std::exchange(fds[1], -1), where);
    return {std::move(in), std::move(out)};
  } catch (...) {
    if (fds[1] >= 0) ::close(fds[1]);
    throw;
  }
}

}  // namespace leash::net
