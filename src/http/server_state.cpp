#include "server_state.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <leash/cancel.hpp>
#include <leash/select.hpp>
#include <leash/sleep.hpp>
#include <map>
#include <stdexcept>

#include "connection.hpp"

namespace leash::http {

namespace {
constexpr std::size_t slice = 256;  // connections looked at in one go, under the lock
}

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
  if (o.grace < nanoseconds::zero()) throw std::invalid_argument("http: server_options::grace must not be negative");
  std::tie(wake_tx, wake_rx) = channel<std::monostate>(1);
}

void server::state::add(connection& c) {
  std::lock_guard guard(lock);
  c.place = open.size();
  open.push_back(&c);
  connections.store(open.size(), std::memory_order_relaxed);
}

void server::state::remove(connection& c) noexcept {
  std::lock_guard guard(lock);
  open[c.place] = open.back();
  open[c.place]->place = c.place;
  open.pop_back();
  connections.store(open.size(), std::memory_order_relaxed);
}

void server::state::wake() noexcept {
  if (asleep.exchange(false, std::memory_order_relaxed)) (void)wake_tx.try_send({});
}

task<> server::state::keep() {
  for (;;) {
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
      (void)co_await wake_rx.recv();
    } else {
      // Not for each connection on its own when there are many.
      auto const until = std::max(found.due, at + watch * 5);
      co_await select(wake_rx.recv(), sleep_until(clock::time_point(nanoseconds(until))));
      asleep.store(false, std::memory_order_relaxed);
    }
  }
}

server::state::look server::state::look_after_all(std::int64_t at) {
  look found;
  std::vector<pollfd> ask;
  std::vector<connection*> asked;
  short const events = o.half_close ? 0 : POLLRDHUP;
  for (std::size_t first = 0;; first += slice) {
    std::lock_guard guard(lock);
    if (first >= open.size()) return found;
    ask.clear();
    asked.clear();
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
          ask.push_back({c.descriptor(), events, 0});
          asked.push_back(&c);
          found.busy = true;
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
    if (!ask.empty() && ::poll(ask.data(), ask.size(), 0) > 0) {
      for (std::size_t i = 0; i < ask.size(); ++i)
        if ((ask[i].revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0)
          asked[i]->cut("the client disconnected", true);
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
      if (connection::phase_of(c->state.load(std::memory_order_relaxed)) == phase::idle) continue;
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
