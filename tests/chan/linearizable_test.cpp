// Small concurrent histories, checked by brute force: some order of the operations that respects real time must be
// one that a plain queue could have shown. Capacity 0 lets a send and a receive that overlap take effect together.
#include <array>
#include <random>
#include <set>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

enum class kind { send, try_send, recv, try_recv, close };
struct op {
  kind what;
  int value = 0;        // sent or received
  bool ok = false;      // sent; received a value
  bool closed = false;  // try_send said so; recv saw the end
  unsigned start = 0, end = 0;
};

class checker {
 public:
  checker(std::vector<op> ops, std::size_t capacity) : ops_(std::move(ops)), capacity_(capacity) {}
  bool linearizable() { return search({}, {}, false); }

 private:
  using mask = std::uint32_t;
  struct state {
    mask done = 0;
    std::vector<int> buffer;
    bool closed = false;
    auto operator<=>(const state&) const = default;
  };
  bool minimal(std::size_t i, mask done) const {
    for (std::size_t j = 0; j < ops_.size(); ++j)
      if (!(done >> j & 1) && ops_[j].end < ops_[i].start) return false;
    return true;
  }
  // What op i alone does to the queue: false if it could not have shown its result there.
  bool apply(const op& o, std::vector<int>& buffer, bool& closed) const {
    switch (o.what) {
      case kind::close:
        closed = true;
        return true;
      case kind::send:
        if (!o.ok) return closed;
        break;
      case kind::try_send:
        if (o.closed) return closed;
        if (!o.ok) return !closed && buffer.size() >= capacity_;
        break;
      case kind::recv:
        if (!o.ok) return closed && buffer.empty();
        break;
      case kind::try_recv:
        if (!o.ok) return buffer.empty();
        break;
    }
    if (o.what == kind::send || o.what == kind::try_send) {
      if (closed || buffer.size() >= capacity_) return false;
      buffer.push_back(o.value);
      return true;
    }
    if (buffer.empty() || buffer.front() != o.value) return false;
    buffer.erase(buffer.begin());
    return true;
  }
  bool sends(const op& o) const { return (o.what == kind::send || o.what == kind::try_send) && o.ok; }
  bool receives(const op& o) const { return (o.what == kind::recv || o.what == kind::try_recv) && o.ok; }

  bool search(mask done, std::vector<int> buffer, bool closed) {
    if (done == (mask(1) << ops_.size()) - 1) return true;
    if (!seen_.insert({done, buffer, closed}).second) return false;
    for (std::size_t i = 0; i < ops_.size(); ++i) {
      if ((done >> i & 1) || !minimal(i, done)) continue;
      const mask with_i = done | mask(1) << i;
      auto b = buffer;
      bool c = closed;
      if (apply(ops_[i], b, c) && search(with_i, std::move(b), c)) return true;
      if (capacity_ != 0 || closed || !sends(ops_[i])) continue;
      for (std::size_t j = 0; j < ops_.size(); ++j) {
        if ((done >> j & 1) || j == i || !receives(ops_[j]) || ops_[j].value != ops_[i].value) continue;
        if (minimal(j, done) && search(with_i | mask(1) << j, buffer, closed)) return true;
      }
    }
    return false;
  }
  std::vector<op> ops_;
  std::size_t capacity_;
  std::set<state> seen_;
};

bool accepts(std::vector<op> ops, std::size_t capacity) { return checker(std::move(ops), capacity).linearizable(); }

TEST(ChanLinearizable, the_checker_tells_good_histories_from_bad) {
  const op send1{kind::send, 1, true, false, 1, 2}, recv1{kind::recv, 1, true, false, 3, 4};
  EXPECT_TRUE(accepts({send1, recv1}, 1));
  EXPECT_FALSE(accepts({send1, recv1}, 0));  // they do not overlap: no rendezvous
  EXPECT_TRUE(accepts({{kind::send, 1, true, false, 1, 4}, {kind::recv, 1, true, false, 2, 3}}, 0));
  EXPECT_FALSE(accepts({send1, {kind::recv, 2, true, false, 3, 4}}, 1));
  EXPECT_FALSE(accepts({send1, recv1, {kind::recv, 1, true, false, 5, 6}}, 1));
  EXPECT_FALSE(accepts({send1, {kind::try_recv, 0, false, false, 3, 4}}, 1));
  EXPECT_FALSE(accepts({{kind::send, 1, true, false, 1, 2},
                        {kind::send, 2, true, false, 3, 4},
                        {kind::recv, 2, true, false, 5, 6},
                        {kind::recv, 1, true, false, 7, 8}},
                       2));
}

// Each goroutine does a few random operations; somebody closes the channel, so that all end.
task<> one_history(unsigned seed, std::size_t capacity) {
  constexpr int goroutines = 3, each = 4;
  std::mt19937 random(seed);
  std::atomic<unsigned> clock = 0;
  std::array<std::vector<op>, goroutines + 1> logs;
  auto [tx, rx] = channel<int>(capacity);
  co_await with_scope([&](scope& s) -> task<> {
    for (int g = 0; g < goroutines; ++g) {
      s.go(
          [&logs, &clock](sender<int> to, receiver<int> from, int g, unsigned seed) -> task<> {
            std::mt19937 random(seed);
            for (int i = 0; i < each; ++i) {
              op o{kind(random() % 4), g * 100 + i};
              if (random() % 3 == 0) co_await yield();
              o.start = ++clock;
              if (o.what == kind::send) {
                o.ok = co_await to.send(o.value);
              } else if (o.what == kind::try_send) {
                const auto r = to.try_send(int(o.value));
                o.ok = r == try_result::done;
                o.closed = r == try_result::closed;
              } else {
                auto v = o.what == kind::recv ? co_await from.recv() : from.try_recv();
                o.ok = v.has_value();
                if (v) o.value = *v;
              }
              o.end = ++clock;
              logs[g].push_back(o);
            }
          },
          tx.dup(), rx.dup(), g, random());
    }
    for (unsigned n = random() % 30; n > 0; --n) co_await yield();
    op o{kind::close};
    o.start = ++clock;
    tx.close();
    o.end = ++clock;
    logs[goroutines].push_back(o);
  });
  std::vector<op> all;
  for (auto& log : logs) all.insert(all.end(), log.begin(), log.end());
  CO_ASSERT_EQ(all.size(), std::size_t(goroutines * each + 1));
  CO_ASSERT_TRUE(accepts(all, capacity)) << "seed " << seed << " capacity " << capacity;
}

LEASH_TEST(ChanLinearizable, concurrent_histories_are_those_of_a_queue) {
  const unsigned rounds = long_run() ? 5000 : 150;
  for (unsigned seed = 1; seed <= rounds; ++seed)
    for (std::size_t capacity : {0, 1, 2}) co_await one_history(seed, capacity);
}

}  // namespace
}  // namespace leash
