"""Samples of many sidecars in, what was counted between any two of them out.

Rule: a counter counts up from nothing or from its last sample, never down. What a sidecar counted before it was first
seen belongs to no window, unless its pod came after the one before: then all of it does. What was counted stays in its
window when the pod goes. Pure: time is what samples say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from controlplane.traffic.exposition import Raw, Sample
from controlplane.traffic.facts import Counts, Series, Traffic
from mesh.model import PodId

MOST: Final = 200_000
"""Counts that are kept, over all rounds; about 60 MB. With more the oldest rounds go, and windows get shorter."""

SLACK: Final = timedelta(seconds=2)
"""By how much a window may be longer than was asked for, so that a late round does not make it shorter."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A sidecar that was asked in a round; no sample where it did not answer."""

    uid: str
    sample: Sample | None


@dataclass(frozen=True, slots=True)
class _Round:
    since: datetime
    until: datetime
    counts: Mapping[Series, Counts]


@dataclass(slots=True)
class _Known:
    """The newest sample of a pod. None: it was there from the start, and what it counted then is not known."""

    uid: str
    sample: Sample | None


@dataclass(slots=True)
class Windows:
    """Written by one reader of sidecars, round after round."""

    longest: timedelta
    most: int = MOST
    _pods: dict[PodId, _Known] = field(default_factory=dict)
    _rounds: deque[_Round] = field(default_factory=deque)
    _until: datetime | None = None
    _silent: frozenset[PodId] = frozenset()

    def add(self, at: datetime, seen: Mapping[PodId, Seen]) -> None:
        """One round: all sidecars there are."""
        first = self._until is None
        counts: dict[Series, Counts] = {}
        for pod, each in seen.items():
            known = self._pods.get(pod)
            if known is None or known.uid != each.uid:
                known = self._pods[pod] = _Known(each.uid, None if first else Sample())
            if each.sample is not None:
                _add(counts, known.sample, each.sample)
                known.sample = each.sample
        for pod in self._pods.keys() - seen.keys():
            del self._pods[pod]
        if self._until is not None:
            self._rounds.append(_Round(self._until, at, counts))
        self._until = at
        self._silent = frozenset(pod for pod, each in seen.items() if each.sample is None)
        self._trim(at)

    @property
    def ready(self) -> bool:
        """Whether there is any time between two rounds yet."""
        return bool(self._rounds)

    def read(self, window: timedelta) -> Traffic:
        """What was counted in the newest rounds that make up `window`, in the newest one at least."""
        newest = self._rounds[-1]
        found: dict[Series, Counts] = {}
        since = newest.since
        for each in reversed(self._rounds):
            if each is not newest and newest.until - each.since > window + SLACK:
                break
            since = each.since
            for series, counts in each.counts.items():
                found[series] = found[series] + counts if series in found else counts
        return Traffic(since, newest.until, found, self._open(), self._silent)

    def _open(self) -> dict[Series, float]:
        found: dict[Series, float] = {}
        for known in self._pods.values():
            for raw in (known.sample or Sample()).raws.values():
                if raw.counters:
                    balance = raw.counters.get("opened", 0) - raw.counters.get("closed", 0)
                    found[raw.series] = found.get(raw.series, 0) + balance
        return {series: number for series, number in found.items() if number > 0}

    def _trim(self, at: datetime) -> None:
        kept = sum(len(each.counts) for each in self._rounds)
        while len(self._rounds) > 1 and (kept > self.most or at - self._rounds[0].since > self.longest + SLACK):
            kept -= len(self._rounds.popleft().counts)


def _add(counts: dict[Series, Counts], before: Sample | None, now: Sample) -> None:
    """Add by how much one sidecar's counters grew."""
    if before is None:
        return
    # Envoy works its uptime out every five seconds, so nothing finer can be told from it: one that restarts within its
    # first seconds may pass for the same, and only counters that tell less show it.
    restarted = now.uptime is not None and before.uptime is not None and now.uptime < before.uptime
    for labels, raw in now.raws.items():
        grown = _grown(None if restarted else before.raws.get(labels), raw)
        if grown:
            counts[raw.series] = counts[raw.series] + grown if raw.series in counts else grown


def _grown(before: Raw | None, now: Raw) -> Counts:
    """A series that tells less than before was forgotten meanwhile, and began anew."""
    if before is None:
        return now.counts()
    buckets, counters = now.buckets, now.counters
    if before.buckets and buckets and buckets[-1] >= before.buckets[-1]:
        buckets = [value - old for value, old in zip(buckets, before.buckets, strict=True)]
    counters = {
        name: value - (old if (old := before.counters.get(name, 0)) <= value else 0) for name, value in counters.items()
    }
    return Raw(now.series, buckets, counters).counts()
