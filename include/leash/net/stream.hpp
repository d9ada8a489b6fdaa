// Bytes to and fro, in order: what TCP connections, Unix sockets and pipes have in common.
//
// One goroutine reads and one writes at a time; they may be two. What read_some read, although another case of its select won,
// is kept and comes first in the next read.
#pragma once
#include <cstddef>
#include <leash/net/buffer.hpp>
#include <leash/net/descriptor.hpp>
#include <leash/task.hpp>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace leash::net {

class read_operation;
class write_operation;

enum class half : std::uint8_t { read, write, both };

class stream {
 public:
  stream() noexcept = default;
  /// Takes over a connected socket, a pipe or a terminal. Errors: as descriptor.
  explicit stream(int fd, std::source_location where = std::source_location::current())
      : stream(descriptor(fd, where)) {}
  explicit stream(descriptor d);
  stream(stream&&) noexcept = default;
  stream& operator=(stream&&) noexcept = default;

  /// Reads what there is, at least one byte.
  ///
  /// Suspends when: nothing is there. Wait reason: `IO wait`. Returns: the number of bytes; 0: the other end has closed (or `to`
  ///   is empty). Cancellation: first; nothing is lost. Selectable, losslessly.
  /// Errors: boost::system::system_error, or `error` where it is given.
  read_operation read_some(mutable_bytes to) noexcept;
  read_operation read_some(mutable_bytes to, error_code& error) noexcept;

  /// As read_some, without waiting; nullopt: nothing is there now. Not a wait: cancellation is not looked at.
  std::optional<std::size_t> try_read(mutable_bytes to);

  /// Fills `to`. Returns: true; false: the other end closed before the first byte. Cancellation: what was read is lost.
  /// Errors: as read_some; asio::error::eof if it closed in between.
  task<bool> read_exactly(mutable_bytes to);

  /// Writes as much as there is room for. Suspends when: there is none. Returns: the number of bytes; seldom 0: try again.
  /// Selectable: a losing case has written nothing. Errors: as read_some (a peer that is gone: broken_pipe, connection_reset).
  write_operation write_some(const_bytes from) noexcept;
  write_operation write_some(const_bytes from, error_code& error) noexcept;
  /// The pieces after the first `skip` bytes of the first one.
  write_operation write_some(std::span<const const_bytes> pieces, std::size_t skip = 0) noexcept;

  /// Writes everything. Cancellation: some of it may be written. Errors: as read_some.
  task<> write_all(const_bytes from);
  task<> write_all(std::span<const const_bytes> pieces);  // one system call, if there is room

  /// Waits until a read (a write) would not block. Selectable.
  ready_operation readable() noexcept { return fd_.readable(); }
  ready_operation writable() noexcept { return fd_.writable(); }
  /// See descriptor.
  ready_operation arrived() noexcept { return fd_.arrived(); }

  /// Says to the other end that no more is written, and/or to this one that no more is read. Errors: boost::system::system_error.
  void shutdown(half = half::write);
  /// Idempotent; the destructor does it too. Not while another goroutine uses the stream: shut it down, or end its context.
  void close() noexcept;
  bool is_open() const noexcept { return fd_.is_open(); }
  int native_handle() const noexcept { return fd_.native_handle(); }
  /// The descriptor, out of leash's hands; for an Asio socket's assign. What was kept (see above) must have been read.
  int release() noexcept { return fd_.release(); }

 private:
  friend class read_wait;
  friend class write_wait;
  std::size_t take_kept(mutable_bytes) noexcept;
  void keep(const std::byte*, std::size_t);

  descriptor fd_;
  bool is_socket_ = false;
  std::vector<std::byte> kept_;
};

class read_wait : public fd_wait {
 public:
  template <class Op>
  explicit read_wait(Op& op) noexcept : fd_wait(how, op.on_->fd_, op.error_), on_(op.on_), to_(op.to_) {}
  ~read_wait() {
    if (untaken()) on_->keep(to_.data(), n_);
  }
  bool fast() noexcept { return (!on_->kept_.empty() || worth_a_try()) && attempt(); }
  bool attempt() noexcept;
  std::size_t result() { return succeeded() ? n_ : 0; }

 private:
  static const kind how;
  stream* on_;
  mutable_bytes to_;
  std::size_t n_ = 0;
};

class [[nodiscard]] read_operation : public operation_base {
 public:
  using wait_type = read_wait;
  using value_type = std::size_t;
  using result_type = std::size_t;
  read_operation(stream* s, mutable_bytes to, error_code* e) noexcept : on_(s), to_(to), error_(e) {}

 private:
  friend class read_wait;
  [[maybe_unused]] stream* on_;
  [[maybe_unused]] mutable_bytes to_;
  [[maybe_unused]] error_code* error_;
};

class write_wait;
class [[nodiscard]] write_operation : public operation_base {
 public:
  using wait_type = write_wait;
  using value_type = std::size_t;
  using result_type = std::size_t;
  write_operation(stream* s, const_bytes from, error_code* e) noexcept : on_(s), one_(from), error_(e) {}
  write_operation(stream* s, std::span<const const_bytes> pieces, std::size_t skip) noexcept
      : on_(s), pieces_(pieces), skip_(skip), error_(nullptr) {}

 private:
  friend class write_wait;
  stream* on_;
  const_bytes one_;
  std::span<const const_bytes> pieces_{&one_, 1};
  std::size_t skip_ = 0;
  error_code* error_;
};

class write_wait : public fd_wait {
 public:
  explicit write_wait(const write_operation& op) noexcept : fd_wait(how, op.on_->fd_, op.error_), op_(op) {}
  bool fast() noexcept { return worth_a_try() && write(); }
  bool attempt() noexcept { return came_ = true; }  // there is room: written when it has won
  std::size_t result();

 private:
  bool write() noexcept;
  static const kind how;
  const write_operation& op_;
  std::size_t n_ = 0;
  bool written_ = false;
};

inline read_operation stream::read_some(mutable_bytes to) noexcept { return {this, to, nullptr}; }
inline read_operation stream::read_some(mutable_bytes to, error_code& e) noexcept { return {this, to, &e}; }
inline write_operation stream::write_some(const_bytes from) noexcept { return {this, from, nullptr}; }
inline write_operation stream::write_some(const_bytes from, error_code& e) noexcept { return {this, from, &e}; }

inline write_operation stream::write_some(std::span<const const_bytes> pieces, std::size_t skip) noexcept {
  return {this, pieces, skip};
}

/// What tcp_stream, unix_stream and tls_stream have in common, for templates over them.
template <class S>
concept byte_stream = requires(S& s, mutable_bytes to, const_bytes from) {
  s.read_some(to);
  s.read_exactly(to);
  s.write_all(from);
  s.close();
};

/// A pipe of this process: what is written to `second` is read from `first`.
std::pair<stream, stream> pipe(std::source_location where = std::source_location::current());

}  // namespace leash::net
