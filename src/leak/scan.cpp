// The first phase of a pass: who waits for what, and which handles lie in frozen memory.
//
// Goroutines are read in the order of their slots, in batches: while one is read, the frames of the next ones are on
// their way into the cache, and what was found in a batch is looked up after it, when that has arrived too.
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
#include <leash/condition.hpp>
#include <leash/tracked.hpp>
#include <leash/wait_group.hpp>

#include "../observe/frozen.hpp"
#include "capability.hpp"
#include "pass.hpp"

namespace leash {

namespace {

constexpr std::size_t batch = 32;
constexpr std::uint32_t most_cases = 4096;     // of one select that are looked at
constexpr std::uint32_t most_values = 65'536;  // of one buffer

class scanner {
 public:
  scanner(graph& g, const runtime* only) : g_(g), only_(only) {}

  void run() {
    auto const expected = static_cast<std::size_t>(std::max<std::int64_t>(arena::live(arena::kind::goroutine), 16));
    g_.nodes.reserve(expected + expected / 8);
    g_.objects.reserve(expected + expected / 8);
    g_.edges.reserve(expected + expected / 2);
    g_.waits.reserve(expected + expected / 8);
    seen all[batch];
    std::size_t n = 0;
    frozen::for_each_slot([&](goroutine_core* g) {
      if (look(g, all[n]) && ++n == batch) {
        scan_batch(all, n);
        n = 0;
      }
    });
    scan_batch(all, n);
    for (auto const& t : targets_) link_target(t);
    scan_contents();
    link();
  }

 private:
  struct seen {
    goroutine_core* g;
    std::uint64_t word;
  };
  struct found_handle {
    object* what;
    capability kind;
  };
  struct found_wait {
    object* what;  // joins, frames: the goroutine
    std::uint8_t which;
  };
  struct late_target {  // a wait whose target may not have been scanned yet
    std::uint32_t wait;
    goroutine_core* g;
  };

  // --- one goroutine

  LEASH_READS_FROZEN bool look(goroutine_core* g, seen& s) {
    std::uint64_t const word = g->park.load(std::memory_order_acquire);
    park_state const state = state_of(word);
    if (state == park_state::free || state == park_state::done) return false;
    if (only_ != nullptr && frozen::read(g->runtime_index) != only_->index) return false;
    ++g_.members;
    if (!frozen::waits(word)) return false;
    auto const leaf = reinterpret_cast<std::uintptr_t>(frozen::read(g->leaf)) - 16;  // it may be null by now
    for (std::uintptr_t line = 0; line < 4; ++line) __builtin_prefetch(reinterpret_cast<const void*>(leaf + 64 * line));
    s = {g, word};
    return true;
  }

  void scan_batch(const seen* all, std::size_t n) {
    std::uint32_t handles_end[batch], waits_end[batch];
    graph_node nodes[batch];
    std::size_t kept = 0;
    handles_.clear();
    waits_.clear();
    for (std::size_t i = 0; i < n; ++i) {
      if (!scan(all[i], nodes[kept], families_[kept])) continue;
      handles_end[kept] = graph::size32(handles_.size());
      waits_end[kept++] = graph::size32(waits_.size());
    }
    std::uint32_t h = 0, w = 0;
    for (std::size_t i = 0; i < kept; ++i) {
      goroutine_core* g = graph::pointer<goroutine_core>(nodes[i].at);
      std::uint32_t const node = begin_node(nodes[i]);
      g_.index.entry(g, slot_bytes_of(g)) = node + 1;
      for (; h < handles_end[i]; ++h) add_edge(node, handles_[h]);
      for (; w < waits_end[i]; ++w) add_wait(node, waits_[w]);
      add_family(node, families_[i]);
    }
  }

  struct family {  // read while the word was valid: the slot may be another goroutine's when the mark comes by (rule 5)
    scope_core* home;
    lineage *kin, *own_kin;
    context_core* inner;  // the innermost context
  };

