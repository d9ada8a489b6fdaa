#include <leash/sleep.hpp>
#include <leash/sql/listen.hpp>

#include "session.hpp"

namespace leash::sql {

listener& listener::operator=(listener&& o) noexcept {
  if (this != &o) {
    if (stop_.core() != nullptr) stop_.cancel("its listener was replaced");
    from_ = std::move(o.from_);
    stop_ = std::move(o.stop_);
  }
  return *this;
}
listener::~listener() {
  if (stop_.core() != nullptr) stop_.cancel("its listener was dropped");
}

namespace {

constexpr nanoseconds first_pause = std::chrono::milliseconds(20), longest_pause = std::chrono::seconds(5);

task<std::unique_ptr<driver>> connect(pool_core& core, const std::vector<std::string>& channels) {
  std::unique_ptr<driver> d = co_await open_driver(core.to, core.options);
  co_await d->listen_to(channels);
  co_return d;
}

/// Reads from a connection of its own and makes it again when it is lost.
struct reader {
  std::shared_ptr<pool_core> core;
  std::vector<std::string> channels;
  sender<notification> to;
  cancel_source stop;
  std::unique_ptr<driver> d;

  task<> operator()() { (void)co_await with_cancel(stop, read()); }
  task<> read() {
    nanoseconds pause = first_pause;
    for (;;) {
      std::optional<notification> n;
      try {
        if (d == nullptr) {
          d = co_await connect(*core, channels);
          pause = first_pause;
          n = notification{{}, {}, true};
        } else {
          n = co_await d->next_notification();
        }
      } catch (const error&) {
        d = nullptr;
      }
      if (n) {
        if (!co_await to.send(std::move(*n))) co_return;
        continue;
      }
      co_await sleep(pause);
      pause = std::min(pause * 2, longest_pause);
    }
  }
};

task<listener> listen_in(scope& s, std::shared_ptr<pool_core> core, std::vector<std::string> channels,
                         std::size_t capacity) {
  cancel_source stop;
  if (core->to.backend == backend::sqlite) {
    auto [tx, rx] = channel<notification>(unbounded);
    spin_guard guard(core->lock);
    core->members.push_back({std::move(tx), std::move(channels)});
    co_return listener(std::move(rx), std::move(stop));
  }
  auto [tx, rx] = channel<notification>(capacity);
  std::unique_ptr<driver> d = co_await connect(*core, channels);
  s.go(named("sql listener"), reader{core, std::move(channels), std::move(tx), stop.dup(), std::move(d)});
  co_return listener(std::move(rx), std::move(stop));
}

}  // namespace

task<listener> listen(scope& s, pool& p, std::vector<std::string> channels, std::size_t capacity) {
  return listen_in(s, p.core(), std::move(channels), capacity);
}

}  // namespace leash::sql
