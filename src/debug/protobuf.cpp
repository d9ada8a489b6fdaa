// debug=0: profile.proto as Go writes it, with what Go does not say added as labels:
//
//   state   the wait, in Go's words                      wait   seconds, the longest of those counted together (number)
//   site    FILE:LINE that started the goroutine         name   named(...)
//
// Stacks go from the wait out to the line that started the goroutine, which is the outermost frame. There are no
// addresses: functions, files and lines are known, and the one mapping says so.
//
// Goroutines are counted together when they stand in the same place with the same labels and have waited about equally
// long (powers of two), so a million of them make a small profile. Texts come last: memory is that of the groups.
#include "pprof_table.hpp"
#include "profiles.hpp"

namespace leash::debug {

namespace {

class writer final : public source {
 public:
  writer(profile_kind k, leaked_ptr l)
      : kind_(k), seen_(k, std::move(l), {.frames = sighting::deepest, .labels = true, .waits = true}) {}

  bool more(std::string& out) override {
    switch (at_) {
      case part::look:
        if (!seen_.step()) at_ = part::samples;
        return true;
      case part::samples: {
        if (next_ == 0) put_head();
        auto const& groups = seen_.all.groups();
        for (int n = 0; n < 1000 && next_ < groups.size(); ++n) put_sample(groups[next_++]);
        if (next_ == groups.size()) at_ = part::symbols;
        table_.pass_on(out, false);
        return true;
      }
      case part::symbols:
        break;
    }
    table_.pass_on(out, true);
    return false;
  }

 private:
  void put_head() {
    auto const name = kind_ == profile_kind::goroutine ? "goroutine" : "goroutineleak";
    table_.put_sample_type(name, "count");
    table_.put_period(name, "count", 1);
    table_.put_time(std::chrono::system_clock::now());
  }

  void put_sample(const gathering::group& g) {
    ids_.clear();
    if (g.beyond) {
      constexpr std::string_view beyond = "(in more places than are kept apart)";
      ids_.push_back(table_.location_of(beyond, beyond, "", 0));
    } else {
      for (std::size_t i = 0; i < g.depth; ++i) ids_.push_back(table_.location_of(seen_.all.frame(g, i)));
      ids_.push_back(table_.location_of(seen_.all.spawned_at(g)));
    }
    table_.begin_sample();
    table_.put_locations(ids_);
    table_.put_values({static_cast<std::int64_t>(g.count)});
    for (auto& [k, v] : seen_.all.labels(g)) table_.put_label(k, v);
    table_.put_label("state", gathering::state_name(g.state));
    if (!g.beyond) table_.put_label("site", site_of(seen_.all.spawned_at(g)));
    if (g.longest >= 1000) table_.put_label("wait", g.longest / 1000, "seconds");
    table_.end_sample();
  }

  enum class part : std::uint8_t { look, samples, symbols };
  profile_kind kind_;
  profile_gathering seen_;
  part at_ = part::look;
  std::size_t next_ = 0;
  pprof_table table_;
  std::vector<std::uint64_t> ids_;
};

}  // namespace

std::unique_ptr<source> protobuf_profile(profile_kind k, leaked_ptr l) {
  return std::make_unique<writer>(k, std::move(l));
}

}  // namespace leash::debug
