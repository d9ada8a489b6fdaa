// serve: a goroutine for each connection, with a limit.
#pragma once
#include <cstddef>
#include <exception>
#include <functional>
#include <leash/net/tcp.hpp>
#include <leash/scope.hpp>
#include <leash/select.hpp>
#include <leash/semaphore.hpp>
#include <leash/sleep.hpp>
#include <leash/wait_group.hpp>
#include <string>
#include <type_traits>
#include <utility>

namespace leash::net {

struct serve_options {
  // At most so many at once. More are not accepted before one ends: they wait in the system's queue (listen_options::backlog),
  // and clients see a slow connect, not a failure.
  std::size_t max_connections = 10'000;
  // Told of what a handler throws; the server goes on. Empty: errors of the network (system_error) are the peer's affair and are
  // dropped, others end the server.
  std::function<void(std::exception_ptr)> on_error = {};
  // Set: no more connections are accepted, and serve() returns when those there are have ended.
  event* drain = nullptr;
  std::string name = "connection";  // of the goroutines
};

/// Out of descriptors or memory: the connection stays in line, and accepting it may work when others have ended.
inline bool is_exhausted(const error_code& e) noexcept {
  using namespace boost::system::errc;
  return e == too_many_files_open || e == too_many_files_open_in_system || e == no_buffer_space ||
         e == not_enough_memory;
}

template <class Stream, class Handler>
task<> serve_one(Stream s, semaphore::permit, const serve_options* o, Handler* handler) {
  try {
    using result = std::invoke_result_t<Handler&, Stream>;
    if constexpr (is_task<std::remove_cvref_t<result>>) {
      (void)co_await std::invoke(*handler, std::move(s));
    } else {
      (void)std::invoke(*handler, std::move(s));
    }
  } catch (const system_error&) {
    if (o->on_error) o->on_error(std::current_exception());
  } catch (...) {
    if (!o->on_error) throw;
    o->on_error(std::current_exception());
  }
}

template <class Listener, class Handler>
task<> serve_accepted(Listener* listener, const serve_options* o, Handler* handler) {
  using stream_type = typename Listener::stream_type;
  semaphore places(o->max_connections == 0 ? 1 : o->max_connections);
  event never;
  event& drain = o->drain != nullptr ? *o->drain : never;
  co_await with_scope([&](scope& s) -> task<> {
    std::chrono::milliseconds pause{0};
    for (;;) {
      auto place = co_await select(drain.wait(), places.acquire(1));
      if (place.index() == 0) co_return;
      error_code error;
      auto next = co_await select(drain.wait(), listener->accept(error));
      if (next.index() == 0) co_return;
      if (!error) {
        pause = pause.zero();
        s.go(named(o->name), serve_one<stream_type, Handler>, std::get<1>(std::move(next)),
             std::get<1>(std::move(place)), o, handler);
        continue;
      }
      if (!is_exhausted(error)) {
        if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) co_return;  // closed
        throw system_error(error, "accept");
      }
      // As Go does: longer each time, up to a second.
      pause = std::clamp(pause * 2, std::chrono::milliseconds(5), std::chrono::milliseconds(1000));
      (void)co_await select(drain.wait(), sleep(pause));
    }
  });
}

/// Accepts connections and runs `handler(stream)` in a goroutine for each, in a scope of its own.
///
/// Parameters: listener, a tcp_listener or unix_listener, which must outlive the call; handler, a callable that takes the stream
///   by value and returns a task<> (or nothing); called for several connections at once.
/// Suspends: until the listener is closed or `drain` is set, and all connections have ended. Survives running out of descriptors.
/// Cancellation: accepts no more, ends the context of every connection, and waits for them.
/// Errors: what a handler throws, see serve_options::on_error; boost::system::system_error if accepting fails for good.
template <class Listener, class Handler>
task<> serve(Listener& listener, serve_options options, Handler handler) {
  co_await serve_accepted(&listener, &options, &handler);
}
template <class Listener, class Handler>
task<> serve(Listener& listener, Handler handler) {
  return serve(listener, serve_options{}, std::move(handler));
}

}  // namespace leash::net
