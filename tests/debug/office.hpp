// A program at work, with some of everything that the page shows: connections that come and go, timers, blocking calls, nested
// scopes, labels, knots of different kinds, a place that grows and cannot be judged.
#pragma once
#include "client.hpp"

namespace leash::test {

class office {
 public:
  office();
  ~office();
  office(const office&) = delete;

 private:
  std::optional<cancel_source> over_;
  std::thread thread_;
};

}  // namespace leash::test
