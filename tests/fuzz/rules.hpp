// What the proof promises to find, computed from a state of the model: the rules of docs/design/proof.md, applied to
// counts of handles, without looking at what goroutines would do next. And detectors that are wrong on purpose: the
// comparison must catch each of them.
#pragma once
#include <string>

#include "machine.hpp"

namespace leash::test::fuzz {

enum class flaw {
  none,
  sees_no_buffers,       // ends in channel buffers are taken for nobody's
  sees_no_lending,       // rule 3: who works on lent slots does not keep them live
  ignores_wakes,         // rule 1: whoever was woken, but has not run, is taken for blocked
  ignores_the_line,      // a live waiter ahead is no reason to live
  ignores_sleep,         // a sleep among the cases is taken for one that never ends
  first_case_only,       // a select is judged by its first case
  forgets_a_handle,      // the last slot of every frame is not looked at: its handle is nobody's
  forgets_close,         // of a channel, by another sender than the one that waits
  forgets_boxes,         // what lies in a shared object is never used
  ignores_limits,        // a with_timeout around a wait is taken for one that never ends
  forgets_calls,         // who runs a once's call is not looked for
  forgets_places,        // nor who has a place under max_children
  forgets_box_bells,     // nor who reaches an event or condition in a shared object
  forgets_frame_bells,   // nor who reaches one in a frame
  never_judges_mutexes,  // misses: a wait for a mutex is always live
  never_judges_joins,    // misses: a scope's join is always live
  never_judges_bells,    // misses: a wait for an event or condition is always live
  never_judges_calls,    // misses: a wait for a once's call is always live
  never_judges_places,   // misses: a wait for a place is always live
};
inline constexpr flaw all_flaws[] = {
    flaw::sees_no_buffers,    flaw::sees_no_lending,     flaw::ignores_wakes,        flaw::ignores_the_line,
    flaw::ignores_sleep,      flaw::first_case_only,     flaw::forgets_a_handle,     flaw::forgets_close,
    flaw::forgets_boxes,      flaw::ignores_limits,      flaw::forgets_calls,        flaw::forgets_places,
    flaw::forgets_box_bells,  flaw::forgets_frame_bells, flaw::never_judges_mutexes, flaw::never_judges_joins,
    flaw::never_judges_bells, flaw::never_judges_calls,  flaw::never_judges_places};
const char* name_of(flaw);

/// Who is leaked in s by the rules.
unsigned leaked_by_the_rules(const machine&, const state& s, flaw = flaw::none);

/// Why g, which is leaked in truth, is live by the rules: "a sender in a channel's buffer".
std::string why_missed(const machine&, const state& s, int g);

}  // namespace leash::test::fuzz
