// The marker: which parked goroutines can no longer be completed.
//
// A pass has four phases.
//   scan      every parked goroutine: its waits, and the self-certifying handles in its frames and its stored callable
//   totals    for each object met: how many handles there are in all. total - found > 0: somebody unseen holds one
//   validate  the park words again: what moved since its scan is live, with all it holds
//   mark      from what is live to what that can complete, to the fixpoint; the rest is leaked
//
// Rules of soundness (docs/design/proof.md has the interleavings behind them)
//
//   Rule 1 (wake in flight)
//     An object that satisfies a wait already (ended, unlocked, set, count 0, value there) makes its waiters live; and
//     wakers give up what they hold only after their last claim.
//   Rule 2 (frozen only)
//     Handles count only in frames of goroutines whose park word is the same before the scan, after it, and after the
//     totals were read. All other memory is external.
//   Rule 3 (borrowing)
//     A live goroutine keeps the frames of all that started it live: the owners of its scopes, outward, and its lineage.
//     Members are counted like handles: a scope's total minus its parked members > 0 means a live member.
//   Rule 4 (elided frames)
//     A frame is scanned only if it starts an arena slot: one that the compiler put into its caller's frame is scanned
//     with that, once.
//   Rule 5 (reuse)
//     The arena never unmaps, park words count on over reuse, an object is read only behind a certified handle or a
//     waiter in a validated frame, each of its fields once, and nothing is ever written to it.
//   Rule 7 (forgery)
//     A candidate's tag must fit its address, object and kind; its object must be the start of an object slot of a type
//     that has such handles.
#include "pass.hpp"

#include <algorithm>
#include <bit>
#include <leash/condition.hpp>
#include <leash/mutex.hpp>
#include <leash/once.hpp>
#include <leash/semaphore.hpp>
#include <leash/shared_mutex.hpp>
#include <leash/wait_group.hpp>
#include <memory>
#include <mutex>

#include "../observe/frozen.hpp"

