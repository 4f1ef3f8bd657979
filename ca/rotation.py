"""What is to be done about issuers and leaves, decided by pure functions; `ca.authority` carries it out.

Rule: a decision depends on its arguments only and says why. Every step here is really carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

RENEW_AFTER: Final = 2 / 3
"""The part of a certificate's life after which it is renewed."""
JITTER: Final = 1 / 15
"""Leaves are renewed between RENEW_AFTER minus and plus this part of their life, so that they spread out."""


class Action(StrEnum):
    """What to do. REFUSE: the root is not valid, so nobody would accept what is signed under it."""

    KEEP = "keep"
    MAKE_ROOT = "make root"
    MAKE_INTERMEDIATE = "make intermediate"
    RENEW_LEAF = "renew leaf"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, and the reason in words."""

    action: Action
    reason: str


@dataclass(frozen=True, slots=True)
class Validity:
    """When a certificate may be used; both ends belong to it (RFC 5280 §4.1.2.5)."""

    not_before: datetime
    not_after: datetime

    def holds(self, now: datetime) -> bool:
        """Whether the certificate is valid at this moment."""
        return self.not_before <= now <= self.not_after


@dataclass(frozen=True, slots=True)
class State:
    """The issuers there are. None: there is none yet."""

    root: Validity | None = None
    intermediate: Validity | None = None


def decide(state: State, now: datetime) -> Step:
    """The next step for the issuers; carried out, it is decided again until the answer is KEEP or REFUSE.

    A new intermediate takes over at once: it travels with every leaf it signs and peers trust the root alone,
    so leaves of the old one stay good until they end.
    """
    root, intermediate = state.root, state.intermediate
    if root is None:
        return Step(Action.MAKE_ROOT, "there is no root yet")
    if not root.holds(now):
        return Step(Action.REFUSE, f"the root is valid from {root.not_before:%F %T} to {root.not_after:%F %T} UTC only")
    return _decide_intermediate(root, intermediate, now)


def decide_leaf(validity: Validity, renew_at: datetime, now: datetime) -> Step:
    """Whether a leaf is to be replaced. A leaf from the future means that the clock was set back."""
    if now < validity.not_before:
        return Step(Action.RENEW_LEAF, "the leaf is not valid yet")
    if now >= renew_at:
        return Step(Action.RENEW_LEAF, "about two thirds of the leaf's life are over")
    return Step(Action.KEEP, "the leaf is young")


def renewal_time(made: datetime, end: datetime, chance: float) -> datetime:
    """When a leaf made now is due, by a number drawn evenly from [0, 1)."""
    return _part(made, end, RENEW_AFTER + JITTER * (2 * chance - 1))


def _decide_intermediate(root: Validity, intermediate: Validity | None, now: datetime) -> Step:
    if intermediate is None:
        return Step(Action.MAKE_INTERMEDIATE, "there is no intermediate yet")
    if not intermediate.holds(now):
        return Step(Action.MAKE_INTERMEDIATE, "the intermediate is outside its validity")
    if intermediate.not_after >= root.not_after:
        return Step(Action.KEEP, "the intermediate lives as long as the root")
    if now >= _part(intermediate.not_before, intermediate.not_after, RENEW_AFTER):
        return Step(Action.MAKE_INTERMEDIATE, "two thirds of the intermediate's life are over")
    return Step(Action.KEEP, "the intermediate is in the first two thirds of its life")


def _part(start: datetime, end: datetime, part: float) -> datetime:
    life: timedelta = end - start
    return start + life * part
