// A queue on NATS JetStream.
//
//   stream LEASH-<name>        subjects leash.mq.<name>.m.<partition>; kept until acknowledged (work queue), in files
//   stream LEASH-<name>-DEAD   subject leash.mq.<name>.dead: dead letters, with attempt and reason as headers
//   consumer all               of a queue without order: what is taken is shared by all processes that ask
//   consumer p<i>              ordered by key: one for each partition, with one unacknowledged message at most. The server
//                              gives the next message of a partition only when the one before is settled, so those of a key,
//                              which all go to one partition, are handled one after the other, over all processes.
//
// The client's calls block, so they are made on the blocking pool. Its connection reconnects by itself, for ever.
//
// Invariants
//  N1. A message is acknowledged with a round trip: done means that the server knows it.
//  N2. A dead letter is in its stream before the message is taken out of the other one. Dying in between makes it twice, of
//      which the server drops one (it has the same id).
#include <leash/blocking.hpp>
#include <leash/mq.hpp>

#if LEASH_MQ_NATS
#include <nats/nats.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>

namespace leash::mq {

namespace {

constexpr nanoseconds first_waits = std::chrono::milliseconds(250);  // on the server, for a message; without order
constexpr nanoseconds looks_again = std::chrono::milliseconds(20);   // ordered: at all partitions

template <class T, void (*Destroy)(T*)>
struct destroys {
  void operator()(T* p) const noexcept { Destroy(p); }
};
using options_ptr = std::unique_ptr<natsOptions, destroys<natsOptions, natsOptions_Destroy>>;
using connection_ptr = std::unique_ptr<natsConnection, destroys<natsConnection, natsConnection_Destroy>>;
using context_ptr = std::unique_ptr<jsCtx, destroys<jsCtx, jsCtx_Destroy>>;
using message_ptr = std::unique_ptr<natsMsg, destroys<natsMsg, natsMsg_Destroy>>;
using stream_info_ptr = std::unique_ptr<jsStreamInfo, destroys<jsStreamInfo, jsStreamInfo_Destroy>>;

failure kind_of(natsStatus s, int js) noexcept {
  switch (js) {
    case JSStreamStoreFailedErr:
    case JSAccountResourcesExceededErr:
    case JSInsufficientResourcesErr:
    case JSMemoryResourcesExceededErr:
    case JSStorageResourcesExceededErr:
      return failure::full;
    case JSStreamMessageExceedsMaximumErr:
    case JSStreamNameExistErr:
    case JSConsumerNameExistErr:
      return failure::refused;
    default:
      break;
  }
  switch (s) {
    case NATS_INVALID_ARG:
    case NATS_MAX_PAYLOAD:
    case NATS_CONNECTION_AUTH_FAILED:
    case NATS_NOT_PERMITTED:
    case NATS_ADDRESS_MISSING:
      return failure::refused;
    default:
      return failure::unavailable;
  }
}

bool well_named(std::string_view name) noexcept {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
  });
}

/// FNV-1a: every process, of whatever build, must put a key into the same partition.
std::uint32_t hash_of(std::string_view key) noexcept {
  std::uint32_t h = 2166136261u;
  for (unsigned char c : key) h = (h ^ c) * 16777619u;
  return h;
}

std::string header(natsMsg* m, const char* name) {
  const char* value = nullptr;
  return natsMsgHeader_Get(m, name, &value) == NATS_OK && value != nullptr ? value : "";
}
std::string body_of(natsMsg* m) { return {natsMsg_GetData(m), static_cast<std::size_t>(natsMsg_GetDataLength(m))}; }

constexpr const char *key_header = "Leash-Key", *attempt_header = "Leash-Attempt", *reason_header = "Leash-Reason",
                     *id_header = "Leash-Id";

class nats_store : public store {
 public:
  explicit nats_store(nats_options o)
      : o_(std::move(o)),
        stream_("LEASH-" + o_.name),
        dead_(stream_ + "-DEAD"),
        subject_("leash.mq." + o_.name + ".") {}

  task<> open() {
    co_await blocking([&] { connect(); });
  }

  task<receipt> publish(std::string body, publish_options o) override {
    receipt r;
    co_await blocking([&] {
      std::uint32_t const partition =
          o_.ordered_by_key ? (o.key.empty() ? next_++ : hash_of(o.key)) % o_.partitions : 0;
      message_ptr m = make(subject_ + "m." + std::to_string(partition), body);
      if (!o.key.empty()) set(m, key_header, o.key);
      r = send(m, o.idempotency_key);
    });
    if (!r.duplicate) changed();
    co_return r;
  }

