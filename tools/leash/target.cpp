#include "target.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "interrupt.hpp"
#include "read.hpp"

namespace leash::cli {

namespace {

bool exists(const std::string& path) {
  struct stat st{};
  return path == "-" || stat(path.c_str(), &st) == 0;
}

[[noreturn]] void fail(const std::string& what, const std::string& why) { throw input_error(what + ": " + why); }

}  // namespace

target::target(std::string text) : text_(std::move(text)) {
  if (exists(text_)) return;
  if (!is_address(text_)) fail(text_, "no such file, and no address (those look like http://host:6060)");
  address_ = parse_address(text_);
  std::string& path = address_.path;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (path.ends_with("/debug/leash")) path.replace(path.size() - 5, 5, "pprof");  // the page of a leash program
  const std::string last = path.substr(path.rfind('/') + 1);
  if (!last.starts_with("goroutine") && address_.query.starts_with("token="))
    access_ = std::exchange(address_.query, {});
  if (last == "goroutine" || last == "goroutineleak" || !address_.query.empty()) {
    kind_ = kind::url;
  } else {
    kind_ = kind::base;
    if (last != "pprof") path += path == "/" ? "debug/pprof" : "/debug/pprof";
  }
  text_ = address_.text();
}

std::string target::with_access(const std::string& query) const {
  return query + (query.empty() || access_.empty() ? "" : "&") + access_;
}

answer target::get(const std::string& profile_name, int form, const take_options& o) const {
  address a = address_;
  if (kind_ == kind::base) {
    a.path += "/" + profile_name;
    a.query = with_access(form != 0 ? "debug=" + std::to_string(form) : "");
  }
  try {
    return fetch(a, o.fetch);
  } catch (const input_error& e) {
    fail(a.text(), e.what());
  }
}

profile target::get_profile(const std::string& profile_name, int form, symbols& s, const take_options& o) const {
  const auto now = std::chrono::system_clock::now();
  answer a = get(profile_name, form, o);
  if (a.status != 200) {
    std::string why = "the answer is HTTP " + std::to_string(a.status);
    if (a.status == 404) why += " (a Go program serves profiles if it imports net/http/pprof)";
    fail(text_, why);
  }
  try {
    profile p = read_profile(std::move(a.body), s, text_);
    p.taken = now;
    return p;
  } catch (const input_error& e) {
    fail(text_, e.what());
  }
}

profile target::take(symbols& s, const take_options& o, std::vector<std::string>& notes) const {
  if (kind_ == kind::file) {
    try {
      return read_profile(read_file(text_), s, text_);
    } catch (const input_error& e) {
      fail(text_ == "-" ? "standard input" : text_, e.what());
    }
  }
  if (kind_ == kind::url) return get_profile("", 0, s, o);
  profile counts = take_counts(s, o);
  if (counts.total > o.full_up_to) {
    notes.push_back(std::to_string(counts.total) +
                    " goroutines: no dump was taken, because that stops the process for a while, so ages are not known "
                    "(--full-up-to N)");
    return counts;
  }
  return get_profile("goroutine", 2, s, o);
}

profile target::take_counts(symbols& s, const take_options& o) const { return get_profile("goroutine", 0, s, o); }

std::optional<profile> target::take_proof(symbols& s, const take_options& o, std::string& why_not) const {
  if (kind_ != kind::base) {
    why_not = kind_ == kind::file ? "a file tells only what the process had found out when it was made"
                                  : "only the profile named was read";
    return {};
  }
  if (!o.proof) {
    why_not = "not asked for (--no-proof)";
    return {};
  }
  answer a = get("goroutineleak", 0, o);
  if (a.status != 200) {
    why_not =
        "this process offers no goroutineleak profile; Go 1.27 does, Go 1.26 if built with "
        "GOEXPERIMENT=goroutineleakprofile, and leash";
    return {};
  }
  try {
    profile p = read_profile(std::move(a.body), s, text_);
    if (p.of_leaks) return p;
    why_not = "what it answers is not a goroutineleak profile, but one of all goroutines";
    return {};
  } catch (const input_error& e) {
    why_not = std::string("its goroutineleak profile cannot be read: ") + e.what();
    return {};
  }
}

std::string target::take_raw(const take_options& o, int form, bool proof) const {
  if (kind_ == kind::file) {
    try {
      return unpacked(read_file(text_));
    } catch (const input_error& e) {
      fail(text_, e.what());
    }
  }
  answer a = get(proof ? "goroutineleak" : "goroutine", form, o);
  if (a.status != 200) fail(text_, "the answer is HTTP " + std::to_string(a.status));
  return std::move(a.body);
}

std::string target::take_trace(const take_options& o, const trace_options& t) const {
  if (kind_ != kind::base) fail(text_, "a trace is recorded by a process: name its address (http://host:6060)");
  address a = address_;
  const bool of_leash = t.perfetto || t.last.count() != 0;
  const auto seconds = [](std::chrono::milliseconds d) {
    return std::to_string(std::chrono::ceil<std::chrono::seconds>(d).count());
  };
  if (of_leash) {
    a.path.resize(a.path.size() - std::string_view("pprof").size());
    a.path += "leash/trace";
    a.query = with_access((t.last.count() != 0 ? "last=" + seconds(t.last) : "seconds=" + seconds(t.during)) +
                          (t.perfetto ? "&format=perfetto" : "&format=go"));
  } else {
    a.path += "/trace";
    a.query = with_access("seconds=" + seconds(t.during));
  }
  fetch_options patient = o.fetch;
  if (t.last.count() == 0) patient.timeout += t.during;
  answer got;
  try {
    got = fetch(a, patient);
  } catch (const input_error& e) {
    fail(a.text(), e.what());
  }
  if (got.status != 200) {
    std::string why = "the answer is HTTP " + std::to_string(got.status);
    if (got.status == 404 && of_leash) why += " (only leash programs record what --perfetto and --last ask for)";
    if (got.status == 409) why += " (nothing is being recorded there)";
    fail(a.text(), why);
  }
  return std::move(got.body);
}

std::string target::ask_leash(const std::string& path, const std::string& query, const take_options& o) const {
  if (kind_ != kind::base) return {};
  address a = address_;
  a.path.resize(a.path.size() - std::string_view("pprof").size());
  a.path += "leash/" + path;
  a.query = with_access(query);
  fetch_options bounded = o.fetch;
  bounded.most = std::min(bounded.most, most_json);
  try {
    answer got = fetch(a, bounded);
    return got.status == 200 ? std::move(got.body) : std::string();
  } catch (const input_error&) {
    return {};
  }
}

observation observe(const target& t, symbols& s, const take_options& o,
                    const std::function<void(std::size_t, std::size_t)>& progress) {
  observation seen;
  seen.target = t.text();
  if (o.during.count() == 0 || !t.is_live()) {
    if (o.during.count() != 0) seen.notes.push_back("a file does not change: --for is for processes");
    seen.proof = t.take_proof(s, o, seen.why_no_proof);
    seen.snapshots.push_back(t.take(s, o, seen.notes));
    progress(1, 1);
    return seen;
  }
  // The first and the last look are whole, those between cost little.
  const auto begin = std::chrono::steady_clock::now();
  const auto steps =
      static_cast<std::size_t>(std::max<long long>(1, o.during / std::max(o.every, std::chrono::milliseconds(1))));
  heed_interrupts();
  seen.snapshots.push_back(t.take(s, o, seen.notes));
  std::size_t missed = 0;
  for (std::size_t i = 1; i <= steps; ++i) {
    progress(i, steps + 1);
    const bool last = !wait_until(begin + o.during * i / steps) || i == steps;
    try {
      if (!last) {
        seen.snapshots.push_back(t.take_counts(s, o));
        continue;
      }
      seen.proof = t.take_proof(s, o, seen.why_no_proof);
      std::vector<std::string> same_notes;
      seen.snapshots.push_back(t.take(s, o, same_notes));
      break;
    } catch (const input_error& e) {
      if (missed++ == 0) seen.notes.push_back(std::string("a look was missed: ") + e.what());
      if (last) break;
    }
  }
  if (missed > 1) seen.notes.push_back(plural(missed, "look was", "looks were") + " missed in all");
  progress(steps + 1, steps + 1);
  return seen;
}

}  // namespace leash::cli
