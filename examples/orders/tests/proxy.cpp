#include "proxy.hpp"

#include <leash/net.hpp>
#include <list>

namespace orders::tests {

using leash::scope, leash::task;
namespace net = leash::net;

namespace {

struct connection {
  net::stream near, far;
};

task<> pass(net::stream& from, net::stream& to) {
  std::vector<std::byte> piece(16'384);
  while (std::size_t const n = co_await from.read_some(piece)) co_await to.write_all({piece.data(), n});
  to.shutdown();
}

/// Until both sides have ended it, or one is lost. Who is cancelled leaves it in `all`: it stays open.
task<> carry(std::list<connection>& all, net::stream near, const std::string& to) {
  auto const c = all.insert(all.end(), {std::move(near), {}});
  try {
    if (to.starts_with('/'))
      c->far = co_await net::connect_unix(to);
    else
      c->far = co_await net::connect(to);
    co_await leash::with_scope([&](scope& s) {
      s.go([&] { return pass(c->near, c->far); });
      s.go([&] { return pass(c->far, c->near); });
    });
  } catch (const net::system_error&) {
  }
  all.erase(c);
}

}  // namespace

task<> proxy::work(leash::receiver<network> changes) {
  std::list<connection> all;
  for (std::optional<network> now = network::passes; now;) {
    if (now != network::swallows) all.clear();
    std::optional<net::tcp_listener> listener;
    if (now != network::refuses) listener.emplace(port_.address());
    changed_.fetch_add(1);
    changed_.notify_all();
    co_await leash::with_scope([&](scope& s) -> task<> {
      if (now == network::passes)
        s.go([&] {
          return net::serve(*listener, [&](net::tcp_stream near) { return carry(all, std::move(near), to_); });
        });
      now = co_await changes.recv();
      s.cancel("the network changes");
    });
  }
}

proxy::proxy(std::string to) : to_(std::move(to)) {
  auto [change, changes] = leash::channel<network>(1);
  change_ = std::move(change);
  // One worker: what it carries is in one list.
  thread_ = std::thread([this, changes = std::move(changes)]() mutable {
    leash::run({.workers = 1}, [&] { return work(std::move(changes)); });
  });
  changed_.wait(0);
}

proxy::~proxy() {
  change_ = {};
  thread_.join();
}

void proxy::becomes(network n) {
  int const before = changed_;
  (void)change_.try_send(n);
  changed_.wait(before);
}

/// The database's address is "host=FOLDER ...".
static std::string_view folder_in(std::string_view address) {
  std::size_t const from = address.find('=') + 1;
  return address.substr(from, address.find(' ') - from);
}
postgres_proxy::postgres_proxy(const leash::test::sql_tests::database& d)
    : proxy(std::string(folder_in(d.address())) + "/.s.PGSQL.5432"), conninfo_(d.address()) {
  conninfo_.replace(conninfo_.find('=') + 1, folder_in(d.address()).size(),
                    "127.0.0.1 sslmode=disable gssencmode=disable port=" + std::to_string(port()));
}

}  // namespace orders::tests
