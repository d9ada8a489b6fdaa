// WebSockets (RFC 6455), the server's side.
//
//   router.get("/chat", [](http::request& r) {
//     return http::upgrade(r, [](http::websocket& w) -> task<> {
//       while (auto m = co_await w.recv()) (void)co_await w.send(m->data, m->binary);
//     });
//   });
//
// The session runs in the request's context: it ends with the client's disconnection and with the server's shutdown, and the
// client is told why (1001).
#pragma once
#include <cstdint>
#include <leash/http/message.hpp>
#include <leash/mutex.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace leash::http {

class input_buffer;
class transport;

/// Thread safety: one goroutine at a time in recv(); any number in send(), ping() and close().
class websocket {
 public:
  struct message {
    bool binary = false;
    std::string data;
  };

  websocket(const websocket&) = delete;
  websocket& operator=(const websocket&) = delete;

  /// The next message, put together of its fragments; pings are answered meanwhile, and a client that is silent for idle_timeout
  /// is sent one. nullopt: the connection is closed, by the client, because it broke the protocol, or because it is gone.
  ///
  /// Suspends when: none is there. Wait reason: `IO wait`. Cancellation: first; ends the connection.
  task<std::optional<message>> recv();
  /// False: the connection takes no more. Suspends when: the client does not take it fast enough, or another send is under
  /// way. Cancellation: first; in the midst of a message it ends the connection.
  [[nodiscard]] task<bool> send(std::string_view data, bool binary = false);
  [[nodiscard]] task<bool> ping(std::string_view data = {});
  /// Tells the client that no more will be sent. Idempotent.
  task<> close(unsigned code = 1000, std::string_view reason = {});
  /// What the client's close said; 1005: nothing; 1006: it went without one; 0: it has not closed.
  unsigned closed_with() const noexcept { return closed_with_; }

  /// For the library.
  websocket(transport& io, input_buffer& in, const websocket_options& o) : io_(io), in_(in), o_(o) {}
  bool between_messages() const noexcept { return !sending_; }

 private:
  enum class op : std::uint8_t { more = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };
  task<bool> frame(op, std::string_view);
  task<bool> fill(std::size_t bytes);
  task<> fail(unsigned code);

  transport& io_;
  input_buffer& in_;
  websocket_options o_;
  mutex sending_turn_;
  bool sending_ = false;     // under sending_turn_: a frame is on its way
  bool close_sent_ = false;  // under sending_turn_
  unsigned closed_with_ = 0;
};

/// The response that turns the request's connection into a WebSocket, or 426 or 400 if it asks for none. `f(websocket&)`, a
/// coroutine, is kept and runs when the client has been told; when it returns the connection is closed.
response upgrade_with(const request&, std::unique_ptr<session_runner>, const websocket_options& = {});
template <class F>
  requires std::is_same_v<std::invoke_result_t<std::decay_t<F>&, websocket&>, task<>>
response upgrade(const request& r, F&& f, const websocket_options& o = {}) {
  struct session final : session_runner {
    std::decay_t<F> f;
    explicit session(F&& from) : f(std::forward<F>(from)) {}
    task<> run(websocket& w) override { return f(w); }
  };
  auto s = std::make_unique<session>(std::forward<F>(f));
  return upgrade_with(r, std::move(s), o);
}

}  // namespace leash::http
