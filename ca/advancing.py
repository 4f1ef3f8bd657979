"""One look at what is kept, the same for folder and Secret: is it ours, is it newer, what is the next step.

Rule: pure. Whoever keeps issuers compares and swaps: what a step makes is used once it is written, never before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from ca.domains import decide_domain
from ca.keeping import Kept, Progress
from ca.reports import Report, Seen, onlookers
from ca.rotation import NOBODY, Action, Wish, decide, leaves_gone
from ca.settling import Issuers, Lifetimes, carry_out, carry_out_change
from ca.storage import StorageError

IDLE: Final = frozenset({Action.KEEP, Action.WAIT, Action.REFUSE})


@dataclass(frozen=True, slots=True)
class Look:
    """What was decided, and the issuers after that step: the same ones where it asks for nothing."""

    progress: Progress
    after: Issuers


def taken_over(kept: Kept, issuers: Issuers, where: str, now: datetime) -> Issuers:
    """The issuers that are kept; `issuers` where they are the same. Raises StorageError where none can follow them."""
    if kept.root is None or kept.intermediate is None:
        raise StorageError(f"{where} no longer holds the issuers in use: restore it from a copy")
    found = Issuers(kept.root, kept.intermediate, kept.rotation, kept.domains)
    if found.mark == issuers.mark:
        return issuers
    if not found.descends_from(issuers.roots):
        raise StorageError(
            f"{where} no longer holds the root that running proxies trust: restore it from a copy, or "
            "restart every replica and then every meshed pod to change over to what it holds"
        )
    lost = issuers.rotation.previous_root
    if lost is not None and lost.certificate not in found.roots and _needed(issuers, now):
        raise StorageError(
            f"{where} no longer holds previous-root.pem, under which leaves may still live: restore it from a copy"
        )
    return found


def _needed(issuers: Issuers, now: datetime) -> bool:
    """Whether the previous root must still be there: a replica that drains it would not have retired it yet."""
    rotation = issuers.rotation
    return rotation.since is not None and now < leaves_gone(rotation.since, rotation.leaf)


def look(
    issuers: Issuers,
    reports: Mapping[str, Report],
    seen: Seen,
    leaf: timedelta,
    trust_domain: str,
    lifetimes: Lifetimes,
    now: datetime,
) -> Look:
    """Decide and carry out, on paper. `leaf` is the longest life that any replica gives its leaves."""
    there = onlookers(issuers, reports, seen) if rotating(issuers) else NOBODY
    step = decide(replace(issuers.state(leaf, there), notice=lifetimes.notice), now)
    after = issuers
    if issuers.domains.changing and step.action in {Action.KEEP, Action.DROP_WISH}:
        # One thing at a time, and the root comes first: it may end.
        back = issuers.rotation.wish is Wish.BACK
        step = decide_domain(issuers.domains, leaf, there, now, back=back)
        if step.action not in IDLE:
            after = carry_out_change(step, issuers, replace(lifetimes, leaf=leaf), now)
    elif step.action not in IDLE:
        after = carry_out(step, issuers, trust_domain, replace(lifetimes, leaf=leaf), now)
    return Look(Progress(step, there), after)


def rotating(issuers: Issuers) -> bool:
    """Whether a rotation of the root or a change of the trust domain is under way."""
    return issuers.moving
