// The sentinel on handles: the premise that nobody has a reference into a frame or block but those the proof knows of.
//
// A goroutine is *sealed* if it is proved leaked and nothing that lives can reach its frames either (it may be leaked while
// a goroutine that it started, and that lives, borrows from it); a block, if no handle to it can be used. Whoever then
// uses a handle that lies there has a reference that it should not have. Verdicts that were given meanwhile to something
// that is unwound count no more: see forget_verdicts.
#include "pass.hpp"

#if LEASH_SENTINEL
#include <leash/tracked.hpp>
#include <string>

#include "../observe/frozen.hpp"
#include "../observe/looking.hpp"
#include "capability.hpp"

namespace leash {

namespace {

bool sealed(const goroutine_core* g) noexcept {
  std::uint64_t const word = g->park.load(std::memory_order_acquire);
  return g->sealed.load(std::memory_order_relaxed) == word && frozen::waits(word) &&
         g->judged_in.load(std::memory_order_relaxed) == verdict_generation();
}

/// The sealed goroutine in whose frames or stored callable `at` lies; null: none.
LEASH_READS_FROZEN const goroutine_core* sealed_owner(const arena::slot& at) noexcept {
  auto const* g = reinterpret_cast<const goroutine_core*>(at.start);
  if (at.what == arena::kind::goroutine) return sealed(g) ? g : nullptr;
  g = frozen::read(reinterpret_cast<const promise_base*>(at.start + 16)->who);
  arena::slot const of = arena::slot_at(g);
  if (of.start != reinterpret_cast<const std::byte*>(g) || of.what != arena::kind::goroutine || !sealed(g))
    return nullptr;
  // Not every slot of this kind is a frame: it must be one of g's.
  for (promise_base* f = frozen::read(g->leaf); f != nullptr && arena::contains(f); f = frozen::parent_of(f))
    if (reinterpret_cast<const std::byte*>(f) - 16 == at.start) return g;
  return nullptr;
}

LEASH_READS_FROZEN const object* sealed_block(const arena::slot& at) noexcept {
  auto const* o = reinterpret_cast<const object*>(at.start);
  if (frozen::read(o->type) == object_type::chunk) o = frozen::read(static_cast<const tracked_chunk*>(o)->pool);
  return arena::contains(o) && has_contents(frozen::read(o->type)) && noted_unreachable(o) ? o : nullptr;
}

const char* name_of(capability c) noexcept {
  switch (c) {
    case capability::sender:
      return "sender";
    case capability::receiver:
      return "receiver";
    case capability::guard:
    case capability::shared_guard:
      return "guard";
    case capability::permit:
      return "permit";
    case capability::token:
      return "token";
    case capability::canceller:
      return "cancel source";
    case capability::remote:
      return "remote scope";
    default:
      return "handle";
  }
}

std::string whose(const goroutine_core* g) {
  goroutine_info info;
  return (look_at(g, nullptr, info) ? call_name(info) : std::string("a goroutine")) + ", which is proved leaked";
}

void look_at_use(const void* at, object* o, capability what) {
  if (what == capability::none) broken_handle(at);
  arena::slot const slot = arena::slot_at(at);
  if (slot.start == nullptr) return;
  std::string place;
  if (at == o) {
    goroutine_core* const owner = static_cast<scope_core*>(o)->owner;
    if (owner == nullptr || !sealed(owner)) return;
    place = "belongs to " + whose(owner);
  } else if (slot.what == arena::kind::object) {
    const object* const block = sealed_block(slot);
    if (block == nullptr) return;
    place = std::string("lies in a ") + type_name(block->type.load(std::memory_order_relaxed)) +
            " that only leaked goroutines have handles to";
  } else {
    const goroutine_core* const owner = sealed_owner(slot);
    if (owner == nullptr) return;
    place = "lies in a frame of " + whose(owner);
  }
  goroutine_core* const by = this_worker != nullptr ? this_worker->current : nullptr;
  if (by != nullptr && ((by->bits & g_unwinding) != 0 || by->killed.load(std::memory_order_relaxed) != 0)) return;
  object_type const type = o->type.load(std::memory_order_relaxed);
  std::string text = "a premise of the proof was broken: the ";
  if (at != o) text += std::string(name_of(what)) + " of the ";
  text += type_name(type);
  if (std::source_location const made = site_of(o, type); made.line() != 0) text += " made at " + site(made);
  text += " " + place + (at == o ? ", and is cancelled by " : ", and is used by ") +
          (by != nullptr ? "goroutine " + std::to_string(by->id) : std::string("a thread that is no worker")) +
          ": a reference to it was given away outside of scopes and tracked memory. ";
  text += at == o ? "Use a cancel_source"
                  : "Move it there, dup() it, or keep it in a leash::shared<T> of which both have a handle";
  fatal(text);
}

}  // namespace

void seal(const leak_pass& p) {
  graph const& g = p.known;
  for (std::uint32_t i = 0; i < g.nodes(); ++i) {
    if (g.flags[i] & (node_flag::used | node_flag::confined)) continue;
    if (g.kind_of(i) == node_kind::contents) {
      note_unreachable(g.object_at(g.object_of(i)), g.generation);
    } else if (g.kind_of(i) == node_kind::goroutine && g.leaked(i)) {
      g.goroutine_at(i)->sealed.store(g.words[i], std::memory_order_relaxed);
    }
  }
  check_use.store(&look_at_use, std::memory_order_relaxed);
}

}  // namespace leash
#endif
