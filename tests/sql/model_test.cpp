// The counts of a pool against a plain model: whatever is asked of it, in whatever order.
#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <random>

#include "database.hpp"

namespace leash::test::sql_tests {

namespace {

/// What a pool should be, said simply.
struct model {
  std::size_t max_open = 0, max_idle = 0;
  std::size_t idle = 0, in_use = 0;
  std::uint64_t opened = 0, acquired = 0;
  std::deque<int> queue;
  std::vector<int> holders;

  void acquire(int who) {
    queue.push_back(who);
    serve();
  }
  void serve() {
    while (!queue.empty() && in_use < max_open) {
      holders.push_back(queue.front());
      queue.pop_front();
      idle > 0 ? void(--idle) : void(++opened);
      ++in_use;
      ++acquired;
    }
  }
  void give_back(int who) {
    std::erase(holders, who);
    --in_use;
    if (idle < max_idle) ++idle;
    serve();
  }
  void leave(int who) { std::erase(queue, who); }
};

/// One that acquires when told, and gives back or leaves when told.
struct client {
  cancel_source stop;
  sender<std::monostate> release;
  bool dirty = false;
};

}  // namespace

SQLITE_TEST(Model, ThePoolsCountsAreTheModels) {
  static std::atomic<unsigned> seed = 1;
  std::mt19937 random(seed++);
  std::size_t const max_open = 1 + random() % 4, max_idle = random() % (max_open + 1);
  pool p(db.address(), {.max_open = max_open, .max_idle = max_idle});
  model m;
  m.max_open = max_open;
  m.max_idle = max_idle;
  std::map<int, client> clients;
  std::mutex lock;
  std::vector<int> holders;  // as they came
  co_await with_scope([&](scope& s) -> task<> {
    int next = 0;
    for (int step = 0; step < 60; ++step) {
      unsigned const what = random() % 3;
      if (what == 0 || clients.empty()) {
        int const who = next++;
        auto [tx, rx] = channel<std::monostate>();
        client& c = clients[who];
        c.release = std::move(tx);
        c.dirty = random() % 3 == 0;
        s.go(
            [&p, &lock, &holders](int who, bool dirty, receiver<std::monostate> told, cancel_source stop) -> task<> {
              (void)co_await with_cancel(stop, [&]() -> task<> {
                connection mine = co_await p.acquire();
                {
                  std::lock_guard guard(lock);
                  holders.push_back(who);
                }
                if (dirty) co_await mine.exec("BEGIN");
                (void)co_await told.recv();
              });
              std::lock_guard guard(lock);
              std::erase(holders, who);
            },
            who, c.dirty, std::move(rx), c.stop.dup());
        m.acquire(who);
      } else {
        auto it = clients.begin();
        std::advance(it, static_cast<long>(random() % clients.size()));
        bool const waits = std::find(m.queue.begin(), m.queue.end(), it->first) != m.queue.end();
        if (waits || what == 1) {
          waits ? m.leave(it->first) : m.give_back(it->first);
          it->second.stop.cancel();
        } else {
          m.give_back(it->first);
        }
        clients.erase(it);  // drops the sender: a holder gives back
      }
      bool const same = co_await eventually(
          [&] {
            pool_stats const now = p.stats();
            std::lock_guard guard(lock);
            return now.idle == m.idle && now.in_use == m.in_use && now.waiting == m.queue.size() &&
                   now.open == m.idle + m.in_use && now.acquired == m.acquired && holders == m.holders;
          },
          "the pool to be as the model");
      CO_ASSERT_TRUE(same);
      EXPECT_LE(p.stats().open, max_open);
    }
    clients.clear();
    co_await s.join();
  });
  CO_ASSERT_TRUE(co_await eventually([&] { return p.stats().open == p.stats().idle && p.stats().in_use == 0; }));
  EXPECT_EQ(p.stats().opened - p.stats().closed, p.stats().open);
}

}  // namespace leash::test::sql_tests
