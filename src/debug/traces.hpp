// A recording, written: for Perfetto and for `go tool trace`.
#pragma once
#include <leash/debug.hpp>
#include <leash/trace.hpp>
#include <memory>

#include "reply.hpp"
#include "timeline.hpp"

namespace leash::debug {

/// What both writers do: make the recording consistent, write what is there at first, then the rest.
class trace_source : public source {
 public:
  explicit trace_source(trace t) : line_(std::move(t)) {}
  bool more(std::string& out) final {
    if (!ready_) {
      ready_ = !line_.step();
      if (ready_) begin(out);
      return true;
    }
    for (std::size_t n = 0; n < 4096 && next_ < line_.entries.size(); ++n) put(line_.entries[next_++], out);
    if (next_ < line_.entries.size()) return true;
    end(out);
    return false;
  }

 protected:
  virtual void begin(std::string& out) = 0;
  virtual void put(const timeline::entry&, std::string& out) = 0;
  virtual void end(std::string& out) = 0;
  timeline line_;

 private:
  bool ready_ = false;
  std::size_t next_ = 0;
};

/// "250 us", "1.5 ms", "30 s"
inline std::string time_text(std::uint32_t microseconds) {
  char text[32];
  if (microseconds < 1000) {
    std::snprintf(text, sizeof text, "%u us", microseconds);
  } else if (microseconds < 1'000'000) {
    std::snprintf(text, sizeof text, "%.3g ms", microseconds / 1e3);
  } else {
    std::snprintf(text, sizeof text, "%.3g s", microseconds / 1e6);
  }
  return text;
}

std::unique_ptr<source> written_trace(trace, trace_format);

// go_trace.cpp, perfetto.cpp
std::unique_ptr<source> go_trace(trace);
std::unique_ptr<source> perfetto_trace(trace);

}  // namespace leash::debug
