// As main.cpp, with leash::sql: the value comes from a database in memory, where there is one.
#include <cstdio>
#include <leash/leash.hpp>
#include <leash/sql.hpp>

leash::task<int> app() {
  if (!leash::sql::has(leash::sql::backend::sqlite)) co_return 42;
  leash::sql::pool p("sqlite::memory:");
  int const got = (co_await p.query("SELECT 6 * $1", 7)).one().get<int>(0);
  co_await p.close();
  co_return got;
}

int main() {
  std::printf("received %d\n", leash::run(app));
  return 0;
}
