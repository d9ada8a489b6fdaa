// Frames. What a client may send is bounded by what has been announced: a frame's length is looked at before a byte of it is
// kept.
#include <array>
#include <cstring>
#include <leash/boundary.hpp>
#include <leash/http/websocket.hpp>

#include "buffer.hpp"
#include "digest.hpp"
#include "transport.hpp"

namespace leash::http {

namespace {

bool right_code(unsigned c) noexcept {
  return (c >= 1000 && c <= 1014 && c != 1004 && c != 1005 && c != 1006) || (c >= 3000 && c <= 4999);
}

/// Well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool utf8(std::string_view s) noexcept {
  for (std::size_t i = 0; i < s.size();) {
    auto const at = [&](std::size_t k) { return i + k < s.size() ? static_cast<unsigned char>(s[i + k]) : 0u; };
    auto const tail = [&](std::size_t k) { return (at(k) & 0xC0) == 0x80; };
    unsigned const c = at(0);
    if (c < 0x80) {
      i += 1;
    } else if (c >= 0xC2 && c <= 0xDF && tail(1)) {
      i += 2;
    } else if (c >= 0xE0 && c <= 0xEF && tail(1) && tail(2) && (c != 0xE0 || at(1) >= 0xA0) &&
               (c != 0xED || at(1) < 0xA0)) {
      i += 3;
    } else if (c >= 0xF0 && c <= 0xF4 && tail(1) && tail(2) && tail(3) && (c != 0xF0 || at(1) >= 0x90) &&
               (c != 0xF4 || at(1) < 0x90)) {
      i += 4;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

task<bool> websocket::fill(std::size_t bytes) {
  for (bool asked = false; in_.size() < bytes;) {
    char* const to = in_.room(std::min<std::size_t>(bytes - in_.size(), 16 << 10));
    auto const n = co_await with_timeout(o_.idle_timeout, io_.read(to, in_.room_there()));
    if (!n && !asked) {
      asked = true;
      if (co_await ping()) continue;
    }
    if (!n || *n == 0) {
      if (closed_with_ == 0) closed_with_ = 1006;
      co_return false;
    }
    asked = false;
    in_.added(*n);
  }
  co_return true;
}

task<> websocket::fail(unsigned code) {
  closed_with_ = code;
  co_await close(code);
}

task<std::optional<websocket::message>> websocket::recv() {
  message whole;
  bool begun = false;
  while (closed_with_ == 0) {
    if (!co_await fill(2)) co_return std::nullopt;
    auto const byte = [&](std::size_t i) { return static_cast<unsigned char>(in_.text()[i]); };
    bool const last = (byte(0) & 0x80) != 0, masked = (byte(1) & 0x80) != 0;
    auto const kind = static_cast<op>(byte(0) & 0x0F);
    bool const control = (byte(0) & 0x08) != 0;
    std::uint64_t length = byte(1) & 0x7F;
    std::size_t const more = length == 126 ? 2 : length == 127 ? 8 : 0;
    bool const known = kind == op::more || kind == op::text || kind == op::binary || kind == op::close ||
                       kind == op::ping || kind == op::pong;
    if ((byte(0) & 0x70) != 0 || !known || !masked || (control && (!last || more != 0)) ||
        (!control && (kind == op::more) != begun)) {
      co_await fail(1002);
      co_return std::nullopt;
    }
    if (!co_await fill(2 + more + 4)) co_return std::nullopt;
    if (more != 0) {
      length = 0;
      for (std::size_t i = 0; i < more; ++i) length = length << 8 | byte(2 + i);
    }
    if (length > o_.max_message - (control ? 0 : whole.data.size()) && !(control && length <= 125)) {
      co_await fail(1009);
      co_return std::nullopt;
    }
    std::array<char, 4> mask{};
    std::memcpy(mask.data(), in_.text().data() + 2 + more, 4);
    in_.consume(2 + more + 4);
    std::string piece;
    std::string& into = control ? piece : whole.data;
    for (std::uint64_t done = 0; done < length;) {
      if (in_.empty() && !co_await fill(1)) co_return std::nullopt;
      std::size_t const n = static_cast<std::size_t>(std::min<std::uint64_t>(in_.size(), length - done));
      std::size_t const at = into.size();
      into.append(in_.text().substr(0, n));
      for (std::size_t i = 0; i < n; ++i) into[at + i] = static_cast<char>(into[at + i] ^ mask[(done + i) % 4]);
      in_.consume(n);
      done += n;
    }
    if (kind == op::ping) {
      if (!co_await frame(op::pong, piece)) co_return std::nullopt;
    } else if (kind == op::close) {
      unsigned code = 1005;
      if (piece.size() >= 2)
        code = static_cast<unsigned>(static_cast<unsigned char>(piece[0]) << 8 | static_cast<unsigned char>(piece[1]));
      if (piece.size() == 1 || (piece.size() >= 2 && !right_code(code)) ||
          !utf8(std::string_view(piece).substr(std::min<std::size_t>(2, piece.size())))) {
        co_await fail(1002);
        co_return std::nullopt;
      }
      closed_with_ = code;
      co_await close(code == 1005 ? 1000 : code);
    } else if (!control) {
      if (!begun) whole.binary = kind == op::binary;
      begun = true;
      if (!last) continue;
      if (!whole.binary && !utf8(whole.data)) {
        co_await fail(1007);
        co_return std::nullopt;
      }
      co_return std::move(whole);
    }
  }
  co_return std::nullopt;
}

task<bool> websocket::frame(op kind, std::string_view data) {
  auto const turn = co_await sending_turn_.lock();
  if (close_sent_ || sending_) co_return false;  // sending_: a send was cut short in the midst of a frame
  if (kind == op::close) close_sent_ = true;
  std::array<char, 10> head{};
  std::size_t bytes = 2;
  head[0] = static_cast<char>(0x80 | static_cast<unsigned>(kind));
  if (data.size() < 126) {
    head[1] = static_cast<char>(data.size());
  } else {
    std::size_t const more = data.size() < 65536 ? 2 : 8;
    head[1] = more == 2 ? 126 : 127;
    for (std::size_t i = 0; i < more; ++i) head[2 + i] = static_cast<char>(data.size() >> (8 * (more - 1 - i)));
    bytes += more;
  }
  sending_ = true;
  auto const sent = co_await with_timeout(o_.send_timeout, io_.write({std::string_view(head.data(), bytes), data, {}}));
  if (!sent || !*sent) {
    close_sent_ = true;
    co_return false;
  }
  sending_ = false;
  co_return true;
}

task<bool> websocket::send(std::string_view data, bool binary) { return frame(binary ? op::binary : op::text, data); }
task<bool> websocket::ping(std::string_view data) {
  if (data.size() > 125) throw std::invalid_argument("http: a ping holds at most 125 bytes");
  return frame(op::ping, data);
}
task<> websocket::close(unsigned code, std::string_view reason) {
  std::string data{static_cast<char>(code >> 8), static_cast<char>(code)};
  data.append(reason.substr(0, 123));
  (void)co_await frame(op::close, data);
}

response upgrade_with(const request& r, std::unique_ptr<session_runner> session, const websocket_options& o) {
  if (!has_token(r.header("Connection"), "upgrade") || !has_token(r.header("Upgrade"), "websocket") ||
      r.header("Sec-WebSocket-Version") != "13") {
    response no(426);
    no.headers.add("Upgrade", "websocket").add("Connection", "upgrade").add("Sec-WebSocket-Version", "13");
    return no;
  }
  std::string_view const key = r.header("Sec-WebSocket-Key");
  if (r.method() != method::get || r.version() < 11 || key.size() != 24 || !key.ends_with("==") ||
      r.content_length() != 0u)
    return response(400);
  response yes(101);
  yes.headers.add("Upgrade", "websocket").add("Connection", "upgrade");
  yes.headers.add("Sec-WebSocket-Accept", base64(sha1(std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
  session->options = o;
  yes.body = std::move(session);
  return yes;
}

}  // namespace leash::http
