#include "faults.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/statvfs.h>

namespace orders::tests {

using namespace std::chrono_literals;

// --- a load

load_under_way::load_under_way(const service& s, load_settings set) {
  set.during = 1h;
  set.check = true;
  set.enough = stop_.get_token();
  totals_ = std::async(std::launch::async, [&s, set] { return s.load(set); });
}

load_totals load_under_way::end() {
  stop_.request_stop();
  return totals_.get();
}

std::uint64_t count_of(const service& s, const std::string& what) { return s.stats().at("since_start").at(what); }

bool counts(const service& s, const std::string& what, std::uint64_t more_than) {
  return eventually_here([&] { return count_of(s, what) > more_than; });
}

// --- the verdict

static bool at_rest(const json& stats) {
  if (stats.at("orders").is_null() || stats.at("queue").is_null()) return false;
  auto const zero = [](const json& of, std::initializer_list<const char*> names) {
    return std::ranges::all_of(names, [&](const char* n) { return of.at(n) == 0; });
  };
  return zero(stats, {"outbox"}) && zero(stats.at("orders"), {"accepted"}) &&
         zero(stats.at("queue"), {"waiting", "in_flight"}) && zero(stats.at("pool"), {"in_use", "waiting"}) &&
         stats.at("requests") == 1 && stats.at("connections") == 1;
}

/// What it says when it is at rest with so many goroutines at most, else when it was at rest last, else at last.
static json stats_at_rest(const service& s, std::size_t most, std::chrono::milliseconds wait) {
  json at_last, now;
  eventually_here(
      [&] {
        now = s.stats();
        if (at_rest(now) || at_last.is_null() || !at_rest(at_last)) at_last = now;
        return at_rest(now) && now.at("goroutines") <= most;
      },
      wait);
  return at_last;
}

std::size_t goroutines_at_rest(const service& s) { return stats_at_rest(s, SIZE_MAX, 60s).at("goroutines"); }

std::vector<std::string> complaints(const service& s, const load_totals& t, std::size_t goroutines,
                                    std::chrono::milliseconds wait) {
  std::vector<std::string> all;
  auto const none = [&](std::uint64_t n, const char* what) {
    if (n != 0) all.push_back(std::to_string(n) + " " + what);
  };
  if (t.acknowledged == 0) all.push_back("no order was acknowledged: " + t.last_failure);
  none(t.lost, "acknowledged orders were lost");
  none(t.waiting, "acknowledged orders were not fulfilled");
  none(t.shipped_twice, "acknowledged orders were shipped more than once");
  json const stats = stats_at_rest(s, goroutines, wait);
  if (std::size_t const now = stats.at("goroutines"); now > goroutines)
    all.push_back(std::to_string(now) + " goroutines, not " + std::to_string(goroutines));
  if (!at_rest(stats)) all.push_back("it does not come to rest: " + stats.dump());
  if (stats.at("orders").at("fulfilled") != stats.at("shipments"))
    all.push_back(stats.at("shipments").dump() + " shipments of " + stats.at("orders").at("fulfilled").dump() +
                  " orders");
  none(stats.at("queue").at("dead"), "messages are dead letters");
  none(stats.at("leaks"), "goroutines are leaked");
  printed const leaks = run_program({LEASH_TOOL, "leaks", s.debug()});
  if (leaks.code != 0) all.push_back("leash leaks: " + leaks.out + leaks.error);
  if (s.errors().find("Sanitizer") != std::string::npos) all.push_back("a sanitizer complains");
  return all;
}

// --- a small disk

static const std::string plenty = "512m";

small_disk::small_disk() : path_(folder_.file("disk")) {
  std::filesystem::create_directory(path_);
  std::vector<std::string> command{"unshare", "--mount"};
  if (::geteuid() != 0) command.insert(command.end(), {"--user", "--map-root-user"});
  command.insert(command.end(), {"sh", "-c",
                                 "mount -t tmpfs -o size=" + plenty + " none " + path_ +
                                     " && echo ready && exec setpriv --pdeathsig=KILL sleep infinity"});
  std::string const out = folder_.file("out"), error = folder_.file("error");
  try {
    holder_.emplace(command, out, error);
  } catch (const std::system_error& e) {
    missing_ = e.what();
    return;
  }
  auto const ready = [&] { return !lines_of(out).empty(); };
  eventually_here([&] { return ready() || !holder_->runs(); });
  if (ready()) return;
  auto const why = lines_of(error);
  missing_ = why.empty() ? "no namespace" : why.front();
}

std::vector<std::string> small_disk::seen_by() const {
  std::vector<std::string> command{"nsenter", "--target", std::to_string(holder_->id()), "--mount"};
  if (::geteuid() != 0) command.insert(command.end(), {"--user", "--preserve-credentials"});
  return command;
}

bool small_disk::resize(const std::string& size) {
  auto command = seen_by();
  command.insert(command.end(), {"mount", "-o", "remount,size=" + size, path_});
  return run_program(command).code == 0;
}

void small_disk::becomes_full() {
  std::string const seen_from_here = "/proc/" + std::to_string(holder_->id()) + "/root" + path_;
  // It takes no size below what is used, and somebody may use some more meanwhile: then again.
  bool const done = eventually_here([&] {
    struct statvfs now{};
    if (::statvfs(seen_from_here.c_str(), &now) != 0)
      throw std::system_error(errno, std::generic_category(), seen_from_here);
    return resize(std::to_string((now.f_blocks - now.f_bfree) * now.f_frsize));
  });
  if (!done) throw std::runtime_error("the disk cannot be made smaller");
}

void small_disk::has_room() {
  if (!resize(plenty)) throw std::runtime_error("the disk cannot be made larger");
}

// --- rude clients

rude_client::rude_client(const std::string& url) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int const little = 4096;  // so that a long answer does not fit into the system's buffers
  if (socket_ < 0 || ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &little, sizeof little) != 0 ||
      ::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
    throw std::system_error(errno, std::generic_category(), url);
}

