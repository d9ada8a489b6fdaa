// The first phase of a pass: who waits for what, and which handles lie in frozen memory.
//
// Goroutines are read in the order of their slots, in batches: while one is read, the frames of the next ones are on
// their way into the cache, and what was found in a batch is looked up after it, when that has arrived too.
//
// One file: frames, buffers, blocks and circles are read by the same few functions into one graph, in an order that counts.
//
// Rules of soundness that are kept here (docs/design/proof.md has the interleavings behind them)
//
//   Rule 2 (frozen only)
//     Handles count only in frames of goroutines whose park word is the same before the scan, after it, and after the
//     totals were read; in buffers whose stamp is; and in blocks all of whose handles were found in frozen places. All
//     other memory is external.
//   Rule 4 (elided frames)
//     A frame is scanned only if it starts an arena slot: one that the compiler put into its caller's frame is scanned
//     with that, once.
//   Rule 5 (reuse)
//     The arena never unmaps, park words count on over reuse, an object is read only behind a certified handle or a
//     waiter in a validated frame, and nothing is ever written to it.
//   Rule 6 (revival)
//     A weak handle can make an owner again: it counts as a capability of its block.
//   Rule 7 (forgery)
//     A candidate's tag must fit its address, object and kind; its object must be the start of an object slot of a type
//     that has such handles.
#include <algorithm>
#include <array>
#include <leash/condition.hpp>
#include <leash/tracked.hpp>
#include <leash/wait_group.hpp>

#include "../observe/frozen.hpp"
#include "capability.hpp"
#include "circles.hpp"
#include "pass.hpp"

namespace leash {

namespace {

constexpr std::size_t batch = 64;
constexpr std::size_t lines_fetched = 8;       // of a frame
constexpr std::uint32_t most_cases = 4096;     // of one select that are looked at
constexpr std::uint32_t most_values = 65'536;  // of one buffer

// class_of_capability as a table: it is asked for each handle.
constexpr auto class_of = [] {
  std::array<std::array<std::uint8_t, capabilities>, 16> t{};
  for (std::size_t o = 0; o < t.size(); ++o)
    for (std::size_t c = 0; c < capabilities; ++c)
      t[o][c] = class_of_capability(static_cast<object_type>(o), static_cast<capability>(c));
  return t;
}();

class scanner {
 public:
  scanner(graph& g, const runtime* only) : g_(g), only_(only) {}

  void run() {
    std::uint32_t const most = g_.goroutines();
    g_.words.resize(most);
    g_.flags.resize(most);
    g_.first_link.reserve(most + 1);
    g_.links.reserve(std::size_t{most} * 4);
    g_.objects.resize(g_.slots.end(arena::kind::object));
    touch_memory();
    seen all[batch];
    std::size_t n = 0;
    g_.slots.for_each_slab(arena::kind::goroutine,
                           [&](std::uint32_t first, std::byte* base, std::size_t bytes, std::uint32_t slots) {
                             for (std::uint32_t k = 0; k < slots; ++k) {
                               auto* g = reinterpret_cast<goroutine_core*>(base + k * bytes);
                               if (!look(g, first + k, all[n]) || ++n < batch) continue;
                               scan_batch(all, n);
                               n = 0;
                             }
                           });
    scan_batch(all, n);
    memory_.stop();
    begin_links(most);  // of those that follow the last one that was seen
    for (late_target const& t : targets_) link_target(t);
    scan_contents();
    if (any_tracked_memory.load(std::memory_order_acquire)) scan_circles();
    begin_links(g_.nodes());
    link_owners();
  }

 private:
  struct seen {
    goroutine_core* g;
    std::uint64_t word;
    std::uint32_t node;
  };
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
  struct late_target {  // a wait whose target may not have been scanned yet
    std::uint32_t node, link;
  };

  /// Not where most slots are free: their part is hardly used.
  void touch_memory() {
    auto const live = [](arena::kind what) {
      return static_cast<std::size_t>(std::max<std::int64_t>(arena::live(what), 0));
    };
    std::size_t const most = g_.goroutines(), goroutines = live(arena::kind::goroutine);
    if (goroutines < most / 2) return;
    std::size_t const objects = live(arena::kind::object) < g_.objects.size() / 2 ? 0 : g_.objects.size();
    memory_.start({g_.words.area(most), g_.flags.area(most), g_.first_link.area(most), g_.links.area(2 * goroutines),
                   g_.objects.area(objects)});
  }

