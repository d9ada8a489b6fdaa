#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <leash/blocking.hpp>
#include <leash/http/files.hpp>
#include <system_error>

namespace leash::http {

namespace {

constexpr std::uint64_t small_file = 64 << 10;  // read in the same call that opens it

struct tree {
  int root;
  file_options o;
  explicit tree(int fd, file_options options) : root(fd), o(std::move(options)) {}
  tree(const tree&) = delete;
  ~tree() { ::close(root); }
};

struct opened {
  int fd = -1;
  int failure = 0;
  struct stat info{};
  bool redirect = false;  // a directory, asked for without its "/"
  std::string name;       // of the file
  std::string text;       // of a small one
  opened() = default;
  opened(opened&& o) noexcept
      : fd(std::exchange(o.fd, -1)),
        failure(o.failure),
        info(o.info),
        redirect(o.redirect),
        name(std::move(o.name)),
        text(std::move(o.text)) {}
  ~opened() {
    if (fd >= 0) ::close(fd);
  }
};

/// Opens each part without following links.
int open_by_parts(int root, std::string_view path, int flags) {
  int at = ::dup(root);
  while (at >= 0) {
    std::size_t const slash = path.find('/');
    std::string const part(path.substr(0, slash));
    bool const last = slash == path.npos;
    int const next = ::openat(at, part.empty() ? "." : part.c_str(),
                              last ? flags | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int const failure = errno;
    ::close(at);
    errno = failure;
    if (last || next < 0) return next;
    at = next;
    path.remove_prefix(slash + 1);
  }
  return at;
}

int open_beneath(int root, const std::string& path) {
  constexpr int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  open_how how{};
  how.flags = flags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  long const fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
  if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != EINVAL)) return static_cast<int>(fd);
  return open_by_parts(root, path, flags);
}

/// False: it is not one that is served, whatever is there.
bool proper(std::string_view path, bool hidden) {
  if (path.find('\0') != path.npos || path.starts_with('/')) return false;
  while (!path.empty()) {
    std::size_t const slash = std::min(path.find('/'), path.size());
    std::string_view const part = path.substr(0, slash);
    if (part == ".." || part == "." || (part.starts_with('.') && !hidden)) return false;
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return true;
}

opened open_file(const tree& t, std::string path) {
  opened f;
  bool const as_directory = path.empty() || path.ends_with('/');
  while (path.ends_with('/')) path.pop_back();
  f.fd = open_beneath(t.root, path.empty() ? "." : path);
  if (f.fd >= 0 && ::fstat(f.fd, &f.info) != 0) f.failure = errno;
  if (f.fd < 0) {
    f.failure = errno;
    return f;
  }
  if (S_ISDIR(f.info.st_mode)) {
    if (t.o.index.empty()) {
      f.failure = ENOENT;
      return f;
    }
    if (!as_directory) {
      f.redirect = true;
      return f;
    }
    path += path.empty() ? t.o.index : "/" + t.o.index;
    ::close(std::exchange(f.fd, -1));
    f.fd = open_beneath(t.root, path);
    if (f.fd < 0 || ::fstat(f.fd, &f.info) != 0) {
      f.failure = errno;
      return f;
    }
  } else if (as_directory) {
    f.failure = ENOENT;
    return f;
  }
  if (!S_ISREG(f.info.st_mode)) {
    f.failure = ENOENT;
    return f;
  }
  f.name = path.substr(path.rfind('/') + 1);
  if (static_cast<std::uint64_t>(f.info.st_size) <= small_file) {
    f.text.resize(static_cast<std::size_t>(f.info.st_size));
    std::size_t have = 0;
    while (have < f.text.size()) {
      ssize_t const n = ::pread(f.fd, f.text.data() + have, f.text.size() - have, static_cast<off_t>(have));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) f.failure = errno;
      if (n <= 0) break;
      have += static_cast<std::size_t>(n);
    }
    f.text.resize(have);
    f.info.st_size = static_cast<off_t>(have);
  }
  return f;
}

std::string date_text(time_t at) {
  char text[40];
  tm parts{};
  gmtime_r(&at, &parts);
  return {text, strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}
std::optional<time_t> date_from(std::string_view s) {
  tm parts{};
  std::string const copy(s);
  const char* const end = strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return timegm(&parts);
}

bool lists_tag(std::string_view list, std::string_view tag) {
  if (list == "*") return true;
  while (!list.empty()) {
    std::size_t const comma = std::min(list.find(','), list.size());
    std::string_view one = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    if (one.starts_with("W/")) one.remove_prefix(2);
    if (one == tag) return true;
  }
  return false;
}

struct range {
  enum class kind { none, part, unsatisfiable } what = kind::none;
  std::uint64_t first = 0, bytes = 0;
};
/// One range of bytes. More of them, or another unit, is as none: the whole file is a right answer to it.
range range_of(std::string_view field, std::uint64_t size) {
  range r;
  if (!field.starts_with("bytes=")) return r;
  field.remove_prefix(6);
  std::size_t const dash = field.find('-');
  if (dash == field.npos || field.find(',') != field.npos) return r;
  auto const number = [](std::string_view s, std::uint64_t& n) {
    auto const [end, ec] = std::from_chars(s.data(), s.data() + s.size(), n);
    return ec == std::errc() && end == s.data() + s.size();
  };
  std::uint64_t a = 0, b = UINT64_MAX;
  std::string_view const first = field.substr(0, dash), last = field.substr(dash + 1);
  if (first.empty()) {
    if (!number(last, b)) return r;
    if (b == 0 || size == 0) {
      r.what = range::kind::unsatisfiable;
      return r;
    }
    r = {range::kind::part, b >= size ? 0 : size - b, std::min(b, size)};
    return r;
  }
  if (!number(first, a) || (!last.empty() && (!number(last, b) || b < a))) return r;
  if (a >= size) {
    r.what = range::kind::unsatisfiable;
    return r;
  }
  r = {range::kind::part, a, std::min(b, size - 1) - a + 1};
  return r;
}

task<response> answer(const tree& t, request& q) {
  const std::string& path = q.param("path");
  if (!proper(path, t.o.hidden)) co_return response(404);
  opened f = co_await blocking([&] { return open_file(t, path); });
  if (f.redirect) co_return response::redirect(std::string(q.path()) + "/", 301);
  if (f.failure == EACCES) co_return response(403);
  if (f.failure == ENOENT || f.failure == ENOTDIR || f.failure == EXDEV || f.failure == ELOOP ||
      f.failure == ENAMETOOLONG || f.failure == ENXIO)
    co_return response(404);
  if (f.failure != 0) throw std::system_error(f.failure, std::generic_category(), "http: a file cannot be read");

  auto const size = static_cast<std::uint64_t>(f.info.st_size);
  char tag[48];
  std::snprintf(tag, sizeof tag, "\"%llx.%lx-%llx\"", static_cast<unsigned long long>(f.info.st_mtim.tv_sec),
                static_cast<unsigned long>(f.info.st_mtim.tv_nsec), static_cast<unsigned long long>(size));
  std::string const changed = date_text(f.info.st_mtim.tv_sec);
  response r;
  r.headers.add("ETag", tag).add("Last-Modified", changed).add("Accept-Ranges", "bytes");
  if (t.o.max_age.count() > 0) r.headers.add("Cache-Control", "max-age=" + std::to_string(t.o.max_age.count()));

  if (q.headers.has("If-None-Match")) {
    if (lists_tag(q.header("If-None-Match"), tag)) r.status = 304;
  } else if (auto const since = date_from(q.header("If-Modified-Since")); since && f.info.st_mtim.tv_sec <= *since) {
    r.status = 304;
  }
  if (r.status == 304) co_return r;
  r.headers.add("Content-Type", type_of_file(f.name));
  r.headers.add("X-Content-Type-Options", "nosniff");

  range part;
  if (q.method() == method::get) part = range_of(q.header("Range"), size);
  if (std::string_view const only_if = q.header("If-Range"); !only_if.empty() && only_if != tag && only_if != changed)
    part = {};
  if (part.what == range::kind::unsatisfiable) {
    r = response(416);
    r.headers.add("Content-Range", "bytes */" + std::to_string(size));
    co_return r;
  }
  std::uint64_t first = 0, bytes = size;
  if (part.what == range::kind::part) {
    first = part.first;
    bytes = part.bytes;
    r.status = 206;
    r.headers.add("Content-Range", "bytes " + std::to_string(first) + "-" + std::to_string(first + bytes - 1) + "/" +
                                       std::to_string(size));
  }
  if (size <= small_file) {
    r.body = bytes == size ? std::move(f.text) : f.text.substr(first, bytes);
  } else {
    r.body = file_part(std::exchange(f.fd, -1), first, bytes);
  }
  co_return r;
}

}  // namespace

std::string_view type_of_file(std::string_view name) noexcept {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 24> types = {{
      {"html", "text/html; charset=utf-8"},
      {"htm", "text/html; charset=utf-8"},
      {"css", "text/css; charset=utf-8"},
      {"js", "text/javascript; charset=utf-8"},
      {"mjs", "text/javascript; charset=utf-8"},
      {"json", "application/json"},
      {"txt", "text/plain; charset=utf-8"},
      {"md", "text/markdown; charset=utf-8"},
      {"csv", "text/csv; charset=utf-8"},
      {"xml", "application/xml"},
      {"svg", "image/svg+xml"},
      {"png", "image/png"},
      {"jpg", "image/jpeg"},
      {"jpeg", "image/jpeg"},
      {"gif", "image/gif"},
      {"webp", "image/webp"},
      {"ico", "image/x-icon"},
      {"pdf", "application/pdf"},
      {"wasm", "application/wasm"},
      {"woff", "font/woff"},
      {"woff2", "font/woff2"},
      {"mp4", "video/mp4"},
      {"zip", "application/zip"},
      {"gz", "application/gzip"},
  }};
  std::size_t const dot = name.rfind('.');
  if (dot != name.npos)
    for (const auto& [end, type] : types)
      if (same_name(name.substr(dot + 1), end)) return type;
  return "application/octet-stream";
}

handler files(const std::filesystem::path& root, file_options o) {
  int const fd = ::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "http::files: " + root.string());
  auto t = std::make_shared<const tree>(fd, std::move(o));
  return [t](request& q) { return answer(*t, q); };
}

}  // namespace leash::http
