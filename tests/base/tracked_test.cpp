// tracked_box as std::unique_ptr, tracked_function as std::move_only_function.
#include <functional>
#include <memory>
#include <string>

#include "base.hpp"

namespace leash::test::tracked_tests {

using Box = TrackedMemory;
using Function = TrackedMemory;

TEST_F(Box, OwnsItsValue) {
  tracked_box<instance> none;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.get(), nullptr);
  tracked_box<instance> a(instance(4));
  EXPECT_TRUE(a);
  EXPECT_EQ(a->value, 4);
  EXPECT_EQ(&*a, a.get());
  EXPECT_EQ(instance::alive, 1);
  a.reset();
  a.reset();
  EXPECT_FALSE(a);
  EXPECT_EQ(instance::alive, 0);
}
TEST_F(Box, MovesAndNeverCopies) {
  static_assert(!std::is_copy_constructible_v<tracked_box<int>> && !std::is_copy_assignable_v<tracked_box<int>>);
  tracked_box<std::unique_ptr<int>> a(std::make_unique<int>(3)), b = std::move(a);
  EXPECT_FALSE(a);
  EXPECT_EQ(**b, 3);
  a = std::move(b);
  tracked_box<std::unique_ptr<int>>& same = a;
  a = std::move(same);
  ASSERT_TRUE(a);
  EXPECT_EQ(**a, 3);
  a = tracked_box<std::unique_ptr<int>>(std::make_unique<int>(5));
  EXPECT_EQ(**a, 5);
}
TEST_F(Box, MakesItsValueInPlace) {
  struct fixed {
    int a;
    std::string b;
    fixed(int a, std::string b) : a(a), b(std::move(b)) {}
    fixed(fixed&&) = delete;
  };
  tracked_box<fixed> box(std::in_place, 1, "two");
  EXPECT_EQ(box->b, "two");
  tracked_box<fixed> moved = std::move(box);
  EXPECT_EQ(moved->a, 1);
  EXPECT_THROW((tracked_box<throws_when_made>(std::in_place, "no")), std::runtime_error);
  EXPECT_EQ(instance::alive, 0);
}
TEST_F(Box, OverAlignedValues) {
  struct alignas(128) wide {
    char c = 'x';
  };
  tracked_box<wide> box{wide()};
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(box.get()) % 128, 0u);
}

TEST_F(Function, CallsWhatItHolds) {
  int calls = 0;
  tracked_function<void()> f([&] { ++calls; });
  f();
  f();
  EXPECT_EQ(calls, 2);
  tracked_function<int(int, int)> add(std::plus<int>{});
  EXPECT_EQ(add(2, 3), 5);
  tracked_function<std::string(const char*)> converts([](std::string s) { return s + "!"; });
  EXPECT_EQ(converts("hi"), "hi!");
  tracked_function<void()> ignores_the_result([] { return 3; });
  ignores_the_result();
}
TEST_F(Function, TakesAndGivesReferences) {
  int x = 1;
  tracked_function<int&(int&)> same([](int& i) -> int& { return i; });
  same(x) = 7;
  EXPECT_EQ(x, 7);
  tracked_function<void(std::string&&)> sink([](std::string&& s) { s = "taken"; });
  std::string s = "given";
  sink(std::move(s));
  EXPECT_EQ(s, "taken");
  tracked_function<int(const int&)> reads([](const int& i) { return i + 1; });
  EXPECT_EQ(reads(41), 42);
}
TEST_F(Function, TakesMoveOnlyArgumentsAndCaptures) {
  tracked_function<std::unique_ptr<int>(std::unique_ptr<int>)> f(
      [kept = std::make_unique<int>(1)](std::unique_ptr<int> p) {
        *p += *kept;
        return p;
      });
  EXPECT_EQ(*f(std::make_unique<int>(2)), 3);
  tracked_function<std::unique_ptr<int>(std::unique_ptr<int>)> moved = std::move(f);
  EXPECT_EQ(*moved(std::make_unique<int>(5)), 6);
  static_assert(!std::is_copy_constructible_v<tracked_function<void()>>);
  static_assert(!std::is_constructible_v<tracked_function<void()>, int>);
  static_assert(!std::is_constructible_v<tracked_function<void()>, void (*)(int)>);
}
TEST_F(Function, KeepsItsStateBetweenCalls) {
  tracked_function<int()> counter([n = 0]() mutable { return ++n; });
  EXPECT_EQ(counter(), 1);
  EXPECT_EQ(counter(), 2);
  tracked_function<int()> moved = std::move(counter);
  EXPECT_EQ(moved(), 3);
}
int free_function(int x) { return x * 2; }
struct with_member {
  int factor;
  int times(int x) const { return factor * x; }
};
TEST_F(Function, HoldsPointersToFunctionsAndMembers) {
  tracked_function<int(int)> f(free_function);
  EXPECT_EQ(f(21), 42);
  tracked_function<int(const with_member&, int)> m(&with_member::times);
  EXPECT_EQ(m(with_member{3}, 5), 15);
  tracked_function<int(const with_member&)> d(&with_member::factor);
  EXPECT_EQ(d(with_member{8}), 8);
}
TEST_F(Function, AnEmptyOneThrowsWhenCalled) {
  tracked_function<int(int)> none;
  EXPECT_FALSE(none);
  EXPECT_THROW(none(1), std::bad_function_call);
  tracked_function<int(int)> f(free_function), g = std::move(f);
  EXPECT_THROW(f(1), std::bad_function_call);
  g.reset();
  EXPECT_THROW(g(1), std::bad_function_call);
  EXPECT_THROW((tracked_function<int(int)>(static_cast<int (*)(int)>(nullptr))(1)), std::bad_function_call);
  EXPECT_FALSE((tracked_function<int(const with_member&)>(static_cast<int with_member::*>(nullptr))));
}
TEST_F(Function, DestroysItsCapturesOnce) {
  tracked_function<void()> f([i = instance(1)] {});
  EXPECT_EQ(instance::alive, 1);
  f = tracked_function<void()>([i = instance(2)] {});
  EXPECT_EQ(instance::alive, 1);
  tracked_function<void()>& same = f;
  f = std::move(same);
  EXPECT_TRUE(f);
  f.reset();
  EXPECT_EQ(instance::alive, 0);
}
TEST_F(Function, ThrowsWhatItsCallableThrows) {
  tracked_function<void()> f([]() -> void { throw std::runtime_error("from inside"); });
  EXPECT_THROW(f(), std::runtime_error);
  struct fails_to_move {
    instance i;
    fails_to_move() {}
    fails_to_move(const fails_to_move&) : i(0) { throw std::runtime_error("no"); }
    void operator()() {}
  } callable;
  EXPECT_THROW(tracked_function<void()>{callable}, std::runtime_error);
  EXPECT_EQ(instance::alive, 1);
}

}  // namespace leash::test::tracked_tests
