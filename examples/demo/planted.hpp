// The leaks themselves, each written the way a user would write it.
#pragma once
#include <atomic>
#include <leash/leash.hpp>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "leaks.hpp"

namespace demo {

/// Every planted goroutine holds one: if its destructor did not run, the demo would tell.
struct resource {
  static inline std::atomic<int> open{0};
  resource() { ++open; }
  resource(const resource&) = delete;
  ~resource() { --open; }
};

/// What the survivors of a leak saw.
class notes {
 public:
  void add(std::string text) {
    std::lock_guard hold(lock_);
    texts_.push_back(std::move(text));
  }
  std::vector<std::string> take() {
    std::lock_guard hold(lock_);
    return std::exchange(texts_, {});
  }

 private:
  std::mutex lock_;
  std::vector<std::string> texts_;
};
inline notes noted;

extern const std::vector<planted> planted_leaks;

/// Waits for a context whose only cancel_source is gone.
leash::task<> wait_for_nobody();

}  // namespace demo
