#include <boost/version.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "harness.hpp"

namespace bench {
namespace {
struct entry {
  row::function measure;
  idle when_idle;
};
std::map<std::string, entry>& rows() {
  static std::map<std::string, entry> all;
  return all;
}

// One scheduler per thread: round robin alone, work stealing among several.
class workers {
 public:
  workers(unsigned n, idle when_idle) {
    const bool suspend = when_idle == idle::sleep;
    namespace algo = boost::fibers::algo;
    if (n == 1) {
      boost::fibers::use_scheduling_algorithm<algo::round_robin>();
      return;
    }
    for (unsigned i = 1; i < n; ++i) {
      threads_.emplace_back([this, n, suspend] {
        boost::fibers::use_scheduling_algorithm<algo::work_stealing>(n, suspend);
        std::unique_lock lock(mutex_);
        ended_.wait(lock, [this] { return over_; });
      });
    }
    boost::fibers::use_scheduling_algorithm<algo::work_stealing>(n, suspend);
  }
  ~workers() {
    {
      std::unique_lock lock(mutex_);
      over_ = true;
    }
    ended_.notify_all();
    for (std::thread& t : threads_) t.join();
  }
  workers(const workers&) = delete;

 private:
  boost::fibers::mutex mutex_;
  boost::fibers::condition_variable ended_;
  bool over_ = false;
  std::vector<std::thread> threads_;
};
}  // namespace

row::row(const char* name, function measure, idle when_idle) { rows().emplace(name, entry{measure, when_idle}); }

bool fits(std::size_t fibers) {
  constexpr std::size_t kilobytes_each = 10, spare_kilobytes = 2'000'000;
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  for (std::size_t kilobytes = 0; meminfo >> key >> kilobytes; meminfo.ignore(64, '\n')) {
    if (key == "MemAvailable:") return kilobytes > fibers * kilobytes_each + spare_kilobytes;
  }
  return false;
}

int main(int argc, char** argv) {
  std::string name;
  unsigned n = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--version") {
      std::puts(BOOST_LIB_VERSION);
      return 0;
    }
    if (flag == "--row" && i + 1 < argc) {
      name = argv[++i];
    } else if (flag == "--workers" && i + 1 < argc) {
      n = static_cast<unsigned>(std::max(1, std::atoi(argv[++i])));
    } else if (flag == "--divide" && i + 1 < argc) {
      divide = static_cast<std::size_t>(std::max(1, std::atoi(argv[++i])));
    } else {
      std::fprintf(stderr, "fiber_bench: bad argument: %s\n", argv[i]);
      return 2;
    }
  }
  value v;
  if (auto found = rows().find(name); found != rows().end()) {
    workers all(n, found->second.when_idle);
    v = found->second.measure();
  }
  if (v) {
    std::printf("%s %u %.4g\n", name.c_str(), n, *v);
  } else {
    std::printf("%s %u null\n", name.c_str(), n);
  }
  return 0;
}

}  // namespace bench

int main(int argc, char** argv) {
  try {
    return bench::main(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "fiber_bench: %s\n", e.what());
    return 1;
  }
}
