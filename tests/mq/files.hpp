// Folders and processes of the tests, gone with the tests.
#pragma once
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/support.hpp"

namespace leash::test {

/// A folder that goes with the object.
class folder {
 public:
  folder() {
    std::string name = (std::filesystem::temp_directory_path() / "leash_mq_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  folder(const folder&) = delete;
  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline std::vector<std::string> lines_of(const std::string& file) {
  std::vector<std::string> all;
  std::ifstream in(file);
  for (std::string l; std::getline(in, l);) all.push_back(l);
  return all;
}

/// A process; killed if it is still there at the end.
class process {
 public:
  explicit process(std::vector<std::string> args) {
    std::vector<char*> argv;
    for (auto& a : args) argv.push_back(a.data());
    argv.push_back(nullptr);
    if (int const r = ::posix_spawnp(&pid_, argv[0], nullptr, nullptr, argv.data(), environ); r != 0)
      throw std::system_error(r, std::generic_category(), args[0]);
  }
  process(const process&) = delete;
  ~process() {
    if (pid_ > 0) kill();
  }
  void kill() {
    ::kill(pid_, SIGKILL);
    (void)wait();
  }
  /// Its exit code; -1: it was killed.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_ = 0;
};

}  // namespace leash::test
