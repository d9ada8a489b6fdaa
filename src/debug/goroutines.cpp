// /debug/leash/api/goroutines and suspects: one by one.
#include <algorithm>
#include <bit>
#include <leash/suspects.hpp>

#include "api.hpp"
#include "observe/frozen.hpp"
#include "profiles.hpp"

namespace leash::debug {

using namespace std::chrono_literals;

void write_labels(json& j, const std::vector<std::pair<std::string, std::string>>& labels, std::size_t n) {
  j.key("labels").object();
  for (std::size_t i = 0; i < n; ++i) {
    bool const hidden = std::any_of(labels.begin(), labels.begin() + static_cast<std::ptrdiff_t>(i),
                                    [&](auto& l) { return l.first == labels[i].first; });
    if (!hidden) j.key(labels[i].first).text(labels[i].second);
  }
  j.end_object();
}

void write_row(json& j, const goroutine_info& g) {
  j.key("id").number(g.id).key("name").text(g.name).key("state").text(g.wait.empty() ? g.state : g.wait);
  j.key("since_ms").number(static_cast<std::uint64_t>(std::max<std::int64_t>(0, g.waited.count() / 1'000'000)));
  j.key("parent").number(g.parent).key("spawned_at").place(g.spawned_at);
  write_labels(j, g.labels, g.labels.size());
  j.key("stack").array();
  for (auto& f : g.stack) {
    j.object().key("function").text(plain_function(f.function)).key("file").text(f.file).key("line").number(f.line);
    j.end_object();
  }
  j.end_array();
}

namespace {

void write_row(json& j, const sighting& s, bool leaked) {
  j.object().key("id").number(s.id).key("name").text(s.name).key("state").text(s.state());
  j.key("waiting").boolean(s.waiting).key("since_ms").number(s.since).key("age_ms").number(s.born);
  j.key("parent").number(s.parent).key("leaked").boolean(leaked).key("spawned_at").place(s.spawned_at);
  write_labels(j, s.labels, s.label_count);
  j.key("stack").array();
  for (std::size_t i = 0; i < s.depth; ++i) j.place(s.frames[i]);
  j.end_array().end_object();
}
/// All given conditions must hold.
struct filter {
  std::string state, text, site, scope, label_key, label_value, id;
  bool any_value = true, leaked_only = false;
  std::uint64_t least_age = 0;  // milliseconds: of the wait, of life for those that do not wait

  explicit filter(const request& q)
      : state(q["state"]), text(q["q"]), site(q["site"]), leaked_only(q["leaked"] == "1") {
    id = q["id"];
    scope = q["scope"];
    std::string_view const label = q["label"];
    std::size_t const equals = label.find('=');
    label_key = label.substr(0, equals);
    any_value = equals == label.npos;
    if (!any_value) label_value = label.substr(equals + 1);
    least_age = number(q["min_age"], 0, 1'000'000'000) * 1000;
  }
  static bool has(std::string_view s, std::string_view part) { return s.find(part) != s.npos; }
  /// Whether its file:line has `wanted` in it. There are few places and many goroutines: each is looked into once.
  class place_cache {
   public:
    template <class F>
    bool operator()(std::source_location l, F look) {
      auto [it, fresh] = known_.try_emplace(std::bit_cast<std::uint64_t>(l));
      if (fresh) it->second = look(l);
      return it->second;
    }

   private:
    std::unordered_map<std::uint64_t, bool> known_;
  };
  static bool at(std::source_location l, std::string_view wanted) { return has(site_of(l), wanted); }
  bool at_site(std::source_location l) {
    return site_places_(l, [this](std::source_location p) { return at(p, site); });
  }
  bool of_scope(std::source_location l) {
    return scope_places_(l, [this](std::source_location p) { return at(p, scope); });
  }
  bool place_mentions(std::source_location l) {
    return text_places_(l, [this](std::source_location p) { return has(p.function_name(), text) || at(p, text); });
  }
  bool holds(const sighting& s) {
    if (!state.empty() && s.state() != state && !(state == "waiting" && s.waiting)) return false;
    if ((s.waiting ? s.since : s.born) < least_age) return false;
    if (!id.empty() && std::to_string(s.id) != id) return false;
    if (!scope.empty() && !of_scope(s.scope_made_at)) return false;
    if (!site.empty() && !at_site(s.spawned_at)) {
      auto const end = s.frames + s.depth;
      if (std::none_of(s.frames, end, [&](auto f) { return at_site(f); })) return false;
    }
    auto const labels_end = s.labels.begin() + static_cast<std::ptrdiff_t>(s.label_count);
    if (!label_key.empty()) {
      bool found = label_key == name_label && !s.name.empty() && (any_value || s.name == label_value);
      found |= std::any_of(s.labels.begin(), labels_end,
                           [&](auto& l) { return l.first == label_key && (any_value || l.second == label_value); });
      if (!found) return false;
    }
    return text.empty() || mentions(s);
  }
  bool mentions(const sighting& s) {
    if (has(s.name, text) || has(s.state(), text) || place_mentions(s.spawned_at)) return true;
    for (std::size_t i = 0; i < s.label_count; ++i)
      if (has(s.labels[i].first + "=" + s.labels[i].second, text)) return true;
    if (std::any_of(s.frames, s.frames + s.depth, [&](auto f) { return place_mentions(f); })) return true;
    return has(std::to_string(s.id), text);
  }

 private:
  place_cache site_places_, scope_places_, text_places_;
};

class rows final : public source {
 public:
  rows(viewer& v, const request& q)
      : filter_(q),
        offset_(number(q["offset"], 0, deepest_page)),
        limit_(number(q["limit"], 50, most_rows)),
        tick_(looking_tick()),
        leaked_(filter_.leaked_only ? v.leaks(1s) : v.last_leaks()) {}

