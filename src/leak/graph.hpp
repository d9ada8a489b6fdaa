// What a pass knows: who holds which capabilities, and who waits for which.
//
//   node    a holder of frozen memory: a parked goroutine, the contents of a tracked block or pool, a channel's buffer
//   object  what is waited for, or owned: a channel, lock, scope, block...; two classes of capabilities each
//   edge    node holds a capability of a class of an object
//   wait    node waits for a class of an object, or for something of another node
//
// Records are small and lie in arrays in the order in which they were met, so that a pass over a million goroutines
// reads and writes memory in order. Indices are 32 bits; lists go through indices + 1, 0 ends them.
#pragma once
#include <cstdint>
#include <leash/scope.hpp>
#include <memory>
#include <vector>

#include "huge_array.hpp"

namespace leash {

inline constexpr std::uint32_t none = UINT32_MAX;

enum class node_kind : std::uint8_t { goroutine, contents, buffer };

struct graph_node {
  // goroutine: its park word when it was scanned; buffer: the channel's stamp; contents: the type_info, for reports
  std::uint64_t word = 0;
  std::uint32_t at = 0;  // compact: the goroutine, or the object that owns the memory
  std::uint32_t first_edge = 0, first_wait = 0, first_owned = 0;  // up to the next node's
  std::uint32_t listeners = 0;                                    // waits for its end, or for its frames
  std::uint32_t home = none, kin = none;                          // objects: its scope, its lineage
  node_kind kind = node_kind::goroutine;
  std::uint8_t flags = 0;

  static constexpr std::uint8_t live = 1;        // its wait may be completed
  static constexpr std::uint8_t used = 2;        // what it holds may be used: by itself or by whom it started
  static constexpr std::uint8_t confined = 4;    // live only if frames are not confined to their owner's family
  static constexpr std::uint8_t lent = 8;        // used even if they are
  static constexpr std::uint8_t in_frames = 16;  // it waits for an object in somebody's frame

  bool leaked() const noexcept {
    return kind == node_kind::goroutine && ((flags & live) == 0 || (flags & confined) != 0);
  }
};

struct graph_object {
  std::uint32_t at = 0;             // compact
  std::uint32_t found[2] = {0, 0};  // handles in frozen memory, by class; scope, lineage: parked members
  std::uint32_t waiters = 0;        // waits
  std::uint32_t holders = 0;        // edges
  std::uint32_t owner = none;       // node. scope: who runs its body; lineage: its starter; else: its contents
  std::uint32_t up = none;          // lineage: the object above
  object_type type = object_type::none;
  std::uint8_t live = 0;  // see below

  // `live`: bit per class: a capability of it may still be used
  static constexpr std::uint8_t class_0 = 1, class_1 = 2;
  static constexpr std::uint8_t live_member = 4;                      // scope, lineage: a member that is not parked
  static constexpr std::uint8_t member_seen = 8;                      // its ancestors have been told
  static constexpr std::uint8_t line_seen = 16;                       // one in line is live
  static constexpr std::uint8_t external = 32;                        // class 0 or 1: somebody outside holds one
  static constexpr std::uint8_t satisfied_0 = 64, satisfied_1 = 128;  // a wait of the class is being completed
};

struct graph_edge {
  std::uint32_t node;
  std::uint32_t object : 29;
  std::uint32_t which : 3;
  std::uint32_t next = 0;  // of the object
};

struct graph_wait {
  std::uint32_t node;
  std::uint32_t object : 29;  // for joins and frames: a node
  std::uint32_t which : 3;
  std::uint32_t next = 0;                      // of the object, or the node's listeners
  static constexpr std::uint32_t joins = 2;    // another node's end
  static constexpr std::uint32_t cancels = 3;  // whoever may cancel a scope
  static constexpr std::uint32_t frames = 4;   // an object in another node's frames
  static constexpr std::uint32_t no_target = (1u << 29) - 1;
};

/// Which record belongs to an arena slot: a table a slab, made when it is needed.
class slot_index {
 public:
  /// The entry of the slot of `slot_bytes` that starts at p.
  std::uint32_t& entry(const void* p, std::uint32_t slot_bytes) {
    auto const offset = static_cast<std::size_t>(static_cast<const std::byte*>(p) - arena::all.base);
    std::size_t const slab = offset / arena::slab_bytes;
    if (slab >= tables_.size()) [[unlikely]]
      tables_.resize(arena::all.used_slabs.load(std::memory_order_acquire) + 64);
    auto& table = tables_[slab];
    if (table == nullptr) [[unlikely]]
      table = std::make_unique<std::uint32_t[]>(slot_bytes >= arena::slab_bytes ? 1 : arena::slab_bytes / slot_bytes);
    return table[static_cast<std::uint32_t>(offset % arena::slab_bytes) / slot_bytes];
  }