namespace leash {

namespace {

constexpr std::uint8_t no_class = 255;

/// Which of an object's two counts a capability belongs to; no_class: not one of this type.
std::uint8_t class_of_capability(object_type t, capability c) noexcept {
  switch (t) {
    case object_type::channel:
      return c == capability::sender ? 0 : c == capability::receiver ? 1 : no_class;
    case object_type::mutex:
      return c == capability::guard ? 0 : no_class;
    case object_type::shared_mutex:
      return c == capability::guard || c == capability::shared_guard ? 0 : no_class;
    case object_type::semaphore:
      return c == capability::permit ? 0 : no_class;
    case object_type::wait_group:
      return c == capability::token ? 0 : no_class;
    case object_type::once:
      return c == capability::call ? 0 : no_class;
    case object_type::cancel_source:
      return c == capability::canceller ? 0 : no_class;
    case object_type::scope:
      return c == capability::remote ? 1 : no_class;
    default:
      return no_class;
  }
}

template <class T>
const T& as(const object* o) noexcept {
  return *static_cast<const T*>(o);
}

/// How many capabilities of a class there are. Read after all scans (rule 2).
LEASH_READS_FROZEN std::uint32_t total_of(const object* o, std::uint8_t which) noexcept {
  switch (frozen::read(o->type)) {
    case object_type::channel:
      return which == 0 ? frozen::read(as<chan_core>(o).senders) : frozen::read(as<chan_core>(o).receivers);
    case object_type::mutex:
      return (frozen::read(as<mutex_core>(o).state) & mutex_core::locked) != 0 ? 1 : 0;
    case object_type::shared_mutex:
      return frozen::read(as<shared_mutex_core>(o).readers) + (frozen::read(as<shared_mutex_core>(o).writer) ? 1 : 0);
    case object_type::semaphore:
      return frozen::read(as<semaphore_core>(o).holders);
    case object_type::wait_group:
      return frozen::read(as<wait_group_core>(o).tokens);
    case object_type::once:
      return frozen::read(as<once_core>(o).calls);
    case object_type::cancel_source:
      return frozen::read(as<canceller_core>(o).handles);
    case object_type::scope:
      return which == 1 ? frozen::read(as<scope_core>(o).remotes) : 0;
    default:
      return UINT32_MAX;  // no such thing any more: live
  }
}

/// A scope's members, remote handles included; rather too many than too few. The scope may be gone.
LEASH_READS_FROZEN std::uint32_t members_of(const scope_core* s) noexcept {
  std::uint32_t n = 0;
  scope_shard const* all = frozen::read(s->more);
  // Ends before starts, over all shards: a member that starts another one and ends is seen, or its child is.
  n -= frozen::read(s->first.ended);
  if (arena::contains(all))
    for (std::size_t i = 0; i < scope_core::shards; ++i) n -= frozen::read(all[i].ended);
  std::atomic_thread_fence(std::memory_order_acquire);
  all = frozen::read(s->more);
  n += frozen::read(s->first.started);
  if (arena::contains(all))
    for (std::size_t i = 0; i < scope_core::shards; ++i) n += frozen::read(all[i].started);
  return n;
}

/// Rule 1: the wait is satisfied already, its waker is on the way.
LEASH_READS_FROZEN bool satisfied(const object* o, std::uint8_t which) noexcept {
  switch (frozen::read(o->type)) {
    case object_type::channel: {
      auto& c = as<chan_core>(o);
      if (frozen::read(c.closed) || frozen::read(c.in_transit) != 0) return true;
      std::size_t const buffered = frozen::read(c.buffered);
      if (which == 0) return frozen::read(c.senders) == 0 || buffered != 0;
      return frozen::read(c.receivers) == 0 || buffered < frozen::read(c.capacity);
    }
    case object_type::mutex:
      return (frozen::read(as<mutex_core>(o).state) & mutex_core::locked) == 0;
    case object_type::shared_mutex:
      return !frozen::read(as<shared_mutex_core>(o).writer) && frozen::read(as<shared_mutex_core>(o).readers) == 0;
    case object_type::semaphore:
      return frozen::read(as<semaphore_core>(o).available) == as<semaphore_core>(o).total;
    case object_type::wait_group:
      return frozen::read(as<wait_group_core>(o).tokens) == 0;
    case object_type::once:
      return frozen::read(as<once_core>(o).done) || frozen::read(as<once_core>(o).calls) == 0;
    case object_type::cancel_source:
      return false;
    case object_type::scope:
      return false;
    default:
      return true;
  }
}

class marker {
 public:
  marker(leak_pass& p, const runtime* only) : p_(p), only_(only) {}

  void run() {
    auto const expected = static_cast<std::size_t>(std::max<std::int64_t>(arena::live(arena::kind::goroutine), 16));
    p_.nodes.reserve(expected);
    p_.objects.reserve(expected);
    p_.edges.reserve(expected);
    p_.waits.reserve(expected);
    frozen::for_each_slot([&](goroutine_core* g) { scan(g); });
    link_waits();
    read_totals();
    validate();
    propagate();
    for (std::uint32_t i = 0; i < p_.nodes.size(); ++i)
      if (!p_.nodes[i].live) p_.dead.push_back(i);
    find_core();
  }

 private:
  // --- scan
  // -----------------------------------------------------------------------------------------------------------------

