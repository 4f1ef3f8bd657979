"""What is to be done about issuers and leaves, decided by pure functions; `ca.settling` and `ca.authority` do it.

Rule: a decision depends on its arguments only and says why. Nothing is signed under a root that somebody who may meet
it does not trust yet, and no root is given up while a leaf under it may live (docs/decisions/0080).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

RENEW_AFTER: Final = 2 / 3
"""The part of a certificate's life after which it is renewed."""
JITTER: Final = 1 / 15
"""Leaves are renewed between RENEW_AFTER minus and plus this part of their life, so that they spread out."""
ROOT_LEAD: Final = 1 / 5
"""A root is replaced when this part of its life is left, or ROOT_LEAD_AT_LEAST, whichever is longer."""
ROOT_LEAD_AT_LEAST: Final = timedelta(days=60)
"""But never more than half the life of a root that is short-lived."""
SKEW: Final = timedelta(minutes=5)
"""How far clocks may differ when we say that a leaf has ended; of short leaves a tenth of their life."""
NAMED: Final = 5
"""As many names stand in a reason."""


class Action(StrEnum):
    """What to do. REFUSE: the root is not valid, so nobody would accept what is signed under it."""

    KEEP = "keep"
    WAIT = "wait"
    MAKE_ROOT = "make root"
    MAKE_INTERMEDIATE = "make intermediate"
    RENEW_LEAF = "renew leaf"
    PREPARE_ROOT = "prepare root"
    """Make the next root and put it into the bundle; nothing is signed under it."""
    SIGN_WITH_NEXT = "sign with next root"
    """The next root becomes the one that is signed under; the old one stays in the bundle."""
    START_DRAIN = "start drain"
    """Nobody signs under the previous root any more: from now on the lives of its leaves run out."""
    RETIRE = "retire previous root"
    ABANDON = "abandon next root"
    SIGN_WITH_PREVIOUS = "sign with previous root"
    SIGN_NEXT_DOMAIN = "sign with next trust domain"
    """Leaves are of the next trust domain from now on; those of the old one are still accepted."""
    SIGN_PREVIOUS_DOMAIN = "sign with previous trust domain"
    START_DOMAIN_DRAIN = "start drain of trust domain"
    RENEW_CONNECTIONS = "renew connections"
    """Servers are accepted by the new name only, and so sidecars connect to them anew, with leaves of the new name."""
    RETIRE_DOMAIN = "retire previous trust domain"
    ABANDON_DOMAIN = "abandon next trust domain"
    DROP_WISH = "drop wish"
    """What a person asked for can't be had."""
    REFUSE = "refuse"


class Wish(StrEnum):
    """What a person asked for."""

    NONE = ""
    INTERMEDIATE = "intermediate"
    ROOT = "root"
    BACK = "rollback"


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
class Onlookers:
    """Who is not where they should be for the next step.

    `behind` are replicas that do not serve the newest bundle or do not sign with the newest issuer yet; `lacking`
    proxies that are connected and have not acknowledged the bundle, `away` those that are not connected.
    """

    behind: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    away: tuple[str, ...] = ()


NOBODY: Final = Onlookers()


@dataclass(frozen=True, slots=True)
class State:
    """The issuers there are, and how far a rotation of the root has come. None: there is none.

    With `next_root` the bundle is being distributed, since `since`. With `previous_root` its leaves run out: since
    `since`, or, None, some replica may still sign under it. `leaf` is the longest life that leaves are given, `notice`
    how long other meshes are given to fetch the bundle.
    """

    root: Validity | None = None
    intermediate: Validity | None = None
    next_root: Validity | None = None
    previous_root: Validity | None = None
    since: datetime | None = None
    leaf: timedelta = timedelta(0)
    wish: Wish = Wish.NONE
    onlookers: Onlookers = NOBODY
    notice: timedelta = timedelta(0)


def decide(state: State, now: datetime) -> Step:
    """The next step for the issuers; carried out, it is decided again until the answer is KEEP, WAIT or REFUSE.

    A new intermediate takes over at once: it travels with every leaf it signs and peers trust the root alone,
    so leaves of the old one stay good until they end.
    """
    root = state.root
    if root is None:
        return Step(Action.MAKE_ROOT, "there is no root yet")
    if not root.holds(now):
        return _without_root(root, state, now)
    if state.wish is Wish.BACK:
        return _back(state, now)
    step = _decide_intermediate(root, state, now)
    return step if step.action is not Action.KEEP else _decide_root(root, state, now, step)


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


def root_due(root: Validity) -> datetime:
    """When the root is to be replaced."""
    life = root.not_after - root.not_before
    return root.not_after - max(life * ROOT_LEAD, min(ROOT_LEAD_AT_LEAST, life / 2))


