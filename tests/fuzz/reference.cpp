#include "reference.hpp"

namespace leash::test::fuzz {

namespace {

// Products of pairs of words, each with a key of its own, added up.
std::uint32_t hash(const state& s) {
  __extension__ using wide = unsigned __int128;
  const auto* p = reinterpret_cast<const unsigned char*>(&s);
  std::uint64_t sum = 0, key = 0x9e3779b97f4a7c15u;
  for (std::size_t i = 0; i < sizeof s; i += 16, key += 0xd1342543de82ef95u) {
    std::uint64_t w[2];
    std::memcpy(w, p + i, 16);
    wide const product = static_cast<wide>(w[0] ^ key) * (w[1] ^ ~key);
    sum += static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }
  return static_cast<std::uint32_t>(sum * 0x94d049bb133111ebu >> 32);
}

bool in_wait(status s) { return s == status::waiting || s == status::retrying || s == status::in_line; }

}  // namespace

// What one graph has used serves the next: a page that is touched for the first time costs more than the states on it.
graph::storage graph::take_spare() {
  storage all;
  if (!spare_.empty()) {
    all = std::move(spare_.back());
    spare_.pop_back();
  }
  all.states.clear();
  all.transitions.clear();
  all.table.assign(1024, entry{0, 0});
  return all;
}

graph::graph(machine& m, const state& start, std::size_t limit) : m_(m), limit_(limit), have_(take_spare()) {
  index(start);
  for (std::size_t i = 0; i < have_.states.size() && !gave_up_; ++i) {
    expand(i);
    gave_up_ = have_.states.size() > limit_ || m_.overflow;
  }
  if (!gave_up_) propagate();
}
graph::~graph() { spare_.push_back(std::move(have_)); }

// The place of s, or the free one that would be its.
std::size_t graph::place_of(const state& s, std::uint32_t h) const {
  const std::vector<entry>& table = have_.table;
  std::size_t at = h & (table.size() - 1);
  while (table[at].index_plus_1 != 0 && (table[at].hash != h || !(have_.states[table[at].index_plus_1 - 1] == s)))
    at = (at + 1) & (table.size() - 1);
  return at;
}

std::optional<std::size_t> graph::find(const state& s) const {
  std::uint32_t const known = have_.table[place_of(s, hash(s))].index_plus_1;
  return known != 0 ? std::optional<std::size_t>(known - 1) : std::nullopt;
}

std::size_t graph::index(const state& s) {
  std::uint32_t const h = hash(s);
  entry& e = have_.table[place_of(s, h)];
  if (e.index_plus_1 != 0) return e.index_plus_1 - 1;
  have_.states.push_back(s);
  e = {static_cast<std::uint32_t>(have_.states.size()), h};
  if (have_.states.size() * 2 > have_.table.size()) grow();
  return have_.states.size() - 1;
}

void graph::grow() {
  std::vector<entry>& larger = have_.next_table;
  larger.assign(have_.table.size() * 4, entry{0, 0});
  for (const entry& e : have_.table) {
    if (e.index_plus_1 == 0) continue;
    std::size_t to = e.hash & (larger.size() - 1);
    while (larger[to].index_plus_1 != 0) to = (to + 1) & (larger.size() - 1);
    larger[to] = e;
  }
  have_.table.swap(larger);
}

void graph::edge(std::size_t from, const state& to) {
  std::size_t const t = index(to);
  if (t == from) return;
  unsigned completes = 0, keeps = 0;
  for (int g = 0; g < max_goroutines; ++g) {
    status const before = have_.states[from].g[g].is, after = to.g[g].is;
    if (!in_wait(before)) continue;
    if (in_wait(after)) keeps |= 1u << g;
    if (after == status::woken || (before == status::in_line && after == status::ready)) completes |= 1u << g;
  }
  have_.transitions.push_back({static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(t),
                               static_cast<std::uint8_t>(completes), static_cast<std::uint8_t>(keeps)});
}

void graph::expand(std::size_t i) {
  for (int g = 0; g < max_goroutines; ++g) {
    status const is = have_.states[i].g[g].is;
    if (is < status::ready || is == status::ended) continue;
    if (is == status::waiting && !m_.waits_for_time(have_.states[i], g)) continue;
    state s = have_.states[i];
    switch (is) {
      case status::waiting:
        if (m_.fire(s, g)) edge(i, s);
        if (state late = have_.states[i]; m_.run_out(late, g)) edge(i, late);
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
  std::size_t const n = have_.states.size();
  can_.assign(n, 0);
  std::vector<std::uint32_t> first(n + 1, 0), into(have_.transitions.size()), work;
  for (const transition& t : have_.transitions) ++first[t.to + 1];
  for (std::size_t i = 0; i < n; ++i) first[i + 1] += first[i];
  std::vector<std::uint32_t> next(first.begin(), first.end() - 1);
  for (std::uint32_t k = 0; k < have_.transitions.size(); ++k) into[next[have_.transitions[k].to]++] = k;
  auto add = [&](std::uint32_t i, unsigned mask) {
    if ((can_[i] | mask) == can_[i]) return;
    can_[i] = static_cast<std::uint8_t>(can_[i] | mask);
    work.push_back(i);
  };
  for (const transition& t : have_.transitions) add(t.from, t.completes);
  while (!work.empty()) {
    std::uint32_t const b = work.back();
    work.pop_back();
    for (std::uint32_t k = first[b]; k < first[b + 1]; ++k) {
      const transition& t = have_.transitions[into[k]];
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
