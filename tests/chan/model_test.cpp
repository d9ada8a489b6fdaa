// A channel against a plain model: random operations, one at a time, with goroutines parked on either side.
#include <deque>
#include <map>
#include <random>
#include <vector>

#include "support/support.hpp"

namespace leash {
namespace {
using namespace test;

// What a channel is, one operation at a time.
class model {
 public:
  explicit model(std::size_t capacity) : capacity_(capacity) {}
  bool send_would_wait() const { return !closed && waiting_receivers.empty() && buffer.size() >= capacity_; }
  bool recv_would_wait() const { return !closed && buffer.empty() && waiting_senders.empty(); }
  try_result try_send(int v) {
    if (closed) return try_result::closed;
    if (send_would_wait()) return try_result::full;
    if (waiting_receivers.empty()) {
      buffer.push_back(v);
    } else {
      received[waiting_receivers.front()] = v;
      waiting_receivers.pop_front();
    }
    return try_result::done;
  }
  std::optional<int> try_recv() {
    if (!waiting_senders.empty()) {
      auto [id, v] = waiting_senders.front();
      waiting_senders.pop_front();
      sent[id] = true;
      buffer.push_back(v);
    }
    if (buffer.empty()) return {};
    int v = buffer.front();
    buffer.pop_front();
    return v;
  }
  void close() {
    closed = true;
    for (auto [id, v] : waiting_senders) sent[id] = false;
    for (int id : waiting_receivers) received[id] = std::nullopt;
    waiting_senders.clear();
    waiting_receivers.clear();
  }
  bool ended() const { return closed && buffer.empty(); }
  std::deque<int> buffer;
  std::deque<std::pair<int, int>> waiting_senders;  // goroutine, value
  std::deque<int> waiting_receivers;
  std::map<int, bool> sent;  // what each finished goroutine saw
  std::map<int, std::optional<int>> received;
  bool closed = false;

 private:
  std::size_t capacity_;
};

struct actual {
  guarded<std::map<int, bool>> sent;
  guarded<std::map<int, std::optional<int>>> received;
  std::atomic<std::size_t> finished = 0;
};

// One random history; the model and the channel must agree after every step.
task<> history(unsigned seed, std::size_t capacity, int steps) {
  std::mt19937 random(seed);
  model m(capacity);
  actual a;
  auto [tx, rx] = channel<int>(capacity);
  std::vector<sender<int>> senders;
  std::vector<receiver<int>> receivers;
  senders.push_back(std::move(tx));
  receivers.push_back(std::move(rx));
  co_await with_scope([&](scope& s) -> task<> {
    for (int step = 0; step < steps; ++step) {
      auto& out = senders[random() % senders.size()];
      auto& in = receivers[random() % receivers.size()];
      switch (random() % 12) {
        case 0:
        case 1:
          EXPECT_EQ(out.try_send(int(step)), m.try_send(step));
          break;
        case 2:
        case 3:
          EXPECT_EQ(in.try_recv(), m.try_recv());
          break;
        case 4:
        case 5:
          if (!m.send_would_wait()) {
            const bool ok = m.try_send(step) == try_result::done;
            EXPECT_EQ(co_await out.send(step), ok);
          }
          break;
        case 6:
        case 7:
          if (!m.recv_would_wait()) {
            const auto v = m.try_recv();
            EXPECT_EQ(co_await in.recv(), v);
          }
          break;
        case 8:
          if (!m.send_would_wait()) break;
          m.waiting_senders.emplace_back(step, step);
          s.go(
              named("sender"),
              [&a](sender<int> to, int id) -> task<> {
                const bool ok = co_await to.send(id);
                (*co_await a.sent.lock())[id] = ok;
                ++a.finished;
              },
              out.dup(), step);
          break;
        case 9:
          if (!m.recv_would_wait()) break;
          m.waiting_receivers.push_back(step);
          s.go(
              named("receiver"),
              [&a](receiver<int> from, int id) -> task<> {
                const auto v = co_await from.recv();
                (*co_await a.received.lock())[id] = v;
                ++a.finished;
              },
              in.dup(), step);
          break;
        case 10:
          if (senders.size() < 4)
            senders.push_back(out.dup());
          else
            senders.pop_back();
          if (receivers.size() < 4)
            receivers.push_back(in.dup());
          else
            receivers.pop_back();
          break;
        case 11:
          if (random() % 20 != 0) break;
          out.close();
          m.close();
          break;
      }
      co_await eventually(
          [&] {  // both sides at rest
            return a.finished == m.sent.size() + m.received.size() &&
                   count_parked("sender", "chan send") == m.waiting_senders.size() &&
                   count_parked("receiver", "chan receive") == m.waiting_receivers.size();
          },
          "the model's state at step " + std::to_string(step) + " of seed " + std::to_string(seed));
      EXPECT_EQ(receivers[0].len(), m.buffer.size());
      EXPECT_EQ(receivers[0].ended(), m.ended());
      CO_ASSERT_TRUE(!::testing::Test::HasFailure()) << "step " << step << " seed " << seed << " capacity " << capacity;
    }
    m.close();
    senders[0].close();
  });
  EXPECT_EQ(*co_await a.sent.lock(), m.sent);
  EXPECT_TRUE(*co_await a.received.lock() == m.received);
}

LEASH_TEST(ChanModel, random_histories_agree_with_the_model) {
  const unsigned rounds = long_run() ? 200 : LEASH_ASAN || LEASH_TSAN ? 2 : 6;
  for (unsigned seed = 1; seed <= rounds; ++seed)
    for (std::size_t capacity : {0, 1, 3}) co_await history(seed, capacity, 120);
}

}  // namespace
}  // namespace leash
