// shared<T> and weak<T> behave as std::shared_ptr and std::weak_ptr do.
#include <array>
#include <cstdint>
#include <memory>
#include <unordered_set>
#include <vector>

#include "base.hpp"

namespace leash::test::shared_tests {

using Shared = TrackedMemory;
using Weak = TrackedMemory;
using FromThis = TrackedMemory;

struct derived : instance {
  explicit derived(int v) : instance(v) {}
  int extra = 5;
};

TEST_F(Shared, EmptyHandlesHoldNothing) {
  shared<instance> a, b(nullptr);
  EXPECT_FALSE(a);
  EXPECT_EQ(a.get(), nullptr);
  EXPECT_EQ(a.use_count(), 0u);
  EXPECT_EQ(a, b);
  EXPECT_EQ(a, nullptr);
  a.reset();
  a = b;
  a = std::move(b);
  a.swap(b);
  EXPECT_FALSE(a);
}
TEST_F(Shared, CopiesOwnTogetherAndTheLastOneDestroys) {
  shared<instance> a = share<instance>(7);
  EXPECT_EQ(a.use_count(), 1u);
  {
    shared<instance> b = a, c;
    c = b;
    EXPECT_EQ(a.use_count(), 3u);
    EXPECT_EQ(b.get(), a.get());
    EXPECT_EQ((*c).value, 7);
    a.reset();
    EXPECT_EQ(instance::alive, 1);
    EXPECT_EQ(b->value, 7);
    EXPECT_EQ(b.use_count(), 2u);
  }
  EXPECT_EQ(instance::alive, 0);
}
TEST_F(Shared, MovesLeaveNothingBehind) {
  shared<instance> a = share<instance>(1), b = std::move(a);
  EXPECT_FALSE(a);
  EXPECT_EQ(a.use_count(), 0u);
  EXPECT_EQ(b.use_count(), 1u);
  a = std::move(b);
  EXPECT_TRUE(a);
  EXPECT_FALSE(b);
}
TEST_F(Shared, AssignmentToItselfKeepsTheValue) {
  shared<instance> a = share<instance>(1);
  shared<instance>& same = a;
  a = same;
  EXPECT_EQ(a.use_count(), 1u);
  a = std::move(same);
  ASSERT_TRUE(a);
  a.swap(same);
  ASSERT_TRUE(a);
  EXPECT_EQ(a.use_count(), 1u);
  weak<instance> w = a;
  weak<instance>& same_weak = w;
  w = same_weak;
  w = std::move(same_weak);
  w.swap(same_weak);
  EXPECT_EQ(w.lock(), a);
}
TEST_F(Shared, AssignmentDestroysWhatItReplaces) {
  shared<instance> a = share<instance>(1);
  a = share<instance>(2);
  EXPECT_EQ(instance::alive, 1);
  EXPECT_EQ(a->value, 2);
  shared<instance> b = share<instance>(3);
  a.swap(b);
  EXPECT_EQ(a->value, 3);
  EXPECT_EQ(b->value, 2);
  b = shared<instance>();
  EXPECT_EQ(instance::alive, 1);
}
TEST_F(Shared, AHandleThatIsPartOfTheValueItReplaces) {
  struct node {
    shared<node> next;
    instance counted;
  };
  shared<node> head = share<node>(), rest = share<node>();
  head->next = std::move(rest);
  head = head->next;  // destroys the node that the right side lies in
  ASSERT_TRUE(head);
  EXPECT_EQ(instance::alive, 1);
  EXPECT_FALSE(head->next);
  head->next = share<node>();
  head = std::move(head->next);
  ASSERT_TRUE(head);
  EXPECT_EQ(instance::alive, 1);
}
TEST_F(Shared, ConvertsToABaseAndToConst) {
  shared<derived> d = share<derived>(4);
  shared<instance> b = d;
  shared<const derived> c = d;
  EXPECT_EQ(d.use_count(), 3u);
  EXPECT_EQ(b->value, 4);
  EXPECT_EQ(c->extra, 5);
  EXPECT_TRUE(b == d);
  shared<instance> moved = std::move(d);
  EXPECT_FALSE(d);
  EXPECT_EQ(moved.use_count(), 3u);
  static_assert(!std::is_constructible_v<shared<derived>, shared<instance>>);
  static_assert(!std::is_constructible_v<shared<instance>, shared<int>>);
  moved.reset(), b.reset(), c.reset();
  EXPECT_EQ(instance::alive, 0);
}
TEST_F(Shared, AliasesOwnTheWholeAndPointAtThePart) {
  struct whole {
    int number = 3;
    instance counted;
  };
  shared<whole> w = share<whole>();
  shared<int> part(w, &w->number);
  EXPECT_EQ(w.use_count(), 2u);
  shared<instance> other(std::move(w), &w->counted);
  EXPECT_FALSE(w);
  EXPECT_EQ(part.use_count(), 2u);
  other.reset();
  EXPECT_EQ(instance::alive, 1);
  EXPECT_EQ(*part, 3);
  weak<int> watcher = part;
  part.reset();
  EXPECT_EQ(instance::alive, 0);
  EXPECT_TRUE(watcher.expired());
  int local = 1;
  shared<int> points_only(shared<whole>(), &local);
  EXPECT_EQ(points_only.get(), &local);
  EXPECT_EQ(points_only.use_count(), 0u);
}
TEST_F(Shared, OrderAndHashAreThoseOfThePointer) {
  std::array<int, 2> unused{};
  shared<std::array<int, 2>> both = share<std::array<int, 2>>(unused);
  shared<int> first(both, &(*both)[0]), second(both, &(*both)[1]);
  EXPECT_LT(first, second);
  EXPECT_NE(first, second);
  EXPECT_EQ(std::hash<shared<int>>{}(first), std::hash<int*>{}(first.get()));
  std::unordered_set<shared<int>> set{first, second, first};
  EXPECT_EQ(set.size(), 2u);
}
TEST_F(Shared, AConstructorThatThrowsLeavesNothing) {
  try {
    (void)share<throws_when_made>("as it should");
    FAIL();
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "as it should");
  }
  EXPECT_EQ(instance::alive, 0);
}
template <std::size_t Align>
void expect_aligned() {
  struct alignas(Align) wide {
    char c = 'w';
    instance counted;
  };
  std::vector<shared<wide>> all;
  for (int i = 0; i < 20; ++i) {
    all.push_back(share<wide>());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(all.back().get()) % Align, 0u) << Align;
    all.back()->c = 'x';
  }
  EXPECT_EQ(instance::alive, 20);
  all.clear();
  EXPECT_EQ(instance::alive, 0);
}
TEST_F(Shared, OverAlignedValuesAreAligned) {
  expect_aligned<16>();
  expect_aligned<32>();
  expect_aligned<64>();
  expect_aligned<4096>();
}
TEST_F(Shared, LargeValues) {
  struct large {
    std::array<char, 200'000> bytes{};
    int last = 9;
  };
  shared<large> a = share<large>();
  shared<int> part(a, &a->last);
  a.reset();
  EXPECT_EQ(*part, 9);
}

