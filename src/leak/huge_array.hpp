// A growing array for the millions of small records of a pass: large ones lie in huge pages, since touching memory in
// steps of 4 KiB for the first time would cost more than all the rest of the pass.
//
// What is reserved but not used costs nothing: it is never touched. What resize() adds is zero.
#pragma once
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <leash/platform.hpp>
#include <new>
#include <type_traits>
#include <utility>

#include "touch_ahead.hpp"

namespace leash {

template <class T>
class huge_array {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);
  static constexpr std::size_t page = touch_ahead::page;

 public:
  huge_array() noexcept = default;
  huge_array(huge_array&& o) noexcept
      : data_(std::exchange(o.data_, nullptr)),
        size_(std::exchange(o.size_, 0)),
        capacity_(std::exchange(o.capacity_, 0)),
        mapped_(std::exchange(o.mapped_, 0)) {}
  huge_array& operator=(huge_array&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
    std::swap(capacity_, o.capacity_);
    std::swap(mapped_, o.mapped_);
    return *this;
  }
  ~huge_array() {
    if (data_ == nullptr) return;
    mapped_ != 0 ? void(munmap(static_cast<void*>(data_), mapped_)) : std::free(data_);
  }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  T* begin() noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  bool is_full() const noexcept { return size_ == capacity_; }
  /// The memory of the first n elements, as far as it lies in huge pages.
  touch_ahead::area area(std::size_t n) const noexcept { return {data_, std::min(n * sizeof(T), mapped_)}; }
  T& back() noexcept { return data_[size_ - 1]; }
  void pop_back() noexcept { --size_; }
  /// Down to n elements.
  void cut(std::size_t n) noexcept { size_ = n; }
  LEASH_INLINE void push_back(T v) {
    if (size_ == capacity_) [[unlikely]]
      reserve(std::max<std::size_t>(64, capacity_ * 2));
    data_[size_++] = v;
  }
  /// For arrays that never shrink: what is new is zero.
  void resize(std::size_t n) {
    if (n > capacity_) reserve(std::max(n, capacity_ * 2));
    size_ = n;
  }
  LEASH_NOINLINE void reserve(std::size_t n) {
    if (n <= capacity_) return;
    std::size_t const bytes = n * sizeof(T);
    std::size_t const mapped = bytes < page / 4 ? 0 : rounded(bytes);
    void* const bigger = mapped != 0 ? map(mapped) : std::calloc(n, sizeof(T));
    if (bigger == nullptr) throw std::bad_alloc();
    // The pages move over as they are, where they can.
    if (mapped_ == 0 || mremap(data_, mapped_, mapped_, MREMAP_MAYMOVE | MREMAP_FIXED, bigger) == MAP_FAILED) {
      if (size_ != 0) std::memcpy(bigger, data_, size_ * sizeof(T));
      mapped_ != 0 ? void(munmap(static_cast<void*>(data_), mapped_)) : std::free(data_);
    }
    data_ = static_cast<T*>(bigger);
    capacity_ = mapped != 0 ? mapped / sizeof(T) : n;
    mapped_ = mapped;
  }

 private:
  static constexpr std::size_t rounded(std::size_t bytes) noexcept { return (bytes + page - 1) / page * page; }
  static void* map(std::size_t bytes) {
    void* at = mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    auto* const from = static_cast<std::byte*>(at);
    std::size_t const head = (page - reinterpret_cast<std::size_t>(from) % page) % page;
    if (head != 0) munmap(from, head);
    if (page != head) munmap(from + head + bytes, page - head);
    madvise(from + head, bytes, MADV_HUGEPAGE);
    return from + head;
  }

  T* data_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
  std::size_t mapped_ = 0;  // bytes; 0: from calloc
};

}  // namespace leash
