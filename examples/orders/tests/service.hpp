// leash_orders as a process of a test's own: its folder, its output, its address.
#pragma once
#include <leash/http/client.hpp>
#include <leash/leash.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "load.hpp"
#include "support/files.hpp"
#include "support/kept_port.hpp"

namespace orders::tests {

using namespace leash::test;
using nlohmann::json;

struct reply {
  int status = 0;
  std::string text, location;
  nlohmann::json body() const { return nlohmann::json::parse(text); }
};

class service {
 public:
  /// Starts it, and waits until it is ready. before: the beginning of its command line, as of nsenter.
  explicit service(std::vector<std::string> options = {}, std::vector<std::string> before = {});
  ~service();
  /// Again, at the same address, with the same data.
  void start();
  /// SIGTERM. Its exit code, when it has ended; 100 if it left goroutines.
  int end();
  void kill();

  const std::string& url() const { return url_; }
  /// Of the debug page.
  const std::string& debug() const { return debug_; }
  std::string errors() const;
  /// Where its embedded database and queue are, unless its options say otherwise.
  std::string data() const { return folder_.file("data"); }
  pid_t process_id() const { return process_->id(); }

  reply send(leash::http::client_request) const;
  reply get(const std::string& path) const { return send({"GET", url_ + path, {}, {}}); }
  reply order(const std::string& body, const std::string& key = {}) const;
  json stats() const { return get("/stats").body(); }
  /// Waits until no more goroutines are there than that. Their number.
  std::size_t settled(std::size_t goroutines) const;
  load_totals load(load_settings) const;

 private:
  folder folder_;
  std::vector<std::string> options_, before_;
  kept_port port_;
  std::string url_, debug_;
  std::optional<process> process_;
  int runs_ = 0;
};

/// Answers when the server that it needs does.
std::unique_ptr<service> started(std::vector<std::string> options);

/// After a load: none of its clients waits for a report, so each that was begun has been cancelled.
void cancelled_each_report(const service&);

inline const std::string apples = R"({"customer": "ann", "item": "apples", "quantity": 2})";

/// What a program prints, and its exit code.
struct printed {
  int code;
  std::string out, error;
};
printed run_program(std::vector<std::string> args);

}  // namespace orders::tests
