#include "trace_readers.hpp"

#include <algorithm>
#include <optional>
#include <protozero/pbf_reader.hpp>
#include <stdexcept>

namespace leash::test {

namespace {
[[noreturn]] void refuse(const std::string& why) { throw std::runtime_error(why); }
void want(bool so, const char* why) {
  if (!so) refuse(why);
}
}  // namespace

perfetto_read read_perfetto(const std::string& bytes) {
  using protozero::pbf_reader;
  perfetto_read all;
  std::map<std::uint64_t, std::string> names;
  std::map<std::uint64_t, std::pair<std::string, std::uint32_t>> lines;
  std::map<std::uint64_t, std::vector<std::string>> open;
  std::map<std::uint64_t, std::uint64_t> flow_from;
  std::int64_t last = 0;
  bool cleared = false;
  want(!bytes.empty(), "empty");
  for (pbf_reader trace(bytes); trace.next();) {
    want(trace.tag() == 1 && trace.wire_type() == protozero::pbf_wire_type::length_delimited, "no packet");
    perfetto_event e;
    bool is_event = false;
    std::uint64_t name = 0, location = 0, sequence = 0, flags = 0;
    for (pbf_reader p = trace.get_message(); p.next();) switch (p.tag()) {
        case 8:
          e.at = static_cast<std::int64_t>(p.get_uint64());
          break;
        case 10:
          sequence = p.get_uint32();
          break;
        case 13:
          flags = p.get_uint32();
          break;
        case 58:
          want(p.get_uint64() == 3, "another clock");
          break;
        case 60: {
          perfetto_track t;
          std::uint64_t id = 0;
          for (pbf_reader d = p.get_message(); d.next();) switch (d.tag()) {
              case 1:
                id = d.get_uint64();
                break;
              case 2:
                t.name = d.get_string();
                break;
              case 3:
                t.process = true;
                d.skip();
                break;
              case 5:
                t.parent = d.get_uint64();
                break;
              case 8:
                t.counter = true;
                for (pbf_reader c = d.get_message(); c.next();) c.tag() == 3 ? void(t.unit = c.get_uint64()) : c.skip();
                break;
              case 15:
                t.merge = d.get_uint64();
                break;
              default:
                refuse("an unknown field of a track");
            }
          want(id != 0 && all.tracks.emplace(id, t).second, "a track twice, or without a number");
          want(t.process || all.tracks.contains(t.parent), "no parent");
          break;
        }
        case 12:
          for (pbf_reader d = p.get_message(); d.next();) {
            bool const is_name = d.tag() == 2;
            want(is_name || d.tag() == 4, "unknown interned data");
            std::uint64_t id = 0;
            std::string text;
            std::uint32_t line = 0;
            for (pbf_reader m = d.get_message(); m.next();) {
              if (m.tag() == 1) {
                id = m.get_uint64();
              } else if (m.tag() == 2) {
                text = m.get_string();
              } else if (m.tag() == 4) {
                line = m.get_uint32();
              } else {
                m.skip();
              }
            }
            want(id != 0, "interned without a number");
            if (is_name) {
              want(names.emplace(id, text).second, "a name twice");
            } else {
              want(lines.emplace(id, std::pair(text, line)).second, "a line twice");
            }
          }
          break;
        case 11:
          is_event = true;
          for (pbf_reader t = p.get_message(); t.next();) switch (t.tag()) {
              case 4: {
                std::string key, value;
                for (pbf_reader a = t.get_message(); a.next();) {
                  std::string& part = a.tag() == 10 ? key : value;
                  part = a.get_string();
                }
                e.notes[key] = value;
                break;
              }
              case 9:
                e.type = static_cast<int>(t.get_uint64());
                break;
              case 10:
                name = t.get_uint64();
                break;
              case 11:
                e.track = t.get_uint64();
                break;
              case 22:
                t.skip();
                break;
              case 30:
                e.value = t.get_int64();
                break;
              case 34:
                location = t.get_uint64();
                break;
              case 47:
                e.flows.push_back(t.get_fixed64());
                break;
              case 48:
                e.flows_end.push_back(t.get_fixed64());
                break;
              default:
                refuse("an unknown field of an event");
            }
          break;
        default:
          refuse("an unknown field of a packet");
      }
    want(sequence == 1, "no sequence");
    cleared |= flags == 1;
    if (!is_event) continue;
    want(cleared, "no beginning of the sequence");
    want(e.at >= last, "time runs back");
    last = e.at;
    auto const track = all.tracks.find(e.track);
    want(track != all.tracks.end(), "an event on a track that is not described");
    if (name != 0) {
      want(names.contains(name), "a name that is not interned");
      e.name = names[name];
    }
    if (location != 0) {
      want(lines.contains(location), "a line that is not interned");
      std::tie(e.file, e.line) = lines[location];
    }
    switch (e.type) {
      case 1:
        want(!e.name.empty(), "a slice without a name");
        open[e.track].push_back(e.name);
        break;
      case 2:
        want(!open[e.track].empty(), "a slice ends that has not begun");
        open[e.track].pop_back();
        break;
      case 3:
        break;
      case 4:
        want(track->second.counter, "a count on a track that is no counter");
        break;
      default:
        refuse("an unknown type of event");
    }
    want(open[e.track].size() <= 1, "a goroutine in two states");
    for (auto f : e.flows) want(flow_from.emplace(f, e.track).second, "a flow begins twice");
    for (auto f : e.flows_end) {
      want(flow_from.contains(f), "a flow from nowhere");
      all.flows += flow_from[f] != e.track;
    }
    track->second.events.push_back(std::move(e));
  }
  for (auto& [track, names_left] : open) want(names_left.empty(), "a slice does not end");
  return all;
}

// --- Go

namespace {

class go_parser {
 public:
  explicit go_parser(std::string_view s) : rest_(s) {}

