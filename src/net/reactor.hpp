// The reactor of a runtime: an io_context that the scheduler's workers run.
#pragma once
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <leash/reactor.hpp>
#include <leash/worker.hpp>
#include <memory>
#include <source_location>

namespace leash::net {

class io_wait_core;

class asio_reactor final : public reactor {
 public:
  asio_reactor();
  void poll() noexcept override;
  void wait(std::int64_t until) noexcept override;
  void interrupt() noexcept override;
  boost::asio::io_context& context() noexcept { return context_; }
  /// Asks the operation to end, until it has. By its goroutine's worker.
  void cancel(io_wait_core*) noexcept;

 private:
  void arm(std::int64_t until) noexcept;
  void listen();
  void add_cancelled(io_wait_core*) noexcept;
  void emit_cancelled() noexcept;
  void settle_cancelled() noexcept;

  // One thread at a time runs it (R1), others only start operations.
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{context_.get_executor()};
  // Asio would round the time to milliseconds.
  boost::asio::posix::stream_descriptor clock_{context_};
  std::uint64_t expirations_ = 0;
  std::int64_t armed_ = INT64_MAX;
  std::atomic<bool> interrupted_{false};
  io_wait_core* cancelled_ = nullptr;  // in the turn
};

/// Makes it if there is none.
asio_reactor& reactor_of(runtime&);
/// Of the calling goroutine's runtime; for what may outlive the run.
std::shared_ptr<reactor> reactor_here(std::source_location where);

}  // namespace leash::net
