// TLS over a TCP connection (OpenSSL). Clients verify the server's certificate and name; there is no switch for less.
//
// The engine works on memory, in the goroutine that reads or writes: encryption never holds up the reactor. A parked reader
// keeps no buffer.
#pragma once
#include <leash/net/tcp.hpp>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct ssl_ctx_st;

namespace leash::net {

/// Certificates and rules; shared by any number of connections. Set up by one thread before it is used, read-only afterwards.
/// TLS 1.2 and 1.3. Errors: boost::system::system_error with OpenSSL's reason.
class tls_context {
 public:
  /// Trusts the authorities that the system trusts.
  static tls_context client();
  /// Certificate chain and key, as PEM texts.
  static tls_context server(const std::string& chain, const std::string& key);
  static tls_context server_from_files(const std::string& chain_file, const std::string& key_file);

  /// Trusts the authorities in this PEM text too.
  void trust(const std::string& pem);
  void trust_file(const std::string& path);
  /// Shows this certificate (for clients; servers have theirs already).
  void use_certificate(const std::string& chain, const std::string& key);
  /// Servers: a client without a certificate that is trusted is refused.
  void require_client_certificate();
  /// The protocols to offer, or, for servers, to choose from, best first ("h2", "http/1.1").
  void set_alpn(std::vector<std::string> protocols);

  ssl_ctx_st* native_handle() const noexcept { return ctx_.get(); }

 private:
  explicit tls_context(bool server);
  std::shared_ptr<ssl_ctx_st> ctx_;
  std::shared_ptr<std::vector<unsigned char>> alpn_;
};

/// An encrypted stream. One goroutine reads and one writes at a time; they may be two.
///
/// A write that was cut short in the middle of a record leaves the stream broken: the next write throws. Reads lose nothing by
/// being cut short.
class tls_stream {
 public:
  tls_stream() noexcept;
  tls_stream(tls_stream&&) noexcept;
  tls_stream& operator=(tls_stream&&) noexcept;
  ~tls_stream();

  /// Handshakes as client: the other end must prove to be `host` (a name or an address).
  /// Errors: boost::system::system_error; what() names what is wrong with the certificate.
  static task<tls_stream> client(tcp_stream lower, tls_context context, std::string host);
  /// Handshakes as server.
  static task<tls_stream> server(tcp_stream lower, tls_context context);

  /// As stream's. Returns 0 when the other end has said that it ends; asio::ssl::error::stream_truncated is thrown if it just
  /// stopped. Not selectable: `with_timeout` it, or select readable().
  task<std::size_t> read_some(mutable_bytes to);
  task<bool> read_exactly(mutable_bytes to);
  task<> write_all(const_bytes from);
  task<> write_all(std::span<const const_bytes> pieces);
  /// Says to the other end that this one ends. Does not wait for its answer.
  task<> shutdown();
  void close() noexcept;
  bool is_open() const noexcept;

  /// "TLSv1.3"; the protocol that was agreed on (empty: none); the certificate's subject of the other end (empty: none).
  std::string version() const;
  std::string alpn() const;
  std::string peer_subject() const;
  tcp_stream& lower() noexcept;

 private:
  struct engine;
  explicit tls_stream(std::unique_ptr<engine>) noexcept;
  static task<> handshake(engine&);
  static task<> flush(engine&);
  static task<> more_input(engine&);
  std::unique_ptr<engine> e_;
};

/// Connects to "host:port" and handshakes.
task<tls_stream> connect_tls(std::string host_and_port, tls_context context);

}  // namespace leash::net
