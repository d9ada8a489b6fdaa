// What can be seen from outside: counts, states, wait reasons, stacks, labels and the dump.
#include <algorithm>
#include <cstring>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace leash::test::looking_tests {

// A place in the source: a source_location or a frame.
template <class At>
unsigned line_of(const At& at) {
  if constexpr (requires { at.line(); })
    return at.line();
  else
    return at.line;
}
template <class At>
std::string file_of(const At& at) {
  if constexpr (requires { at.file_name(); })
    return at.file_name();
  else
    return at.file;
}
bool is_this_file(const std::string& file) { return file.find("looking_test.cpp") != std::string::npos; }

std::optional<goroutine_info> find(std::string_view name) {
  for (const auto& g : goroutines())
    if (g.name == name) return g;
  return {};
}
std::string dumped() {
  std::ostringstream out;
  dump(out);
  return out.str();
}

LEASH_TEST(Looking, CountsGoroutines) {
  EXPECT_EQ(num_goroutines(), 1u);
  co_await with_scope([](scope& s) -> task<> {
    for (int i = 0; i < 10; ++i) s.go(named("c"), []() -> task<> { co_await sleep(1h); });
    EXPECT_EQ(num_goroutines(), 11u);
    co_await parked("c", "sleep", 10);
    EXPECT_EQ(num_goroutines(), 11u);
    EXPECT_EQ(goroutines().size(), 11u);
    s.cancel();
  });
  EXPECT_EQ(num_goroutines(), 1u);
}

TEST(Looking, WithoutARuntimeThereIsNothing) {
  EXPECT_EQ(num_goroutines(), 0u);
  EXPECT_TRUE(goroutines().empty());
}

/// Parks `body` as a child and checks the word for it.
template <class Body>
task<> expect_word(std::string word, Body body) {
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("subject"), std::move(body));
    co_await parked("subject", word);
    auto g = find("subject");
    CO_ASSERT_TRUE(g.has_value());
    EXPECT_EQ(g->wait, word);
    s.cancel();
  });
}

LEASH_TEST(WaitReason, OfChannels) {
  auto [tx, rx] = channel<int>();
  co_await expect_word("chan receive", [&]() -> task<> { (void)co_await rx.recv(); });
  co_await expect_word("chan send", [&]() -> task<> { (void)co_await tx.send(1); });
  co_await expect_word("chan send", [&]() -> task<> { (void)co_await tx.send_or(1); });
  co_await expect_word("select", [&]() -> task<> { (void)co_await select(rx.recv(), sleep(1h)); });
}

LEASH_TEST(WaitReason, OfLocks) {
  mutex m;
  shared_mutex rw;
  guarded<int> value(0);
  semaphore sem(1);
  auto a = co_await m.lock();
  auto b = co_await rw.lock();
  auto c = co_await value.lock();
  auto d = co_await sem.acquire();
  co_await expect_word("sync.Mutex.Lock", [&]() -> task<> { auto g = co_await m.lock(); });
  co_await expect_word("sync.RWMutex.Lock", [&]() -> task<> { auto g = co_await rw.lock(); });
  co_await expect_word("sync.RWMutex.RLock", [&]() -> task<> { auto g = co_await rw.lock_shared(); });
  co_await expect_word("sync.Mutex.Lock", [&]() -> task<> { auto g = co_await value.lock(); });
  co_await expect_word("semaphore", [&]() -> task<> { auto p = co_await sem.acquire(); });
}

LEASH_TEST(WaitReason, OfOtherSynchronisation) {
  mutex m;
  condition cv;
  wait_group wg;
  event ev;
  once o;
  auto t = wg.add();
  co_await expect_word("sync.Cond.Wait", [&]() -> task<> {
    auto g = co_await m.lock();
    co_await cv.wait(g, [] { return false; });
  });
  co_await expect_word("sync.WaitGroup.Wait", [&]() -> task<> { co_await wg.wait(); });
  co_await expect_word("event", [&]() -> task<> { co_await ev.wait(); });
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("caller"), [](once& o) -> task<> { co_await o.call([]() -> task<> { co_await sleep(1h); }); },
        std::ref(o));
    co_await parked("caller", "sleep");
    co_await expect_word("once", [&]() -> task<> { co_await o.call([] {}); });
    s.cancel();
  });
}