  go_read parse() {
    want(rest_.substr(0, 16) == std::string_view("go 1.21 trace\0\0\0", 16), "no header");
    rest_.remove_prefix(16);
    while (!rest_.empty()) event();
    want(frequency_, "no frequency");
    define();
    order();
    return std::move(all_);
  }

 private:
  static std::uint64_t number(std::string_view& s) {
    std::uint64_t n = 0;
    for (int shift = 0;; shift += 7) {
      want(!s.empty() && shift < 64, "a broken varint");
      auto const c = static_cast<unsigned char>(s[0]);
      s.remove_prefix(1);
      n |= std::uint64_t{c & 0x7fu} << shift;
      if (c < 0x80) return n;
    }
  }
  std::string_view take(std::uint64_t n) {
    want(n <= rest_.size(), "cut short");
    std::string_view const s = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return s;
  }

  /// How many numbers an event has besides its time, and whether the last one is a stack. -1: no such event.
  static std::pair<int, bool> shape(unsigned kind) {
    switch (kind) {
      case 4:
        return {2, true};
      case 5:
        return {1, false};
      case 13:
        return {3, true};
      case 14:
        return {2, false};
      case 15:
        return {0, false};
      case 17:
      case 19:
      case 20:
      case 22:
      case 23:
      case 24:
      case 25:
      case 26:
      case 27:
        return {1, true};
      case 21:
        return {3, true};
      case 31:
        return {1, false};
      case 48:
        return {3, true};
      default:
        return {-1, false};
    }
  }

