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
// Messages come on a request for them, into one inbox, whose callback (a thread of the client) puts them into `arrived`.
// Requests stand at the server: each is renewed before it ends, and nobody waits for one by itself.
//
// Invariants
//  N1. A message is settled with a round trip: done means that the server knows it.
//  N2. A dead letter is in its stream before the message is taken out of the other one. Dying in between makes it twice, of
//      which the server drops one (it has the same id).
//  N3. What the server sends is taken, whichever request it was sent on and however late, as long as there is an inbox; what
//      is in `arrived` is renewed. When the last consumer ends the inbox is drained, and what is left in it is given back.
//  N4. While there is a consumer with a free place a request stands at the server. One that has ended there, and was not yet
//      cleared away, makes some servers (2.9.10) forget a message that is due again, until its time is over.
//  N5. A server that is killed remembers that a message was acknowledged, but may forget that it removed it from the stream (seen
//      with 2.9): the message is in the way and is given to nobody. After each connection, whoever takes messages removes those up
//      to which all are acknowledged, until all that was delivered before is. It looks seldom and at a part of the stream: who
//      has nothing to take for a moment is not held up.
//
// One file: taking, settling and clearing work on one connection, and N3 to N5 bind them to each other.
#include <leash/blocking.hpp>
#include <leash/mq.hpp>
#include <leash/mutex.hpp>

#if LEASH_MQ_NATS
#include <nats/nats.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace leash::mq {

namespace {

// How long a request stands at the server, and how long before its end the next one is sent.
constexpr nanoseconds stands_for = std::chrono::seconds(10), renewed_before = std::chrono::seconds(2);
constexpr nanoseconds looks_at_connection = std::chrono::milliseconds(250);

// N5: how often, and at how many messages, of which each is a round trip.
constexpr nanoseconds looks_for_removed = std::chrono::seconds(1);
constexpr std::uint64_t looked_at_once = 256;

template <class T, void (*Destroy)(T*)>
struct destroys {
  void operator()(T* p) const noexcept { Destroy(p); }
};
using options_ptr = std::unique_ptr<natsOptions, destroys<natsOptions, natsOptions_Destroy>>;
using connection_ptr = std::unique_ptr<natsConnection, destroys<natsConnection, natsConnection_Destroy>>;
using context_ptr = std::unique_ptr<jsCtx, destroys<jsCtx, jsCtx_Destroy>>;
using subscription_ptr = std::unique_ptr<natsSubscription, destroys<natsSubscription, natsSubscription_Destroy>>;
using message_ptr = std::unique_ptr<natsMsg, destroys<natsMsg, natsMsg_Destroy>>;
using inbox_ptr = std::unique_ptr<natsInbox, destroys<natsInbox, natsInbox_Destroy>>;
using statistics_ptr = std::unique_ptr<natsStatistics, destroys<natsStatistics, natsStatistics_Destroy>>;
using consumer_list_ptr = std::unique_ptr<jsConsumerInfoList, destroys<jsConsumerInfoList, jsConsumerInfoList_Destroy>>;
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
  ~nats_store() override { end_inbox(); }

  task<> open() {
    co_await blocking([&] { connect(); });
  }

  task<receipt> publish(std::string body, publish_options o) override {
    receipt r;
    co_await blocking([&] {
      std::uint32_t const partition =
          o_.ordered_by_key ? (o.key.empty() ? next_++ : hash_of(o.key)) % o_.partitions : 0;
      message_ptr m = make(subject_of(partition), body);
      if (!o.key.empty()) set(m, key_header, o.key);
      r = send(m, o.idempotency_key);
    });
    if (!r.duplicate) changed();
    co_return r;
  }

  void begin_taking() noexcept override { ++consumers_; }
  task<> end_taking() override {
    if (--consumers_ != 0) co_return;
    auto const alone = co_await taking_.lock();
    if (consumers_ == 0) co_await blocking([&] { unsubscribe(); });
  }

