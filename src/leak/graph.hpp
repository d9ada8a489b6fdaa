// What a pass knows: who holds which capabilities, and who waits for which.
//
//   node    a holder of frozen memory: a parked goroutine, the contents of a tracked block or pool, a channel's buffer
//   object  what is waited for, or owned: a channel, lock, scope, block...; two classes of capabilities each
//   link    from a node to an object or node: it holds a capability, waits for something, belongs to a scope...
//
// Goroutines and objects go by the number of their slot (slot_map.hpp); other nodes follow the goroutines. A pass over a
// million goroutines is a matter of memory touched, for the most part for the first time: 13 bytes for a goroutine, 8
// for an object, 4 for a link.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <leash/scope.hpp>
#include <new>
#include <span>
#include <vector>

#include "huge_array.hpp"
#include "slot_map.hpp"

namespace leash {

enum class node_kind : std::uint8_t {
  goroutine,
  contents,
  buffer,
  latest,  // the buffer of a watch: who has a sender reaches it too, for a send destroys what is there
};

/// What is known of a node, in bits.
struct node_flag {
  static constexpr std::uint8_t live = 1;        // its wait may be completed
  static constexpr std::uint8_t used = 2;        // what it holds may be used: by itself or by whom it started
  static constexpr std::uint8_t confined = 4;    // live only if frames are not confined to their owner's family
  static constexpr std::uint8_t lent = 8;        // used even if they are
  static constexpr std::uint8_t in_frames = 16;  // it waits for an object in somebody's frame
  static constexpr std::uint8_t seen = 32;       // a goroutine that was parked when it was scanned, or a memory node
  static constexpr std::uint8_t goes_on = 64;    // seen, and its wait ends by itself
  static constexpr std::uint8_t circle = 128;    // contents that were scanned before all handles were found
};

/// The contents of a block or pool, or a channel's buffer.
struct memory_node {
  std::uint32_t object;
  node_kind kind;
};

struct graph_link {
  // + class, + graph_wait::which. Both: it holds the class, and waits for the other one, as who receives does.
  enum kind : std::uint8_t { holds = 0, waits = 2, kin = 7, owns = 8, both = 9 };
  std::uint32_t to : 28;
  std::uint32_t what_bits : 4;
  std::uint32_t what() const noexcept { return what_bits; }
};

struct graph_edge {
  std::uint32_t object, which;
};

struct graph_wait {
  std::uint32_t object;  // for joins and frames: a node
  std::uint32_t which;
  static constexpr std::uint32_t joins = 2;    // another node's end
  static constexpr std::uint32_t cancels = 3;  // whoever may cancel a scope
  static constexpr std::uint32_t frames = 4;   // an object in another node's frames
  static constexpr std::uint32_t no_target = slot_map::most;
};

/// Nodes that wait for something, each with graph_wait::which. Empty if zero; one lies in it, more in a list.
struct waiter_set {
  std::uint32_t node_plus_1 : 28;  // of a list: its number
  std::uint32_t which : 3;
  std::uint32_t is_list : 1;
  bool empty() const noexcept { return node_plus_1 == 0 && is_list == 0; }
};

/// What most objects need. Others, scopes and whatever has contents or a thousand handles among them, are large.
struct graph_object {
  union {
    waiter_set waiters;
    std::uint32_t large;  // its number
  };
  std::uint32_t type_bits : 4;
  std::uint32_t live_bits : 8;
  std::uint32_t is_large : 1;
  std::uint32_t found_0 : 10;  // handles in frozen memory, by class
  std::uint32_t found_1 : 9;

  object_type type() const noexcept { return static_cast<object_type>(type_bits); }
  void set_type(object_type t) noexcept {
    type_bits = t <= object_type::chunk ? static_cast<std::uint32_t>(t) & 15 : 0;
  }
  bool is(std::uint8_t live_bit) const noexcept { return (live_bits & live_bit) != 0; }
  void set(unsigned live_bit) noexcept { live_bits |= live_bit & 255; }

