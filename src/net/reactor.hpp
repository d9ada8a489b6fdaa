// The reactor of a runtime, which the scheduler's workers run: a poller for net's own descriptors, and an io_context for Asio's
// operations if anybody uses those.
#pragma once
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <deque>
#include <leash/reactor.hpp>
#include <leash/worker.hpp>
#include <memory>
#include <mutex>
#include <source_location>

#include "poller.hpp"

namespace leash::net {

class io_wait_core;

/// Asio's io_context, once somebody has asked for it. Whoever has its turn runs it; a worker that goes to sleep waits in it,
/// with its place's poller as one of its descriptors, unless another one does so already.
class asio_part {
 public:
  explicit asio_part(const pollers&);
  ~asio_part();
  boost::asio::io_context& context() noexcept { return context_; }
  // In the turn.
  void poll() noexcept;
  void wait(std::uint32_t place, std::int64_t until) noexcept;
  void cancel(io_wait_core*) noexcept;
  void emit_cancelled() noexcept;

  std::mutex turn;

 private:
  void arm(std::int64_t until) noexcept;
  void listen();
  void settle_cancelled() noexcept;

  // The poller's descriptor, which is closed elsewhere.
  struct place {
    boost::asio::posix::stream_descriptor fd;
    bool watched = false;
    place(boost::asio::io_context& c, int number) : fd(c, number) {}
  };

  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{context_.get_executor()};
  std::deque<place> places_;
  // Asio would round the time to milliseconds.
  boost::asio::posix::stream_descriptor clock_{context_};
  std::uint64_t expirations_ = 0;
  std::int64_t armed_ = INT64_MAX;
  io_wait_core* cancelled_ = nullptr;
};

class asio_reactor final : public reactor {
 public:
  explicit asio_reactor(std::uint32_t workers);
  ~asio_reactor();
  void poll(std::uint32_t place) noexcept override;
  void wait(std::uint32_t place, std::int64_t until) noexcept override;
  void interrupt(std::uint32_t place) noexcept override { pollers_[place].interrupt(); }
  void tick(bool on) noexcept override { pollers_.tick(on); }
  /// Makes it, the first time.
  boost::asio::io_context& context();
  /// Asks the operation to end, until it has. By its goroutine's worker.
  void cancel(io_wait_core*) noexcept;
  /// Something that Asio does not know of has happened to one that is being cancelled.
  void look_again() noexcept;

  watched_fd& watch(int fd);
  void forget(watched_fd& f) noexcept { fds_.give_back(f); }

 private:
  pollers pollers_;
  watched_fds fds_;
  std::mutex making_;
  std::unique_ptr<asio_part> made_;
  std::atomic<asio_part*> asio_{nullptr};
};

/// Makes it if there is none.
asio_reactor& reactor_of(runtime&);
/// Of the calling goroutine's runtime; for what may outlive the run.
std::shared_ptr<reactor> reactor_here(std::source_location where);

}  // namespace leash::net
