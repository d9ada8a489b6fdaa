// Debug endpoints: the program's goroutines and leaks over HTTP, in the forms of Go's tools, and as a live page.
//
//   /debug/leash                   the page
//   /debug/leash/api/...           what it shows, as JSON
//   /debug/leash/trace             a recording of what goroutines do, for Perfetto or `go tool trace`
//   /debug/pprof/                  goroutine, goroutineleak, block, mutex and CPU profiles, and traces, for `go tool pprof`,
//                                  `go tool trace` and whatever else reads Go's
//   /metrics                       for Prometheus
//
// A library of its own, leash::debug: the core depends on nothing but the standard library.
#pragma once
#include <cstddef>
#include <iosfwd>
#include <leash/trace.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace leash::debug {

/// Every member has a default.
struct serve_options {
  /// Asked of every request: "Authorization: Bearer TOKEN", or token=TOKEN in the address. Needed on any address but a
  /// loopback one.
  std::string token = {};
  /// Names under which the program is reached, besides localhost and plain IP addresses: a request for another name is
  /// refused, since a web page elsewhere may have pointed its own name at this address.
  std::vector<std::string> hosts = {};
  std::size_t max_connections = 64;
  unsigned max_requests_per_second = 100;
  /// Bytes for a recording that is asked for, unless one is under way already.
  std::size_t trace_memory = std::size_t{32} << 20;
};

/// The endpoints are served while it lives.
class [[nodiscard]] server {
 public:
  server(server&&) noexcept;
  server& operator=(server&&) noexcept;
  ~server();
  /// 0 for a Unix domain socket.
  unsigned short port() const noexcept;
  /// The page's: "http://127.0.0.1:6060/debug/leash"; of a Unix domain socket "unix:PATH".
  std::string address() const;
  struct state;  // the library's own

 private:
  explicit server(std::unique_ptr<state>);
  std::unique_ptr<state> s_;
  friend server serve(std::string_view, serve_options);
};

/// Serves the debug endpoints of this process, for all its runtimes, on a thread of its own, which needs no worker: a
/// program whose scheduler is stuck can be looked into.
///
/// Parameters: address, "HOST:PORT" with an IP address or localhost as host, port 0 takes a free one; or "unix:PATH", a
///   Unix domain socket that only this user may connect to (a socket left behind at PATH is replaced; it is removed at the end).
/// Thread safety: any thread, before, during and after runs; not inside a simulated run.
/// Errors: std::invalid_argument for an address that is none, or one beyond loopback without a token, or trace_memory out
///   of the bounds of trace_recording;
///   std::system_error when it cannot be listened on.
/// Cost: while nobody asks, a look at all goroutines every second, rarer when there are many: a hundredth of one
///   processor at most. See docs/design/sight.md.
server serve(std::string_view address = "127.0.0.1:6060", serve_options = {});

enum class trace_format : std::uint8_t {
  perfetto,  // TrackEvent protobuf: ui.perfetto.dev
  go,        // Go's execution trace, version 1: go tool trace
};

/// Writes a recording. Goroutines that are alive are named, and those to which nothing happened are shown as waiting, up to
/// 100,000 of them: so it is best written soon.
///
/// Thread safety: any thread. Complexity: linear; some 120 bytes of memory for each event.
/// Errors: std::bad_alloc; what `out` throws.
void write_trace(std::ostream& out, trace t, trace_format = trace_format::perfetto);

/// Every member has a default.
struct flight_options {
  /// Files are called FILE-PID-N.pftrace or .gotrace: N counts from 1.
  std::string file = "leash-trace";
  trace_format format = trace_format::perfetto;
  nanoseconds window = std::chrono::seconds(10);  // what is written of the time before
  trace_options recording = {};
  unsigned most_files = 10;  // then no more are written
};

/// Records, while it lives, and writes the last seconds to a file when goroutines are proved leaked that were not before:
/// by a run's own checks (options::leak_check_every, or when everything is at rest), by find_leaks(), by the page.
///
/// Writing is done by a thread of its own. Errors, on the standard error: a file that cannot be written. Thread safety: any
/// thread.  Errors: those of trace_recording.
class [[nodiscard]] flight_recorder {
 public:
  explicit flight_recorder(flight_options = {});
  flight_recorder(flight_recorder&&) noexcept;
  flight_recorder& operator=(flight_recorder&&) noexcept;
  /// Writes first what it was told of.
  ~flight_recorder();
  /// The files written so far.
  std::vector<std::string> files() const;
  struct state;  // the library's own

 private:
  std::unique_ptr<state> s_;
};

}  // namespace leash::debug
