// Child processes, signals, files.
#include <fcntl.h>

#include <csignal>

#include "net/net.hpp"

namespace {

using namespace leash;
using namespace leash::test;

net::command shell(std::string text) { return {.program = "sh", .arguments = {"-c", std::move(text)}}; }
bool exists(int pid) { return ::kill(pid, 0) == 0; }

LEASH_TEST_REAL(Process, says_how_it_ended) {
  net::process p(shell("exit 7"));
  auto s = co_await p.wait();
  EXPECT_FALSE(s.signalled);
  EXPECT_EQ(s.code, 7);
  EXPECT_EQ((co_await p.wait()).code, 7);
  EXPECT_FALSE(p.kill());
  net::process q(shell("kill -9 $$"));
  s = co_await q.wait();
  EXPECT_TRUE(s.signalled);
  EXPECT_EQ(s.code, SIGKILL);
}

LEASH_TEST_REAL(Process, input_and_output_go_through) {
  std::string const text(300'000, 'q');
  auto o = co_await net::run_command({.program = "cat"}, text);
  EXPECT_TRUE(o.status.success());
  EXPECT_TRUE(o.out == text);
  o = co_await net::run_command(shell("echo out; echo err >&2; exit 3"));
  EXPECT_EQ(o.out, "out\n");
  EXPECT_EQ(o.err, "err\n");
  EXPECT_EQ(o.status.code, 3);
  o = co_await net::run_command(shell("exit 0"), text);  // reads nothing
  EXPECT_TRUE(o.status.success());
}

LEASH_TEST_REAL(Process, what_cannot_be_started_is_an_error) {
  bool failed = false;
  try {
    net::process p({.program = "/no/such/program"});
  } catch (const net::system_error& e) {
    failed = e.code() == boost::system::errc::no_such_file_or_directory;
  }
  EXPECT_TRUE(failed);
  co_return;
}

LEASH_TEST_REAL(Process, wait_ends_with_its_context_and_the_process_with_its_object) {
  int id = 0;
  {
    net::process p({.program = "sleep", .arguments = {"1000"}});
    id = p.id();
    co_await ends_with_its_context([&]() -> task<> { (void)co_await p.wait(); });
    EXPECT_TRUE(exists(id));
  }
  EXPECT_FALSE(exists(id));
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("owner"), [&]() -> task<> {
      net::process p({.program = "sleep", .arguments = {"1000"}});
      id = p.id();
      (void)co_await p.wait();
    });
    co_await parked("owner", "IO wait");
    EXPECT_TRUE(exists(id));
    s.cancel("enough");
  });
  EXPECT_FALSE(exists(id));
}

LEASH_TEST_REAL(Process, a_command_is_killed_with_its_context_and_its_group_too) {
  auto c = shell("echo $$ >&2; sleep 1000 & wait");
  c.own_group = true;
  c.err = net::command::io::pipe;
  int id = 0;
  {
    net::process p(c);
    char in[16];
    CO_ASSERT_TRUE(co_await p.err.read_some(in) > 0);
    id = p.id();
  }
  // Its child is gone when whoever inherits it has noticed.
  co_await eventually([id] { return ::kill(-id, 0) != 0; });
  EXPECT_FALSE(
      co_await with_timeout(10ms, []() -> task<> { (void)co_await net::run_command({.program = "cat"}, "x"); }) &&
      false);
}

LEASH_TEST_REAL(Process, is_asked_first_then_killed) {
  net::process soft(shell("trap 'exit 5' TERM; echo; while :; do sleep 0.01; done"));
  net::process hard({.program = "sh",
                     .arguments = {"-c", "trap '' TERM; echo; while :; do sleep 0.01; done"},
                     .out = net::command::io::pipe});
  char in[1];
  CO_ASSERT_TRUE(co_await hard.out.read_some(in) > 0);
  auto h = co_await hard.terminate(5ms);
  EXPECT_TRUE(h.signalled && h.code == SIGKILL);
  auto s = co_await soft.terminate(20s);
  EXPECT_TRUE(!s.success());
}

LEASH_TEST_REAL(Process, inherits_no_descriptors) {
  auto [a, b] = co_await tcp_streams();
  auto o = co_await net::run_command({.program = "ls", .arguments = {"/proc/self/fd"}});
  EXPECT_EQ(o.out, "0\n1\n2\n3\n");  // 3: the directory itself
}

// --- signals

LEASH_TEST_REAL(Signals, are_awaited) {
  net::signals caught{SIGUSR1, SIGUSR2};
  co_await ends_with_its_context([&]() -> task<> { (void)co_await caught.next(); });
  ::raise(SIGUSR2);
  EXPECT_EQ(co_await caught.next(), SIGUSR2);
  for (int i = 0; i < 30; ++i) {
    co_await with_scope([&](scope& s) -> task<> {
      s.go([i]() -> task<> {
        co_await sleep(std::chrono::microseconds(i * 10));
        ::kill(::getpid(), SIGUSR1);
      });
      for (;;) {
        auto r = co_await select(caught.next(), sleep(std::chrono::microseconds(100)));
        if (r.index() == 1) continue;  // none is lost by that
        EXPECT_EQ(std::get<0>(r), SIGUSR1);
        break;
      }
    });
  }
}

// --- files

LEASH_TEST_REAL(File, is_read_and_written) {
  std::string const path = ::testing::TempDir() + "leash-file-" + std::to_string(::getpid());
  std::string const text(200'000, 'f');
  co_await net::write_file(path, text);
  EXPECT_TRUE(co_await net::read_file(path) == text);
  {
    auto f = co_await net::file::open(path, net::file::mode::read_write);
    co_await f.write_at(10, "HERE");
    co_await f.sync();
    EXPECT_EQ(co_await f.size(), text.size());
    char in[6];
    EXPECT_EQ(co_await f.read_at(9, in), 6u);
    EXPECT_EQ(std::string_view(in, 6), "fHEREf");
    EXPECT_EQ(co_await f.read_at(text.size() - 2, in), 2u);
    auto more = co_await net::file::open(path, net::file::mode::append);
    co_await more.append("end");
    EXPECT_EQ(co_await f.size(), text.size() + 3);
  }
  ::unlink(path.c_str());
  bool failed = false;
  try {
    (void)co_await net::read_file(path);
  } catch (const net::system_error& e) {
    failed = e.code() == boost::system::errc::no_such_file_or_directory;
  }
  EXPECT_TRUE(failed);
  // A regular file cannot be waited for.
  co_await net::write_file(path, "x");
  net::descriptor d(::open(path.c_str(), O_RDONLY));
  failed = false;
  try {
    co_await d.readable();
  } catch (const net::system_error& e) {
    failed = e.code() == net::asio::error::operation_not_supported;
  }
  EXPECT_TRUE(failed);
  ::unlink(path.c_str());
}

}  // namespace