  // bit per class: a capability of it may still be used
  static constexpr std::uint8_t class_0 = 1, class_1 = 2;
  static constexpr std::uint8_t live_member = 4;                      // scope, lineage: a member that is not parked
  static constexpr std::uint8_t member_seen = 8;                      // its ancestors have been told
  static constexpr std::uint8_t line_seen = 16;                       // one in line is live
  static constexpr std::uint8_t external = 32;                        // class 0 or 1: somebody outside holds one
  static constexpr std::uint8_t satisfied_0 = 64, satisfied_1 = 128;  // a wait of the class is being completed
};
static_assert(sizeof(graph_object) == 8);

struct large_object {
  std::uint32_t found[2];  // scope, lineage: [0] parked members
  union {
    waiter_set waiters;
    std::uint32_t up_plus_1;  // lineage: the one above
  };
  std::uint32_t owner_plus_1;  // node. scope: who runs its body; lineage: its starter; else: its contents
};

struct graph {
  slot_map slots;
  // By node; goroutines that were not seen have none of it.
  huge_array<std::uint64_t> words;  // goroutine: its park word when it was scanned; buffer: the channel's stamp;
                                    // contents: the type_info, for reports
  huge_array<std::uint8_t> flags;
  huge_array<std::uint32_t> first_link;
  std::vector<memory_node> memory;  // by node, from goroutines() on
  huge_array<graph_link> links;
  huge_array<graph_object> objects;  // by object; type none: not met
  huge_array<large_object> large;
  struct home_block {
    std::uint64_t starts;  // bit per node: it has another home than the one before
    std::uint32_t first;   // in `homes`
  };
  huge_array<home_block> home_blocks;  // 64 nodes each
  huge_array<std::uint32_t> homes;     // objects
  huge_array<waiter_set> listeners;    // by node: waits for its end, or for its frames. Empty if there are none at all
  // Of sets of waiters with more than one in it.
  struct waiter_item {
    waiter_set one;
    std::uint32_t next_plus_1;
  };
  huge_array<std::uint32_t> lists;  // the first item
  huge_array<waiter_item> items;

  std::size_t members = 0;       // goroutines seen at all
  std::uint32_t pass = 0;        // its number: current_pass
  std::uint32_t generation = 0;  // of verdicts, when it began
  bool any_placed = false;       // somebody waits for an event or condition
  bool any_in_frames = false;    // that lies in a frame

  // --- nodes

  std::uint32_t goroutines() const noexcept { return slots.end(arena::kind::goroutine); }
  std::uint32_t nodes() const noexcept { return size32(flags.size()); }
  node_kind kind_of(std::uint32_t node) const noexcept {
    return node < goroutines() ? node_kind::goroutine : memory[node - goroutines()].kind;
  }
  bool leaked(std::uint32_t node) const noexcept {
    std::uint8_t const f = flags[node];
    return node < goroutines() && (f & node_flag::seen) != 0 &&
           ((f & node_flag::live) == 0 || (f & node_flag::confined) != 0);
  }
  /// The node of a goroutine that was scanned; none: it runs, or is none.
  std::uint32_t node_of(const goroutine_core* g) {
    std::uint32_t const k = slots.number_of(g, arena::kind::goroutine);
    return k != none && (flags[k] & node_flag::seen) != 0 ? k : none;
  }
  goroutine_core* goroutine_at(std::uint32_t node) const noexcept {
    return static_cast<goroutine_core*>(slots.address_of(node, arena::kind::goroutine));
  }
  /// Contents and buffers: the object whose memory the node is.
  std::uint32_t object_of(std::uint32_t node) const noexcept { return memory[node - goroutines()].object; }
  template <class T = object>
  T* object_at(std::uint32_t k) const noexcept {
    return static_cast<T*>(static_cast<object*>(slots.address_of(k, arena::kind::object)));
  }

  // --- links

  template <class F>
  void for_each_link(std::uint32_t node, F&& f) const {
    std::uint32_t const end = first_link[node + 1];
    for (std::uint32_t l = first_link[node]; l < end; ++l) f(links[l]);
  }
  template <class F>
  void for_each_edge(std::uint32_t node, F&& f) const {
    for_each_link(node, [&](graph_link l) {
      if (l.what() < graph_link::waits) f(graph_edge{l.to, l.what()});
      if (l.what() >= graph_link::both) f(graph_edge{l.to, l.what() - graph_link::both});
    });
  }
  template <class F>
  void for_each_wait(std::uint32_t node, F&& f) const {
    for_each_link(node, [&](graph_link l) {
      if (l.what() >= graph_link::waits && l.what() < graph_link::kin)
        f(graph_wait{l.to, l.what() - graph_link::waits});
      if (l.what() >= graph_link::both) f(graph_wait{l.to, graph_link::both + 1 - l.what()});
    });
  }
  std::uint32_t waits_of(std::uint32_t node) const {
    std::uint32_t n = 0;
    for_each_wait(node, [&](const graph_wait&) { ++n; });
    return n;
  }
  void add_link(std::uint32_t to, std::uint32_t what) {
    if (links.size() == most_links) throw std::bad_alloc();
    links.push_back({to, what});
  }
  static constexpr std::size_t most_links = (std::size_t{1} << 31) - 2;

