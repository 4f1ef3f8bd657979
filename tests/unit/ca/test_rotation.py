"""Rotation decides by its arguments alone; each row is a state of the world and the step that follows."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.rotation import JITTER, RENEW_AFTER, Action, State, Validity, decide, decide_leaf, renewal_time

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
    (State(days(-3600, 50), days(-315, 50)), Action.KEEP, "the intermediate lives as long as the root"),
    (State(days(-3660, -1), days(-300, -1)), Action.REFUSE, "the root is valid from 2015-12-25 .* to 2025-12-31"),
    (State(days(-3660, -1)), Action.REFUSE, "the root is valid from"),
    (State(days(1, 100), days(-1, 50)), Action.REFUSE, "the root is valid from"),
]


@pytest.mark.parametrize(("state", "action", "reason"), DECISIONS)
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
