// debug=0: profile.proto as Go writes it, with what Go does not say added as labels:
//
//   state   the wait, in Go's words                      wait   seconds, the longest of those counted together (number)
//   site    FILE:LINE that started the goroutine         name   named(...)
//
// Stacks go from the wait out to the line that started the goroutine, which is the outermost frame. There are no
// addresses and no mapping: functions, files and lines are known.
//
// Goroutines are counted together when they stand in the same place with the same labels and have waited about equally
// long (powers of two), so a million of them make a small profile. Texts come last: memory is that of the groups.
#include <zlib.h>

#include <map>
#include <new>
#include <protozero/pbf_writer.hpp>
#include <unordered_map>

#include "observe/text.hpp"
#include "profiles.hpp"

namespace leash::debug {

namespace {

namespace field {  // of profile.proto
constexpr protozero::pbf_tag_type sample_type = 1, sample = 2, location = 4, function = 5, text = 6, time = 9,
                                  period_type = 11, period = 12;
constexpr protozero::pbf_tag_type type = 1, unit = 2;                                  // ValueType
constexpr protozero::pbf_tag_type location_id = 1, value = 2, label = 3;               // Sample
constexpr protozero::pbf_tag_type key = 1, str = 2, num = 3, num_unit = 4;             // Label
constexpr protozero::pbf_tag_type id = 1, line = 4, function_id = 1, line_number = 2;  // Location, Line
constexpr protozero::pbf_tag_type name = 2, system_name = 3, filename = 4;             // Function
}  // namespace field

class gzip {
 public:
  gzip() {
    if (deflateInit2(&z_, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) throw std::bad_alloc();
  }
  gzip(const gzip&) = delete;
  ~gzip() { deflateEnd(&z_); }
  void put(std::string_view in, std::string& out, bool last = false) {
    z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    z_.avail_in = static_cast<uInt>(in.size());
    do {
      char buffer[16384];
      z_.next_out = reinterpret_cast<Bytef*>(buffer);
      z_.avail_out = sizeof buffer;
      (void)deflate(&z_, last ? Z_FINISH : Z_NO_FLUSH);  // cannot fail: the stream is sound
      out.append(buffer, sizeof buffer - z_.avail_out);
    } while (z_.avail_out == 0);
  }

 private:
  z_stream z_{};
};

class writer final : public source {
 public:
  writer(profile_kind k, leaked_ptr l)
      : kind_(k), seen_(k, std::move(l), {.frames = sighting::deepest, .labels = true, .waits = true}) {
    (void)text("");
  }

  bool more(std::string& out) override {
    switch (at_) {
      case part::look:
        if (!seen_.step()) at_ = part::samples;
        return true;
      case part::samples: {
        if (next_ == 0) put_head();
        auto const& groups = seen_.all.groups();
        for (int n = 0; n < 1000 && next_ < groups.size(); ++n) put_sample(groups[next_++]);
        if (next_ == groups.size()) at_ = part::symbols;
        break;
      }
      case part::symbols:
        put_symbols();
        pass_on(out, true);
        return false;
    }
    pass_on(out, false);
    return true;
  }

 private:
  void pass_on(std::string& out, bool last) {
    gzip_.put(raw_, out, last);
    raw_.clear();
  }

