// as_completed: goroutines in the order in which they end.
#pragma once
#include <leash/select.hpp>
#include <leash/spawn.hpp>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

namespace leash {

/// The cases of a select over the ends of goroutines.
template <class T>
class join_cases {
 public:
  join_cases(std::span<goroutine<T>> all, std::span<const std::uint16_t> which)
      : size_(which.size()), waits_(which.size()) {
    for (std::size_t i = 0; i < size_; ++i) {
      auto op = all[which[i]].join();
      ::new (static_cast<void*>(waits_.data() + i)) join_wait<T>(op);
    }
  }
  ~join_cases() { std::destroy_n(waits_.data(), size_); }
  std::size_t size() const noexcept { return size_; }
  template <class F>
  decltype(auto) with(std::size_t i, F&& f) {
    return f(waits_.data()[i]);
  }

 private:
  std::size_t size_;
  arena_array<join_wait<T>> waits_;
};

/// Waits until one of them has ended; its result stays where it is.
template <class T>
class [[nodiscard]] first_end_operation : public select_base<join_cases<T>, std::size_t> {
 public:
  first_end_operation(std::span<goroutine<T>> all, std::span<const std::uint16_t> which)
      : select_base<join_cases<T>, std::size_t>(false, all, which) {}
  std::size_t await_resume() { return this->core_.finish(); }
};

/// Iterates over goroutines as they end:
///
///   as_completed done(handles);                                  // a vector or array of goroutine<T>, which must stay
///   while (auto i = co_await done.next()) use(co_await handles[*i].join());
///
/// Thread safety: as the handles. Errors: std::length_error for more than 65535 handles.
template <class T>
class as_completed {
 public:
  explicit as_completed(std::span<goroutine<T>> handles) : all_(handles) {
    if (handles.size() > 65'535) throw std::length_error("as_completed: more than 65535 goroutines");
    for (std::size_t i = handles.size(); i-- > 0;)
      if (handles[i].core() != nullptr) left_.push_back(static_cast<std::uint16_t>(i));
  }
  explicit as_completed(std::vector<goroutine<T>>& handles) : as_completed(std::span<goroutine<T>>(handles)) {}

  /// Which goroutine has ended next: its join() completes at once, and gives its result or its exception. Each is named
  /// once; empty handles are not.
  ///
  /// Suspends when: none has ended that was not named. Wait reason: `select`. Returns: its index; nullopt, all were named.
  /// Those that had ended before the call come in any order. Cancellation: first; names nobody.
  /// Complexity: linear in the goroutines that were not named.
  task<std::optional<std::size_t>> next() {
    if (left_.empty()) co_return std::nullopt;
    std::size_t const at = co_await first_end_operation<T>(all_, left_);
    std::size_t const i = left_[at];
    left_[at] = left_.back();
    left_.pop_back();
    co_return i;
  }
  /// How many were not named yet.
  std::size_t left() const noexcept { return left_.size(); }

 private:
  std::span<goroutine<T>> all_;
  std::vector<std::uint16_t> left_;
};
template <class T>
as_completed(std::vector<goroutine<T>>&) -> as_completed<T>;

}  // namespace leash
