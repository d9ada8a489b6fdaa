// What was read from a connection and not used yet. Small while the connection is idle, larger when a message asks for it.
#pragma once
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

namespace leash::http {

class input_buffer {
 public:
  static constexpr std::size_t idle_bytes = 1024;

  std::string_view text() const noexcept { return {memory_.get() + begin_, end_ - begin_}; }
  std::size_t size() const noexcept { return end_ - begin_; }
  bool empty() const noexcept { return begin_ == end_; }
  void consume(std::size_t n) noexcept {
    begin_ += n;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  /// Room for at least `n` more bytes behind what there is. Moves what there is.
  char* room(std::size_t n) {
    if (capacity_ - end_ >= n) return memory_.get() + end_;
    if (capacity_ - size() < n) {
      std::size_t bytes = capacity_ == 0 ? idle_bytes : capacity_;
      while (bytes - size() < n) bytes *= 2;
      auto larger = std::make_unique_for_overwrite<char[]>(bytes);
      if (!empty()) std::memcpy(larger.get(), memory_.get() + begin_, size());
      memory_ = std::move(larger);
      capacity_ = bytes;
    } else {
      std::memmove(memory_.get(), memory_.get() + begin_, size());
    }
    end_ -= begin_;
    begin_ = 0;
    return memory_.get() + end_;
  }
  /// How much room() gives without moving or growing.
  std::size_t room_there() const noexcept { return capacity_ - end_; }
  void added(std::size_t n) noexcept { end_ += n; }
  /// Gives a large buffer back, if nothing is in it.
  void shrink() noexcept {
    if (capacity_ <= idle_bytes || !empty()) return;
    memory_.reset();
    capacity_ = begin_ = end_ = 0;
  }

 private:
  std::unique_ptr<char[]> memory_;
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace leash::http
