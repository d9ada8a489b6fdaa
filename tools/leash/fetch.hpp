// One GET over HTTP, HTTPS or a Unix domain socket, bounded in time and size.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace leash::cli {

struct address {
  std::string scheme;  // http, https or unix
  std::string user;    // "name:password", or empty
  std::string host;    // unix: the path of the socket
  std::string port;    // unix: empty
  std::string path;    // begins with a slash; no query
  std::string query;   // without its question mark

  std::string text() const;  // without the user and what follows token=
};

bool is_address(const std::string& text);
/// Throws input_error. "host:6060" is taken for http://host:6060; "unix:SOCKET" and "unix:SOCKET:/PATH" are a socket's.
address parse_address(const std::string& text);

struct fetch_options {
  std::chrono::milliseconds timeout{30'000};  // for the whole of it
  std::size_t most = std::size_t{256} << 20;  // bytes
  std::vector<std::string> headers;           // "Name: value"
  bool insecure = false;                      // https without asking who answers
};

/// Bytes of JSON that are read: taken apart it needs some thirty times as much memory.
inline constexpr std::size_t most_json = std::size_t{8} << 20;

struct answer {
  unsigned status = 0;
  std::string body;
};

/// Any thread. Throws input_error when there is no answer; any status is an answer. Follows redirections.
answer fetch(const address& a, const fetch_options& o);

std::string base64(std::string_view s);

}  // namespace leash::cli
