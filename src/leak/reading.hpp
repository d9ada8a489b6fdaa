// What lies in frozen memory: the waits of parked goroutines, and the self-certifying handles in their frames, in buffers
// and in blocks. Nothing is looked up here, and nothing is written that others see, so two threads may read at once.
//
// The goroutines of a slab are read in the order of their slots, in batches: while one is read, the frames of the next
// ones are on their way into the cache, and so are the objects that were found.
//
// Rules of soundness that are kept here (docs/design/proof.md has the interleavings behind them)
//
//   Rule 2 (frozen only)
//     Handles count only in frames of goroutines whose park word is the same before the scan, after it, and after the
//     totals were read (mark.cpp); in buffers whose stamp is; and in blocks all of whose handles were found in frozen
//     places (both scan.cpp). All other memory is external.
//   Rule 4 (elided frames)
//     A frame is scanned only if it starts an arena slot: one that the compiler put into its caller's frame is scanned
//     with that, once.
//   Rule 5 (reuse)
//     The arena never unmaps, park words count on over reuse, an object is read only behind a certified handle or a
//     waiter in a validated frame, and nothing is ever written to it.
//   Rule 7 (forgery)
//     A candidate's tag must fit its address, object and kind; its object must be the start of an object slot of a type
//     that has such handles (scan.cpp).
#pragma once
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <leash/condition.hpp>
#include <leash/tracked.hpp>
#include <vector>

#include "../observe/frozen.hpp"
#include "capability.hpp"
#include "graph.hpp"

namespace leash {

struct place {  // of an object or, for joins and frames, a goroutine
  object* at;
  std::uint32_t number;
};
struct found_handle {
  place what;
  capability kind;
};
struct found_wait {
  place what;
  std::uint8_t which;
};

/// The slots of goroutines in a slab.
struct goroutine_slab {
  std::uint32_t first;  // number
  std::byte* base;
  std::size_t bytes;  // of a slot
  std::uint32_t slots;
};

/// A goroutine that was parked before it was read and afterwards, in the same wait.
struct goroutine_reading {
  goroutine_core* g;
  std::uint64_t word;
  std::uint32_t node;
  std::uint32_t handles_end, waits_end;  // where those of the next one begin
  std::uint8_t flags;                    // of its node
  // Read while the word was valid: the slot may be another goroutine's when the mark comes by (rule 5).
  scope_core* home;
  lineage *kin, *own_kin;
  context_core* inner;  // the innermost context
};

/// What was read of a slab.
struct slab_reading {
  huge_array<goroutine_reading> all;
  huge_array<found_handle> handles;
  huge_array<found_wait> waits;
  std::size_t members = 0;     // goroutines seen at all
  bool any_placed = false;     // somebody waits for an event or condition
  bool any_in_frames = false;  // that lies in a frame
};

class frozen_reader {
 public:
  /// records: where what is known of objects lies, to be fetched ahead.
  frozen_reader(slot_map& slots, const graph_object* records) noexcept
      : slots_(slots), records_(reinterpret_cast<std::uintptr_t>(records)) {}

  /// only: the runtime to look at, or null for all.
  void read(const goroutine_slab& s, const runtime* only, slab_reading& to) {
    to_ = &to;
    only_ = only;
    to.all.cut(0);
    to.handles.cut(0);
    to.waits.cut(0);
    to.members = 0;
    to.any_placed = to.any_in_frames = false;
    seen next[batch];
    std::size_t n = 0;
    for (std::uint32_t k = 0; k < s.slots; ++k) {
      if (!look(reinterpret_cast<goroutine_core*>(s.base + k * s.bytes), s.first + k, next[n]) || ++n < batch) continue;
      for (const seen& one : next) scan(one);
      n = 0;
    }
    for (std::size_t i = 0; i < n; ++i) scan(next[i]);
  }

