"""TrafficMetrics and TrafficMetricsList: rows of traffic in SMI's words.

Rule: both versions say the same; `window` is the time the counts are really of. Counts are of that window, latencies in
milliseconds (rule M2). Source: SMI Traffic Metrics, and its Go types for what v1alpha2 adds (`backend`, `side`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from controlplane.metrics_api.paths import EDGES, GROUP, Asked
from controlplane.traffic.answers import Row
from controlplane.traffic.facts import Traffic, quantile
from controlplane.traffic.spans import written
from controlplane.traffic.view import resource_view

Document = dict[str, Any]
LATENCIES: Final = {"p99_response_latency": 0.99, "p90_response_latency": 0.9, "p50_response_latency": 0.5}


def metrics_list(asked: Asked, traffic: Traffic, rows: Sequence[Row], selector: str = "") -> Document:
    """A TrafficMetricsList of these rows."""
    named = {"kind": asked.kind.name, "namespace": asked.namespace, "name": asked.name}
    labels = dict(term.replace("==", "=").split("=", 1) for term in selector.split(",") if _equality(term))
    return {
        "kind": "TrafficMetricsList",
        "apiVersion": f"{GROUP}/{asked.version}",
        "metadata": {"selfLink": _link(asked, asked.namespace, asked.name)},
        "resource": {key: text for key, text in named.items() if text},
        **({"selector": {"matchLabels": labels}} if labels else {}),
        "items": [metrics(asked, traffic, row) for row in rows],
    }


def metrics(asked: Asked, traffic: Traffic, row: Row) -> Document:
    """One TrafficMetrics."""
    namespace, name = row.resource.namespace, row.resource.name
    until = stamp(traffic.until)
    metadata = {"name": name, "namespace": namespace, "selfLink": _link(asked, namespace, name)}
    edge = {"direction": "from" if row.incoming else "to", "side": str(row.side)}
    backend = row.backend
    return {
        "kind": "TrafficMetrics",
        "apiVersion": f"{GROUP}/{asked.version}",
        "metadata": {**{key: text for key, text in metadata.items() if text}, "creationTimestamp": until},
        "timestamp": until,
        "window": written(round(traffic.seconds, 1)),
        "resource": resource_view(row.resource),
        "edge": {**edge, "resource": resource_view(row.peer) if row.peer is not None else {}},
        **(
            {"backend": {"apex": backend.apex, "name": backend.name, "weight": backend.weight}}
            if backend is not None
            else {}
        ),
        "metrics": [
            *(
                {"name": name, "unit": "ms", "value": quantity(quantile(row.counts.latency, share) or 0)}
                for name, share in LATENCIES.items()
            ),
            {"name": "success_count", "value": quantity(row.successes)},
            {"name": "failure_count", "value": quantity(row.failures)},
        ],
    }


def status(code: int, reason: str, message: str) -> Document:
    """A metav1.Status that says no."""
    head = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**head, "message": message, "reason": reason, "code": code}


def quantity(number: float) -> str:
    """A resource.Quantity, to a thousandth."""
    thousandths = round(number * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def stamp(moment: datetime) -> str:
    """A metav1.Time."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _equality(term: str) -> bool:
    return "=" in term and not any(other in term for other in ("!", "(", ">", "<"))


def _link(asked: Asked, namespace: str, name: str) -> str:
    steps = [f"/apis/{GROUP}/{asked.version}"]
    steps += ["namespaces", namespace] if namespace and asked.kind.namespaced else []
    steps += [asked.kind.plural, *([name] if name else []), *([EDGES] if asked.edges else [])]
    return "/".join(steps)
