// Heads and bodies from bytes, cut in all ways.
#include "http/parser.hpp"

#include <leash/http.hpp>

#include "hostile.hpp"
#include "support/support.hpp"

namespace leash::test::http_tests {

using namespace http;

/// As a connection does it. -1: more is needed; 0: taken; else the status with which it is refused.
static int take(std::string_view text, std::string& body, std::size_t piece = std::string_view::npos) {
  head_scan scan;
  head_scan::result found = head_scan::result::more;
  for (std::size_t n = std::min(piece, text.size());; n = std::min(n + piece, text.size())) {
    found = scan.look(text.substr(0, n));
    if (found != head_scan::result::more || n == text.size()) break;
  }
  if (found == head_scan::result::malformed) return 400;
  if (found == head_scan::result::more) return -1;
  message_parser<true> p;
  error_code ec;
  p.put(boost::asio::buffer(text.data(), scan.bytes()), ec);
  if (ec) return refused_with(ec, text);
  if (int const status = check_request(p)) return status;
  std::string left(text.substr(scan.bytes()));
  while (!p.is_done()) {
    std::size_t const used = p.put(boost::asio::buffer(left.data(), std::min(left.size(), piece)), ec);
    body += p.take_piece();
    left.erase(0, used);
    if (ec == boost::beast::http::error::need_more && piece < left.size()) {
      piece *= 2;  // as more arrives
      continue;
    }
    if (ec == boost::beast::http::error::need_more) return -1;
    if (ec) return refused_with(ec, {});
    if (used == 0 && left.empty()) return -1;
  }
  return 0;
}

TEST(Parser, TakesWhatIsRightHoweverItIsCut) {
  for (const sample& s : good_requests())
    for (std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{64}, std::string::npos}) {
      std::string body;
      EXPECT_EQ(take(s.text, body, piece), 0) << s.name << " by " << piece;
      EXPECT_EQ(body, s.body) << s.name << " by " << piece;
    }
}
TEST(Parser, RefusesWhatIsHostileHoweverItIsCut) {
  for (const sample& s : hostile_requests())
    for (std::size_t piece : {std::size_t{1}, std::size_t{7}, std::string::npos}) {
      std::string body;
      EXPECT_EQ(take(s.text, body, piece), s.status) << s.name << " by " << piece;
    }
}
TEST(Parser, WantsMoreOfWhatIsNotAllThere) {
  for (const sample& s : good_requests()) {
    std::size_t const head = s.text.find("\r\n\r\n") + 4;
    for (std::size_t n = 1; n < head; ++n) {
      std::string body;
      EXPECT_EQ(take(std::string_view(s.text).substr(0, n), body), -1) << s.name << " at " << n;
    }
  }
}
TEST(Parser, EachByteThatChangesIsTakenOrRefusedAndNeverRunsOver) {
  for (const sample& s : good_requests())
    for (std::size_t at = 0; at < s.text.size(); ++at)
      for (char c : {'\0', '\n', '\r', ' ', ':', '0', 'f', '\xff', ','}) {
        std::string changed = s.text;
        changed[at] = c;
        std::string body;
        int const r = take(changed, body);
        EXPECT_TRUE(r == -1 || r == 0 || (r >= 400 && r <= 505)) << r;
        EXPECT_LE(body.size(), changed.size());
      }
}

}  // namespace leash::test::http_tests
