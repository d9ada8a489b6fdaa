// Repeats a run in a process of its own: replay_program NAME SEED|"schedule"; prints its steps.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "programs.hpp"

int main(int argc, char** argv) {
  using namespace leash;
  if (argc != 3) return 2;
  std::string const name = argv[1], how = argv[2];
  auto body = [&]() -> task<> {
    if (name == "everything") co_await programs::everything(nullptr);
    if (name == "lost_update") co_await programs::lost_update(false);
    if (name == "two_locks") co_await programs::two_locks(false);
    if (name == "rare_order") co_await programs::rare_order(12, true);
  };
  bool const is_schedule = how.empty() || how.find(':') != std::string::npos;
  testing::recording const r = is_schedule ? testing::record(std::string_view(how), body)
                                           : testing::record(std::strtoull(how.c_str(), nullptr, 0), body);
  std::fputs(programs::text_of(r).c_str(), stdout);
}
