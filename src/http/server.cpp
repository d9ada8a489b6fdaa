// Serving, and its end.
//
// A server has two scopes in one: connections live in a scope that the end of the caller's context does not reach at once; a
// goroutine of its own waits for that end, or for shutdown(), and then lets the connections finish, cuts what is left, and goes.
#include <sys/socket.h>

#include <cstdio>
#include <leash/http/server.hpp>
#include <leash/scope.hpp>
#include <leash/select.hpp>
#include <leash/sleep.hpp>

#include "connection.hpp"
#include "server_state.hpp"
#include "transport.hpp"

namespace leash::http {

namespace {

task<> converse(server::state::place&& mine, std::unique_ptr<transport>&& io, std::string&& remote) {
  // Handlers' exceptions do not come here; one that does (no memory, say) ends this connection, not the others.
  try {
    connection c(mine.of(), std::move(io), std::move(remote));
    co_await c.run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "leash::http: a connection was given up: %s\n", e.what());
  }
}

/// One more than the server takes: it is told so, if that can be done without waiting.
void turn_away(server::state& s, transport& io) {
  s.shed.fetch_add(1, std::memory_order_relaxed);
  if (io.secure()) return;  // that would take a handshake
  std::string const text =
      "HTTP/1.1 503 Service Unavailable\r\nRetry-After: " + std::to_string(s.o.retry_after.count()) +
      "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  (void)::send(io.descriptor(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

task<> accept_all(std::shared_ptr<server::state> s, std::unique_ptr<acceptor> from, scope& connections) {
  for (;;) {
    std::string remote;
    std::unique_ptr<transport> io = co_await from->accept(remote);
    if (!io) {
      co_await sleep(std::chrono::milliseconds(10));
      continue;
    }
    if (s->started.load(std::memory_order_relaxed) >= s->o.max_connections) {
      turn_away(*s, *io);
    } else {
      connections.go(converse, server::state::place(s), std::move(io), std::move(remote));
    }
  }
}

}  // namespace

server::server(router r, server_options o) : s_(std::make_shared<state>(std::move(r), std::move(o))) {}
server::~server() = default;

void server::shutdown() noexcept { s_->stop.set(); }

server_figures server::figures() const noexcept { return s_->figures(); }
server_figures request::figures() const noexcept {
  return connection_ != nullptr ? connection_->of().figures() : server_figures();
}

task<shutdown_result> server::serve_from(std::unique_ptr<acceptor> from) {
  std::shared_ptr<state> const s = s_;
  if (s->serving.exchange(true)) throw std::logic_error("http::server::serve: it serves already, or has served");
  context const outer = this_context();
  shutdown_result result;
  auto lost = std::make_shared<std::exception_ptr>();  // what ended the acceptor
  // Connections may finish although the context has ended: their own limits and the grace bound them.
  (void)co_await shielded(nanoseconds::max(), [&]() -> task<> {
    (void)co_await with_scope([&](scope& all) -> task<> {
      auto stop_accepting = std::make_shared<cancel_source>();
      all.go(named("http keeper"), [s] { return s->keep(); });
      auto accepting =
          all.go(named("http accept"), [s, lost, stop_accepting, from = std::move(from), &all]() mutable -> task<> {
            try {
              (void)co_await with_cancel(*stop_accepting, accept_all(s, std::move(from), all));
            } catch (...) {
              *lost = std::current_exception();
              s->stop.set();
            }
          });
      co_await select(outer.done(), s->stop.wait());
      // The end of the context is a word to end, and behind one that was given before it a word to be quick.
      bool const told_before = s->stop.is_set();
      stop_accepting->cancel("the server ends");
      (void)co_await accepting.join();
      s->drain();
      (void)co_await with_timeout(s->o.grace, [&]() -> task<> {
        if (told_before)
          co_await select(s->empty.wait(), outer.done());
        else
          co_await s->empty.wait();
      });
      if (!s->empty.is_set()) {
        result = s->cut_all();
        co_await s->empty.wait();
      } else if (s->o.on_shutdown) {
        s->o.on_shutdown(result);
      }
      all.cancel("the server has ended");  // the keeper
    });
  });
  if (*lost) std::rethrow_exception(*lost);
  co_await unwind_if_cancelled{};
  co_return result;
}

}  // namespace leash::http
