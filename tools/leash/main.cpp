// The command line: options to structures, errors to exit codes.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <exception>
#include <new>

#include "commands.hpp"

namespace leash::cli {

namespace {

constexpr int could_not_tell = 2;

/// "90", "90s", "2m", "1h30m", "500ms"
std::chrono::milliseconds parse_duration(const std::string& text) {
  double total = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t digits = 0;
    double n = 0;
    try {
      n = std::stod(text.substr(at), &digits);
    } catch (const std::exception&) {
      digits = 0;
    }
    if (digits == 0 || !(n >= 0) || n > 1e9) throw CLI::ValidationError("'" + text + "' is no time (90s, 2m, 1h30m)");
    at += digits;
    const std::size_t unit_end = std::min(text.find_first_of("0123456789.", at), text.size());
    const std::string unit = text.substr(at, unit_end - at);
    at = unit_end;
    const double factor = unit.empty() || unit == "s"    ? 1
                          : unit == "ms"                 ? 0.001
                          : unit == "m" || unit == "min" ? 60
                          : unit == "h"                  ? 3600
                                                         : 0;
    if (factor == 0) throw CLI::ValidationError("'" + text + "' is no time (90s, 2m, 1h30m)");
    total += n * factor;
  }
  if (text.empty() || total > 1e8) throw CLI::ValidationError("'" + text + "' is no time (90s, 2m, 1h30m)");
  return std::chrono::milliseconds(static_cast<long long>(total * 1000));
}

template <class Duration>
CLI::Option* add_duration(CLI::App* app, const std::string& name, Duration& to, const std::string& help) {
  return app
      ->add_option_function<std::string>(
          name, [&to](const std::string& s) { to = std::chrono::duration_cast<Duration>(parse_duration(s)); }, help)
      ->type_name("TIME");
}

void add_common(CLI::App* app, common_options& o) {
  app->add_flag("--json", o.json, "Print JSON");
  add_duration(app, "--timeout", o.take.fetch.timeout, "Give up on an answer after this long (30s)");
  app->add_option("-H,--header", o.take.fetch.headers, "Send this header (\"Name: value\"); may be repeated")
      ->type_name("HEADER")
      ->allow_extra_args(false)
      ->check([](const std::string& h) {
        const std::size_t colon = h.find(':');
        const bool ok = colon != h.npos && colon != 0 && h.find_first_of("\r\n") == h.npos;
        return ok ? std::string() : "a header looks like \"Name: value\"";
      });
  app->add_flag("--insecure", o.take.fetch.insecure, "With https, do not ask who answers");
}

void add_full(CLI::App* app, take_options& o) {
  app->add_option("--full-up-to", o.full_up_to,
                  "Take whole dumps, with ages, of processes with up to this many goroutines")
      ->type_name("N")
      ->capture_default_str();
}

void add_proof(CLI::App* app, take_options& o) {
  app->add_flag("!--no-proof", o.proof,
                "Do not ask for the goroutineleak profile (the process collects garbage for it)");
}

void add_fail(CLI::App* app, fail_on& to) {
  app->add_option_function<std::string>(
         "--fail-on",
         [&to](const std::string& s) {
           to = s == "never" ? fail_on::never : s == "proven" ? fail_on::proven : fail_on::suspect;
         },
         "What makes the exit code 1: proven, suspect (which includes proven; the default), never")
      ->type_name("GRADE")
      ->check(CLI::IsMember({"proven", "suspect", "never"}));
}

void add_show(CLI::App* app, show_options& o) {
  app->add_flag("--all", o.all, "Show all places where goroutines wait, also those that are not suspicious");
  app->add_option("--top", o.top, "Show so many of each grade")->type_name("N")->capture_default_str();
  app->add_flag("--stacks", o.stacks, "Show whole stacks");
}

constexpr const char* target_help =
    "Address of a process (http://host:6060, unix:SOCKET), of a profile (.../debug/pprof/goroutine?debug=2), a file, "
    "or "
    "- for standard input";

void add_ignore(CLI::App* app, std::vector<std::string>& to) {
  app->add_option("--ignore", to,
                  "Never suspect places whose stack has this text in a function or file; may be repeated")
      ->type_name("TEXT")
      ->allow_extra_args(false);
}

/// leaks and report
void add_leaks(CLI::App* app, leaks_options& o) {
  app->add_option("target", o.targets, target_help)->type_name("TARGET")->required();
  add_duration(app, "--for", o.take.during, "Watch for this long (2m) instead of looking once");
  add_duration(app, "--every", o.take.every, "How often to look meanwhile (10s)");
  app->add_flag("--series", o.series, "The targets are snapshots of one process, oldest first");
  add_proof(app, o.take);
  add_ignore(app, o.ignore);
  add_full(app, o.take);
  add_show(app, o.show);
  add_fail(app, o.fail);
  add_common(app, o);
}

std::vector<command_description> describe(const CLI::App& app) {
  std::vector<command_description> commands;
  for (const CLI::App* command : app.get_subcommands({})) {
    command_description c{command->get_name(), command->get_description(), {}};
    for (const CLI::Option* o : command->get_options()) {
      if (o->nonpositional() == false) continue;
      option_description d;
      for (const std::string& n : o->get_snames()) d.names.push_back("-" + n);
      for (const std::string& n : o->get_lnames()) d.names.push_back("--" + n);
      d.help = o->get_description();
      d.takes_value = o->get_expected_max() > 0 && o->get_type_size() > 0;
      if (d.names.back() == "--fail-on") d.choices = {"proven", "suspect", "never"};
      if (d.names.back() == "--raw") d.choices = {"0", "1", "2"};
      c.options.push_back(std::move(d));
    }
    commands.push_back(std::move(c));
  }
  return commands;
}

int run(int argc, char** argv) {
  CLI::App app("Finds leaked goroutines in running Go services and leash programs, and in profiles of them.", "leash");
  app.set_version_flag("--version", "leash " LEASH_VERSION_TEXT);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 none found, 1 leaks found, 2 wrong use, or a target that cannot be read.\n"
      "Examples:\n"
      "  leash leaks http://localhost:6060                    one look: what is proved, what is suspicious\n"
      "  leash leaks --for 2m --every 10s localhost:6060      watch it for two minutes: what grows\n"
      "  leash diff before.pb.gz after.pb.gz                  two profiles of one process\n"
      "See leash COMMAND --help, and man leash.");