  /// False: it moved while it was read.
  LEASH_READS_FROZEN bool scan(const seen& s, graph_node& n, family& kept) {
    goroutine_core* g = s.g;
    std::size_t const handles_before = handles_.size(), waits_before = waits_.size();
    n = graph_node{};
    n.word = s.word;
    n.at = graph::compact_of(g);
    if (!read_waits(g, state_of(s.word) == park_state::held, n)) n.flags |= graph_node::live;
    kept = {frozen::read(g->home).get(), frozen::read(g->kin).get(), frozen::read(g->own_kin).get(),
            static_cast<context_core*>(frozen::read(g->ctx))};
    std::uint32_t steps = 0;
    for (promise_base* f = frozen::read(g->leaf); f != nullptr && arena::contains(f); f = frozen::parent_of(f)) {
      // A chain that is changed while it is walked may close to a circle for a moment.
      if (++steps % 4096 == 0 && g->park.load(std::memory_order_relaxed) != s.word) break;
      std::byte* const start = reinterpret_cast<std::byte*>(f) - 16;
      arena::slot const at = arena::slot_at(start);
      if (at.start != start || at.what != arena::kind::frame) continue;  // rule 4
      scan_words(at.start, at.bytes);
    }
    const goroutine_type* type = frozen::read(g->type);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (g->park.load(std::memory_order_relaxed) == s.word) {  // so `type` is g's
      const std::byte* begin = nullptr;
      std::size_t const bytes = type->callable_bytes(g, begin);
      scan_words(begin, bytes);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (g->park.load(std::memory_order_relaxed) == s.word) return true;
    }
    handles_.resize(handles_before);  // rule 2: it moved while it was read
    waits_.resize(waits_before);
    return false;
  }

  LEASH_READS_FROZEN void scan_words(const std::byte* at, std::size_t bytes) {
    auto const* w = reinterpret_cast<const volatile std::uint64_t*>(at);
    std::size_t const n = bytes / 8;
    std::uint64_t const base = reinterpret_cast<std::uint64_t>(arena::all.base), size = arena::all.bytes;
    for (std::size_t i = 0; i + 1 < n; ++i) {
      std::uint64_t const candidate = w[i];
      if (candidate - base >= size) [[likely]]
        continue;
      capability const c = handle::certified(const_cast<const std::uint64_t*>(w + i), candidate, w[i + 1]);
      if (c == capability::none) [[likely]]
        continue;
      auto* o = reinterpret_cast<object*>(candidate);
      __builtin_prefetch(o);
      handles_.push_back({o, c});
      ++i;
    }
  }

  // --- waits

  /// False: a wait that ends by itself, is bounded in time, or is of a kind that is never judged.
  LEASH_READS_FROZEN bool read_waits(goroutine_core* g, bool held, graph_node& n) {
    auto* ctx = static_cast<context_core*>(frozen::read(g->ctx));
    if (!arena::contains(ctx) || frozen::read(ctx->bounded)) return false;
    if (!held && frozen::read(ctx->ended) != 0) return false;  // rule 1: it is being cancelled
    std::uint32_t const count = frozen::read(g->wait_count);
    if (count > most_cases) return false;
    for (std::uint32_t i = 0; i < count; ++i) {
      waiter* w = frozen::waiter_of(g, i);
      if (w == nullptr || !read_wait(w, ctx, n)) return false;
    }
    return true;
  }

  LEASH_READS_FROZEN bool read_wait(waiter* w, context_core* ctx, graph_node& n) {
    object* o = frozen::read(w->what);
    wait_reason const reason = frozen::read(w->reason);
    switch (reason) {
      case wait_reason::chan_receive:
        if (o == nullptr) return true;  // never fires
        break;
      case wait_reason::chan_send:
        if (o == nullptr) return true;
        waits_.push_back({o, 1});
        __builtin_prefetch(o);
        return is_slot(o);
      case wait_reason::mutex_lock:
      case wait_reason::rw_lock:
      case wait_reason::rw_rlock:
      case wait_reason::semaphore:
      case wait_reason::wait_group:
      case wait_reason::once:
      case wait_reason::scope_join:
        break;
      case wait_reason::goroutine_join:
        if (o == nullptr) return true;
        waits_.push_back({o, graph_wait::joins});
        return true;
      case wait_reason::event:
      case wait_reason::cond_wait:
        return is_slot(o) && read_placed(static_cast<placed_object*>(o), n);
      case wait_reason::context_done:
        return is_slot(o) && !frozen::read(static_cast<context_core*>(o)->bounded) &&
               add_cancellers(static_cast<context_core*>(o));
      case wait_reason::forever:
        return add_cancellers(ctx);
      default:
        return false;
    }
    if (!is_slot(o)) return false;
    waits_.push_back({o, 0});
    __builtin_prefetch(o);
    return true;
  }

