#include <unistd.h>

#include <algorithm>
#include <array>
#include <leash/http/message.hpp>

#include "access.hpp"

namespace leash::http {

namespace {

constexpr std::array<std::string_view, 10> method_names = {"GET",     "HEAD",    "POST",  "PUT",   "DELETE",
                                                           "CONNECT", "OPTIONS", "TRACE", "PATCH", ""};

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

constexpr bool token_char(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

std::string_view trimmed(std::string_view s) noexcept {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

int hex(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

std::string_view name_of(method m) noexcept { return method_names[static_cast<std::size_t>(m)]; }

method method_of(std::string_view name) noexcept {
  for (std::size_t i = 0; i + 1 < method_names.size(); ++i)
    if (method_names[i] == name) return static_cast<method>(i);
  return method::other;
}

bool idempotent(method m) noexcept {
  switch (m) {
    case method::get:
    case method::head:
    case method::put:
    case method::delete_:
    case method::options:
    case method::trace:
      return true;
    default:
      return false;
  }
}

std::string_view reason_of(int status) noexcept {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 203:
      return "Non-Authoritative Information";
    case 204:
      return "No Content";
    case 205:
      return "Reset Content";
    case 206:
      return "Partial Content";
    case 300:
      return "Multiple Choices";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 422:
      return "Unprocessable Content";
    case 425:
      return "Too Early";
    case 426:
      return "Upgrade Required";
    case 428:
      return "Precondition Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

bool same_name(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

bool has_token(std::string_view list, std::string_view token) noexcept {
  while (!list.empty()) {
    std::size_t const comma = std::min(list.find(','), list.size());
    if (same_name(trimmed(list.substr(0, comma)), token)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

// --- fields

void fields::iterator::read() noexcept {
  std::size_t const end = rest_.find('\n');
  if (end == rest_.npos) {
    line_ = 0;
    return;
  }
  line_ = end + 1;
  std::string_view line = rest_.substr(0, end);
  if (line.ends_with('\r')) line.remove_suffix(1);
  std::size_t const colon = std::min(line.find(':'), line.size());
  now_.name = line.substr(0, colon);
  now_.value = trimmed(line.substr(std::min(colon + 1, line.size())));
}

std::string_view fields::get(std::string_view name) const noexcept {
  for (const field& f : *this)
    if (same_name(f.name, name)) return f.value;
  return {};
}
bool fields::has(std::string_view name) const noexcept { return count(name) != 0; }
std::size_t fields::count(std::string_view name) const noexcept {
  std::size_t n = 0;
  for (const field& f : *this) n += same_name(f.name, name) ? 1 : 0;
  return n;
}

fields& fields::add(std::string_view name, std::string_view value) {
  if (name.empty() || !std::all_of(name.begin(), name.end(), token_char))
    throw std::invalid_argument("http: '" + std::string(name) + "' is no name of a header field");
  if (value.find_first_of(std::string_view("\r\n\0", 3)) != value.npos)
    throw std::invalid_argument("http: the value of " + std::string(name) + " holds a line break or a NUL");
  lines_.reserve(lines_.size() + name.size() + value.size() + 4);
  lines_.append(name).append(": ").append(value).append("\r\n");
  return *this;
}

fields& fields::set(std::string_view name, std::string_view value) {
  if (lines_.empty()) return add(name, value);
  std::string const kept(value);  // it may be one of ours
  return remove(name).add(name, kept);
}

fields& fields::remove(std::string_view name) {
  std::size_t at = 0;
  while (at < lines_.size()) {
    std::size_t const next = lines_.find('\n', at) + 1;
    std::string_view const line(lines_.data() + at, next - at);
    if (same_name(line.substr(0, line.find(':')), name)) {
      lines_.erase(at, next - at);
    } else {
      at = next;
    }
  }
  return *this;
}

// --- requests

std::optional<std::string> percent_decoded(std::string_view s, bool plus_is_space) {
  std::string out;
  out.reserve(s.size());
  for (std::size_t i = 0; i < s.size(); ++i) {
    char c = s[i];
    if (c == '+' && plus_is_space) {
      c = ' ';
    } else if (c == '%') {
      if (i + 2 >= s.size()) return std::nullopt;
      int const high = hex(s[i + 1]), low = hex(s[i + 2]);
      if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    out.push_back(c);
  }
  return out;
}

std::string_view request::query_text() const noexcept {
  std::size_t const after = path_at_ + path_bytes_;
  std::string_view const t = target();
  return after < t.size() && t[after] == '?' ? t.substr(after + 1) : std::string_view();
}

std::optional<std::string> request::query(std::string_view name) const {
  std::string_view rest = query_text();
  while (!rest.empty()) {
    std::size_t const end = std::min(rest.find('&'), rest.size());
    std::string_view const pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    std::size_t const equals = std::min(pair.find('='), pair.size());
    auto const key = percent_decoded(pair.substr(0, equals), true);
    if (key && *key == name) return percent_decoded(pair.substr(std::min(equals + 1, pair.size())), true);
  }
  return std::nullopt;
}

const std::string& request::param(std::string_view name) const {
  for (const auto& [n, value] : params_)
    if (n == name) return value;
  throw std::out_of_range("http: the route '" + std::string(route_) + "' has no parameter '" + std::string(name) + "'");
}

const std::string& request::remote() const noexcept {
  static const std::string nobody;
  return remote_ != nullptr ? *remote_ : nobody;
}

task<std::optional<std::string_view>> request::read() {
  if (body_ == nullptr) co_return std::nullopt;
  co_return co_await body_->read();
}

task<std::string> request::text(std::size_t most) {
  std::string all;
  if (body_ == nullptr) co_return all;
  if (length_ && *length_ > most) throw error(413);
  while (auto piece = co_await body_->read()) {
    if (piece->size() > most - all.size()) throw error(413);
    all.append(*piece);
  }
  co_return all;
}

// --- responses

file_part& file_part::operator=(file_part&& o) noexcept {
  std::swap(fd, o.fd);
  offset = o.offset;
  bytes = o.bytes;
  return *this;
}
file_part::~file_part() {
  if (fd >= 0) ::close(fd);
}

response::response(int s) : status(s) {
  if (s >= 400) {
    body = std::string(reason_of(s)) + "\n";
    headers.add("Content-Type", "text/plain; charset=utf-8");
  }
}

response response::stream(receiver<std::string> pieces, std::string_view type) {
  response r;
  r.headers.add("Content-Type", type);
  r.body = std::move(pieces);
  return r;
}

response response::redirect(std::string_view where, int status) {
  response r(status);
  r.headers.add("Location", where);
  return r;
}

}  // namespace leash::http