  bool more(std::string& out) override {
    bool const all = !frozen::for_some_slots(at_, 4096, [&](goroutine_core* g) { look(g); });
    if (!all) return true;
    std::sort_heap(first_.begin(), first_.end());
    json j(out);
    j.object().key("total").number(looked_at_).key("matching").number(matching_).key("offset").number(offset_);
    j.key("limit").number(limit_).key("states").array();
    for (std::string_view state : states_) j.text(state);
    j.end_array().key("goroutines").array();
    for (std::size_t i = offset_; i < first_.size(); ++i)
      if (look_at(first_[i].g, nullptr, tick_, seen_) && seen_.id == first_[i].id)
        write_row(j, seen_, is_leaked(first_[i].g));
    j.end_array().end_object();
    return false;
  }

 private:
  struct entry {  // less: comes first: the longest wait, then the older goroutine
    std::uint32_t since;
    std::uint64_t id;
    const goroutine_core* g;
    bool operator<(const entry& o) const noexcept { return since != o.since ? since > o.since : id < o.id; }
  };
  bool is_leaked(const goroutine_core* g) const { return leaked_ != nullptr && leaked_->holds(g, seen_.word); }
  void look(const goroutine_core* g) {
    if (!look_at(g, nullptr, tick_, seen_)) return;
    ++looked_at_;
    if (std::find(states_.begin(), states_.end(), seen_.state()) == states_.end()) states_.push_back(seen_.state());
    if (!filter_.holds(seen_) || (filter_.leaked_only && !is_leaked(g))) return;
    ++matching_;
    entry const e{seen_.since, seen_.id, g};
    if (offset_ + limit_ == 0) return;
    if (first_.size() == offset_ + limit_) {  // a heap, the last of those kept on top
      if (!(e < first_.front())) return;
      std::pop_heap(first_.begin(), first_.end());
      first_.pop_back();
    }
    first_.push_back(e);
    std::push_heap(first_.begin(), first_.end());
  }

  filter filter_;
  std::size_t offset_, limit_;
  std::uint32_t tick_;
  leaked_ptr leaked_;
  frozen::slot_cursor at_;
  sighting seen_;
  std::uint64_t looked_at_ = 0, matching_ = 0;
  std::vector<entry> first_;
  std::vector<std::string_view> states_;  // that there are
};

}  // namespace

reply goroutine_list(viewer& v, const request& q) { return as_json(std::make_unique<rows>(v, q)); }

reply suspect_list(viewer&) {
  auto const all = suspects();
  return json_at_once([&](json& j) {
    j.object().key("total").number(all.size()).key("suspects").array();
    for (auto& s : all) {
      if (&s - all.data() == 200) break;
      j.object();
      write_row(j, s.who);
      j.key("why").text(s.why).key("score").real(s.score).end_object();
    }
    j.end_array().end_object();
  });
}

}  // namespace leash::debug
