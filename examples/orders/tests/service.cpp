#include "service.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <exception>
#include <sstream>

namespace orders::tests {

using namespace std::chrono_literals;
using leash::task;

static std::string text_of(const std::string& file) {
  std::ifstream in(file);
  std::ostringstream all;
  all << in.rdbuf();
  return all.str();
}

service::service(std::vector<std::string> options, std::vector<std::string> before)
    : options_(std::move(options)), before_(std::move(before)) {
  if (std::ranges::find(options_, "--data") == options_.end()) options_.insert(options_.end(), {"--data", data()});
  start();
}

service::~service() {
  if (::testing::Test::HasFailure() || std::uncaught_exceptions() != 0)
    std::fprintf(stderr, "--- the service's log:\n%s---\n", errors().c_str());
}

void service::start() {
  std::string const out = folder_.file("out" + std::to_string(++runs_)), error = folder_.file("errors");
  std::vector<std::string> args = before_;
  args.insert(args.end(), {LEASH_ORDERS, "--listen", port_.address(), "--debug", "127.0.0.1:0"});
  args.insert(args.end(), options_.begin(), options_.end());
  process_.emplace(args, out, error);
  auto const said = [&] {
    auto const lines = lines_of(out);
    return !lines.empty() && lines.back() == "ready";
  };
  if (!eventually_here([&] { return said() || !process_->runs(); }) || !said())
    throw std::runtime_error("leash_orders does not start: " + errors());
  auto const lines = lines_of(out);
  url_ = lines.at(0).substr(lines.at(0).find("http"));
  debug_ = lines.at(1).substr(lines.at(1).find("http"));
}

int service::end() {
  process_->signal(SIGTERM);
  int const code = process_->wait();
  process_.reset();
  return errors().ends_with("ended, 0 goroutines left\n") ? code : 100;
}

void service::kill() { process_.reset(); }

std::string service::errors() const { return text_of(folder_.file("errors")); }

reply service::send(leash::http::client_request q) const {
  return leash::run({.workers = 1}, [&]() -> task<reply> {
    leash::http::client c;
    auto answer = co_await c.send(std::move(q));
    reply r{answer.status, {}, std::string(answer.header("Location"))};
    r.text = co_await answer.text();
    co_return r;
  });
}

reply service::order(const std::string& body, const std::string& key) const {
  leash::http::client_request q{"POST", url_ + "/orders", {}, body};
  q.headers.add("Content-Type", "application/json");
  if (!key.empty()) q.headers.add("Idempotency-Key", key);
  return send(std::move(q));
}

std::size_t service::settled(std::size_t goroutines) const {
  std::size_t n = 0;
  eventually_here([&] { return (n = stats().at("goroutines").get<std::size_t>()) <= goroutines; });
  return n;
}

load_totals service::load(load_settings set) const {
  set.url = url_;
  return leash::run({.workers = 2}, [&] { return drive(set); });
}

void cancelled_each_report(const service& s) {
  json const n = s.stats().at("since_start");
  EXPECT_GT(n.at("reports"), 0);
  EXPECT_GE(n.at("cancelled"), n.at("reports"));
}

std::unique_ptr<service> started(std::vector<std::string> options) {
  for (auto const end = std::chrono::steady_clock::now() + longest_wait;;) {
    try {
      return std::make_unique<service>(options);
    } catch (const std::runtime_error&) {
      if (std::chrono::steady_clock::now() > end) throw;
    }
  }
}

printed run_program(std::vector<std::string> args) {
  folder f;
  process p(std::move(args), f.file("out"), f.file("error"));
  int const code = p.wait();
  return {code, text_of(f.file("out")), text_of(f.file("error"))};
}

}  // namespace orders::tests
