// As main.cpp, with leash::mq: the value goes through a queue in a file.
#include <cstdio>
#include <cstdlib>
#include <leash/leash.hpp>
#include <leash/mq.hpp>
#include <string>

leash::task<int> app(std::string file) {
  auto q = co_await leash::mq::open_sqlite({.file = file});
  co_await q.publish("42");
  int got = 0;
  leash::mq::consumer c(q);
  co_await c.run([&](const leash::mq::message& m) {
    got = std::atoi(m.body.c_str());
    c.drain();
  });
  co_return got;
}

int main() {
  char folder[] = "/tmp/leash_install_XXXXXX";
  if (mkdtemp(folder) == nullptr) return 1;
  std::string const file = std::string(folder) + "/queue.db";
  std::printf("received %d\n", leash::run(app, file));
  for (const char* end : {"", "-wal", "-shm"}) std::remove((file + end).c_str());
  std::remove(folder);
  return 0;
}
