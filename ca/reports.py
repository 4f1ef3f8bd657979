"""What replicas know of their own proxies during a rotation, written down for the one that decides, and put together.

Rule: a report is about what its replica really serves at that moment. What a proxy has acknowledged stays true while
every replica serves the same bundle, so acknowledgements of all replicas add up (docs/decisions/0081).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Final

import msgspec

from ca.rotation import Onlookers
from ca.settling import Issuers

MARK: Final = 6
"""Bytes of a proxy's name in a report: 1,000 proxies take 8 KB of a Secret's 1 MiB."""
NAMED: Final = 20
"""Names of proxies that a report spells out."""


ABSENCE: Final = 30.0
"""Seconds for which a replica's pod must not have been there: what we know of pods may be a little old."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a replica knows of its proxies, by node id.

    `expected` are all proxies there should be; `acknowledged` those connected here that hold what is served now,
    `lacking` those connected here that do not yet. `in_force`: what is served has the bundle of the issuers in use.
    """

    expected: frozenset[str] = frozenset()
    acknowledged: frozenset[str] = frozenset()
    lacking: frozenset[str] = frozenset()
    in_force: bool = True


NOTHING_SEEN: Final = Seen()


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """One replica: the bundle it serves, the root it signs under, how long its leaves live, and its proxies.

    `acknowledged` are marks of names, in base64. `beat` changes from time to time while a rotation is under way.
    """

    bundle: str
    root: str
    leaf: float
    acknowledged: str = ""
    lacking: tuple[str, ...] = ()
    beat: int = 0


def report(issuers: Issuers, leaf: timedelta, seen: Seen, passed: float) -> Report:
    """The report of this replica; `passed` are the seconds of its clock. In the steady state it hardly ever changes."""
    return report_of(issuers.trusted, issuers.signing, leaf, seen, passed, settled=not issuers.moving)


def report_of(bundle: str, root: str, leaf: timedelta, seen: Seen, passed: float, *, settled: bool) -> Report:
    """The report of a replica that uses this bundle (its SHA-256) and this root; `settled`: nothing is under way."""
    bundle, life = bundle if seen.in_force else "", leaf.total_seconds()
    if settled:
        return Report(bundle, root, life)
    marks = b64encode(b"".join(sorted(map(_mark, seen.acknowledged)))).decode()
    beat = int(passed // max(life / 8, 1.0))
    return Report(bundle, root, life, marks, tuple(sorted(seen.lacking)[:NAMED]), beat)


def read_report(content: bytes) -> Report:
    """A report as it was written; nonsense is a replica of which nothing is known."""
    try:
        return msgspec.json.decode(content, type=Report)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Report("", "", 0.0)


class Attendance:
    """Which reports still count. A replica that was killed never takes its report back."""

    def __init__(self, exists: Callable[[str], bool | None]) -> None:
        """`exists` says whether the replica of this name is there; None: that can't be known."""
        self._exists = exists
        self._absent: dict[str, float] = {}
        self._last: dict[str, tuple[Report, float]] = {}

    def present(self, reports: Mapping[str, Report], patience: timedelta, passed: float) -> dict[str, Report]:
        """Those of replicas that are there, or may be there and said something new in the last `patience`.

        `passed` are the seconds of our own clock.
        """
        for name, each in reports.items():
            if name not in self._last or self._last[name][0] != each:
                self._last[name] = each, passed
        self._last = {name: last for name, last in self._last.items() if name in reports}
        return {name: each for name, each in reports.items() if self._counts(name, passed, patience)}

    def begin(self) -> None:
        """No rotation is under way: replicas have nothing new to say, and none is silent."""
        self._last.clear()

    def is_gone(self, name: str, passed: float) -> bool:
        """Whether the replica is known to be there no more; one that is new may not be known yet."""
        if self._exists(name) is not False:
            self._absent.pop(name, None)
            return False
        return passed - self._absent.setdefault(name, passed) >= ABSENCE

    def _counts(self, name: str, passed: float, patience: timedelta) -> bool:
        if self.is_gone(name, passed):
            return False
        return self._exists(name) is not None or self._last[name][1] >= passed - patience.total_seconds()


def onlookers(issuers: Issuers, reports: Mapping[str, Report], seen: Seen) -> Onlookers:
    """Who holds up the next step, by what all replicas report. `seen` is what the one that decides knows itself."""
    return onlookers_of(issuers.trusted, issuers.signing, reports, seen)


def onlookers_of(bundle: str, root: str, reports: Mapping[str, Report], seen: Seen) -> Onlookers:
    """The same for any bundle (its SHA-256) and whatever stands in reports for who signs."""
    behind = [name for name, each in reports.items() if (each.bundle, each.root) != (bundle, root)]
    held = frozenset[bytes]().union(*(_marks(each.acknowledged) for each in reports.values() if each.bundle == bundle))
    connected = seen.lacking.union(*(each.lacking for each in reports.values()))
    lacking = _without(connected, held)
    away = _without(seen.expected - connected, held)
    return Onlookers(tuple(sorted(behind)), lacking, away)


def longest_leaf(reports: Iterable[Report], own: timedelta) -> timedelta:
    """The longest life that any replica gives its leaves."""
    return max((own, *(timedelta(seconds=each.leaf) for each in reports)))


def _without(names: frozenset[str], held: frozenset[bytes]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if _mark(name) not in held))


def _mark(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=MARK).digest()


def _marks(text: str) -> frozenset[bytes]:
    try:
        content = b64decode(text, validate=True)
    except ValueError:
        return frozenset()
    return frozenset(content[start : start + MARK] for start in range(0, len(content), MARK))
