#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <leash/shutdown.hpp>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>

namespace leash {

struct shutdown_state {
  explicit shutdown_state(sender<std::monostate> s, const shutdown_options& o, std::source_location where)
      : options(o), drain(where), end(where), open(std::move(s)) {}
  const shutdown_options options;
  cancel_source drain, end;
  std::mutex lock;
  sender<std::monostate> open;  // outside of all frames: whoever waits for its end is live
  bool requested = false;
  std::atomic<int> signal{0};
  std::chrono::steady_clock::time_point since;

  void request(int number, std::string_view why) {
    std::lock_guard guard(lock);
    auto const now = std::chrono::steady_clock::now();
    if (requested) {
      if (number == 0 || now - since >= options.same_request) end.cancel(why);
      return;
    }
    requested = true;
    since = now;
    signal = number;
    drain.cancel(why);
    open.close();
  }
};

namespace {

struct held_signal {
  int users = 0;
  struct sigaction before{};
};

// What the handler may touch. It only counts and posts: all else is the thread's.
constexpr int most_signals = 65;
std::array<std::atomic<std::uint32_t>, most_signals> came;
sem_t signal_came;

void on_signal(int number) {
  int const saved = errno;
  came[static_cast<std::size_t>(number)].fetch_add(1, std::memory_order_relaxed);
  ::sem_post(&signal_came);  // publishes the count
  errno = saved;
}

std::string name_of_signal(int n) {
  const char* const name = ::sigabbrev_np(n);
  return name != nullptr ? name : std::to_string(n);
}

/// Catches signals for as long as anybody wants them, with one thread.
class catcher {
 public:
  catcher() { ::sem_init(&signal_came, 0, 0); }

  void add(const std::shared_ptr<shutdown_state>& s) {
    std::lock_guard guard(changing_);
    std::vector<int> caught;
    try {
      for (int n : s->options.signals) {
        hold(n);
        caught.push_back(n);
      }
      if (!thread_.joinable()) {
        stop_ = false;
        thread_ = std::thread([this] { work(); });
      }
      std::lock_guard listed(list_);
      all_.push_back(s);
    } catch (...) {
      for (int n : caught) release(n);
      throw;
    }
  }
  void remove(const std::shared_ptr<shutdown_state>& s) noexcept {
    std::lock_guard guard(changing_);
    for (int n : s->options.signals) release(n);
    {
      std::lock_guard listed(list_);
      all_.erase(std::find(all_.begin(), all_.end(), s));
      if (!all_.empty()) return;
    }
    stop_ = true;
    ::sem_post(&signal_came);
    thread_.join();
  }

 private:
  void hold(int n) {
    if (n <= 0 || n >= most_signals) throw std::system_error(EINVAL, std::generic_category(), "with_shutdown");
    auto& h = held_[static_cast<std::size_t>(n)];
    if (h.users++ != 0) return;
    struct sigaction action{};
    action.sa_handler = &on_signal;
    ::sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    if (::sigaction(n, &action, &h.before) == 0) return;
    int const why = errno;
    --h.users;
    throw std::system_error(why, std::generic_category(), "with_shutdown: signal " + std::to_string(n));
  }
  void release(int n) noexcept {
    auto& h = held_[static_cast<std::size_t>(n)];
    if (--h.users == 0) ::sigaction(n, &h.before, nullptr);
  }
  void work() {
    ::pthread_setname_np(::pthread_self(), "leash-signals");
    while (!stop_) {
      while (::sem_wait(&signal_came) != 0 && errno == EINTR) {
      }
      for (int n = 1; n < most_signals; ++n)
        for (auto left = came[static_cast<std::size_t>(n)].exchange(0, std::memory_order_relaxed); left > 0; --left)
          tell(n);
    }
  }
  void tell(int n) {
    std::vector<std::shared_ptr<shutdown_state>> told;
    {
      std::lock_guard listed(list_);
      told = all_;
    }
    for (auto& s : told)
      if (std::find(s->options.signals.begin(), s->options.signals.end(), n) != s->options.signals.end())
        s->request(n, "signal " + name_of_signal(n));
  }

  std::mutex changing_;  // held while the thread is started or ended
  std::array<held_signal, most_signals> held_;
  std::thread thread_;
  std::atomic<bool> stop_{false};
  std::mutex list_;
  std::vector<std::shared_ptr<shutdown_state>> all_;
};

catcher& signals() {
  static catcher all;
  return all;
}

}  // namespace

shutdown_request::shutdown_request(const shutdown_options& o, std::source_location where) {
  auto [open, opened] = channel<std::monostate>(0, where);
  asked_ = std::move(opened);
  state_ = std::make_shared<shutdown_state>(std::move(open), o, where);
  signals().add(state_);
}
shutdown_request::~shutdown_request() { signals().remove(state_); }

bool shutdown_request::is_requested() const noexcept { return asked_.ended(); }
int shutdown_request::signal() const noexcept { return state_->signal; }
void shutdown_request::request(std::string_view why) { state_->request(0, why); }
cancel_source& shutdown_request::end_source() noexcept { return state_->end; }
cancel_source& shutdown_request::drain_source() noexcept { return state_->drain; }

}  // namespace leash
