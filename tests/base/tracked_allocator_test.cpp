// The standard containers on tracked memory: they behave as on any other, and leave nothing behind.
#include <deque>
#include <forward_list>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base.hpp"

namespace leash::test::tracked_allocator_tests {

using Allocator = TrackedMemory;
using Container = TrackedMemory;

template <class T>
using tracked_list = std::list<T, tracked_allocator<T>>;
template <class T>
using tracked_deque = std::deque<T, tracked_allocator<T>>;
template <class K, class V>
using tracked_map = std::map<K, V, std::less<K>, tracked_allocator<std::pair<const K, V>>>;
template <class K, class V>
using tracked_unordered_map =
    std::unordered_map<K, V, std::hash<K>, std::equal_to<K>, tracked_allocator<std::pair<const K, V>>>;
using tracked_string = std::basic_string<char, std::char_traits<char>, tracked_allocator<char>>;

// ---- the allocator by itself
// ---------------------------------------------------------------------------------------
TEST_F(Allocator, CopiesAreEqualAndOthersAreNot) {
  tracked_allocator<int> a, b;
  tracked_allocator<int> copy = a;
  tracked_allocator<double> rebound(a);
  EXPECT_TRUE(a == copy);
  EXPECT_TRUE(a == rebound);
  EXPECT_FALSE(a == b);
  b = a;
  EXPECT_TRUE(a == b);
  b = std::as_const(b);
  EXPECT_TRUE(a == b);
  using traits = std::allocator_traits<tracked_allocator<int>>;
  EXPECT_FALSE(traits::select_on_container_copy_construction(a) == a);
}
TEST_F(Allocator, AMoveLeavesTheValueAsItWas) {
  tracked_allocator<int> a;
  tracked_allocator<int> b = std::move(a);
  EXPECT_TRUE(a == b);
  tracked_allocator<int> c;
  c = std::move(b);
  EXPECT_TRUE(a == c);
}
TEST_F(Allocator, MemoryOfOneIsGivenBackThroughAnEqualOne) {
  tracked_allocator<int> a;
  int* p = a.allocate(10);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % 16, 0u);
  tracked_allocator<char> b = a;
  a = tracked_allocator<int>();
  tracked_allocator<int>(b).deallocate(p, 10);
}
TEST_F(Allocator, TooMuchIsAnError) {
  tracked_allocator<std::array<char, 64>> a;
  EXPECT_THROW((void)a.allocate(std::size_t(-1) / 64), std::bad_array_new_length);
  tracked_vector<int> v;
  EXPECT_THROW(v.reserve(v.max_size() + 1), std::length_error);
}
TEST_F(Allocator, OutlivesItsContainers) {
  std::optional<tracked_allocator<int>> kept;
  {
    tracked_vector<int> v{1, 2, 3};
    kept = v.get_allocator();
  }
  tracked_vector<int> again({4, 5}, *kept);
  EXPECT_TRUE(again.get_allocator() == *kept);
  kept.reset();
  again.push_back(6);
  EXPECT_EQ(again.back(), 6);
}
TEST_F(Allocator, OfAVectorThatWasMovedFromIsEmptyUntilItAllocates) {
  auto pool_of = [](const tracked_vector<int>& v) { return v.get_allocator().core(); };
  tracked_vector<int> a{1, 2, 3};
  pool_core* const first = pool_of(a);
  tracked_vector<int> b = std::move(a);
  EXPECT_EQ(pool_of(a), nullptr);
  EXPECT_EQ(pool_of(b), first);
  tracked_vector<int> nothing = std::move(a), copy = a, c;
  EXPECT_EQ(pool_of(nothing), nullptr);
  EXPECT_NE(pool_of(copy), nullptr);
  c = std::move(b);
  EXPECT_EQ(pool_of(b), nullptr);
  EXPECT_EQ(pool_of(c), first);
  EXPECT_EQ(c.size(), 3u);
  a.swap(c);
  EXPECT_EQ(pool_of(a), first);
  EXPECT_EQ(pool_of(c), nullptr);
  auto& same = a;
  a = std::move(same);
  EXPECT_EQ(pool_of(a), first);
  b.push_back(4);
  EXPECT_NE(pool_of(b), first);
  EXPECT_EQ(b.back(), 4);
  c = a;
  EXPECT_NE(pool_of(c), first);
  EXPECT_EQ(c, a);
}