 private:
  std::vector<std::unique_ptr<std::uint32_t[]>> tables_;
};

struct graph {
  huge_array<graph_node> nodes;
  huge_array<graph_object> objects;
  huge_array<graph_edge> edges;
  huge_array<graph_wait> waits;
  std::vector<std::uint32_t> owned;  // objects: scopes that a node runs
  std::size_t members = 0;           // goroutines seen at all
  std::uint32_t pass = 0;            // its number: current_pass
  std::uint32_t generation = 0;      // of verdicts, when it began
  bool any_placed = false;           // somebody waits for an event or condition
  bool any_in_frames = false;        // that lies in a frame
  mutable slot_index index;

  template <class F>
  void for_each_edge(std::uint32_t node, F&& f) const {
    std::uint32_t const end = node + 1 < nodes.size() ? nodes[node + 1].first_edge : size32(edges.size());
    for (std::uint32_t e = nodes[node].first_edge; e < end; ++e) f(edges[e]);
  }
  template <class F>
  void for_each_wait(std::uint32_t node, F&& f) const {
    std::uint32_t const end = node + 1 < nodes.size() ? nodes[node + 1].first_wait : size32(waits.size());
    for (std::uint32_t w = nodes[node].first_wait; w < end; ++w) f(waits[w]);
  }
  template <class F>
  void for_each_owned(std::uint32_t node, F&& f) const {
    std::uint32_t const end = node + 1 < nodes.size() ? nodes[node + 1].first_owned : size32(owned.size());
    for (std::uint32_t o = nodes[node].first_owned; o < end; ++o) f(owned[o]);
  }
  std::uint32_t waits_of(std::uint32_t node) const {
    return (node + 1 < nodes.size() ? nodes[node + 1].first_wait : size32(waits.size())) - nodes[node].first_wait;
  }

  /// The node of a goroutine that was scanned; none: it runs, or is none.
  std::uint32_t node_of(const goroutine_core* g) {
    arena::slot const s = arena::slot_at(g);
    if (s.start == nullptr || s.start != reinterpret_cast<const std::byte*>(g) || s.what != arena::kind::goroutine)
      return none;
    return index.entry(g, static_cast<std::uint32_t>(s.bytes)) - 1;  // 0 becomes none
  }
  /// Contents and buffers: the object whose memory the node is.
  std::uint32_t object_of(std::uint32_t node) const {
    const auto* o = pointer<object>(nodes[node].at);
    return index.entry(o, static_cast<std::uint32_t>(arena::slot_at(o).bytes)) - 1;
  }
  goroutine_core* goroutine_at(std::uint32_t node) const noexcept { return pointer<goroutine_core>(nodes[node].at); }
  template <class T = object>
  T* object_at(std::uint32_t i) const noexcept {
    return static_cast<T*>(pointer<object>(objects[i].at));
  }

  static std::uint32_t size32(std::size_t n) noexcept { return static_cast<std::uint32_t>(n); }
  static std::uint32_t compact_of(const void* p) noexcept {
    return static_cast<std::uint32_t>(static_cast<std::size_t>(static_cast<const std::byte*>(p) - arena::all.base) /
                                      16);
  }
  template <class T>
  static T* pointer(std::uint32_t at) noexcept {
    return reinterpret_cast<T*>(arena::all.base + std::size_t{at} * 16);
  }
};

}  // namespace leash
