// debug=0: profile.proto, in two passes, because the texts stand at the end. Field numbers are those of profile.proto.
//
// Labels of leash's own profiles: `state` (the wait, in Go's words) and the number `wait` (seconds). Other labels are the user's.
#include <algorithm>
#include <cstdio>
#include <protozero/pbf_reader.hpp>
#include <unordered_map>

#include "read.hpp"

namespace leash::cli {

namespace {

using protozero::pbf_reader;
using protozero::pbf_wire_type;
using protozero::tag_and_type;

constexpr std::size_t most_lines_of_location = 256;        // functions inlined into each other
constexpr std::uint64_t most_frames_walked = 500'000'000;  // in all samples: bounds the time

/// Calls `f` for each number of a repeated field, packed or not.
template <class F>
void each_number(pbf_reader& r, F f) {
  if (r.wire_type() == pbf_wire_type::length_delimited) {
    for (std::uint64_t n : r.get_packed_uint64()) f(n);
  } else if (r.wire_type() == pbf_wire_type::varint) {
    f(r.get_uint64());
  } else {
    throw input_error("it is broken: a number of an unknown form");
  }
}

constexpr std::uint32_t varint(int field) {
  return tag_and_type(static_cast<protozero::pbf_tag_type>(field), pbf_wire_type::varint);
}
constexpr std::uint32_t bytes(int field) {
  return tag_and_type(static_cast<protozero::pbf_tag_type>(field), pbf_wire_type::length_delimited);
}

class reader {
 public:
  reader(std::string_view data, symbols& s) : data_(data), symbols_(s) {}

  profile read() {
    for (pbf_reader r(data_.data(), data_.size()); r.next();) first_pass(r);
    choose_kind();
    if (kind_ == none)
      throw input_error(kinds_.empty() ? "it is broken: no sample type" : "it is a profile of another kind: " + kinds_);
    for (pbf_reader r(data_.data(), data_.size()); r.next();) {
      if (r.tag_and_type() == bytes(2)) {
        take_sample(r.get_message());
      } else {
        r.skip();
      }
    }
    return std::move(builder_.p);
  }

 private:
  struct function {
    id name = none, file = none;
  };

  void first_pass(pbf_reader& r) {
    switch (r.tag_and_type()) {
      case bytes(1):
        limit(sample_types_.size(), 64, "kinds of values");
        sample_types_.push_back(type_of(r.get_message()));
        break;
      case bytes(4):
        keep(locations_, r);
        break;
      case bytes(5):
        keep(functions_, r);
        break;
      case bytes(6): {
        limit(texts_.size(), symbols::most_texts, "texts");
        const auto v = r.get_view();
        texts_.emplace_back(v.data(), v.size());
        break;
      }
      case varint(9): {
        const auto taken = std::chrono::nanoseconds(std::max<std::int64_t>(r.get_int64(), 0));
        builder_.p.taken = std::chrono::system_clock::time_point(taken);
        break;
      }
      default:
        r.skip();
    }
  }

  static void limit(std::uint64_t size, std::uint64_t most, const char* what) {
    if (size >= most) throw input_error("it has more than " + std::to_string(most) + " " + what);
  }

  static std::uint64_t type_of(pbf_reader r) {
    std::uint64_t type = 0;
    while (r.next()) {
      if (r.tag_and_type() == varint(1)) {
        type = r.get_uint64();
      } else {
        r.skip();
      }
    }
    return type;
  }

  /// Notes where a location or function lies; it is read when a sample asks for it.
  void keep(std::unordered_map<std::uint64_t, std::string_view>& to, pbf_reader& r) {
    limit(to.size(), symbols::most_stacks, "functions or locations");
    const auto v = r.get_view();
    pbf_reader message(v);
    std::uint64_t number = 0;
    while (message.next()) {
      if (message.tag_and_type() == varint(1)) {
        number = message.get_uint64();
      } else {
        message.skip();
      }
    }
    to[number] = {v.data(), v.size()};
  }

  std::string_view text(std::uint64_t n) const {
    if (n >= texts_.size()) throw input_error("it is broken: a text that does not exist");
    return texts_[n];
  }

  void choose_kind() {
    for (std::size_t i = 0; i < sample_types_.size(); ++i) {
      const std::string_view name = text(sample_types_[i]);
      if (name == "goroutine" || name == "goroutineleak") {
        kind_ = static_cast<id>(i);
        builder_.p.of_leaks = name == "goroutineleak";
        return;
      }
      if (kinds_.size() < 200) kinds_ += (kinds_.empty() ? "" : ", ") + std::string(name.substr(0, 40));
    }
  }

  void take_sample(pbf_reader r) {
    profile_builder::entry e;
    e.leaked = builder_.p.of_leaks;
    std::string labels, state, started_at;
    std::size_t value = 0;
    std::uint64_t count = 0;
    frames_.clear();
    elided_ = false;
    while (r.next()) {
      switch (r.tag()) {
        case 1:
          each_number(r, [&](std::uint64_t n) { take_location(n); });
          break;
        case 2:
          each_number(r, [&](std::uint64_t n) {
            if (value++ == kind_) count = n;
          });
          break;
        case 3:
          if (r.wire_type() != pbf_wire_type::length_delimited)
            throw input_error("it is broken: a label of an unknown form");
          take_label(r.get_message(), labels, state, started_at, e.wait);
          break;
        default:
          r.skip();
      }
    }
    if (count == 0) return;
    if (count > most_goroutines) throw input_error("a stack has an impossible count");
    e.count = count;
    if (!labels.empty()) e.labels = symbols_.text(labels);
    const std::string_view known = state.empty() ? state_of_frames(frames_, symbols_) : std::string_view(state);
    if (!known.empty()) e.state = symbols_.text(known);
    const id creator = take_creator(started_at);
    e.stack = symbols_.add(frames_, creator, elided_);
    builder_.add(e);
  }