  LEASH_READS_FROZEN void scan(goroutine_core* g) {
    std::uint64_t const word = g->park.load(std::memory_order_acquire);
    park_state const s = state_of(word);
    if (s == park_state::free || s == park_state::done) return;
    if (only_ != nullptr && frozen::read(g->runtime_index) != only_->index) return;
    ++p_.members;
    if (!frozen::waits(word)) return;
    marked_node n{g, word, static_cast<std::uint32_t>(p_.edges.size()), 0, static_cast<std::uint32_t>(p_.waits.size()),
                  0};
    std::uint32_t const index = static_cast<std::uint32_t>(p_.nodes.size());
    std::size_t const targets = targets_.size();
    n.live = !read_waits(g, index);
    n.home = frozen::read(g->home).get();
    n.kin = frozen::read(g->kin).get();
    n.own_kin = frozen::read(g->own_kin).get();
    n.first_owned = static_cast<std::uint32_t>(p_.owned.size());
    read_owned(g);
    {
      std::uint32_t steps = 0;
      for (promise_base* f = frozen::read(g->leaf); f != nullptr && arena::contains(f); f = frozen::parent_of(f)) {
        // A chain that is changed while it is walked may close to a circle for a moment.
        if (++steps % 4096 == 0 && g->park.load(std::memory_order_relaxed) != word) break;
        std::byte* const start = reinterpret_cast<std::byte*>(f) - 16;
        arena::slot const slot = arena::slot_at(start);
        if (slot.start != start || slot.what != arena::kind::frame) continue;  // rule 4
        scan_words(index, slot.start, slot.bytes);
      }
      const goroutine_type* type = frozen::read(g->type);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (g->park.load(std::memory_order_relaxed) == word) {  // so `type` is g's
        const std::byte* begin = nullptr;
        std::size_t const bytes = type->callable_bytes(g, begin);
        scan_words(index, begin, bytes);
      }
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (g->park.load(std::memory_order_relaxed) != word) {  // rule 2: it moved while it was read
      for (std::size_t i = n.first_edge; i < p_.edges.size(); ++i)
        --p_.objects[p_.edges[i].object].found[p_.edges[i].which];
      p_.edges.resize(n.first_edge);
      p_.waits.resize(n.first_wait);
      p_.owned.resize(n.first_owned);
      targets_.resize(targets);
      return;
    }
    n.owned = static_cast<std::uint32_t>(p_.owned.size()) - n.first_owned;
    n.edges = static_cast<std::uint32_t>(p_.edges.size()) - n.first_edge;
    n.waits = static_cast<std::uint32_t>(p_.waits.size()) - n.first_wait;
    g->mark = index;
    p_.nodes.push_back(n);
  }

  /// Rule 3: the scopes whose bodies it runs, inner ones first.
  LEASH_READS_FROZEN void read_owned(goroutine_core* g) {
    for (auto* c = static_cast<context_core*>(frozen::read(g->ctx)); c != nullptr && arena::contains(c);
         c = frozen::read(c->parent)) {
      if (frozen::read(c->owner) != g) break;
      if ((frozen::read(c->shape) & context_core::scope_bit) != 0 && is_object(c))
        p_.owned.push_back(static_cast<scope_core*>(c));
    }
  }

  LEASH_READS_FROZEN void scan_words(std::uint32_t node, const std::byte* at, std::size_t bytes) {
    auto const* w = reinterpret_cast<const volatile std::uint64_t*>(at);
    std::size_t const n = bytes / 8;
    std::uint64_t const base = reinterpret_cast<std::uint64_t>(arena::all.base), size = arena::all.bytes;
    for (std::size_t i = 0; i + 1 < n; ++i) {
      std::uint64_t const candidate = w[i];
      if (candidate - base >= size) [[likely]]
        continue;
      std::uint64_t const tag = w[i + 1];
      capability const c = handle::certified(const_cast<const std::uint64_t*>(w + i), candidate, tag);
      if (c == capability::none) [[likely]]
        continue;
      auto* o = reinterpret_cast<object*>(candidate);
      if (!is_object(o)) continue;  // rule 7
      std::uint8_t const which = class_of_capability(frozen::read(o->type), c);
      if (which == no_class) continue;
      std::uint32_t const k = object_index(o);
      ++p_.objects[k].found[which];
      p_.edges.push_back({node, k, 0, which});
      ++i;
    }
  }

  static bool is_object(const object* o) noexcept {
    arena::slot const s = arena::slot_at(o);
    return s.what == arena::kind::object && s.start == reinterpret_cast<const std::byte*>(o);
  }

  /// Where this pass keeps an object's index: beside the slabs, never in the objects. An object that was freed since it
  /// was looked at may be anything by now (rule 5).
  std::uint32_t* index_slot(const object* o) {
    std::size_t const offset = static_cast<std::size_t>(reinterpret_cast<const std::byte*>(o) - arena::all.base);
    std::size_t const slab = offset / arena::slab_bytes;
    std::uint32_t const slot_bytes = arena::all.slabs[slab].slot_bytes.load(std::memory_order_relaxed);
    if (slot_bytes == 0) return nullptr;
    if (slab >= tables_.size()) tables_.resize(arena::all.used_slabs.load(std::memory_order_acquire));
    auto& table = tables_[slab];
    if (table == nullptr)
      table =
          std::make_unique<std::uint32_t[]>(arena::slab_bytes / std::min<std::size_t>(slot_bytes, arena::slab_bytes));
    return &table[offset % arena::slab_bytes / slot_bytes];
  }
  /// The index of an object that this pass has met; or no_object.
  std::uint32_t met(const object* o) {
    std::uint32_t const* at = index_slot(o);
    return at != nullptr && *at != 0 ? *at - 1 : no_object;
  }
  std::uint32_t object_index(object* o) {
    std::uint32_t* at = index_slot(o);
    if (*at == 0) {
      p_.objects.emplace_back();
      p_.objects.back().what = o;
      p_.objects.back().made_at = frozen::read(o->made_at);
      p_.objects.back().type = frozen::read(o->type);
      *at = static_cast<std::uint32_t>(p_.objects.size());
    }
    return *at - 1;
  }

  void add_wait(std::uint32_t node, object* o, std::uint8_t which) {
    p_.waits.push_back({node, object_index(o), 0, which});
  }

  /// False: a wait that ends by itself, is bounded in time, or is of a kind that is never judged.
  LEASH_READS_FROZEN bool read_waits(goroutine_core* g, std::uint32_t node) {
    auto* ctx = static_cast<context_core*>(frozen::read(g->ctx));
    if (!arena::contains(ctx) || frozen::read(ctx->bounded)) return false;
    std::uint16_t const count = frozen::read(g->wait_count);
    bool judged = true;
    for (std::uint32_t i = 0; i < count && i < 4096; ++i) {
      waiter* w = frozen::waiter_of(g, i);
      if (w == nullptr) return false;
      if (!read_wait(node, w, ctx)) judged = false;
    }
    return judged;
  }

  LEASH_READS_FROZEN bool read_wait(std::uint32_t node, waiter* w, context_core* ctx) {
    object* o = frozen::read(w->what);
    wait_reason const reason = frozen::read(w->reason);
    if (reason == wait_reason::forever) {
      if (!add_cancellers(node, ctx)) return false;
      return true;
    }
    if (o == nullptr) return reason == wait_reason::chan_receive || reason == wait_reason::chan_send;  // never fires
    if (reason == wait_reason::goroutine_join) {
      p_.waits.push_back({node, no_object, 0, joins});
      targets_.emplace_back(static_cast<std::uint32_t>(p_.waits.size() - 1), reinterpret_cast<goroutine_core*>(o));
      return true;
    }
    if (!arena::contains(o) || !is_object(o)) return false;
    switch (reason) {
      case wait_reason::chan_receive:
        add_wait(node, o, 0);
        return true;
      case wait_reason::chan_send:  // and by a close: see can_close
        add_wait(node, o, 1);
        return true;
      case wait_reason::mutex_lock:
      case wait_reason::rw_lock:
      case wait_reason::rw_rlock:
      case wait_reason::semaphore:
      case wait_reason::wait_group:
      case wait_reason::once:
        add_wait(node, o, 0);
        return true;
      case wait_reason::scope_join:
        add_wait(node, o, 0);
        return true;
      case wait_reason::context_done:
        if (frozen::read(static_cast<context_core*>(o)->bounded)) return false;
        return add_cancellers(node, static_cast<context_core*>(o));
      default:
        return false;
    }
  }

  /// What could end the context c: the cancel sources on the way out, and whoever may cancel the scopes there. False:
  /// not all of them were seen.
  LEASH_READS_FROZEN bool add_cancellers(std::uint32_t node, context_core* c) {
    for (int depth = 0; c != nullptr; ++depth) {
      if (!arena::contains(c) || depth == 100'000) return false;
      if (canceller_core* source = frozen::read(c->source); source != nullptr && is_object(source))
        add_wait(node, source, 0);
      std::uint8_t const shape = frozen::read(c->shape);
      if ((shape & context_core::scope_bit) != 0 && is_object(c) && frozen::read(c->owner) != nullptr)
        add_wait(node, c, cancels);
      if ((shape & (context_core::shield_bit | context_core::immortal_bit)) != 0) return true;
      c = frozen::read(c->parent);
    }
    return true;
  }

  // --- totals and validation
  // ---------------------------------------------------------------------------------------------------

  void link_waits() {
    for (std::uint32_t i = 0; i < p_.waits.size(); ++i) {
      wait_edge& w = p_.waits[i];
      if (w.object == no_object) continue;
      w.next_of_object = p_.objects[w.object].first_waiter;
      p_.objects[w.object].first_waiter = i + 1;
    }
    for (std::uint32_t i = 0; i < p_.edges.size(); ++i) {
      held_edge& e = p_.edges[i];
      e.next_of_object = p_.objects[e.object].first_holder;
      p_.objects[e.object].first_holder = i + 1;
    }
    for (auto& [i, target] : targets_) {
      if (marked_node* n = node_of(target)) {
        p_.waits[i].object = static_cast<std::uint32_t>(n - p_.nodes.data());
        p_.waits[i].next_of_object = n->joiners;
        n->joiners = i + 1;
      } else {
        now_live(p_.waits[i].node);  // its target runs, or has ended
      }
    }
    // Scopes with parked members or a parked owner are objects too; their members are counted (rule 3).
    for (marked_node& n : p_.nodes) {
      if (n.home != nullptr && is_object(n.home)) ++p_.objects[object_index(n.home)].found[0];
      for (std::uint32_t i = n.first_owned; i < n.first_owned + n.owned; ++i) object_index(p_.owned[i]);
      if (n.kin != nullptr && is_object(n.kin)) visit_lineage(n.kin, true);
      if (n.own_kin != nullptr && is_object(n.own_kin)) visit_lineage(n.own_kin, true);
    }
  }

  // One more of l's members is known to be parked (or is a lineage that all of its members' counts explain).
  void visit_lineage(lineage* l, bool member) {
    while (l != nullptr && is_object(l)) {
      bool const first = met(l) == no_object;
      std::uint32_t const k = object_index(l);
      if (member) ++p_.objects[k].found[0];
      if (!first) return;
      l = frozen::read(l->up);
      member = true;  // a lineage is one member of the one above
    }
  }

  void read_totals() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    for (marked_object& o : p_.objects) {
      o.type = frozen::read(o.what->type);
      switch (o.type) {
        case object_type::scope: {
          auto* s = static_cast<scope_core*>(o.what);
          std::uint32_t const remotes = total_of(s, 1);
          // Members that are not parked, or remote handles that lie outside of frozen frames, are live.
          std::uint32_t const total = members_of(s);
          if (total != o.found[0] + o.found[1] || remotes != o.found[1]) o.live |= live_member;
          o.owner = frozen::read(s->owner);
          break;
        }
        case object_type::lineage: {
          auto* l = static_cast<lineage*>(o.what);
          if (frozen::read(l->members) != o.found[0]) o.live |= live_member;
          goroutine_core* starter = frozen::read(l->starter);
          if (arena::contains(starter) && frozen::read(starter->id) == frozen::read(l->starter_id)) o.owner = starter;
          o.up = frozen::read(l->up);
          break;
        }
        default:
          for (std::uint8_t which = 0; which < 2; ++which) {
            if (total_of(o.what, which) != o.found[which]) {  // external
              o.live |= static_cast<std::uint8_t>(1 << which);
              if (which == 0 && o.type == object_type::channel) o.live |= can_close;
            }
            if (satisfied(o.what, which)) o.live |= static_cast<std::uint8_t>(1 << which);
          }
          if (in_line(o.type) && queued_at(o) != waiting_at(o)) o.live |= 1;  // one that runs is leaving the line
      }
    }
  }

  /// First come, first served: one that gives up lets those behind it in. So one live waiter keeps all of them live.
  static bool in_line(object_type t) noexcept { return t == object_type::semaphore || t == object_type::shared_mutex; }
  LEASH_READS_FROZEN static std::uint32_t queued_at(const marked_object& o) noexcept {
    return o.type == object_type::semaphore ? as<semaphore_core>(o.what).queue.size()
                                            : as<shared_mutex_core>(o.what).queue.size();
  }
  std::uint32_t waiting_at(const marked_object& o) const noexcept {
    std::uint32_t n = 0;
    for (std::uint32_t w = o.first_waiter; w != 0; w = p_.waits[w - 1].next_of_object) ++n;
    return n;
  }

  void validate() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    for (marked_node& n : p_.nodes)
      if (n.g->park.load(std::memory_order_acquire) != n.word) n.live = true;
  }

