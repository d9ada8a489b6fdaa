#include "read.hpp"

#include <zlib.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace leash::cli {

namespace {

std::string size_text(std::size_t bytes) { return std::to_string(bytes >> 20) + " MB"; }

/// A way to say what the bytes are instead, for the commonest mistakes.
std::string what_else(std::string_view text) {
  std::string_view head = text.substr(0, 256);
  head.remove_prefix(std::min(head.find_first_not_of(" \t\r\n"), head.size()));
  if (head.empty()) return "it is empty";
  if (head.starts_with("<")) return "it is a web page, not a goroutine profile (is the address right?)";
  if (head.starts_with("{") || head.starts_with("[")) return "it is JSON, not a goroutine profile";
  if (head.starts_with("go 1.") || head.starts_with(std::string_view("\0\0go 1.", 7)))
    return "it is an execution trace, not a goroutine profile";
  for (const char* other : {"heap profile:", "--- contention:", "--- mutex:", "threadcreate profile:"}) {
    if (head.starts_with(other))
      return "it is a profile of another kind: " + std::string(head.substr(0, head.find(':')));
  }
  return "it is no goroutine profile: neither pprof protobuf nor the text of debug=1 or debug=2";
}

bool looks_like_text(std::string_view bytes) {
  for (unsigned char c : bytes.substr(0, 512)) {
    if (c < 9 || (c > 13 && c < 27)) return false;
  }
  return true;
}

/// Where the first line that begins so is; npos if none does.
std::size_t line_that_begins(std::string_view text, std::string_view with) {
  for (std::size_t at = text.find(with); at != text.npos; at = text.find(with, at + 1)) {
    if (at == 0 || text[at - 1] == '\n') return at;
  }
  return text.npos;
}

/// A line like "goroutine 18 [": no other form has one.
bool has_goroutine(std::string_view text) {
  for (std::size_t at = 0; (at = text.find("goroutine ", at)) != text.npos; ++at) {
    std::size_t begin = at;  // leash's reports are indented
    while (begin != 0 && text[begin - 1] == ' ') --begin;
    if (begin != 0 && text[begin - 1] != '\n') continue;
    std::string_view rest = text.substr(at + 10, 100);
    std::uint64_t number = 0;
    if (take_number(rest, number) && rest.starts_with(' ') && rest.find('[') != rest.npos) return true;
  }
  return false;
}

}  // namespace

std::string read_file(const std::string& path, std::size_t most) {
  struct close {
    void operator()(FILE* f) const {
      if (f != stdin) std::fclose(f);
    }
  };
  const std::unique_ptr<FILE, close> file(path == "-" ? stdin : std::fopen(path.c_str(), "rb"));
  if (!file) throw input_error(std::strerror(errno));
  std::string bytes;
  for (;;) {
    const std::size_t had = bytes.size(), step = std::max<std::size_t>(1 << 16, had / 2);
    bytes.resize(had + step);
    const std::size_t got = std::fread(bytes.data() + had, 1, step, file.get());
    bytes.resize(had + got);
    if (bytes.size() > most) throw input_error("it is larger than " + size_text(most) + ", the most that is read");
    if (got == 0) break;
  }
  if (std::ferror(file.get())) throw input_error(errno == 0 ? "cannot be read" : std::strerror(errno));
  return bytes;
}

std::string unpacked(std::string bytes, std::size_t most) {
  if (!bytes.starts_with("\x1f\x8b")) return bytes;
  z_stream z{};
  if (inflateInit2(&z, 15 + 16) != Z_OK) throw input_error("cannot be unpacked: out of memory");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&z, inflateEnd);
  z.next_in = reinterpret_cast<Bytef*>(bytes.data());
  z.avail_in = static_cast<uInt>(bytes.size());
  std::string out;
  for (;;) {
    const std::size_t had = out.size(), step = std::max<std::size_t>(1 << 16, had / 2);
    out.resize(had + step);
    z.next_out = reinterpret_cast<Bytef*>(out.data() + had);
    z.avail_out = static_cast<uInt>(step);
    const int rc = inflate(&z, Z_NO_FLUSH);
    out.resize(had + step - z.avail_out);
    if (out.size() > most)
      throw input_error("unpacked it is larger than " + size_text(most) + ", the most that is read");
    if (rc == Z_STREAM_END) {
      // gzip files may consist of several; anything else behind the end is ignored, as gunzip does.
      if (z.avail_in < 2 || z.next_in[0] != 0x1f || z.next_in[1] != 0x8b) return out;
      if (inflateReset(&z) != Z_OK) throw input_error("its gzip packing is broken");
    } else if (rc == Z_BUF_ERROR || (rc == Z_OK && z.avail_in == 0 && z.avail_out != 0)) {
      throw input_error("its gzip packing ends in the middle (cut short?)");
    } else if (rc != Z_OK) {
      throw input_error("its gzip packing is broken");
    }
  }
}

