#include "poller.hpp"

#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <leash/worker.hpp>
#include <system_error>

namespace leash::net {

namespace {

constexpr int most_at_once = 64;
constexpr int generation_shift = 48;  // addresses of programs are shorter
// No addresses. With the second comes the timer's number.
constexpr std::uint64_t interrupted_label = 0, tick_label = 1;

std::int64_t steady_nanoseconds() noexcept {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int wait_for_events(int epoll, epoll_event* events, std::int64_t until) noexcept {
  if (until == 0) return ::epoll_wait(epoll, events, most_at_once, 0);
  if (until == INT64_MAX) return ::epoll_wait(epoll, events, most_at_once, -1);
  std::int64_t const left = std::max<std::int64_t>(0, until - steady_nanoseconds());
  timespec const t{left / 1'000'000'000, left % 1'000'000'000};
  static std::atomic<bool> by_milliseconds{false};  // Linux before 5.11
  if (!by_milliseconds.load(std::memory_order_relaxed)) {
    int const n = ::epoll_pwait2(epoll, events, most_at_once, &t, nullptr);
    if (n >= 0 || (errno != ENOSYS && errno != EPERM)) return n;
    by_milliseconds.store(true, std::memory_order_relaxed);
  }
  return ::epoll_wait(epoll, events, most_at_once,
                      static_cast<int>(std::min<std::int64_t>((left + 999'999) / 1'000'000, INT_MAX)));
}

// The kernel's timer stands still until it is read.
void go_on_ticking(int timer) noexcept {
  std::uint64_t n = 0;
  (void)!::read(timer, &n, sizeof n);
}

}  // namespace

// --- poller

poller::poller() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_ < 0) throw std::system_error(errno, std::generic_category(), "leash::net: epoll_create1");
  epoll_event e{};
  e.events = EPOLLIN | EPOLLET;  // each write tells anew, so nobody need read it
  e.data.u64 = interrupted_label;
  event_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event_ >= 0 && ::epoll_ctl(epoll_, EPOLL_CTL_ADD, event_, &e) == 0) return;
  int const number = errno;
  if (event_ >= 0) ::close(event_);
  ::close(epoll_);
  throw std::system_error(number, std::generic_category(), "leash::net: eventfd");
}

poller::~poller() {
  ::close(event_);
  ::close(epoll_);
}

void poller::wait(std::int64_t until) noexcept {
  epoll_event events[most_at_once];
  int n = wait_for_events(epoll_, events, until);
  for (;;) {
    for (int i = 0; i < n; ++i) {
      if (events[i].data.u64 == interrupted_label)
        interrupted_.store(false, std::memory_order_release);
      else if ((events[i].data.u64 & tick_label) != 0)
        go_on_ticking(static_cast<int>(events[i].data.u64 >> 1));
      else
        watched_fd::told(events[i].data.u64, events[i].events);
    }
    if (n < most_at_once) return;
    n = wait_for_events(epoll_, events, 0);
  }
}

void poller::interrupt() noexcept {
  if (interrupted_.exchange(true, std::memory_order_acq_rel)) return;  // R3: it is kept
  std::uint64_t const one = 1;
  (void)!::write(event_, &one, sizeof one);
}

pollers::pollers(std::uint32_t n)
    : n_(n),
      all_(std::make_unique<poller[]>(n)),
      timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
  if (timer_ < 0) throw std::system_error(errno, std::generic_category(), "leash::net: timerfd_create");
  for (std::uint32_t i = 0; i < n_; ++i) {
    epoll_event e{};
    e.events = EPOLLIN | EPOLLET | EPOLLEXCLUSIVE;
    e.data.u64 = static_cast<std::uint64_t>(timer_) << 1 | tick_label;
    ::epoll_ctl(all_[i].handle(), EPOLL_CTL_ADD, timer_, &e);
  }
}
pollers::~pollers() { ::close(timer_); }

void pollers::tick(bool on) noexcept {
  timespec const each{0, on ? 1'000'000 : 0};
  itimerspec const t{each, each};
  ::timerfd_settime(timer_, 0, &t, nullptr);
}

poller& pollers::next() const noexcept {
  std::uint32_t const here = this_worker != nullptr ? this_worker->index % n_ : 0;
  poller* best = &all_[here];
  for (std::uint32_t i = 0; i < n_; ++i)
    if (all_[i].watches.load(std::memory_order_relaxed) < best->watches.load(std::memory_order_relaxed))
      best = &all_[i];
  return *best;
}

// --- watched_fd

/// Told of when the lock has been given back: their goroutines may go on at once.
struct watched_fd::ended_waits {
  fd_wait *first = nullptr, **last = &first;
  void add(fd_wait* w) noexcept {
    w->next_ = nullptr;
    *last = w;
    last = &w->next_;
  }
  void tell() noexcept {
    for (fd_wait* w = first; w != nullptr;) {
      fd_wait* const next = w->next_;
      fd_wait::ended_part(w);
      w = next;
    }
  }
};

std::uint64_t watched_fd::label() const noexcept {
  return reinterpret_cast<std::uintptr_t>(this) | std::uint64_t{generation_} << generation_shift;
}

void watched_fd::open(const pollers& all, int fd) noexcept {
  spin_guard guard(lock_);
  fd_ = fd;
  all_ = &all;
  asked_ = 0;
  sides_[0] = sides_[1] = {};
}

int watched_fd::ask(std::uint32_t events) noexcept {
  epoll_event e{};
  e.events = events | EPOLLET;
  e.data.u64 = label();
  poller& home = home_ != nullptr ? *home_ : all_->next();
  if (::epoll_ctl(home.handle(), home_ != nullptr ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd_, &e) != 0)
    return errno == EPERM ? EOPNOTSUPP : errno;
  if (home_ == nullptr) home.watches.fetch_add(1, std::memory_order_relaxed);
  home_ = &home;
  asked_ = events;
  return 0;
}

void watched_fd::try_all(side& s, ended_waits& ended) noexcept {
  while (s.first != nullptr && s.ready) {
    fd_wait* const w = s.first;
    s.ready = false;
    if (!w->kind_->attempt(w)) {
      s.over = false;  // an error that has been told, for one
      return;
    }
    s.first = w->next_;
    s.ready = s.over || w->leaves_some();
    ended.add(w);
  }
}

void watched_fd::add(fd_wait* w) noexcept {
  ended_waits ended;
  {
    spin_guard guard(lock_);
    bool const writes = w->kind_->writes, asks = w->kind_->how == fd_wait::mode::asks;
    side& s = sides_[writes];
    fd_wait** at = &s.first;
    while (*at != nullptr) at = &(*at)->next_;
    *at = w;
    w->next_ = nullptr;
    int number = 0;
    // Asked for writing at all times, the kernel would tell of each piece that the other end has read.
    if (writes)
      number = ask(asked_ | EPOLLOUT);
    else if ((asked_ & EPOLLIN) == 0 || asks)
      number = ask(asked_ | EPOLLIN | EPOLLRDHUP);
    if (number != 0) {
      *at = nullptr;
      w->fails(error_code(number, boost::system::system_category()));
      ended.add(w);
    } else if (s.first == w && !asks && !writes) {
      try_all(s, ended);
    }
  }
  ended.tell();
}

void watched_fd::cut(fd_wait* w) noexcept {
  {
    spin_guard guard(lock_);
    fd_wait** at = &sides_[w->kind_->writes].first;
    while (*at != nullptr && *at != w) at = &(*at)->next_;
    if (*at == nullptr) return;
    *at = w->next_;
    w->fails(asio::error::operation_aborted);
  }
  fd_wait::ended_part(w);
}

void watched_fd::renew() noexcept {
  ended_waits ended;
  {
    spin_guard guard(lock_);
    sides_[0].ready = true;
    try_all(sides_[0], ended);
  }
  ended.tell();
}

void watched_fd::told(std::uint64_t label, std::uint32_t events) noexcept {
  auto* const f = reinterpret_cast<watched_fd*>(label & ((std::uint64_t{1} << generation_shift) - 1));
  ended_waits ended;
  {
    spin_guard guard(f->lock_);
    if (f->label() != label) return;  // P3
    bool const gone = (events & (EPOLLHUP | EPOLLERR)) != 0;
    if (gone || (events & (EPOLLIN | EPOLLRDHUP)) != 0) {
      side& s = f->sides_[0];
      s.over |= gone || (events & EPOLLRDHUP) != 0;
      s.ready = true;
      f->try_all(s, ended);
    }
    if (side& s = f->sides_[1]; (f->asked_ & EPOLLOUT) != 0 && (gone || (events & EPOLLOUT) != 0)) {
      bool const none = s.first == nullptr;
      s.ready = true;
      f->try_all(s, ended);
      if (none) (void)f->ask(f->asked_ & ~std::uint32_t{EPOLLOUT});
    }
  }
  ended.tell();
}

void watched_fd::close() noexcept {
  ended_waits ended;
  {
    spin_guard guard(lock_);
    if (home_ != nullptr) {
      epoll_event none{};
      ::epoll_ctl(home_->handle(), EPOLL_CTL_DEL, fd_, &none);
      home_->watches.fetch_sub(1, std::memory_order_relaxed);
      home_ = nullptr;
    }
    ++generation_;
    fd_ = -1;
    for (side& s : sides_)
      while (s.first != nullptr) {
        fd_wait* const w = std::exchange(s.first, s.first->next_);
        w->fails(asio::error::operation_aborted);
        ended.add(w);
      }
  }
  ended.tell();
}

// --- watched_fds

watched_fd& watched_fds::take() {
  std::unique_ptr<watched_fd[]> more;
  for (;;) {
    {
      spin_guard guard(lock_);
      if (more != nullptr) {
        for (std::size_t i = 0; i < at_once; ++i) more[i].next_free_ = std::exchange(free_, &more[i]);
        all_.push_back(std::move(more));
      }
      if (free_ != nullptr) return *std::exchange(free_, free_->next_free_);
    }
    more = std::make_unique<watched_fd[]>(at_once);
  }
}

void watched_fds::give_back(watched_fd& f) noexcept {
  spin_guard guard(lock_);
  f.next_free_ = std::exchange(free_, &f);
}

}  // namespace leash::net