  leaks_options l;
  CLI::App* leaks_app = app.add_subcommand("leaks", "Say what is proved to be leaked, and rank what is suspected");
  add_leaks(leaks_app, l);

  diff_options d;
  CLI::App* diff_app = app.add_subcommand("diff", "Compare two profiles of one process");
  diff_app->add_option("before", d.before, "The earlier one: file or address")->type_name("BEFORE")->required();
  diff_app->add_option("after", d.after, "The later one")->type_name("AFTER")->required();
  add_ignore(diff_app, d.ignore);
  add_show(diff_app, d.show);
  add_fail(diff_app, d.fail);
  add_common(diff_app, d);

  dump_options u;
  CLI::App* dump_app = app.add_subcommand("dump", "Show all goroutines, alike ones together, or save a profile");
  dump_app->add_option("target", u.target, target_help)->type_name("TARGET")->required();
  dump_app->add_option("--match", u.match, "Only stacks with this text in a function or file")->type_name("TEXT");
  dump_app->add_option("--state", u.state, "Only goroutines in such a state: \"chan send\"")->type_name("TEXT");
  dump_app->add_option("--top", u.top, "Only the N largest groups")->type_name("N");
  dump_app->add_option("--raw", u.raw, "Pass the profile on as it is: 0 pprof protobuf, 1 counts, 2 whole dump")
      ->type_name("FORM")
      ->check(CLI::Range(0, 2));
  dump_app->add_option("-o,--output", u.file, "With --raw: write to this file")->type_name("FILE");
  dump_app->add_flag("--proof", u.proof, "The goroutineleak profile: only what is proved to be leaked");
  add_full(dump_app, u.take);
  add_common(dump_app, u);

