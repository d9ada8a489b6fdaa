// HTTP's connections on leash::net. Nothing else of leash::http includes its headers, which bring Asio.
#include "transport.hpp"

#include <leash/blocking.hpp>
#include <leash/http/client.hpp>
#include <leash/http/server.hpp>
#include <leash/net/tcp.hpp>
#include <leash/net/tls.hpp>
#include <mutex>
#include <optional>

#include "server_state.hpp"

namespace leash::http {

namespace {

std::string text_of(const net::tcp_endpoint& e) {
  std::string const ip = e.address().to_string();
  return (e.address().is_v6() ? "[" + ip + "]" : ip) + ":" + std::to_string(e.port());
}

class tcp_transport final : public transport {
 public:
  explicit tcp_transport(net::tcp_stream s) : s_(std::move(s)) {}
  task<std::size_t> read(char* to, std::size_t most) override {
    net::error_code error;
    std::size_t const n = co_await s_.read_some({to, most}, error);
    co_return error ? 0 : n;
  }
  task<bool> write(pieces what) override {
    std::array<net::const_bytes, 3> left;
    std::size_t count = 0;
    for (std::string_view p : what)
      if (!p.empty()) left[count++] = p;
    try {
      for (std::size_t first = 0, skip = 0; first < count;) {
        std::size_t n =
            co_await s_.write_some(std::span<const net::const_bytes>(left.data() + first, count - first), skip);
        while (first < count && n >= left[first].size() - skip) {
          n -= left[first].size() - skip;
          skip = 0;
          ++first;
        }
        skip += n;
      }
    } catch (const net::system_error&) {
      co_return false;
    }
    co_return true;
  }
  task<> finish() override {
    ::shutdown(s_.native_handle(), SHUT_WR);
    co_return;
  }
  int descriptor() const noexcept override { return s_.native_handle(); }
  bool secure() const noexcept override { return false; }

 private:
  net::tcp_stream s_;
};

class tls_transport final : public transport {
 public:
  /// A server's: shakes hands in start().
  tls_transport(net::tcp_stream lower, net::tls_context context)
      : descriptor_(lower.native_handle()), lower_(std::move(lower)), context_(std::move(context)) {}
  /// A client's.
  explicit tls_transport(net::tls_stream s) : descriptor_(s.lower().native_handle()), s_(std::move(s)) {}

  task<bool> start() override {
    try {
      s_ = co_await net::tls_stream::server(std::move(lower_), *context_);
    } catch (const net::system_error&) {
      co_return false;
    }
    co_return true;
  }
  task<std::size_t> read(char* to, std::size_t most) override {
    try {
      co_return co_await s_.read_some({to, most});
    } catch (const net::system_error&) {
      co_return 0;
    }
  }
  task<bool> write(pieces what) override {
    std::array<net::const_bytes, 3> left;
    std::size_t count = 0;
    for (std::string_view p : what)
      if (!p.empty()) left[count++] = p;
    try {
      co_await s_.write_all(std::span<const net::const_bytes>(left.data(), count));
    } catch (const net::system_error&) {
      co_return false;
    }
    co_return true;
  }
  task<> finish() override {
    try {
      co_await s_.shutdown();
    } catch (const net::system_error&) {
    }
    ::shutdown(descriptor_, SHUT_WR);
  }
  int descriptor() const noexcept override { return descriptor_; }
  bool secure() const noexcept override { return true; }

 private:
  int descriptor_;
  net::tcp_stream lower_;
  std::optional<net::tls_context> context_;
  net::tls_stream s_;
};

class tcp_acceptor final : public acceptor {
 public:
  tcp_acceptor(net::tcp_listener l, std::chrono::seconds keep_alive, std::optional<net::tls_context> tls = {})
      : l_(std::move(l)), keep_alive_(keep_alive), tls_(std::move(tls)) {}
  task<std::unique_ptr<transport>> accept(std::string& remote) override {
    net::error_code error;
    net::tcp_stream s = co_await l_.accept(error);
    if (error == boost::system::errc::too_many_files_open ||
        error == boost::system::errc::too_many_files_open_in_system ||
        error == boost::system::errc::not_enough_memory || error == boost::system::errc::no_buffer_space)
      co_return nullptr;
    if (error) throw std::system_error(error);
    try {
      s.set_keep_alive(keep_alive_);
      remote = text_of(s.remote_endpoint());
    } catch (const net::system_error&) {  // it has gone already
    }
    if (tls_) co_return std::make_unique<tls_transport>(std::move(s), *tls_);
    co_return std::make_unique<tcp_transport>(std::move(s));
  }

 private:
  net::tcp_listener l_;
  std::chrono::seconds const keep_alive_;
  std::optional<net::tls_context> tls_;
};

class net_connector final : public connector {
 public:
  explicit net_connector(connector_options o) : o_(std::move(o)) {}
  task<std::unique_ptr<transport>> open(const std::string& host, std::uint16_t port, bool secure) override {
    std::string const where = host + ":" + std::to_string(port);
    // What is trusted is read before the connection is there: that may take longer than a server waits for a handshake.
    std::optional<net::tls_context> trusted;
    if (secure) trusted = co_await blocking([this] { return context(); });
    net::tcp_stream s;
    try {
      s = co_await net::connect(host, std::to_string(port));
    } catch (const net::system_error& e) {
      throw failure(failure::kind::unreachable, where + ": " + e.code().message());
    }
    if (!secure) co_return std::make_unique<tcp_transport>(std::move(s));
    try {
      co_return std::make_unique<tls_transport>(
          co_await net::tls_stream::client(std::move(s), std::move(*trusted), host));
    } catch (const net::system_error& e) {
      throw failure(failure::kind::insecure, where + ": " + e.what());
    }
  }

 private:
  net::tls_context context() {
    std::lock_guard guard(lock_);
    if (!context_) {
      context_ = net::tls_context::client();
      if (!o_.ca_file.empty()) context_->trust_file(o_.ca_file);
    }
    return *context_;
  }
  connector_options o_;
  std::mutex lock_;
  std::optional<net::tls_context> context_;  // made when it is first needed: that takes long
};

}  // namespace

std::unique_ptr<connector> make_connector(connector_options o) { return std::make_unique<net_connector>(std::move(o)); }

task<shutdown_result> server::serve(net::tcp_listener from) {
  return serve_from(std::make_unique<tcp_acceptor>(std::move(from), s_->o.keep_alive));
}
task<shutdown_result> server::serve(net::tcp_listener from, net::tls_context context) {
  return serve_from(std::make_unique<tcp_acceptor>(std::move(from), s_->o.keep_alive, std::move(context)));
}

}  // namespace leash::http