  /// An event or condition: who reaches the place where it lies can complete the wait.
  LEASH_READS_FROZEN bool read_placed(placed_object* o, graph_node& n) {
    void const* home = frozen::read(o->home);
    arena::slot const at = arena::slot_at(home);
    if (at.start == nullptr || breached(site_of(o, frozen::read(o->type)))) return false;
    waits_.push_back({o, 0});  // it may be set already (rule 1)
    g_.any_placed = true;
    switch (at.what) {
      case arena::kind::object: {
        auto* owner = reinterpret_cast<object*>(at.start);
        object_type const type = frozen::read(owner->type);
        if (type == object_type::block) {
          waits_.push_back({owner, 0});
          waits_.push_back({owner, 1});
          return true;
        }
        if (type != object_type::chunk) return false;
        owner = frozen::read(static_cast<tracked_chunk*>(owner)->pool);
        if (!is_slot(owner)) return false;
        waits_.push_back({owner, 0});
        return true;
      }
      case arena::kind::frame: {
        goroutine_core* who = frozen::read(reinterpret_cast<promise_base*>(at.start + 16)->who);
        arena::slot const of = arena::slot_at(who);
        if (of.start != reinterpret_cast<std::byte*>(who) || of.what != arena::kind::goroutine) return false;
        waits_.push_back({reinterpret_cast<object*>(who), graph_wait::frames});
        break;
      }
      case arena::kind::goroutine:
        waits_.push_back({reinterpret_cast<object*>(at.start), graph_wait::frames});
        break;
      default:
        return false;
    }
    n.flags |= graph_node::in_frames;
    g_.any_in_frames = true;
    return true;
  }

