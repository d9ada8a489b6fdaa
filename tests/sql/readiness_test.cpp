// The wait for a client library's descriptor.
#include "sql/readiness.hpp"

#include <sys/socket.h>

#include <array>

#include "support/support.hpp"

namespace leash::sql {
namespace {
using namespace leash::test;

struct pair {
  std::array<int, 2> ends{};
  pair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0); }
  pair(const pair&) = delete;
  ~pair() {
    for (int fd : ends) ::close(fd);
  }
};

// libpq closes a connection's socket as soon as it is lost; the next connection's has its number before the first one's driver
// goes.
LEASH_TEST_REAL(Readiness, of_a_descriptor_that_was_closed_takes_nothing_from_the_next_one_with_its_number) {
  pair first;
  std::optional<readiness> old(std::in_place, first.ends[0]);
  co_await old->writable();
  pair next;
  EXPECT_EQ(::dup2(next.ends[0], first.ends[0]), first.ends[0]);  // closes it, and gives away its number
  readiness now(first.ends[0]);
  co_await now.writable();
  old.reset();
  EXPECT_FALSE(co_await with_timeout(1ms, [&] { return now.readable(); }));
  EXPECT_EQ(::write(next.ends[1], "x", 1), 1);
  EXPECT_TRUE(co_await with_timeout(longest_wait, [&] { return now.readable(); }));
}

}  // namespace
}  // namespace leash::sql