rude_client::~rude_client() {
  if (socket_ >= 0) ::close(socket_);
}

void rude_client::sends(std::string_view bytes) const {
  if (::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
    throw std::system_error(errno, std::generic_category(), "send");
}

std::string rude_client::reads(std::size_t at_most) const {
  std::string bytes(at_most, '\0');
  ssize_t const n = ::recv(socket_, bytes.data(), bytes.size(), 0);
  if (n <= 0) throw std::system_error(errno, std::generic_category(), "recv");
  bytes.resize(static_cast<std::size_t>(n));
  return bytes;
}

void rude_client::resets() {
  linger const at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  ::close(std::exchange(socket_, -1));
}

void many_are_rude(const service& s) {
  std::string const order = "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " +
                            std::to_string(apples.size()) + "\r\n\r\n" + apples;
  for (std::size_t sent = 1; sent <= order.size(); ++sent) {
    rude_client c(s.url());
    c.sends(std::string_view(order).substr(0, sent));
    c.resets();
  }
  std::string many;
  for (int i = 0; i < 100; ++i) many += "GET /orders?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n";
  std::vector<std::unique_ptr<rude_client>> readers;
  for (int i = 0; i < 8; ++i) {
    readers.push_back(std::make_unique<rude_client>(s.url()));
    readers.back()->sends(i % 2 == 0 ? many : "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(readers.back()->reads(100).starts_with("HTTP/1.1 200"));
  }
  for (auto& r : readers) r->resets();
  // Two of the reports run, the others wait for their places.
  std::uint64_t const cancelled = count_of(s, "cancelled");
  std::vector<std::unique_ptr<rude_client>> askers;
  for (int i = 0; i < 6; ++i) {
    askers.push_back(std::make_unique<rude_client>(s.url()));
    askers.back()->sends("GET /report?ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  EXPECT_TRUE(eventually_here([&] { return s.stats().at("requests") > 6; }));
  for (auto& a : askers) a->resets();
  EXPECT_TRUE(counts(s, "cancelled", cancelled + 5));
}

}  // namespace orders::tests
