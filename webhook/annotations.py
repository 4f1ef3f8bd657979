"""What a person can say about one pod's sidecar: the annotations, and the one function that reads them.

Rule: a value that can't be read is a Problem that names its annotation, and the pod is refused: it neither starts
without its sidecar nor with another than was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, TypeVar

from kube.problem import Problem, Ref
from proxy.exposition import AppMetrics
from proxy.redirect import PortRange

EXCLUDE_INBOUND_PORTS: Final = "weft.dev/exclude-inbound-ports"
"""Ports and ranges (`9000,9100-9110`) whose callers reach the app directly, without mTLS or rules."""

EXCLUDE_OUTBOUND_PORTS: Final = "weft.dev/exclude-outbound-ports"
"""Ports and ranges of other hosts that the app reaches around its sidecar."""

EXCLUDE_INBOUND_CIDRS: Final = "weft.dev/exclude-inbound-cidrs"
"""Callers (`10.0.0.0/8,fd00::/8`) that reach the app directly."""

EXCLUDE_OUTBOUND_CIDRS: Final = "weft.dev/exclude-outbound-cidrs"
"""Networks that the app reaches around its sidecar."""

LOG_LEVEL: Final = "weft.dev/proxy-log-level"
"""Envoy's log level: trace, debug, info, warning, error, critical or off."""

CONCURRENCY: Final = "weft.dev/proxy-concurrency"
"""Envoy's worker threads, 1 to 128."""

SCRAPE: Final = "prometheus.io/scrape"
SCRAPE_PORT: Final = "prometheus.io/port"
SCRAPE_PATH: Final = "prometheus.io/path"
SCRAPE_SCHEME: Final = "prometheus.io/scheme"
"""Where Prometheus finds a pod's metrics, by a convention of its users. The injector makes them the sidecar's."""

CPU_REQUEST: Final = "weft.dev/proxy-cpu-request"
CPU_LIMIT: Final = "weft.dev/proxy-cpu-limit"
MEMORY_REQUEST: Final = "weft.dev/proxy-memory-request"
MEMORY_LIMIT: Final = "weft.dev/proxy-memory-limit"
"""The sidecar's resources, as Kubernetes quantities."""

PROXY_VERSION: Final = "weft.dev/proxy-version"
"""Left by the injector: the version of Weft whose sidecar this pod has."""

NOT_INJECTED: Final = "weft.dev/not-injected"
"""Left by the webhook on a pod that something enrols and that got no sidecar all the same: why."""

T = TypeVar("T")

Networks = tuple[IPv4Network | IPv6Network, ...]

LOG_LEVELS: Final = ("trace", "debug", "info", "warning", "error", "critical", "off")
MEMORY_LEAST: Final = 2**20
"""Bytes of memory below which a limit is a slip of the suffix (`128m` is a tenth of a byte)."""

_QUANTITY: Final = re.compile(
    r"([0-9]{1,18}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,2})?"
)
_SCALE: Final[Mapping[str, float]] = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PodWishes:
    """What a pod's annotations ask for; None and empty where they say nothing.

    `requests` and `limits` are pairs of resource name and quantity.
    """

    exclude_inbound_ports: tuple[PortRange, ...] = ()
    exclude_outbound_ports: tuple[PortRange, ...] = ()
    exclude_inbound_cidrs: Networks = ()
    exclude_outbound_cidrs: Networks = ()
    log_level: str | None = None
    concurrency: int | None = None
    requests: tuple[tuple[str, str], ...] = ()
    limits: tuple[tuple[str, str], ...] = ()
    app_metrics: AppMetrics | None = None


