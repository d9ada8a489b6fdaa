#include "server_state.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <leash/cancel.hpp>
#include <leash/select.hpp>
#include <leash/sleep.hpp>
#include <map>
#include <stdexcept>
#include <system_error>

#include "connection.hpp"

namespace leash::http {

namespace {
constexpr std::size_t slice = 256;  // connections looked at in one go, under the lock
// One who ends its sending behind its request still gets what a quick handler answers.
constexpr std::int64_t handler_grace = 10'000'000;
}  // namespace

server::state::state(router r, server_options options) : routes(std::move(r)), o(std::move(options)) {
  auto const positive = [](auto v, const char* what) {
    if (v <= decltype(v){})
      throw std::invalid_argument(std::string("http: server_options::") + what + " must be more than 0");
  };
  positive(o.max_connections, "max_connections");
  positive(o.max_requests, "max_requests");
  positive(o.max_head, "max_head");
  positive(o.head_timeout.count(), "head_timeout");
  positive(o.body_timeout.count(), "body_timeout");
  positive(o.write_timeout.count(), "write_timeout");
  positive(o.idle_timeout.count(), "idle_timeout");
  positive(o.request_timeout.count(), "request_timeout");
  positive(o.keep_alive, "keep_alive");
  if (o.grace < nanoseconds::zero()) throw std::invalid_argument("http: server_options::grace must not be negative");
  std::tie(wake_tx, wake_rx) = channel<std::monostate>(1);
}

server_figures server::state::figures() const noexcept {
  server_figures f;
  f.connections = connections.load(std::memory_order_relaxed);
  f.requests = requests.load(std::memory_order_relaxed);
  f.served = served.load(std::memory_order_relaxed);
  f.shed = shed.load(std::memory_order_relaxed);
  f.refused = refused.load(std::memory_order_relaxed);
  return f;
}

server::state::departures::departures() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "http: epoll_create1");
}
server::state::departures::~departures() { ::close(fd_); }

// Edge-triggered, so that one who has gone is told of once, and bytes that come are nothing to tell of.
void server::state::departures::add(connection& c, bool half_close) {
  epoll_event e{};
  e.events = EPOLLET | (half_close ? 0u : unsigned{EPOLLRDHUP});
  e.data.ptr = &c;
  if (::epoll_ctl(fd_, EPOLL_CTL_ADD, c.descriptor(), &e) != 0)
    throw std::system_error(errno, std::generic_category(), "http: epoll_ctl");
}
void server::state::departures::remove(connection& c) noexcept {
  (void)::epoll_ctl(fd_, EPOLL_CTL_DEL, c.descriptor(), nullptr);
}
void server::state::departures::take() noexcept {
  epoll_event gone[64];
  int n = 0;
  do {
    n = ::epoll_wait(fd_, gone, 64, 0);
    for (int i = 0; i < n; ++i)
      static_cast<connection*>(gone[i].data.ptr)->departed.store(true, std::memory_order_relaxed);
  } while (n == 64);
}

void server::state::add(connection& c) {
  std::lock_guard guard(lock);
  departed.add(c, o.half_close);
  c.place = open.size();
  open.push_back(&c);
  connections.store(open.size(), std::memory_order_relaxed);
}

void server::state::remove(connection& c) noexcept {
  std::lock_guard guard(lock);
  departed.remove(c);
  open[c.place] = open.back();
  open[c.place]->place = c.place;
  open.pop_back();
  connections.store(open.size(), std::memory_order_relaxed);
}

void server::state::wake() noexcept {
  if (asleep.exchange(false, std::memory_order_relaxed)) (void)wake_tx.try_send({});
}

