// What go keeps: the callable and its arguments, as long as the goroutine lives.
#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "support/support.hpp"

namespace leash::test::arguments_tests {

LEASH_TEST(Go, KeepsTheCallableAndItsCaptures) {
  auto text = std::make_shared<std::string>("captured");
  std::weak_ptr<std::string> alive = text;
  std::string seen;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        [text = std::move(text)](std::string& seen) -> task<> {
          co_await sleep(1ms);  // the lambda object that go was given is long gone
          seen = *text;
        },
        std::ref(seen));
    co_await s.join();
    EXPECT_TRUE(alive.expired());  // let go of when the goroutine ended
  });
  EXPECT_EQ(seen, "captured");
}

LEASH_TEST(Go, PassesKeptArgumentsByReferenceSafely) {
  co_await with_scope([](scope& s) -> task<> {
    std::string text = "an argument that lives in the body's frame, which ends first";
    s.go(
        [](const std::string& kept) -> task<> {
          co_await sleep(1ms);
          EXPECT_EQ(kept.substr(0, 11), "an argument");
        },
        text);
    s.go(
        [](std::string&& kept) -> task<> {
          co_await sleep(1ms);
          EXPECT_EQ(kept.substr(0, 11), "an argument");
        },
        text);
    s.go(
        [](std::string kept) -> task<> {
          co_await sleep(1ms);
          EXPECT_EQ(kept.substr(0, 11), "an argument");
        },
        std::move(text));
    co_return;
  });
}

// Each is given what must be made into something else first; that has to live as long as the goroutine.
constexpr const char* words = "what becomes a string that is too long to lie in the object itself";
task<> reads_a_string(const std::string& s, std::string& to) {
  co_await sleep(1ms);
  to = s;
}
task<> reads_a_number(const long& n, std::string& to) {
  co_await sleep(1ms);
  to = std::to_string(n);
}
struct reader {
  std::string& to;
  task<> read(const std::string& s) const {
    co_await sleep(1ms);
    to = s;
  }
};
struct overloaded {
  task<> operator()(int) const { co_return; }
  task<> operator()(const std::string& s, std::string& to) const {
    co_await sleep(1ms);
    to = s;
  }
};
struct alignas(64) far_apart {
  task<> operator()(const std::string& s, std::string& to) const {
    co_await sleep(1ms);
    to = s;
  }
};
LEASH_TEST(Go, KeepsWhatItMakesOfAnArgument) {
  std::string seen[10];
  co_await with_scope([&](scope& s) -> task<> {
    s.go(reads_a_string, words, std::ref(seen[0]));
    s.go(reads_a_number, 7, std::ref(seen[1]));
    s.go(&reader::read, reader{seen[2]}, words);
    s.go(overloaded(), words, std::ref(seen[3]));
    s.go(far_apart(), words, std::ref(seen[4]));
    s.go([](const std::string& s, auto& to) { return reads_a_string(s, to); }, std::string(words), std::ref(seen[5]));
    (void)s.try_go(reads_a_string, words, std::ref(seen[6]));
    (void)co_await s.start(reads_a_string, words, std::ref(seen[7]));
    s.remote().go(reads_a_string, words, std::ref(seen[8]));
    auto member = std::make_unique<reader>(seen[9]);
    s.go(&reader::read, std::move(member), words);
    co_return;
  });
  for (int i = 0; i < 10; ++i) EXPECT_EQ(seen[i], i == 1 ? "7" : words) << i;
}
TEST(Run, KeepsWhatItMakesOfAnArgument) {
  std::string seen;
  run(reads_a_string, words, std::ref(seen));
  EXPECT_EQ(seen, words);
}

LEASH_TEST(Go, MovesWhatCannotBeCopied) {
  auto p = std::make_unique<int>(3);
  int got = 0;
  co_await with_scope([&](scope& s) -> task<> {
    got = (co_await s
               .go(
                   [](std::unique_ptr<int> p) -> task<int> {
                     co_await yield();
                     co_return *p;
                   },
                   std::move(p))
               .join())
              .value_or(0);
  });
  EXPECT_EQ(got, 3);
  EXPECT_EQ(p, nullptr);
}

LEASH_TEST(Go, DecaysArraysAndFunctions) {
  static constexpr auto twice = +[](int v) { return 2 * v; };
  int got = 0;
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go([](int (*f)(int), int v) -> task<int> { co_return f(v); }, twice, 4);
    auto text = s.go([](std::string s) { return s.size(); }, "literal");
    got = (co_await h.join()).value_or(0);
    EXPECT_EQ(co_await text.join(), 7u);
  });
  EXPECT_EQ(got, 8);
}