LEASH_TEST(WaitReason, OfTimeAndContext) {
  ticker tick(1h);
  co_await expect_word("sleep", []() -> task<> { co_await sleep(1h); });
  co_await expect_word("sleep", []() -> task<> { co_await sleep_until(now() + 1h); });
  co_await expect_word("ticker", [&]() -> task<> { co_await tick.next(); });
  co_await expect_word("context done", []() -> task<> { co_await this_context().done(); });
}

LEASH_TEST(WaitReason, OfJoins) {
  co_await expect_word("scope join", []() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      s.go([]() -> task<> { co_await sleep(1h); });
      co_return;
    });
  });
  co_await expect_word("scope join", []() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      s.go([]() -> task<> { co_await sleep(1h); });
      co_await s.join();
    });
  });
  co_await expect_word("goroutine join", []() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      auto h = s.go([]() -> task<> { co_await sleep(1h); });
      (void)co_await h.join();
    });
  });
}

LEASH_TEST_REAL(WaitReason, OfABlockingCall) {
  std::atomic<bool> go_on = false;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("caller"),
        [](std::atomic<bool>& go_on) -> task<> {
          co_await blocking([&] {
            while (!go_on) std::this_thread::sleep_for(100us);
          });
        },
        std::ref(go_on));
    co_await parked("caller", "blocking");
    go_on = true;
  });
}

task<> leaf(receiver<int>& rx) {
  (void)co_await rx.recv();  // line of the leaf
}
constexpr unsigned leaf_line = __LINE__ - 2;
task<> middle(receiver<int>& rx) {
  co_await yield();
  co_await leaf(rx);  // line of the middle
}
constexpr unsigned middle_line = __LINE__ - 2;
task<> top(receiver<int>& rx) { co_await middle(rx); }
constexpr unsigned top_line = __LINE__ - 1;

LEASH_TEST(Looking, TheStackNamesEveryAwaitFromTheWaitToTheSpawn) {
  auto [tx, rx] = channel<int>();
  co_await with_scope([&](scope& s) -> task<> {
    unsigned spawn_line = __LINE__ + 1;
    s.go(named("deep"), top, std::ref(rx));
    co_await parked("deep", "chan receive");
    auto g = find("deep");
    CO_ASSERT_TRUE(g.has_value());
    EXPECT_TRUE(is_this_file(file_of(g->spawned_at)));
    EXPECT_EQ(line_of(g->spawned_at), spawn_line);
    CO_ASSERT_TRUE(g->stack.size() >= 3);
    const unsigned lines[] = {leaf_line, middle_line, top_line};
    const char* functions[] = {"leaf", "middle", "top"};
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(is_this_file(file_of(g->stack[i])));
      EXPECT_EQ(line_of(g->stack[i]), lines[i]);
      EXPECT_NE(g->stack[i].function.find(functions[i]), std::string::npos) << g->stack[i].function;
    }
    s.cancel();
  });
}

LEASH_TEST(Looking, TheStackLeadsThroughBoundaries) {
  auto [tx, rx] = channel<int>();
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        named("deep"),
        [](receiver<int>& from) -> task<> {
          (void)co_await with_timeout(1h, [&]() -> task<> { co_await middle(from); });
        },
        std::ref(rx));
    co_await parked("deep", "chan receive");
    auto g = find("deep");
    CO_ASSERT_TRUE(g.has_value());
    std::set<unsigned> lines;
    for (const auto& f : g->stack) lines.insert(line_of(f));
    EXPECT_TRUE(lines.contains(leaf_line));
    EXPECT_TRUE(lines.contains(middle_line));
    s.cancel();
  });
}

LEASH_TEST(Looking, TellsParentsNamesAndStates) {
  co_await with_scope([](scope& s) -> task<> {
    s.go(named("parent"), []() -> task<> {
      co_await with_scope([](scope& inner) -> task<> {
        inner.go(named("child"), []() -> task<> { co_await sleep(1h); });
        co_return;
      });
    });
    co_await parked("child", "sleep");
    co_await parked("parent", "scope join");
    auto parent = find("parent"), child = find("child");
    CO_ASSERT_TRUE(parent && child);
    EXPECT_NE(parent->id, child->id);
    EXPECT_EQ(child->parent, parent->id);
    EXPECT_NE(parent->parent, 0u);  // the root's child
    for (const auto& g : goroutines()) {
      if (g.id == parent->parent) {
        EXPECT_EQ(g.parent, 0u);
        EXPECT_TRUE(g.wait.empty());  // the root itself, which looks
        EXPECT_NE(g.state, child->state);
      }
      EXPECT_FALSE(g.state.empty());
    }
    s.cancel();
  });
}

