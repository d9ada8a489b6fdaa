// profile.proto, as far as Go's profiles use it: texts, functions and lines, each once and numbered 1, 2, 3...; packed as
// it is made. Texts come last, so memory is that of the tables.
//
// Only sources that write protobufs include this: it brings protozero and zlib.
#pragma once
#include <errno.h>
#include <zlib.h>

#include <bit>
#include <chrono>
#include <map>
#include <new>
#include <protozero/pbf_writer.hpp>
#include <source_location>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "observe/text.hpp"

namespace leash::debug {

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

class pprof_table {
 public:
  pprof_table() { (void)text(""); }

  void put_sample_type(std::string_view type, std::string_view unit) { put_type(1, type, unit); }
  void put_period(std::string_view type, std::string_view unit, std::int64_t period) {
    put_type(11, type, unit);
    protozero::pbf_writer all(raw_);
    all.add_int64(12, period);
  }
  void put_time(std::chrono::system_clock::time_point at, std::chrono::nanoseconds duration = {}) {
    protozero::pbf_writer all(raw_);
    all.add_int64(9, std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count());
    if (duration.count() != 0) all.add_int64(10, duration.count());
  }

  /// One sample: begin, then labels, then end.
  void begin_sample() { sample_.clear(); }
  void put_locations(const std::vector<std::uint64_t>& ids) {
    protozero::pbf_writer s(sample_);
    s.add_packed_uint64(1, ids.begin(), ids.end());
  }
  void put_values(std::initializer_list<std::int64_t> values) {
    protozero::pbf_writer s(sample_);
    s.add_packed_int64(2, values.begin(), values.end());
  }
  void put_label(std::string_view key, std::string_view value) {
    std::int64_t const k = text(key), v = text(value);
    protozero::pbf_writer s(sample_);
    protozero::pbf_writer l(s, 3);
    l.add_int64(1, k);
    l.add_int64(2, v);
  }
  void put_label(std::string_view key, std::int64_t number, std::string_view unit) {
    std::int64_t const k = text(key), u = text(unit);
    protozero::pbf_writer s(sample_);
    protozero::pbf_writer l(s, 3);
    l.add_int64(1, k);
    l.add_int64(3, number);
    l.add_int64(4, u);
  }
  void end_sample() {
    protozero::pbf_writer all(raw_);
    all.add_message(2, sample_);
  }

  /// The number of a place.
  std::uint64_t location_of(std::source_location l) {
    auto [it, fresh] = known_.try_emplace(std::bit_cast<std::uint64_t>(l), 0);
    if (fresh) it->second = location_of(plain_function(l.function_name()), l.function_name(), l.file_name(), l.line());
    return it->second;
  }
  std::uint64_t location_of(std::string_view name, std::string_view whole, std::string_view file, std::uint32_t line) {
    function f{text(name), text(whole), text(file)};
    auto [fn, fresh] = function_ids_.try_emplace({f.system_name, f.file}, functions_.size() + 1);
    if (fresh) functions_.push_back(f);
    auto [at, fresh_line] = location_ids_.try_emplace({fn->second, line}, locations_.size() + 1);
    if (fresh_line) locations_.emplace_back(fn->second, line);
    return at->second;
  }

  /// Appends what was put, packed. `last`: with the tables, and nothing may be put any more.
  void pass_on(std::string& out, bool last) {
    if (last) put_tables();
    gzip_.put(raw_, out, last);
    raw_.clear();
  }

 private:
  void put_type(protozero::pbf_tag_type tag, std::string_view type, std::string_view unit) {
    std::int64_t const t = text(type), u = text(unit);
    protozero::pbf_writer all(raw_);
    protozero::pbf_writer v(all, tag);
    v.add_int64(1, t);
    v.add_int64(2, u);
  }
  std::int64_t text(std::string_view s) {
    auto [it, fresh] = text_ids_.try_emplace(valid_utf8(s), static_cast<std::int64_t>(texts_.size()));
    if (fresh) texts_.push_back(&it->first);
    return it->second;
  }
  void put_tables() {
    std::int64_t const program = text(program_invocation_short_name);
    protozero::pbf_writer all(raw_);
    {
      // Which program it is of. It says that functions, files and lines are known: nobody needs to look for its binary.
      protozero::pbf_writer m(all, 3);
      m.add_uint64(1, 1);
      m.add_int64(5, program);
      for (int has : {7, 8, 9}) m.add_bool(static_cast<protozero::pbf_tag_type>(has), true);
    }
    std::uint64_t id = 0;
    for (auto& [function, number] : locations_) {
      protozero::pbf_writer l(all, 4);
      l.add_uint64(1, ++id);
      l.add_uint64(2, 1);
      protozero::pbf_writer line(l, 4);
      line.add_uint64(1, function);
      line.add_int64(2, number);
    }
    id = 0;
    for (auto& f : functions_) {
      protozero::pbf_writer w(all, 5);
      w.add_uint64(1, ++id);
      w.add_int64(2, f.name);
      w.add_int64(3, f.system_name);
      w.add_int64(4, f.file);
    }
    for (auto* t : texts_) all.add_string(6, *t);
  }

  struct function {
    std::int64_t name, system_name, file;
  };
  gzip gzip_;
  std::string raw_, sample_;
  std::unordered_map<std::string, std::int64_t> text_ids_;
  std::vector<const std::string*> texts_;  // in the order of their numbers
  std::unordered_map<std::uint64_t, std::uint64_t> known_;
  std::map<std::pair<std::int64_t, std::int64_t>, std::uint64_t> function_ids_;
  std::vector<function> functions_;
  std::map<std::pair<std::uint64_t, std::uint32_t>, std::uint64_t> location_ids_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> locations_;
};

}  // namespace leash::debug
