"""One look at what is kept, the same for folder and Secret: is it ours, is it newer, what is the next step.

Rule: pure. Whoever keeps issuers compares and swaps: what a step makes is used once it is written, never before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from ca.keeping import Kept, Progress
from ca.reports import Report, Seen, onlookers
from ca.rotation import NOBODY, Action, decide
from ca.settling import Issuers, Lifetimes, carry_out
from ca.storage import StorageError

IDLE: Final = frozenset({Action.KEEP, Action.WAIT, Action.REFUSE})


@dataclass(frozen=True, slots=True)
class Look:
    """What was decided, and the issuers after that step: the same ones where it asks for nothing."""

    progress: Progress
    after: Issuers


def taken_over(kept: Kept, issuers: Issuers, where: str) -> Issuers:
    """The issuers that are kept; `issuers` where they are the same. Raises StorageError where none can follow them."""
    if kept.root is None or kept.intermediate is None:
        raise StorageError(f"{where} no longer holds the issuers in use: restore it from a copy")
    found = Issuers(kept.root, kept.intermediate, kept.rotation)
    if found.mark == issuers.mark:
        return issuers
    if not found.descends_from(issuers.roots):
        raise StorageError(
            f"{where} no longer holds the root that running proxies trust: restore it from a copy, or "
            "restart every replica and then every meshed pod to change over to what it holds"
        )
    return found


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
    step = decide(issuers.state(leaf, there), now)
    after = issuers
    if step.action not in IDLE:
        after = carry_out(step, issuers, trust_domain, replace(lifetimes, leaf=leaf), now)
    return Look(Progress(step, there), after)


def rotating(issuers: Issuers) -> bool:
    """Whether a rotation of the root is under way."""
    return issuers.rotation.next_root is not None or issuers.rotation.previous_root is not None