  task<nanoseconds> take(std::vector<delivery>& into, std::size_t most, nanoseconds visible_again) override {
    auto const alone = co_await taking_.lock();
    if (inbox_ == nullptr) co_await blocking([&] { subscribe(visible_again); });
    look_at_connection();
    std::size_t const had = into.size();
    std::vector<request> wanted;
    nanoseconds look_again = looks_at_connection;
    {
      std::lock_guard guard(lock_);
      if (!refusal_.empty()) {
        std::string const why = std::exchange(refusal_, {});
        consumers_made_ = false;
        asked_.clear();
        throw error(failure::unavailable, "queue '" + o_.name + "' at " + o_.url + ": cannot take messages: " + why);
      }
      while (!arrived_.empty() && into.size() < most) {
        into.push_back(std::move(arrived_.front().what));
        arrived_.pop_front();
      }
      auto const t = now();
      std::erase_if(asked_, [&](const request& r) { return r.until <= t; });
      for (std::uint32_t i = 0; i < consumers(); ++i) {
        std::size_t const places = o_.ordered_by_key ? 1 : most - into.size();
        std::size_t standing = 0;
        for (auto& r : asked_)
          if (r.from == i && r.until - renewed_before > t) standing += r.messages;
        if (standing < places) wanted.push_back({i, places - standing, t + stands_for});
      }
      asked_.insert(asked_.end(), wanted.begin(), wanted.end());
    }
    if (!into.empty()) look_again = nanoseconds::zero();
    // With nothing to take the floors are where they can be.
    bool const clears = into.size() == had && clearing_.is_due(connections());
    if (!wanted.empty() || !consumers_made_ || clears)
      co_await blocking([&] {
        if (!consumers_made_) make_consumers();
        for (auto& r : wanted) ask_for(r);
        if (clears) remove_acknowledged();
      });
    co_return look_again;
  }