  // --- mark
  // --------------------------------------------------------------------------------------------------------------------

  marked_node* node_of(const goroutine_core* g) noexcept {
    if (g == nullptr || !arena::contains(g)) return nullptr;
    std::uint32_t const i = frozen::read(g->mark);
    return i < p_.nodes.size() && p_.nodes[i].g == g ? &p_.nodes[i] : nullptr;
  }

  void now_live(std::uint32_t i) {
    if (p_.nodes[i].live) return;
    p_.nodes[i].live = true;
    work_.push_back(i);
  }

  void object_live(std::uint32_t k, std::uint8_t which) {
    for (std::uint32_t w = p_.objects[k].first_waiter; w != 0; w = p_.waits[w - 1].next_of_object)
      if (p_.waits[w - 1].which == which) now_live(p_.waits[w - 1].node);
  }

  /// The handles in its frames may be used: by itself, or by whom it started.
  void frames_live(marked_node& n) {
    if (n.frames_live) return;
    n.frames_live = true;
    for (std::uint32_t e = n.first_edge; e < n.first_edge + n.edges; ++e) {
      held_edge const& held = p_.edges[e];
      marked_object& o = p_.objects[held.object];
      std::uint8_t const bit = static_cast<std::uint8_t>(1 << held.which);
      if (o.type == object_type::scope) {
        scope_has_live_member(held.object);
      } else {
        if (!(o.live & bit)) {
          o.live |= bit;
          object_live(held.object, held.which);
        }
        if (o.type == object_type::channel && held.which == 0 && !(o.live & can_close)) {
          o.live |= can_close;
          object_live(held.object, 1);
        }
      }
    }
    for (std::uint32_t k = n.first_owned; k < n.first_owned + n.owned; ++k)  // and the scopes it runs may be cancelled
      if (std::uint32_t const o = met(p_.owned[k]); o != no_object) object_live(o, cancels);
    ancestors(n);
  }

