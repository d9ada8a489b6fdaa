// Mails that must go out, whatever dies meanwhile: published into a file, sent by consumers, until ^C.
#include <iostream>
#include <leash/leash.hpp>
#include <leash/mq.hpp>

namespace mq = leash::mq;
using leash::task;
using namespace std::chrono_literals;

task<> send_mail(const mq::message& m) {
  if (m.body.find('@') == std::string::npos) throw mq::rejected("not an address");  // a dead letter at once
  co_await leash::sleep(10ms);                                                      // the mail server
  std::cout << "sent to " + m.body + " (attempt " + std::to_string(m.attempt) + ")\n";
}

task<> serve(leash::shutdown_request& stop, std::string file, bool once) {
  auto mails = co_await mq::open_sqlite({.file = file, .name = "mails", .ordered_by_key = true});
  for (const char* to : {"ann@example.org", "bob@example.org", "nobody"})
    co_await mails.publish(to,
                           {.key = to, .idempotency_key = to});  // on the disk when this returns; twice does no harm

  mq::consumer c(mails, {.concurrency = 8, .max_attempts = 3});
  co_await leash::with_scope([&](leash::scope& s) -> task<> {
    s.go([&]() -> task<> {
      if (!once) co_await stop.requested();  // ^C: take no more, finish what was begun
      for (mq::queue_counts n; once && (n = co_await mails.count(), n.waiting + n.in_flight != 0);)
        co_await leash::sleep(10ms);
      c.drain();
    });
    co_await c.run(send_mail);
  });
  for (auto& d : co_await mails.dead_letters()) std::cout << d.what.body << " is a dead letter: " << d.reason << "\n";
}

int main(int argc, char** argv) {
  std::string const file = argc > 1 ? argv[1] : "mails.db";
  bool const once = argc > 2;
  leash::run(
      [&] { return leash::with_shutdown([&](leash::shutdown_request& stop) { return serve(stop, file, once); }); });
}