  // --- one goroutine

  LEASH_READS_FROZEN bool look(goroutine_core* g, std::uint32_t node, seen& s) {
    std::uint64_t const word = g->park.load(std::memory_order_acquire);
    park_state const state = state_of(word);
    if (state == park_state::free || state == park_state::done) return false;
    if (only_ != nullptr && frozen::read(g->runtime_index) != only_->index) return false;
    ++g_.members;
    if (!frozen::waits(word)) return false;
    // It may be null by now.
    auto const* leaf = reinterpret_cast<const std::byte*>(reinterpret_cast<std::uintptr_t>(frozen::read(g->leaf)) - 16);
    std::size_t const bytes = std::min(g_.slots.bytes_of(leaf, arena::kind::frame), lines_fetched * 64);
    for (std::size_t at = 0; at < bytes; at += 64) __builtin_prefetch(leaf + at);
    s = {g, word, node};
    return true;
  }

  void scan_batch(const seen* all, std::size_t n) {
    std::uint32_t handles_end[batch], waits_end[batch];
    bool whole[batch];
    handles_.cut(0);
    waits_.cut(0);
    for (std::size_t i = 0; i < n; ++i) {
      whole[i] = scan(all[i], families_[i]);
      handles_end[i] = graph::size32(handles_.size());
      waits_end[i] = graph::size32(waits_.size());
    }
    std::uint32_t h = 0, w = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (!whole[i]) continue;
      std::uint32_t const node = all[i].node;
      g_.words[node] = all[i].word;
      g_.flags[node] |= node_flag::seen;
      begin_links(node);
      for (; h < handles_end[i]; ++h) add_edge(handles_[h]);
      if (waits_end[i] == w + 1 && joins_hold(node, waits_[w])) ++w;
      for (; w < waits_end[i]; ++w) add_wait(node, waits_[w]);
      add_family(all[i], families_[i]);
    }
  }
  /// The next links are of that node.
  void begin_links(std::uint32_t node) {
    while (g_.first_link.size() <= node) g_.first_link.push_back(graph::size32(g_.links.size()));
  }

  struct family {  // read while the word was valid: the slot may be another goroutine's when the mark comes by (rule 5)
    scope_core* home;
    lineage *kin, *own_kin;
    context_core* inner;  // the innermost context
  };

  /// False: it moved while it was read.
  LEASH_READS_FROZEN bool scan(const seen& s, family& kept) {
    goroutine_core* g = s.g;
    std::size_t const handles_before = handles_.size(), waits_before = waits_.size();
    std::uint8_t flags = 0;
    if (!read_waits(g, state_of(s.word) == park_state::held, flags)) flags |= node_flag::goes_on;
    kept = {frozen::read(g->home).get(), frozen::read(g->kin).get(), frozen::read(g->own_kin).get(),
            static_cast<context_core*>(frozen::read(g->ctx))};
    std::uint32_t steps = 0;
    for (promise_base* f = frozen::read(g->leaf); f != nullptr && arena::contains(f); f = frozen::parent_of(f)) {
      // A chain that is changed while it is walked may close to a circle for a moment.
      if (++steps % 4096 == 0 && g->park.load(std::memory_order_relaxed) != s.word) break;
      std::byte* const start = reinterpret_cast<std::byte*>(f) - 16;
      scan_words(start, g_.slots.bytes_of(start, arena::kind::frame));  // rule 4
    }
    const goroutine_type* type = frozen::read(g->type);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (g->park.load(std::memory_order_relaxed) == s.word) {  // so `type` is g's
      const std::byte* begin = nullptr;
      std::size_t const bytes = type->callable_bytes(g, begin);
      scan_words(begin, bytes);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (g->park.load(std::memory_order_relaxed) == s.word) {
        g_.flags[s.node] = flags;
        return true;
      }
    }
    handles_.cut(handles_before);  // rule 2: it moved while it was read
    waits_.cut(waits_before);
    return false;
  }

