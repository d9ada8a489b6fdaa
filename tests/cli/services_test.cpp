// The tool on services that nobody here wrote, at work: prometheus, etcd and nats-server of Debian. They are healthy, so nothing
// is suspected, whatever load does to their goroutines.
#include <nlohmann/json.hpp>

#include "error.hpp"
#include "fetch.hpp"
#include "support.hpp"
#include "support/files.hpp"
#include "support/kept_port.hpp"

namespace leash::cli {
namespace {

using json = nlohmann::json;
using leash::test::eventually_here;
using leash::test::folder;
using leash::test::kept_port;
using leash::test::process;
using namespace std::chrono_literals;

/// A connection over which nothing special is spoken; it stays open as long as the object.
class wire {
 public:
  explicit wire(const kept_port& to) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons(to.number());
    const timeval most{10, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0)
      throw std::system_error(errno, std::generic_category(), to.address());
  }
  wire(const wire&) = delete;
  ~wire() { ::close(fd_); }
  void say(std::string_view s) const { EXPECT_EQ(::send(fd_, s.data(), s.size(), MSG_NOSIGNAL), std::ssize(s)); }
  /// Waits until something comes; empty: nothing does.
  std::string hear() const {
    char buffer[4096];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
    return {buffer, static_cast<std::size_t>(std::max<ssize_t>(n, 0))};
  }
  void post(const std::string& path, const std::string& body) const {
    say("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
        body);
  }

 private:
  int fd_;
};

bool listens(const kept_port& at) {
  try {
    const wire connected(at);
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}
bool answers(const std::string& address) {
  try {
    return fetch(parse_address("http://" + address), {}).status == 200;
  } catch (const input_error&) {
    return false;
  }
}

/// Looks at it from several sides while load() goes on, again and again.
template <class F>
void expect_healthy(const std::string& address, F load) {
  std::jthread at_work([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) load();
  });
  for (const std::vector<std::string>& how :
       {std::vector<std::string>{"leaks", "--json", "--all"},
        std::vector<std::string>{"leaks", "--json", "--all", "--for", "5s", "--every", "500ms"}}) {
    std::vector<std::string> call = how;
    call.push_back(address);
    const test::outcome r = test::run_tool(call);
    EXPECT_EQ(r.code, 0) << r.out << r.err;
    const json all = json::parse(r.out);
    EXPECT_EQ(all["proven"], 0);
    EXPECT_EQ(all["suspected"], 0) << r.out;
    EXPECT_GT(all["targets"][0]["goroutines"], 10);
    EXPECT_GT(all["targets"][0]["findings"].size(), 5u);
  }
}

TEST(Services, prometheus_under_queries) {
  if (leash::test::program("prometheus").empty()) GTEST_SKIP() << "skipped: prometheus is not installed";
  const folder files;
  const kept_port port;
  const std::string config =
      files.write("prometheus.yml",
                  "global: {scrape_interval: 1s}\nscrape_configs: [{job_name: self, static_configs: [{targets: ['" +
                      port.address() + "']}]}]\n");
  const process it({"prometheus", "--config.file=" + config, "--storage.tsdb.path=" + files.file("data"),
                    "--web.listen-address=" + port.address()},
                   files.file("out"), files.file("log"));
  ASSERT_TRUE(eventually_here([&] { return answers(port.address() + "/-/ready"); }))
      << test::read_all(files.file("log"));
  expect_healthy(port.address(), [&] {
    answers(port.address() + "/api/v1/query?query=sum(rate(prometheus_http_requests_total[1m]))by(handler)");
    std::this_thread::sleep_for(10ms);
  });
}
TEST(Services, etcd_under_watches_and_puts) {
  if (leash::test::program("etcd").empty()) GTEST_SKIP() << "skipped: etcd is not installed";
  const folder files;
  const kept_port clients, peers;
  const std::string url = "http://" + clients.address(), peer_url = "http://" + peers.address();
  const process it({"etcd", "--data-dir", files.file("data"), "--enable-pprof", "--listen-client-urls", url,
                    "--advertise-client-urls", url, "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls",
                    peer_url, "--initial-cluster", "default=" + peer_url},
                   files.file("out"), files.file("log"));
  ASSERT_TRUE(eventually_here([&] { return answers(clients.address() + "/health"); }))
      << test::read_all(files.file("log"));
  std::vector<std::unique_ptr<wire>> watching;
  for (int i = 0; i < 60; ++i) {
    watching.push_back(std::make_unique<wire>(clients));
    watching.back()->post("/v3/watch", R"({"create_request": {"key": "Zm9v"}})");
    ASSERT_NE(watching.back()->hear().find("\"created\":true"), std::string::npos);
  }
  const wire writer(clients);
  expect_healthy(clients.address(), [&] {
    writer.post("/v3/kv/put", R"({"key": "Zm9v", "value": "YmFy"})");
    EXPECT_NE(writer.hear(), "");
    for (const auto& w : watching) EXPECT_NE(w->hear(), "") << "each watch tells of the put";
    std::this_thread::sleep_for(10ms);
  });
}
TEST(Services, nats_server_under_subscribers) {
  if (leash::test::program("nats-server").empty()) GTEST_SKIP() << "skipped: nats-server is not installed";
  const folder files;
  const kept_port clients, profiles;
  const std::string config =
      files.write("nats.conf", "listen: " + clients.address() + "\nprof_port: " + std::to_string(profiles.number()) +
                                   "\njetstream { store_dir: \"" + files.file("js") + "\" }\n");
  const process it({"nats-server", "-c", config, "-l", files.file("log")});
  ASSERT_TRUE(eventually_here([&] {
    return listens(clients) && answers(profiles.address() + "/debug/pprof/goroutine");
  })) << test::read_all(files.file("log"));
  std::vector<std::unique_ptr<wire>> subscribers;
  for (int i = 0; i < 150; ++i) {
    subscribers.push_back(std::make_unique<wire>(clients));
    const wire& s = *subscribers.back();
    ASSERT_TRUE(s.hear().starts_with("INFO"));
    s.say("CONNECT {\"verbose\":false}\r\nSUB news 1\r\nPING\r\n");
    ASSERT_TRUE(s.hear().starts_with("PONG"));
  }
  expect_healthy(profiles.address(), [&] {
    subscribers[0]->say("PUB news 2\r\nhi\r\n");
    for (const auto& s : subscribers) EXPECT_NE(s->hear(), "");
    std::this_thread::sleep_for(10ms);
  });
}

}  // namespace
}  // namespace leash::cli