  task<nanoseconds> take(std::vector<delivery>& into, std::size_t most, nanoseconds visible_again) override {
    nanoseconds look_again = nanoseconds::zero();
    co_await blocking([&] {
      make_consumers(visible_again);
      if (!o_.ordered_by_key) {
        while (into.size() < most && take_one(0, into.empty() ? first_waits : nanoseconds::zero(), into)) {
        }
        return;
      }
      std::uint32_t const first = first_.fetch_add(1, std::memory_order_relaxed);
      for (std::uint32_t i = 0; i < o_.partitions && into.size() < most; ++i)
        take_one((first + i) % o_.partitions, nanoseconds::zero(), into);
      if (into.empty()) look_again = looks_again;
    });
    co_return look_again;
  }

  task<bool> acknowledge(const delivery& d) override {
    co_await blocking([&] { ask(leased(d), "+ACK", o_.answer_within, "cannot acknowledge a message"); });  // N1
    if (o_.ordered_by_key) changed();
    co_return true;
  }
  task<bool> put_back(const delivery& d, nanoseconds after, bool) override {
    std::string const nak =
        after > nanoseconds::zero() ? "-NAK {\"delay\":" + std::to_string(after.count()) + "}" : "-NAK";
    co_await blocking([&] { ask(leased(d), nak, o_.answer_within, "cannot put a message back"); });
    changed();
    co_return true;
  }
  task<bool> bury(const delivery& d, std::string reason) override {
    co_await blocking([&] {  // N2
      message_ptr m = make(subject_ + "dead", d.what.body);
      if (!d.what.key.empty()) set(m, key_header, d.what.key);
      // A header is one line.
      std::replace_if(reason.begin(), reason.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
      set(m, reason_header, reason);
      set(m, attempt_header, std::to_string(d.what.attempt));
      set(m, id_header, d.what.id);
      send(m, "dead-" + d.what.id);
      ask(leased(d), "+ACK", o_.answer_within, "cannot take out a dead letter");
    });
    changed();
    co_return true;
  }
  task<bool> extend(const delivery& d, nanoseconds) override {
    co_await blocking([&] { ask(leased(d), "+WPI", o_.answer_within, "cannot keep a message"); });
    co_return true;
  }

  task<queue_counts> count() override {
    queue_counts n;
    co_await blocking([&] {
      std::uint64_t const all = info(stream_)->State.Msgs;
      n.dead = info(dead_)->State.Msgs;
      std::uint64_t pending = 0;
      for (std::uint32_t i = 0; i < consumers(); ++i) {
        jsConsumerInfo* c = nullptr;
        jsErrCode js{};
        natsStatus const s = js_GetConsumerInfo(&c, js_.get(), stream_.c_str(), consumer(i).c_str(), nullptr, &js);
        if (s == NATS_NOT_FOUND || js == JSConsumerNotFoundErr) continue;  // nobody has consumed yet
        check(s, js, "cannot look at a consumer");
        pending += static_cast<std::uint64_t>(c->NumAckPending);
        jsConsumerInfo_Destroy(c);
      }
      n.in_flight = std::min(pending, all);
      n.waiting = all - n.in_flight;
    });
    co_return n;
  }
  task<std::vector<dead_letter>> dead_letters(std::size_t most) override {
    std::vector<dead_letter> found;
    co_await blocking([&] {
      each_dead([&](std::uint64_t, natsMsg* m) {
        if (found.size() == most) return false;
        dead_letter d;
        d.what = {header(m, id_header), header(m, key_header), body_of(m),
                  static_cast<std::uint32_t>(std::strtoul(header(m, attempt_header).c_str(), nullptr, 10))};
        d.reason = header(m, reason_header);
        found.push_back(std::move(d));
        return true;
      });
    });
    co_return found;
  }
  task<std::size_t> revive_dead_letters() override {
    std::size_t n = 0;
    co_await blocking([&] {
      each_dead([&](std::uint64_t sequence, natsMsg* m) {
        std::string const key = header(m, key_header);
        std::uint32_t const partition = o_.ordered_by_key ? hash_of(key) % o_.partitions : 0;
        message_ptr again = make(subject_ + "m." + std::to_string(partition), body_of(m));
        if (!key.empty()) set(again, key_header, key);
        send(again, "revived-" + std::to_string(sequence));
        jsErrCode js{};
        check(js_DeleteMsg(js_.get(), dead_.c_str(), sequence, nullptr, &js), js, "cannot take out a dead letter");
        ++n;
        return true;
      });
    });
    if (n != 0) changed();
    co_return n;
  }

 private:
  [[noreturn]] void fail(natsStatus s, int js, const char* what) const {
    const char* detail = nats_GetLastError(nullptr);
    std::string text = "queue '" + o_.name + "' at " + o_.url + ": " + what + ": " + natsStatus_GetText(s);
    if (detail != nullptr && *detail != 0) text += std::string(" (") + detail + ")";
    throw error(kind_of(s, js), text);
  }
  void check(natsStatus s, int js, const char* what) const {
    if (s != NATS_OK) fail(s, js, what);
  }
  std::int64_t wait_ms() const noexcept { return std::max<std::int64_t>(1, o_.answer_within.count() / 1'000'000); }
  std::uint32_t consumers() const noexcept { return o_.ordered_by_key ? o_.partitions : 1; }
  std::string consumer(std::uint32_t i) const { return o_.ordered_by_key ? "p" + std::to_string(i) : "all"; }
  /// Where the server waits to hear of a delivery.
  static const std::string& leased(const delivery& d) noexcept { return *static_cast<std::string*>(d.lease.get()); }

  void connect() {
    natsOptions* options = nullptr;
    check(natsOptions_Create(&options), 0, "out of memory");
    options_ptr const held(options);
    check(natsOptions_SetURL(options, o_.url.c_str()), 0, "the address is not valid");
    check(natsOptions_SetMaxReconnect(options, -1), 0, "cannot be set up");
    check(natsOptions_SetReconnectWait(options, 100), 0, "cannot be set up");
    check(natsOptions_SetTimeout(options, wait_ms()), 0, "cannot be set up");
    natsConnection* c = nullptr;
    check(natsConnection_Connect(&c, options), 0, "cannot be reached");
    connection_.reset(c);
    jsOptions_Init(&js_options_);
    js_options_.Wait = wait_ms();
    jsCtx* js = nullptr;
    check(natsConnection_JetStream(&js, c, &js_options_), 0, "JetStream cannot be used");
    js_.reset(js);
    add_stream(stream_, subject_ + "m.*", js_WorkQueuePolicy, true);
    add_stream(dead_, subject_ + "dead", js_LimitsPolicy, false);
  }
  void add_stream(const std::string& name, const std::string& subject, jsRetentionPolicy kept, bool limited) {
    jsStreamConfig cfg;
    jsStreamConfig_Init(&cfg);
    const char* subjects[] = {subject.c_str()};
    cfg.Name = name.c_str();
    cfg.Subjects = subjects;
    cfg.SubjectsLen = 1;
    cfg.Retention = kept;
    cfg.Storage = js_FileStorage;
    cfg.Discard = js_DiscardNew;
    cfg.Replicas = o_.replicas;
    cfg.Duplicates = o_.remember_keys.count();
    if (limited && o_.max_bytes != 0) cfg.MaxBytes = static_cast<std::int64_t>(o_.max_bytes);
    jsErrCode js{};
    natsStatus s = js_AddStream(nullptr, js_.get(), &cfg, nullptr, &js);
    if (js == JSStreamNameExistErr)
      s = js_UpdateStream(nullptr, js_.get(), &cfg, nullptr, &js);  // other limits than before
    check(s, js, "its stream cannot be made");
  }

  /// Once, with the first take: it says how long a message is to be invisible.
  void make_consumers(nanoseconds visible_again) {
    std::lock_guard guard(making_);
    if (made_) return;
    for (std::uint32_t i = 0; i < consumers(); ++i) {
      std::string const name = consumer(i);
      std::string const filter = subject_ + "m." + (o_.ordered_by_key ? std::to_string(i) : "*");
      jsConsumerConfig cfg;
      jsConsumerConfig_Init(&cfg);
      cfg.Durable = name.c_str();
      cfg.AckPolicy = js_AckExplicit;
      cfg.AckWait = visible_again.count();
      cfg.MaxDeliver = -1;
      cfg.FilterSubject = filter.c_str();
      cfg.MaxAckPending = o_.ordered_by_key ? 1 : 65'536;
      jsErrCode js{};
      check(js_AddConsumer(nullptr, js_.get(), stream_.c_str(), &cfg, nullptr, &js), js, "its consumer cannot be made");
    }
    made_ = true;
  }

  /// Sends a request and waits for its answer.
  message_ptr ask(const std::string& subject, const std::string& text, nanoseconds within, const char* what) const {
    natsMsg* m = nullptr;
    check(natsConnection_Request(&m, connection_.get(), subject.c_str(), text.data(), static_cast<int>(text.size()),
                                 std::max<std::int64_t>(1, within.count() / 1'000'000)),
          0, what);
    return message_ptr(m);
  }

  /// One request for one message, answered once: with it, or with a status (there is none). So nothing is ever on its way
  /// to who does not wait for it, as it would be with the client's own subscriptions, which keep what comes too late. False:
  /// there is none.
  bool take_one(std::uint32_t from, nanoseconds wait, std::vector<delivery>& into) const {
    std::string const where = "$JS.API.CONSUMER.MSG.NEXT." + stream_ + "." + consumer(from);
    std::string const text = wait > nanoseconds::zero()
                                 ? "{\"batch\":1,\"expires\":" + std::to_string(wait.count()) + "}"
                                 : std::string("{\"batch\":1,\"no_wait\":true}");
    message_ptr const m = ask(where, text, wait + o_.answer_within, "cannot take messages");
    const char* const reply = natsMsg_GetReply(m.get());
    std::string const settle_at = reply != nullptr ? reply : "";
    if (!settle_at.starts_with("$JS.ACK.")) {
      std::string const status = header(m.get(), "Status");
      if (status.empty() || status == "404" || status == "408" || status == "409") return false;
      throw error(failure::unavailable, "queue '" + o_.name + "' at " + o_.url + ": cannot take messages: status " +
                                            status + " " + header(m.get(), "Description"));
    }
    // $JS.ACK.[domain.account.]stream.consumer.delivered.stream sequence.consumer sequence.time.pending[.token]
    std::vector<std::string> tokens;
    for (std::size_t at = 0; at <= settle_at.size();) {
      std::size_t const end = std::min(settle_at.find('.', at), settle_at.size());
      tokens.push_back(settle_at.substr(at, end - at));
      at = end + 1;
    }
    std::size_t const first = tokens.size() >= 11 ? 4 : 2;
    if (tokens.size() < first + 5)
      throw error(failure::broken,
                  "queue '" + o_.name + "' at " + o_.url + ": a delivery without its place: " + settle_at);
    delivery d;
    d.what = {tokens[first + 3], header(m.get(), key_header), body_of(m.get()),
              static_cast<std::uint32_t>(std::strtoul(tokens[first + 2].c_str(), nullptr, 10))};
    d.lease = std::make_shared<std::string>(settle_at);
    into.push_back(std::move(d));
    return true;
  }

  message_ptr make(const std::string& subject, const std::string& body) const {
    natsMsg* m = nullptr;
    check(natsMsg_Create(&m, subject.c_str(), nullptr, body.data(), static_cast<int>(body.size())), 0, "out of memory");
    return message_ptr(m);
  }
  void set(const message_ptr& m, const char* name, const std::string& value) const {
    check(natsMsgHeader_Set(m.get(), name, value.c_str()), 0, "a header cannot be set");
  }
  receipt send(const message_ptr& m, const std::string& id) const {
    jsPubOptions options;
    jsPubOptions_Init(&options);
    options.MaxWait = wait_ms();
    if (!id.empty()) options.MsgId = id.c_str();
    jsPubAck* ack = nullptr;
    jsErrCode js{};
    check(js_PublishMsg(&ack, js_.get(), m.get(), &options, &js), js, "cannot publish");
    receipt r{std::to_string(ack->Sequence), ack->Duplicate};
    jsPubAck_Destroy(ack);
    return r;
  }
  stream_info_ptr info(const std::string& stream) const {
    jsStreamInfo* i = nullptr;
    jsErrCode js{};
    check(js_GetStreamInfo(&i, js_.get(), stream.c_str(), nullptr, &js), js, "cannot look at a stream");
    return stream_info_ptr(i);
  }
  /// f(sequence, message), the oldest first, until it gives false.
  template <class F>
  void each_dead(F f) {
    stream_info_ptr const i = info(dead_);
    if (i->State.Msgs == 0) return;
    for (std::uint64_t n = i->State.FirstSeq; n <= i->State.LastSeq; ++n) {
      natsMsg* m = nullptr;
      jsErrCode js{};
      natsStatus const s = js_GetMsg(&m, js_.get(), dead_.c_str(), n, nullptr, &js);
      if (s == NATS_NOT_FOUND || js == JSNoMessageFoundErr) continue;
      check(s, js, "cannot read a dead letter");
      message_ptr const held(m);
      if (!f(n, m)) return;
    }
  }

  nats_options const o_;
  std::string const stream_, dead_, subject_;
  connection_ptr connection_;
  jsOptions js_options_{};
  context_ptr js_;
  std::mutex making_;
  bool made_ = false;
  std::atomic<std::uint32_t> first_{0};
  std::atomic<std::uint32_t> next_{0};
};

}  // namespace

bool has_nats() noexcept { return true; }

task<queue> open_nats(nats_options o) {
  if (!well_named(o.name))
    throw error(failure::refused, "open_nats: the name '" + o.name + "' is not made of letters, digits, - and _");
  if (o.partitions == 0) throw error(failure::refused, "open_nats: there must be a partition");
  auto s = std::make_unique<nats_store>(std::move(o));
  co_await s->open();
  co_return queue(std::move(s));
}

}  // namespace leash::mq
#else
namespace leash::mq {
bool has_nats() noexcept { return false; }
task<queue> open_nats(nats_options) {
  throw error(failure::refused, "open_nats: leash::mq was built without NATS (Debian: libnats-dev)");
  co_return queue(nullptr);
}
}  // namespace leash::mq
#endif