  LEASH_READS_FROZEN void scan_words(const std::byte* at, std::size_t bytes) {
    if (bytes < 16) return;
    auto const* w = reinterpret_cast<const volatile std::uint64_t*>(at);
    auto const* const last = w + bytes / 8 - 1;
    std::uint64_t const base = reinterpret_cast<std::uint64_t>(arena::all.base), size = arena::all.bytes;
    for (; w < last; ++w) {
      std::uint64_t const candidate = *w;
      if (candidate - base >= size) [[likely]]
        continue;
      capability const c = handle::certified(const_cast<const std::uint64_t*>(w), candidate, w[1]);
      if (c == capability::none) [[likely]]
        continue;
      ++w;
      place const o = place_of(reinterpret_cast<object*>(candidate));
      if (o.number != none) handles_.push_back({o, c});  // rule 7
    }
  }

  // --- waits

  /// False: a wait that ends by itself, is bounded in time, or is of a kind that is never judged.
  LEASH_READS_FROZEN bool read_waits(goroutine_core* g, bool held, std::uint8_t& flags) {
    auto* ctx = static_cast<context_core*>(frozen::read(g->ctx));
    if (!arena::contains(ctx) || frozen::read(ctx->bounded)) return false;
    if (!held && frozen::read(ctx->ended) != 0) return false;  // rule 1: it is being cancelled
    std::uint32_t const count = frozen::read(g->wait_count);
    if (count > most_cases) return false;
    for (std::uint32_t i = 0; i < count; ++i) {
      waiter* w = frozen::waiter_of(g, i);
      if (w == nullptr || !read_wait(w, ctx, flags)) return false;
    }
    return true;
  }

  LEASH_READS_FROZEN bool read_wait(waiter* w, context_core* ctx, std::uint8_t& flags) {
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
      case wait_reason::forever:
        return add_cancellers(ctx);
      default:
        return false;
    }
    return push_wait(o, 0);
  }
  bool push_wait(object* o, std::uint8_t which) {
    place const p = place_of(o);
    if (p.number == none) return false;
    waits_.push_back({p, which});
    return true;
  }
  /// who: a goroutine.
  bool push_target(const void* who, std::uint8_t which) {
    std::uint32_t const k = g_.slots.number_of(who, arena::kind::goroutine);
    if (k == none) return false;
    waits_.push_back({{nullptr, k}, which});
    return true;
  }

