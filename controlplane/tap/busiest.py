"""The requests of `weft top`, put together by source, destination, method and path.

Rule: pure and bounded, whatever callers ask: many paths are merged by what looks like an id in them, then into one row,
and so are many pairs of source and destination. Nothing is dropped: every request is in some row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controlplane.tap.wording import ends, printable

PATHS: Final = 20
"""Paths that are told apart for one source, destination and method."""
PAIRS: Final = 100
"""Sources, destinations and methods that are told apart."""
LONGEST: Final = 120
"""Letters of a path at most."""
OTHERS: Final = "(others)"
"""What the rest is called."""
_ID: Final = re.compile(r"(?<![^/])(?!v[0-9]+(?:/|$))(?=[^/]*[0-9])[^/]+")
"""A part of a path with a digit in it, unless it is a version such as `v1`."""

Pair = tuple[str, str, str]


@dataclass(slots=True)
class Row:
    """Requests that are alike. Latencies are milliseconds until the last byte."""

    source: str
    destination: str
    method: str
    path: str
    count: int = 0
    failed: int = 0
    best: float = float("inf")
    worst: float = 0.0
    last: float = 0.0
    newest: float = 0.0
    """When the request of `last` began, in seconds since the epoch."""

    @property
    def success_rate(self) -> float:
        """Which part of them did not fail."""
        return 1 - self.failed / self.count

    def take(self, other: Row) -> None:
        """Count the requests of the other one here, too."""
        self.count += other.count
        self.failed += other.failed
        self.best, self.worst = min(self.best, other.best), max(self.worst, other.worst)
        if other.newest >= self.newest:
            self.last, self.newest = other.last, other.newest


class Busiest:
    """The rows, as they grow."""

    def __init__(self) -> None:
        self._rows: dict[Pair, dict[str, Row]] = {}
        self._merged: set[Pair] = set()
        self.requests = 0

    def add(self, request: Mapping[str, Any]) -> None:
        """Count one request, as the admin API tells it."""
        self.requests += 1
        row = _alone(request)
        pair = (row.source, row.destination, row.method)
        if pair not in self._rows and len(self._rows) >= PAIRS:
            pair, row.path = (OTHERS, OTHERS, OTHERS), OTHERS
        paths = self._rows.setdefault(pair, {})
        if row.path not in paths and len(paths) >= PATHS and pair not in self._merged:
            self._merged.add(pair)
            for known in [*paths.values()]:
                del paths[known.path]
                self._put(pair, known)
        self._put(pair, row)

    def rows(self) -> list[Row]:
        """All of them, those with the most requests first."""
        return sorted(self._all(), key=lambda row: (-row.count, row.source, row.destination, row.method, row.path))

    def _all(self) -> Iterator[Row]:
        for paths in self._rows.values():
            yield from paths.values()

    def _put(self, pair: Pair, row: Row) -> None:
        paths, path = self._rows[pair], row.path
        if pair in self._merged:
            path = _ID.sub("*", path)
            if path not in paths and len(paths) >= PATHS:
                path = OTHERS
        paths.setdefault(path, Row(*pair, path)).take(row)


def _alone(request: Mapping[str, Any]) -> Row:
    """A row of this request only. A connection that is not looked into has its protocol as method, and no path."""
    source, destination = ends(request)
    status, took = request["status"], request["milliseconds"]
    # As `weft stat` counts, as far as it can be told here; a connection has no status, and a reason if it was refused.
    failed = (status >= 500 or status == 0) if request["method"] else bool(request["reason"])
    path = request["path"]
    return Row(
        source, destination, request["method"] or request["protocol"],
        printable(path if len(path) <= LONGEST else f"{path[:LONGEST]}…"),
        count=1, failed=int(failed), best=took, worst=took, last=took, newest=request["time"],
    )  # fmt: skip