  /// Rule 3: whoever started it, and the owners of its scopes, outward.
  void ancestors(marked_node& n) {
    if (n.ancestors_done) return;
    n.ancestors_done = true;
    if (n.home != nullptr && is_object(n.home))
      if (std::uint32_t const k = met(n.home); k != no_object) scope_has_live_member(k);
    if (n.kin != nullptr && is_object(n.kin))
      if (std::uint32_t const k = met(n.kin); k != no_object) lineage_live(k);
  }

  void scope_has_live_member(std::uint32_t k) {
    marked_object& o = p_.objects[k];
    if (o.live & member_seen) return;
    o.live |= member_seen;
    object_live(k, 0);        // who joins it
    object_live(k, cancels);  // who waits for its end
    if (marked_node* owner = node_of(o.owner)) later_.push_back(owner);
  }

  void lineage_live(std::uint32_t k) {
    marked_object& o = p_.objects[k];
    if (o.live & member_seen) return;
    o.live |= member_seen;
    if (marked_node* starter = node_of(o.owner)) later_.push_back(starter);
    if (o.up != nullptr && is_object(o.up))
      if (std::uint32_t const outer = met(o.up); outer != no_object) lineage_live(outer);
  }

  void propagate() {
    for (std::uint32_t i = 0; i < p_.nodes.size(); ++i)
      if (p_.nodes[i].live) work_.push_back(i);
    for (std::uint32_t k = 0; k < p_.objects.size(); ++k) {
      marked_object& o = p_.objects[k];
      switch (o.type) {
        case object_type::scope: {
          if (o.live & live_member) {
            scope_has_live_member(k);
          } else if (o.found[0] + o.found[1] == 0) {
            object_live(k, 0);  // rule 1: nobody is left, its joiner is being woken
          }
          // An owner that is not parked can cancel it.
          if (o.owner != nullptr && node_of(o.owner) == nullptr) object_live(k, cancels);
          break;
        }
        case object_type::lineage:
          if (o.live & live_member) lineage_live(k);
          break;
        default:
          if (o.live & 1) object_live(k, 0);
          if (o.live & (2 | can_close)) object_live(k, 1);
      }
    }
    while (!work_.empty() || !later_.empty()) {
      if (!later_.empty()) {
        marked_node* n = later_.back();
        later_.pop_back();
        frames_live(*n);
        continue;
      }
      std::uint32_t const i = work_.back();
      work_.pop_back();
      marked_node& n = p_.nodes[i];
      frames_live(n);
      for (std::uint32_t w = n.joiners; w != 0; w = p_.waits[w - 1].next_of_object) now_live(p_.waits[w - 1].node);
      for (std::uint32_t w = n.first_wait; w < n.first_wait + n.waits; ++w) {
        std::uint32_t const k = p_.waits[w].object;
        if (k == no_object || p_.waits[w].which == joins || !in_line(p_.objects[k].type)) continue;
        if ((p_.objects[k].live & line_seen) == 0) {
          p_.objects[k].live |= line_seen;
          object_live(k, 0);
        }
      }
    }
  }

