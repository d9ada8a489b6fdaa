// leash trace: saves what a process records of its execution, for `go tool trace` or ui.perfetto.dev.
#include <iostream>

#include "commands.hpp"

namespace leash::cli {

int trace(const trace_command& o) {
  const target t(o.target);
  const std::string bytes = t.take_trace(o.take, o.trace);
  // A packet is field 1 of Perfetto's message. Go's begins "go 1.26 trace".
  const bool perfetto = bytes.size() > 2 && bytes[0] == '\n';
  const bool go = bytes.starts_with("go 1.") && bytes.substr(0, 16).find(" trace") != bytes.npos;
  if (!(o.trace.perfetto ? perfetto : go))
    throw input_error(t.text() + ": the answer is no " + (o.trace.perfetto ? "Perfetto trace" : "Go execution trace"));
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
