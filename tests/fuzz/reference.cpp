#include "reference.hpp"

#include <functional>
#include <string_view>

namespace leash::test::fuzz {

namespace {

std::uint64_t hash(const state& s) {
  return std::hash<std::string_view>()(std::string_view(reinterpret_cast<const char*>(&s), sizeof s));
}

bool in_wait(status s) { return s == status::waiting || s == status::retrying || s == status::in_line; }

}  // namespace

graph::graph(machine& m, const state& start, std::size_t limit) : m_(m), limit_(limit), table_(1024, entry{0, 0}) {
  index(start);
  for (std::size_t i = 0; i < states_.size() && !gave_up_; ++i) {
    expand(i);
    gave_up_ = states_.size() > limit_ || m_.overflow;
  }
  if (!gave_up_) propagate();
}

std::optional<std::size_t> graph::find(const state& s) const {
  std::uint64_t const h = hash(s);
  for (std::size_t at = h & (table_.size() - 1); table_[at].index_plus_1 != 0; at = (at + 1) & (table_.size() - 1))
    if (table_[at].hash == h >> 32 && states_[table_[at].index_plus_1 - 1] == s) return table_[at].index_plus_1 - 1;
  return std::nullopt;
}

std::size_t graph::index(const state& s) {
  std::uint64_t const h = hash(s);
  std::size_t at = h & (table_.size() - 1);
  for (; table_[at].index_plus_1 != 0; at = (at + 1) & (table_.size() - 1))
    if (table_[at].hash == h >> 32 && states_[table_[at].index_plus_1 - 1] == s) return table_[at].index_plus_1 - 1;
  states_.push_back(s);
  table_[at] = {static_cast<std::uint32_t>(states_.size()), static_cast<std::uint32_t>(h >> 32)};
  if (states_.size() * 2 > table_.size()) {
    std::vector<entry> larger(table_.size() * 4, entry{0, 0});
    for (std::size_t i = 0; i < states_.size(); ++i) {
      std::uint64_t const again = hash(states_[i]);
      std::size_t to = again & (larger.size() - 1);
      while (larger[to].index_plus_1 != 0) to = (to + 1) & (larger.size() - 1);
      larger[to] = {static_cast<std::uint32_t>(i + 1), static_cast<std::uint32_t>(again >> 32)};
    }
    table_.swap(larger);
  }
  return states_.size() - 1;
}

void graph::edge(std::size_t from, const state& to) {
  std::size_t const t = index(to);
  if (t == from) return;
  unsigned completes = 0, keeps = 0;
  for (int g = 0; g < max_goroutines; ++g) {
    status const before = states_[from].g[g].is, after = to.g[g].is;
    if (!in_wait(before)) continue;
    if (in_wait(after)) keeps |= 1u << g;
    if (after == status::woken || (before == status::in_line && after == status::ready)) completes |= 1u << g;
  }
  transitions_.push_back({static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(t),
                          static_cast<std::uint8_t>(completes), static_cast<std::uint8_t>(keeps)});
}

void graph::expand(std::size_t i) {
  for (int g = 0; g < max_goroutines; ++g) {
    status const is = states_[i].g[g].is;
    if (is < status::ready || is == status::ended) continue;
    state s = states_[i];
    switch (is) {
      case status::waiting:
        if (m_.fire(s, g)) edge(i, s);
        if (state late = states_[i]; m_.run_out(late, g)) edge(i, late);
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
      default:  // woken, cut or retrying
        m_.resume(s, g);
        edge(i, s);
        break;
    }
  }
}

// Backwards from the transitions that complete a wait, for as long as it is the same wait.
void graph::propagate() {
  std::size_t const n = states_.size();
  can_.assign(n, 0);
  std::vector<std::uint32_t> first(n + 1, 0), into(transitions_.size()), work;
  for (const transition& t : transitions_) ++first[t.to + 1];
  for (std::size_t i = 0; i < n; ++i) first[i + 1] += first[i];
  std::vector<std::uint32_t> next(first.begin(), first.end() - 1);
  for (std::uint32_t k = 0; k < transitions_.size(); ++k) into[next[transitions_[k].to]++] = k;
  auto add = [&](std::uint32_t i, unsigned mask) {
    if ((can_[i] | mask) == can_[i]) return;
    can_[i] = static_cast<std::uint8_t>(can_[i] | mask);
    work.push_back(i);
  };
  for (const transition& t : transitions_) add(t.from, t.completes);
  while (!work.empty()) {
    std::uint32_t const b = work.back();
    work.pop_back();
    for (std::uint32_t k = first[b]; k < first[b + 1]; ++k) {
      const transition& t = transitions_[into[k]];
      add(t.from, can_[b] & t.keeps);
    }
  }
}

unsigned judged(const machine& m, const state& s) {
  unsigned mask = 0;
  for (int g = 0; g < max_goroutines; ++g) {
    if (s.g[g].is == status::in_line) mask |= 1u << g;
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
