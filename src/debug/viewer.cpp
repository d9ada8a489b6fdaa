#include "viewer.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>

#include "leak/pass.hpp"
#include "profiles.hpp"
#include "recorded.hpp"
#include "runtimes.hpp"

namespace leash::debug {

namespace {

using namespace std::chrono_literals;

reply html(std::string body) {
  reply r;
  r.type = "text/html; charset=utf-8";
  r.body = std::move(body);
  return r;
}
/// Only the page's own script runs, whatever text may get into it: it carries a number that changes with every reply.
reply page() {
  std::random_device random;
  std::string nonce;
  for (int i = 0; i < 4; ++i) {
    char part[12];
    std::snprintf(part, sizeof part, "%08x", static_cast<unsigned>(random()));
    nonce += part;
  }
  constexpr std::string_view mark = "@NONCE@";
  std::string text(page_html);
  if (std::size_t const at = text.find(mark); at != text.npos) text.replace(at, mark.size(), nonce);
  reply r = html(std::move(text));
  r.headers.emplace_back("Content-Security-Policy",
                         "default-src 'none'; script-src 'nonce-" + nonce +
                             "'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; "
                             "form-action 'none'; frame-ancestors 'none'");
  return r;
}
reply redirect(std::string to) {
  reply r = failure(302, "see " + to);
  r.headers.emplace_back("Location", std::move(to));
  return r;
}

/// How long the picture over time goes on with what a pass found. Prometheus asks for one every 10 to 15 s.
constexpr auto known_for = 20s;

struct listed {
  std::string_view name, what;
};
constexpr listed profiles[] = {
    {"goroutine", "Where all goroutines stand: the stack from the wait out to the line that started each."},
    {"goroutineleak", "Goroutines that are proved leaked: nothing the program can still do will complete their wait."},
    {"block", "How often and how long goroutines waited: with seconds=N, or since leash::wait_profiling began."},
    {"mutex", "Who held locks and permits that others waited for, and how long those waited."},
};
constexpr listed looks[] = {
    {"profile", "What the workers' processor time goes into, for seconds=N. go tool pprof reads it."},
    {"trace", "What goroutines did, for seconds=N. go tool trace reads it."},
};

// Go's index: a table of counts and names. Tools look for the names.
reply pprof_index(viewer& v) {
  std::size_t const leaks = v.leaks(10s)->all.size();
  std::string body =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta "
      "charset=\"utf-8\">\n<title>/debug/pprof/</title>\n</head>\n<body>\n"
      "/debug/pprof/\n<br>\n<p>Set debug=1 as a query parameter to export in legacy text format</p>\n<br>\n"
      "Types of profiles available:\n<table>\n<thead><td>Count</td><td>Profile</td></thead>\n";
  for (auto& p : profiles) {
    std::string const name(p.name);
    std::size_t const count = name == "goroutine" ? num_goroutines() : name == "goroutineleak" ? leaks : 0;
    body += "<tr><td>" + std::to_string(count) + "</td><td><a href='" + name + "?debug=1'>" + name + "</a></td></tr>\n";
  }
  for (auto& l : looks) {
    std::string const name(l.name);
    body += "<tr><td>0</td><td><a href='" + name + "?seconds=5'>" + name + "</a></td></tr>\n";
  }
  body +=
      "</table>\n<a href=\"goroutine?debug=2\">full goroutine stack dump</a>\n<br>\n<a href=\"/debug/leash\">the page "
      "of leash</a>\n<ul>\n";
  for (auto& p : looks) body += "<li><b>" + std::string(p.name) + "</b>: " + std::string(p.what) + "</li>\n";
  for (auto& p : profiles) body += "<li><b>" + std::string(p.name) + "</b>: " + std::string(p.what) + "</li>\n";
  return html(body + "</ul>\n</body>\n</html>\n");
}

reply profile(viewer& v, const request& q, profile_kind kind) {
  std::string_view const debug = q["debug"];
  if (!q["seconds"].empty()) return failure(400, "seconds= is not supported: take two profiles and compare them");
  if (!debug.empty() && debug.find_first_not_of("0123456789") != debug.npos)
    return failure(400, "debug= takes a number");
  leaked_ptr known;
  if (kind == profile_kind::goroutineleak) known = v.leaks(0ms);
  reply r;
  if (debug.empty() || debug == "0") {
    r.type = "application/octet-stream";
    r.headers.emplace_back("Content-Disposition",
                           std::string("attachment; filename=\"") + (known ? "goroutineleak" : "goroutine") + "\"");
    r.stream = protobuf_profile(kind, known);
  } else if (debug == "1") {
    r.stream = counts_profile(kind, known);
  } else {
    r.stream = dump_profile(known ? known : v.last_leaks());
  }
  return r;
}

reply command_line() {
  std::ifstream in("/proc/self/cmdline", std::ios::binary);
  reply r;
  r.body.assign(std::istreambuf_iterator<char>(in), {});
  while (r.body.ends_with('\0')) r.body.pop_back();
  return r;
}

class waiting_for_census final : public source {
 public:
  waiting_for_census(viewer& v, std::function<void(const census&, std::string&)> f) : v_(v), write_(std::move(f)) {}
  bool more(std::string& out) override {
    if (census_ptr known = v_.known_census()) {
      write_(*known, out);
      return false;
    }
    if (own_ == nullptr) own_ = std::make_shared<census>();
    if (own_->step()) return true;
    v_.take(own_);
    write_(*own_, out);
    return false;
  }

