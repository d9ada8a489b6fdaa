// Child processes. One dies with the object that stands for it, so with the context of the goroutine that owns it.
#pragma once
#include <csignal>
#include <leash/net/stream.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace leash::net {

/// What to run. A program's name without a slash is looked for in PATH. The child gets no descriptors but its standard ones.
struct command {
  enum class io { inherit, nothing, pipe };  // nothing: /dev/null

  std::string program;
  std::vector<std::string> arguments = {};  // without the program's name
  io in = io::nothing, out = io::inherit, err = io::inherit;
  std::string directory = {};                                // empty: this process's
  std::optional<std::vector<std::string>> environment = {};  // "NAME=value"; nullopt: this process's
  bool own_group = false;                                    // kill() reaches what it starts in turn
};

struct exit_status {
  bool signalled = false;  // ended by a signal
  int code = 0;            // the exit code, or the signal's number
  bool success() const noexcept { return !signalled && code == 0; }
};

class wait_operation;

/// A child process that was started.
///
/// The destructor kills one that still runs (SIGKILL) and waits for its end, which is a matter of microseconds.
/// Thread safety: one goroutine at a time; kill() from any.
class process {
 public:
  /// Errors: boost::system::system_error if it cannot be started.
  explicit process(const command&, std::source_location where = std::source_location::current());
  process(process&&) noexcept;
  process& operator=(process&&) noexcept;
  ~process();

  int id() const noexcept;
  /// Waits for its end. Wait reason: `IO wait`. Selectable. Afterwards it returns at once. Errors: none.
  /// Cancellation: first; the process goes on, until its object goes.
  wait_operation wait() noexcept;
  /// Sends a signal; false: it has ended.
  bool kill(int signal = SIGKILL) noexcept;
  /// Asks it to end (SIGTERM), waits for `grace`, then kills it; waits for the end in any case.
  task<exit_status> terminate(std::chrono::nanoseconds grace);

  /// This end of what was to be a pipe: `in` is written to, `out` and `err` are read. close() in ends its input.
  stream in, out, err;

 private:
  friend class child_wait;
  friend class wait_operation;
  struct state;
  std::unique_ptr<state> state_;
};

class child_wait : public fd_wait {
 public:
  explicit child_wait(wait_operation& op) noexcept;
  bool fast() noexcept;
  bool attempt() noexcept;
  exit_status result();

 private:
  static const kind how;
  process::state* child_;
};

class [[nodiscard]] wait_operation : public operation_base {
 public:
  using wait_type = child_wait;
  using value_type = exit_status;
  using result_type = exit_status;
  explicit wait_operation(process::state* s) noexcept : child_(s) {}

 private:
  friend class child_wait;
  process::state* child_;
};

struct output {
  exit_status status;
  std::string out, err;
};
/// Runs a command to its end with this input, and gives what it wrote. Cancellation: it is killed.
/// Errors: boost::system::system_error if it cannot be started.
task<output> run_command(command c, std::string input = {});

}  // namespace leash::net
