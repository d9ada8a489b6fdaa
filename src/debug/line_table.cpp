#include "line_table.hpp"

#include <algorithm>
#include <cstring>

namespace leash::debug {

/// What is read beyond the end is 0, and `ok` false from then on.
class line_search::reader {
 public:
  explicit reader(std::string_view bytes) : rest_(bytes) {}
  bool ok = true;
  bool empty() const noexcept { return rest_.empty(); }
  std::string_view take(std::uint64_t n) noexcept {
    if (n > rest_.size()) {
      ok = false;
      rest_ = {};
      return {};
    }
    std::string_view const part = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return part;
  }
  template <class T>
  T fixed() noexcept {
    T v = 0;
    std::string_view const part = take(sizeof v);
    if (!part.empty()) std::memcpy(&v, part.data(), sizeof v);
    return v;
  }
  std::uint64_t offset(bool wide) noexcept { return wide ? fixed<std::uint64_t>() : fixed<std::uint32_t>(); }
  std::uint64_t number() noexcept {
    std::uint64_t v = 0;
    for (unsigned shift = 0;; shift += 7) {
      auto const b = fixed<std::uint8_t>();
      if (shift < 64) v |= std::uint64_t{b & 0x7fu} << shift;
      if ((b & 0x80) == 0) return v;
    }
  }
  std::int64_t signed_number() noexcept {
    std::uint64_t v = 0;
    for (unsigned shift = 0;;) {
      auto const b = fixed<std::uint8_t>();
      if (shift < 64) v |= std::uint64_t{b & 0x7fu} << shift;
      shift += 7;
      if ((b & 0x80) != 0) continue;
      if ((b & 0x40) != 0 && shift < 64) v |= ~std::uint64_t{0} << shift;
      return static_cast<std::int64_t>(v);
    }
  }
  std::string_view text() noexcept {
    std::size_t const n = rest_.find('\0');
    if (n == rest_.npos) {
      ok = false;
      rest_ = {};
      return {};
    }
    std::string_view const s = rest_.substr(0, n);
    rest_.remove_prefix(n + 1);
    return s;
  }