TEST_F(Weak, LocksWhileThereIsAnOwner) {
  weak<instance> none;
  EXPECT_TRUE(none.expired());
  EXPECT_FALSE(none.lock());
  shared<instance> a = share<instance>(1);
  weak<instance> w = a, copy = w;
  EXPECT_FALSE(w.expired());
  EXPECT_EQ(w.use_count(), 1u);
  EXPECT_EQ(w.lock(), a);
  EXPECT_EQ(a.use_count(), 1u);
  weak<instance> moved = std::move(w);
  EXPECT_TRUE(w.expired());
  a.reset();
  EXPECT_EQ(instance::alive, 0);
  EXPECT_TRUE(moved.expired());
  EXPECT_FALSE(copy.lock());
  copy = moved;
  copy.reset();
  copy.reset();
}
TEST_F(Weak, AnOwnerMadeOfAnExpiredOneIsAnError) {
  shared<derived> a = share<derived>(2);
  weak<derived> w = a;
  {
    shared<instance> b(w);
    EXPECT_EQ(b->value, 2);
    EXPECT_EQ(a.use_count(), 2u);
  }
  a.reset();
  EXPECT_THROW(shared<derived>{w}, std::bad_weak_ptr);
  EXPECT_THROW(shared<instance>{weak<instance>()}, std::bad_weak_ptr);
}
TEST_F(Weak, ConvertsToABase) {
  shared<derived> a = share<derived>(2);
  weak<derived> w = a;
  weak<instance> copied = w, taken = std::move(w), from_owner = a;
  EXPECT_EQ(copied.lock()->value, 2);
  EXPECT_EQ(taken.lock(), from_owner.lock());
}
TEST_F(Weak, SurvivesTheValueThatHoldsIt) {
  struct self_aware {
    weak<self_aware> self;
    instance counted;
  };
  shared<self_aware> a = share<self_aware>();
  a->self = a;
  EXPECT_EQ(a.use_count(), 1u);
  EXPECT_EQ(a->self.lock(), a);
  a.reset();
  EXPECT_EQ(instance::alive, 0);
}

