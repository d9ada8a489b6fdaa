#include "reference.hpp"

namespace leash::test::fuzz {

namespace {

std::uint64_t hash(const state& s) {
  const auto* p = reinterpret_cast<const unsigned char*>(&s);
  std::uint64_t h = 0x9e3779b97f4a7c15u;
  for (std::size_t i = 0; i < sizeof s; i += 8) {
    std::uint64_t w = 0;
    std::memcpy(&w, p + i, std::min<std::size_t>(8, sizeof s - i));
    h = (h ^ w) * 0xff51afd7ed558ccdu;
    h ^= h >> 32;
  }
  return h;
}

bool in_wait(status s) { return s == status::waiting || s == status::retrying; }

}  // namespace

graph::graph(machine& m, const state& start, std::size_t limit) : m_(m), limit_(limit), table_(1024, 0) {
  index(start);
  for (std::size_t i = 0; i < states_.size() && !gave_up_; ++i) {
    expand(i);
    gave_up_ = states_.size() > limit_ || m_.overflow;
  }
  if (!gave_up_) propagate();
}

std::optional<std::size_t> graph::find(const state& s) const {
  for (std::size_t at = hash(s) & (table_.size() - 1); table_[at] != 0; at = (at + 1) & (table_.size() - 1))
    if (states_[table_[at] - 1] == s) return table_[at] - 1;
  return std::nullopt;
}

std::size_t graph::index(const state& s) {
  std::size_t at = hash(s) & (table_.size() - 1);
  for (; table_[at] != 0; at = (at + 1) & (table_.size() - 1))
    if (states_[table_[at] - 1] == s) return table_[at] - 1;
  states_.push_back(s);
  table_[at] = static_cast<std::uint32_t>(states_.size());
  if (states_.size() * 2 > table_.size()) {
    std::vector<std::uint32_t> larger(table_.size() * 4, 0);
    for (std::size_t i = 0; i < states_.size(); ++i) {
      std::size_t to = hash(states_[i]) & (larger.size() - 1);
      while (larger[to] != 0) to = (to + 1) & (larger.size() - 1);
      larger[to] = static_cast<std::uint32_t>(i + 1);
    }
    table_.swap(larger);
  }
  return states_.size() - 1;
}

void graph::edge(std::size_t from, const state& to) {
  std::size_t const t = index(to);
  if (t != from) edges_.emplace_back(static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(t));
}

void graph::expand(std::size_t i) {
  for (int g = 0; g < max_goroutines; ++g) {
    if (state late = states_[i]; m_.run_out(late, g)) edge(i, late);
    state s = states_[i];
    switch (s.g[g].is) {
      case status::unborn:
      case status::ended:
        break;
      case status::waiting:
        if (m_.fire(s, g)) edge(i, s);
        break;
      case status::woken:
      case status::cut:
      case status::retrying:
        m_.resume(s, g);
        edge(i, s);
        break;
      case status::ready: {
        const step* t = m_.at(s, g);
        if (t == nullptr) {
          m_.finish(s, g);
        } else if (!machine::waits(*t)) {
          m_.run_plain(s, g);
        } else if (!m_.prepare(s, g)) {
          ++s.g[g].pc;
        } else if (m_.unwinds_first(s, g)) {
          m_.unwind(s, g);
        } else if (unsigned const ready = m_.ready_cases(s, g); ready != 0) {
          for (unsigned c = 0; c < t->count; ++c) {
            if (!(ready >> c & 1)) continue;
            state won = s;
            m_.win(won, g, c);
            edge(i, won);
          }
          break;
        } else {
          m_.block(s, g);
        }
        edge(i, s);
        break;
      }
    }
  }
}

// Backwards from the transitions that complete a wait, for as long as it is the same wait.
void graph::propagate() {
  std::size_t const n = states_.size();
  can_.assign(n, 0);
  std::vector<std::uint32_t> first(n + 1, 0), from(edges_.size()), work;
  for (auto& [a, b] : edges_) ++first[b + 1];
  for (std::size_t i = 0; i < n; ++i) first[i + 1] += first[i];
  std::vector<std::uint32_t> next(first.begin(), first.end() - 1);
  for (auto& [a, b] : edges_) from[next[b]++] = a;
  auto add = [&](std::uint32_t i, unsigned mask) {
    if ((can_[i] | mask) == can_[i]) return;
    can_[i] = static_cast<std::uint8_t>(can_[i] | mask);
    work.push_back(i);
  };
  for (auto& [a, b] : edges_) {
    unsigned completed = 0;
    for (int g = 0; g < max_goroutines; ++g)
      if (in_wait(states_[a].g[g].is) && states_[b].g[g].is == status::woken) completed |= 1u << g;
    add(a, completed);
  }
  while (!work.empty()) {
    std::uint32_t const b = work.back();
    work.pop_back();
    for (std::uint32_t k = first[b]; k < first[b + 1]; ++k) {
      std::uint32_t const a = from[k];
      unsigned same = 0;
      for (int g = 0; g < max_goroutines; ++g)
        if (in_wait(states_[a].g[g].is) && in_wait(states_[b].g[g].is)) same |= 1u << g;
      add(a, can_[b] & same);
    }
  }
}

unsigned judged(const machine& m, const state& s) {
  unsigned mask = 0;
  for (int g = 0; g < max_goroutines; ++g) {
    if (s.g[g].is != status::waiting) continue;
    const step& t = *m.at(s, g);
    bool ends = s.g[g].context == limited;  // bounded in time
    for (int i = 0; i < t.count && m.observed; ++i)
      ends |= t.cases[static_cast<std::size_t>(i)].what == wait_kind::done;
    if (!ends) mask |= 1u << g;
  }
  return mask;
}

std::optional<unsigned> leaked_unless_cut(const machine& like, const state& s, std::size_t limit) {
  machine m(like.what());
  m.observed = like.observed;
  for (unsigned all = judged(m, s);;) {
    m.uncut = all;
    graph g(m, s, limit);
    if (g.gave_up()) return std::nullopt;
    unsigned const completed = all & g.completable(0);
    if (completed == 0) return all;
    all &= ~completed;
  }
}

}  // namespace leash::test::fuzz
