// Server-sent events: a response that stays open and tells a browser's EventSource what happens.
#pragma once
#include <chrono>
#include <leash/http/message.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace leash::http {

struct server_event {
  std::string data;
  std::string name = {};  // empty: "message"
  std::string id = {};    // what a client that comes back says in Last-Event-ID
  std::optional<std::chrono::milliseconds> retry = {};
};

/// The event as it goes over the wire. Line breaks in the data become lines of their own; in name and id they are left out.
std::string text_of(const server_event&);

class event_writer {
 public:
  explicit event_writer(body_writer& to) noexcept : to_(to) {}
  /// Sends an event. Suspends, cancellation: as body_writer::write.
  task<> send(const server_event& e) { co_await to_.write(text_of(e)); }
  /// Sends a line that clients pass over: keeps proxies from closing.
  task<> beat() { co_await to_.write(":\n\n"); }

 private:
  body_writer& to_;
};

/// What `f(event_writer&)`, a coroutine, sends. It is cancelled when the client goes away.
template <class F>
  requires std::is_same_v<std::invoke_result_t<std::decay_t<F>&, event_writer&>, task<>>
response events(F&& f) {
  response r = response::stream(
      [f = std::forward<F>(f)](body_writer& to) mutable -> task<> {
        event_writer w(to);
        co_await f(w);
      },
      "text/event-stream");
  r.headers.add("Cache-Control", "no-store");
  return r;
}
/// The events that come out of a channel, until it ends; with a beat whenever nothing came for so long.
response events(receiver<server_event>, nanoseconds beat = std::chrono::seconds(15));

}  // namespace leash::http
