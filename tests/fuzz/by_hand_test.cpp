// The reference, and the comparison with it, on plans whose truth is known.
#include "by_hand.hpp"

#include "support/support.hpp"
#include "trial.hpp"

namespace leash::test::fuzz {

namespace {

tally tried(const plan& p, std::uint64_t seed = 1) {
  tally n;
  settings with;
  with.schedules = 16;
  outcome const o = try_plan(p, seed, with, n);
  EXPECT_EQ(o.what, failure::none) << name_of(o.what) << ": " << o.about << "\n" << p;
  EXPECT_EQ(n.runs, 16u);
  return n;
}

/// What must be caught in these.
failure caught(const plan& p, flaw detector) {
  settings with;
  with.detector = detector;
  with.schedules = 16;
  tally ignored;
  return try_plan(p, 1, with, ignored).what;
}

void expect_live(const plan& p) {
  tally const n = tried(p);
  EXPECT_EQ(n.running.leaked, 0u);
  EXPECT_EQ(n.at_rest.leaked, 0u);
}
/// So many in each run, all of them found.
tally expect_found(const plan& p, std::size_t leaked) {
  tally n = tried(p);
  EXPECT_EQ(n.at_rest.leaked, 16 * leaked);
  EXPECT_EQ(n.at_rest.found, 16 * leaked);
  return n;
}

}  // namespace

TEST(ByHand, BothEndsInOneFrameLeak) { expect_found(by_hand({0}).with(0, {rx(0), tx(0)}, {recv(0, 2)}), 1); }

TEST(ByHand, AnEndInABufferThatNobodyEmptiesIsAMiss) {
  plan const p = by_hand({0, 1, 0})
                     .with(0, {rx(0)}, {recv(0, 1)})
                     .with(1, {tx(1), tx(0), rx(1), rx(2), tx(2)}, {send(0, 1), recv(3, 1)});
  tally const n = tried(p);
  EXPECT_EQ(n.at_rest.leaked, 16u * 2);
  EXPECT_GE(n.at_rest.found, 16u);
  if (n.at_rest.found < n.at_rest.leaked) {
    EXPECT_EQ(n.missed.begin()->first, "a sender in a channel's buffer");
  }
}

TEST(ByHand, ALineMovesWhenOneAheadGivesUp) {
  tally const n = tried(line_with_a_time_limit());
  EXPECT_EQ(n.at_rest.leaked, 16u);  // g0
  EXPECT_EQ(caught(line_with_a_time_limit(), flaw::ignores_the_line), failure::false_alarm);
}

TEST(ByHand, WhatACancelledLeakWouldDoNextIsNotCounted) {
  tally const n = tried(cancelled_holder());
  EXPECT_EQ(n.at_rest.leaked, 0u);  // at rest
  EXPECT_GT(n.after_cut, 0u);
}

TEST(ByHand, AnotherSenderMayClose) {
  expect_live(closed_by_another());
  EXPECT_EQ(caught(closed_by_another(), flaw::forgets_close), failure::false_alarm);
}

TEST(ByHand, AChildMayUseWhatItWasLent) {
  expect_live(lent_sender());
  EXPECT_EQ(caught(lent_sender(), flaw::sees_no_lending), failure::false_alarm);
}

TEST(ByHand, ABufferThatNobodyReaches) { expect_found(guard_that_nobody_has(), 1); }

TEST(ByHand, ACircleThatNobodyHolds) {
  expect_found(circle_of_boxes(false), 1);
  expect_live(circle_of_boxes(true));
  EXPECT_EQ(caught(circle_of_boxes(true), flaw::forgets_boxes), failure::false_alarm);
}

TEST(ByHand, AScopeWhoseMemberIsLeakedIsLeaked) {
  tally const n = tried(live_grandchild());
  EXPECT_EQ(n.at_rest.leaked, 16u * 4);  // and g2, whose event nobody sets, and g3
  EXPECT_GE(n.at_rest.found, 16u * 2);   // g1 and g3
}

TEST(ByHand, AConditionThatNobodyElseReaches) {
  expect_found(condition_in_a_box(false), 1);
  expect_live(condition_in_a_box(true));
  EXPECT_EQ(caught(condition_in_a_box(true), flaw::forgets_box_bells), failure::false_alarm);
  EXPECT_EQ(caught(condition_in_a_box(false), flaw::never_judges_bells), failure::missed);
}

TEST(ByHand, ANotificationForOneOfTwo) { expect_found(one_flag_for_two(), 1); }

TEST(ByHand, WhoIsNotifiedNeedsTheMutex) {
  tally const n = expect_found(notified_by_the_holder(true), 2);
  EXPECT_EQ(n.by_wait.at("relock").found, 16u);
  expect_live(notified_by_the_holder(false));
}

TEST(ByHand, WhoIsCutInAConditionNeedsTheMutex) {
  tally const n = expect_found(cut_without_its_mutex(), 2);
  EXPECT_EQ(n.by_wait.at("relock").found, 16u);
}

TEST(ByHand, AnEventInAFrameThatAChildReaches) {
  expect_found(event_in_a_frame(false), 2);
  expect_live(event_in_a_frame(true));
  EXPECT_EQ(caught(event_in_a_frame(true), flaw::forgets_frame_bells), failure::false_alarm);
  EXPECT_EQ(caught(event_in_a_frame(false), flaw::never_judges_bells), failure::missed);
}

TEST(ByHand, ACallWithinItself) {
  expect_found(once_in_itself(), 2);
  EXPECT_EQ(caught(once_in_itself(), flaw::never_judges_calls), failure::missed);
}

TEST(ByHand, ASecondCallerWaitsForTheFirst) {
  expect_found(second_caller(true), 2);
  expect_live(second_caller(false));
  EXPECT_EQ(caught(second_caller(false), flaw::forgets_calls), failure::false_alarm);
}

TEST(ByHand, ACallThatIsCutIsMadeByTheNext) { expect_found(call_that_is_cut(), 1); }

TEST(ByHand, WhoHasNoPlaceWaitsForThoseWhoHave) {
  tally const in_line = expect_found(one_place(true, false), 3);
  EXPECT_EQ(in_line.by_wait.at("place").found, 16u);
  tally const starts = expect_found(one_place(true, true), 2);
  EXPECT_EQ(starts.by_wait.at("start").found, 16u);
  for (bool start : {false, true}) {
    expect_live(one_place(false, start));
    EXPECT_EQ(caught(one_place(false, start), flaw::forgets_places), failure::false_alarm);
    EXPECT_EQ(caught(one_place(true, start), flaw::never_judges_places), failure::missed);
  }
}

TEST(ByHand, WhoHasThePlaceWaitsForTheLine) {
  expect_found(place_that_waits_for_the_line(false), 3);
  expect_found(place_that_waits_for_the_line(true), 2);
}

}  // namespace leash::test::fuzz
