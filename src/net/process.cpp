#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <leash/net/process.hpp>
#include <leash/scope.hpp>
#include <leash/select.hpp>
#include <leash/sleep.hpp>

#include "system.hpp"

extern char** environ;

namespace leash::net {

struct process::state {
  pid_t id = 0;
  bool group = false;
  descriptor fd;  // of the process (pidfd)
  std::optional<exit_status> ended;

  /// True: it has ended, and is known to have.
  bool look(int flags) noexcept {
    if (ended) return true;
    siginfo_t info{};
    int r;
    do r = ::waitid(P_PID, static_cast<id_t>(id), &info, WEXITED | flags);
    while (r != 0 && errno == EINTR);
    if (r != 0) {
      ended =
          exit_status{false, -1};  // somebody else has asked for its end (a handler of SIGCHLD): how it ended is lost
    } else if (info.si_pid == 0) {
      return false;
    } else {
      ended = exit_status{info.si_code != CLD_EXITED, info.si_status};
    }
    return true;
  }
};

namespace {

void check(int number) {
  if (number != 0) throw system_error(system_code(number));
}

struct actions {
  posix_spawn_file_actions_t all;
  actions() { check(posix_spawn_file_actions_init(&all)); }
  actions(const actions&) = delete;
  ~actions() { posix_spawn_file_actions_destroy(&all); }
};
struct attributes {
  posix_spawnattr_t all;
  attributes() { check(posix_spawnattr_init(&all)); }
  attributes(const attributes&) = delete;
  ~attributes() { posix_spawnattr_destroy(&all); }
};

struct two_ends {
  raw_fd ours, theirs;
};
/// Its input is a socket, so that writing to a child that is gone raises no signal.
two_ends make_ends(bool input) {
  int fds[2];
  if ((input ? ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) : ::pipe2(fds, O_CLOEXEC)) != 0) throw_errno();
  return {raw_fd(fds[0]), raw_fd(fds[1])};
}

std::vector<char*> pointers(const std::string* first, const std::vector<std::string>& rest) {
  std::vector<char*> p;
  if (first != nullptr) p.push_back(const_cast<char*>(first->c_str()));
  for (const std::string& s : rest) p.push_back(const_cast<char*>(s.c_str()));
  p.push_back(nullptr);
  return p;
}

}  // namespace

process::process(const command& c, std::source_location where) : state_(std::make_unique<state>()) {
  actions a;
  std::optional<two_ends> ends[3];
  command::io const kinds[] = {c.in, c.out, c.err};
  for (int i = 0; i < 3; ++i) {
    if (kinds[i] == command::io::nothing) {
      check(posix_spawn_file_actions_addopen(&a.all, i, "/dev/null", i == 0 ? O_RDONLY : O_WRONLY, 0));
    } else if (kinds[i] == command::io::pipe) {
      ends[i].emplace(make_ends(i == 0));
      check(posix_spawn_file_actions_adddup2(&a.all, ends[i]->theirs.get(), i));
    }
  }
  check(posix_spawn_file_actions_addclosefrom_np(&a.all, 3));
  if (!c.directory.empty()) check(posix_spawn_file_actions_addchdir_np(&a.all, c.directory.c_str()));
  attributes at;
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  check(posix_spawnattr_setsigmask(&at.all, &none));
  check(posix_spawnattr_setsigdefault(&at.all, &all));
  if (c.own_group) {
    flags |= POSIX_SPAWN_SETPGROUP;
    check(posix_spawnattr_setpgroup(&at.all, 0));
  }
  check(posix_spawnattr_setflags(&at.all, flags));
  std::vector<char*> const arguments = pointers(&c.program, c.arguments);
  std::vector<char*> variables;
  if (c.environment) variables = pointers(nullptr, *c.environment);
  check(posix_spawnp(&state_->id, c.program.c_str(), &a.all, &at.all, arguments.data(),
                     c.environment ? variables.data() : environ));
  state_->group = c.own_group;
  try {
    int const fd = static_cast<int>(::syscall(SYS_pidfd_open, state_->id, 0));
    if (fd < 0) throw_errno();
    state_->fd = descriptor(fd, where);
    stream* const mine[] = {&in, &out, &err};
    for (int i = 0; i < 3; ++i)
      if (ends[i]) *mine[i] = stream(ends[i]->ours.release(), where);
  } catch (...) {
    kill();
    state_->look(0);
    throw;
  }
}

process::process(process&&) noexcept = default;
process& process::operator=(process&& o) noexcept {
  process old(std::move(*this));
  in = std::move(o.in);
  out = std::move(o.out);
  err = std::move(o.err);
  state_ = std::move(o.state_);
  return *this;
}
process::~process() {
  if (state_ == nullptr || state_->look(WNOHANG)) return;
  kill();
  state_->look(0);
}

int process::id() const noexcept { return state_ != nullptr ? state_->id : 0; }
bool process::kill(int signal) noexcept {
  if (state_ == nullptr || state_->ended) return false;
  return ::kill(state_->group ? -state_->id : state_->id, signal) == 0;
}

const fd_wait::kind child_wait::how = fd_wait::kind_of<child_wait>(false);
child_wait::child_wait(wait_operation& op) noexcept : fd_wait(how, op.child_->fd, nullptr), child_(op.child_) {}
bool child_wait::fast() noexcept { return (polled() || child_->ended) && attempt(); }
bool child_wait::attempt() noexcept { return came_ = child_->look(WNOHANG); }
exit_status child_wait::result() {
  succeeded();
  return *child_->ended;
}
wait_operation process::wait() noexcept { return wait_operation(state_.get()); }

task<exit_status> process::terminate(std::chrono::nanoseconds grace) {
  kill(SIGTERM);
  auto const r = co_await select(wait(), sleep(grace));
  if (r.index() == 1) kill();
  co_return co_await wait();
}

static task<> drain(stream& from, std::string& to) {
  char buffer[4096];
  while (std::size_t const n = co_await from.read_some(buffer)) to.append(buffer, n);
}

static task<> feed(stream& to, const std::string& all) {
  try {
    co_await to.write_all(all);
  } catch (const system_error& e) {
    // It need not read all of its input.
    if (e.code() != asio::error::broken_pipe && e.code() != asio::error::connection_reset) throw;
  }
  to.close();
}

task<output> run_command(command c, std::string input) {
  c.in = input.empty() ? command::io::nothing : command::io::pipe;
  c.out = c.err = command::io::pipe;
  process p(c);
  output o;
  co_await with_scope([&](scope& s) -> task<> {
    if (!input.empty()) s.go(named("to the child"), feed, std::ref(p.in), std::cref(input));
    s.go(named("from the child"), drain, std::ref(p.out), std::ref(o.out));
    s.go(named("from the child"), drain, std::ref(p.err), std::ref(o.err));
    o.status = co_await p.wait();
  });
  co_return o;
}

}  // namespace leash::net
