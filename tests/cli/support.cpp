#include "support.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace leash::cli::test {

outcome run_tool(const std::vector<std::string>& arguments, const std::string& in) {
  const scratch s;
  const std::string input = s.write("in", in), out = s.path("out"), err = s.path("err");
  std::vector<std::string> words = {CLI_TOOL};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, input.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT, 0600);
  pid_t pid = -1;
  const int rc = posix_spawn(&pid, CLI_TOOL, &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  outcome result;
  int status = 0;
  if (rc == 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status)) result.code = WEXITSTATUS(status);
  result.out = read_all(out);
  result.err = read_all(err);
  return result;
}

}  // namespace leash::cli::test
