#include "count.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace demo {
namespace {

constexpr std::uint8_t starts_word = 1, keeps_state = 2, ends_line = 4;

constexpr bool is_space(int b) { return b == ' ' || (b >= '\t' && b <= '\r'); }
constexpr std::array<std::uint8_t, 256> classify(word_rule rule) {
  std::array<std::uint8_t, 256> classes{};
  for (int b = 0; b < 256; ++b) {
    bool printable = b > ' ' && b < 127;
    if (b == '\n')
      classes[b] = ends_line;
    else if (is_space(b))
      classes[b] = 0;
    else
      classes[b] = printable || rule == word_rule::any ? starts_word : keeps_state;
  }
  return classes;
}
constexpr auto printable_classes = classify(word_rule::printable);
constexpr auto any_classes = classify(word_rule::any);

std::string join(const std::string& directory, std::string_view name) {
  std::string path = directory;
  if (!path.ends_with('/')) path += '/';
  return path += name;
}

}  // namespace

word_rule rule_of_wc() {
  unsigned words = 0;
  if (FILE* wc = ::popen("printf '\\001' | LC_ALL=C wc -w", "re")) {
    if (std::fscanf(wc, "%u", &words) != 1) words = 0;
    ::pclose(wc);
  }
  return words == 1 ? word_rule::any : word_rule::printable;
}

counts& counts::operator+=(const counts& more) {
  files += more.files;
  lines += more.lines;
  words += more.words;
  bytes += more.bytes;
  return *this;
}

word_counter::word_counter(word_rule rule)
    : classes_((rule == word_rule::any ? any_classes : printable_classes).data()) {}

void word_counter::feed(std::string_view piece) {
  unsigned in_word = in_word_;
  std::uint64_t words = 0, lines = 0;
  for (char c : piece) {
    unsigned kind = classes_[static_cast<unsigned char>(c)];
    unsigned starts = kind & starts_word;
    words += starts & ~in_word;
    in_word = starts | (in_word & (kind >> 1));  // keeps_state is the bit above starts_word
    lines += kind >> 2;
  }
  in_word_ = in_word & 1;
  sum_ += {0, lines, words, piece.size()};
}

counts word_counter::finish() {
  in_word_ = false;
  sum_.files = 1;
  return std::exchange(sum_, {});
}

listing list_directory(const std::string& path) {
  listing found;
  DIR* dir = ::opendir(path.c_str());
  if (!dir) {
    found.failed = problem{path, errno};
    return found;
  }
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir);
    if (!entry) {
      if (errno != 0) found.failed = problem{path, errno};
      break;
    }
    std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    unsigned char kind = entry->d_type;
    if (struct stat st; kind == DT_UNKNOWN && ::fstatat(::dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
      kind = IFTODT(st.st_mode);
    if (kind == DT_DIR)
      found.directories.push_back(join(path, name));
    else if (kind == DT_REG)
      found.files.emplace_back(name);
    else if (kind == DT_LNK)
      ++found.links;
    else
      ++found.special;
  }
  ::closedir(dir);
  return found;
}

std::vector<batch> make_batches(const std::string& directory, std::vector<std::string> names) {
  constexpr std::size_t most = 32;
  std::vector<batch> batches;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i % most == 0) batches.push_back({directory, {}});
    batches.back().names.push_back(std::move(names[i]));
  }
  return batches;
}

file_feed::file_feed(batch files) : files_(std::move(files)) {}

file_feed::~file_feed() {
  if (fd_ >= 0) ::close(fd_);
}

bool file_feed::open_next() {
  while (fd_ < 0 && next_ < files_.names.size()) {
    // The walk saw a regular file; should it be a link or a pipe by now, neither is followed nor waited for.
    fd_ = ::open(join(files_.directory, files_.names[next_]).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd_ >= 0) return true;
    problems.push_back({join(files_.directory, files_.names[next_++]), errno});
  }
  return fd_ >= 0;
}

void file_feed::close_file(int error) {
  if (error != 0) problems.push_back({join(files_.directory, files_.names[next_]), error});
  ::close(fd_);
  fd_ = -1;
  ++next_;
}

bool file_feed::fill(std::span<char> buffer) {
  constexpr std::size_t too_little = 4096;
  pieces_.clear();
  std::size_t used = 0;
  while (buffer.size() - used >= too_little && open_next()) {
    std::size_t begin = used;
    ssize_t got;
    do {
      got = ::read(fd_, buffer.data() + used, buffer.size() - used);
      if (got > 0) used += static_cast<std::size_t>(got);
    } while (used < buffer.size() && (got > 0 || (got < 0 && errno == EINTR)));
    pieces_.push_back({next_, {buffer.data() + begin, used - begin}, got <= 0});
    if (got <= 0) close_file(got < 0 ? errno : 0);
  }
  return !pieces_.empty();
}

std::string type_of(std::string_view name) {
  constexpr std::size_t longest = 10;
  std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || dot + 1 == name.size() || name.size() - dot - 1 > longest)
    return "(none)";
  std::string type;
  for (char c : name.substr(dot + 1)) {
    bool upper = c >= 'A' && c <= 'Z';
    if (!upper && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '+') return "(none)";
    type += upper ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return type;
}

void merge(by_type& into, const by_type& more) {
  for (const auto& [type, sum] : more) into[type] += sum;
}

counts total(const by_type& all) {
  counts sum;
  for (const auto& [type, part] : all) sum += part;
  return sum;
}

void count_pieces(const file_feed& feed, word_counter& counter, by_type& table) {
  for (const file_feed::piece& p : feed.pieces()) {
    counter.feed(p.data);
    if (p.last) table[type_of(feed.name(p.file))] += counter.finish();
  }
}

std::optional<by_type> count_sequentially(const std::string& root, word_rule rule, const std::atomic<bool>& stop) {
  by_type table;
  std::vector<char> buffer(256 * 1024);
  std::vector<std::string> todo{root};
  while (!todo.empty()) {
    std::string directory = std::move(todo.back());
    todo.pop_back();
    listing found = list_directory(directory);
    for (std::string& sub : found.directories) todo.push_back(std::move(sub));
    for (batch& b : make_batches(directory, std::move(found.files))) {
      file_feed feed(std::move(b));
      word_counter counter(rule);
      while (feed.fill(buffer)) {
        if (stop) return std::nullopt;
        count_pieces(feed, counter, table);
      }
    }
    if (stop) return std::nullopt;
  }
  return table;
}

}  // namespace demo
