#include <sys/uio.h>

#include <algorithm>
#include <cstring>
#include <leash/net/udp.hpp>

#include "system.hpp"

namespace leash::net {

static int bind_at(const udp_endpoint& at) {
  raw_fd fd = make_socket(at.protocol().family(), SOCK_DGRAM);
  if (::bind(fd.get(), static_cast<const sockaddr*>(at.data()), static_cast<socklen_t>(at.size())) != 0) throw_errno();
  return fd.release();
}

udp_socket::udp_socket(udp_endpoint at, std::source_location where) : fd_(bind_at(at), where) {}

const fd_wait::kind receive_wait::how = fd_wait::kind_of<receive_wait>(false);

receive_wait::~receive_wait() {
  if (!untaken()) return;
  try {
    socket_->kept_.push_front({got_, {to_.data(), to_.data() + got_.size}});
  } catch (...) {  // datagrams may be lost
  }
}

bool receive_wait::attempt() noexcept {
  if (!socket_->kept_.empty()) {
    auto& d = socket_->kept_.front();
    got_ = d.what;
    got_.size = std::min(d.bytes.size(), to_.size());
    got_.truncated |= got_.size < d.bytes.size();
    if (got_.size != 0) std::memcpy(to_.data(), d.bytes.data(), got_.size);
    socket_->kept_.pop_front();
    on().set_drained(false, false);
    return came_ = true;
  }
  iovec v{to_.data(), to_.size()};
  msghdr m{};
  m.msg_name = got_.from.data();
  m.msg_namelen = static_cast<socklen_t>(got_.from.capacity());
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  ssize_t r = 0;
  do r = ::recvmsg(on().native_handle(), &m, MSG_DONTWAIT);
  while (r < 0 && errno == EINTR);
  if (r < 0) return failed(errno);
  got_.size = static_cast<std::size_t>(r);
  got_.from.resize(m.msg_namelen);
  got_.truncated = (m.msg_flags & MSG_TRUNC) != 0;
  on().set_drained(false, false);
  return came_ = true;
}

task<> udp_socket::send_to(const_bytes what, udp_endpoint to) {
  for (;;) {
    ssize_t const r = ::sendto(fd_.native_handle(), what.data(), what.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                               static_cast<const sockaddr*>(to.data()), static_cast<socklen_t>(to.size()));
    if (r >= 0) break;
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) throw_errno();
    co_await fd_.writable();
  }
}

void udp_socket::connect(udp_endpoint to) {
  if (::connect(fd_.native_handle(), static_cast<const sockaddr*>(to.data()), static_cast<socklen_t>(to.size())) != 0)
    throw_errno();
}
udp_endpoint udp_socket::local_endpoint() const {
  return name_of_socket<udp_endpoint>(fd_.native_handle(), ::getsockname);
}

}  // namespace leash::net
