// Processes that die in the middle of their work, and processes that share a file: nothing is lost, and what is alive
// shares the work.
#include <leash/mq.hpp>
#include <map>
#include <random>
#include <set>

#include "support/files.hpp"

namespace leash {
namespace {
using namespace test;

void publish_here(const std::string& file, int count, bool ordered = false) {
  run(options{.workers = 1}, [&]() -> task<> {
    auto q = co_await mq::open_sqlite({.file = file, .ordered_by_key = ordered});
    for (int i = 0; i < count; ++i)
      co_await q.publish(std::to_string(i), {.key = "k" + std::to_string(i % 5), .idempotency_key = std::to_string(i)});
  });
}
/// The bodies of the messages in a log of handlers, in its order.
std::vector<std::string> handled_in(const std::string& log) {
  std::vector<std::string> all;
  for (auto& l : lines_of(log)) all.push_back(l.substr(l.rfind(' ') + 1));
  return all;
}
std::set<std::string> first_numbers(int n) {
  std::set<std::string> all;
  for (int i = 0; i < n; ++i) all.insert(std::to_string(i));
  return all;
}

/// Or its parent has only not asked for its end yet.
bool has_ended(pid_t id) {
  auto const stat = lines_of("/proc/" + std::to_string(id) + "/stat");
  return stat.empty() || stat[0].find(") Z ") != std::string::npos;
}

// Of the tests' own: what they start must not outlive them.
TEST(MqProcess, one_that_a_test_has_started_ends_when_the_test_crashes) {
  folder f;
  pid_t const crashing = ::fork();
  if (crashing == 0) {
    process const p({"sh", "-c", "echo there; exec sleep 1000"}, f.file("out"));
    if (!eventually_here([&] { return !lines_of(f.file("out")).empty(); })) ::_exit(1);
    f.write("id", std::to_string(p.id()));
    std::abort();
  }
  int how = 0;
  ASSERT_EQ(::waitpid(crashing, &how, 0), crashing);
  ASSERT_TRUE(WIFSIGNALED(how));
  auto const id = static_cast<pid_t>(std::stol(lines_of(f.file("id")).at(0)));
  EXPECT_TRUE(eventually_here([&] { return has_ended(id); }));
}
TEST(MqProcess, one_that_is_no_program_is_told_at_once) {
  EXPECT_THROW(process({"leash-no-such-program"}), std::system_error);
}

TEST(MqProcess, a_consumer_killed_in_the_middle_of_work_loses_nothing_and_each_message_is_handled) {
  constexpr int messages = 150;
  folder f;
  std::string const file = f.file("mq.db"), log = f.file("log");
  publish_here(file, messages);
  // Killed whenever some more have been handled: in handlers, before and in acknowledgements, while it takes.
  for (std::size_t until : {3u, 20u, 45u, 46u, 80u, 110u}) {
    process p({LEASH_MQ_WORKER, "consume", file, log, "victim"});
    ASSERT_TRUE(eventually_here([&] { return lines_of(log).size() >= until; }));
    p.kill();
  }
  process last({LEASH_MQ_WORKER, "consume", file, log, "survivor"});
  EXPECT_EQ(last.wait(), 0);
  auto const all = handled_in(log);
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()), first_numbers(messages));
}

TEST(MqProcess, what_a_killed_process_had_taken_comes_again_after_its_visibility_time) {
  folder f;
  std::string const file = f.file("mq.db"), log = f.file("log");
  publish_here(file, 1);
  {
    process p({LEASH_MQ_WORKER, "hold", file, log});
    ASSERT_TRUE(eventually_here([&] { return lines_of(log).size() == 1; }));
    p.kill();
  }
  process next({LEASH_MQ_WORKER, "consume", file, log, "next"});
  EXPECT_EQ(next.wait(), 0);
  EXPECT_EQ(lines_of(log).front(), "holds 0");
  EXPECT_EQ(lines_of(log).back(), "next k0 0");
}

TEST(MqProcess, what_a_killed_publisher_was_told_is_published_is_there_and_again_is_no_duplicate) {
  folder f;
  std::string const file = f.file("mq.db"), log = f.file("published"), handled = f.file("handled");
  constexpr int messages = 100;
  int next = 0;
  for (int round = 0; round < 3; ++round) {
    process p({LEASH_MQ_WORKER, "publish", file, log, std::to_string(next), std::to_string(messages - next)});
    auto const until = static_cast<std::size_t>(20 * (round + 1));
    ASSERT_TRUE(eventually_here([&] { return lines_of(log).size() >= until; }));
    p.kill();
    next = std::stoi(lines_of(log).back()) + 1;
    --next;  // the one that it was about may be there or not: publish it again
  }
  process rest({LEASH_MQ_WORKER, "publish", file, log, std::to_string(next), std::to_string(messages - next)});
  EXPECT_EQ(rest.wait(), 0);
  run(options{.workers = 1}, [&]() -> task<> {
    auto q = co_await mq::open_sqlite({.file = file});
    EXPECT_EQ((co_await q.count()).waiting, std::uint64_t{messages});
  });
  process consumer({LEASH_MQ_WORKER, "consume", file, handled, "c"});
  EXPECT_EQ(consumer.wait(), 0);
  auto const all = handled_in(handled);
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()), first_numbers(messages));
}

TEST(MqProcess, two_processes_share_one_queue) {
  constexpr int messages = 200;
  folder f;
  std::string const file = f.file("mq.db"), log = f.file("log");
  publish_here(file, messages);
  process a({LEASH_MQ_WORKER, "consume", file, log, "a"});
  process b({LEASH_MQ_WORKER, "consume", file, log, "b"});
  EXPECT_EQ(a.wait(), 0);
  EXPECT_EQ(b.wait(), 0);
  auto const all = handled_in(log);
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()), first_numbers(messages));
}

TEST(MqProcess, two_processes_keep_the_order_of_keys) {
  constexpr int messages = 100;
  folder f;
  std::string const file = f.file("mq.db"), log = f.file("log");
  publish_here(file, messages, true);
  process a({LEASH_MQ_WORKER, "consume", file, log, "a", "ordered"});
  process b({LEASH_MQ_WORKER, "consume", file, log, "b", "ordered"});
  EXPECT_EQ(a.wait(), 0);
  EXPECT_EQ(b.wait(), 0);
  std::map<std::string, int> last;
  std::set<std::string> seen;
  for (auto& l : lines_of(log)) {
    std::string const key = l.substr(2, l.rfind(' ') - 2), body = l.substr(l.rfind(' ') + 1);
    if (seen.insert(body).second) {
      EXPECT_GT(std::stoi(body), last.try_emplace(key, -1).first->second) << key;
      last[key] = std::stoi(body);
    }
  }
  EXPECT_EQ(seen, first_numbers(messages));
}

}  // namespace
}  // namespace leash
