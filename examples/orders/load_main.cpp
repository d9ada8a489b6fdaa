// leash_orders_load: drives leash_orders, and checks what it promised.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <leash/leash.hpp>
#include <nlohmann/json.hpp>

#include "command_line.hpp"
#include "load.hpp"

namespace orders {
namespace {

constexpr int misused = 2;

void print(const load_totals& t) {
  std::printf("acknowledged: %llu orders in %.1f s, %.0f a second; %llu not\n",
              static_cast<unsigned long long>(t.acknowledged), t.seconds,
              static_cast<double>(t.acknowledged) / t.seconds, static_cast<unsigned long long>(t.unacknowledged));
  std::printf("latency: half within %.1f ms, 90 %% within %.1f, 99 %% within %.1f, all within %.1f\n",
              t.percentile(0.5), t.percentile(0.9), t.percentile(0.99), t.percentile(1));
  if (t.abandoned_orders + t.abandoned_reports != 0)
    std::printf("left by their clients: %llu orders, %llu reports; the service cancelled %llu requests\n",
                static_cast<unsigned long long>(t.abandoned_orders),
                static_cast<unsigned long long>(t.abandoned_reports), static_cast<unsigned long long>(t.cancelled));
  if (t.failures != 0)
    std::printf("attempts that failed: %llu; the last: %s\n", static_cast<unsigned long long>(t.failures),
                t.last_failure.c_str());
  if (t.checked)
    std::printf("check: %llu shipped once, %llu lost, %llu still wait, %llu shipped more than once\n",
                static_cast<unsigned long long>(t.shipped), static_cast<unsigned long long>(t.lost),
                static_cast<unsigned long long>(t.waiting), static_cast<unsigned long long>(t.shipped_twice));
}

void print_json(const load_totals& t) {
  nlohmann::json const j = {{"acknowledged", t.acknowledged},
                            {"unacknowledged", t.unacknowledged},
                            {"failures", t.failures},
                            {"last_failure", t.last_failure},
                            {"abandoned_orders", t.abandoned_orders},
                            {"abandoned_reports", t.abandoned_reports},
                            {"cancelled", t.cancelled},
                            {"seconds", t.seconds},
                            {"p50_ms", t.percentile(0.5)},
                            {"p90_ms", t.percentile(0.9)},
                            {"p99_ms", t.percentile(0.99)},
                            {"max_ms", t.percentile(1)},
                            {"checked", t.checked},
                            {"shipped", t.shipped},
                            {"lost", t.lost},
                            {"waiting", t.waiting},
                            {"shipped_twice", t.shipped_twice}};
  std::puts(j.dump().c_str());
}

int run(int argc, char** argv) {
  CLI::App app("Places orders, leaves some of them in the middle, and checks that none was lost.", "leash_orders_load");
  load_settings set;
  bool json = false;
  app.add_option("--url", set.url, "The service")->type_name("URL");
  app.add_option("--clients", set.clients, "At once")->type_name("N")->check(CLI::Range(1, 10'000));
  app.add_option("--rate", set.rate, "Orders a second, all together; 0: as fast as they go")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  add_time(app, "--for", set.during, "How long (10s)");
  app.add_option_function<double>(
         "--abandon", [&](double percent) { set.abandon = percent / 100; },
         "How many of the requests are left in their middle by their clients (0%)")
      ->transform([](const std::string& text) { return text.ends_with('%') ? text.substr(0, text.size() - 1) : text; })
      ->check(CLI::Range(0.0, 100.0))
      ->type_name("PERCENT");
  add_time(app, "--timeout", set.timeout, "For an answer (5s)");
  app.add_flag("--check", set.check, "Afterwards each acknowledged order must be there, and shipped once");
  add_time(app, "--wait", set.wait, "How long the check waits for that (30s)");
  app.add_flag("--json", json, "Print the totals as JSON");
  app.footer("Exit codes: 0; 1 an order was lost or shipped twice, or none was acknowledged; 2 wrong use.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : misused;
  }
  load_totals const t = leash::run([&] { return drive(set); });
  json ? print_json(t) : print(t);
  return t.good() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace orders

int main(int argc, char** argv) {
  try {
    return orders::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "leash_orders_load: %s\n", e.what());
  }
  return EXIT_FAILURE;
}
