// What the endpoints and the HTTP server say to each other. Nothing here knows of sockets.
#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leash::debug {

struct request {
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;  // decoded
  /// The first of that name; empty: none.
  std::string_view operator[](std::string_view name) const noexcept {
    for (auto& [k, v] : query)
      if (k == name) return v;
    return {};
  }
};
/// "/path?a=b&c", percent-decoded. Nullopt: it is malformed.
std::optional<request> parse_target(std::string_view target);

/// The body of a reply, made piece by piece on the server's thread: between two pieces others are served.
class source {
 public:
  source() = default;
  source(const source&) = delete;
  virtual ~source() = default;
  /// Works for some milliseconds at most and appends what is ready, perhaps nothing. False: that was the last.
  virtual bool more(std::string& out) = 0;
  /// While there is nothing to do: when to ask again.
  virtual std::chrono::steady_clock::time_point not_before() const { return {}; }
};

struct reply {
  unsigned status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
  std::unique_ptr<source> stream;                            // instead of body
  std::vector<std::pair<std::string, std::string>> headers;  // further ones
};

inline reply failure(unsigned status, std::string text) {
  reply r;
  r.status = status;
  r.body = std::move(text) + "\n";
  return r;
}

}  // namespace leash::debug
