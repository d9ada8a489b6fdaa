#if LEASH_TEST_POSTGRES
#include "sql/readiness.hpp"

#include <unistd.h>

#include <array>
#include <optional>

#include "database.hpp"

namespace leash::test::sql_tests {

struct pipe_ends {
  std::array<int, 2> fd{-1, -1};
  pipe_ends() { EXPECT_EQ(::pipe(fd.data()), 0); }
  pipe_ends(const pipe_ends&) = delete;
  ~pipe_ends() {
    for (int n : fd) ::close(n);
  }
};

// As a client library does that drops a broken connection by itself, while somebody else connects.
LEASH_TEST_REAL(Readiness, OfADescriptorThatWasClosedTouchesNoOtherOfItsNumber) {
  pipe_ends broken, fresh;
  std::optional<sql::readiness> of_broken(std::in_place, broken.fd[0]);
  EXPECT_EQ(::dup2(fresh.fd[0], broken.fd[0]), broken.fd[0]);
  sql::readiness of_fresh(broken.fd[0]);
  of_broken.reset();
  EXPECT_EQ(::write(fresh.fd[1], "x", 1), 1);
  EXPECT_TRUE(co_await with_timeout(30s, of_fresh.readable()));
}

LEASH_TEST_REAL(Readiness, OfNoDescriptorIsAnError) {
  auto const e = co_await error_of([]() -> task<> {
    sql::readiness const of_none(-1);
    co_return;
  });
  CO_ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->kind(), error_kind::connection);
}

}  // namespace leash::test::sql_tests
#endif