  void put_type(protozero::pbf_tag_type tag) {
    protozero::pbf_writer all(raw_);
    protozero::pbf_writer t(all, tag);
    t.add_int64(field::type, text(kind_ == profile_kind::goroutine ? "goroutine" : "goroutineleak"));
    t.add_int64(field::unit, text("count"));
  }
  void put_head() {
    put_type(field::sample_type);
    put_type(field::period_type);
    protozero::pbf_writer all(raw_);
    all.add_int64(field::period, 1);
    all.add_int64(field::time, std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
  }

  void put_sample(const gathering::group& g) {
    ids_.clear();
    if (g.beyond) {
      ids_.push_back(location_of("(in more places than are kept apart)", "", 0));
    } else {
      for (std::size_t i = 0; i < g.depth; ++i) ids_.push_back(location_of(seen_.all.frame(g, i)));
      ids_.push_back(location_of(seen_.all.spawned_at(g)));
    }
    protozero::pbf_writer all(raw_);
    protozero::pbf_writer s(all, field::sample);
    s.add_packed_uint64(field::location_id, ids_.begin(), ids_.end());
    std::int64_t const count[] = {static_cast<std::int64_t>(g.count)};
    s.add_packed_int64(field::value, std::begin(count), std::end(count));
    for (auto& [k, v] : seen_.all.labels(g)) put_label(s, k, v);
    put_label(s, "state", gathering::state_name(g.state));
    if (!g.beyond) put_label(s, "site", site_of(seen_.all.spawned_at(g)));
    if (g.longest >= 1000) {
      protozero::pbf_writer l(s, field::label);
      l.add_int64(field::key, text("wait"));
      l.add_int64(field::num, g.longest / 1000);
      l.add_int64(field::num_unit, text("seconds"));
    }
  }
  void put_label(protozero::pbf_writer& sample, std::string_view k, std::string_view v) {
    protozero::pbf_writer l(sample, field::label);
    l.add_int64(field::key, text(k));
    l.add_int64(field::str, text(v));
  }

  void put_symbols() {
    protozero::pbf_writer all(raw_);
    std::uint64_t id = 0;
    for (auto& [function, number] : locations_) {
      protozero::pbf_writer l(all, field::location);
      l.add_uint64(field::id, ++id);
      protozero::pbf_writer line(l, field::line);
      line.add_uint64(field::function_id, function);
      line.add_int64(field::line_number, number);
    }
    id = 0;
    for (auto& f : functions_) {
      protozero::pbf_writer w(all, field::function);
      w.add_uint64(field::id, ++id);
      w.add_int64(field::name, f.name);
      w.add_int64(field::system_name, f.system_name);
      w.add_int64(field::filename, f.file);
    }
    for (auto* t : texts_) all.add_string(field::text, *t);
  }

  std::int64_t text(std::string_view s) {
    auto [it, fresh] = text_ids_.try_emplace(valid_utf8(s), static_cast<std::int64_t>(texts_.size()));
    if (fresh) texts_.push_back(&it->first);
    return it->second;
  }
  std::uint64_t location_of(std::source_location l) {
    auto [it, fresh] = known_.try_emplace(std::bit_cast<std::uint64_t>(l), 0);
    if (fresh) it->second = location_of(l.function_name(), l.file_name(), l.line());
    return it->second;
  }
  std::uint64_t location_of(const char* pretty, const char* file, std::uint32_t line) {
    function f{text(plain_function(pretty)), text(pretty), text(file)};
    auto [fn, fresh] = function_ids_.try_emplace({f.system_name, f.file}, functions_.size() + 1);
    if (fresh) functions_.push_back(f);
    auto [at, fresh_line] = location_ids_.try_emplace({fn->second, line}, locations_.size() + 1);
    if (fresh_line) locations_.emplace_back(fn->second, line);
    return at->second;
  }

  struct function {
    std::int64_t name, system_name, file;
  };
  enum class part : std::uint8_t { look, samples, symbols };
  profile_kind kind_;
  profile_gathering seen_;
  part at_ = part::look;
  std::size_t next_ = 0;
  gzip gzip_;
  std::string raw_;
  std::vector<std::uint64_t> ids_;
  std::unordered_map<std::string, std::int64_t> text_ids_;
  std::vector<const std::string*> texts_;  // in the order of their numbers
  std::unordered_map<std::uint64_t, std::uint64_t> known_;
  std::map<std::pair<std::int64_t, std::int64_t>, std::uint64_t> function_ids_;
  std::vector<function> functions_;
  std::map<std::pair<std::uint64_t, std::uint32_t>, std::uint64_t> location_ids_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> locations_;
};

}  // namespace

std::unique_ptr<source> protobuf_profile(profile_kind k, leaked_ptr l) {
  return std::make_unique<writer>(k, std::move(l));
}

}  // namespace leash::debug