def pod_wishes(annotations: Mapping[str, str], pod: Ref) -> tuple[PodWishes, tuple[Problem, ...]]:
    """What this pod's annotations ask for, and a Problem for each that can't be read."""
    reader = _Reader(annotations, pod)
    wishes = PodWishes(
        exclude_inbound_ports=reader.read(EXCLUDE_INBOUND_PORTS, _ports) or (),
        exclude_outbound_ports=reader.read(EXCLUDE_OUTBOUND_PORTS, _ports) or (),
        exclude_inbound_cidrs=reader.read(EXCLUDE_INBOUND_CIDRS, _networks) or (),
        exclude_outbound_cidrs=reader.read(EXCLUDE_OUTBOUND_CIDRS, _networks) or (),
        log_level=reader.read(LOG_LEVEL, _log_level),
        concurrency=reader.read(CONCURRENCY, _concurrency),
        requests=reader.quantities({"cpu": (CPU_REQUEST, _cpu), "memory": (MEMORY_REQUEST, _memory)}),
        limits=reader.quantities({"cpu": (CPU_LIMIT, _cpu), "memory": (MEMORY_LIMIT, _memory)}),
        app_metrics=_app_metrics(annotations),
    )
    return wishes, tuple(reader.problems)


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number (API conventions, "Quantities"). Raises ValueError."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a quantity such as 100m, 0.5, 128Mi or 1G")
    suffix = match[2] or ""
    return float(match[1]) * (_SCALE[suffix] if suffix in _SCALE else 10.0 ** int(suffix[1:]))


class _Reader:
    """Reads annotations one by one and collects what is wrong with them."""

    def __init__(self, annotations: Mapping[str, str], pod: Ref) -> None:
        self._annotations = annotations
        self._pod = pod
        self.problems: list[Problem] = []

    def read(self, name: str, parse: Callable[[str], T]) -> T | None:
        text = self._annotations.get(name)
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            field = f"metadata.annotations[{name}]"
            message = f"{error}, not {text!r}; the pod is refused until it is"
            self.problems.append(Problem(self._pod, field, message, "inject"))
            return None

    def quantities(self, wanted: Mapping[str, tuple[str, Callable[[str], str]]]) -> tuple[tuple[str, str], ...]:
        found = ((resource, self.read(name, parse)) for resource, (name, parse) in wanted.items())
        return tuple((resource, text) for resource, text in found if text is not None)


def _app_metrics(annotations: Mapping[str, str]) -> AppMetrics | None:
    """Where the app tells its metrics. It is others' convention, so what makes no sense is left as it is, unasked."""
    port, path = annotations.get(SCRAPE_PORT, ""), annotations.get(SCRAPE_PATH) or "/metrics"
    wanted = annotations.get(SCRAPE) == "true" and annotations.get(SCRAPE_SCHEME, "http") == "http"
    if not wanted or not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        return None
    return AppMetrics(int(port), path) if path.startswith("/") else None


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _ports(text: str) -> tuple[PortRange, ...]:
    return tuple(_port_range(item) for item in _items(text))


def _port_range(text: str) -> PortRange:
    first, dash, last = text.partition("-")
    ends = [first, last] if dash else [first, first]
    if not all(end.isascii() and end.isdigit() and 0 < int(end) < 65536 for end in ends) or int(ends[0]) > int(ends[1]):
        raise ValueError("must be ports from 1 to 65535 and ranges such as 9000-9010, separated by commas")
    return PortRange(int(ends[0]), int(ends[1]))


def _networks(text: str) -> Networks:
    try:
        return tuple(ip_network(item, strict=False) for item in _items(text))
    except ValueError:
        raise ValueError("must be networks such as 10.0.0.0/8 or fd00::/8, separated by commas") from None


def _log_level(text: str) -> str:
    if text not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return text


def _concurrency(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= 128):
        raise ValueError("must be a number of threads from 1 to 128")
    return int(text)


def _cpu(text: str) -> str:
    if quantity(text) < 0.001:
        raise ValueError("must be at least 1m, a thousandth of a core")
    return text.strip()


def _memory(text: str) -> str:
    if quantity(text) < MEMORY_LEAST:
        raise ValueError("must be at least 1Mi; a sidecar without traffic takes about 75M")
    return text.strip()