struct service : enable_shared_from_this<service>, instance {
  explicit service(bool too_early = false) {
    if (too_early) (void)shared_from_this();
  }
  ~service() override {
    EXPECT_TRUE(weak_from_this().expired());
    EXPECT_THROW((void)shared_from_this(), std::bad_weak_ptr);
  }
};
TEST_F(FromThis, GivesAnotherOwner) {
  shared<service> a = share<service>();
  shared<service> b = a->shared_from_this();
  EXPECT_EQ(a, b);
  EXPECT_EQ(a.use_count(), 2u);
  const service& constant = *a;
  shared<const service> c = constant.shared_from_this();
  EXPECT_EQ(c.use_count(), 3u);
  weak<service> w = a->weak_from_this();
  a.reset(), b.reset();
  EXPECT_FALSE(w.expired());
  c.reset();
  EXPECT_TRUE(w.expired());
}
TEST_F(FromThis, IsAnErrorWithoutAnOwner) {
  service local;
  EXPECT_THROW((void)local.shared_from_this(), std::bad_weak_ptr);
  EXPECT_TRUE(local.weak_from_this().expired());
  auto heap = std::make_unique<service>();
  EXPECT_THROW((void)heap->shared_from_this(), std::bad_weak_ptr);
  EXPECT_THROW((void)share<service>(true), std::bad_weak_ptr);
  EXPECT_EQ(instance::alive, 2);
}
TEST_F(FromThis, CopyingTheValueDoesNotCopyWhoOwnsIt) {
  shared<service> a = share<service>();
  service copy = *a;
  EXPECT_THROW((void)copy.shared_from_this(), std::bad_weak_ptr);
  copy = *a;
  EXPECT_EQ(a.use_count(), 1u);
}
// As with std::unique_ptr: a second owner would outlive the first, which counts on being the only one.
TEST_F(FromThis, WhatIsOwnedAloneHasNone) {
  tracked_box<service> alone(std::in_place);
  EXPECT_THROW((void)alone->shared_from_this(), std::bad_weak_ptr);
  EXPECT_TRUE(alone->weak_from_this().expired());
  struct whole {
    service part;
  };
  tracked_box<whole> around(std::in_place);
  EXPECT_THROW((void)around->part.shared_from_this(), std::bad_weak_ptr);
  struct callable : service {
    void operator()() { EXPECT_THROW((void)shared_from_this(), std::bad_weak_ptr); }
  };
  tracked_function<void()> f{callable()};
  f();
  EXPECT_EQ(instance::alive, 3);
  alone.reset();
  EXPECT_EQ(instance::alive, 2);
  // The twin: owned together, inside of what is owned alone.
  tracked_box<shared<service>> inside(std::in_place, share<service>());
  shared<service> more = (*inside)->shared_from_this();
  inside.reset();
  EXPECT_EQ(more.use_count(), 1u);
}
TEST_F(FromThis, APartOfAValueOwnsTheWhole) {
  struct whole {
    instance before;
    service part;
  };
  shared<whole> a = share<whole>();
  shared<service> part = a->part.shared_from_this();
  a.reset();
  EXPECT_EQ(instance::alive, 2);
  part.reset();
  EXPECT_EQ(instance::alive, 0);
}

}  // namespace leash::test::shared_tests
