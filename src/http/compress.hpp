// Compression of response bodies.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace leash::http {

enum class coding : std::uint8_t { none, gzip, deflate };
inline std::string_view name_of(coding c) noexcept {
  return c == coding::gzip ? "gzip" : c == coding::deflate ? "deflate" : "";
}
/// What an Accept-Encoding field lets us use; gzip before deflate.
coding choose_coding(std::string_view accepted) noexcept;
/// True for texts and their like; not for what is compressed by itself, nor for event streams, which wait.
bool worth_compressing(std::string_view type) noexcept;

/// A body's compressor: about 256 KiB while it lives.
class compressor {
 public:
  explicit compressor(coding);
  compressor(const compressor&) = delete;
  ~compressor();
  /// Appends what `in` becomes to `out`; `end`: it was the last piece; else all of it can be read by the client now.
  void put(std::string_view in, bool end, std::string& out);

 private:
  struct stream;
  std::unique_ptr<stream> s_;
};

}  // namespace leash::http