def leaves_gone(since: datetime, leaf: timedelta) -> datetime:
    """When no leaf lives any more that was made until `since`."""
    return since + leaf + min(SKEW, leaf / 10)


def _decide_root(root: Validity, state: State, now: datetime, keep: Step) -> Step:
    if state.next_root is not None:
        return _decide_distribution(root, state, now)
    if state.previous_root is not None:
        return _decide_drain(state, now)
    if state.wish is Wish.ROOT:
        return Step(Action.PREPARE_ROOT, "a person asked for another root")
    if now >= root_due(root):
        return Step(Action.PREPARE_ROOT, f"the root ends at {root.not_after:%F %T} UTC")
    return keep


def _without_root(root: Validity, state: State, now: datetime) -> Step:
    if state.next_root is not None and state.next_root.holds(now):
        return Step(Action.SIGN_WITH_NEXT, f"the root ended at {root.not_after:%F %T} UTC, nothing is lost any more")
    return Step(Action.REFUSE, f"the root is valid from {root.not_before:%F %T} to {root.not_after:%F %T} UTC only")


def _back(state: State, now: datetime) -> Step:
    if state.next_root is not None:
        return Step(Action.ABANDON, "a person asked for it, and nothing was signed under the next root")
    if state.previous_root is not None and state.previous_root.holds(now):
        return Step(Action.SIGN_WITH_PREVIOUS, "a person asked for it, and everybody trusts both roots")
    return Step(Action.DROP_WISH, "there is no rotation of the root that could be rolled back")


def _decide_intermediate(root: Validity, state: State, now: datetime) -> Step:
    intermediate = state.intermediate
    if intermediate is None:
        return Step(Action.MAKE_INTERMEDIATE, "there is no intermediate yet")
    if not intermediate.holds(now):
        return Step(Action.MAKE_INTERMEDIATE, "the intermediate is outside its validity")
    if state.wish is Wish.INTERMEDIATE:
        return Step(Action.MAKE_INTERMEDIATE, "a person asked for another intermediate")
    if intermediate.not_after >= root.not_after:
        return Step(Action.KEEP, "the intermediate lives as long as the root")
    if now >= _part(intermediate.not_before, intermediate.not_after, RENEW_AFTER):
        return Step(Action.MAKE_INTERMEDIATE, "two thirds of the intermediate's life are over")
    return Step(Action.KEEP, "the intermediate is in the first two thirds of its life")


def _decide_distribution(root: Validity, state: State, now: datetime) -> Step:
    """Who is away holds no leaf that outlives `leaf`, and gets the bundle with the next one."""
    if root.not_after - now < state.leaf:
        return Step(Action.SIGN_WITH_NEXT, f"the root ends at {root.not_after:%F %T} UTC, before leaves do")
    wait = why_wait(state.onlookers, state.since, state.leaf, now, "the bundle with both roots")
    if wait is None and state.since is not None and now < state.since + state.notice:
        until = state.since + state.notice
        return Step(Action.WAIT, f"other meshes are given until {until:%F %T} UTC to fetch the bundle with both roots")
    return wait or Step(Action.SIGN_WITH_NEXT, "everybody who holds a valid leaf trusts both roots")


def why_wait(seen: Onlookers, since: datetime | None, leaf: timedelta, now: datetime, what: str) -> Step | None:
    """Who has to be waited for until everybody holds `what`, which is distributed since `since`; None: nobody."""
    if seen.behind:
        return Step(Action.WAIT, f"replicas do not serve {what} yet: {_names(seen.behind)}")
    if seen.lacking:
        return Step(Action.WAIT, f"proxies have not acknowledged {what}: {_names(seen.lacking)}")
    if seen.away and (since is None or now < leaves_gone(since, leaf)):
        return Step(Action.WAIT, f"proxies are away and may hold a leaf that is valid: {_names(seen.away)}")
    return None


def _decide_drain(state: State, now: datetime) -> Step:
    if state.since is None:
        if state.onlookers.behind:
            return Step(Action.WAIT, f"replicas still sign under the other root: {_names(state.onlookers.behind)}")
        return Step(Action.START_DRAIN, "nobody signs under the previous root any more")
    gone = leaves_gone(state.since, state.leaf)
    if now < gone:
        return Step(Action.WAIT, f"leaves under the previous root may live until {gone:%F %T} UTC")
    return Step(Action.RETIRE, "no leaf under the previous root lives any more")


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _part(start: datetime, end: datetime, part: float) -> datetime:
    life: timedelta = end - start
    return start + life * part
