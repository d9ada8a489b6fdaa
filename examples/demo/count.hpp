// Counting files as coreutils' wc does, without concurrency: lists a directory, reads files, counts lines, words and
// bytes. The pipeline calls these functions from its goroutines, the sequential rival from one thread.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace demo {

/// What makes a run of non-space bytes a word in the C locale. wc asked for a printable byte in it until coreutils 9.4,
/// and takes any since 9.5; this matters in binary files.
enum class word_rule { printable, any };

/// The rule of the wc installed here, found by trying it. Runs a shell command: blocks.
word_rule rule_of_wc();

struct counts {
  std::uint64_t files = 0, lines = 0, words = 0, bytes = 0;
  counts& operator+=(const counts& more);
  bool operator==(const counts&) const = default;
};

/// Counts one file that arrives in pieces: a word may cross from one piece into the next.
class word_counter {
 public:
  explicit word_counter(word_rule rule);
  void feed(std::string_view piece);
  /// What was fed since the last call, as one file.
  counts finish();

 private:
  const std::uint8_t* classes_;
  bool in_word_ = false;
  counts sum_;
};

/// A file or directory that could not be read, and errno's word for it.
struct problem {
  std::string path;
  int error;
};

/// One directory, by kind; symbolic links and special files are counted, never followed or opened.
struct listing {
  std::vector<std::string> directories, files;  // full paths; names within the directory
  std::size_t links = 0, special = 0;
  std::optional<problem> failed;
};
listing list_directory(const std::string& path);

/// Files of one directory, to be read together: one trip to the blocking pool fills a whole buffer.
struct batch {
  std::string directory;
  std::vector<std::string> names;
};
std::vector<batch> make_batches(const std::string& directory, std::vector<std::string> names);

/// Reads the files of a batch one after the other, a buffer at a time. Holds at most one open file.
class file_feed {
 public:
  struct piece {
    std::size_t file;       // index in the batch's names
    std::string_view data;  // in the buffer given to fill
    bool last;              // the file ends here
  };
  explicit file_feed(batch files);
  file_feed(const file_feed&) = delete;
  file_feed& operator=(const file_feed&) = delete;
  ~file_feed();
  /// Fills the buffer with the next pieces; false: all files have been read. Blocks.
  bool fill(std::span<char> buffer);
  const std::vector<piece>& pieces() const { return pieces_; }
  const std::string& name(std::size_t file) const { return files_.names[file]; }
  std::vector<problem> problems;

 private:
  bool open_next();
  void close_file(int error);

  batch files_;
  std::size_t next_ = 0;
  int fd_ = -1;
  std::vector<piece> pieces_;
};

/// The extension in lower case; "(none)" for names without one.
std::string type_of(std::string_view name);

using by_type = std::map<std::string, counts>;
void merge(by_type& into, const by_type& more);
counts total(const by_type& all);

/// Adds the pieces that were read to the table; `counter` carries a file that is not yet over.
void count_pieces(const file_feed& feed, word_counter& counter, by_type& table);

/// The rival: the same tree in one thread. Nothing if `stop` was set meanwhile.
std::optional<by_type> count_sequentially(const std::string& root, word_rule rule, const std::atomic<bool>& stop);

}  // namespace demo
