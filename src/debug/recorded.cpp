#include "recorded.hpp"

#include <charconv>

#include "traces.hpp"

namespace leash::debug {

using steady = std::chrono::steady_clock;

std::optional<double> seconds_of(const request& q, std::string_view name, double otherwise, double most) {
  std::string_view const s = q[name];
  if (s.empty()) return otherwise;
  double n = 0;
  auto const [end, error] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (error != std::errc() || end != s.data() + s.size() || !(n > 0 && n <= most)) return std::nullopt;
  return n;
}

reply refuse_seconds(double most) {
  return failure(400, "seconds: a number above 0, at most " + std::to_string(static_cast<int>(most)));
}

reply too_many_recordings() {
  reply r = failure(503, "too many recordings at the same time: try again later");
  r.headers.emplace_back("Retry-After", "10");
  return r;
}

namespace {

class trace_for_a_while final : public source {
 public:
  trace_for_a_while(recording_place place, double seconds, std::size_t memory, trace_format f)
      : place_(std::move(place)),
        recording_(std::in_place, trace_options{memory}),
        until_(steady::now() + as_time(seconds)),
        format_(f) {}
  bool more(std::string& out) override {
    if (writing_ == nullptr) {
      if (steady::now() < until_) return true;
      writing_ = written_trace(recording_->take(), format_);
      recording_.reset();
      return true;
    }
    return writing_->more(out);
  }
  steady::time_point not_before() const override { return writing_ == nullptr ? until_ : steady::time_point(); }

 private:
  recording_place place_;
  std::optional<trace_recording> recording_;
  steady::time_point until_;
  trace_format format_;
  std::unique_ptr<source> writing_;
};

}  // namespace

reply recorded_trace(const request& q, std::size_t memory, bool for_go) {
  std::string_view const format = q["format"];
  if (!format.empty() && format != "perfetto" && format != "go") return failure(400, "format: perfetto or go");
  trace_format const f = for_go || format == "go" ? trace_format::go : trace_format::perfetto;
  auto const seconds = seconds_of(q, "seconds", 1, longest_trace), last = seconds_of(q, "last", 0, 1e6);
  if (!seconds) return refuse_seconds(longest_trace);
  if (!last) return failure(400, "last: a number of seconds above 0");
  reply r;
  r.type = "application/octet-stream";
  r.headers.emplace_back("Content-Disposition", f == trace_format::go ? "attachment; filename=\"trace\""
                                                                      : "attachment; filename=\"trace.pftrace\"");
  if (*last > 0) {
    std::optional<trace> t = recorded(as_time(*last));
    if (!t)
      return failure(
          409, "nothing is being recorded: leash::trace_recording or leash::debug::flight_recorder does, or seconds=");
    r.stream = written_trace(*std::move(t), f);
    return r;
  }
  recording_place place;
  if (!place) return too_many_recordings();
  r.stream = std::make_unique<trace_for_a_while>(std::move(place), *seconds, memory, f);
  return r;
}

}  // namespace leash::debug
