// debug=1 and debug=2: Go's texts.
//
//   goroutine profile: total 3                    goroutine 18 [chan receive (leaked), 5 minutes labels:{"k": "v"}]:
//   2 @ 0x1 0x2                                   relay(...)
//   # labels: {"k":"v"}                           	/src/a.cpp:7 +0x0
//   #	0x1	relay+0x0	/src/a.cpp:7               created by talk in goroutine 1
//   #	0x2	talk+0x0	/src/a.cpp:15              	/src/a.cpp:15 +0x0
//
// What stands for an address is the number of the place in this text: leash knows lines, and shows no addresses of the process.
#include <algorithm>
#include <unordered_map>

#include "observe/text.hpp"
#include "profiles.hpp"

namespace leash::debug {

namespace {

constexpr std::size_t enough = 64 << 10;  // bytes of one piece

std::string hex(std::uint64_t n) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(n));
  return text;
}

/// Names of functions, shortened once. Their number is that of the program's lines.
class function_names {
 public:
  const std::string& of(std::source_location l) {
    auto [it, fresh] = names_.try_emplace(l.function_name());
    if (fresh) it->second = plain_function(l.function_name());
    return it->second;
  }

 private:
  std::unordered_map<const char*, std::string> names_;
};

class counts final : public source {
 public:
  counts(profile_kind k, leaked_ptr l)
      : kind_(k), seen_(k, std::move(l), {.frames = sighting::deepest, .labels = true, .waits = false}) {}

  bool more(std::string& out) override {
    auto const& groups = seen_.all.groups();
    if (looking_) {
      if (seen_.step()) return true;
      looking_ = false;
      order_.resize(groups.size());
      for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<std::uint32_t>(i);
      std::sort(order_.begin(), order_.end(), [&](auto a, auto b) {
        return groups[a].count != groups[b].count ? groups[a].count > groups[b].count : a < b;
      });
      out += kind_ == profile_kind::goroutine ? "goroutine" : "goroutineleak";
      out += " profile: total " + std::to_string(seen_.all.total()) + "\n";
    }
    while (next_ < order_.size() && out.size() < enough) put(groups[order_[next_++]], out);
    return next_ < order_.size();
  }

 private:
  void put(const gathering::group& g, std::string& out) {
    frames_.clear();
    for (std::size_t i = 0; i < g.depth; ++i) frames_.push_back(seen_.all.frame(g, i));
    if (!g.beyond) frames_.push_back(seen_.all.spawned_at(g));
    out += std::to_string(g.count) + " @";
    for (auto l : frames_) out += " " + hex(number_of(l));
    out += "\n# labels: {";
    for (auto& [k, v] : seen_.all.labels(g)) put_label(out, k, v);
    put_label(out, "state", gathering::state_name(g.state));
    out.resize(out.size() - 2);
    out += "}\n";
    for (auto l : frames_) out += "#\t" + hex(number_of(l)) + "\t" + names_.of(l) + "+0x0\t" + site_of(l) + "\n";
    out += "\n";
  }
  static void put_label(std::string& out, std::string_view k, std::string_view v) {
    append_json(out, k);
    out += ':';
    append_json(out, v);
    out += ", ";
  }
  std::uint64_t number_of(std::source_location l) {
    return numbers_.try_emplace(std::bit_cast<std::uint64_t>(l), numbers_.size() + 1).first->second;
  }

  profile_kind kind_;
  profile_gathering seen_;
  bool looking_ = true;
  std::size_t next_ = 0;
  std::vector<std::uint32_t> order_;
  std::vector<std::source_location> frames_;
  std::unordered_map<std::uint64_t, std::uint64_t> numbers_;
  function_names names_;
};

class dump final : public source {
 public:
  explicit dump(leaked_ptr l) : leaked_(std::move(l)), tick_(looking_tick()) {}

  bool more(std::string& out) override {
    std::size_t pieces = 0;
    for (bool more = true; more && out.size() < enough && ++pieces < 32;) {
      more = frozen::for_some_slots(at_, 256, [&](goroutine_core* g) {
        if (look_at(g, nullptr, tick_, seen_)) put(g, out);
      });
      if (!more) return false;
    }
    return true;
  }

 private:
  void put(const goroutine_core* g, std::string& out) {
    out += "goroutine " + std::to_string(seen_.id) + " [";
    out += seen_.state();
    if (leaked_ != nullptr && leaked_->holds(g, seen_.word)) out += " (leaked)";
    if (seen_.since >= 60'000) out += ", " + std::to_string(seen_.since / 60'000) + " minutes";
    if (!seen_.name.empty() || seen_.label_count != 0) {
      out += " labels:{";
      if (!seen_.name.empty()) put_label(out, name_label, seen_.name);
      for (std::size_t i = 0; i < seen_.label_count; ++i) put_label(out, seen_.labels[i].first, seen_.labels[i].second);
      out.resize(out.size() - 2);
      out += '}';
    }
    out += "]:\n";
    for (std::size_t i = 0; i < seen_.depth; ++i) {
      out += names_.of(seen_.frames[i]);
      out += "(...)\n";
      put_line(out, seen_.frames[i]);
    }
    if (seen_.depth == sighting::deepest) out += "...additional frames elided...\n";
    out += "created by " + names_.of(seen_.spawned_at);
    if (seen_.parent != 0) out += " in goroutine " + std::to_string(seen_.parent);
    out += '\n';
    put_line(out, seen_.spawned_at);
    out += '\n';
  }
  static void put_label(std::string& out, std::string_view k, std::string_view v) {
    append_json(out, k);
    out += ": ";
    append_json(out, v);
    out += ", ";
  }
  static void put_line(std::string& out, std::source_location l) {
    out += '\t';
    out += l.file_name();
    out += ':' + std::to_string(l.line()) + " +0x0\n";
  }

  leaked_ptr leaked_;
  std::uint32_t tick_;
  frozen::slot_cursor at_;
  sighting seen_;
  function_names names_;
};

}  // namespace

std::unique_ptr<source> counts_profile(profile_kind k, leaked_ptr l) {
  return std::make_unique<counts>(k, std::move(l));
}
std::unique_ptr<source> dump_profile(leaked_ptr l) { return std::make_unique<dump>(std::move(l)); }

}  // namespace leash::debug
