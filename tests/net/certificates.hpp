// Certificates made for a test, in memory.
#pragma once
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

namespace leash::test {

struct certificate {
  std::shared_ptr<X509> x;
  std::shared_ptr<EVP_PKEY> key;

  std::string pem() const {
    std::shared_ptr<BIO> b(BIO_new(BIO_s_mem()), BIO_free_all);
    PEM_write_bio_X509(b.get(), x.get());
    return text(b.get());
  }
  std::string key_pem() const {
    std::shared_ptr<BIO> b(BIO_new(BIO_s_mem()), BIO_free_all);
    PEM_write_bio_PrivateKey(b.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    return text(b.get());
  }

 private:
  static std::string text(BIO* b) {
    char* p = nullptr;
    long const n = BIO_get_mem_data(b, &p);
    return std::string(p, static_cast<std::size_t>(n));
  }
};

/// names: "DNS:a.example,IP:127.0.0.1"; empty: an authority. Signed by `by`, or by itself.
inline certificate make_certificate(const std::string& names, const certificate* by = nullptr,
                                    long valid_seconds = 3600) {
  certificate c;
  c.key.reset(EVP_EC_gen("P-256"), EVP_PKEY_free);
  c.x.reset(X509_new(), X509_free);
  X509* x = c.x.get();
  X509_set_version(x, 2);
  static long serial = 1;
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x), -7200);
  X509_gmtime_adj(X509_getm_notAfter(x), valid_seconds);
  X509_set_pubkey(x, c.key.get());
  std::string const name = names.empty() ? "test authority" : "test " + names.substr(0, 40);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(by != nullptr ? by->x.get() : x));
  X509V3_CTX v;
  X509V3_set_ctx_nodb(&v);
  X509V3_set_ctx(&v, by != nullptr ? by->x.get() : x, x, nullptr, nullptr, 0);
  auto add = [&](int nid, const std::string& value) {
    X509_EXTENSION* e = X509V3_EXT_conf_nid(nullptr, &v, nid, value.c_str());
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
  };
  if (names.empty()) {
    add(NID_basic_constraints, "critical,CA:TRUE");
    add(NID_key_usage, "critical,keyCertSign");
  } else {
    add(NID_subject_alt_name, names);
  }
  X509_sign(x, by != nullptr ? by->key.get() : c.key.get(), EVP_sha256());
  return c;
}

}  // namespace leash::test