LEASH_TEST(Go, TakesAReferenceOnlyByRef) {
  int here = 1;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        [](int& there) -> task<> {
          co_await yield();
          there = 2;
        },
        std::ref(here));
    co_return;
  });
  EXPECT_EQ(here, 2);
}

template <class A>
concept can_go = requires(scope& s, A a) { s.go([](const auto&) {}, std::move(a)); };
static_assert(can_go<std::string> && can_go<int> && can_go<std::vector<int>>);
static_assert(!can_go<std::string_view> && !can_go<std::span<int>>, "a view must be wrapped in borrow()");

LEASH_TEST(Go, TakesAViewOnlyByBorrow) {
  std::string text = "outlives the scope";
  std::vector<int> numbers{1, 2, 3};
  co_await with_scope([&](scope& s) -> task<> {
    s.go(
        [](std::string_view v) -> task<> {
          co_await yield();
          EXPECT_EQ(v, "outlives the scope");
        },
        borrow(std::string_view(text)));
    s.go(
        [](std::span<int> v) -> task<> {
          co_await yield();
          EXPECT_EQ(v.size(), 3u);
        },
        borrow(std::span<int>(numbers)));
    co_return;
  });
}

int free_function(int a, int b) { return a + b; }
task<int> free_task(int a) {
  co_await yield();
  co_return a;
}
struct object {
  int v = 5;
  object() {}
  int plain() const { return v; }
  task<int> later() {
    co_await yield();
    co_return v;
  }
  task<int> operator()() const { co_return v + 1; }
};

LEASH_TEST(Go, RunsWhateverCanBeCalledOrAwaited) {
  auto [tx, rx] = channel<int>(1);
  EXPECT_TRUE(co_await tx.send(9));
  object o;
  co_await with_scope([&](scope& s) -> task<> {
    auto a = s.go(free_function, 1, 2);
    auto b = s.go(&free_task, 4);
    auto c = s.go(free_task(6));
    auto d = s.go([](receiver<int> from) { return from.try_recv(); }, std::move(rx));
    auto e = s.go(object());
    auto f = s.go(&object::plain, object());
    auto g = s.go([](object& o) { return o.later(); }, std::ref(o));
    auto h = s.go(std::function<int()>([] { return 8; }));
    EXPECT_EQ(co_await a.join(), 3);
    EXPECT_EQ(co_await b.join(), 4);
    EXPECT_EQ(co_await c.join(), 6);
    EXPECT_EQ(co_await d.join(), std::optional<std::optional<int>>(9));
    EXPECT_EQ(co_await e.join(), 6);
    EXPECT_EQ(co_await f.join(), 5);
    EXPECT_EQ(co_await g.join(), 5);
    EXPECT_EQ(co_await h.join(), 8);
  });
}

LEASH_TEST(Go, DestroysArgumentsOnceHoweverItEnds) {
  EXPECT_EQ(counted::alive(), 0);
  for (int how = 0; how < 3; ++how) {
    try {
      co_await with_scope([how](scope& s) -> task<> {
        s.go(
            named("holder"),
            [](counted c, int how) -> task<> {
              EXPECT_TRUE(c.holds());
              co_await yield();
              if (how == 1) throw 1;
              if (how == 2) co_await sleep(1h);
            },
            counted(1), how);
        if (how == 2) {
          co_await parked("holder", "sleep");
          s.cancel();
        }
      });
    } catch (int) {
    }
    EXPECT_EQ(counted::alive(), 0);
  }
}

LEASH_TEST(Go, GivesTheNameToTheGoroutine) {
  bool found = false;
  co_await with_scope([&](scope& s) -> task<> {
    std::string name = "keeper-" + std::to_string(7);
    s.go(named(name), []() -> task<> { co_await sleep(1h); });
    name = "changed";
    co_await parked("keeper-7", "sleep");
    for (const auto& g : goroutines()) found |= g.name == "keeper-7";
    s.cancel();
  });
  EXPECT_TRUE(found);
}

LEASH_TEST(Go, AcceptsACallableLargerThanAnyFreeList) {
  std::array<char, 100'000> big{};
  big.back() = 7;
  co_await with_scope([&](scope& s) -> task<> {
    auto h = s.go([big]() -> task<int> {
      co_await yield();
      co_return big.back();
    });
    EXPECT_EQ(co_await h.join(), 7);
  });
}

}  // namespace leash::test::arguments_tests
