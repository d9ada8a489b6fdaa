// The server that docs/net.md shows.
#include "net/net.hpp"

#ifdef LEASH_EXAMPLE_ECHO
namespace {

using namespace leash;
using namespace leash::test;

LEASH_TEST_REAL(ExampleEcho, serves_drains_and_ends) {
  net::process server({.program = LEASH_EXAMPLE_ECHO, .arguments = {"127.0.0.1:0"}, .out = net::command::io::pipe});
  std::string line;
  char in[64];
  while (!line.ends_with("\n")) {
    std::size_t const n = co_await server.out.read_some(in);
    CO_ASSERT_TRUE(n > 0);
    line.append(in, n);
  }
  std::string const address = line.substr(line.rfind(' ') + 1, line.size() - line.rfind(' ') - 2);
  auto a = co_await net::connect(address);
  auto b = co_await net::connect(address);
  for (auto* c : {&a, &b}) {
    co_await c->write_all("hello");
    CO_ASSERT_TRUE(co_await c->read_exactly(net::mutable_bytes(in, 5)));
  }
  server.kill(SIGTERM);
  co_await a.write_all("again");  // it drains: who is connected is served
  CO_ASSERT_TRUE(co_await a.read_exactly(net::mutable_bytes(in, 5)));
  a.close();
  b.close();
  EXPECT_TRUE((co_await server.wait()).success());
}

}  // namespace
#endif