 private:
  viewer& v_;
  std::function<void(const census&, std::string&)> write_;
  std::shared_ptr<census> own_;
};

}  // namespace

std::unique_ptr<source> after_census(viewer& v, std::function<void(const census&, std::string&)> f) {
  return std::make_unique<waiting_for_census>(v, std::move(f));
}

bool census::step() {
  auto const from = steady::now();
  bool const more = all.step();
  at = steady::now();
  took += at - from;
  return more;
}

double viewer::growth_per_minute(const track& t) const noexcept {
  std::size_t const samples = std::min({t.counts.size(), history_.size(), fitted_samples});
  if (samples < 3) return 0;
  auto const first = history_[history_.size() - samples].at;
  double n = 0, st = 0, sc = 0, stt = 0, stc = 0;
  for (std::size_t i = 0; i < samples; ++i) {
    auto const at = history_[history_.size() - samples + i].at;
    double const x = std::chrono::duration<double>(at - first).count() / 60;
    auto const c = static_cast<double>(t.counts[t.counts.size() - samples + i]);
    n += 1, st += x, sc += c, stt += x * x, stc += x * c;
  }
  double const below = n * stt - st * st;
  return below <= 0 ? 0 : (n * stc - st * sc) / below;
}

census_ptr viewer::known_census() const {
  if (census_ == nullptr || steady::now() - census_->at > std::max<std::chrono::nanoseconds>(500ms, 4 * census_->took))
    return nullptr;
  return census_;
}

void viewer::take(std::shared_ptr<census> c) {
  census_ = std::move(c);
  auto const& all = census_->all;
  next_census_ = census_->at + std::max<std::chrono::nanoseconds>(1s, 100 * census_->took);
  if (!history_.empty() && census_->at - history_.back().at < 500ms) return;
  sample s;
  s.at = census_->at;
  s.unix_ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
                  .count();
  s.total = all.total();
  if (leaked_ != nullptr && s.at - leaked_->at < known_for) s.leaked = leaked_->all.size();
  std::uint64_t counts[256]{};
  for (auto& g : all.groups()) counts[g.state] += g.count;
  for (int i = 0; i < 256; ++i)
    if (counts[i] != 0) s.states.emplace_back(static_cast<std::uint8_t>(i), counts[i]);
  for (auto& r : look_at_runtimes()) {
    s.timers += r.timers;
    s.pool_threads += r.blocking.threads;
    s.pool_busy += r.blocking.threads - r.blocking.idle;
    s.pool_queued += r.blocking.waiting;
  }
  history_.push_back(std::move(s));
  if (history_.size() > most_samples) history_.pop_front();
  count_by_site(*census_);
}

void viewer::count_by_site(const census& c) {
  for (auto& [where, t] : tracks_) t.now = 0, t.oldest = 0, t.newest = UINT32_MAX;
  for (auto& g : c.all.groups()) {
    if (g.beyond) continue;
    std::source_location const where = c.all.spawned_at(g);
    auto const key = std::bit_cast<std::uint64_t>(where);
    auto it = tracks_.find(key);
    if (it == tracks_.end()) {
      if (tracks_.size() == most_tracks) continue;
      it = tracks_.try_emplace(key).first;
      it->second.where = where;
      it->second.newest = UINT32_MAX;
    }
    track& t = it->second;
    t.now += g.count;
    t.oldest = std::max(t.oldest, g.oldest);
    t.newest = std::min(t.newest, g.newest);
  }
  for (auto& [where, t] : tracks_) {
    t.counts.push_back(static_cast<std::uint32_t>(std::min<std::uint64_t>(t.now, UINT32_MAX)));
    if (t.counts.size() > most_samples) t.counts.pop_front();
    t.none_for = t.now == 0 ? t.none_for + 1 : 0;
  }
  std::erase_if(tracks_, [](auto& one) { return one.second.none_for >= most_samples; });
}

bool viewer::tick() {
  auto const now = steady::now();
  if (report_ && now - leaked_->at > 15s) report_.reset();
  if (under_way_ == nullptr) {
    if (now < next_census_) return true;
    under_way_ = std::make_shared<census>();
  }
  if (under_way_->step()) return false;
  take(std::exchange(under_way_, nullptr));
  return true;
}

leaked_ptr viewer::leaks(std::chrono::milliseconds longest_age) {
  if (leaked_ != nullptr && longest_age > 0ms &&
      steady::now() - leaked_->at < std::max<std::chrono::nanoseconds>(longest_age, 10 * leaked_->took))
    return leaked_;
  auto const from = steady::now();
  leak_report r = find_leaks();
  auto made = std::make_shared<leaked>();
  made->passes = leaked_ == nullptr ? 1 : leaked_->passes + 1;
  if (!r.empty()) {
    leak_pass const& pass = r.findings->pass;
    made->all.reserve(pass.dead.size());
    for (std::size_t d = 0; d < pass.dead.size(); ++d) {
      std::uint32_t const node = pass.dead[d];
      bool const core = d < pass.core, confined = (pass.known.flags[node] & node_flag::confined) != 0;
      made->all.push_back({pass.known.goroutine_at(node), pass.known.words[node], core, confined});
      ++(confined ? core ? made->confined_core : made->confined_dependent
         : core   ? made->proven_core
                  : made->proven_dependent);
    }
    std::sort(made->all.begin(), made->all.end(), [](auto& a, auto& b) { return a.g < b.g; });
  }
  made->at = steady::now();
  made->took = made->at - from;
  leaked_ = made;
  report_ = std::move(r);
  if (!history_.empty() && leaked_->at - history_.back().at < 1s) history_.back().leaked = leaked_->all.size();
  return leaked_;
}

reply viewer::answer(const request& q) {
  ++requests;
  std::string_view const p = q.path;
  if (p == "/debug/pprof/goroutine") return profile(*this, q, profile_kind::goroutine);
  if (p == "/debug/pprof/goroutineleak") return profile(*this, q, profile_kind::goroutineleak);
  if (p == "/debug/pprof/block") return contention_profile(q, false);
  if (p == "/debug/pprof/mutex") return contention_profile(q, true);
  if (p == "/debug/pprof/profile") return cpu_profile(q);
  if (p == "/debug/pprof/trace") return recorded_trace(q, trace_memory, true);
  if (p == "/debug/leash/trace") return recorded_trace(q, trace_memory, false);
  if (p == "/debug/pprof/") return pprof_index(*this);
  if (p == "/debug/pprof/cmdline") return command_line();
  if (p == "/metrics") return metrics(*this);
  if (p == "/debug/leash" || p == "/debug/leash/") return page();
  if (p == "/debug/leash/api/about") return about();
  if (p == "/debug/leash/api/overview") return overview(*this);
  if (p == "/debug/leash/api/goroutines") return goroutine_list(*this, q);
  if (p == "/debug/leash/api/leaks") return leak_list(*this, q);
  if (p == "/debug/leash/api/suspects") return suspect_list(*this);
  if (p == "/debug/leash/api/growth") return growth(*this);
  if (p == "/debug/leash/api/knot") return one_knot(*this, q);
  if (p == "/debug/leash/api/flame") return flame(*this, q);
  if (p == "/debug/leash/api/scopes") return scope_tree(*this);
  if (p == "/debug/pprof") return redirect("/debug/pprof/");
  if (p == "/") return redirect("/debug/leash");
  if (p.starts_with("/debug/pprof/")) {
    reply r = failure(404, "Unknown profile");  // Go's words
    r.headers.emplace_back("X-Go-Pprof", "1");
    return r;
  }
  return failure(404, "404 page not found");
}

static int digit(char c) noexcept {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}
static bool decode(std::string_view s, bool query, std::string& out) {
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '%') {
      if (i + 2 >= s.size() || digit(s[i + 1]) < 0 || digit(s[i + 2]) < 0) return false;
      out += static_cast<char>(digit(s[i + 1]) * 16 + digit(s[i + 2]));
      i += 2;
    } else {
      out += query && s[i] == '+' ? ' ' : s[i];
    }
  }
  return true;
}

std::optional<request> parse_target(std::string_view target) {
  request r;
  if (!target.starts_with('/')) return std::nullopt;
  std::size_t const mark = target.find('?');
  if (!decode(target.substr(0, mark), false, r.path)) return std::nullopt;
  if (mark == target.npos) return r;
  for (std::string_view rest = target.substr(mark + 1); !rest.empty();) {
    std::string_view const part = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    if (part.empty()) continue;
    std::size_t const equals = part.find('=');
    auto& [k, v] = r.query.emplace_back();
    if (!decode(part.substr(0, equals), true, k)) return std::nullopt;
    if (equals != part.npos && !decode(part.substr(equals + 1), true, v)) return std::nullopt;
    if (r.query.size() == 64) break;
  }
  return r;
}

}  // namespace leash::debug