  /// What could end the context c: the cancel sources on the way out, and whoever may cancel the scopes there. False:
  /// not all of them were seen.
  LEASH_READS_FROZEN bool add_cancellers(context_core* c) {
    for (int depth = 0; c != nullptr; ++depth) {
      if (!arena::contains(c) || depth == 100'000) return false;
      if (canceller_core* source = frozen::read(c->source); source != nullptr && is_slot(source))
        waits_.push_back({source, 0});
      std::uint8_t const shape = frozen::read(c->shape);
      if ((shape & context_core::scope_bit) != 0 && is_slot(c) && frozen::read(c->owner) != nullptr)
        waits_.push_back({c, graph_wait::cancels});
      if ((shape & (context_core::shield_bit | context_core::immortal_bit)) != 0) return true;
      c = frozen::read(c->parent);
    }
    return true;
  }

  // --- records

  static std::uint32_t slot_bytes_of(const void* p) noexcept {
    auto const offset = static_cast<std::size_t>(static_cast<const std::byte*>(p) - arena::all.base);
    return arena::all.slabs[offset / arena::slab_bytes].slot_bytes.load(std::memory_order_relaxed);
  }
  /// True for the start of an object's slot.
  static bool is_slot(const object* o) noexcept {
    arena::slot const s = arena::slot_at(o);
    return s.start != nullptr && s.start == reinterpret_cast<const std::byte*>(o) && s.what == arena::kind::object;
  }

  std::uint32_t* object_entry(const object* o) { return is_slot(o) ? &g_.index.entry(o, slot_bytes_of(o)) : nullptr; }
  /// The record of an object; none: not the start of an object slot.
  std::uint32_t record_of(object* o) {
    std::uint32_t* at = object_entry(o);
    if (at == nullptr) return none;
    if (*at == 0) {
      graph_object made;
      made.at = graph::compact_of(o);
      made.type = frozen::read(o->type);
      g_.objects.push_back(made);
      *at = graph::size32(g_.objects.size());
      if (made.type == object_type::channel) channels_met_ = true;
    }
    return *at - 1;
  }

  std::uint32_t begin_node(graph_node n) {
    n.first_edge = graph::size32(g_.edges.size());
    n.first_wait = graph::size32(g_.waits.size());
    n.first_owned = graph::size32(g_.owned.size());
    g_.nodes.push_back(n);
    return graph::size32(g_.nodes.size() - 1);
  }

  void add_edge(std::uint32_t node, const found_handle& h) {
    std::uint32_t const k = record_of(h.what);
    if (k == none) return;  // rule 7
    graph_object& o = g_.objects[k];
    std::uint8_t const which = class_of_capability(o.type, h.kind);
    if (which == no_class) return;
    ++o.found[which];
    g_.edges.push_back({node, k, which});
    if (has_contents(o.type)) candidates_.push_back(k);
  }

  void add_wait(std::uint32_t node, const found_wait& w) {
    if (w.which == graph_wait::joins || w.which == graph_wait::frames) {
      targets_.push_back({graph::size32(g_.waits.size()), reinterpret_cast<goroutine_core*>(w.what)});
      g_.waits.push_back({node, graph_wait::no_target, w.which});
      return;
    }
    std::uint32_t const k = record_of(w.what);
    if (k == none) {
      g_.nodes[node].flags |= graph_node::live;
      return;
    }
    g_.waits.push_back({node, k, w.which});
  }

  /// Rule 3: its scope, the scopes whose bodies it runs, its lineage and the one it started.
  LEASH_READS_FROZEN void add_family(std::uint32_t node, const family& f) {
    if (f.home != nullptr)
      if (std::uint32_t const k = record_of(f.home); k != none) {
        ++g_.objects[k].found[0];
        g_.nodes[node].home = k;
      }
    goroutine_core* g = g_.goroutine_at(node);
    for (context_core* c = f.inner; c != nullptr && arena::contains(c); c = frozen::read(c->parent)) {
      if (frozen::read(c->owner) != g) break;
      if ((frozen::read(c->shape) & context_core::scope_bit) == 0) continue;
      if (std::uint32_t const k = record_of(c); k != none) g_.owned.push_back(k);
    }
    if (f.kin != nullptr) g_.nodes[node].kin = visit_lineage(f.kin);
    if (f.own_kin != nullptr) visit_lineage(f.own_kin);
  }

  /// One more of l's members is known to be parked (or is a lineage whose own count explains all of its members).
  std::uint32_t visit_lineage(lineage* l) {
    std::uint32_t result = none;
    for (bool first = true; l != nullptr; first = false) {
      std::uint32_t* at = object_entry(l);
      if (at == nullptr) break;
      bool const known = *at != 0;
      std::uint32_t const k = record_of(l);
      if (first) result = k;
      ++g_.objects[k].found[0];
      if (known) break;  // it has been counted in the one above
      l = frozen::read(l->up);
    }
    return result;
  }

  void link_target(const late_target& t) {
    graph_wait& w = g_.waits[t.wait];
    std::uint32_t const n = g_.node_of(t.g);
    if (n == none) {
      g_.nodes[w.node].flags |= graph_node::live;  // its target runs, or has ended
      return;
    }
    w.object = n;
    w.next = g_.nodes[n].listeners;
    g_.nodes[n].listeners = t.wait + 1;
  }

  // --- contents: blocks and pools whose handles were all found, buffers

  void scan_contents() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    std::uint32_t looked = 0;
    for (;;) {
      if (!candidates_.empty()) {
        std::uint32_t const k = candidates_.back();
        candidates_.pop_back();
        graph_object& o = g_.objects[k];
        if (o.owner != none) continue;
        object* what = g_.object_at(k);
        capabilities_of const total = totals_of(what);
        if (total.of[0] != o.found[0] || total.of[1] != o.found[1]) continue;  // not all, or not yet
        if (total.of[0] == 0) continue;                                        // it is being destroyed
        // Acquire: what those did to the contents who have given up their handles since.
        std::atomic_thread_fence(std::memory_order_acquire);
        add_contents(k, o.type == object_type::block ? 0 : 1);
      } else if (channels_met_ && looked < g_.objects.size()) {
        std::uint32_t const k = looked++;
        if (g_.objects[k].type == object_type::channel) scan_buffer(k);
      } else {
        return;
      }
    }
  }