// ---- what every container does
// ---------------------------------------------------------------------------------------
template <class C>
struct of;
template <class T>
struct of<tracked_vector<T>> {
  static void add(tracked_vector<T>& c, int i) { c.emplace_back(i); }
};
template <class T>
struct of<tracked_list<T>> {
  static void add(tracked_list<T>& c, int i) { c.emplace_back(i); }
};
template <class T>
struct of<tracked_deque<T>> {
  static void add(tracked_deque<T>& c, int i) { c.emplace_back(i); }
};
template <class K, class V>
struct of<tracked_map<K, V>> {
  static void add(tracked_map<K, V>& c, int i) { c.emplace(i, V(i)); }
};
template <class K, class V>
struct of<tracked_unordered_map<K, V>> {
  static void add(tracked_unordered_map<K, V>& c, int i) { c.emplace(i, V(i)); }
};

template <class C>
C filled(int n, int from = 0) {
  C c;
  for (int i = 0; i < n; ++i) of<C>::add(c, from + i);
  return c;
}

template <class C>
class EachContainer : public TrackedMemory {};
using each = ::testing::Types<tracked_vector<instance>, tracked_list<instance>, tracked_deque<instance>,
                              tracked_map<int, instance>, tracked_unordered_map<int, instance>>;
TYPED_TEST_SUITE(EachContainer, each);

TYPED_TEST(EachContainer, GrowsAndShrinks) {
  auto c = filled<TypeParam>(1000);
  EXPECT_EQ(c.size(), 1000u);
  EXPECT_EQ(instance::alive, 1000);
  c.erase(c.begin());
  EXPECT_EQ(instance::alive, 999);
  c.clear();
  EXPECT_EQ(instance::alive, 0);
  of<TypeParam>::add(c, 1);
}
TYPED_TEST(EachContainer, CopiesHaveMemoryOfTheirOwn) {
  auto a = filled<TypeParam>(50);
  TypeParam b = a;
  EXPECT_FALSE(a.get_allocator() == b.get_allocator());
  TypeParam c;
  const auto before = c.get_allocator();
  c = a;
  EXPECT_TRUE(c.get_allocator() == before);
  TypeParam d(a, a.get_allocator());
  EXPECT_TRUE(d.get_allocator() == a.get_allocator());
  a.clear();
  EXPECT_EQ(b.size(), 50u);
  EXPECT_EQ(c.size(), 50u);
  EXPECT_EQ(d.size(), 50u);
  b = std::as_const(b);
  EXPECT_EQ(instance::alive, 150);
}
TYPED_TEST(EachContainer, MovesTakeTheMemoryAlong) {
  auto a = filled<TypeParam>(50);
  const auto pool = a.get_allocator();
  TypeParam b = std::move(a);
  EXPECT_EQ(instance::alive, 50);
  EXPECT_TRUE(b.get_allocator() == pool);
  a = filled<TypeParam>(3);
  EXPECT_FALSE(a.get_allocator() == pool);
  b = std::move(a);
  EXPECT_EQ(instance::alive, 3);
  EXPECT_EQ(b.size(), 3u);
  TypeParam c(std::move(b), tracked_allocator<int>());
  EXPECT_EQ(c.size(), 3u);
  EXPECT_EQ(a.size(), 0u);
}
TYPED_TEST(EachContainer, WhatWasMovedFromCanBeUsedAgain) {
  auto a = filled<TypeParam>(20);
  TypeParam b = std::move(a);
  a.clear();
  for (int i = 0; i < 20; ++i) of<TypeParam>::add(a, i);
  EXPECT_EQ(a.size(), 20u);
  b = TypeParam();
  EXPECT_EQ(instance::alive, 20);
  of<TypeParam>::add(a, 20);
  EXPECT_EQ(a.size(), 21u);
}
TYPED_TEST(EachContainer, SwapsPoolsAndAll) {
  auto a = filled<TypeParam>(5), b = filled<TypeParam>(9);
  const auto pool_a = a.get_allocator(), pool_b = b.get_allocator();
  a.swap(b);
  using std::swap;
  EXPECT_EQ(a.size(), 9u);
  EXPECT_TRUE(a.get_allocator() == pool_b);
  swap(a, b);
  EXPECT_TRUE(a.get_allocator() == pool_a);
  a.swap(a);
  EXPECT_EQ(a.size(), 5u);
}

