// What is read into and written from: contiguous memory of the caller's, which must stay until the operation has ended. In a
// goroutine the frame that awaits sees to that.
#pragma once
#include <boost/asio/buffer.hpp>
#include <concepts>
#include <cstddef>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>

namespace leash::net {

/// Memory to fill: an array, vector, string or span of trivial elements, or an Asio buffer.
class mutable_bytes {
 public:
  constexpr mutable_bytes(void* data, std::size_t size) noexcept : data_(data), size_(size) {}
  mutable_bytes(boost::asio::mutable_buffer b) noexcept : data_(b.data()), size_(b.size()) {}
  template <std::ranges::contiguous_range R>
    requires(std::ranges::sized_range<R> && std::is_trivially_copyable_v<std::ranges::range_value_t<R>> &&
             !std::is_const_v<std::remove_reference_t<std::ranges::range_reference_t<R>>>)
  mutable_bytes(R&& r) noexcept
      : data_(std::ranges::data(r)), size_(std::ranges::size(r) * sizeof(std::ranges::range_value_t<R>)) {}

  std::byte* data() const noexcept { return static_cast<std::byte*>(data_); }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  mutable_bytes from(std::size_t n) const noexcept { return {data() + n, size_ - n}; }

 private:
  void* data_;
  std::size_t size_;
};

/// Memory to send; a string literal counts without its zero.
class const_bytes {
 public:
  constexpr const_bytes() noexcept = default;
  constexpr const_bytes(const void* data, std::size_t size) noexcept : data_(data), size_(size) {}
  constexpr const_bytes(const char* text) noexcept : const_bytes(std::string_view(text)) {}
  constexpr const_bytes(std::string_view text) noexcept : data_(text.data()), size_(text.size()) {}
  const_bytes(const std::string& text) noexcept : data_(text.data()), size_(text.size()) {}
  const_bytes(boost::asio::const_buffer b) noexcept : data_(b.data()), size_(b.size()) {}
  const_bytes(mutable_bytes b) noexcept : data_(b.data()), size_(b.size()) {}
  template <std::ranges::contiguous_range R>
    requires(std::ranges::sized_range<R> && std::is_trivially_copyable_v<std::ranges::range_value_t<R>> &&
             !std::convertible_to<R, const char*> && !std::convertible_to<R, std::string_view>)
  const_bytes(R&& r) noexcept
      : data_(std::ranges::data(r)), size_(std::ranges::size(r) * sizeof(std::ranges::range_value_t<R>)) {}

  const std::byte* data() const noexcept { return static_cast<const std::byte*>(data_); }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  const_bytes from(std::size_t n) const noexcept { return {data() + n, size_ - n}; }

 private:
  const void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace leash::net
