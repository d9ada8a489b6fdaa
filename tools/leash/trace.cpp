// leash trace: has a process record what its goroutines do, and saves it for `go tool trace` or Perfetto.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>

#include "commands.hpp"

namespace leash::cli {

namespace {

/// What kind of trace the bytes begin.
bool is_go_trace(std::string_view s) { return s.starts_with("go 1.") && s.substr(0, 16).find(" trace") != s.npos; }
bool is_perfetto(std::string_view s) { return s.size() > 2 && s[0] == '\n'; }  // a packet is field 1 of a Trace

std::string in_seconds(std::chrono::milliseconds t) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", static_cast<double>(t.count()) / 1000);
  return text;
}

}  // namespace

int trace(const trace_options& o) {
  const bool go = o.format == "go";
  const target t(o.target);
  take_options take = o.take;
  // The answer begins, and for some ends, when the recording does.
  if (o.last.count() == 0) take.fetch.timeout += o.seconds;
  std::string query = o.last.count() != 0 ? "last=" + in_seconds(o.last) : "seconds=" + in_seconds(o.seconds);
  const bool of_leash = !go || o.last.count() != 0;
  if (of_leash) query += go ? "&format=go" : "&format=perfetto";
  const std::string bytes = t.take_trace(take, of_leash, query);
  if (go ? !is_go_trace(bytes) : !is_perfetto(bytes))
    throw input_error(t.text() + ": the answer is no " + (go ? "Go execution trace" : "Perfetto trace"));
  const std::string name = !o.file.empty() ? o.file : go ? "trace.out" : "trace.pftrace";
  const bool to_file = name != "-";
  {
    const std::unique_ptr<FILE, int (*)(FILE*)> file(to_file ? std::fopen(name.c_str(), "wb") : nullptr,
                                                     [](FILE* f) { return f == nullptr ? 0 : std::fclose(f); });
    if (to_file && !file) throw input_error(name + ": cannot be written");
    FILE* const to = file ? file.get() : stdout;
    if (std::fwrite(bytes.data(), 1, bytes.size(), to) != bytes.size() || std::fflush(to) != 0)
      throw input_error(name + ": cannot be written");
  }
  if (!to_file) return 0;
  if (o.json) {
    std::cout << trace_json(t.text(), name, o.format, bytes.size()) << "\n";
    return 0;
  }
  std::printf("%s: %zu KB. Open it %s\n", clean(name).c_str(), (bytes.size() + 1023) / 1024,
              go ? ("with: go tool trace " + clean(name)).c_str() : "at https://ui.perfetto.dev");
  return 0;
}

}  // namespace leash::cli
