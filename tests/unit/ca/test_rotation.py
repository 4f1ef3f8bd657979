"""Rotation decides by its arguments alone; each row is a state of the world and the step that follows."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.rotation import (
    JITTER,
    RENEW_AFTER,
    Action,
    Onlookers,
    State,
    Validity,
    Wish,
    decide,
    decide_leaf,
    leaves_gone,
    renewal_time,
    root_due,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def days(start: float, end: float) -> Validity:
    return Validity(NOW + timedelta(days=start), NOW + timedelta(days=end))


ROOT = days(-100, 3550)
DECISIONS = [
    (State(), Action.MAKE_ROOT, "there is no root yet"),
    (State(ROOT), Action.MAKE_INTERMEDIATE, "there is no intermediate yet"),
    (State(ROOT, days(-1, 364)), Action.KEEP, "the intermediate is in the first two thirds of its life"),
    (State(ROOT, days(-199.9, 100.1)), Action.KEEP, "the intermediate is in the first two thirds of its life"),
    (State(ROOT, days(-200, 100)), Action.MAKE_INTERMEDIATE, "two thirds of the intermediate's life are over"),
    (State(ROOT, days(-400, -35)), Action.MAKE_INTERMEDIATE, "the intermediate is outside its validity"),
    (State(ROOT, days(2, 300)), Action.MAKE_INTERMEDIATE, "the intermediate is outside its validity"),
    # A new one would end with the root as well, and be due again at once.
    (State(days(-1, 9), days(-1, 9)), Action.KEEP, "the intermediate lives as long as the root"),
    (State(days(-3660, -1), days(-300, -1)), Action.REFUSE, "the root is valid from 2015-12-25 .* to 2025-12-31"),
    (State(days(-3660, -1)), Action.REFUSE, "the root is valid from"),
    (State(days(1, 100), days(-1, 50)), Action.REFUSE, "the root is valid from"),
]


INTERMEDIATE = days(-1, 364)
DAY = timedelta(days=1)
NEXT, OLD = days(-1, 3649), days(-3000, 650)
LATE = NOW - 2 * DAY


def distributing(since: datetime | None = NOW, root: Validity = OLD, **seen: tuple[str, ...]) -> State:
    """The next root is in the bundle."""
    return State(root, INTERMEDIATE, next_root=NEXT, since=since, leaf=DAY, onlookers=Onlookers(**seen))


def draining(
    since: datetime | None, wish: Wish = Wish.NONE, previous: Validity = OLD, **seen: tuple[str, ...]
) -> State:
    """The previous root is still in the bundle."""
    there = Onlookers(**seen)
    return State(NEXT, INTERMEDIATE, previous_root=previous, since=since, leaf=DAY, wish=wish, onlookers=there)


ROTATIONS = [
    # Begun in time, or because a person asked.
    (State(days(-2920, 731), INTERMEDIATE), Action.KEEP, "the intermediate is in the first"),
    (State(days(-2921, 730), INTERMEDIATE), Action.PREPARE_ROOT, "the root ends at 2028-01-01"),
    (State(days(-305, 60), days(-1, 60)), Action.PREPARE_ROOT, "the root ends at"),
    (State(ROOT, INTERMEDIATE, wish=Wish.ROOT), Action.PREPARE_ROOT, "a person asked for another root"),
    (State(ROOT, INTERMEDIATE, wish=Wish.INTERMEDIATE), Action.MAKE_INTERMEDIATE, "a person asked for another inter"),
    # Nothing is signed under the next root before everybody trusts it.
    (distributing(behind=("b",)), Action.WAIT, "replicas do not serve the bundle with both roots yet: b"),
    (distributing(LATE, behind=("b",)), Action.WAIT, "replicas do not serve"),
    (distributing(lacking=("n/p",)), Action.WAIT, "proxies have not acknowledged the bundle with both roots: n/p"),
    (distributing(LATE, lacking=("n/p",)), Action.WAIT, "proxies have not acknowledged"),
    (distributing(away=("n/q",)), Action.WAIT, "proxies are away and may hold a leaf that is valid: n/q"),
    (distributing(None, away=("n/q",)), Action.WAIT, "proxies are away"),
    (distributing(LATE, away=("n/q",)), Action.SIGN_WITH_NEXT, "everybody who holds a valid leaf trusts both roots"),
    (distributing(), Action.SIGN_WITH_NEXT, "everybody who holds a valid leaf trusts both roots"),
    (distributing(lacking=tuple("abcdefg")), Action.WAIT, ".*: a, b, c, d, e and 2 more"),
    # When the root ends there is nothing to be won by waiting.
    (
        distributing(root=days(-99, 0.9), lacking=("n/p",)),
        Action.SIGN_WITH_NEXT,
        "the root ends at .*, before leaves do",
    ),
    (distributing(root=days(-99, -1), lacking=("n/p",)), Action.SIGN_WITH_NEXT, "the root ended at"),
    # The previous root goes when no leaf under it lives.
    (draining(None, behind=("b",)), Action.WAIT, "replicas still sign under the other root: b"),
    (draining(None), Action.START_DRAIN, "nobody signs under the previous root any more"),
    (draining(NOW - 0.5 * DAY), Action.WAIT, "leaves under the previous root may live until 2026-01-01 12:05:00 UTC"),
    (draining(NOW - DAY), Action.WAIT, "leaves under the previous root may live until 2026-01-01 00:05:00 UTC"),
    (draining(LATE), Action.RETIRE, "no leaf under the previous root lives any more"),
    (draining(NOW + DAY), Action.WAIT, "leaves under the previous root"),
    # Back.
    (replace(distributing(lacking=("n/p",)), wish=Wish.BACK), Action.ABANDON, "a person asked for it, and nothing was"),
    (draining(NOW, Wish.BACK), Action.SIGN_WITH_PREVIOUS, "a person asked for it, and everybody trusts both roots"),
    (draining(NOW, Wish.BACK, days(-9, -1)), Action.DROP_WISH, "there is no rotation"),
    (State(ROOT, INTERMEDIATE, wish=Wish.BACK), Action.DROP_WISH, "there is no rotation"),
    # The intermediate does not wait for the root.
    (replace(distributing(lacking=("n/p",)), intermediate=days(-200, 100)), Action.MAKE_INTERMEDIATE, "two thirds"),
]


def test_a_root_is_due_when_a_fifth_of_its_life_or_sixty_days_are_left_of_a_short_one_half() -> None:
    assert root_due(days(0, 3650)) == NOW + 2920 * DAY
    assert root_due(days(0, 200)) == NOW + 140 * DAY
    assert root_due(days(0, 10)) == NOW + 5 * DAY


def test_of_short_leaves_clocks_are_allowed_a_tenth() -> None:
    assert leaves_gone(NOW, timedelta(seconds=20)) == NOW + timedelta(seconds=22)
    assert leaves_gone(NOW, DAY) == NOW + DAY + timedelta(minutes=5)


@pytest.mark.parametrize(("state", "action", "reason"), DECISIONS + ROTATIONS)
def test_each_state_of_the_issuers_has_one_next_step_and_a_reason(state: State, action: Action, reason: str) -> None:
    step = decide(state, NOW)
    assert step.action is action
    assert re.match(reason, step.reason)


@pytest.mark.parametrize(
    ("validity", "due_in_days", "action", "reason"),
    [
        (days(-0.1, 1), 0.5, Action.KEEP, "the leaf is young"),
        (days(-0.7, 0.3), 0, Action.RENEW_LEAF, "about two thirds of the leaf's life are over"),
        (days(-2, -1), -1.3, Action.RENEW_LEAF, "about two thirds of the leaf's life are over"),
        # The clock was set back: others, whose clocks are right again too, refuse this leaf.
        (days(0.1, 1.1), 0.7, Action.RENEW_LEAF, "the leaf is not valid yet"),
    ],
)
def test_a_leaf_is_renewed_when_due_or_when_it_comes_from_the_future(
    validity: Validity, due_in_days: float, action: Action, reason: str
) -> None:
    step = decide_leaf(validity, NOW + timedelta(days=due_in_days), NOW)
    assert (step.action, step.reason) == (action, reason)


@given(life=st.floats(1, 1e6), chance=st.floats(0, 1, exclude_max=True))
def test_renewal_falls_around_two_thirds_of_life_and_never_near_the_end(life: float, chance: float) -> None:
    end = NOW + timedelta(seconds=life)
    part = (renewal_time(NOW, end, chance) - NOW) / (end - NOW)
    assert RENEW_AFTER - JITTER - 1e-6 <= part <= RENEW_AFTER + JITTER + 1e-6
    assert 0.59 < part < 0.74


def test_the_jitter_uses_its_whole_window_evenly() -> None:
    end = NOW + timedelta(days=1)
    due = [(renewal_time(NOW, end, chance) - NOW) / (end - NOW) for chance in (0, 0.5, 0.999999)]
    assert due == pytest.approx([0.6, 2 / 3, 0.73333], abs=1e-4)