  void event() {
    auto const first = static_cast<unsigned char>(take(1)[0]);
    unsigned const kind = first & 0x3f, count = first >> 6;
    if (kind == 37) {
      std::uint64_t const id = number(rest_), size = number(rest_);
      want(in_batch_, "a text before any batch");
      want(id != 0 && size != 0 && size <= 1'000'000, "a bad text");
      want(texts_.emplace(id, std::string(take(size))).second, "a text twice");
      return;
    }
    if (kind == 1) {
      want(count == 1, "a bad batch");
      place_ = number(rest_);
      time_ = static_cast<std::int64_t>(number(rest_));
      in_batch_ = true;
      return;
    }
    want(in_batch_, "an event before any batch");
    if (kind == 2) {
      want(count == 0 && number(rest_) == 1'000'000'000, "a bad frequency");
      frequency_ = true;
      return;
    }
    std::vector<std::uint64_t> numbers;
    if (count < 3) {
      for (unsigned i = 0; i <= count; ++i) numbers.push_back(number(rest_));
    } else {
      std::uint64_t const bytes = number(rest_);
      want(bytes <= 2048, "too long an event");
      for (std::string_view body = take(bytes); !body.empty();) numbers.push_back(number(body));
    }
    if (kind == 3) {
      want(numbers.size() >= 2 && numbers[0] != 0 && numbers.size() == 2 + 4 * numbers[1] && numbers[1] != 0,
           "a bad stack");
      want(frames_.emplace(numbers[0], numbers).second, "a stack twice");
      return;
    }
    auto const [wanted, has_stack] = shape(kind);
    want(wanted >= 0, "an unknown event");
    want(numbers.size() == static_cast<std::size_t>(wanted) + 1, "another number of arguments");
    go_event e;
    e.kind = static_cast<std::uint8_t>(kind);
    e.place = place_;
    e.at = time_ += static_cast<std::int64_t>(numbers[0]);
    e.arguments.assign(numbers.begin() + 1, numbers.end());
    e.has_stack = has_stack && numbers.back() != 0;
    if (kind == 48) {
      std::uint64_t const size = number(rest_);
      e.text = std::string(take(size));
    }
    queues_[place_].push_back(std::move(e));
  }

  /// Texts and stacks stand in the batch that needed them first, which may come later than one that uses them.
  void define() {
    for (auto& [id, numbers] : frames_)
      for (std::size_t i = 2; i < numbers.size(); i += 4) {
        want(texts_.contains(numbers[i + 1]) && texts_.contains(numbers[i + 2]), "a frame without its texts");
        stacks_[id].push_back(texts_[numbers[i + 1]] + " " + texts_[numbers[i + 2]] + ":" +
                              std::to_string(numbers[i + 3]));
      }
    for (auto& [place, events] : queues_)
      for (go_event& e : events) {
        if (e.kind == 48) want(texts_.contains(e.arguments[1]), "a key that is not defined");
        if (e.kind == 13) {
          want(stacks_.contains(e.arguments[1]), "a goroutine without its first frame");
          all_.started_at[e.arguments[0]] = stacks_[e.arguments[1]][0];
        }
        if (!e.has_stack) continue;
        want(stacks_.contains(e.arguments.back()), "a stack that is not defined");
        e.stack = stacks_[e.arguments.back()];
      }
  }

  enum state : std::uint8_t { dead, runnable, running, waiting };
  struct goroutine {
    std::uint64_t seq = 0;
    state is = dead;
  };

  /// As Go does it: of the first events of all places that can happen now, the earliest.
  void order() {
    std::map<std::uint64_t, std::size_t> next;
    std::map<std::uint64_t, std::uint64_t> runs;  // place: goroutine
    std::map<std::uint64_t, goroutine> gs;
    std::int64_t last = 0;
    for (;;) {
      go_event* best = nullptr;
      bool left = false;
      for (auto& [p, q] : queues_) {
        if (next[p] == q.size()) continue;
        left = true;
        go_event& e = q[next[p]];
        if (ready(e, gs, runs[p]) && (best == nullptr || e.at < best->at)) best = &e;
      }
      if (best == nullptr) {
        want(!left, "no order of events is consistent");
        return;
      }
      ++next[best->place];
      want(best->at >= last, "time runs back");
      last = best->at;
      apply(*best, gs, runs[best->place]);
      all_.places.insert(best->place);
      all_.events.push_back(std::move(*best));
    }
  }
  static bool is_block(unsigned kind) { return kind >= 19 && kind <= 27 && kind != 21; }
  static bool ready(const go_event& e, std::map<std::uint64_t, goroutine>& gs, std::uint64_t runs) {
    auto at = [&](std::uint64_t g) { return gs[g]; };
    switch (e.kind) {
      case 13:
        return at(e.arguments[0]).is == dead && at(e.arguments[0]).seq == 0;
      case 31:
        return at(e.arguments[0]).is == runnable && at(e.arguments[0]).seq == 1;
      case 14:
        return at(e.arguments[0]).is == runnable && at(e.arguments[0]).seq == e.arguments[1] && runs == 0;
      case 21:
        return at(e.arguments[0]).is == waiting && at(e.arguments[0]).seq == e.arguments[1];
      default:
        return true;
    }
  }
  void apply(go_event& e, std::map<std::uint64_t, goroutine>& gs, std::uint64_t& runs) {
    e.goroutine = runs;
    if (e.kind == 13) {
      gs[e.arguments[0]] = {1, runnable};
      all_.goroutines.insert(e.arguments[0]);
    } else if (e.kind == 31) {
      gs[e.arguments[0]] = {2, waiting};
    } else if (e.kind == 14) {
      runs = e.goroutine = e.arguments[0];
      gs[runs] = {e.arguments[1] + 1, running};
    } else if (e.kind == 21) {
      gs[e.arguments[0]] = {e.arguments[1] + 1, runnable};
    } else if (e.kind == 15 || e.kind == 17 || is_block(e.kind)) {
      want(runs != 0 && gs[runs].is == running, "who stops does not run");
      gs[runs].is = e.kind == 15 ? dead : e.kind == 17 ? runnable : waiting;
      runs = 0;
    }
  }

  std::string_view rest_;
  go_read all_;
  bool in_batch_ = false, frequency_ = false;
  std::uint64_t place_ = 0;
  std::int64_t time_ = 0;
  std::map<std::uint64_t, std::string> texts_;
  std::map<std::uint64_t, std::vector<std::uint64_t>> frames_;  // as they stand there
  std::map<std::uint64_t, std::vector<std::string>> stacks_;
  std::map<std::uint64_t, std::vector<go_event>> queues_;
};

}  // namespace

go_read read_go_trace(const std::string& bytes) { return go_parser(bytes).parse(); }

}  // namespace leash::test
