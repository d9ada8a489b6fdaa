// How the library fills in what users only read.
#pragma once
#include <leash/http/message.hpp>

namespace leash::http {

struct request_access {
  /// The request line "GET /path HTTP/1.1" and what it consists of. Targets: origin form, absolute form ("http://host/path":
  /// the path is what follows the host), "*", and the authority of CONNECT (no path).
  static void set_line(request& r, std::string_view line, std::string_view method_name, std::string_view target,
                       int version);
  static void set_body(request& r, body_source* source, std::optional<std::uint64_t> length) noexcept {
    r.body_ = source;
    r.length_ = length;
  }
  static void set_connection(request& r, const connection& from, const std::string* remote, bool secure) noexcept {
    r.connection_ = &from;
    r.remote_ = remote;
    r.secure_ = secure;
  }
  static void set_route(request& r, std::string_view pattern) noexcept { r.route_ = pattern; }
  /// What a large head needed is not kept while the connection is idle.
  static void shrink(request& r) noexcept {
    if (r.head_.capacity() > 512) std::string().swap(r.head_);
    if (r.headers.lines().capacity() > 1024) std::string().swap(r.headers.lines());
  }
};

}  // namespace leash::http
