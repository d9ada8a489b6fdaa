#include "parser.hpp"

#include <algorithm>
#include <leash/http/message.hpp>

namespace leash::http {

head_scan::result head_scan::look(std::string_view text) noexcept {
  while (at_ < text.size()) {
    std::size_t const end = text.find('\n', at_);
    if (end == text.npos) return result::more;
    if (end == at_ || text[end - 1] != '\r') return result::malformed;    // a bare LF
    if (text[at_] == ' ' || text[at_] == '\t') return result::malformed;  // a folded line
    bool const empty = end == at_ + 1;
    at_ = end + 1;
    if (empty) return result::whole;
  }
  return result::more;
}

template <bool is_request>
void message_parser<is_request>::on_field_impl(boost::beast::http::field name, text, text value, error_code& ec) {
  using boost::beast::http::field;
  ec = {};
  if (this->is_header_done()) return;  // a trailer says nothing about the message
  switch (name) {
    case field::host:
      ++head.hosts;
      break;
    case field::content_length:
      ++head.lengths;
      // Beast takes a list of equal lengths; what is in front of us or behind us may not.
      for (char c : view(value)) head.other_coding |= c < '0' || c > '9';
      break;
    case field::transfer_encoding:
      ++head.codings;
      head.other_coding |= !same_name(view(value), "chunked");
      break;
    case field::expect:
      head.expects_continue = same_name(view(value), "100-continue");
      head.bad_expectation |= !head.expects_continue;
      break;
    case field::upgrade:
      head.upgrade = true;
      break;
    default:
      break;
  }
}
template class message_parser<true>;
template class message_parser<false>;

int check_request(const message_parser<true>& p) noexcept {
  const framing& f = p.head;
  if (f.codings != 0 && (f.version < 11 || f.lengths != 0 || f.codings > 1)) return 400;
  if (f.lengths > 1) return 400;
  if (f.other_coding) return f.codings != 0 ? 501 : 400;
  if (f.codings != 0 && !p.chunked()) return 501;
  if (f.hosts > 1 || (f.hosts == 0 && f.version >= 11)) return 400;
  if (f.bad_expectation) return 417;
  return 0;
}

bool check_response(const message_parser<false>& p) noexcept {
  const framing& f = p.head;
  if (f.codings != 0 && (f.version < 11 || f.lengths != 0 || f.codings > 1 || f.other_coding || !p.chunked()))
    return false;
  return f.lengths <= 1 && !f.other_coding;
}

int refused_with(const error_code& ec, std::string_view head) noexcept {
  using boost::beast::http::error;
  if (ec == error::body_limit) return 413;
  if (ec == error::header_limit) return 431;
  if (ec == error::bad_version) {
    std::string_view const line = head.substr(0, head.find('\r'));
    std::string_view const last = line.size() < 9 ? std::string_view() : line.substr(line.size() - 9);
    auto const digit = [](char c) { return c >= '0' && c <= '9'; };
    if (std::count(line.begin(), line.end(), ' ') == 2 && last.starts_with(" HTTP/") && digit(last[6]) &&
        last[7] == '.' && digit(last[8]))
      return 505;
  }
  return 400;
}

}  // namespace leash::http
