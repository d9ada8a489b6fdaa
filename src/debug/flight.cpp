// Writing recordings to streams and files, also when a leak is proved.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <leash/debug.hpp>
#include <mutex>
#include <ostream>
#include <thread>
#include <unordered_set>

#include "leak/pass.hpp"
#include "traces.hpp"

namespace leash::debug {

void write_trace(std::ostream& out, trace t, trace_format f) {
  auto const from = written_trace(std::move(t), f);
  std::string piece;
  for (bool more = true; more && out;) {
    piece.clear();
    more = from->more(piece);
    out.write(piece.data(), static_cast<std::streamsize>(piece.size()));
  }
}

struct flight_recorder::state {
  static constexpr std::size_t most_known = 100'000;

  explicit state(flight_options options) : o(std::move(options)), recording(o.recording) {
    sigset_t all, before;  // signals are the program's own threads'
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      thread = std::thread([this] { work(); });
    } catch (...) {
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    std::lock_guard guard(registry_lock());
    registry().push_back(this);
    leaks_proved.store(&tell_all, std::memory_order_release);
  }
  ~state() {
    {
      std::lock_guard guard(registry_lock());
      std::erase(registry(), this);
      if (registry().empty()) leaks_proved.store(nullptr, std::memory_order_release);
    }
    {
      std::lock_guard guard(lock);
      over = true;
    }
    wake.notify_all();
    thread.join();
  }

  static std::mutex& registry_lock() {
    static auto* l = new std::mutex;  // a pass may tell at any time
    return *l;
  }
  static std::vector<state*>& registry() {
    static auto* all = new std::vector<state*>;
    return *all;
  }
  static void tell_all(const leak_report& r) {
    std::lock_guard guard(registry_lock());
    for (state* s : registry()) s->tell(r);
  }

  /// On the thread that ran the pass.
  void tell(const leak_report& r) {
    bool fresh = false;
    std::lock_guard guard(lock);
    for (std::uint64_t id : r.findings->ids()) {
      if (known.size() >= most_known) break;
      fresh |= known.insert(id).second;
    }
    if (!fresh || written.size() + failed >= o.most_files) return;
    due = true;
    wake.notify_all();
  }

  void work() {
    pthread_setname_np(pthread_self(), "leash-flight");
    std::unique_lock guard(lock);
    for (;;) {
      wake.wait(guard, [this] { return due || over; });
      if (!due) return;
      due = false;
      std::string const name = o.file + "-" + std::to_string(getpid()) + "-" +
                               std::to_string(written.size() + failed + 1) +
                               (o.format == trace_format::go ? ".gotrace" : ".pftrace");
      guard.unlock();
      bool done = false;
      try {
        done = write(name);
      } catch (const std::exception&) {  // no memory
      }
      if (!done) std::fprintf(stderr, "leash: the trace of a leak could not be written to %s\n", name.c_str());
      guard.lock();
      if (done) {
        written.push_back(name);
      } else {
        ++failed;
      }
    }
  }
  /// The file is there when it is whole.
  bool write(const std::string& name) const {
    std::string const part = name + ".part";
    {
      std::ofstream out(part, std::ios::binary | std::ios::trunc);
      write_trace(out, recording.take(o.window), o.format);
      out.close();
      if (!out) {
        std::remove(part.c_str());
        return false;
      }
    }
    return std::rename(part.c_str(), name.c_str()) == 0;
  }

  flight_options o;
  trace_recording recording;
  mutable std::mutex lock;  // of what follows
  std::condition_variable wake;
  std::unordered_set<std::uint64_t> known;
  std::vector<std::string> written;
  unsigned failed = 0;
  bool due = false, over = false;
  std::thread thread;
};

flight_recorder::flight_recorder(flight_options o) : s_(std::make_unique<state>(std::move(o))) {}
flight_recorder::flight_recorder(flight_recorder&&) noexcept = default;
flight_recorder& flight_recorder::operator=(flight_recorder&&) noexcept = default;
flight_recorder::~flight_recorder() = default;
std::vector<std::string> flight_recorder::files() const {
  std::lock_guard guard(s_->lock);
  return s_->written;
}

}  // namespace leash::debug
