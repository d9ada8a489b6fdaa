// leash trace: saves what a process records of its execution, for `go tool trace` or ui.perfetto.dev.
#include <iostream>

#include "commands.hpp"

namespace leash::cli {

int trace(const trace_command& o) {
  const target t(o.target);
  const std::string bytes = t.take_trace(o.take, o.trace);
  if (bytes.empty()) throw input_error(t.text() + ": the trace is empty");
  write_file(o.file, bytes);
  if (o.file == "-") return 0;
  if (o.json) {
    std::cout << saved_json(t.text(), o.file, bytes.size()) << "\n";
  } else {
    std::printf("written: %s (%s bytes); open it with %s\n", o.file.c_str(), grouped(bytes.size()).c_str(),
                o.trace.perfetto ? "https://ui.perfetto.dev" : ("go tool trace " + o.file).c_str());
  }
  return 0;
}

}  // namespace leash::cli
