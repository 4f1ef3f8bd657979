"""What a sidecar tells on its metrics port, read: its counters by their labels, and how long it has been running.

Rule: only the lines of one histogram and four counters are looked at, of the several names that say the same. What
does not read as one is left out, never an error: the app's own metrics stand in the same text, and whoever has the pod
may answer in its sidecar's place. So no text costs more time or memory than a sidecar's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from controlplane.traffic.facts import Counts, Series, Side
from mesh.model import PodId, ServiceId
from proxy.exposition import BUCKETS

HISTOGRAM: Final = "istio_request_duration_milliseconds_bucket"
COUNTERS: Final = {
    "istio_tcp_connections_opened_total": "opened",
    "istio_tcp_connections_closed_total": "closed",
    "istio_tcp_sent_bytes_total": "sent_bytes",
    "istio_tcp_received_bytes_total": "received_bytes",
}
UPTIME: Final = "envoy_server_uptime"
FAILED_GRPC: Final = frozenset({"2", "4", "12", "13", "14", "15"})
"""As in `proxy.exposition`: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS."""
LONGEST_LINE: Final = 8192
"""Characters; a sidecar's own are a few hundred. Searching a line takes up to the square of its length."""
LONGEST_HOST: Final = 320
MOST_SERIES: Final = 8_000
"""Sets of labels of one sidecar: more than fit into what a sidecar can answer (proxy.exposition.LARGEST)."""

_LINE: Final = re.compile(rf"^(?:istio_|{UPTIME})[^\n]{{0,{LONGEST_LINE}}}$", re.MULTILINE)
_LABEL: Final = re.compile(r'(?:^|,)(\w+)="((?:[^"\\]|\\.)*)"')
_LIMITS: Final = {**{f"{limit:g}": place for place, limit in enumerate(BUCKETS)}, "+Inf": len(BUCKETS)}
_HOST: Final = re.compile(r"([^.]+)\.([^.]+)\.svc\..*")
_ADDRESS: Final = re.compile(r"[\d.]+:\d+|[\da-fA-F:]*:[\da-fA-F:]*:\d+|\[[\da-fA-F:]+\]:\d+")
_SIDES: Final = {"source": Side.CLIENT, "destination": Side.SERVER}


@dataclass(slots=True)
class Raw:
    """One set of labels as the sidecar tells it: what it stands for, and its counters."""

    series: Series
    buckets: list[float] = field(default_factory=list)
    """Added up, as Prometheus has them."""
    counters: dict[str, float] = field(default_factory=dict)

    def counts(self) -> Counts:
        """The same as counts of their own."""
        latency = tuple(now - before for now, before in zip(self.buckets, (0.0, *self.buckets), strict=False))
        return Counts(latency, **self.counters)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one sidecar told at one moment, by the text of its labels. `uptime` is in seconds, None if it said none."""

    raws: Mapping[str, Raw] = field(default_factory=dict)
    uptime: float | None = None


def read(pod: PodId, text: str) -> Sample:
    """The answer of this pod's sidecar."""
    raws: dict[str, Raw] = {}
    uptime: float | None = None
    # One line at a time: a list of millions of short ones takes twenty times the memory of the text.
    for line in map(re.Match.group, _LINE.finditer(text)):
        if line.startswith("istio_"):
            _take(raws, pod, line)
        elif (value := _number(line.rpartition(" ")[2])) is not None:
            uptime = value
    return Sample(raws, uptime)


def _take(raws: dict[str, Raw], pod: PodId, line: str) -> None:
    name, _, rest = line.partition("{")
    labels, _, said = rest.rpartition("} ")
    value = _number(said)
    if value is None:
        return
    if name == HISTOGRAM:
        labels, _, limit = labels.rpartition(',le="')
        place = _LIMITS.get(limit.rstrip('"'))
        if place is not None and (raw := _raw(raws, pod, labels)):
            raw.buckets = raw.buckets or [0.0] * (len(BUCKETS) + 1)
            raw.buckets[place] = value
    elif (counter := COUNTERS.get(name)) and (raw := _raw(raws, pod, labels)):
        raw.counters[counter] = value


def _raw(raws: dict[str, Raw], pod: PodId, labels: str) -> Raw | None:
    raw = raws.get(labels)
    if raw is not None or len(raws) >= MOST_SERIES:
        return raw
    if (series := series_of(pod, dict(_LABEL.findall(labels)))) is not None:
        raw = raws[labels] = Raw(series)
    return raw


def series_of(pod: PodId, labels: Mapping[str, str]) -> Series | None:
    """What these labels stand for, as Istio names them; None if they do not say which side counted."""
    side = _SIDES.get(labels.get("reporter", ""))
    if side is None:
        return None
    code, grpc = labels.get("response_code", ""), labels.get("grpc_response_status", "")
    number = int(code) if code.isdecimal() and len(code) <= 3 else 0
    failed = bool(code) and (number == 0 or number >= 500 or grpc in FAILED_GRPC)
    if side is Side.SERVER:
        return Series(pod, side, _known(labels.get("source_principal", "")), code=code, failed=failed)
    workload = _known(labels.get("destination_workload", ""))
    service = service_of(labels.get("destination_service", ""))
    return Series(
        pod, side, _known(labels.get("destination_principal", "")),
        ServiceId(labels.get("destination_workload_namespace", ""), workload) if workload else None,
        service, service_of(labels.get("requested_service", "")) or service, code, failed,
    )  # fmt: skip


def service_of(host: str) -> ServiceId | None:
    """The Service that a host such as `web.shop.svc.cluster.local` names.

    Of what the caller's own sidecar refuses only the address is known: it stands for the name, in no namespace.
    """
    if len(host) > LONGEST_HOST:
        return None
    found = _HOST.fullmatch(host)
    if found:
        return ServiceId(found[2], found[1])
    return ServiceId("", host.rpartition(":")[0]) if _ADDRESS.fullmatch(host) else None


def _known(text: str) -> str:
    return "" if text == "unknown" else text


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
