// Memory that is reached from nowhere but itself: blocks and pools that own each other in circles.
//
// Counting never ends the life of a circle, and handles that lie in it are found only once it has been scanned. So all
// blocks and pools that are left over are read on trial: which handles to which others lie there? One of which more
// handles exist than lie in frozen memory and in the others is reached from elsewhere, and so is all that it holds, and
// so on. What is left is closed. (Trial deletion, as collectors of reference counts do it; each edge is followed once.)
//
// This only proposes: what is read here may change meanwhile. Whether what is closed is dead is told by its counts, read
// after all scans, and by its note (pass_note.hpp): nobody has given up a handle to it in this pass, or moved one.
#pragma once
#include <cstdint>
#include <vector>

#include "graph.hpp"

namespace leash {

class circle_finder {
 public:
  explicit circle_finder(std::size_t objects) { index_plus_1_.resize(objects); }

  /// A block or pool; the edges that follow are those of the handles in it.
  void add(std::uint32_t object) {
    all_.push_back({object, {0, 0}, size(edges_), true});
    if (object >= index_plus_1_.size()) index_plus_1_.resize(object + 1);
    index_plus_1_[object] = size(all_);
  }
  void add_edge(std::uint32_t object, std::uint32_t which) { edges_.push_back({object, which}); }

  /// is_scanned(object): it is known by now, and so are the handles in it. missing(object, which): how many handles were
  /// not found. Calls f(object) for all that is closed.
  template <class Scanned, class Missing, class F>
  void solve(Scanned is_scanned, Missing missing, F f) {
    for (entry& e : all_) {
      e.closed = !is_scanned(e.object);
      for (std::uint32_t which : {0u, 1u}) e.missing[which] = missing(e.object, which);
    }
    for (std::uint32_t i = 0; i < all_.size(); ++i)
      if (all_[i].closed) for_each_target(i, [](entry& e, std::uint32_t which) { --e.missing[which]; });
    for (std::uint32_t i = 0; i < all_.size(); ++i) open_if_reached(i);
    while (!work_.empty()) {
      std::uint32_t const i = work_.back();
      work_.pop_back();
      for_each_target(i, [this](entry& e, std::uint32_t which) {
        ++e.missing[which];
        open_if_reached(static_cast<std::uint32_t>(&e - all_.data()));
      });
    }
    for (entry const& e : all_)
      if (e.closed) f(e.object);
  }

 private:
  struct entry {
    std::uint32_t object;
    std::uint32_t missing[2];  // modulo 2^32: a list that changes may show too many
    std::uint32_t first_edge;
    bool closed;
  };
  static std::uint32_t size(const auto& of) noexcept { return static_cast<std::uint32_t>(of.size()); }

  template <class F>
  void for_each_target(std::uint32_t i, F f) {
    std::uint32_t const end = i + 1 < all_.size() ? all_[i + 1].first_edge : size(edges_);
    for (std::uint32_t e = all_[i].first_edge; e < end; ++e) {
      std::uint32_t const object = edges_[e].object;
      if (object < index_plus_1_.size() && index_plus_1_[object] != 0)
        f(all_[index_plus_1_[object] - 1], edges_[e].which);
    }
  }
  void open_if_reached(std::uint32_t i) {
    entry& e = all_[i];
    if (!e.closed || (e.missing[0] == 0 && e.missing[1] == 0)) return;
    e.closed = false;
    work_.push_back(i);
  }

  std::vector<entry> all_;
  std::vector<graph_edge> edges_;
  huge_array<std::uint32_t> index_plus_1_;  // by object
  std::vector<std::uint32_t> work_;
};

}  // namespace leash