LEASH_TEST(Looking, IdsAreUniqueAndNotReused) {
  std::set<std::uint64_t> seen;
  for (int round = 0; round < 5; ++round)
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 10; ++i) s.go(named("g"), []() -> task<> { co_await sleep(1h); });
      co_await parked("g", "sleep", 10);
      for (const auto& g : goroutines())
        if (g.name == "g") EXPECT_TRUE(seen.insert(g.id).second);
      s.cancel();
    });
  EXPECT_EQ(seen.size(), 50u);
}

LEASH_TEST(Looking, LabelsAreThereWhileTheyLiveAndAreInherited) {
  auto labels_of = [](std::string_view name) {
    auto g = find(name);
    auto labels = g ? g->labels : std::vector<std::pair<std::string, std::string>>();
    std::sort(labels.begin(), labels.end());
    return labels;
  };
  using pairs = std::vector<std::pair<std::string, std::string>>;
  co_await with_scope([&](scope& s) -> task<> {
    {
      label a("tenant", "acme");
      s.go(named("inherits"), []() -> task<> {
        label b("step", "one");
        co_await sleep(1h);
      });
    }
    s.go(named("without"), []() -> task<> { co_await sleep(1h); });
    co_await parked("inherits", "sleep");
    co_await parked("without", "sleep");
    EXPECT_EQ(labels_of("inherits"), (pairs{{"step", "one"}, {"tenant", "acme"}}));
    EXPECT_EQ(labels_of("without"), pairs{});
    s.cancel();
  });
}

LEASH_TEST(Looking, TheDumpShowsNamesReasonsAndPlaces) {
  auto [tx, rx] = channel<int>();
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("the-receiver"), top, std::ref(rx));
    co_await parked("the-receiver", "chan receive");
    std::string text = dumped();
    for (const char* part : {"the-receiver", "chan receive", "looking_test.cpp", "leaf", "middle"})
      EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
    EXPECT_NE(text.find(":" + std::to_string(leaf_line)), std::string::npos) << text;
    s.cancel();
  });
}

TEST(Looking, AForeignThreadSeesAllRuntimes) {
  std::vector<std::thread> runtimes;
  std::vector<sender<int>> ends;
  for (const char* name : {"in-the-first", "in-the-second"}) {
    auto [tx, rx] = channel<int>();
    ends.push_back(std::move(tx));
    runtimes.emplace_back([name, from = std::move(rx)]() mutable {
      run(with_workers(1), [name, from = std::move(from)]() mutable -> task<> {
        co_await with_scope([&](scope& s) -> task<> {
          s.go(named(name), [](receiver<int> r) -> task<> { (void)co_await r.recv(); }, std::move(from));
          co_return;
        });
      });
    });
  }
  EXPECT_TRUE(parked_seen_from_outside("in-the-first", "chan receive"));
  EXPECT_TRUE(parked_seen_from_outside("in-the-second", "chan receive"));
  EXPECT_EQ(num_goroutines(), 4u);
  EXPECT_EQ(find_leaks().size(), 0u);
  std::string text = dumped();
  EXPECT_NE(text.find("in-the-first"), std::string::npos);
  EXPECT_NE(text.find("in-the-second"), std::string::npos);
  for (auto& e : ends) e.close();
  for (auto& t : runtimes) t.join();
}

TEST(Looking, IsSafeWhileEverythingMoves) {
  std::atomic<bool> over = false;
  std::atomic<int> looks = 0;
  std::thread other([&] {
    while (!over) {
      (void)goroutines();
      (void)dumped();
      (void)find_leaks();
      ++looks;
    }
  });
  run_at(2, [&]() -> task<> {
    for (const auto end = now() + 500ms; now() < end || looks < 10;)
      co_await with_scope([&](scope& s) -> task<> {
        auto [tx, rx] = channel<int>(2);
        for (int i = 0; i < 20; ++i)
          s.go(
              named("mover"),
              [](sender<int> to, receiver<int> from) -> task<> {
                label l("k", "v");
                for (int k = 0; k < 20; ++k) {
                  if (!co_await to.send(k)) co_return;
                  (void)co_await from.recv();
                }
              },
              tx.dup(), rx.dup());
        co_return;
      });
  });
  over = true;
  other.join();
  EXPECT_GE(looks, 10);
}

}  // namespace leash::test::looking_tests
