// A NATS server of a test's own, on loopback, in a folder of its own.
#pragma once
#include <leash/mq.hpp>
#include <optional>

#include "support/files.hpp"
#include "support/kept_port.hpp"

namespace leash::test {

inline std::string nats_program() { return program("nats-server"); }

class nats_server {
 public:
  /// more: options of the program.
  explicit nats_server(std::vector<std::string> more = {}) : more_(std::move(more)) { start(); }
  void start() {
    std::vector<std::string> all{nats_program(), "-a",  "127.0.0.1",     "-p", std::to_string(port_.number()),
                                 "-js",          "-sd", dir_.file("js"), "-l", dir_.file("log")};
    all.insert(all.end(), more_.begin(), more_.end());
    at_.emplace(std::move(all));
  }
  void kill() {
    at_->kill();
    at_.reset();
  }
  /// "127.0.0.1:4711".
  std::string address() const { return port_.address(); }
  /// Its log. With the option -V it has each line that a client sent, as "<<- [PUB subject ...]".
  std::vector<std::string> log() const { return lines_of(dir_.file("log")); }
  std::string url() const { return "nats://" + port_.address(); }
  mq::nats_options options() const { return {.url = url(), .answer_within = std::chrono::seconds(2)}; }
  /// Opens a queue; waits until the server is there.
  task<mq::queue> open(mq::nats_options o) const {
    for (auto const end = now() + longest_wait;; co_await sleep(10ms)) {
      try {
        co_return co_await mq::open_nats(o);
      } catch (const mq::error& e) {
        if (e.kind() != mq::failure::unavailable || now() > end) throw;
      }
    }
  }
  task<mq::queue> open() const { return open(options()); }

 private:
  std::vector<std::string> const more_;
  folder dir_;
  kept_port port_;
  std::optional<process> at_;
};

}  // namespace leash::test

#define LEASH_NEEDS_NATS()                                                                      \
  if (!leash::mq::has_nats()) GTEST_SKIP() << "leash::mq was built without NATS (libnats-dev)"; \
  if (leash::test::nats_program().empty()) GTEST_SKIP() << "nats-server is not installed"
