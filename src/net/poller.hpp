// What the kernel tells of descriptors: an epoll instance for each worker, and what is known of each descriptor.
//
// A descriptor is made known once, when somebody first waits for it, and edge-triggered: the kernel tells when something has
// happened, not each time that it is asked. So a wait costs no system call of its own, and who waits must have found
// nothing there before: P2.
//
//   side       what is known                      a wait begins                       the kernel tells
//   ready      something may have happened        the call is tried; in vain: empty   -
//   empty      the last call found no more        it is queued                        ready: the queue has its turn
//   over       that, and the other end has gone   the call is tried; in vain: empty   -
//
// Invariants
//  P1. All of a watched_fd is used under its lock; a wait's attempt runs under it too. A wait that was taken off a queue
//      has ended: its end is told when the lock has been given back.
//  P2. A side is empty only if an attempt has found nothing since the kernel last told of it, or has taken all there was.
//      For waits that do not try (readable, writable) the kernel is asked anew each time instead.
//  P3. The memory of a watched_fd belongs to the reactor: what the kernel tells of one that was closed meanwhile is known
//      by its generation.
#pragma once
#include <sys/epoll.h>

#include <cstdint>
#include <leash/net/descriptor.hpp>
#include <leash/spin_lock.hpp>
#include <memory>
#include <vector>

namespace leash::net {

class alignas(64) poller {
 public:
  poller();
  poller(const poller&) = delete;
  ~poller();

  /// Sees to what has happened; waits for that until then (0: not at all; INT64_MAX: for ever) or until interrupted.
  void wait(std::int64_t until) noexcept;
  /// Any thread. Lasts until the next wait.
  void interrupt() noexcept;
  int handle() const noexcept { return epoll_; }

  std::atomic<std::uint32_t> watches{0};  // descriptors

 private:
  int epoll_ = -1, event_ = -1;
  std::atomic<bool> interrupted_{false};
};

/// One for each worker.
class pollers {
 public:
  explicit pollers(std::uint32_t n);
  pollers(const pollers&) = delete;
  ~pollers();
  /// See reactor.
  void tick(bool on) noexcept;
  poller& operator[](std::uint32_t i) const noexcept { return all_[i]; }
  std::uint32_t size() const noexcept { return n_; }
  /// For one descriptor more: the one that has the fewest; of the calling worker, if that is one of them.
  poller& next() const noexcept;

 private:
  std::uint32_t n_;
  std::unique_ptr<poller[]> all_;
  int timer_ = -1;  // known to all of them
};

class alignas(64) watched_fd {
 public:
  watched_fd() = default;
  watched_fd(const watched_fd&) = delete;

  void open(const pollers&, int fd) noexcept;
  /// Who waits gets operation_aborted.
  void close() noexcept;
  /// Begins a wait.
  void add(fd_wait*) noexcept;
  /// Ends it with operation_aborted, unless it has ended.
  void cut(fd_wait*) noexcept;
  /// What was told for reading was not used.
  void renew() noexcept;
  int fd() const noexcept { return fd_; }

 private:
  friend class poller;
  friend class watched_fds;
  struct side {
    fd_wait* first = nullptr;
    bool ready = true, over = false;
  };
  struct ended_waits;
  std::uint64_t label() const noexcept;
  static void told(std::uint64_t label, std::uint32_t events) noexcept;
  /// 0, or why not.
  int ask(std::uint32_t events) noexcept;
  void try_all(side&, ended_waits&) noexcept;

  spin_lock lock_;
  std::uint16_t generation_ = 0;
  int fd_ = -1;
  std::uint32_t asked_ = 0;
  const pollers* all_ = nullptr;
  poller* home_ = nullptr;  // null: the kernel does not know it yet
  side sides_[2];           // of readers, of writers
  watched_fd* next_free_ = nullptr;
};

/// The memory of a reactor's.
class watched_fds {
 public:
  watched_fd& take();
  void give_back(watched_fd&) noexcept;

 private:
  static constexpr std::size_t at_once = 64;
  spin_lock lock_;
  std::vector<std::unique_ptr<watched_fd[]>> all_;
  watched_fd* free_ = nullptr;
};

}  // namespace leash::net
