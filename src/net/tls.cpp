#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <boost/asio/ssl/error.hpp>
#include <leash/mutex.hpp>
#include <leash/net/tls.hpp>
#include <mutex>
#include <stdexcept>

#include "system.hpp"
#include "whole.hpp"

namespace leash::net {

namespace {

[[noreturn]] void throw_ssl(const char* doing, SSL* ssl = nullptr) {
  unsigned long const number = ERR_get_error();
  std::string what = doing;
  if (ssl != nullptr)
    if (long const verdict = SSL_get_verify_result(ssl); verdict != X509_V_OK)
      what += std::string(": ") + X509_verify_cert_error_string(verdict);
  ERR_clear_error();
  if (number == 0) throw system_error(error_code(asio::ssl::error::unspecified_system_error), what);
  throw system_error(error_code(static_cast<int>(number), asio::error::get_ssl_category()), what);
}

template <auto Free>
struct freer {
  template <class T>
  void operator()(T* p) const noexcept {
    Free(p);
  }
};
using bio_ptr = std::unique_ptr<BIO, freer<BIO_free_all>>;
using x509_ptr = std::unique_ptr<X509, freer<X509_free>>;
using key_ptr = std::unique_ptr<EVP_PKEY, freer<EVP_PKEY_free>>;

bio_ptr memory_of(const std::string& s) {
  bio_ptr b(BIO_new_mem_buf(s.data(), static_cast<int>(s.size())));
  if (b == nullptr) throw_ssl("leash::net: no memory");
  return b;
}

bool is_address(const std::string& host) {
  error_code e;
  (void)asio::ip::make_address(host, e);
  return !e;
}

}  // namespace

// --- tls_context

tls_context::tls_context(bool server)
    : ctx_(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()), [](SSL_CTX* c) {
        if (c != nullptr) SSL_CTX_free(c);
      }) {
  if (ctx_ == nullptr) throw_ssl("leash::net: TLS");
  SSL_CTX_set_min_proto_version(ctx_.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(ctx_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                   SSL_MODE_AUTO_RETRY | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(ctx_.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  if (!server) SSL_CTX_set_verify(ctx_.get(), SSL_VERIFY_PEER, nullptr);
}

tls_context tls_context::client() {
  tls_context c(false);
  if (SSL_CTX_set_default_verify_paths(c.ctx_.get()) != 1) throw_ssl("leash::net: the system's certificates");
  return c;
}
tls_context tls_context::server(const std::string& chain, const std::string& key) {
  tls_context c(true);
  c.use_certificate(chain, key);
  return c;
}
tls_context tls_context::server_from_files(const std::string& chain_file, const std::string& key_file) {
  tls_context c(true);
  if (SSL_CTX_use_certificate_chain_file(c.ctx_.get(), chain_file.c_str()) != 1)
    throw_ssl(("leash::net: the certificate " + chain_file).c_str());
  if (SSL_CTX_use_PrivateKey_file(c.ctx_.get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1)
    throw_ssl(("leash::net: the key " + key_file).c_str());
  return c;
}

void tls_context::use_certificate(const std::string& chain, const std::string& key) {
  bio_ptr const certificates = memory_of(chain);
  x509_ptr const leaf(PEM_read_bio_X509_AUX(certificates.get(), nullptr, nullptr, nullptr));
  if (leaf == nullptr || SSL_CTX_use_certificate(ctx_.get(), leaf.get()) != 1) throw_ssl("leash::net: the certificate");
  SSL_CTX_clear_chain_certs(ctx_.get());
  while (X509* next = PEM_read_bio_X509(certificates.get(), nullptr, nullptr, nullptr))
    if (SSL_CTX_add0_chain_cert(ctx_.get(), next) != 1) throw_ssl("leash::net: the certificate's chain");
  ERR_clear_error();  // the end of the text
  bio_ptr const text = memory_of(key);
  key_ptr const k(PEM_read_bio_PrivateKey(text.get(), nullptr, nullptr, nullptr));
  if (k == nullptr || SSL_CTX_use_PrivateKey(ctx_.get(), k.get()) != 1 || SSL_CTX_check_private_key(ctx_.get()) != 1)
    throw_ssl("leash::net: the certificate's key");
}

void tls_context::trust(const std::string& pem) {
  bio_ptr const text = memory_of(pem);
  X509_STORE* const store = SSL_CTX_get_cert_store(ctx_.get());
  int n = 0;
  for (;; ++n) {
    x509_ptr const c(PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr));
    if (c == nullptr) break;
    if (X509_STORE_add_cert(store, c.get()) != 1) throw_ssl("leash::net: a certificate to trust");
  }
  if (n == 0) throw_ssl("leash::net: no certificate to trust in the text");
  ERR_clear_error();
}
void tls_context::trust_file(const std::string& path) {
  if (SSL_CTX_load_verify_file(ctx_.get(), path.c_str()) != 1)
    throw_ssl(("leash::net: certificates to trust in " + path).c_str());
}
void tls_context::require_client_certificate() {
  SSL_CTX_set_verify(ctx_.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
}

void tls_context::set_alpn(std::vector<std::string> protocols) {
  auto wire = std::make_shared<std::vector<unsigned char>>();
  for (const std::string& p : protocols) {
    if (p.empty() || p.size() > 255)
      throw std::invalid_argument("leash::net: a protocol's name must have 1 to 255 bytes");
    wire->push_back(static_cast<unsigned char>(p.size()));
    wire->insert(wire->end(), p.begin(), p.end());
  }
  SSL_CTX_set_alpn_protos(ctx_.get(), wire->data(), static_cast<unsigned>(wire->size()));
  alpn_ = wire;
  SSL_CTX_set_alpn_select_cb(
      ctx_.get(),
      [](SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned n, void* ours) {
        auto& mine = *static_cast<std::vector<unsigned char>*>(ours);
        unsigned char* chosen = nullptr;
        if (SSL_select_next_proto(&chosen, size, mine.data(), static_cast<unsigned>(mine.size()), in, n) !=
            OPENSSL_NPN_NEGOTIATED)
          return SSL_TLSEXT_ERR_NOACK;
        *out = chosen;
        return SSL_TLSEXT_ERR_OK;
      },
      wire.get());
}

// --- tls_stream

struct tls_stream::engine {
  tcp_stream lower;
  tls_context context;  // kept: the connection refers to it
  std::unique_ptr<SSL, freer<SSL_free>> ssl;
  BIO* in = nullptr;                                    // the connection's
  BIO* out = nullptr;                                   // the connection's
  std::mutex lock;                                      // of ssl and its BIOs: held for one call, never across a wait
  mutex write_turn;                                     // what comes out goes to the other end in order
  bool writing = false, broken = false, ended = false;  // under write_turn; ended: the reader's

  engine(tcp_stream s, tls_context c)
      : lower(std::move(s)), context(std::move(c)), ssl(SSL_new(context.native_handle())) {
    if (ssl == nullptr) throw_ssl("leash::net: TLS");
    in = BIO_new(BIO_s_mem());
    out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, -1);
    BIO_set_mem_eof_return(out, -1);
    SSL_set_bio(ssl.get(), in, out);
  }

  enum class step { done, wants_input, closed, failed };
  /// f: a call of SSL_xxx.
  template <class F>
  step call(F f, const char* doing) {
    std::lock_guard guard(lock);
    ERR_clear_error();
    int const r = f(ssl.get());
    if (r > 0) return step::done;
    switch (SSL_get_error(ssl.get(), r)) {
      case SSL_ERROR_WANT_READ:
        if (ended) throw system_error(error_code(asio::ssl::error::stream_truncated), doing);
        return step::wants_input;
      case SSL_ERROR_ZERO_RETURN:
        return step::closed;
      default:
        throw_ssl(doing, ssl.get());
    }
  }
  std::string take_output() {
    std::lock_guard guard(lock);
    std::string s;
    if (std::size_t const n = BIO_ctrl_pending(out); n != 0) {
      s.resize(n);
      BIO_read(out, s.data(), static_cast<int>(n));
    }
    return s;
  }
  bool has_output() {
    std::lock_guard guard(lock);
    return BIO_ctrl_pending(out) != 0;
  }
  /// What the other end has sent so far. False: nothing is there now.
  LEASH_NOINLINE bool take_input() {
    std::byte buffer[16 * 1024];
    std::optional<std::size_t> const n = lower.try_read(buffer);
    if (!n) return false;
    std::lock_guard guard(lock);
    if (*n == 0) ended = true;
    if (*n != 0) BIO_write(in, buffer, static_cast<int>(*n));
    return true;
  }
};

tls_stream::tls_stream() noexcept = default;
tls_stream::tls_stream(std::unique_ptr<engine> e) noexcept : e_(std::move(e)) {}
tls_stream::tls_stream(tls_stream&&) noexcept = default;
tls_stream& tls_stream::operator=(tls_stream&&) noexcept = default;
tls_stream::~tls_stream() = default;

task<> tls_stream::flush(engine& e) {
  auto turn = co_await e.write_turn.lock();
  if (e.writing || e.broken) {
    e.broken = true;  // a write was cut short: the other end waits for the rest of a record
    throw system_error(error_code(asio::error::broken_pipe), "leash::net: an earlier write was cut short");
  }
  std::string const out = e.take_output();
  if (out.empty()) co_return;
  e.writing = true;
  co_await e.lower.write_all(out);
  e.writing = false;
}

task<> tls_stream::more_input(engine& e) {
  while (!e.take_input()) co_await e.lower.arrived();
}

task<> tls_stream::handshake(engine& e) {
  for (;;) {
    std::exception_ptr failed;
    engine::step s = engine::step::failed;
    try {
      s = e.call([](SSL* ssl) { return SSL_do_handshake(ssl); }, "leash::net: TLS handshake");
    } catch (...) {
      failed = std::current_exception();
    }
    if (e.has_output()) {
      try {
        co_await flush(e);  // also what tells the other end why it failed
      } catch (...) {
        if (!failed) throw;
      }
    }
    if (failed) std::rethrow_exception(failed);
    if (s == engine::step::done) co_return;
    co_await more_input(e);
  }
}

task<tls_stream> tls_stream::client(tcp_stream lower, tls_context context, std::string host) {
  auto e = std::make_unique<engine>(std::move(lower), std::move(context));
  SSL* const ssl = e->ssl.get();
  if (host.empty()) throw std::invalid_argument("leash::net: TLS needs the name that the other end must prove");
  if (is_address(host)) {
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) != 1) throw_ssl("leash::net: TLS");
  } else if (SSL_set1_host(ssl, host.c_str()) != 1 || SSL_set_tlsext_host_name(ssl, host.c_str()) != 1) {
    throw_ssl("leash::net: TLS");
  }
  SSL_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
  SSL_set_connect_state(ssl);
  co_await handshake(*e);
  co_return tls_stream(std::move(e));
}

task<tls_stream> tls_stream::server(tcp_stream lower, tls_context context) {
  auto e = std::make_unique<engine>(std::move(lower), std::move(context));
  SSL_set_accept_state(e->ssl.get());
  co_await handshake(*e);
  co_return tls_stream(std::move(e));
}

task<std::size_t> tls_stream::read_some(mutable_bytes to) {
  if (to.empty()) co_return 0;
  for (;;) {
    int const most = static_cast<int>(std::min<std::size_t>(to.size(), 1 << 30));
    int n = 0;
    engine::step const s =
        e_->call([&](SSL* ssl) { return n = SSL_read(ssl, to.data(), most); }, "leash::net: reading from TLS");
    if (e_->has_output()) co_await flush(*e_);
    if (s == engine::step::done) co_return static_cast<std::size_t>(n);
    if (s == engine::step::closed) co_return 0;
    co_await more_input(*e_);
  }
}

task<bool> tls_stream::read_exactly(mutable_bytes to) { return read_whole(*this, to); }

task<> tls_stream::write_all(const_bytes from) {
  constexpr std::size_t portion = 64 * 1024;
  while (!from.empty()) {
    int const most = static_cast<int>(std::min(from.size(), portion));
    int n = 0;
    engine::step const s =
        e_->call([&](SSL* ssl) { return n = SSL_write(ssl, from.data(), most); }, "leash::net: writing to TLS");
    co_await flush(*e_);
    if (s == engine::step::done) from = from.from(static_cast<std::size_t>(n));
    if (s == engine::step::closed) throw system_error(asio::error::broken_pipe);
    if (s == engine::step::wants_input) co_await more_input(*e_);
  }
}

task<> tls_stream::write_all(std::span<const const_bytes> pieces) {
  std::size_t bytes = 0;
  for (const const_bytes& p : pieces) bytes += p.size();
  if (bytes > 16 * 1024) {
    for (const const_bytes& p : pieces) co_await write_all(p);
    co_return;
  }
  std::string all;  // one record rather than many small ones
  all.reserve(bytes);
  for (const const_bytes& p : pieces) all.append(reinterpret_cast<const char*>(p.data()), p.size());
  co_await write_all(const_bytes(all));
}

task<> tls_stream::shutdown() {
  {
    std::lock_guard guard(e_->lock);
    ERR_clear_error();
    (void)SSL_shutdown(e_->ssl.get());
    ERR_clear_error();
  }
  co_await flush(*e_);
  e_->lower.shutdown(half::write);
}

void tls_stream::close() noexcept {
  if (e_ != nullptr) e_->lower.close();
}
bool tls_stream::is_open() const noexcept { return e_ != nullptr && e_->lower.is_open(); }
tcp_stream& tls_stream::lower() noexcept { return e_->lower; }
std::string tls_stream::version() const { return SSL_get_version(e_->ssl.get()); }
std::string tls_stream::alpn() const {
  const unsigned char* p = nullptr;
  unsigned n = 0;
  SSL_get0_alpn_selected(e_->ssl.get(), &p, &n);
  return {reinterpret_cast<const char*>(p), n};
}
std::string tls_stream::peer_subject() const {
  X509* const c = SSL_get0_peer_certificate(e_->ssl.get());
  if (c == nullptr) return {};
  bio_ptr const text(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(text.get(), X509_get_subject_name(c), 0, XN_FLAG_RFC2253);
  std::string s(BIO_ctrl_pending(text.get()), '\0');
  BIO_read(text.get(), s.data(), static_cast<int>(s.size()));
  return s;
}

task<tls_stream> connect_tls(std::string host_and_port, tls_context context) {
  std::string host = split_host_port(host_and_port).first;
  tcp_stream s = co_await connect(std::move(host_and_port));
  co_return co_await tls_stream::client(std::move(s), std::move(context), std::move(host));
}

}  // namespace leash::net
