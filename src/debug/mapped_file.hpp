// A file of the program, as it lies on the disk, mapped: what is asked for beyond its end is not there.
#pragma once
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace leash::debug {

inline constexpr std::size_t largest_file = std::size_t{2} << 30;

class mapped_file {
 public:
  explicit mapped_file(const std::string& path) {
    int const fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    struct stat s{};
    if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_size > 0 &&
        static_cast<std::size_t>(s.st_size) <= largest_file) {
      void* p = mmap(nullptr, static_cast<std::size_t>(s.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
      if (p != MAP_FAILED) {
        data_ = static_cast<const std::byte*>(p);
        size_ = static_cast<std::size_t>(s.st_size);
      }
    }
    close(fd);
  }
  mapped_file(const mapped_file&) = delete;
  ~mapped_file() {
    if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
  }
  /// Null: not that many there.
  template <class T>
  const T* at(std::uint64_t offset, std::uint64_t count = 1) const noexcept {
    if (offset > size_ || count > (size_ - offset) / sizeof(T) || offset % alignof(T) != 0) return nullptr;
    return reinterpret_cast<const T*>(data_ + offset);
  }
  /// A text that ends within the file.
  const char* text(std::uint64_t offset) const noexcept {
    if (offset >= size_ || std::memchr(data_ + offset, 0, size_ - offset) == nullptr) return nullptr;
    return reinterpret_cast<const char*>(data_ + offset);
  }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace leash::debug