  /// In leash's profiles the outermost frame is the line that started the goroutine, which the label `site` names too.
  id take_creator(const std::string& started_at) {
    if (started_at.empty() || frames_.size() < 2) return none;
    const id outermost = frames_.back();
    const std::string at =
        std::string(symbols_.file(outermost)) + ":" + std::to_string(symbols_.frame_of(outermost).line);
    if (at != started_at) return none;
    frames_.pop_back();
    return outermost;
  }

  void take_location(std::uint64_t number) {
    auto [at, is_new] = lines_of_.try_emplace(number);
    if (is_new) at->second = read_location(number);
    const auto [first, size] = at->second;
    walked_ += size;
    limit(walked_, most_frames_walked, "frames");
    for (std::uint32_t i = 0; i < size; ++i) {
      if (frames_.size() == most_depth) {
        elided_ = true;
        return;
      }
      frames_.push_back(lines_[first + i]);
    }
  }

  /// The frames of a location, leaf first: more than one where functions are inlined.
  std::pair<std::uint32_t, std::uint32_t> read_location(std::uint64_t number) {
    const auto found = locations_.find(number);
    if (found == locations_.end()) throw input_error("it is broken: a location that does not exist");
    const auto first = static_cast<std::uint32_t>(lines_.size());
    std::uint64_t address = 0;
    for (pbf_reader r(found->second.data(), found->second.size()); r.next();) {
      if (r.tag_and_type() == varint(3)) {
        address = r.get_uint64();
      } else if (r.tag_and_type() == bytes(4)) {
        limit(lines_.size() - first, most_lines_of_location, "functions inlined in one place");
        lines_.push_back(read_line(r.get_message()));
      } else {
        r.skip();
      }
    }
    if (lines_.size() == first) {  // without symbols: the address is all there is
      char hex[24];
      std::snprintf(hex, sizeof hex, "0x%llx", static_cast<unsigned long long>(address));
      lines_.push_back(symbols_.add(frame{symbols_.text(hex), symbols_.text(""), 0}));
    }
    return {first, static_cast<std::uint32_t>(lines_.size() - first)};
  }

  id read_line(pbf_reader r) {
    std::uint64_t number = 0, line = 0;
    while (r.next()) {
      switch (r.tag_and_type()) {
        case varint(1):
          number = r.get_uint64();
          break;
        case varint(2):
          line = r.get_uint64();
          break;
        default:
          r.skip();
      }
    }
    const auto found = functions_.find(number);
    if (found == functions_.end()) throw input_error("it is broken: a function that does not exist");
    function f;
    for (pbf_reader m(found->second.data(), found->second.size()); m.next();) {
      switch (m.tag_and_type()) {
        case varint(2):
          f.name = symbols_.text(text(m.get_uint64()));
          break;
        case varint(4):
          f.file = symbols_.text(text(m.get_uint64()));
          break;
        default:
          m.skip();
      }
    }
    if (f.name == none) f.name = symbols_.text("?");
    if (f.file == none) f.file = symbols_.text("");
    return symbols_.add(frame{f.name, f.file, line > 0xffffffff ? 0 : static_cast<std::uint32_t>(line)});
  }

  void take_label(pbf_reader r, std::string& labels, std::string& state, std::string& started_at, std::uint32_t& wait) {
    std::uint64_t key = 0, value = 0;
    std::int64_t number = 0;
    while (r.next()) {
      switch (r.tag_and_type()) {
        case varint(1):
          key = r.get_uint64();
          break;
        case varint(2):
          value = r.get_uint64();
          break;
        case varint(3):
          number = r.get_int64();
          break;
        default:
          r.skip();
      }
    }
    const std::string_view name = text(key);
    if (name == "state" && value != 0) {
      state = text(value);
    } else if (name == "site" && value != 0) {
      started_at = text(value);
    } else if (name == "wait" && value == 0) {
      wait = static_cast<std::uint32_t>(std::clamp<std::int64_t>(number, 0, 0xffffffff));
    } else if (labels.size() < 4096) {
      if (!labels.empty()) labels += ", ";
      labels += name;
      labels += ": ";
      if (value != 0) {
        labels += text(value);
      } else {
        labels += std::to_string(number);
      }
    }
  }

  std::string_view data_;
  symbols& symbols_;
  profile_builder builder_;
  std::vector<std::uint64_t> sample_types_;
  std::vector<std::string_view> texts_;
  std::unordered_map<std::uint64_t, std::string_view> locations_, functions_;
  std::unordered_map<std::uint64_t, std::pair<std::uint32_t, std::uint32_t>> lines_of_;
  std::vector<id> lines_, frames_;
  std::uint64_t walked_ = 0;
  bool elided_ = false;
  id kind_ = none;  // which of a sample's values counts goroutines
  std::string kinds_;
};

}  // namespace

profile read_protobuf(std::string_view data, symbols& s) {
  try {
    return reader(data, s).read();
  } catch (const protozero::exception&) {
    throw input_error("it is broken or ends in the middle (read as pprof protobuf)");
  }
}

}  // namespace leash::cli
