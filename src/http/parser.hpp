// Messages from bytes: Beast's parser, behind checks of our own that are stricter where leniency is how requests are smuggled.
//
// Invariants
//  P1. A head is handed to Beast only when all of it is there and its lines end in CR LF, none is folded, and none is longer
//      than the limit.
//  P2. How long a body is has one reading: not both Content-Length and Transfer-Encoding, neither twice, the only transfer
//      coding is chunked and only in HTTP/1.1. Whatever else is refused, and the connection closed.
#pragma once
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace leash::http {

using boost::system::error_code;

/// Finds the end of a head, looking at each byte once.
class head_scan {
 public:
  enum class result : std::uint8_t { more, whole, malformed };
  /// `text`: all that was read since the head's first byte; only ever grows.
  result look(std::string_view text) noexcept;
  /// Of a whole head: its bytes, the empty line included.
  std::size_t bytes() const noexcept { return at_; }

 private:
  std::size_t at_ = 0;  // lines before this are right
};

/// What a request's or a response's fields said, as far as it matters to the connection.
struct framing {
  unsigned hosts = 0, lengths = 0, codings = 0;
  bool other_coding = false;  // one that is not exactly "chunked"
  bool bad_expectation = false, expects_continue = false;
  bool upgrade = false;
  std::string_view method, target, reason;
  int status = 0, version = 0;
};

template <bool is_request>
class message_parser final : public boost::beast::http::basic_parser<is_request> {
  using base = boost::beast::http::basic_parser<is_request>;
  using text = boost::beast::string_view;

 public:
  message_parser() {
    this->eager(false);
    this->header_limit(UINT32_MAX);  // P1: the head is measured before
    this->body_limit(UINT64_MAX);    // set when the route is known
  }
  framing head;  // its texts lie in what was parsed
  /// After a put(): the piece of the body that lies in what was put.
  std::string_view take_piece() noexcept { return std::exchange(piece_, {}); }

 private:
  static std::string_view view(text t) noexcept { return {t.data(), t.size()}; }
  void on_request_impl(boost::beast::http::verb, text method, text target, int version, error_code& ec) override {
    ec = {};
    head.method = view(method);
    head.target = view(target);
    head.version = version;
  }
  void on_response_impl(int status, text reason, int version, error_code& ec) override {
    ec = {};
    head.status = status;
    head.reason = view(reason);
    head.version = version;
  }
  void on_field_impl(boost::beast::http::field name, text, text value, error_code& ec) override;
  void on_header_impl(error_code& ec) override { ec = {}; }
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code& ec) override { ec = {}; }
  std::size_t on_body_impl(text body, error_code& ec) override {
    ec = {};
    piece_ = view(body);
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, text, error_code& ec) override { ec = {}; }
  std::size_t on_chunk_body_impl(std::uint64_t, text body, error_code& ec) override {
    ec = {};
    piece_ = view(body);
    return body.size();
  }
  void on_finish_impl(error_code& ec) override { ec = {}; }

  std::string_view piece_;
};

/// 0: the head is one that may be answered; else the status with which it is refused. P2.
int check_request(const message_parser<true>&) noexcept;
/// False: it cannot be told where this response ends. P2.
bool check_response(const message_parser<false>&) noexcept;
/// The status for a head that Beast refused.
int refused_with(const error_code&, std::string_view head) noexcept;

}  // namespace leash::http