  // --- core and dependents
  // -----------------------------------------------------------------------------------------------------

  /// Calls f(j) for each dead node that could complete i, were it not dead itself.
  template <class F>
  void for_each_needed(std::uint32_t i, F&& f) {
    marked_node const& n = p_.nodes[i];
    for (std::uint32_t w = n.first_wait; w < n.first_wait + n.waits; ++w) {
      wait_edge const& wait = p_.waits[w];
      if (wait.object == no_object) continue;
      if (wait.which == joins) {
        f(wait.object);
        continue;
      }
      marked_object const& o = p_.objects[wait.object];
      if (wait.which == 0 && o.type == object_type::scope) continue;  // see members below
      if (in_line(o.type)) {
        if (std::uint32_t const ahead = ahead_of(n.g, w - n.first_wait); ahead != none) f(ahead);
      }
      for (std::uint32_t e = o.first_holder; e != 0; e = p_.edges[e - 1].next_of_object)
        if (p_.edges[e - 1].which == wait.which) f(p_.edges[e - 1].node);
    }
    for (std::uint32_t m = n.g != nullptr ? first_member(i) : none; m != none; m = next_member_[m]) f(m);
  }

  /// Who stands before g in line: it must get in first. Only for telling core from dependents.
  LEASH_READS_FROZEN std::uint32_t ahead_of(const goroutine_core* g, std::uint32_t i) {
    waiter* w = frozen::waiter_of(g, frozen::read(g->wait_count) == 1 ? 0 : i);
    waiter* before = w != nullptr ? frozen::read(w->prev) : nullptr;
    if (before == nullptr || !arena::contains(before)) return none;
    marked_node* n = node_of(frozen::read(before->who));
    return n != nullptr ? static_cast<std::uint32_t>(n - p_.nodes.data()) : none;
  }

