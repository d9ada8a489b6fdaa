// One connection of a server: requests, one after the other, in one goroutine.
//
// Invariants
//  N1. `state` changes with every phase and every piece of progress; the keeper measures from the outside how long it has
//      been the same. The connection reads no clock and arms no timer for its phases.
//  N2. The connection leaves the server's list before its descriptor is closed: whoever finds it there may shut it down.
//  N3. `source` is cancelled only for ever: a client that is gone, or a server that has ended.
//  N4. Nothing follows a response on the wire unless the request's body was read to its end.
#pragma once
#include <atomic>
#include <leash/boundary.hpp>
#include <leash/http/server.hpp>
#include <optional>

#include "buffer.hpp"
#include "parser.hpp"
#include "server_state.hpp"
#include "transport.hpp"

namespace leash::http {

enum class phase : std::uint32_t { idle, head, handler, body, write, linger };

class connection final : body_source {
 public:
  connection(server::state& s, std::unique_ptr<transport> io, std::string remote);
  connection(const connection&) = delete;
  ~connection() override;

  /// Serves it to its end.
  task<> run();

  // --- the keeper's side: under the server's lock, while the connection is listed
  static phase phase_of(std::uint32_t state) noexcept { return static_cast<phase>(state & 7); }
  std::atomic<std::uint32_t> state{0};          // N1: phase, and a count of changes
  std::atomic<bool> departed{false};            // the client has gone, or has ended its sending
  std::atomic<bool> expired{false};             // the keeper ended a phase that took too long
  std::atomic<const route*> at_route{nullptr};  // while its handler runs
  std::atomic<http::method> at_method{http::method::other};
  std::atomic<std::uint64_t> goroutine{0};
  std::size_t place = 0;     // in the server's list
  std::uint32_t seen = ~0u;  // the keeper's own: what it last saw (nothing yet: no state is that), and since when
  std::int64_t since = 0;
  int descriptor() const noexcept { return descriptor_; }
  /// The client went away, or the server has waited long enough: the request's context ends.
  void cut(const char* why, bool gone);
  bool gone() const noexcept { return gone_.load(std::memory_order_relaxed); }
  const server::state& of() const noexcept { return server_; }

 private:
  enum class verdict : std::uint8_t { keep, close };
  class writer;

  void enter(phase p) noexcept {
    changes_ += 8;
    state.store(changes_ | static_cast<std::uint32_t>(p), std::memory_order_relaxed);
    server_.note_progress();
  }
  task<verdict> next();
  task<verdict> answer_one(message_parser<true>& parser);
  task<> call(const route& to, response& r);
  task<bool> converse(session_runner& session);
  task<std::optional<std::string_view>> read() override;
  task<verdict> refuse(int status);
  task<bool> send(response& r);
  void begin_head(const response& r, std::string& out);
  task<verdict> after_response();
  task<> linger();
  task<bool> put(transport::pieces);
  void client_gone();

  server::state& server_;
  std::unique_ptr<transport> io_;
  int descriptor_;
  std::string remote_;
  cancel_source source_;  // N3
  input_buffer in_;
  std::uint32_t changes_ = 0;
  request request_;
  // of the request that is being answered
  message_parser<true>* parser_ = nullptr;
  std::size_t taken_ = 0;  // bytes of `in_` that the piece given last lies in
  bool keep_ = false;      // the connection goes on after this response
  bool head_sent_ = false, continue_ = false, bad_body_ = false, head_only_ = false, chunked_ = false;
  std::atomic<bool> gone_{false}, stopped_{false};
};

}  // namespace leash::http
