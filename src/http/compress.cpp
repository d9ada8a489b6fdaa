#include "compress.hpp"

#include <zlib.h>

#include <algorithm>
#include <leash/http/message.hpp>
#include <new>
#include <stdexcept>

namespace leash::http {

coding choose_coding(std::string_view accepted) noexcept {
  bool gzip = false, deflate = false;
  while (!accepted.empty()) {
    std::size_t const comma = std::min(accepted.find(','), accepted.size());
    std::string_view one = accepted.substr(0, comma);
    accepted.remove_prefix(std::min(comma + 1, accepted.size()));
    std::string_view const name = one.substr(0, one.find(';'));
    std::size_t const q = one.find("q=");
    // "q=0", "q=0.0" and so on: not that one.
    bool const refused = q != one.npos && one.find_first_of("123456789", q) == one.npos;
    if (refused) continue;
    gzip |= has_token(name, "gzip") || has_token(name, "*");
    deflate |= has_token(name, "deflate");
  }
  return gzip ? coding::gzip : deflate ? coding::deflate : coding::none;
}

bool worth_compressing(std::string_view type) noexcept {
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  if (same_name(type, "text/event-stream")) return false;
  return (type.size() > 5 && same_name(type.substr(0, 5), "text/")) || same_name(type, "application/json") ||
         same_name(type, "application/javascript") || same_name(type, "application/xml") ||
         same_name(type, "application/wasm") || same_name(type, "image/svg+xml") || type.ends_with("+json") ||
         type.ends_with("+xml");
}

struct compressor::stream {
  z_stream z{};
};

compressor::compressor(coding c) : s_(std::make_unique<stream>()) {
  // 15: the largest window; 16 more: with gzip's head and sum.
  if (deflateInit2(&s_->z, 5, Z_DEFLATED, c == coding::gzip ? 15 + 16 : 15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::bad_alloc();
}
compressor::~compressor() { deflateEnd(&s_->z); }

void compressor::put(std::string_view in, bool end, std::string& out) {
  z_stream& z = s_->z;
  char piece[8192];
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
  z.avail_in = static_cast<uInt>(in.size());
  do {
    z.next_out = reinterpret_cast<Bytef*>(piece);
    z.avail_out = sizeof piece;
    int const r = deflate(&z, end ? Z_FINISH : Z_SYNC_FLUSH);
    if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR) throw std::runtime_error("http: zlib failed");
    out.append(piece, sizeof piece - z.avail_out);
  } while (z.avail_out == 0);
}

}  // namespace leash::http
