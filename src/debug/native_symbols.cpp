#include "native_symbols.hpp"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "mapped_file.hpp"
#include "observe/text.hpp"

namespace leash::debug {

namespace {

struct symbol {
  std::uint64_t start, size;
  const char* name;
};

std::string readable(const char* mangled) {
  std::string_view s = mangled;
  // The parts of a coroutine.
  for (std::string_view part : {".resume", ".destroy", ".cleanup", ".actor"})
    if (std::size_t const at = s.find(part); at != s.npos) s = s.substr(0, at);
  std::string const name(s);
  int status = 0;
  char* plain = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string out = plain != nullptr && status == 0 ? plain : name;
  std::free(plain);
  return out;
}

}  // namespace

struct native_symbols::module {
  std::string path, shown;
  std::uint64_t base = 0, from = UINT64_MAX, to = 0;
  std::unique_ptr<mapped_file> file;  // once it is asked
  std::vector<symbol> symbols;
  std::string_view programs, line_texts, texts;  // of debug information
  std::vector<std::uint64_t> wanted;
  std::unique_ptr<line_search> lines;

  void load() {
    if (file != nullptr) return;
    file = std::make_unique<mapped_file>(path);
    auto const* head = file->at<ElfW(Ehdr)>(0);
    if (head == nullptr || std::memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_shentsize != sizeof(ElfW(Shdr)))
      return;
    auto const* sections = file->at<ElfW(Shdr)>(head->e_shoff, head->e_shnum);
    if (sections == nullptr) return;
    for (std::size_t i = 0; i < head->e_shnum; ++i)
      if (sections[i].sh_type == SHT_SYMTAB || sections[i].sh_type == SHT_DYNSYM)
        load(sections, head->e_shnum, sections[i]);
    std::sort(symbols.begin(), symbols.end(),
              [](auto& a, auto& b) { return a.start != b.start ? a.start < b.start : a.size > b.size; });
    programs = contents(*head, sections, ".debug_line");
    line_texts = contents(*head, sections, ".debug_line_str");
    texts = contents(*head, sections, ".debug_str");
  }
  /// Of the section with that name; empty: there is none, or it is packed.
  std::string_view contents(const ElfW(Ehdr) & head, const ElfW(Shdr) * sections, std::string_view name) const {
    if (head.e_shstrndx >= head.e_shnum) return {};
    for (std::size_t i = 0; i < head.e_shnum; ++i) {
      auto const& s = sections[i];
      const char* const called = file->text(sections[head.e_shstrndx].sh_offset + s.sh_name);
      if (called == nullptr || called != name || s.sh_type != SHT_PROGBITS || (s.sh_flags & SHF_COMPRESSED) != 0)
        continue;
      const char* const from = file->at<char>(s.sh_offset, s.sh_size);
      return from != nullptr ? std::string_view(from, s.sh_size) : std::string_view();
    }
    return {};
  }
  void load(const ElfW(Shdr) * sections, std::size_t count, const ElfW(Shdr) & table) {
    if (table.sh_link >= count || table.sh_entsize != sizeof(ElfW(Sym))) return;
    auto const& texts = sections[table.sh_link];
    std::size_t const n = table.sh_size / sizeof(ElfW(Sym));
    auto const* all = file->at<ElfW(Sym)>(table.sh_offset, n);
    if (all == nullptr) return;
    for (std::size_t k = 0; k < n; ++k) {
      if ((all[k].st_info & 0xf) != STT_FUNC || all[k].st_value == 0 || all[k].st_name >= texts.sh_size) continue;
      if (const char* name = file->text(texts.sh_offset + all[k].st_name); name != nullptr && *name != '\0')
        symbols.push_back({all[k].st_value, all[k].st_size, name});
    }
  }
};

native_symbols::native_symbols() {
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* to) {
        auto& all = *static_cast<std::vector<std::unique_ptr<module>>*>(to);
        auto m = std::make_unique<module>();
        m->base = info->dlpi_addr;
        m->path = all.empty() ? "/proc/self/exe" : info->dlpi_name;
        std::string_view const name = all.empty() ? std::string_view("program") : std::string_view(info->dlpi_name);
        m->shown = "[" + std::string(name.substr(name.rfind('/') + 1)) + "]";
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          auto const& p = info->dlpi_phdr[i];
          if (p.p_type != PT_LOAD) continue;
          m->from = std::min<std::uint64_t>(m->from, m->base + p.p_vaddr);
          m->to = std::max<std::uint64_t>(m->to, m->base + p.p_vaddr + p.p_memsz);
        }
        all.push_back(std::move(m));
        return 0;
      },
      &modules_);
}
native_symbols::~native_symbols() = default;

native_symbols::module* native_symbols::module_of(std::uint64_t address) {
  for (auto& m : modules_)
    if (address >= m->from && address < m->to) {
      m->load();
      return m.get();
    }
  return nullptr;
}

void native_symbols::want_line(std::uint64_t address) {
  if (module* m = module_of(address)) m->wanted.push_back(address - m->base);
}

bool native_symbols::find_lines() {
  for (auto& m : modules_) {
    if (m->lines == nullptr && !m->wanted.empty())
      m->lines = std::make_unique<line_search>(m->programs, m->line_texts, m->texts, std::exchange(m->wanted, {}));
    if (m->lines != nullptr && m->lines->step()) return true;
  }
  return false;
}

native_symbols::found native_symbols::at(std::uint64_t address) {
  module* const m = module_of(address);
  if (m == nullptr) return {"[unknown]", "[unknown]", 0, {}};
  std::uint64_t const a = address - m->base;
  source_line line;
  if (m->lines != nullptr)
    if (auto const it = m->lines->found.find(a); it != m->lines->found.end()) line = it->second;
  auto it =
      std::upper_bound(m->symbols.begin(), m->symbols.end(), a, [](std::uint64_t v, auto& s) { return v < s.start; });
  if (it == m->symbols.begin()) return {m->shown, m->shown, m->base, line};
  --it;
  while (it != m->symbols.begin() && std::prev(it)->start == it->start) --it;  // the largest
  if (it->size != 0 && a >= it->start + it->size) return {m->shown, m->shown, m->base, line};
  std::string const whole = readable(it->name);
  return {plain_function(whole), whole, m->base + it->start, line};
}

}  // namespace leash::debug
