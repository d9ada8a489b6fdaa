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

}  // namespace

TEST(ByHand, BothEndsInOneFrameLeak) {
  tally const n = tried(by_hand({0}).with(0, {rx(0), tx(0)}, {recv(0, 2)}));
  EXPECT_EQ(n.at_rest.leaked, 16u);
  EXPECT_EQ(n.at_rest.found, 16u);
}

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
  settings with;
  with.detector = flaw::ignores_the_line;
  with.schedules = 16;
  tally ignored;
  EXPECT_EQ(try_plan(line_with_a_time_limit(), 1, with, ignored).what, failure::false_alarm);
}

TEST(ByHand, WhatACancelledLeakWouldDoNextIsNotCounted) {
  tally const n = tried(cancelled_holder());
  EXPECT_EQ(n.at_rest.leaked, 0u);  // at rest
  EXPECT_GT(n.after_cut, 0u);
}

TEST(ByHand, AnotherSenderMayClose) {
  tally const n = tried(closed_by_another());
  EXPECT_EQ(n.running.leaked, 0u);
  EXPECT_EQ(n.at_rest.leaked, 0u);
}

TEST(ByHand, ACircleThatNobodyHolds) {
  tally const n = tried(circle_of_boxes(false));
  EXPECT_EQ(n.at_rest.leaked, 16u);
  EXPECT_EQ(n.at_rest.found, 16u);
  tally const twin = tried(circle_of_boxes(true));
  EXPECT_EQ(twin.running.leaked, 0u);
  EXPECT_EQ(twin.at_rest.leaked, 0u);
  settings with;
  with.detector = flaw::forgets_boxes;
  with.schedules = 16;
  tally ignored;
  EXPECT_EQ(try_plan(circle_of_boxes(true), 1, with, ignored).what, failure::false_alarm);
}

TEST(ByHand, AScopeWhoseMemberIsLeakedIsLeaked) {
  tally const n = tried(live_grandchild());
  EXPECT_EQ(n.at_rest.leaked, 16u * 4);  // and g2, whose event nobody sets, and g3
  EXPECT_GE(n.at_rest.found, 16u * 2);   // g1 and g3
}

}  // namespace leash::test::fuzz
