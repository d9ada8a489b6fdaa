#include <sys/un.h>

#include <cstddef>
#include <cstring>
#include <leash/net/unix.hpp>
#include <stdexcept>

#include "system.hpp"

namespace leash::net {

namespace {

struct address {
  sockaddr_un name{};
  socklen_t size = 0;
  explicit address(const std::string& path) {
    bool const abstract = !path.empty() && path[0] == '@';
    if (path.empty() || path.size() >= sizeof name.sun_path) throw system_error(system_code(ENAMETOOLONG));
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, path.data(), path.size());
    if (abstract) name.sun_path[0] = '\0';
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
  }
  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&name); }
};

/// A socket file that a process left behind when it was killed is in the way.
bool nobody_listens(const address& a) {
  raw_fd const probe = make_socket(AF_UNIX, SOCK_STREAM);
  return ::connect(probe.get(), a.get(), a.size) != 0 && errno == ECONNREFUSED;
}

int listen_at(const std::string& path, const listen_options& o) {
  address const a(path);
  raw_fd fd = make_socket(AF_UNIX, SOCK_STREAM);
  if (::bind(fd.get(), a.get(), a.size) != 0) {
    if (errno != EADDRINUSE || path[0] == '@' || !nobody_listens(a)) throw system_error(system_code(EADDRINUSE));
    ::unlink(path.c_str());
    if (::bind(fd.get(), a.get(), a.size) != 0) throw_errno();
  }
  if (::listen(fd.get(), o.backlog) != 0) throw_errno();
  return fd.release();
}

}  // namespace

std::pair<unix_stream, unix_stream> unix_stream::pair(std::source_location where) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) throw_errno();
  raw_fd second(fds[1]);
  unix_stream a(fds[0], where);
  unix_stream b(second.release(), where);
  return {std::move(a), std::move(b)};
}

unix_stream::credentials unix_stream::peer() const {
  ucred c{};
  socklen_t n = sizeof c;
  if (::getsockopt(native_handle(), SOL_SOCKET, SO_PEERCRED, &c, &n) != 0) throw_errno();
  return {c.pid, static_cast<int>(c.uid), static_cast<int>(c.gid)};
}

task<unix_stream> connect_unix(std::string path) {
  address const a(path);
  co_return co_await finish_connect<unix_stream>(make_socket(AF_UNIX, SOCK_STREAM), a.get(), a.size);
}

unix_listener::unix_listener(std::string path, listen_options o, std::source_location where)
    : listener_core(listen_at(path, o), where), path_(path[0] == '@' ? std::string() : std::move(path)) {}
unix_listener::~unix_listener() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

}  // namespace leash::net
