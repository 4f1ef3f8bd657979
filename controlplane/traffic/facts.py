"""What sidecars counted between two moments, as values: who counted, of whom, how much, how fast.

Rule: a count is what sidecars' counters grew by, never a rate made longer. An answer says from when until
when, and is exact for just that time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from mesh.model import PodId, ServiceId
from proxy.exposition import BUCKETS

DEFAULT_WINDOW: Final = timedelta(seconds=30)
"""What is answered for when nobody says (SMI Traffic Metrics, `window`)."""

LONGEST_WINDOW: Final = timedelta(minutes=10)
"""What is kept at most."""


class Side(StrEnum):
    """Whose sidecar counted: the caller's or the server's (SMI Traffic Metrics, `edge.side`)."""

    CLIENT = "client"
    SERVER = "server"


class Series(NamedTuple):
    """What one sidecar tells apart.

    `peer` is the other side's SPIFFE ID, empty where there was none. On the client's side `workload` is whose pod
    answered (as sidecars know it; None if unknown), `service` the Service that got the request, after a split, and
    `asked` the one that was called. `code` is the HTTP status, empty for connections. `failed` is Linkerd's class
    `failure`: 5xx, no answer, and gRPC's server errors.
    """

    pod: PodId
    side: Side
    peer: str = ""
    workload: ServiceId | None = None
    service: ServiceId | None = None
    asked: ServiceId | None = None
    code: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """How much. `latency` has the number of requests in each bucket, not added up; empty where there were none.

    Its limits are `proxy.exposition.BUCKETS` in milliseconds, the last is infinite. Bytes are counted when a connection
    ends. Prometheus gives fractions, sidecars whole numbers.
    """

    latency: tuple[float, ...] = ()
    opened: float = 0
    closed: float = 0
    sent_bytes: float = 0
    received_bytes: float = 0

    @property
    def requests(self) -> float:
        """How many there were."""
        return sum(self.latency)

    def __bool__(self) -> bool:
        return bool(any(self.latency) or self.opened or self.closed or self.sent_bytes or self.received_bytes)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            _added(self.latency, other.latency),
            self.opened + other.opened,
            self.closed + other.closed,
            self.sent_bytes + other.sent_bytes,
            self.received_bytes + other.received_bytes,
        )


@dataclass(frozen=True, slots=True)
class Traffic:
    """All that was counted after `since`, up to `until`.

    `open` are connections there are just now. `silent` are pods whose sidecar could not be asked.
    """

    since: datetime
    until: datetime
    counts: Mapping[Series, Counts] = field(default_factory=dict)
    open: Mapping[Series, float] = field(default_factory=dict)
    silent: frozenset[PodId] = frozenset()

    @property
    def seconds(self) -> float:
        """How long that is."""
        return (self.until - self.since).total_seconds()


class TrafficError(Exception):
    """What was counted can't be told; the text is a sentence."""


class TrafficReader(Protocol):
    """Where counts come from."""

    async def read(self, window: timedelta) -> Traffic:
        """What was counted in the last `window`, or in as much of it as is known. Raises TrafficError."""


def quantile(latency: tuple[float, ...], share: float) -> float | None:
    """Milliseconds that `share` of the requests took at most, None of none.

    Within a bucket requests count as evenly spread; those beyond the last limit as it
    (Prometheus `histogram_quantile`).
    """
    total = sum(latency)
    if not total:
        return None
    rank, below, start = share * total, 0.0, 0.0
    for number, limit in zip(latency, BUCKETS, strict=False):
        if number and below + number >= rank:
            return start + (limit - start) * (rank - below) / number
        below, start = below + number, limit
    return float(BUCKETS[-1])


def _added(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, ...]:
    if not one or not other:
        return one or other
    return tuple(a + b for a, b in zip(one, other, strict=True))