  // The parked members of the scopes that i joins, as a list; built once.
  std::uint32_t first_member(std::uint32_t i) {
    marked_node const& n = p_.nodes[i];
    for (std::uint32_t w = n.first_wait; w < n.first_wait + n.waits; ++w) {
      wait_edge const& wait = p_.waits[w];
      if (wait.object == no_object || wait.which != 0) continue;
      if (p_.objects[wait.object].type == object_type::scope)
        return wait.object < member_head_.size() ? member_head_[wait.object] : none;
    }
    return none;
  }

  /// Strongly connected components of the dead (Tarjan, iterative); terminal ones are the core.
  void find_core() {
    std::size_t const n = p_.dead.size();
    if (n == 0) return;
    member_head_.assign(p_.objects.size(), none);
    next_member_.assign(p_.nodes.size(), none);
    position_.assign(p_.nodes.size(), none);
    for (std::uint32_t d = 0; d < n; ++d) position_[p_.dead[d]] = d;
    for (std::uint32_t i : p_.dead) {
      scope_core* home = p_.nodes[i].home;
      std::uint32_t const k = home != nullptr && is_object(home) ? met(home) : no_object;
      if (k == no_object) continue;
      next_member_[i] = member_head_[k];
      member_head_[k] = i;
    }
    // Edges, once, as offsets: d waits for what needed_[offset_[d]..offset_[d+1]) hold.
    std::vector<std::uint32_t> offset(n + 1, 0), needed;
    for (std::uint32_t d = 0; d < n; ++d) {
      for_each_needed(p_.dead[d], [&](std::uint32_t j) {
        if (position_[j] != none) needed.push_back(position_[j]);
      });
      offset[d + 1] = static_cast<std::uint32_t>(needed.size());
    }
    std::vector<std::uint32_t> low(n, 0), number(n, 0), stack, component(n, none);
    std::vector<std::pair<std::uint32_t, std::uint32_t>> calls;  // node, next edge
    std::uint32_t next_number = 1, components = 0;
    std::vector<std::uint8_t> leaves;  // per component: some edge leaves it
    for (std::uint32_t root = 0; root < n; ++root) {
      if (number[root] != 0) continue;
      calls.emplace_back(root, offset[root]);
      number[root] = low[root] = next_number++;
      stack.push_back(root);
      while (!calls.empty()) {
        auto& [v, at] = calls.back();
        if (at < offset[v + 1]) {
          std::uint32_t const u = needed[at++];
          if (number[u] == 0) {
            number[u] = low[u] = next_number++;
            stack.push_back(u);
            calls.emplace_back(u, offset[u]);
          } else if (component[u] == none) {
            low[v] = std::min(low[v], number[u]);
          }
          continue;
        }
        std::uint32_t const done = v;
        calls.pop_back();
        if (!calls.empty()) low[calls.back().first] = std::min(low[calls.back().first], low[done]);
        if (low[done] != number[done]) continue;
        leaves.push_back(0);
        for (;;) {
          std::uint32_t const u = stack.back();
          stack.pop_back();
          component[u] = components;
          if (u == done) break;
        }
        ++components;
      }
    }
    for (std::uint32_t d = 0; d < n; ++d)
      for (std::uint32_t e = offset[d]; e < offset[d + 1]; ++e)
        if (component[needed[e]] != component[d]) leaves[component[d]] = 1;
    std::vector<std::uint32_t> order, dead, ids;
    order.reserve(n);
    for (std::uint8_t dependents : {0, 1})
      for (std::uint32_t d = 0; d < n; ++d)
        if (leaves[component[d]] == dependents) order.push_back(d);
    for (std::uint32_t d : order) {
      dead.push_back(p_.dead[d]);
      ids.push_back(component[d]);
      if (!leaves[component[d]]) ++p_.core;
    }
    if (n <= 10'000) {
      std::vector<std::uint32_t> place(n);
      for (std::uint32_t k = 0; k < n; ++k) place[order[k]] = k;
      for (std::uint32_t d = 0; d < n; ++d)
        for (std::uint32_t e = offset[d]; e < offset[d + 1]; ++e) p_.needs.emplace_back(place[d], place[needed[e]]);
    }
    p_.dead = std::move(dead);
    p_.component = std::move(ids);
  }

  static constexpr std::uint32_t none = UINT32_MAX, no_object = UINT32_MAX;
  static constexpr std::uint8_t joins = 2, cancels = 3;
  static constexpr std::uint8_t live_member = 4, member_seen = 8, line_seen = 16;
  static constexpr std::uint8_t can_close = 32;  // a sender may be used: to close, which ends the others' sends too

  leak_pass& p_;
  const runtime* only_;
  std::vector<std::unique_ptr<std::uint32_t[]>> tables_;  // by slab: index + 1 of each object slot
  std::vector<std::pair<std::uint32_t, goroutine_core*>> targets_;
  std::vector<std::uint32_t> work_;
  std::vector<marked_node*> later_;
  std::vector<std::uint32_t> member_head_, next_member_, position_;
};

}  // namespace

void leak_pass::run(const runtime* only) { marker(*this, only).run(); }

}  // namespace leash
