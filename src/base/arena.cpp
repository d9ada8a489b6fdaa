#include <sys/mman.h>

#include <algorithm>
#include <leash/arena.hpp>
#include <mutex>
#include <new>
#include <vector>

namespace leash::arena {

constinit thread_local thread_cache* this_cache __attribute__((tls_model("initial-exec"))) = nullptr;

namespace {

constexpr std::size_t reserve_at_most = std::size_t{64} << 30;
constexpr std::size_t reserve_at_least = std::size_t{64} << 20;

struct central_list {
  std::mutex lock;
  std::byte* batches = nullptr;  // full batches, linked through bytes 16..23 of their first slot
  std::byte* singles = nullptr;  // what ended threads and spans left
  std::byte* bump = nullptr;
  std::byte* bump_end = nullptr;
};

struct central {
  std::mutex slabs_lock;
  central_list lists[kinds][class_count];
  std::mutex spans_lock;
  std::vector<std::pair<std::size_t, std::byte*>>
      spans[kinds];  // free slots larger than the largest class: bytes, address
  std::mutex caches_lock;
  thread_cache* caches = nullptr;
  std::atomic<std::int64_t> orphans[kinds] = {};  // counted without a cache
};

central& shared_state() {
  static central* c = new central;  // never destroyed: threads may end after static destructors
  return *c;
}

void reserve(range& r) noexcept {
  for (std::size_t bytes = reserve_at_most; bytes >= reserve_at_least; bytes /= 2) {
    std::size_t const table = bytes / slab_bytes * sizeof(slab);
    std::size_t const align = std::size_t{2} << 20;
    void* p = mmap(nullptr, bytes + table + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED) continue;
    auto address = (reinterpret_cast<std::uintptr_t>(p) + align - 1) / align * align;
    r.base = reinterpret_cast<std::byte*>(address);
    r.bytes = bytes;
    r.slabs = reinterpret_cast<slab*>(r.base + bytes);
    // One fault for 2 MiB instead of 512: what it costs to touch memory first decides what a goroutine costs.
    madvise(r.base, bytes, MADV_HUGEPAGE);
    madvise(r.base, bytes, MADV_DONTDUMP);
    return;
  }
  fatal("no address space: not even 64 MiB could be reserved (see ulimit -v)");
}

std::byte* new_slabs(kind what, std::size_t slot_bytes, std::size_t count) {
  central& c = shared_state();
  std::lock_guard guard(c.slabs_lock);
  std::size_t const first = all.used_slabs.load(std::memory_order_relaxed);
  if ((first + count) * slab_bytes > all.bytes) throw std::bad_alloc();
  slab& s = all.slabs[first];
  s.what = what;
  s.slot_bytes.store(static_cast<std::uint32_t>(std::min<std::size_t>(slot_bytes, UINT32_MAX)),
                     std::memory_order_release);
  all.used_slabs.store(first + count, std::memory_order_release);  // publishes the slab to slot_at and enumeration
  return all.base + first * slab_bytes;
}

std::uint32_t batch_of(std::size_t slot_bytes) noexcept {
  return static_cast<std::uint32_t>(std::clamp<std::size_t>(16 * 1024 / slot_bytes, 4, 128));
}

thread_cache* adopt_cache() {
  central& c = shared_state();
  std::lock_guard guard(c.caches_lock);
  for (thread_cache* t = c.caches; t != nullptr; t = t->next)
    if (!t->taken) {
      t->taken = true;
      return t;
    }
  auto* t = new thread_cache{};
  for (auto& of_kind : t->lists)
    for (std::size_t i = 2; i < class_count; ++i) of_kind[i].batch = batch_of(bytes_of(i));
  t->next = c.caches;
  t->taken = true;
  c.caches = t;
  return t;
}

// A cache outlives its thread: the next thread takes it over with what it holds.
struct cache_owner {
  cache_owner() { this_cache = adopt_cache(); }
  ~cache_owner() {
    thread_cache* t = this_cache;
    this_cache = nullptr;
    gone = true;
    std::lock_guard guard(shared_state().caches_lock);
    t->taken = false;
  }
  static thread_local bool gone;
};
thread_local bool cache_owner::gone = false;

thread_cache* ensure_cache() {
  if (this_cache == nullptr && !cache_owner::gone) {
    thread_local cache_owner owner;
    (void)owner;
  }
  return this_cache;
}

void add_live(thread_cache* c, kind what, std::int64_t n) noexcept {
  if (c == nullptr) {
    shared_state().orphans[static_cast<int>(what)].fetch_add(n, std::memory_order_relaxed);
    return;
  }
  auto& live = c->live[static_cast<int>(what)];
  live.store(live.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

std::byte*& batch_link(std::byte* p) noexcept { return *reinterpret_cast<std::byte**>(p + 16); }

void* allocate_span(kind what, std::size_t bytes) {
  central& c = shared_state();
  std::size_t const count = (bytes + slab_bytes - 1) / slab_bytes;
  if (count > all.bytes / slab_bytes || count * slab_bytes > UINT32_MAX) throw std::bad_alloc();
  {
    std::lock_guard guard(c.spans_lock);
    auto& free = c.spans[static_cast<int>(what)];
    for (std::size_t i = 0; i < free.size(); ++i)
      if (free[i].first == count * slab_bytes) {
        std::byte* p = free[i].second;
        free[i] = free.back();
        free.pop_back();
        unpoison_memory(p, bytes);
        return p;
      }
  }
  return new_slabs(what, count * slab_bytes, count);
}

// A few slots for a thread without a cache (it is ending).
std::byte* take_single(central_list& l, kind what, std::size_t slot_bytes) {
  std::lock_guard guard(l.lock);
  if (l.singles != nullptr) {
    std::byte* p = l.singles;
    l.singles = link_of(p);
    return p;
  }
  if (l.bump == l.bump_end) {
    l.bump = new_slabs(what, slot_bytes, 1);
    l.bump_end = l.bump + slab_bytes / slot_bytes * slot_bytes;
  }
  std::byte* p = l.bump;
  l.bump += slot_bytes;
  return p;
}

}  // namespace

constinit range all;

namespace {
struct reserve_first {
  reserve_first() noexcept { reserve(all); }
};
// Before any other static object: global locks and channels live here too.
__attribute__((init_priority(101))) reserve_first reserved;
}  // namespace

std::byte*& link_of(void* p) noexcept { return *reinterpret_cast<std::byte**>(static_cast<std::byte*>(p) + 8); }

void* allocate_slow(kind what, std::size_t bytes) {
  thread_cache* c = ensure_cache();
  if (bytes > bytes_of(class_count - 1)) {
    void* p = allocate_span(what, bytes);
    add_live(c, what, 1);
    return p;
  }
  std::size_t const size_class = class_of(bytes);
  std::size_t const slot_bytes = bytes_of(size_class);
  central_list& global = shared_state().lists[static_cast<int>(what)][size_class];
  if (c == nullptr) {
    std::byte* p = take_single(global, what, slot_bytes);
    add_live(c, what, 1);
    unpoison_memory(p, bytes);
    return p;
  }
  free_list& l = c->lists[static_cast<int>(what)][size_class];
  if (l.head == nullptr && l.spare != nullptr) {
    l.head = l.spare;
    l.spare = nullptr;
    l.count = l.batch;
  }
  if (l.head == nullptr && l.bump == l.bump_end) {
    std::lock_guard guard(global.lock);
    if (global.batches != nullptr) {
      l.head = global.batches;
      unpoison_memory(l.head, 24);
      global.batches = batch_link(l.head);
      l.count = l.batch;
    } else if (global.singles != nullptr) {
      for (l.count = 0; global.singles != nullptr && l.count < l.batch; ++l.count) {
        std::byte* p = global.singles;
        global.singles = link_of(p);
        link_of(p) = l.head;
        l.head = p;
      }
    } else {
      if (global.bump == global.bump_end) {
        global.bump = new_slabs(what, slot_bytes, 1);
        global.bump_end = global.bump + slab_bytes / slot_bytes * slot_bytes;
      }
      l.bump = global.bump;
      l.bump_end =
          l.bump + std::min<std::size_t>(l.batch * slot_bytes, static_cast<std::size_t>(global.bump_end - l.bump));
      global.bump = l.bump_end;
    }
  }
  std::byte* p = l.head;
  if (p != nullptr) {
    l.head = link_of(p);
    --l.count;
  } else {
    p = l.bump;
    l.bump += slot_bytes;
  }
  add_live(c, what, 1);
  unpoison_memory(p, bytes);
  return p;
}

void deallocate_slow(kind what, void* memory, std::size_t bytes) noexcept {
  auto* p = static_cast<std::byte*>(memory);
  thread_cache* c = ensure_cache();
  add_live(c, what, -1);
  if (bytes > bytes_of(class_count - 1)) {
    std::size_t const span = (bytes + slab_bytes - 1) / slab_bytes * slab_bytes;
    poison_memory(p + 16, bytes - 16);
    central& g = shared_state();
    std::lock_guard guard(g.spans_lock);
    g.spans[static_cast<int>(what)].emplace_back(span, p);
    return;
  }
  if (what == kind::frame && bytes > 16) poison_memory(p + 16, bytes - 16);
  std::size_t const size_class = class_of(bytes);
  central_list& global = shared_state().lists[static_cast<int>(what)][size_class];
  if (c == nullptr) {
    std::lock_guard guard(global.lock);
    link_of(p) = global.singles;
    global.singles = p;
    return;
  }
  free_list& l = c->lists[static_cast<int>(what)][size_class];
  if (l.count >= l.batch) {
    if (l.spare != nullptr) {
      unpoison_memory(l.spare, 24);
      std::lock_guard guard(global.lock);
      batch_link(l.spare) = global.batches;
      global.batches = l.spare;
    }
    l.spare = l.head;
    l.head = nullptr;
    l.count = 0;
  }
  link_of(p) = l.head;
  l.head = p;
  ++l.count;
}

slot slot_at(const void* p) noexcept {
  if (!contains(p)) return {};
  std::size_t const offset = static_cast<std::size_t>(static_cast<const std::byte*>(p) - all.base);
  std::size_t index = offset / slab_bytes;
  if (index >= all.used_slabs.load(std::memory_order_acquire)) return {};
  std::size_t slot_bytes = all.slabs[index].slot_bytes.load(std::memory_order_acquire);
  while (slot_bytes == 0 && index > 0) slot_bytes = all.slabs[--index].slot_bytes.load(std::memory_order_acquire);
  std::size_t const within = (offset - index * slab_bytes) / slot_bytes;
  if (slot_bytes <= slab_bytes && within >= slab_bytes / slot_bytes) return {};  // the unused end of a slab
  return {all.base + index * slab_bytes + within * slot_bytes, slot_bytes, all.slabs[index].what};
}

std::int64_t live(kind what) noexcept {
  central& c = shared_state();
  std::int64_t n = c.orphans[static_cast<int>(what)].load(std::memory_order_relaxed);
  std::lock_guard guard(c.caches_lock);
  for (thread_cache* t = c.caches; t != nullptr; t = t->next)
    n += t->live[static_cast<int>(what)].load(std::memory_order_relaxed);
  return n;
}

std::size_t mapped_bytes() noexcept { return all.used_slabs.load(std::memory_order_relaxed) * slab_bytes; }

}  // namespace leash::arena
