// The first phase of a pass: who waits for what, and which handles lie in frozen memory.
//
// What was read of goroutines (reading.hpp) is entered slab by slab, in the order of their slots; in a large pass a thread
// of its own has read it ahead (read_ahead.hpp). Then come buffers and blocks: what is read there depends on what was found.
//
// Rules of soundness that are kept here, besides those of reading.hpp
//
//   Rule 3 (borrowing)
//     Parked members are counted by scope and lineage, in the same way as handles.
//   Rule 6 (revival)
//     A weak handle can make an owner again: it counts as a capability of its block.
#include <algorithm>
#include <array>
#include <leash/tracked.hpp>
#include <leash/wait_group.hpp>

#include "../observe/frozen.hpp"
#include "capability.hpp"
#include "circles.hpp"
#include "pass.hpp"
#include "read_ahead.hpp"
#include "reading.hpp"
#include "touch_ahead.hpp"

namespace leash {

namespace {

constexpr std::size_t handles_fetched = 32;    // the objects of the next ones are on their way into the cache
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
  explicit scanner(graph& g) : g_(g), reader_(g.slots, begin_records(g)) {}

  void run(const runtime* only, bool in_haste) {
    std::uint32_t const most = g_.goroutines();
    g_.words.resize(most);
    g_.flags.resize(most);
    g_.first_link.reserve(most + 1);
    g_.links.reserve(std::size_t{most} * 4);
    touch_memory();
    read_goroutines(only, in_haste);
    memory_.stop();
    begin_links(most);  // of those that follow the last one that was seen
    for (late_target const& t : targets_) link_target(t);
    if (any_deep_channel.load(std::memory_order_acquire)) meet_buffers();
    scan_contents();
    if (any_tracked_memory.load(std::memory_order_acquire)) scan_circles();
    begin_links(g_.nodes());
    link_owners();
  }

 private:
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

  static const graph_object* begin_records(graph& g) {
    g.objects.resize(g.slots.end(arena::kind::object));
    return g.objects.begin();
  }

  // --- goroutines

  void read_goroutines(const runtime* only, bool in_haste) {
    std::vector<goroutine_slab> slabs;
    g_.slots.for_each_slab(arena::kind::goroutine,
                           [&](std::uint32_t first, std::byte* base, std::size_t bytes, std::uint32_t slots) {
                             slabs.push_back({first, base, bytes, slots});
                           });
    read_ahead others;
    if (in_haste && slabs.size() >= read_ahead_from.load(std::memory_order_relaxed))
      others.start(slabs, g_.slots, g_.objects.begin(), only);
    slab_reading own;
    for (std::uint32_t i = 0; i < slabs.size(); ++i) {
      const slab_reading* r = others.take(i);
      if (r == nullptr) {
        reader_.read(slabs[i], only, own);
        r = &own;
      }
      enter(*r);
      others.done(i);
    }
  }

  void enter(const slab_reading& r) {
    g_.members += r.members;
    g_.any_placed |= r.any_placed;
    g_.any_in_frames |= r.any_in_frames;
    std::size_t h = 0, w = 0, fetched = 0;
    for (const goroutine_reading& one : r.all) {
      for (; fetched < std::min(h + handles_fetched, r.handles.size()); ++fetched) fetch(r.handles[fetched].what);
      g_.words[one.node] = one.word;
      g_.flags[one.node] = one.flags;
      begin_links(one.node);
      for (; h < one.handles_end; ++h) add_edge(r.handles[h]);
      if (one.waits_end == w + 1 && joins_hold(one.node, r.waits[w])) ++w;
      for (; w < one.waits_end; ++w) add_wait(one.node, r.waits[w]);
      add_family(one);
    }
  }
  void fetch(place const& p) const noexcept {
    __builtin_prefetch(p.at);
    __builtin_prefetch(g_.objects.begin() + p.number, 1);
  }
  /// The next links are of that node.
  void begin_links(std::uint32_t node) {
    while (g_.first_link.size() <= node) g_.first_link.push_back(graph::size32(g_.links.size()));
  }

  // --- records

  /// The record of an object. That may be of any type, or gone: when a goroutine that named it has moved since.
  LEASH_READS_FROZEN object_type meet(place p) {
    std::uint32_t const k = p.number;
    if (k >= g_.objects.size()) [[unlikely]]
      more_objects(p.at);
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
    } else if (type == object_type::channel && has_deep_buffer(what)) {
      buffers_.push_back(k);
    }
    return o.type();
  }
  LEASH_READS_FROZEN static bool has_deep_buffer(const object* channel) noexcept {
    return !frozen::read(channel->plain) && frozen::read(static_cast<const chan_core*>(channel)->first) != nullptr;
  }
  /// Those too to which no end was found: it may lie in a buffer itself, of that channel or another one.
  LEASH_READS_FROZEN void meet_buffers() {
    g_.slots.for_each_slab(arena::kind::object,
                           [&](std::uint32_t first, std::byte* base, std::size_t bytes, std::uint32_t slots) {
                             for (std::uint32_t k = 0; k < slots; ++k) {
                               auto* what = reinterpret_cast<object*>(base + k * bytes);
                               if (frozen::read(what->type) == object_type::channel && has_deep_buffer(what))
                                 (void)meet({what, first + k});
                             }
                           });
  }

  void more_objects(const object* one) {
    memory_.stop();
    (void)g_.slots.number_of(one, arena::kind::object);  // whoever read ahead may have met the new slabs first
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
  LEASH_READS_FROZEN void add_family(const goroutine_reading& f) {
    if (f.home != last_home_) {
      last_home_ = f.home;
      place const p = reader_.place_of(f.home);
      home_ = p.number != none && meet(p) == object_type::scope ? p.number : none;
    }
    g_.set_home(f.node, home_);
    if (home_ != none) g_.add_found(home_, 0);
    for (context_core* c = f.inner; c != nullptr && arena::contains(c); c = frozen::read(c->parent)) {
      if (frozen::read(c->owner) != f.g) break;
      if ((frozen::read(c->shape) & context_core::scope_bit) == 0) continue;
      if (place const p = reader_.place_of(c); p.number != none && meet(p) == object_type::scope)
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
      place const p = reader_.place_of(l);
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
        reader_.scan_words(at.start + sizeof(block_core), bytes - sizeof(block_core), handles_);
    } else {
      auto* p = static_cast<pool_core*>(what);
      type = frozen::read(p->value_type);
      std::uint32_t left = frozen::read(p->count);
      for (tracked_chunk* c = frozen::read(p->chunks); c != nullptr && reader_.place_of(c).number != none;
           c = frozen::read(c->next)) {
        if (left-- == 0) return false;
        arena::slot const at = arena::slot_at(c);
        std::size_t const bytes = std::min<std::size_t>(frozen::read(c->bytes), at.bytes);
        if (bytes > sizeof(tracked_chunk))
          reader_.scan_words(at.start + sizeof(tracked_chunk), bytes - sizeof(tracked_chunk), handles_);
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
      reader_.scan_words(at.start + sizeof(chan_node), at.bytes - sizeof(chan_node), handles_);
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
  frozen_reader reader_;
  huge_array<found_handle> handles_;  // of contents
  touch_ahead memory_;
  const scope_core* last_home_ = nullptr;
  std::uint32_t home_ = none;  // its number
  std::vector<late_target> targets_;
  std::vector<std::uint32_t> candidates_, buffers_, families_met_;  // objects
};

}  // namespace

constinit std::atomic<std::size_t> read_ahead_from{200};

void scan_all(graph& g, const runtime* only, bool in_haste) { scanner(g).run(only, in_haste); }

}  // namespace leash