 private:
  std::string_view rest_;
};

struct line_search::unit {
  struct entry {
    std::string_view path;
    std::uint64_t folder = 0;
  };
  bool wide = false;  // 64-bit DWARF
  std::uint16_t version = 0;
  std::uint8_t step = 1;  // the least length of an instruction
  std::int8_t line_base = 0;
  std::uint8_t line_range = 1, opcode_base = 1;
  std::string_view opcode_arguments;
  std::vector<entry> folders,
      files;  // as they are numbered: before version 5 the first one is the compiler's own folder
};

namespace {

constexpr std::size_t most_entries = 1 << 20, enough = 1 << 20;

std::string_view text_at(std::string_view all, std::uint64_t at) noexcept {
  if (at >= all.size()) return {};
  std::size_t const end = all.find('\0', at);
  return end == all.npos ? std::string_view() : all.substr(at, end - at);
}

}  // namespace

line_search::line_search(std::string_view programs, std::string_view line_texts, std::string_view texts,
                         std::vector<std::uint64_t> addresses)
    : programs_(programs), line_texts_(line_texts), texts_(texts), wanted_(std::move(addresses)) {
  std::sort(wanted_.begin(), wanted_.end());
}

bool line_search::step() {
  for (std::size_t read = 0; read < enough;) {
    if (programs_.empty() || found.size() == wanted_.size()) return false;
    reader all(programs_);
    std::uint64_t length = all.fixed<std::uint32_t>();
    std::size_t head = 4;
    if (length == 0xffffffff) {
      length = all.fixed<std::uint64_t>();
      head = 12;
    }
    reader const part(all.take(length));
    if (!all.ok) {
      programs_ = {};
      return false;
    }
    reader with_head(programs_.substr(0, head + length));
    read_unit(with_head);
    programs_.remove_prefix(head + length);
    read += head + length;
  }
  return true;
}

void line_search::read_unit(reader r) {
  unit u;
  u.wide = r.fixed<std::uint32_t>() == 0xffffffff;
  if (u.wide) (void)r.fixed<std::uint64_t>();
  u.version = r.fixed<std::uint16_t>();
  if (u.version < 2 || u.version > 5) return;
  if (u.version == 5 && (r.fixed<std::uint8_t>() != 8 || r.fixed<std::uint8_t>() != 0)) return;  // sizes of addresses
  std::uint64_t const rest = r.offset(u.wide);
  reader h(r.take(rest));
  u.step = h.fixed<std::uint8_t>();
  if (u.version >= 4) (void)h.fixed<std::uint8_t>();  // operations in one instruction: for others than ours
  (void)h.fixed<std::uint8_t>();                      // statements
  u.line_base = h.fixed<std::int8_t>();
  u.line_range = h.fixed<std::uint8_t>();
  u.opcode_base = h.fixed<std::uint8_t>();
  if (u.line_range == 0 || u.opcode_base == 0) return;
  u.opcode_arguments = h.take(u.opcode_base - 1u);

  if (u.version < 5) {
    u.folders.push_back({});
    u.files.push_back({});
    for (std::string_view s; !(s = h.text()).empty();) u.folders.push_back({s});
    for (std::string_view s; !(s = h.text()).empty();) {
      u.files.push_back({s, h.number()});
      (void)h.number();  // its time
      (void)h.number();  // its length
    }
  } else {
    for (auto* list : {&u.folders, &u.files}) {
      std::vector<std::pair<std::uint64_t, std::uint64_t>> forms(h.fixed<std::uint8_t>());
      for (auto& [content, form] : forms) content = h.number(), form = h.number();
      std::uint64_t const n = h.number();
      if (n > most_entries || (n != 0 && forms.empty())) return;
      for (std::uint64_t i = 0; i < n && h.ok; ++i) {
        unit::entry e;
        for (auto& [content, form] : forms) {
          std::string_view text;
          std::uint64_t number = 0;
          switch (form) {
            case 0x08:  // string
              text = h.text();
              break;
            case 0x0e:  // strp
              text = text_at(texts_, h.offset(u.wide));
              break;
            case 0x1f:  // line_strp
              text = text_at(line_texts_, h.offset(u.wide));
              break;
            case 0x0b:  // data1
              number = h.fixed<std::uint8_t>();
              break;
            case 0x05:  // data2
              number = h.fixed<std::uint16_t>();
              break;
            case 0x06:  // data4
              number = h.fixed<std::uint32_t>();
              break;
            case 0x07:  // data8
              number = h.fixed<std::uint64_t>();
              break;
            case 0x0f:  // udata
              number = h.number();
              break;
            case 0x1e:  // data16
              (void)h.take(16);
              break;
            case 0x09:  // block
              (void)h.take(h.number());
              break;
            default:
              return;
          }
          if (content == 1) e.path = text;
          if (content == 2) e.folder = number;
        }
        list->push_back(e);
      }
    }
  }
  if (h.ok && r.ok) run(u, r);
}

void line_search::run(const unit& u, reader r) {
  std::uint64_t address = 0, file = 1, line = 1;
  std::uint64_t before = 0, before_file = 0, before_line = 0;  // the row before; in a sequence only
  bool inside = false, counts = true;
  auto const row = [&](bool last) {
    if (inside && counts && before < address) covers(u, before, address, before_file, before_line);
    before = address, before_file = file, before_line = line;
    inside = !last;
  };
  auto const advance = [&](std::uint64_t operations) { address += operations * u.step; };
  while (r.ok && !r.empty()) {
    auto const op = r.fixed<std::uint8_t>();
    if (op >= u.opcode_base) {
      unsigned const n = op - u.opcode_base;
      advance(n / u.line_range);
      line += static_cast<std::uint64_t>(u.line_base + static_cast<int>(n % u.line_range));
      row(false);
      continue;
    }
    switch (op) {
      case 0: {  // an extended one, its length first
        reader e(r.take(r.number()));
        auto const what = e.fixed<std::uint8_t>();
        if (what == 1) {  // end of sequence
          row(true);
          address = 0, file = 1, line = 1, counts = true;
        } else if (what == 2) {  // set address
          address = e.fixed<std::uint64_t>();
          counts = address != 0;  // 0: the linker has left that code out
        }
        break;
      }
      case 1:  // copy
        row(false);
        break;
      case 2:
        advance(r.number());
        break;
      case 3:
        line += static_cast<std::uint64_t>(r.signed_number());
        break;
      case 4:
        file = r.number();
        break;
      case 8:  // as the last opcode, without a row
        advance((255u - u.opcode_base) / u.line_range);
        break;
      case 9:
        address += r.fixed<std::uint16_t>();
        break;
      default:  // of no interest here: as many arguments as it says
        for (int i = u.opcode_arguments[op - 1u]; i > 0; --i) (void)r.number();
    }
  }
}

void line_search::covers(const unit& u, std::uint64_t from, std::uint64_t to, std::uint64_t file, std::uint64_t line) {
  for (auto it = std::lower_bound(wanted_.begin(), wanted_.end(), from); it != wanted_.end() && *it < to; ++it) {
    if (file >= u.files.size() || line == 0 || line > UINT32_MAX) continue;
    auto const& f = u.files[file];
    std::string path(f.path);
    for (std::uint64_t folder = f.folder; !path.starts_with('/') && folder < u.folders.size(); folder = 0) {
      std::string_view const in = u.folders[folder].path;
      if (!in.empty()) path = std::string(in) + "/" + path;
      if (folder == 0) break;
    }
    found.insert_or_assign(*it, source_line{std::move(path), static_cast<std::uint32_t>(line)});
  }
}

}  // namespace leash::debug
