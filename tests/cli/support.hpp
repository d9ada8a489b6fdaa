// Running the tool, and files for it.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace leash::cli::test {

namespace fs = std::filesystem;

struct outcome {
  int code = -1;  // the exit code; -1: ended by a signal
  std::string out, err;
};
/// Runs the tool; `in` goes to its standard input.
outcome run_tool(const std::vector<std::string>& arguments, const std::string& in = {});

inline std::string read_all(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// A folder that goes away with it.
class scratch {
 public:
  scratch() {
    std::string pattern = (fs::temp_directory_path() / "leash_cli_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  scratch(const scratch&) = delete;
  ~scratch() { fs::remove_all(path_); }
  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return (path_ / name).string();
  }
  std::string path(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

inline const fs::path corpus = CLI_CORPUS;

}  // namespace leash::cli::test
