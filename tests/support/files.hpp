// Folders and processes of the tests, gone with the tests.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "support/support.hpp"

namespace leash::test {

/// A folder that goes with the object.
class folder {
 public:
  folder() {
    std::string name = (std::filesystem::temp_directory_path() / "leash_test_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  folder(const folder&) = delete;
  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  /// Writes a file, and the folders that it lies in; returns where it is.
  std::string write(const std::string& name, std::string_view content) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << content;
    return file(name);
  }

 private:
  std::filesystem::path path_;
};

inline std::vector<std::string> lines_of(const std::string& file) {
  std::vector<std::string> all;
  std::ifstream in(file);
  for (std::string l; std::getline(in, l);) all.push_back(l);
  return all;
}

/// Where a program is, as a shell finds it, and where Debian puts servers, where users' paths do not lead. Empty: nowhere.
inline std::string program(const std::string& name) {
  std::string path = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "";
  path += ":/usr/sbin";
  for (std::size_t from = 0; from < path.size();) {
    std::size_t const to = std::min(path.find(':', from), path.size());
    std::string const there = path.substr(from, to - from) + "/" + name;
    if (::access(there.c_str(), X_OK) == 0) return there;
    from = to + 1;
  }
  return {};
}

/// Polls, from a thread that is no worker.
template <class F>
bool eventually_here(F f, std::chrono::milliseconds at_most = 60s) {
  for (auto const end = std::chrono::steady_clock::now() + at_most; !f();) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

/// A process; killed if it is still there at the end, also if the test crashes: with the thread that started it, so that
/// one must live as long.
class process {
 public:
  /// out, error: files that its output is added to; empty: it goes where the test's goes.
  explicit process(std::vector<std::string> args, const std::string& out = {}, const std::string& error = {}) {
    if (!args[0].starts_with('/') && program(args[0]).empty())
      throw std::system_error(ENOENT, std::generic_category(), args[0]);
    args.insert(args.begin(), {"setpriv", "--pdeathsig=KILL", "--"});
    std::vector<char*> argv;
    for (auto& a : args) argv.push_back(a.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    constexpr int how = O_WRONLY | O_CREAT | O_APPEND;
    if (!out.empty()) posix_spawn_file_actions_addopen(&files, 1, out.c_str(), how, 0666);
    if (!error.empty()) posix_spawn_file_actions_addopen(&files, 2, error.c_str(), how, 0666);
    int const r = ::posix_spawnp(&pid_, argv[0], &files, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    if (r != 0) throw std::system_error(r, std::generic_category(), args[0]);
  }
  process(const process&) = delete;
  ~process() {
    if (pid_ > 0) kill();
  }
  pid_t id() const { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }
  /// False: it has ended, and wait() returns at once.
  bool runs() const {
    siginfo_t ended{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == 0;
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
