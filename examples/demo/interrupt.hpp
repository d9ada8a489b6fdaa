// ^C and SIGTERM become cancellation: a thread of its own waits for them and calls cancel().
// Thread safety: make one in main() before any other thread, so that all of them inherit the blocked signals.
#pragma once
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <leash/leash.hpp>
#include <thread>

namespace demo {

class interrupt {
 public:
  interrupt() {
    ::sigemptyset(&signals_);
    for (int s : {SIGINT, SIGTERM, over}) ::sigaddset(&signals_, s);
    ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    thread_ = std::thread([this, stop = source.dup()]() mutable { wait(stop); });
  }
  interrupt(const interrupt&) = delete;
  ~interrupt() {
    ::pthread_kill(thread_.native_handle(), over);
    thread_.join();
  }

  /// The signal that came, or 0. What cannot wait for a context looks at `stopped`.
  int signal() const { return signal_; }
  std::chrono::duration<double> since() const { return std::chrono::steady_clock::now() - at_; }

  leash::cancel_source source;
  std::atomic<bool> stopped{false};

 private:
  static constexpr int over = SIGUSR1;
  static constexpr std::chrono::milliseconds same_request{300};  // timeout(1) sends each signal twice

  void wait(leash::cancel_source& stop) {
    for (int s = 0; ::sigwait(&signals_, &s) == 0 && s != over;) {
      if (signal_ != 0) {
        if (since() < same_request) continue;
        ::_exit(128 + s);  // asked twice: a file system may hang in the kernel
      }
      at_ = std::chrono::steady_clock::now();
      signal_ = s;
      stopped = true;
      stop.cancel("interrupted");
    }
  }

  sigset_t signals_;
  std::chrono::steady_clock::time_point at_;
  std::atomic<int> signal_{0};  // its store publishes at_
  std::thread thread_;
};

}  // namespace demo
