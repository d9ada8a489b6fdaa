#include "native_symbols.hpp"

#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "observe/text.hpp"

namespace leash::debug {

namespace {

constexpr std::size_t largest_file = std::size_t{2} << 30;

class mapped_file {
 public:
  explicit mapped_file(const std::string& path) {
    int const fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    struct stat s{};
    if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_size > 0 &&
        static_cast<std::size_t>(s.st_size) <= largest_file) {
      void* p = mmap(nullptr, static_cast<std::size_t>(s.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
      if (p != MAP_FAILED) {
        data_ = static_cast<const std::byte*>(p);
        size_ = static_cast<std::size_t>(s.st_size);
      }
    }
    close(fd);
  }
  mapped_file(const mapped_file&) = delete;
  ~mapped_file() {
    if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
  }
  /// Null: not that many there.
  template <class T>
  const T* at(std::uint64_t offset, std::uint64_t count = 1) const noexcept {
    if (offset > size_ || count > (size_ - offset) / sizeof(T) || offset % alignof(T) != 0) return nullptr;
    return reinterpret_cast<const T*>(data_ + offset);
  }
  /// A text that ends within the file.
  const char* text(std::uint64_t offset) const noexcept {
    if (offset >= size_ || std::memchr(data_ + offset, 0, size_ - offset) == nullptr) return nullptr;
    return reinterpret_cast<const char*>(data_ + offset);
  }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

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

  void load() {
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

native_symbols::found native_symbols::at(std::uint64_t address) {
  for (auto& m : modules_) {
    if (address < m->from || address >= m->to) continue;
    if (m->file == nullptr) m->load();
    std::uint64_t const a = address - m->base;
    auto it =
        std::upper_bound(m->symbols.begin(), m->symbols.end(), a, [](std::uint64_t v, auto& s) { return v < s.start; });
    if (it == m->symbols.begin()) return {m->shown, m->shown, m->base};
    --it;
    while (it != m->symbols.begin() && std::prev(it)->start == it->start) --it;  // the largest
    if (it->size != 0 && a >= it->start + it->size) return {m->shown, m->shown, m->base};
    std::string const whole = readable(it->name);
    return {plain_function(whole), whole, m->base + it->start};
  }
  return {"[unknown]", "[unknown]", 0};
}

}  // namespace leash::debug
