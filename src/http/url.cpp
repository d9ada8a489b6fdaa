#include <algorithm>
#include <charconv>
#include <leash/http/client.hpp>

namespace leash::http {

namespace {

failure bad(std::string_view text) {
  return failure(failure::kind::bad_url, "'" + std::string(text.substr(0, 200)) + "' is no URL that can be asked");
}

/// "/a/./b/../c" is "/a/c".
std::string without_dots(std::string_view path) {
  std::string_view const query = path.substr(std::min(path.find('?'), path.size()));
  path.remove_suffix(query.size());
  std::string out;
  while (!path.empty()) {
    std::size_t const next = std::min(path.find('/', 1), path.size());
    std::string_view const segment = path.substr(0, next);
    path.remove_prefix(next);
    if (segment == "/..") {
      out.resize(out.rfind('/') == out.npos ? 0 : out.rfind('/'));
      if (path.empty()) out += '/';
    } else if (segment == "/.") {
      if (path.empty()) out += '/';
    } else {
      out += segment;
    }
  }
  if (out.empty()) out = "/";
  return out + std::string(query);
}

}  // namespace

url url::parse(std::string_view text) {
  std::string_view const all = text;
  for (char c : text)
    if (static_cast<unsigned char>(c) <= ' ' || c == '\x7f' || c == '\\') throw bad(all);
  url u;
  std::size_t const scheme = text.find("://");
  if (scheme == text.npos) throw bad(all);
  if (same_name(text.substr(0, scheme), "https")) {
    u.secure = true;
  } else if (!same_name(text.substr(0, scheme), "http")) {
    throw bad(all);
  }
  u.port = u.secure ? 443 : 80;
  text.remove_prefix(scheme + 3);
  std::size_t const end = std::min(text.find_first_of("/?#"), text.size());
  std::string_view place = text.substr(0, end);
  text.remove_prefix(end);
  if (place.find('@') != place.npos) throw bad(all);
  if (place.starts_with('[')) {
    std::size_t const close = place.find(']');
    if (close == place.npos) throw bad(all);
    u.host = place.substr(1, close - 1);
    place.remove_prefix(close + 1);
  } else {
    std::size_t const colon = std::min(place.find(':'), place.size());
    u.host = place.substr(0, colon);
    place.remove_prefix(colon);
  }
  if (u.host.empty()) throw bad(all);
  if (!place.empty() && place != ":") {
    auto const [last, ec] = std::from_chars(place.data() + 1, place.data() + place.size(), u.port);
    if (place.front() != ':' || ec != std::errc() || last != place.data() + place.size() || u.port == 0) throw bad(all);
  }
  text = text.substr(0, text.find('#'));
  u.target = text.starts_with('/') ? std::string(text) : "/" + std::string(text);
  return u;
}

url url::resolved(std::string_view reference) const {
  if (std::size_t const scheme = reference.find("://");
      scheme != reference.npos && reference.find_first_of("/?#") > scheme)
    return parse(reference);
  if (reference.starts_with("//")) return parse((secure ? "https:" : "http:") + std::string(reference));
  std::string_view const mine = std::string_view(target).substr(0, target.find('?'));
  if (reference.starts_with('/')) return parse(origin() + without_dots(reference));
  if (reference.starts_with('?')) return parse(origin() + std::string(mine) + std::string(reference));
  return parse(origin() + without_dots(std::string(mine.substr(0, mine.rfind('/') + 1)) + std::string(reference)));
}

std::string url::origin() const {
  bool const six = host.find(':') != host.npos;
  return std::string(secure ? "https://" : "http://") + (six ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string url::authority() const {
  bool const six = host.find(':') != host.npos;
  return (six ? "[" + host + "]" : host) + (port == (secure ? 443 : 80) ? "" : ":" + std::to_string(port));
}

}  // namespace leash::http
