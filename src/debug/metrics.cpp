// /metrics: Prometheus' text format. Series of a runtime carry its serial number, so that counters only ever rise.
#include <leash/scope.hpp>

#include "runtimes.hpp"
#include "viewer.hpp"

namespace leash::debug {

namespace {

using namespace std::chrono_literals;

class exposition {
 public:
  explicit exposition(std::string& out) : out_(out) {}
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    ((((out_ += "# HELP ") += name) += ' ') += help) += '\n';
    ((((out_ += "# TYPE ") += name) += ' ') += type) += '\n';
  }
  /// labels: as in `a="b",c="d"`; their values are names of ours, with nothing to escape.
  void value(std::string_view labels, double v) {
    char text[40];
    std::snprintf(text, sizeof text, "%.15g", v);
    out_ += name_;
    if (!labels.empty()) ((out_ += '{') += labels) += '}';
    ((out_ += ' ') += text) += '\n';
  }

 private:
  std::string& out_;
  std::string name_;
};

void write(viewer& v, const census& c, std::string& out) {
  exposition x(out);
  std::uint64_t counts[256]{};
  std::uint32_t longest[256]{};
  for (auto& g : c.all.groups()) {
    counts[g.state] += g.count;
    longest[g.state] = std::max(longest[g.state], g.longest);
  }
  x.family("leash_goroutines", "gauge", "Goroutines that have not ended, by what they do or wait in.");
  auto state = [](int i) {
    return "state=\"" + std::string(gathering::state_name(static_cast<std::uint8_t>(i))) + "\"";
  };
  for (int i = 0; i < 256; ++i)
    if (counts[i] != 0) x.value(state(i), static_cast<double>(counts[i]));
  x.family("leash_longest_wait_seconds", "gauge", "The longest wait that goes on, by what is waited in.");
  for (int i = 0; i < gathering::running; ++i)
    if (counts[i] != 0) x.value(state(i), longest[i] / 1000.0);

  leaked_ptr const l = v.leaks(10s);
  x.family("leash_leaked_goroutines", "gauge", "Goroutines that the last look for leaks proved leaked.");
  auto leaks = [&](const char* grade, const char* role, std::size_t n) {
    x.value(std::string("grade=\"") + grade + "\",role=\"" + role + "\"", static_cast<double>(n));
  };
  leaks("proven", "core", l->proven_core);
  leaks("proven", "dependent", l->proven_dependent);
  leaks("confined", "core", l->confined_core);
  leaks("confined", "dependent", l->confined_dependent);
  x.family("leash_leak_passes_total", "counter", "Looks for leaks, whoever asked for them.");
  x.value("", current_pass.load(std::memory_order_relaxed));
  x.family("leash_leak_pass_seconds", "gauge", "How long the last look for leaks of this endpoint took.");
  x.value("", std::chrono::duration<double>(l->took).count());

  auto const all = look_at_runtimes();
  auto each = [&](const char* name, const char* type, const char* help, auto f) {
    x.family(name, type, help);
    for (auto& r : all) x.value("runtime=\"" + std::to_string(r.serial) + "\"", static_cast<double>(f(r)));
  };
  each("leash_spawned_goroutines_total", "counter", "Goroutines ever started.", [](auto& r) { return r.spawned; });
  each("leash_ended_goroutines_total", "counter", "Goroutines that have ended.", [](auto& r) { return r.ended; });
  each("leash_timers", "gauge", "Timers that are armed.", [](auto& r) { return r.timers; });
  each("leash_workers", "gauge", "Scheduler threads.", [](auto& r) { return r.workers; });
  each("leash_workers_sleeping", "gauge", "Scheduler threads that sleep.", [](auto& r) { return r.sleeping; });
  each("leash_workers_looking", "gauge", "Scheduler threads that look for work.", [](auto& r) { return r.looking; });
  each("leash_blocking_threads", "gauge", "Threads of the blocking pool.", [](auto& r) { return r.blocking.threads; });
  each("leash_blocking_busy_threads", "gauge", "Threads of the blocking pool that run a call.",
       [](auto& r) { return r.blocking.threads - r.blocking.idle; });
  each("leash_blocking_queued_calls", "gauge", "Blocking calls that wait for a thread.",
       [](auto& r) { return r.blocking.waiting; });
  each("leash_calls_in_flight", "gauge", "Completions that come from outside: blocking calls, foreign awaitables.",
       [](auto& r) { return r.in_flight; });

  std::size_t live = 0, threads = 0;
  for (auto& r : all) live += r.live, threads += r.workers + r.blocking.threads;
  // Under Go's names too, for the dashboards that are there.
  x.family("go_goroutines", "gauge", "Number of goroutines that currently exist.");
  x.value("", static_cast<double>(live));
  x.family("go_threads", "gauge", "Threads of the schedulers and their blocking pools.");
  x.value("", static_cast<double>(threads));
  x.family("leash_debug_requests_total", "counter", "Requests to the debug endpoints that were answered.");
  x.value("", static_cast<double>(v.requests));
  x.family("leash_debug_refused_total", "counter",
           "Requests and connections to the debug endpoints that were refused.");
  x.value("", static_cast<double>(v.refused));
}

}  // namespace

reply metrics(viewer& v) {
  reply r;
  r.type = "text/plain; version=0.0.4; charset=utf-8";
  r.stream = after_census(v, [&v](const census& c, std::string& out) { write(v, c, out); });
  return r;
}

}  // namespace leash::debug
