// refused: no matching member function for call to 'go'
// A range that looks at a container of somebody else's is a view, whatever adaptors it was made with.
#include <leash/leash.hpp>
#include <ranges>
#include <vector>

leash::task<> look(const auto&) { co_return; }

leash::task<> app(std::vector<int>& numbers) {
  co_await leash::with_scope([&](leash::scope& s) -> leash::task<> {
    auto all = std::views::all(numbers);
    auto part = std::ranges::subrange(numbers.begin(), numbers.begin());
#ifdef REFUSED
    s.go([](auto range) { return look(range); }, all);
#else
    s.go([](auto range) { return look(range); }, leash::borrow(all));
    s.go([](auto range) { return look(range); }, leash::borrow(part));
    static_assert(!leash::kept<decltype(all)> && !leash::kept<decltype(part)>);
    static_assert(!leash::kept<decltype(all | std::views::drop(1))> && !leash::kept<std::initializer_list<int>>);
    s.go([](auto range) { return look(range); }, numbers);
#endif
    co_return;
  });
}