  task<bool> acknowledge(const delivery& d) override {
    co_await blocking([&] { settle(d, "+ACK", "cannot acknowledge a message"); });
    if (o_.ordered_by_key) changed();
    co_return true;
  }
  task<bool> put_back(const delivery& d, nanoseconds after, bool) override {
    std::string const nak =
        after > nanoseconds::zero() ? "-NAK {\"delay\":" + std::to_string(after.count()) + "}" : "-NAK";
    co_await blocking([&] { settle(d, nak, "cannot put a message back"); });
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
      settle(d, "+ACK", "cannot take out a dead letter");
    });
    changed();
    co_return true;
  }
  /// Also of what waits for a place: the consumer knows nothing of it, but has no place free only while it renews others.
  task<bool> extend(const delivery& d, nanoseconds visible_again) override {
    std::vector<std::string> all{leased(d)};
    {
      std::lock_guard guard(lock_);
      for (auto& a : arrived_)
        if (now() - a.renewed >= visible_again / 3) {
          a.renewed = now();
          all.push_back(leased(a.what));
        }
    }
    co_await blocking([&] {
      for (auto& settle_at : all) say(settle_at, "+WPI", "cannot keep a message");
    });
    co_return true;
  }

  task<queue_counts> count() override {
    queue_counts n;
    co_await blocking([&] {
      std::uint64_t const all = info(stream_)->State.Msgs;
      n.dead = info(dead_)->State.Msgs;
      std::uint64_t pending = 0;
      consumer_list_ptr const them = all_consumers();
      for (std::uint32_t i = 0; i < consumers(); ++i)
        if (auto* c = find(them, i)) pending += static_cast<std::uint64_t>(c->NumAckPending);
      n.in_flight = std::min(pending, all);
      n.waiting = all - n.in_flight;
    });
    co_return n;
  }
  task<std::vector<dead_letter>> dead_letters(std::size_t most) override {
    std::vector<dead_letter> found;
    co_await blocking([&] {
      each_dead_letter([&](std::uint64_t, natsMsg* m) {
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
      each_dead_letter([&](std::uint64_t sequence, natsMsg* m) {
        std::string const key = header(m, key_header);
        std::uint32_t const partition = o_.ordered_by_key ? hash_of(key) % o_.partitions : 0;
        message_ptr again = make(subject_of(partition), body_of(m));
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

  /// N1
  void settle(const delivery& d, const std::string& how, const char* what) const {
    (void)request_of(leased(d), how, o_.answer_within, what);
  }
  message_ptr request_of(const std::string& subject, const std::string& text, nanoseconds within,
                         const char* what) const {
    natsMsg* m = nullptr;
    check(natsConnection_Request(&m, connection_.get(), subject.c_str(), text.data(), static_cast<int>(text.size()),
                                 std::max<std::int64_t>(1, within.count() / 1'000'000)),
          0, what);
    return message_ptr(m);
  }
  void say(const std::string& subject, const char* text, const char* what) const {
    check(natsConnection_PublishString(connection_.get(), subject.c_str(), text), 0, what);
  }

  void connect() {
    natsOptions* options = nullptr;
    check(natsOptions_Create(&options), 0, "out of memory");
    options_ptr const held(options);
    check(natsOptions_SetURL(options, o_.url.c_str()), 0, "the address is not valid");
    check(natsOptions_SetMaxReconnect(options, -1), 0, "cannot be set up");
    check(natsOptions_SetReconnectWait(options, 100), 0, "cannot be set up");
    check(natsOptions_SetTimeout(options, wait_ms()), 0, "cannot be set up");
    check(natsOptions_SetSendAsap(options, true), 0, "cannot be set up");
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

  /// With the first take: it says how long a message is to be invisible.
  void subscribe(nanoseconds visible_again) {
    end_inbox();  // one that could not be set up
    visible_again_ = visible_again;
    make_consumers();
    natsInbox* name = nullptr;
    check(natsInbox_Create(&name), 0, "out of memory");
    inbox_ptr inbox(name);
    natsSubscription* sub = nullptr;
    check(natsConnection_Subscribe(&sub, connection_.get(), inbox.get(), arrives, this), 0, "cannot subscribe");
    subscription_.reset(sub);
    check(natsSubscription_SetOnCompleteCB(sub, ends, this), 0, "cannot subscribe");
    inbox_ended_ = false;
    check(natsSubscription_SetPendingLimits(sub, -1, -1), 0, "cannot subscribe");  // N3: none is dropped
    inbox_ = std::move(inbox);
  }
  void make_consumers() {
    for (std::uint32_t i = 0; i < consumers(); ++i) {
      std::string const name = consumer(i);
      std::string const filter = o_.ordered_by_key ? subject_of(i) : subject_ + "m.*";
      jsConsumerConfig cfg;
      jsConsumerConfig_Init(&cfg);
      cfg.Durable = name.c_str();
      cfg.AckPolicy = js_AckExplicit;
      cfg.AckWait = visible_again_.count();
      cfg.MaxDeliver = -1;
      cfg.FilterSubject = filter.c_str();
      cfg.MaxAckPending = o_.ordered_by_key ? 1 : 65'536;
      jsErrCode js{};
      check(js_AddConsumer(nullptr, js_.get(), stream_.c_str(), &cfg, nullptr, &js), js, "its consumer cannot be made");
    }
    consumers_made_ = true;
  }

  /// N5, of one connection. A pass goes over the stream, a part at each look.
  struct clearing {
    std::uint64_t connection = 0;  // they are counted from 1
    bool done = false;
    clock::time_point next_look{};
    std::vector<std::uint64_t> delivered{};  // of each consumer, at the first look: what came back is not above
    std::uint64_t from = 0;                  // where the pass goes on; 0: it begins
    bool last_pass = false;                  // all that was delivered was acknowledged when it began

    bool is_due(std::uint64_t now_connection) const {
      return connection != now_connection || (!done && now() >= next_look);
    }
  };
  void remove_acknowledged() {
    clearing& c = clearing_;
    if (c.connection != connections()) c = {.connection = connections()};
    bool const first = c.delivered.empty();
    c.next_look = now() + looks_for_removed;
    bool settled = true;
    std::uint64_t living = 0, highest = 0;
    std::map<std::string, std::uint64_t> floors;  // by the subject of a partition
    consumer_list_ptr const them = all_consumers();
    for (std::uint32_t i = 0; i < consumers(); ++i) {
      jsConsumerInfo* const one = find(them, i);
      if (one == nullptr) {  // somebody has removed it
        c.delivered.clear();
        return;
      }
      if (first) c.delivered.push_back(one->Delivered.Stream);
      std::uint64_t const floor = std::min(one->AckFloor.Stream, c.delivered[i]);
      settled = settled && (one->NumAckPending == 0 || floor == c.delivered[i]);
      living += one->NumPending + static_cast<std::uint64_t>(one->NumAckPending);
      floors[subject_of(i)] = floor;
      highest = std::max(highest, floor);
    }
    if (c.from == 0) c.last_pass = settled;
    // Looked for one by one: the server's own search by subject does not find them.
    stream_info_ptr const stream = info(stream_);
    std::uint64_t left = stream->State.Msgs;
    std::uint64_t const begin = std::max(c.from, stream->State.FirstSeq);
    std::uint64_t const end = std::min(begin + looked_at_once - 1, highest);
    if (left > living)
      each_message(stream_, begin, end, [&](std::uint64_t sequence, natsMsg* m) {
        auto const floor = floors.find(natsMsg_GetSubject(m));
        if (floor != floors.end() && sequence <= floor->second && remove(sequence)) --left;
        return left > living;
      });
    c.from = left > living && end < highest ? end + 1 : 0;
    c.done = c.from == 0 && c.last_pass;
  }
  /// False: it was gone, as another process looks too.
  bool remove(std::uint64_t sequence) const {
    jsErrCode js{};
    natsStatus const s = js_DeleteMsg(js_.get(), stream_.c_str(), sequence, nullptr, &js);
    if (s == NATS_OK) return true;
    if (message_at(stream_, sequence) != nullptr) fail(s, js, "cannot remove a message");
    return false;
  }
  std::uint64_t connections() const noexcept { return 1 + reconnects_; }

  /// N3: no more can come after that, and what came has been given back, as far as the server can be reached.
  void unsubscribe() {
    if (inbox_ == nullptr) return;
    (void)natsSubscription_DrainTimeout(subscription_.get(), wait_ms());
    (void)natsSubscription_WaitForDrainCompletion(subscription_.get(), wait_ms());
    end_inbox();
    std::deque<arrival> left;
    {
      std::lock_guard guard(lock_);
      left.swap(arrived_);
      asked_.clear();
      refusal_.clear();
    }
    // N4: our requests have no inbox any more. The server clears them away before it answers one that comes after them.
    for (std::uint32_t i = 0; i < consumers(); ++i) {
      natsMsg* m = nullptr;
      std::string const one = request_text(1, std::chrono::milliseconds(1));
      if (natsConnection_RequestString(&m, connection_.get(), next_of(i).c_str(), one.c_str(), wait_ms()) != NATS_OK)
        continue;
      message_ptr const held(m);
      if (auto d = delivery_of(m)) left.push_back({*std::move(d), {}});
    }
    for (auto& a : left) {
      natsMsg* answer = nullptr;
      (void)natsConnection_RequestString(&answer, connection_.get(), leased(a.what).c_str(), "-NAK", wait_ms());
      natsMsg_Destroy(answer);
    }
  }
  /// The callbacks have returned for good.
  void end_inbox() {
    if (subscription_ == nullptr) return;
    subscription_.reset();
    inbox_.reset();
    std::unique_lock guard(lock_);
    inbox_has_ended_.wait(guard, [&] { return inbox_ended_; });
  }

  static std::string request_text(std::size_t messages, nanoseconds expires) {
    return "{\"batch\":" + std::to_string(messages) + ",\"expires\":" + std::to_string(expires.count()) + "}";
  }
  std::string next_of(std::uint32_t i) const { return "$JS.API.CONSUMER.MSG.NEXT." + stream_ + "." + consumer(i); }

  struct request {
    std::uint32_t from;    // which consumer
    std::size_t messages;  // that have not yet come
    clock::time_point until;
  };
  struct arrival {
    delivery what;
    clock::time_point renewed;
  };

  void ask_for(const request& r) const {
    std::string const text = request_text(r.messages, stands_for);
    check(natsConnection_PublishRequestString(connection_.get(), next_of(r.from).c_str(), inbox_.get(), text.c_str()),
          0, "cannot take messages");
  }
  /// A server that was away knows nothing of what it was asked.
  void look_at_connection() {
    natsConnStatus const status = natsConnection_Status(connection_.get());
    natsStatistics* s = nullptr;
    check(natsStatistics_Create(&s), 0, "out of memory");
    statistics_ptr const held(s);
    check(natsConnection_GetStats(connection_.get(), s), 0, "cannot take messages");
    std::uint64_t reconnects = 0;
    check(natsStatistics_GetCounts(s, nullptr, nullptr, nullptr, nullptr, &reconnects), 0, "cannot take messages");
    if (std::exchange(reconnects_, reconnects) != reconnects) {
      std::lock_guard guard(lock_);
      asked_.clear();
    }
    if (status != NATS_CONN_STATUS_CONNECTED) fail(NATS_CONNECTION_DISCONNECTED, 0, "cannot take messages");
  }

  static std::optional<delivery> delivery_of(natsMsg* m) {
    jsMsgMetaData* meta = nullptr;
    if (natsMsg_GetReply(m) == nullptr || natsMsg_GetMetaData(&meta, m) != NATS_OK) return std::nullopt;
    delivery d;
    d.what = {std::to_string(meta->Sequence.Stream), header(m, key_header), body_of(m),
              static_cast<std::uint32_t>(meta->NumDelivered)};
    jsMsgMetaData_Destroy(meta);
    d.lease = std::make_shared<std::string>(natsMsg_GetReply(m));
    return d;
  }
  // On a thread of the client.
  static void arrives(natsConnection*, natsSubscription*, natsMsg* m, void* self) {
    message_ptr const held(m);
    try {
      static_cast<nats_store*>(self)->arrived(m);
    } catch (...) {  // no memory: it comes again when its time is over
    }
  }
  static void ends(void* self) {
    auto& s = *static_cast<nats_store*>(self);
    std::lock_guard guard(s.lock_);
    s.inbox_ended_ = true;
    s.inbox_has_ended_.notify_all();
  }
  void arrived(natsMsg* m) {
    if (auto d = delivery_of(m)) {
      std::string_view const subject = natsMsg_GetSubject(m);
      std::uint32_t const from =
          o_.ordered_by_key
              ? static_cast<std::uint32_t>(std::strtoul(subject.data() + subject.rfind('.') + 1, nullptr, 10))
              : 0;
      std::lock_guard guard(lock_);
      arrived_.push_back({*std::move(d), now()});
      auto const on = std::find_if(asked_.begin(), asked_.end(), [&](const request& r) { return r.from == from; });
      if (on != asked_.end() && --on->messages == 0) asked_.erase(on);
    } else {
      std::string const status = header(m, "Status");
      if (status == "404" || status == "408") return;  // it was renewed before its end
      std::lock_guard guard(lock_);
      refusal_ = "status " + status + " " + header(m, "Description");
    }
    changed();
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
  std::string subject_of(std::uint32_t partition) const { return subject_ + "m." + std::to_string(partition); }
  consumer_list_ptr all_consumers() const {
    jsConsumerInfoList* all = nullptr;
    jsErrCode js{};
    natsStatus const s = js_Consumers(&all, js_.get(), stream_.c_str(), nullptr, &js);
    if (s != NATS_NOT_FOUND) check(s, js, "cannot look at its consumers");
    return consumer_list_ptr(all);
  }
  /// Null: nobody has consumed yet.
  jsConsumerInfo* find(const consumer_list_ptr& all, std::uint32_t i) const {
    if (all == nullptr) return nullptr;
    std::string const name = consumer(i);
    auto* const end = all->List + all->Count;
    auto* const at = std::find_if(all->List, end, [&](jsConsumerInfo* c) { return name == c->Name; });
    return at != end ? *at : nullptr;
  }
  /// Null: there is none.
  message_ptr message_at(const std::string& stream, std::uint64_t sequence) const {
    natsMsg* m = nullptr;
    jsErrCode js{};
    natsStatus const s = js_GetMsg(&m, js_.get(), stream.c_str(), sequence, nullptr, &js);
    if (s != NATS_NOT_FOUND && js != JSNoMessageFoundErr) check(s, js, "cannot read a message");
    return message_ptr(m);
  }
  /// f(sequence, message) of those from `first` to `last`, the oldest first, until it gives false.
  template <class F>
  void each_message(const std::string& stream, std::uint64_t first, std::uint64_t last, F f) {
    for (std::uint64_t n = first; n <= last; ++n) {
      message_ptr const m = message_at(stream, n);
      if (m != nullptr && !f(n, m.get())) return;
    }
  }
  template <class F>
  void each_dead_letter(F f) {
    stream_info_ptr const dead = info(dead_);
    if (dead->State.Msgs != 0) each_message(dead_, dead->State.FirstSeq, dead->State.LastSeq, f);
  }

  nats_options const o_;
  std::string const stream_, dead_, subject_;
  connection_ptr connection_;
  jsOptions js_options_{};
  context_ptr js_;
  std::atomic<int> consumers_{0};
  mutex taking_;  // of what follows
  nanoseconds visible_again_{};
  bool consumers_made_ = false;
  std::uint64_t reconnects_ = 0;
  clearing clearing_;
  subscription_ptr subscription_;
  inbox_ptr inbox_;  // there while there is a subscription
  std::mutex lock_;  // of what follows
  std::deque<arrival> arrived_;
  std::vector<request> asked_;  // that stand at the server, the oldest first
  std::string refusal_;         // of a request
  bool inbox_ended_ = true;
  std::condition_variable inbox_has_ended_;
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