  /// Adds what it finds to `handles`.
  LEASH_READS_FROZEN void scan_words(const std::byte* at, std::size_t bytes, huge_array<found_handle>& handles) {
    if (bytes < 16) return;
    auto const* w = reinterpret_cast<const volatile std::uint64_t*>(at);
    auto const* const last = w + bytes / 8 - 1;
    std::uint64_t const base = reinterpret_cast<std::uint64_t>(arena::all.base), size = arena::all.bytes;
#if defined(__SSE2__)
    // Four words at a time by their upper halves, less that of the base; as signed numbers, from the least one on.
    auto const upper = [](std::uint64_t v) { return static_cast<std::uint32_t>(v >> 32); };
    __m128i const lowest = _mm_set1_epi32(static_cast<int>(upper(base) + 0x8000'0000u));
    __m128i const end = _mm_set1_epi32(static_cast<int>(upper(base + size - 1) - upper(base) + 0x8000'0001u));
#endif
    while (w < last) {
#if defined(__SSE2__)
      if (last - w >= 3) [[likely]] {
        __m128 const a = _mm_loadu_ps(reinterpret_cast<const float*>(const_cast<const std::uint64_t*>(w)));
        __m128 const b = _mm_loadu_ps(reinterpret_cast<const float*>(const_cast<const std::uint64_t*>(w + 2)));
        __m128i const all = _mm_castps_si128(_mm_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
        int const found = _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpgt_epi32(end, _mm_sub_epi32(all, lowest))));
        if (found == 0) [[likely]] {
          w += 4;
          continue;
        }
        w += __builtin_ctz(static_cast<unsigned>(found));
        if (w >= last) return;
      }
#endif
      std::uint64_t const candidate = *w;
      if (candidate - base < size) [[unlikely]] {
        capability const c = handle::certified(const_cast<const std::uint64_t*>(w), candidate, w[1]);
        if (c != capability::none) [[unlikely]] {
          place const o = place_of(reinterpret_cast<object*>(candidate));
          if (o.number != none) handles.push_back({o, c});  // rule 7
          ++w;
        }
      }
      ++w;
    }
  }

  /// The number of an object, which is on its way into the cache then, as is its record. none: no object starts there.
  LEASH_INLINE place place_of(object* o) {
    std::uint32_t const k = slots_.number_of(o, arena::kind::object);
    if (k == none) return {o, none};
    __builtin_prefetch(o);
    // It may be out of reach by now: there are more objects, or the records have moved.
    __builtin_prefetch(reinterpret_cast<const void*>(records_ + std::uintptr_t{k} * sizeof(graph_object)), 1);
    return {o, k};
  }

 private:
  static constexpr std::size_t batch = 64;
  static constexpr std::size_t lines_fetched = 8;    // of a frame
  static constexpr std::uint32_t most_cases = 4096;  // of one select that are looked at

  struct seen {
    goroutine_core* g;
    std::uint64_t word;
    std::uint32_t node;
  };

  // --- one goroutine

  LEASH_READS_FROZEN bool look(goroutine_core* g, std::uint32_t node, seen& s) {
    std::uint64_t const word = g->park.load(std::memory_order_acquire);
    park_state const state = state_of(word);
    if (state == park_state::free || state == park_state::done) return false;
    if (only_ != nullptr && frozen::read(g->runtime_index) != only_->index) return false;
    ++to_->members;
    if (!frozen::waits(word)) return false;
    // It may be null by now.
    auto const* leaf = reinterpret_cast<const std::byte*>(reinterpret_cast<std::uintptr_t>(frozen::read(g->leaf)) - 16);
    std::size_t const bytes = std::min(slots_.bytes_of(leaf, arena::kind::frame), lines_fetched * 64);
    for (std::size_t at = 0; at < bytes; at += 64) __builtin_prefetch(leaf + at);
    s = {g, word, node};
    return true;
  }

  LEASH_READS_FROZEN void scan(const seen& s) {
    goroutine_core* g = s.g;
    std::size_t const handles_before = to_->handles.size(), waits_before = to_->waits.size();
    std::uint8_t flags = node_flag::seen;
    if (!read_waits(g, state_of(s.word) == park_state::held, flags)) flags |= node_flag::goes_on;
    goroutine_reading r{g,
                        s.word,
                        s.node,
                        0,
                        0,
                        flags,
                        frozen::read(g->home).get(),
                        frozen::read(g->kin).get(),
                        frozen::read(g->own_kin).get(),
                        static_cast<context_core*>(frozen::read(g->ctx))};
    std::uint32_t steps = 0;
    for (promise_base* f = frozen::read(g->leaf); f != nullptr && arena::contains(f); f = frozen::parent_of(f)) {
      // A chain that is changed while it is walked may close to a circle for a moment.
      if (++steps % 4096 == 0 && g->park.load(std::memory_order_relaxed) != s.word) break;
      std::byte* const start = reinterpret_cast<std::byte*>(f) - 16;
      scan_words(start, slots_.bytes_of(start, arena::kind::frame), to_->handles);  // rule 4
    }
    const goroutine_type* type = frozen::read(g->type);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (g->park.load(std::memory_order_relaxed) == s.word) {  // so `type` is g's
      const std::byte* begin = nullptr;
      std::size_t const bytes = type->callable_bytes(g, begin);
      scan_words(begin, bytes, to_->handles);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (g->park.load(std::memory_order_relaxed) == s.word) {
        r.handles_end = graph::size32(to_->handles.size());
        r.waits_end = graph::size32(to_->waits.size());
        to_->all.push_back(r);
        return;
      }
    }
    to_->handles.cut(handles_before);  // rule 2: it moved while it was read
    to_->waits.cut(waits_before);
  }

  // --- waits

  /// False: a wait that ends by itself, is bounded in time, or is of a kind that is never judged.
  LEASH_READS_FROZEN bool read_waits(goroutine_core* g, bool held, std::uint8_t& flags) {
    auto* ctx = static_cast<context_core*>(frozen::read(g->ctx));
    if (!arena::contains(ctx) || frozen::read(ctx->bounded)) return false;
    if (!held && frozen::read(ctx->ended) != 0) return false;  // rule 1: it is being cancelled
    std::uint32_t const count = frozen::read(g->wait_count);
    if (count > most_cases) return false;
    std::uint32_t forevers = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      waiter* w = frozen::waiter_of(g, i);
      if (w == nullptr) return false;
      if (frozen::read(w->reason) == wait_reason::forever)
        ++forevers;
      else if (!read_wait(w, flags))
        return false;
    }
    return forevers == 0 || forevers < count || add_cancellers(ctx);
  }

  LEASH_READS_FROZEN bool read_wait(waiter* w, std::uint8_t& flags) {
    object* o = frozen::read(w->what);
    wait_reason const reason = frozen::read(w->reason);
    switch (reason) {
      case wait_reason::chan_receive:
        if (o == nullptr) return true;  // never fires
        break;
      case wait_reason::chan_send:
        return o == nullptr || push_wait(o, 1);
      case wait_reason::mutex_lock:
      case wait_reason::rw_lock:
      case wait_reason::rw_rlock:
      case wait_reason::semaphore:
      case wait_reason::wait_group:
      case wait_reason::once:
      case wait_reason::scope_join:
        break;
      case wait_reason::start:
        return push_wait(o, 1);
      case wait_reason::goroutine_join:
        return o == nullptr || push_target(o, graph_wait::joins);
      case wait_reason::event:
      case wait_reason::cond_wait:
        return read_placed(static_cast<placed_object*>(o), flags);
      case wait_reason::context_done:
        return place_of(o).number != none && !frozen::read(static_cast<context_core*>(o)->bounded) &&
               add_cancellers(static_cast<context_core*>(o));
      default:
        return false;
    }
    return push_wait(o, 0);
  }
  bool push_wait(object* o, std::uint8_t which) {
    place const p = place_of(o);
    if (p.number == none) return false;
    to_->waits.push_back({p, which});
    return true;
  }
  /// who: a goroutine.
  bool push_target(const void* who, std::uint8_t which) {
    std::uint32_t const k = slots_.number_of(who, arena::kind::goroutine);
    if (k == none) return false;
    to_->waits.push_back({{nullptr, k}, which});
    return true;
  }

  /// An event or condition: who reaches the place where it lies can complete the wait.
  LEASH_READS_FROZEN bool read_placed(placed_object* o, std::uint8_t& flags) {
    if (!push_wait(o, 0)) return false;  // it may be set already (rule 1)
    void const* home = frozen::read(o->home);
    arena::slot const at = arena::slot_at(home);
    if (at.start == nullptr) return false;
    auto* owner = reinterpret_cast<object*>(at.start);
    object_type const type = at.what == arena::kind::object ? frozen::read(owner->type) : object_type::none;
    std::source_location site;
    if (type == object_type::block) site = site_of(owner, type);
    if (site.line() == 0) site = site_of(o, frozen::read(o->type));
    if (breached(site)) return false;
    to_->any_placed = true;
    switch (at.what) {
      case arena::kind::object:
        if (type == object_type::block) return push_wait(owner, 0) && push_wait(owner, 1);
        return type == object_type::chunk && push_wait(frozen::read(static_cast<tracked_chunk*>(owner)->pool), 0);
      case arena::kind::frame: {
        goroutine_core* who = frozen::read(reinterpret_cast<promise_base*>(at.start + 16)->who);
        if (!push_target(who, graph_wait::frames)) return false;
        break;
      }
      case arena::kind::goroutine:
        if (!push_target(at.start, graph_wait::frames)) return false;
        break;
      default:
        return false;
    }
    flags |= node_flag::in_frames;
    to_->any_in_frames = true;
    return true;
  }

  /// What could end the context c: the cancel sources on the way out, and whoever may cancel the scopes there. False:
  /// not all of them were seen.
  LEASH_READS_FROZEN bool add_cancellers(context_core* c) {
    for (int depth = 0; c != nullptr; ++depth) {
      if (!arena::contains(c) || depth == 100'000) return false;
      if (canceller_core* source = frozen::read(c->source); source != nullptr) (void)push_wait(source, 0);
      std::uint8_t const shape = frozen::read(c->shape);
      if ((shape & context_core::scope_bit) != 0 && frozen::read(c->owner) != nullptr)
        (void)push_wait(c, graph_wait::cancels);
      if ((shape & (context_core::shield_bit | context_core::immortal_bit)) != 0) return true;
      c = frozen::read(c->parent);
    }
    return true;
  }

  slot_map& slots_;
  std::uintptr_t records_;
  const runtime* only_ = nullptr;
  slab_reading* to_ = nullptr;
};

}  // namespace leash