  // --- objects

  std::uint32_t found(std::uint32_t k, std::uint32_t which) const noexcept {
    graph_object const& o = objects[k];
    return o.is_large != 0 ? large[o.large].found[which] : which == 0 ? o.found_0 : o.found_1;
  }
  LEASH_INLINE void add_found(std::uint32_t k, std::uint32_t which) {
    graph_object& o = objects[k];
    if (o.is_large != 0) {
      ++large[o.large].found[which];
    } else if (which == 0) {
      if (++o.found_0 == 1023) make_large(o);
    } else {
      if (++o.found_1 == 511) make_large(o);
    }
  }
  waiter_set& waiters_at(std::uint32_t k) noexcept {
    graph_object& o = objects[k];
    return o.is_large != 0 ? large[o.large].waiters : o.waiters;
  }
  std::uint32_t owner_of(std::uint32_t k) const noexcept {
    graph_object const& o = objects[k];
    return o.is_large != 0 ? large[o.large].owner_plus_1 - 1 : none;
  }
  void set_owner(std::uint32_t k, std::uint32_t node) { as_large(k).owner_plus_1 = node + 1; }
  large_object& as_large(std::uint32_t k) {
    graph_object& o = objects[k];
    if (o.is_large == 0) make_large(o);
    return large[o.large];
  }

  // --- the scope that a goroutine belongs to: most belong to that of the one before

  /// In the order of the nodes. none: unknown.
  void set_home(std::uint32_t node, std::uint32_t k) {
    while (home_blocks.size() <= node / 64) home_blocks.push_back({0, size32(homes.size())});
    home_block& b = home_blocks[node / 64];
    if (b.starts != 0 && homes.back() == k) return;
    b.starts |= std::uint64_t{1} << node % 64;
    homes.push_back(k);
  }
  std::uint32_t home_of(std::uint32_t node) const noexcept {
    if (node >= goroutines() || node / 64 >= home_blocks.size()) return none;
    home_block const& b = home_blocks[node / 64];
    std::uint64_t const up_to_it = b.starts & (~std::uint64_t{0} >> (63 - node % 64));
    return up_to_it == 0 ? none : homes[b.first + static_cast<std::uint32_t>(std::popcount(up_to_it)) - 1];
  }

  // --- who waits for it

  LEASH_INLINE void add_waiter(waiter_set& to, std::uint32_t node, std::uint32_t which) {
    waiter_set const one{node + 1, which, 0};
    if (to.empty()) {
      to = one;
      return;
    }
    add_to_list(to, one);
  }
  /// f(node, which), the last one first.
  template <class F>
  void for_each_waiter(waiter_set of, F&& f) const {
    if (of.is_list == 0) {
      if (of.node_plus_1 != 0) f(of.node_plus_1 - 1, of.which);
      return;
    }
    for (std::uint32_t i = lists[of.node_plus_1]; i != 0; i = items[i - 1].next_plus_1)
      f(items[i - 1].one.node_plus_1 - 1, items[i - 1].one.which);
  }
  waiter_set listeners_of(std::uint32_t node) const noexcept {
    return node < listeners.size() ? listeners[node] : waiter_set{};
  }

  // --- who holds it: for reports, looked up when one is made

  /// Of all objects, or only of those that somebody leaked waits for, and of memory.
  void index_holders(bool of_all);
  struct holder {
    std::uint32_t object, node, which;
    auto operator<=>(const holder&) const noexcept = default;
  };
  /// By node, for the last one first from the end. After index_holders.
  std::span<const holder> holders_of(std::uint32_t k) const {
    auto const first = std::lower_bound(holders_.begin(), holders_.end(), holder{k, 0, 0});
    return {first, std::lower_bound(first, holders_.end(), holder{k + 1, 0, 0})};
  }

  static std::uint32_t size32(std::size_t n) noexcept { return static_cast<std::uint32_t>(n); }

 private:
  LEASH_NOINLINE void add_to_list(waiter_set& to, waiter_set one) {
    if (to.is_list == 0) {
      items.push_back({to, 0});
      lists.push_back(size32(items.size()));
      to = {size32(lists.size() - 1), 0, 1};
    }
    std::uint32_t& head = lists[to.node_plus_1];
    items.push_back({one, head});
    head = size32(items.size());
  }
  LEASH_NOINLINE void make_large(graph_object& o) {
    large.push_back({{o.found_0, o.found_1}, {o.waiters}, 0});
    o.is_large = 1;
    o.large = size32(large.size() - 1);
  }

  std::vector<holder> holders_;
};

}  // namespace leash