  trace_command x;
  CLI::App* trace_app = app.add_subcommand("trace", "Save what a process records of its execution");
  trace_app->add_option("target", x.target, "Address of a process")->type_name("TARGET")->required();
  add_duration(trace_app, "--for", x.trace.during, "Record for this long (5s)");
  add_duration(trace_app, "--last", x.trace.last, "Instead: the last TIME of what a leash program is recording anyway");
  trace_app->add_flag("--perfetto", x.trace.perfetto,
                      "Of a leash program: for ui.perfetto.dev instead of go tool trace");
  trace_app->add_option("-o,--output", x.file, "The file; - for standard output")
      ->type_name("FILE")
      ->capture_default_str();
  add_common(trace_app, x);

  top_options t;
  CLI::App* top_app = app.add_subcommand("top", "Show the places where goroutines wait, again and again");
  top_app->add_option("target", t.target, "Address of a process")->type_name("TARGET")->required();
  add_duration(top_app, "--every", t.every, "How often to look (2s)");
  top_app->add_option("-n,--frames", t.frames, "Stop after so many looks")->type_name("N");
  top_app->add_flag("--by-count", t.by_count, "The largest first, instead of those that grew most");
  add_common(top_app, t);

  report_options r;
  CLI::App* report_app = app.add_subcommand("report", "What leaks finds, as one HTML page");
  add_leaks(report_app, r);
  report_app->add_option("-o,--output", r.file, "The page; - for standard output")
      ->type_name("FILE")
      ->capture_default_str();

  fleet_options f;
  CLI::App* fleet_app = app.add_subcommand("fleet", "Rank places over many processes, with history");
  fleet_app->add_option("instance", f.instances, "Addresses of processes")->type_name("INSTANCE");
  fleet_app
      ->add_option("--discovery", f.discovery,
                   "A list of instances as Prometheus reads it (file or HTTP service discovery, JSON)")
      ->type_name("FILE|URL");
  fleet_app->add_option("--history", f.history, "Keep what was seen in this SQLite file; growth is judged over it")
      ->type_name("FILE");
  fleet_app->add_option("--rounds", f.rounds, "Look so many times; 0: only show the history")
      ->type_name("N")
      ->capture_default_str();
  add_duration(fleet_app, "--every", f.every, "How often to look (1m)");
  add_duration(fleet_app, "--window", f.window, "Judge the looks of this time (24h)");
  add_duration(fleet_app, "--keep", f.keep, "Forget what is older (336h)");
  fleet_app->add_option("--threshold", f.threshold, "So many goroutines at one place of one instance are suspicious")
      ->type_name("N")
      ->capture_default_str();
  fleet_app->add_option("--parallel", f.parallel, "Ask so many instances at a time")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  add_proof(fleet_app, f.take);
  add_ignore(fleet_app, f.ignore);
  fleet_app->add_flag("--all", f.all, "Show all places, also those that are not suspicious");
  fleet_app->add_option("--top", f.top, "Show so many")->type_name("N")->capture_default_str();
  add_fail(fleet_app, f.fail);
  add_common(fleet_app, f);

  std::string shell;
  CLI::App* completion_app = app.add_subcommand("completion", "Print a completion script");
  completion_app->add_option("shell", shell, "bash, zsh or fish")
      ->type_name("SHELL")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : could_not_tell;
  }
  if (*leaks_app) return leaks(l);
  if (*diff_app) return diff(d);
  if (*dump_app) return dump(u);
  if (*trace_app) return trace(x);
  if (*top_app) return top(t);
  if (*report_app) return report(r);
  if (*fleet_app) return fleet(f);
  std::fputs(completion(shell, describe(app)).c_str(), stdout);
  return 0;
}

}  // namespace

}  // namespace leash::cli

int main(int argc, char** argv) {
  try {
    const int code = leash::cli::run(argc, argv);
    if (std::fflush(stdout) != 0) {
      std::fprintf(stderr, "leash: cannot write to standard output\n");
      return leash::cli::could_not_tell;
    }
    return code;
  } catch (const leash::cli::input_error& e) {
    std::fprintf(stderr, "leash: %s\n", leash::cli::clean(e.what()).c_str());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "leash: out of memory\n");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "leash: %s\n", leash::cli::clean(e.what()).c_str());
  }
  return leash::cli::could_not_tell;
}
