"""Rows of traffic as plain JSON values. Rule: rates and shares are worked out here, from counts and real seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from controlplane.traffic.answers import Answers, Row
from controlplane.traffic.facts import quantile
from controlplane.traffic.kinds import KINDS, Resource

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def rows_view(answers: Answers, rows: Iterable[Row]) -> dict[str, Any]:
    """All rows, and what time they are of. `silent` are pods whose sidecars did not answer."""
    found = list(rows)
    apexes: dict[str, float] = {}
    for row in found:
        if row.backend is not None:
            apexes[_apex(row)] = apexes.get(_apex(row), 0) + row.counts.requests
    traffic = answers.traffic
    return {
        "since": traffic.since.isoformat(),
        "until": traffic.until.isoformat(),
        "seconds": round(traffic.seconds, 3),
        "silent": sorted(map(str, traffic.silent)),
        "rows": [_row(answers, row, apexes.get(_apex(row), 0)) for row in found],
    }


def resource_view(resource: Resource) -> dict[str, str]:
    """A resource by kind, namespace and name, without what it has not."""
    kind = KINDS[resource.kind].name if resource.kind in KINDS else "ServiceAccount"
    named = {"kind": kind, "namespace": resource.namespace, "name": resource.name}
    return {key: value for key, value in named.items() if value}


def _row(answers: Answers, row: Row, all_of_apex: float) -> dict[str, Any]:
    counts, seconds = row.counts, answers.traffic.seconds
    meshed, pods = answers.inventory.pods.get(row.resource, (0, 0))
    view: dict[str, Any] = {
        **resource_view(row.resource),
        "side": str(row.side),
        "direction": "from" if row.incoming else "to",
        "pods": {"meshed": meshed, "all": pods},
        "requests": _plain(counts.requests),
        "successes": _plain(row.successes),
        "failures": _plain(row.failures),
        "success_rate": row.successes / counts.requests if counts.requests else None,
        "rps": round(counts.requests / seconds, 3) if seconds else None,
        "latency_ms": {name: _rounded(quantile(counts.latency, share)) for name, share in QUANTILES.items()},
        "codes": {code: _plain(number) for code, number in sorted(row.codes.items())},
        "connections": {"open": _plain(row.open), "opened": _plain(counts.opened), "closed": _plain(counts.closed)},
        "bytes": {"sent": _plain(counts.sent_bytes), "received": _plain(counts.received_bytes)},
    }
    if row.peer is not None:
        view["peer"] = resource_view(row.peer)
    if row.backend is not None:
        share = counts.requests / all_of_apex if all_of_apex else None
        backend = row.backend
        view["backend"] = {"apex": backend.apex, "name": backend.name, "weight": backend.weight, "share": share}
    return view


def _apex(row: Row) -> str:
    """What the shares of backends add up to one in: the split, and the caller where there is one."""
    return f"{row.resource} {row.peer}"


def _plain(number: float) -> float | int:
    return int(number) if float(number).is_integer() else round(number, 3)


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
