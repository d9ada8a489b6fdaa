#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <leash/net/file.hpp>

#include "system.hpp"

namespace leash::net {

namespace {

void write_whole(int fd, const_bytes from, std::int64_t at) {
  for (std::size_t n = 0; n < from.size();) {
    ssize_t const r = at < 0 ? ::write(fd, from.data() + n, from.size() - n)
                             : ::pwrite(fd, from.data() + n, from.size() - n, at + static_cast<std::int64_t>(n));
    if (r < 0 && errno != EINTR) throw_errno();
    if (r > 0) n += static_cast<std::size_t>(r);
  }
}

std::size_t read_whole(int fd, mutable_bytes to, std::uint64_t at) {
  std::size_t n = 0;
  while (n < to.size()) {
    ssize_t const r = ::pread(fd, to.data() + n, to.size() - n, static_cast<off_t>(at + n));
    if (r < 0 && errno != EINTR) throw_errno();
    if (r == 0) break;
    if (r > 0) n += static_cast<std::size_t>(r);
  }
  return n;
}

int open_now(const std::string& path, int flags, unsigned permissions) {
  int const fd = ::open(path.c_str(), flags | O_CLOEXEC, permissions);
  if (fd < 0) throw_errno();
  return fd;
}

}  // namespace

file& file::operator=(file&& o) noexcept {
  if (this != &o) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(o.fd_, -1);
  }
  return *this;
}
file::~file() {
  if (fd_ >= 0) ::close(fd_);
}

task<file> file::open(std::string path, mode m, unsigned permissions) {
  static constexpr int flags[] = {O_RDONLY, O_WRONLY | O_CREAT | O_TRUNC, O_RDWR, O_WRONLY | O_CREAT | O_APPEND,
                                  O_RDWR | O_CREAT | O_EXCL};
  // The file is closed if the goroutine is cut short meanwhile: it is in the call's result then.
  co_return co_await blocking([&] { return file(open_now(path, flags[static_cast<int>(m)], permissions)); });
}
task<std::size_t> file::read_at(std::uint64_t position, mutable_bytes to) {
  co_return co_await blocking([&] { return read_whole(fd_, to, position); });
}
task<> file::write_at(std::uint64_t position, const_bytes from) {
  co_await blocking([&] { write_whole(fd_, from, static_cast<std::int64_t>(position)); });
}
task<> file::append(const_bytes from) {
  co_await blocking([&] { write_whole(fd_, from, -1); });
}
task<std::uint64_t> file::size() {
  co_return co_await blocking([&] {
    struct stat s{};
    if (::fstat(fd_, &s) != 0) throw_errno();
    return static_cast<std::uint64_t>(s.st_size);
  });
}
task<> file::sync() {
  co_await blocking([&] {
    if (::fdatasync(fd_) != 0) throw_errno();
  });
}

task<std::string> read_file(std::string path) {
  co_return co_await blocking([&] {
    raw_fd const fd(open_now(path, O_RDONLY, 0));
    std::string all;
    for (std::size_t n = 0;;) {
      all.resize(n + 64 * 1024);
      std::size_t const now = read_whole(fd.get(), {all.data() + n, all.size() - n}, n);
      n += now;
      if (n < all.size()) {
        all.resize(n);
        return all;
      }
    }
  });
}

task<> write_file(std::string path, std::string contents) {
  co_await blocking([&] {
    std::string name = path + ".XXXXXX";
    raw_fd fd(::mkostemp(name.data(), O_CLOEXEC));
    try {
      ::fchmod(fd.get(), 0644);
      write_whole(fd.get(), const_bytes(std::string_view(contents)), -1);
      if (::fsync(fd.get()) != 0 || std::rename(name.c_str(), path.c_str()) != 0) throw_errno();
    } catch (...) {
      ::unlink(name.c_str());
      throw;
    }
    // The directory's entry as well.
    std::size_t const slash = path.rfind('/');
    std::string const directory = slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    if (int const d = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); d >= 0) {
      ::fsync(d);
      ::close(d);
    }
  });
}

}  // namespace leash::net
