// leash_orders: the service.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <leash/debug.hpp>
#include <leash/leash.hpp>
#include <optional>

#include "command_line.hpp"
#include "folder.hpp"
#include "log.hpp"
#include "plants.hpp"
#include "service.hpp"

namespace orders {
namespace {

constexpr int misused = 2;

struct options : settings {
  std::string debug = "127.0.0.1:6060";
  unsigned workers = 0;
  bool list_plants = false;
};

void say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

/// Nothing, or the exit code when there is no more to do.
std::optional<int> read_arguments(options& o, int argc, char** argv) {
  CLI::App app("A service that writes orders to a database, fulfils them through a queue, and shows what happens.",
               "leash_orders");
  app.add_option("--listen", o.listen, "Where the API and the page are served")->type_name("HOST:PORT");
  app.add_option("--debug", o.debug, "Where the debug page is served; none: nowhere")->type_name("HOST:PORT");
  app.add_option("--data", o.data, "Folder of the embedded database and queue (a temporary one)")->type_name("DIR");
  app.add_option("--postgres", o.postgres, "Orders in PostgreSQL")->type_name("CONNINFO");
  app.add_option("--nats", o.nats, "The queue in NATS JetStream")->type_name("URL");
  app.add_option("--queue", o.queue, "The queue's name")->type_name("NAME");
  app.add_option("--workers", o.workers, "Scheduler threads")->type_name("N")->check(CLI::Range(1u, 1024u));
  app.add_option("--consumers", o.consumers, "Orders that are fulfilled at once")
      ->type_name("N")
      ->check(CLI::Range(1, 10'000));
  add_time(app, "--work", o.work, "How long it takes to fulfil one (5ms)");
  add_time(app, "--visibility", o.visibility, "What a dead consumer had taken comes again after this (5s)");
  add_time(app, "--drain", o.drain, "At the end: for what runs; then it is cancelled (10s)");
  app.add_option("--plant", o.plants, "Plants these leaks with every order")->type_name("LEAK,...")->delimiter(',');
  app.add_option("--twin", o.twins, "Runs the same code, written right")->type_name("LEAK,...")->delimiter(',');
  app.add_flag("--list-plants", o.list_plants, "Lists the leaks there are");
  app.footer("SIGINT, SIGTERM: drains and ends with 0; a second one cancels. Exit codes: 1 failed, 2 wrong use.");
  try {
    app.parse(argc, argv);
    (void)garden(o.plants, o.twins);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : misused;
  } catch (const std::invalid_argument& e) {
    log(std::string("leash_orders: ") + e.what());
    return misused;
  }
  if (!o.list_plants) return std::nullopt;
  for (const plant& p : all_plants()) std::printf("%-20s %s\n", std::string(p.name).c_str(), p.mistake.data());
  return 0;
}

int run(options o) {
  std::optional<temporary_folder> temporary;
  if (o.data.empty()) o.data = temporary.emplace().path();
  std::filesystem::create_directories(o.data);
  std::optional<leash::debug::server> sight;
  if (o.debug != "none") sight.emplace(leash::debug::serve(o.debug));

  auto const ready = [&](const std::string& url) {
    say("orders: " + url);
    if (sight) say("debug: " + sight->address());
    say("ready");
  };
  leash::options how;
  how.workers = o.workers;
  how.leak_check_every = std::chrono::seconds(1);
  how.on_leak = [](const leash::leak_report& r) {
    log(std::to_string(r.size()) + " goroutines are proved to be leaked; one of them, started at " +
        r[0].who.spawned_at.file_name() + ":" + std::to_string(r[0].who.spawned_at.line()) + ": " + r[0].why);
  };
  bool const in_order = leash::run(how, [&] {
    // timeout(1) sends each signal twice.
    return leash::with_shutdown(
        {.drain_within = o.drain + std::chrono::seconds(1), .same_request = std::chrono::milliseconds(300)},
        [&](leash::shutdown_request& stop) { return serve(o, stop, ready); });
  });
  log("ended, " + std::to_string(leash::num_goroutines()) + " goroutines left" + (in_order ? "" : ": cut short"));
  return in_order ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace orders

int main(int argc, char** argv) {
  orders::options o;
  if (auto code = orders::read_arguments(o, argc, argv)) return *code;
  try {
    return orders::run(std::move(o));
  } catch (const std::exception& e) {
    orders::log(std::string("leash_orders: ") + e.what());
  }
  return EXIT_FAILURE;
}