  LEASH_READS_FROZEN void add_contents(std::uint32_t k, int shape) {
    handles_.clear();
    object* what = g_.object_at(k);
    const std::type_info* type = nullptr;
    if (shape == 0) {
      auto* b = static_cast<block_core*>(what);
      type = frozen::read(b->value_type);
      arena::slot const at = arena::slot_at(b);
      std::size_t const bytes = std::min<std::size_t>(frozen::read(b->bytes), at.bytes);
      if (bytes > sizeof(block_core)) scan_words(at.start + sizeof(block_core), bytes - sizeof(block_core));
    } else {
      auto* p = static_cast<pool_core*>(what);
      type = frozen::read(p->value_type);
      std::uint32_t left = frozen::read(p->count);
      for (tracked_chunk* c = frozen::read(p->chunks); c != nullptr && is_slot(c); c = frozen::read(c->next)) {
        if (left-- == 0) return;  // it changes
        arena::slot const at = arena::slot_at(c);
        std::size_t const bytes = std::min<std::size_t>(frozen::read(c->bytes), at.bytes);
        if (bytes > sizeof(tracked_chunk)) scan_words(at.start + sizeof(tracked_chunk), bytes - sizeof(tracked_chunk));
      }
    }
    end_contents(k, node_kind::contents, reinterpret_cast<std::uint64_t>(type));
  }

  LEASH_READS_FROZEN void scan_buffer(std::uint32_t k) {
    auto* c = g_.object_at<chan_core>(k);
    if (frozen::read(c->first) == nullptr) return;
    handles_.clear();
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
    end_contents(k, node_kind::buffer, stamp);
  }

  void end_contents(std::uint32_t k, node_kind kind, std::uint64_t word) {
    graph_node n;
    n.word = word;
    n.at = g_.objects[k].at;
    n.kind = kind;
    std::uint32_t const node = begin_node(n);
    g_.objects[k].owner = node;
    auto const all = handles_;
    for (const found_handle& h : all) add_edge(node, h);
  }

  void link() {
    for (std::uint32_t i = 0; i < g_.waits.size(); ++i) {
      graph_wait& w = g_.waits[i];
      if (w.which == graph_wait::joins || w.which == graph_wait::frames) continue;
      w.next = g_.objects[w.object].waiters;
      g_.objects[w.object].waiters = i + 1;
    }
    for (std::uint32_t i = 0; i < g_.edges.size(); ++i) {
      graph_edge& e = g_.edges[i];
      e.next = g_.objects[e.object].holders;
      g_.objects[e.object].holders = i + 1;
    }
    // Who runs a scope's body, and who started a lineage.
    for (graph_object& o : g_.objects) {
      if (o.type == object_type::scope) {
        o.owner = g_.node_of(frozen::read(graph::pointer<scope_core>(o.at)->owner));
      } else if (o.type == object_type::lineage) {
        link_lineage(o);
      }
    }
  }
  LEASH_READS_FROZEN void link_lineage(graph_object& o) {
    auto* l = graph::pointer<lineage>(o.at);
    goroutine_core* starter = frozen::read(l->starter);
    if (arena::contains(starter) && frozen::read(starter->id) == frozen::read(l->starter_id))
      o.owner = g_.node_of(starter);
    if (lineage* up = frozen::read(l->up))
      if (std::uint32_t const* at = object_entry(up); at != nullptr && *at != 0) o.up = *at - 1;
  }

  graph& g_;
  const runtime* only_;
  std::vector<found_handle> handles_;
  std::vector<found_wait> waits_;
  family families_[batch];
  std::vector<late_target> targets_;
  std::vector<std::uint32_t> candidates_;
  bool channels_met_ = false;
};

}  // namespace

void scan_all(graph& g, const runtime* only) { scanner(g, only).run(); }

}  // namespace leash
