// A store in memory, on leash's clock: what a consumer does can be seen in virtual time and under many schedules.
#pragma once
#include <leash/mq.hpp>
#include <list>
#include <mutex>

#include "support/support.hpp"

namespace leash::test {

class memory_store : public mq::store {
 public:
  explicit memory_store(bool ordered = false) : ordered_(ordered) {}

  task<mq::receipt> publish(std::string body, mq::publish_options o) override {
    co_await yield();
    std::lock_guard guard(lock_);
    items_.push_back({{std::to_string(++last_), o.key, std::move(body), 0}, now(), 0, false});
    changed();
    co_return mq::receipt{std::to_string(last_), false};
  }
  void begin_taking() noexcept override { ++takers; }
  task<> end_taking() override {
    co_await yield();
    --takers;
  }
  task<nanoseconds> take(std::vector<mq::delivery>& into, std::size_t most, nanoseconds visible_again) override {
    EXPECT_GT(takers, 0);
    co_await yield();
    check();
    {
      std::lock_guard guard(lock_);
      nanoseconds next = 1h;
      std::vector<std::string> busy;
      for (auto& i : items_) {
        if (i.dead) continue;
        bool const blocked =
            ordered_ && !i.what.key.empty() && std::find(busy.begin(), busy.end(), i.what.key) != busy.end();
        busy.push_back(i.what.key);
        if (i.due > now()) next = std::min(next, i.due - now());
        if (blocked || i.due > now() || into.size() == most) continue;
        i.due = now() + visible_again;
        i.lease = ++leases;
        ++i.what.attempt;
        into.push_back({i.what, std::make_shared<std::pair<item*, int>>(&i, i.lease)});
      }
      look_again_ = into.empty() ? next : 0ns;
    }
    co_await yield();  // cut short here, the caller has what was taken
    co_return look_again_;
  }
  task<bool> acknowledge(const mq::delivery& d) override {
    return settle(d, [](item& i) {
      i.dead = true;
      i.reason = "handled";
    });
  }
  task<bool> put_back(const mq::delivery& d, nanoseconds after, bool count) override {
    if (!count) EXPECT_EQ(takers, 0) << "given back to who still takes";
    return settle(d, [after, count](item& i) {
      i.due = now() + after;
      if (!count) --i.what.attempt;
    });
  }
  task<bool> bury(const mq::delivery& d, std::string reason) override {
    return settle(d, [reason](item& i) {
      i.dead = true;
      i.reason = reason;
    });
  }
  task<bool> extend(const mq::delivery& d, nanoseconds visible_again) override {
    co_await yield();
    check();
    std::lock_guard guard(lock_);
    item* i = mine(d);
    if (i == nullptr) co_return false;
    ++extended;
    i->due = now() + visible_again;
    co_return true;
  }
  task<mq::queue_counts> count() override {
    std::lock_guard guard(lock_);
    mq::queue_counts n;
    for (auto& i : items_) {
      if (i.dead && i.reason != "handled") ++n.dead;
      if (!i.dead) ++(i.lease != 0 && i.due > now() ? n.in_flight : n.waiting);
    }
    co_return n;
  }
  task<std::vector<mq::dead_letter>> dead_letters(std::size_t) override {
    std::lock_guard guard(lock_);
    std::vector<mq::dead_letter> all;
    for (auto& i : items_)
      if (i.dead && i.reason != "handled") all.push_back({i.what, i.reason});
    co_return all;
  }
  task<std::size_t> revive_dead_letters() override { co_return 0; }

  /// As if its visibility time were over and another consumer had it.
  void steal_all() {
    std::lock_guard guard(lock_);
    for (auto& i : items_) i.lease = ++leases;
  }
  std::atomic<int> extended{0}, leases{0}, takers{0};
  std::atomic<int> failures{0};  // so many calls fail from now on

 private:
  struct item {
    mq::message what;
    clock::time_point due;
    int lease;
    bool dead;
    std::string reason = {};
  };
  void check() {
    if (failures > 0 && failures-- > 0) throw mq::error(mq::failure::unavailable, "not now");
  }
  item* mine(const mq::delivery& d) {
    auto const& l = *static_cast<std::pair<item*, int>*>(d.lease.get());
    return !l.first->dead && l.first->lease == l.second ? l.first : nullptr;
  }
  template <class F>
  task<bool> settle(const mq::delivery& d, F f) {
    co_await yield();
    check();
    std::lock_guard guard(lock_);
    item* i = mine(d);
    if (i == nullptr) co_return false;
    f(*i);
    i->lease = 0;
    changed();
    co_return true;
  }

  bool const ordered_;
  std::mutex lock_;
  std::list<item> items_;
  int last_ = 0;
  nanoseconds look_again_{};
};

}  // namespace leash::test
