#include "gather.hpp"

#include <algorithm>
#include <bit>

#include "observe/looking.hpp"

namespace leash::debug {

static_assert(sizeof(std::source_location) == sizeof(std::uint64_t));

namespace {

std::uint64_t mix(std::uint64_t h, std::uint64_t v) noexcept {
  h = (h ^ v) * 0x9E3779B97F4A7C15u;
  return h ^ h >> 29;
}

constexpr std::uint32_t no_room = UINT32_MAX;

}  // namespace

std::string_view gathering::state_name(std::uint8_t state) noexcept {
  return state == running    ? "running"
         : state == runnable ? "runnable"
                             : std::string_view(name_of(static_cast<wait_reason>(state)));
}

void gathering::look(const goroutine_core* g, std::uint64_t word) {
  if (!look_at(g, nullptr, tick_, seen_, detail_.site ? site_depth : detail_.frames)) return;
  if (word != 0 && seen_.word != word) return;
  if (detail_.site) keep_site_only();
  ++total_;
  group& in = group_of_seen();
  ++in.count;
  in.waited += seen_.since;
  in.longest = std::max(in.longest, seen_.since);
  in.oldest = std::max(in.oldest, seen_.born);
  in.newest = std::min(in.newest, seen_.born);
}

void gathering::keep_site_only() {
  for (std::size_t i = 0; i < seen_.depth; ++i) {
    auto [it, fresh] = of_library_.try_emplace(std::bit_cast<std::uint64_t>(seen_.frames[i]));
    if (fresh) it->second = is_library_file(seen_.frames[i].file_name());
    if (it->second) continue;
    seen_.frames[0] = seen_.frames[i];
    break;
  }
  seen_.depth = std::min<std::size_t>(seen_.depth, 1);
}

std::uint32_t gathering::labels_of_seen() {
  if (!detail_.labels || (seen_.name.empty() && seen_.label_count == 0)) return 0;
  std::string key;
  auto put = [&](std::string_view s) {
    std::uint32_t const n = static_cast<std::uint32_t>(s.size());
    key.append(reinterpret_cast<const char*>(&n), sizeof n);
    key += s;
  };
  put(seen_.name);
  for (std::size_t i = 0; i < seen_.label_count; ++i) {
    put(seen_.labels[i].first);
    put(seen_.labels[i].second);
  }
  if (auto it = label_index_.find(key); it != label_index_.end()) return it->second;
  if (label_bytes_ + key.size() > most_bytes / 4 || label_sets_.size() >= most_groups / 2) return no_room;
  label_bytes_ += key.size() + 64;
  label_set set;
  if (!seen_.name.empty()) set.emplace_back(name_label, seen_.name);
  for (std::size_t i = 0; i < seen_.label_count; ++i) {
    // A label set again further in hides the outer one.
    bool const hidden = std::any_of(set.begin(), set.end(), [&](auto& l) { return l.first == seen_.labels[i].first; });
    if (!hidden) set.push_back(seen_.labels[i]);
  }
  label_sets_.push_back(std::move(set));
  auto const index = static_cast<std::uint32_t>(label_sets_.size() - 1);
  label_index_.emplace(std::move(key), index);
  return index;
}

gathering::group& gathering::group_of_seen() {
  std::uint8_t const state = seen_.waiting   ? static_cast<std::uint8_t>(seen_.reason)
                             : seen_.running ? running
                                             : runnable;
  std::uint32_t const labels = labels_of_seen();
  if (labels == no_room) return beyond(state);
  auto const bucket =
      static_cast<std::uint8_t>(detail_.waits && seen_.waiting ? std::bit_width(seen_.since / 1000) : 0);
  key_.clear();
  key_.push_back(std::bit_cast<std::uint64_t>(seen_.spawned_at));
  for (std::size_t i = 0; i < seen_.depth; ++i) key_.push_back(std::bit_cast<std::uint64_t>(seen_.frames[i]));
  std::uint64_t hash = mix(mix(labels, state), bucket);
  for (std::uint64_t w : key_) hash = mix(hash, w);

  if (table_.size() <= groups_.size() * 2) grow();
  std::size_t at = hash & (table_.size() - 1);
  for (; table_[at] != 0; at = (at + 1) & (table_.size() - 1)) {
    std::size_t const i = table_[at] - 1;
    group& g = groups_[i];
    if (hashes_[i] == hash && !g.beyond && g.state == state && g.bucket == bucket && g.labels == labels &&
        g.depth + 1u == key_.size() &&
        std::equal(key_.begin(), key_.end(), words_.begin() + static_cast<std::ptrdiff_t>(g.first)))
      return g;
  }
  if (groups_.size() >= most_groups || (words_.size() + key_.size()) * 8 > most_bytes / 2) return beyond(state);
  group made;
  made.labels = labels;
  made.state = state;
  made.bucket = bucket;
  made.depth = static_cast<std::uint16_t>(key_.size() - 1);
  made.first = words_.size();
  words_.insert(words_.end(), key_.begin(), key_.end());
  groups_.push_back(made);
  hashes_.push_back(hash);
  table_[at] = static_cast<std::uint32_t>(groups_.size());
  return groups_.back();
}

gathering::group& gathering::beyond(std::uint8_t state) {
  if (beyond_[state] != 0) return groups_[beyond_[state] - 1];
  group made;
  made.state = state;
  made.beyond = true;
  made.first = words_.size();
  words_.push_back(std::bit_cast<std::uint64_t>(std::source_location{}));
  groups_.push_back(made);
  hashes_.push_back(0);
  beyond_[state] = static_cast<std::uint32_t>(groups_.size());
  return groups_.back();
}

void gathering::grow() {
  std::size_t const n = std::max<std::size_t>(256, table_.size() * 2);
  table_.assign(n, 0);
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    if (groups_[i].beyond) continue;
    std::size_t at = hashes_[i] & (n - 1);
    while (table_[at] != 0) at = (at + 1) & (n - 1);
    table_[at] = static_cast<std::uint32_t>(i + 1);
  }
}

}  // namespace leash::debug