task<> server::state::keep() {
  net::descriptor leaving(departed.descriptor(), net::borrowed);
  for (;;) {
    {
      std::lock_guard guard(lock);
      departed.take();
    }
    std::int64_t const at = now().time_since_epoch().count();
    look found = look_after_all(at);
    auto const watch = std::max<std::int64_t>(
        10'000'000, static_cast<std::int64_t>(connections.load(std::memory_order_relaxed)) * 5'000);
    if (found.busy) {
      co_await sleep(nanoseconds(watch));
      continue;
    }
    asleep.store(true, std::memory_order_relaxed);
    heavy_fence();  // ORD keeper-1: who changed its state before this is seen below, who does after it sees `asleep`
    found = look_after_all(now().time_since_epoch().count());
    if (found.busy) {
      asleep.store(false, std::memory_order_relaxed);
      co_await sleep(nanoseconds(watch));
    } else if (found.due == INT64_MAX) {
      co_await select(wake_rx.recv(), leaving.readable());
      asleep.store(false, std::memory_order_relaxed);
    } else {
      // Not for each connection on its own when there are many.
      auto const until = std::max(found.due, at + watch * 5);
      co_await select(wake_rx.recv(), leaving.readable(), sleep_until(clock::time_point(nanoseconds(until))));
      asleep.store(false, std::memory_order_relaxed);
    }
  }
}

server::state::look server::state::look_after_all(std::int64_t at) {
  look found;
  for (std::size_t first = 0;; first += slice) {
    std::lock_guard guard(lock);
    if (first >= open.size()) return found;
    for (std::size_t i = first; i < std::min(open.size(), first + slice); ++i) {
      connection& c = *open[i];
      std::uint32_t const s = c.state.load(std::memory_order_relaxed);
      phase const p = connection::phase_of(s);
      if (s != c.seen) {
        c.seen = s;
        c.since = at;
        found.busy = true;
        continue;
      }
      std::int64_t limit = INT64_MAX;
      switch (p) {
        case phase::idle:
          limit = o.idle_timeout.count();
          break;
        case phase::head:
          limit = o.head_timeout.count();
          break;
        case phase::body:
          limit = o.body_timeout.count();
          break;
        case phase::write:
          limit = o.write_timeout.count();
          break;
        case phase::linger:
          limit = 2'000'000'000;
          break;
        case phase::handler:
          if (c.departed.load(std::memory_order_relaxed) && !c.gone()) {
            if (at - c.since < handler_grace) {
              found.busy = true;
            } else {
              c.cut("the client disconnected", true);
            }
          }
          continue;
      }
      if (limit != INT64_MAX && at - c.since >= limit) {
        // What waits in a read sees the end of what the client sends; what is stuck in a write sees an error.
        c.expired.store(true, std::memory_order_relaxed);
        ::shutdown(c.descriptor(), p == phase::write || p == phase::linger ? SHUT_RDWR : SHUT_RD);
        c.since = at;  // once
      } else if (limit != INT64_MAX) {
        found.due = std::min(found.due, c.since + limit);
      }
    }
  }
}

void server::state::drain() {
  draining.store(true);
  std::lock_guard guard(lock);
  for (connection* c : open)
    if (connection::phase_of(c->state.load(std::memory_order_relaxed)) == phase::idle)
      ::shutdown(c->descriptor(), SHUT_RD);
  if (started.load() == 0) empty.set();
}

shutdown_result server::state::cut_all() {
  shutdown_result r;
  std::map<std::uint64_t, unfinished_request> named;
  std::int64_t const at = now().time_since_epoch().count();
  {
    std::lock_guard guard(lock);
    for (connection* c : open) {
      // One that lingers has given its last response.
      phase const p = connection::phase_of(c->state.load(std::memory_order_relaxed));
      if (p == phase::idle || p == phase::linger) continue;
      unfinished_request u;
      if (const route* to = c->at_route.load(std::memory_order_acquire)) u.route = to->pattern;
      u.method = c->at_method.load(std::memory_order_relaxed);
      u.running = nanoseconds(std::max<std::int64_t>(0, at - c->since));
      named.emplace(c->goroutine.load(std::memory_order_relaxed), std::move(u));
    }
  }
  if (!named.empty()) {
    for (goroutine_info& g : goroutines()) {
      auto it = named.find(g.id);
      if (it == named.end()) continue;
      it->second.who = std::move(g);
      r.cut.push_back(std::move(it->second));
    }
  }
  if (o.on_shutdown) o.on_shutdown(r);
  std::lock_guard guard(lock);
  for (connection* c : open) {
    // Before the cut: what is written from then on is its answer to that.
    phase const p = connection::phase_of(c->state.load(std::memory_order_relaxed));
    c->cut("the server has ended", false);
    if (p != phase::handler) ::shutdown(c->descriptor(), p == phase::write || p == phase::linger ? SHUT_RDWR : SHUT_RD);
  }
  return r;
}

}  // namespace leash::http