profile read_profile(std::string bytes, symbols& s, std::string source) {
  bytes = unpacked(std::move(bytes));
  profile p;
  const std::size_t counts = line_that_begins(std::string_view(bytes).substr(0, 4096), "goroutine profile: total ");
  const std::size_t leaks = line_that_begins(std::string_view(bytes).substr(0, 4096), "goroutineleak profile: total ");
  if (counts != bytes.npos || leaks != bytes.npos) {
    p = read_counts(std::string_view(bytes).substr(std::min(counts, leaks)), s);
  } else if (has_goroutine(bytes)) {
    p = read_dump(bytes, s);
  } else if (bytes.starts_with('\x0a') || !looks_like_text(bytes)) {
    p = read_protobuf(bytes, s);  // the first field of every pprof profile: sample_type, which is 0x0a
  } else {
    throw input_error(what_else(bytes));
  }
  p.source = std::move(source);
  return p;
}

bool take_number(std::string_view& s, std::uint64_t& n) {
  std::size_t digits = 0;
  n = 0;
  while (digits < s.size() && s[digits] >= '0' && s[digits] <= '9') {
    const auto digit = static_cast<std::uint64_t>(s[digits++] - '0');
    if (n > (~std::uint64_t{0} - digit) / 10) return false;
    n = n * 10 + digit;
  }
  s.remove_prefix(digits);
  return digits != 0;
}

frame at_position(std::string_view function, std::string_view position, symbols& s) {
  frame f{s.text(function), none, 0};
  const std::size_t colon = position.rfind(':');
  std::string_view digits = colon == position.npos ? std::string_view() : position.substr(colon + 1);
  std::uint64_t line = 0;
  if (take_number(digits, line) && digits.empty() && line <= 0xffffffff) {
    f.file = s.text(position.substr(0, colon));
    f.line = static_cast<std::uint32_t>(line);
  } else {
    f.file = s.text(position);
  }
  return f;
}

std::string_view state_of_frames(std::span<const id> frames, const symbols& s) {
  struct sign {
    std::string_view function, state;
  };
  // The first frame that is here decides; those of the runtime come before those that call it.
  static constexpr sign signs[] = {
      {"runtime.chanrecv1", "chan receive"},
      {"runtime.chanrecv2", "chan receive"},
      {"runtime.chanrecv", "chan receive"},
      {"runtime.chansend1", "chan send"},
      {"runtime.chansend", "chan send"},
      {"runtime.selectgo", "select"},
      {"runtime.block", "select (no cases)"},
      {"runtime.netpollblock", "IO wait"},
      {"internal/poll.runtime_pollWait", "IO wait"},
      {"time.Sleep", "sleep"},
      {"runtime.timeSleep", "sleep"},
      {"sync.runtime_notifyListWait", "sync.Cond.Wait"},
      {"sync.(*Cond).Wait", "sync.Cond.Wait"},
      {"sync.(*Mutex).Lock", "sync.Mutex.Lock"},
      {"sync.(*Mutex).lockSlow", "sync.Mutex.Lock"},
      {"internal/sync.(*Mutex).lockSlow", "sync.Mutex.Lock"},
      {"internal/sync.(*Mutex).Lock", "sync.Mutex.Lock"},
      {"sync.(*RWMutex).RLock", "sync.RWMutex.RLock"},
      {"sync.(*RWMutex).Lock", "sync.RWMutex.Lock"},
      {"sync.(*WaitGroup).Wait", "sync.WaitGroup.Wait"},
      {"os/signal.signal_recv", "syscall"},
      {"runtime.notetsleepg", "syscall"},
      {"runtime.goroutineProfileWithLabels", "running"},
      {"runtime/pprof.runtime_goroutineProfileWithLabels", "running"},
      {"runtime/pprof.pprof_goroutineProfileWithLabels", "running"},
      {"runtime/pprof.writeGoroutineStacks", "running"},
  };
  std::size_t looked = 0;
  for (id f : frames) {
    const std::string_view name = s.function(f);
    for (const sign& known : signs) {
      if (known.function == name) return known.state;
    }
    if (name.starts_with("syscall.") || name.starts_with("internal/runtime/syscall.")) return "syscall";
    if (++looked == 8) break;
  }
  return {};
}

}  // namespace leash::cli
