// Files, on the blocking pool: the kernel has no readiness for them.
#pragma once
#include <cstdint>
#include <leash/blocking.hpp>
#include <leash/net/buffer.hpp>
#include <leash/task.hpp>
#include <string>
#include <utility>

namespace leash::net {

/// An open file. Each operation is one call on the blocking pool: wait reason `blocking`; cancellation is delivered when it has
/// returned. Errors: boost::system::system_error. Thread safety: operations at positions of their own may run at once.
class file {
 public:
  enum class mode { read, write, read_write, append, create_new };

  file() noexcept = default;
  file(file&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  file& operator=(file&&) noexcept;
  ~file();

  /// write: made if there is none, and emptied; append: made if there is none; create_new: there must be none.
  static task<file> open(std::string path, mode = mode::read, unsigned permissions = 0644);
  /// Reads up to to.size() bytes at `position`; fewer only at the end of the file.
  task<std::size_t> read_at(std::uint64_t position, mutable_bytes to);
  task<> write_at(std::uint64_t position, const_bytes from);
  task<> append(const_bytes from);
  task<std::uint64_t> size();
  /// What was written is on the disk.
  task<> sync();
  bool is_open() const noexcept { return fd_ >= 0; }

 private:
  explicit file(int fd) noexcept : fd_(fd) {}
  int fd_ = -1;
};

/// A whole file.
task<std::string> read_file(std::string path);
/// Replaces a file, or makes it: readers see the old contents or the new, also after a crash.
task<> write_file(std::string path, std::string contents);

}  // namespace leash::net