  /// An event or condition: who reaches the place where it lies can complete the wait.
  LEASH_READS_FROZEN bool read_placed(placed_object* o, std::uint8_t& flags) {
    if (!push_wait(o, 0)) return false;  // it may be set already (rule 1)
    void const* home = frozen::read(o->home);
    arena::slot const at = arena::slot_at(home);
    if (at.start == nullptr || breached(site_of(o, frozen::read(o->type)))) return false;
    g_.any_placed = true;
    switch (at.what) {
      case arena::kind::object: {
        auto* owner = reinterpret_cast<object*>(at.start);
        object_type const type = frozen::read(owner->type);
        if (type == object_type::block) return push_wait(owner, 0) && push_wait(owner, 1);
        return type == object_type::chunk && push_wait(frozen::read(static_cast<tracked_chunk*>(owner)->pool), 0);
      }
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
    g_.any_in_frames = true;
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

  // --- records

  /// The number of an object, which is on its way into the cache then, as is its record. none: no object starts there.
  LEASH_INLINE place place_of(object* o) {
    std::uint32_t const k = g_.slots.number_of(o, arena::kind::object);
    if (k == none) return {o, none};
    __builtin_prefetch(o);
    __builtin_prefetch(g_.objects.begin() + k, 1);
    return {o, k};
  }
  /// The record of an object. That may be of any type, or gone: when a goroutine that named it has moved since.
  LEASH_READS_FROZEN object_type meet(place p) {
    std::uint32_t const k = p.number;
    if (k >= g_.objects.size()) [[unlikely]]
      more_objects();
    graph_object& o = g_.objects[k];
    return o.type() != object_type::none ? o.type() : meet_first(p, o);
  }
  LEASH_READS_FROZEN object_type meet_first(place p, graph_object& o) {
    std::uint32_t const k = p.number;
    object* const what = p.at;
    object_type const type = frozen::read(what->type);
    o.set_type(type);
    if (type == object_type::scope || type == object_type::lineage || has_contents(type)) (void)g_.as_large(k);
    if (type == object_type::scope || type == object_type::lineage) {
      families_met_.push_back(k);
    } else if (type == object_type::channel && frozen::read(static_cast<chan_core*>(what)->first) != nullptr) {
      buffers_.push_back(k);
    }
    return o.type();
  }

  void more_objects() {
    memory_.stop();
    g_.objects.resize(g_.slots.end(arena::kind::object));
  }
  void add_link(std::uint32_t to, std::uint32_t what) {
    if (g_.links.is_full()) [[unlikely]]
      memory_.stop();
    g_.add_link(to, what);
  }

  void add_edge(const found_handle& h) {
    object_type const type = meet(h.what);
    std::uint8_t const which = class_of[static_cast<std::size_t>(type)][static_cast<std::size_t>(h.kind)];
    if (which == no_class) return;  // rule 7
    g_.add_found(h.what.number, which);
    add_link(h.what.number, graph_link::holds + which);
    if (has_contents(type)) candidates_.push_back(h.what.number);
  }

  void add_wait(std::uint32_t node, const found_wait& w) {
    if (w.which == graph_wait::joins || w.which == graph_wait::frames) {
      targets_.push_back({node, graph::size32(g_.links.size())});
    } else if (can_be_waited_for(meet(w.what))) {
      g_.add_waiter(g_.waiters_at(w.what.number), node, w.which);
    } else {
      g_.flags[node] |= node_flag::goes_on;
      return;
    }
    add_link(w.what.number, graph_link::waits + w.which);
  }

  /// A node that waits for one class only, and holds the other: two links in one. False: it does not.
  bool joins_hold(std::uint32_t node, const found_wait& w) {
    if (w.which > 1) return false;
    for (std::uint32_t l = graph::size32(g_.links.size()); l-- > g_.first_link[node];) {
      graph_link& held = g_.links[l];
      if (held.to != w.what.number || held.what() != graph_link::holds + (1u - w.which)) continue;
      held.what_bits = (graph_link::both + held.what()) & 15;
      g_.add_waiter(g_.waiters_at(w.what.number), node, w.which);
      return true;
    }
    return false;
  }

  /// Rule 3: its scope, the scopes whose bodies it runs, its lineage and the one it started.
  LEASH_READS_FROZEN void add_family(const seen& s, const family& f) {
    if (f.home != last_home_) {
      last_home_ = f.home;
      place const p = place_of(f.home);
      home_ = p.number != none && meet(p) == object_type::scope ? p.number : none;
    }
    g_.set_home(s.node, home_);
    if (home_ != none) g_.add_found(home_, 0);
    for (context_core* c = f.inner; c != nullptr && arena::contains(c); c = frozen::read(c->parent)) {
      if (frozen::read(c->owner) != s.g) break;
      if ((frozen::read(c->shape) & context_core::scope_bit) == 0) continue;
      if (place const p = place_of(c); p.number != none && meet(p) == object_type::scope)
        add_link(p.number, graph_link::owns);
    }
    if (f.kin != nullptr)
      if (std::uint32_t const k = visit_lineage(f.kin); k != none) add_link(k, graph_link::kin);
    if (f.own_kin != nullptr) visit_lineage(f.own_kin);
  }

  /// One more of l's members is known to be parked (or is a lineage whose own count explains all of its members).
  LEASH_READS_FROZEN std::uint32_t visit_lineage(lineage* l) {
    std::uint32_t result = none;
    for (bool first = true; l != nullptr; first = false) {
      place const p = place_of(l);
      std::uint32_t const k = p.number;
      if (k == none) break;
      bool const known = is_known(k);
      if (meet(p) != object_type::lineage) break;
      if (first) result = k;
      g_.add_found(k, 0);
      if (known) break;  // it has been counted in the one above
      l = frozen::read(l->up);
    }
    return result;
  }

  static bool can_be_waited_for(object_type t) noexcept { return t != object_type::none && t != object_type::lineage; }
  bool is_known(std::uint32_t k) const noexcept {
    return k < g_.objects.size() && g_.objects[k].type() != object_type::none;
  }

  void link_target(const late_target& t) {
    graph_link& l = g_.links[t.link];
    std::uint32_t const target = l.to, which = l.what() - graph_link::waits;
    if ((g_.flags[target] & node_flag::seen) == 0) {
      g_.flags[t.node] |= node_flag::goes_on;  // its target runs, or has ended
      l.to = graph_wait::no_target;
      return;
    }
    if (g_.listeners.empty()) g_.listeners.resize(g_.goroutines());
    g_.add_waiter(g_.listeners[target], t.node, which);
  }

  // --- contents: blocks and pools whose handles were all found, buffers

  void scan_contents() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    for (;;) {
      if (!candidates_.empty()) {
        std::uint32_t const k = candidates_.back();
        candidates_.pop_back();
        object_type const type = g_.objects[k].type();
        if (g_.owner_of(k) != none) continue;
        object* what = g_.object_at(k);
        capabilities_of const total = totals_of(what);
        if (total.of[0] != g_.found(k, 0) || total.of[1] != g_.found(k, 1)) continue;  // not all, or not yet
        if (total.of[0] == 0) continue;                                                // it is being destroyed
        // Acquire: what those did to the contents who have given up their handles since.
        std::atomic_thread_fence(std::memory_order_acquire);
        add_contents(k, type, 0);
      } else if (!buffers_.empty()) {
        std::uint32_t const k = buffers_.back();
        buffers_.pop_back();
        scan_buffer(k);
      } else {
        return;
      }
    }
  }

  void add_contents(std::uint32_t k, object_type shape, std::uint8_t more_flags) {
    std::uint64_t type = 0;
    if (read_contents(k, shape, type)) end_contents(k, node_kind::contents, type, more_flags);
  }
  /// False: they change.
  LEASH_READS_FROZEN bool read_contents(std::uint32_t k, object_type shape, std::uint64_t& word) {
    handles_.cut(0);
    object* what = g_.object_at(k);
    const std::type_info* type = nullptr;
    if (shape == object_type::block) {
      auto* b = static_cast<block_core*>(what);
      type = frozen::read(b->value_type);
      arena::slot const at = arena::slot_at(b);
      std::size_t const bytes = std::min<std::size_t>(frozen::read(b->bytes), at.bytes);
      if (bytes > sizeof(block_core) && !frozen::read(b->plain))
        scan_words(at.start + sizeof(block_core), bytes - sizeof(block_core));
    } else {
      auto* p = static_cast<pool_core*>(what);
      type = frozen::read(p->value_type);
      std::uint32_t left = frozen::read(p->count);
      for (tracked_chunk* c = frozen::read(p->chunks); c != nullptr && place_of(c).number != none;
           c = frozen::read(c->next)) {
        if (left-- == 0) return false;
        arena::slot const at = arena::slot_at(c);
        std::size_t const bytes = std::min<std::size_t>(frozen::read(c->bytes), at.bytes);
        if (bytes > sizeof(tracked_chunk)) scan_words(at.start + sizeof(tracked_chunk), bytes - sizeof(tracked_chunk));
      }
    }
    word = reinterpret_cast<std::uint64_t>(type);
    return true;
  }

  // Blocks and pools that own each other: read on trial, then once more, for good, what is closed.
  LEASH_READS_FROZEN void scan_circles() {
    circle_finder all(g_.objects.size());
    g_.slots.for_each_slab(arena::kind::object,
                           [&](std::uint32_t first, std::byte* base, std::size_t bytes, std::uint32_t slots) {
                             for (std::uint32_t k = 0; k < slots; ++k)
                               try_contents(all, first + k, reinterpret_cast<object*>(base + k * bytes));
                           });
    scan_contents();  // the buffers that were met, and what that completes
    std::vector<std::uint32_t> closed;
    all.solve([&](std::uint32_t k) { return is_scanned(k); },
              [&](std::uint32_t k, std::uint32_t which) {
                capabilities_of const total = totals_of(g_.object_at(k));
                return total.of[0] == 0 ? 1 : total.of[which] - (is_known(k) ? g_.found(k, which) : 0);
              },
              [&](std::uint32_t k) { closed.push_back(k); });
    for (std::uint32_t k : closed) {
      object_type const type = meet({g_.object_at(k), k});
      if (has_contents(type) && !is_scanned(k)) add_contents(k, type, node_flag::circle);
    }
    scan_contents();
    std::atomic_thread_fence(std::memory_order_acquire);  // ORD circle-1: the totals that follow count what was found
  }
  LEASH_READS_FROZEN void try_contents(circle_finder& all, std::uint32_t k, object* what) {
    object_type const type = frozen::read(what->type);
    if (!has_contents(type) || frozen::read(what->plain) || is_scanned(k)) return;
    std::uint64_t word = 0;
    if (!read_contents(k, type, word)) return;
    all.add(k);
    for (const found_handle& h : handles_) {
      auto const of = static_cast<std::size_t>(frozen::read(h.what.at->type)) % class_of.size();
      std::uint8_t const which = class_of[of][static_cast<std::size_t>(h.kind)];
      if (which == no_class) continue;
      // Memory of a pool that keeps an allocator of the same pool frees itself: std::allocate_shared, and its owners are
      // no handles.
      bool const frees_itself = h.what.number == k && type == object_type::pool;
      if (has_contents(static_cast<object_type>(of)) && !frees_itself) all.add_edge(h.what.number, which);
      // What lies in its buffer may be a part of a circle.
      if (static_cast<object_type>(of) == object_type::channel) (void)meet(h.what);
    }
  }
  bool is_scanned(std::uint32_t k) const noexcept { return k < g_.objects.size() && g_.owner_of(k) != none; }

  LEASH_READS_FROZEN void scan_buffer(std::uint32_t k) {
    auto* c = g_.object_at<chan_core>(k);
    if (frozen::read(c->first) == nullptr) return;
    handles_.cut(0);
    std::uint32_t const stamp = frozen::read(c->stamp);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (stamp % 2 != 0) return;  // it changes
    std::uint32_t left = most_values;
    for (chan_node* n = frozen::read(c->first); n != nullptr; n = frozen::read(n->next)) {
      arena::slot const at = arena::slot_at(n);
      if (at.start != reinterpret_cast<std::byte*>(n) || at.what != arena::kind::frame || left-- == 0) return;
      scan_words(at.start + sizeof(chan_node), at.bytes - sizeof(chan_node));
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (frozen::read(c->stamp) != stamp || handles_.empty()) return;
    end_contents(k, frozen::read(c->kind) == chan_kind::watch ? node_kind::latest : node_kind::buffer, stamp);
  }

  void end_contents(std::uint32_t k, node_kind kind, std::uint64_t word, std::uint8_t more_flags = 0) {
    std::uint32_t const node = g_.nodes();
    if (node == slot_map::most) return;
    g_.memory.push_back({k, kind});
    g_.words.push_back(word);
    g_.flags.push_back(node_flag::seen | more_flags);
    begin_links(node);
    g_.set_owner(k, node);
    for (const found_handle& h : handles_) add_edge(h);
  }

  // Who runs a scope's body, and who started a lineage.
  LEASH_READS_FROZEN void link_owners() {
    for (std::uint32_t k : families_met_) {
      large_object& o = g_.as_large(k);
      if (g_.objects[k].type() == object_type::scope) {
        o.owner_plus_1 = g_.node_of(frozen::read(g_.object_at<scope_core>(k)->owner)) + 1;
        continue;
      }
      auto* l = g_.object_at<lineage>(k);
      goroutine_core* starter = frozen::read(l->starter);
      if (arena::contains(starter) && frozen::read(starter->id) == frozen::read(l->starter_id))
        o.owner_plus_1 = g_.node_of(starter) + 1;
      std::uint32_t const up = g_.slots.number_of(frozen::read(l->up), arena::kind::object);
      o.up_plus_1 = up != none && is_known(up) && g_.objects[up].type() == object_type::lineage ? up + 1 : 0;
    }
  }

  graph& g_;
  const runtime* only_;
  huge_array<found_handle> handles_;
  huge_array<found_wait> waits_;
  family families_[batch];
  touch_ahead memory_;
  const scope_core* last_home_ = nullptr;
  std::uint32_t home_ = none;  // its number
  std::vector<late_target> targets_;
  std::vector<std::uint32_t> candidates_, buffers_, families_met_;  // objects
};

}  // namespace

void scan_all(graph& g, const runtime* only) { scanner(g, only).run(); }

}  // namespace leash
