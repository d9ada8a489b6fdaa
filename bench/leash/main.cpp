#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <optional>
#include <string>

#include "harness.hpp"

namespace bench {
namespace {
std::map<std::string, row::function>& rows() {
  static std::map<std::string, row::function> all;
  return all;
}
unsigned workers = 1;
}  // namespace

row::row(const char* name, function measure) { rows().emplace(name, measure); }

void print_also(const char* name, double value) { std::printf("%s %u %.4g\n", name, workers, value); }

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "leash_bench: %s\n", what);
  std::_Exit(1);
}

static int usage(const char* problem) {
  std::fprintf(
      stderr, "leash_bench: %s\nusage: leash_bench --row NAME [--workers N] [--divide N] [--note trace|waits]; rows:\n",
      problem);
  for (const auto& [name, measure] : rows()) std::fprintf(stderr, "  %s\n", name.c_str());
  return 2;
}

static int main(int argc, char** argv) {
  std::string name;
  std::optional<leash::trace_recording> recording;
  std::optional<leash::wait_profiling> waits;
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    if (i + 1 == argc) return usage("an argument lacks its value or is unknown");
    const int number = std::atoi(argv[i + 1]);
    if (flag == "--row") {
      name = argv[i + 1];
    } else if (flag == "--workers" && number > 0) {
      workers = static_cast<unsigned>(number);
    } else if (flag == "--divide" && number > 0) {
      divide = static_cast<std::size_t>(number);
    } else if (flag == "--note" && argv[i + 1] == std::string("trace")) {
      recording.emplace();
    } else if (flag == "--note" && argv[i + 1] == std::string("waits")) {
      waits.emplace();
    } else {
      return usage(("bad argument: " + flag + " " + argv[i + 1]).c_str());
    }
  }
  auto found = rows().find(name);
  if (found == rows().end()) return usage(name.empty() ? "no --row" : ("no row " + name).c_str());
  leash::options options;
  options.workers = workers;
  print_also(name.c_str(), leash::run(options, found->second));
  return 0;
}

}  // namespace bench

int main(int argc, char** argv) {
  try {
    return bench::main(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "leash_bench: %s\n", e.what());
    return 1;
  }
}
