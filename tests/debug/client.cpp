#include "client.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>

namespace leash::test {

namespace {

/// -1: nobody listens there.
template <class Address>
int connect_to(int family, const Address& to) {
  int const fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  timeval const limit{20, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return fd;
  ::close(fd);
  return -1;
}

}  // namespace

connection::connection(unsigned short port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  fd_ = connect_to(AF_INET, to);
}
connection::connection(const std::string& path) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  path.copy(to.sun_path, sizeof to.sun_path - 1);
  fd_ = connect_to(AF_UNIX, to);
}
connection::~connection() {
  if (fd_ >= 0) ::close(fd_);
}
bool connection::write(std::string_view s) {
  while (!s.empty()) {
    ssize_t const n = ::send(fd_, s.data(), s.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    s.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}
bool connection::fill() {
  char bytes[65536];
  ssize_t const n = ::recv(fd_, bytes, sizeof bytes, 0);
  if (n <= 0) return false;
  buffer_.append(bytes, static_cast<std::size_t>(n));
  return true;
}
std::string connection::read_all() {
  while (fill()) {
  }
  return std::exchange(buffer_, {});
}
std::size_t connection::count_all(std::string_view text) {
  std::size_t n = 0;
  while (fill()) {
    std::size_t from = 0;
    for (std::size_t at; (at = buffer_.find(text, from)) != buffer_.npos; from = at + text.size()) ++n;
    buffer_.erase(0, std::max(from, buffer_.size() - std::min(buffer_.size(), text.size() - 1)));
  }
  return n;
}
bool connection::ends() {
  char byte;
  ssize_t n;
  while ((n = ::recv(fd_, &byte, 1, 0)) > 0) {
  }
  return n == 0 || errno != EAGAIN;
}

response connection::read() {
  response r;
  std::size_t end;
  while ((end = buffer_.find("\r\n\r\n")) == buffer_.npos)
    if (!fill()) return r;
  std::istringstream head(buffer_.substr(0, end));
  buffer_.erase(0, end + 4);
  std::string word, line;
  head >> word >> r.status;
  std::getline(head, line);
  while (std::getline(head, line)) {
    if (line.ends_with('\r')) line.pop_back();
    std::size_t const colon = line.find(':');
    std::string name = line.substr(0, colon);
    for (char& c : name) c = static_cast<char>(std::tolower(c));
    r.headers[name] = line.substr(line.find_first_not_of(' ', colon + 1));
  }
  auto take = [&](std::size_t n) {
    while (buffer_.size() < n)
      if (!fill()) return false;
    r.body.append(buffer_, 0, n);
    buffer_.erase(0, n);
    return true;
  };
  if (r.headers.count("content-length") != 0) {
    r.whole = take(std::stoul(r.headers["content-length"]));
  } else if (r.headers["transfer-encoding"] == "chunked") {
    for (;;) {
      std::size_t mark;
      while ((mark = buffer_.find("\r\n")) == buffer_.npos)
        if (!fill()) return r;
      std::size_t const n = std::stoul(buffer_.substr(0, mark), nullptr, 16);
      buffer_.erase(0, mark + 2);
      if (!take(n)) return r;
      while (buffer_.size() < 2)
        if (!fill()) return r;
      buffer_.erase(0, 2);
      if (n == 0) break;
    }
    r.whole = true;
  } else {
    r.body = read_all();
    r.whole = true;
  }
  return r;
}

response get(connection& c, std::string_view target, std::string_view more, std::string_view host) {
  std::string q = "GET " + std::string(target) + " HTTP/1.1\r\nHost: " + std::string(host) + "\r\n" +
                  std::string(more) + "Connection: close\r\n\r\n";
  if (!c.open() || !c.write(q)) return {};
  return c.read();
}
response get(unsigned short port, std::string_view target, std::string_view more, std::string_view host) {
  connection c(port);
  return get(c, target, more, host);
}

std::string gunzip(const std::string& in) {
  z_stream z{};
  if (inflateInit2(&z, 15 + 16) != Z_OK) return {};
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
  z.avail_in = static_cast<uInt>(in.size());
  std::string out;
  int state = Z_OK;
  while (state == Z_OK) {
    char bytes[65536];
    z.next_out = reinterpret_cast<Bytef*>(bytes);
    z.avail_out = sizeof bytes;
    state = inflate(&z, Z_NO_FLUSH);
    out.append(bytes, sizeof bytes - z.avail_out);
  }
  inflateEnd(&z);
  return state == Z_STREAM_END ? out : std::string();
}

std::pair<std::string, int> shell(const std::string& command) {
  FILE* out = ::popen(("(" + command + ") 2>&1").c_str(), "r");
  std::string all;
  if (out == nullptr) return {"", -1};
  char bytes[4096];
  for (std::size_t n; (n = std::fread(bytes, 1, sizeof bytes, out)) > 0;) all.append(bytes, n);
  int const status = ::pclose(out);
  return {all, WIFEXITED(status) ? WEXITSTATUS(status) : -1};
}
bool have(const std::string& program) { return shell("command -v " + program).second == 0; }

namespace {

task<> relay(receiver<int> in, sender<int> out) {
  label const l("team", "talkers");
  while (auto v = co_await in.recv())
    if (!co_await out.send(*v + 1)) co_return;
}
task<> talk() {
  co_await with_scope([](scope& s) {
    auto [a, from_a] = channel<int>();
    auto [b, from_b] = channel<int>();
    s.go(named("alice"), relay, std::move(from_a), std::move(b));
    s.go(named("bob"), relay, std::move(from_b), std::move(a));
  });
}
task<> receive(receiver<int>& rx) { (void)co_await rx.recv(); }
task<> stand(std::size_t receivers) {
  auto [tx, rx] = channel<int>();
  mutex m;
  co_await with_scope([&](scope& s) -> task<> {
    s.go(named("talk"), talk);
    for (std::size_t i = 0; i < receivers; ++i) s.go(named("idler"), receive, std::ref(rx));
    s.go(named("holder"), [&]() -> task<> {
      auto g = co_await m.lock();
      co_await sleep(24h);
    });
    co_await parked("holder", "sleep");
    s.go(named("locker"), [&]() -> task<> { auto g = co_await m.lock(); });
    co_await sleep(24h);
  });
}

}  // namespace

scene::scene(std::size_t receivers) {
  cancel_source over;
  over_.emplace(over.dup());
  thread_ = std::thread([over = std::move(over), receivers]() mutable {
    options o;
    o.workers = 2;
    run(o, [&]() -> task<> { (void)co_await with_cancel(over, stand(receivers)); });
  });
  // All of them wait, for good.
  EXPECT_TRUE(parked_seen_from_outside("alice", "chan receive"));
  EXPECT_TRUE(parked_seen_from_outside("bob", "chan receive"));
  EXPECT_TRUE(parked_seen_from_outside("talk", "scope join"));
  EXPECT_TRUE(parked_seen_from_outside("locker", "sync.Mutex.Lock"));
  EXPECT_TRUE(parked_seen_from_outside("idler", "chan receive", receivers));
}
void scene::stop() {
  if (!thread_.joinable()) return;
  over_->cancel("the test is over");
  thread_.join();
}

}  // namespace leash::test