// ---- what some do
// ----------------------------------------------------------------------------------------------------
TEST_F(Container, ListsOfOneAllocatorExchangeNodes) {
  tracked_allocator<instance> shared_one;
  tracked_list<instance> a(shared_one), b(shared_one);  // equal before either has allocated
  EXPECT_TRUE(a.get_allocator() == b.get_allocator());
  a.emplace_back(1);
  a.emplace_back(3);
  b.emplace_back(2);
  a.splice(std::next(a.begin()), b);
  EXPECT_TRUE(b.empty());
  EXPECT_EQ(a.size(), 3u);
  b.splice(b.end(), a, a.begin());
  a.merge(b, [](const instance& x, const instance& y) { return x.value < y.value; });
  int expected = 1;
  for (const instance& i : a) EXPECT_EQ(i.value, expected++);
}
TEST_F(Container, NodesOfMapsAreHandedOver) {
  tracked_map<int, instance> a;
  a.emplace(1, 10);
  a.emplace(2, 20);
  {
    auto node = a.extract(1);
    EXPECT_TRUE(node.get_allocator() == a.get_allocator());
    auto other = std::move(node);
    EXPECT_EQ(other.mapped().value, 10);
  }
  EXPECT_EQ(instance::alive, 1);
  tracked_map<int, instance> b(a.get_allocator());
  b.merge(a);
  EXPECT_EQ(b.at(2).value, 20);
}
TEST_F(Container, Strings) {
  tracked_string s(100, 'x'), t = s;
  s += "short";
  EXPECT_EQ(s.size(), 105u);
  EXPECT_EQ(t, tracked_string(100, 'x'));
  t = std::move(s);
  s = "used again, and long enough to need memory of its own";
  swap(s, t);
  EXPECT_EQ(t.size(), 53u);
}
TEST_F(Container, OthersThatTakeAnAllocator) {
  std::set<int, std::less<int>, tracked_allocator<int>> set{3, 1, 2};
  std::forward_list<int, tracked_allocator<int>> forward(set.begin(), set.end(), set.get_allocator());
  EXPECT_EQ(forward.front(), 1);
  auto pointer = std::allocate_shared<instance>(tracked_allocator<instance>(), 4);
  std::weak_ptr<instance> w = pointer;
  pointer.reset();
  EXPECT_EQ(instance::alive, 0);
}
TEST_F(Container, InContainers) {
  tracked_vector<tracked_vector<tracked_string>> deep(3);
  deep[1].emplace_back("a string that is too long for the small buffer");
  auto copy = deep;
  deep.clear();
  EXPECT_EQ(copy[1].size(), 1u);
}
TEST_F(Container, AnElementThatThrows) {
  tracked_vector<instance> v(3);
  tracked_list<throws_when_made> l;
  EXPECT_THROW(l.emplace_back("no"), std::runtime_error);
  EXPECT_TRUE(l.empty());
  EXPECT_EQ(instance::alive, 3);
}
TEST_F(Container, OfOnePoolInManyThreads) {
  tracked_allocator<int> pool;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&pool] {
      tracked_list<int> l(pool);
      for (int i = 0; i < 5000; ++i) {
        l.push_back(i);
        if (l.size() == 10) l.clear();
      }
    });
  for (auto& t : threads) t.join();
}

}  // namespace leash::test::tracked_allocator_tests
