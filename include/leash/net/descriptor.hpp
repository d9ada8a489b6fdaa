// Waiting for file descriptors: what all of net's own sockets, pipes and processes are built on.
//
// An operation tries its system call first, and waits only if that would block. When the descriptor is ready the reactor tries
// again, and waits again if it was in vain; so what wakes the goroutine is always a result. What an operation took (bytes, a
// connection) although another case of its select won is put back and comes first next time: nothing is lost.
//
// For other libraries' descriptors (a database client's): `descriptor d(fd, net::borrowed); co_await d.readable();`
#pragma once
#include <atomic>
#include <leash/net/async.hpp>
#include <leash/outside.hpp>
#include <leash/reactor.hpp>
#include <memory>
#include <source_location>
#include <utility>

namespace leash::net {

class descriptor;
class watched_fd;  // what the kernel tells of it
struct borrowed_t {};
inline constexpr borrowed_t borrowed{};

/// A wait until a system call on a descriptor gives a result. W, a derived class, has
///   bool attempt()     makes the call. True: it gave a result or failed (error_); false: it would block.
class fd_wait : public outside_wait {
 public:
  /// For select: tries in any case, else a case beside one that is always ready would never have its turn.
  bool likely_ready() noexcept { return polled_ = true; }
  void won() const noexcept {}

 protected:
  enum class mode : std::uint8_t {
    tries,  // the attempt tells whether there is something
    asks,   // it does not: the kernel is asked each time
    news    // what has come since the last time counts
  };
  struct kind {
    operations outside;
    bool (*attempt)(fd_wait*) noexcept;
    bool writes;
    mode how;
  };
  fd_wait(const kind& k, descriptor& d, error_code* out) noexcept
      : outside_wait(wait_reason::io, k.outside), kind_(&k), on_(&d), out_(out) {}
  template <class W>
  static constexpr kind kind_of(bool writes, mode how = mode::tries) noexcept {
    return {{&fd_wait::start, &fd_wait::cancel, &fd_wait::cut_short},
            [](fd_wait* w) noexcept { return static_cast<W*>(w)->attempt(); },
            writes,
            how};
  }
  /// There is a result that nobody has taken.
  bool untaken() const noexcept { return came_ && !taken_ && !error_; }
  /// Whether the call is worth a try before waiting; see descriptor.
  bool worth_a_try() const noexcept;
  /// Throws the error, or gives it to the caller. True: there is none.
  bool succeeded();
  descriptor& on() const noexcept { return *on_; }
  bool polled() const noexcept { return polled_; }
  bool writes() const noexcept { return kind_->writes; }
  /// After a failed call: true, unless it would only have blocked.
  bool failed(int number) noexcept;

  error_code error_;
  bool came_ = false;

 private:
  friend class watched_fd;
  friend class ready_wait;
  static void start(outside_wait*) noexcept;
  static void cancel(outside_wait*) noexcept;
  static bool cut_short(const outside_wait*) noexcept;
  void fails(const error_code&) noexcept;
  /// After an attempt that came to something: there may be more.
  bool leaves_some() const noexcept;

  bool taken_ = false;
  bool polled_ = false;
  const kind* kind_;
  watched_fd* at_ = nullptr;  // where it began
  fd_wait* next_ = nullptr;   // watched_fd's
  descriptor* on_;
  error_code* out_;
};

class ready_operation;

/// A descriptor known to the reactor of the runtime that it was made in. Move-only; closes what it owns.
///
/// Thread safety: one goroutine reads and one writes at a time; close() and moves exclude all else.
class descriptor {
 public:
  descriptor() noexcept;
  /// Takes over `fd` and makes it non-blocking. One that cannot be waited for (a regular file) may be used as long as nothing
  /// waits: that fails with operation_not_supported.
  /// Errors: boost::system::system_error; std::logic_error outside of a goroutine.
  explicit descriptor(int fd, std::source_location where = std::source_location::current());
  /// Does not close it. Its owner must not either while this lives.
  descriptor(int fd, borrowed_t, std::source_location where = std::source_location::current());
  descriptor(descriptor&&) noexcept;
  descriptor& operator=(descriptor&&) noexcept;
  ~descriptor();

  bool is_open() const noexcept { return fd_ != nullptr; }
  /// -1: there is none.
  int native_handle() const noexcept;
  /// Waits until a read (a write) would not block. Selectable. Wait reason: `IO wait`.
  ready_operation readable() noexcept;
  ready_operation writable() noexcept;
  /// Waits until something has come (data, an end, an error) since such a wait last returned; it may return for what was
  /// read meanwhile. For who has read all there was, or has asked for something that has not come: the kernel need not be
  /// asked, as readable() does each time. Selectable. Wait reason: `IO wait`.
  ready_operation arrived() noexcept;
  /// Goroutines that wait get operation_aborted. Idempotent.
  void close() noexcept;
  /// Gives the descriptor out of leash's hands.
  int release() noexcept;

  // --- for operations
  watched_fd& here() const;  // throws std::logic_error if closed
  /// The last call took all there was: the next one waits first.
  bool is_drained(bool writes) const noexcept { return drained_[writes].load(std::memory_order_relaxed); }
  void set_drained(bool writes, bool so) noexcept { drained_[writes].store(so, std::memory_order_relaxed); }

 private:
  void adopt(int fd, bool owned, std::source_location);
  std::shared_ptr<reactor> keep_;  // outlives the run with the descriptor, if that does
  watched_fd* fd_ = nullptr;
  bool owned_ = false;
  std::atomic<bool> drained_[2] = {false, false};  // a hint, also between goroutines that accept from one listener
};

class ready_wait : public fd_wait {
 public:
  template <class Op>
  explicit ready_wait(Op& op) noexcept : fd_wait(*op.kind_, *op.on_, nullptr) {}
  ~ready_wait() {
    if (untaken()) put_back();
  }
  bool fast() noexcept;
  bool attempt() noexcept {
    on().set_drained(writes(), false);
    return came_ = true;
  }
  std::monostate result() {
    succeeded();
    return {};
  }

 private:
  friend class descriptor;
  friend class ready_operation;
  void put_back() noexcept;
  static const kind in, out, news;
};

class [[nodiscard]] ready_operation : public operation_base {
 public:
  using wait_type = ready_wait;
  using value_type = std::monostate;
  using result_type = void;

 private:
  friend class ready_wait;
  friend class descriptor;
  ready_operation(descriptor* d, const ready_wait::kind& k) noexcept : on_(d), kind_(&k) {}
  [[maybe_unused]] descriptor* on_;
  [[maybe_unused]] const ready_wait::kind* kind_;
};
inline ready_operation descriptor::readable() noexcept { return {this, ready_wait::in}; }
inline ready_operation descriptor::writable() noexcept { return {this, ready_wait::out}; }
inline ready_operation descriptor::arrived() noexcept { return {this, ready_wait::news}; }

}  // namespace leash::net
