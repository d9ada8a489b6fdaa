#include "profile.hpp"

#include <algorithm>
#include <cstring>
#include <functional>

namespace leash::cli {

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xd6e8feb86659fd93u);
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}
std::uint64_t hash_of(std::string_view s) { return mix(std::hash<std::string_view>()(s), s.size()); }

void numbering::grow() {
  std::vector<slot> old(std::max<std::size_t>(64, slots_.size() * 2));
  old.swap(slots_);
  for (const slot& s : old) {
    if (s.number == none) continue;
    std::size_t i = s.hash & (slots_.size() - 1);
    while (slots_[i].number != none) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = s;
  }
}

namespace {
constexpr std::size_t block_size = 1 << 16;

void check(std::size_t size, std::size_t most, const char* what) {
  if (size >= most) throw input_error(std::string("it has more than ") + std::to_string(most) + " different " + what);
}
}  // namespace

symbols::symbols() = default;

id symbols::text(std::string_view s) {
  const id n = by_text_.find_or_add(hash_of(s), static_cast<id>(texts_.size()), [&](id i) { return texts_[i] == s; });
  if (n < texts_.size()) return n;
  check(n, most_texts, "names");
  if (s.empty()) {
    texts_.emplace_back();
    return n;
  }
  if (s.size() > block_left_) {
    block_left_ = std::max(block_size, s.size());
    blocks_.push_back(std::make_unique<char[]>(block_left_));
  }
  // Blocks are filled from the back.
  block_left_ -= s.size();
  char* at = blocks_.back().get() + block_left_;
  std::memcpy(at, s.data(), s.size());
  texts_.emplace_back(at, s.size());
  return n;
}

id symbols::add(const frame& f) {
  const std::uint64_t hash = mix(mix(f.function, f.file), f.line);
  const id n = by_frame_.find_or_add(hash, static_cast<id>(frames_.size()), [&](id i) {
    const frame& g = frames_[i];
    return g.function == f.function && g.file == f.file && g.line == f.line;
  });
  if (n < frames_.size()) return n;
  check(n, most_frames, "lines");
  frames_.push_back(f);
  return n;
}

id symbols::add(std::span<const id> frames, id creator, bool elided) {
  std::uint64_t hash = mix(creator, elided);
  for (id f : frames) hash = mix(hash, f);
  const id n = by_stack_.find_or_add(hash, static_cast<id>(stacks_.size()), [&](id i) {
    const stack& s = stacks_[i];
    return s.creator == creator && s.elided == elided && std::ranges::equal(this->frames(i), frames);
  });
  if (n < stacks_.size()) return n;
  check(n, most_stacks, "stacks");
  check(pool_.size() + frames.size(), most_stack_frames, "frames");
  stacks_.push_back(
      {static_cast<std::uint32_t>(pool_.size()), static_cast<std::uint32_t>(frames.size()), creator, elided});
  pool_.insert(pool_.end(), frames.begin(), frames.end());
  return n;
}

std::uint32_t profile_builder::add(const entry& e) {
  const std::uint64_t hash = mix(mix(e.stack, e.state), e.leaked);
  const id n = by_key_.find_or_add(hash, static_cast<id>(p.groups.size()), [&](id i) {
    const group& g = p.groups[i];
    return g.stack == e.stack && g.state == e.state && g.leaked == e.leaked;
  });
  if (n == p.groups.size()) p.groups.push_back({e.stack, e.state, e.leaked});
  group& g = p.groups[n];
  g.count += e.count;
  if (e.locked) g.locked += e.count;
  if (e.wait != 0) g.timed += e.count;
  g.longest = std::max(g.longest, e.wait);
  p.total += e.count;
  if (e.labels != none && p.labels.size() < most_label_splits) {
    const id l = by_labels_.find_or_add(mix(n, e.labels), static_cast<id>(p.labels.size()),
                                        [&](id i) { return p.labels[i].group == n && p.labels[i].labels == e.labels; });
    if (l == p.labels.size()) p.labels.push_back({n, e.labels, 0});
    p.labels[l].count += e.count;
  }
  return n;
}

}  // namespace leash::cli
