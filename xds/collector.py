"""Where traces and logs are sent: an address of a collector, and what it speaks.

Rule: a value that a person writes as a URL; what can't be understood is a ValueError whose text that person reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit


class Exporter(StrEnum):
    """What a collector speaks, by the scheme of its URL."""

    OTLP = "otlp"
    """OpenTelemetry's protocol over gRPC."""
    OTLP_HTTP = "otlp-http"
    """The same over HTTP, as protobuf."""
    ZIPKIN = "zipkin"
    """Zipkin's version 2, JSON over HTTP."""


_PORTS: Final = {Exporter.OTLP: 4317, Exporter.OTLP_HTTP: 4318, Exporter.ZIPKIN: 9411}
_PATHS: Final = {Exporter.OTLP: "", Exporter.OTLP_HTTP: "/v1/traces", Exporter.ZIPKIN: "/api/v2/spans"}


@dataclass(frozen=True, slots=True)
class Collector:
    """A collector; `host` is a name or an address, IPv6 without brackets."""

    exporter: Exporter
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """Host and port as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Traces:
    """Where traces go, and which percentage of the requests that begin at a sidecar without a trace have one."""

    collector: Collector
    percent: float = 1.0


def collector(text: str) -> Collector:
    """`otlp://HOST[:PORT]`, `otlp-http://HOST[:PORT][/PATH]` or `zipkin://HOST[:PORT][/PATH]`. Raises ValueError."""
    url = urlsplit(text)
    try:
        exporter, port = Exporter(url.scheme), url.port
    except ValueError:
        exporter, port = None, None
    if exporter is None or not url.hostname or url.query or url.username:
        known = ", ".join(f"{each}://HOST:{_PORTS[each]}{_PATHS[each]}" for each in Exporter)
        raise ValueError(f"{text!r} is no collector; known are {known}")
    if exporter is Exporter.OTLP and url.path not in {"", "/"}:
        raise ValueError(f"{text!r}: OTLP over gRPC has no path")
    path = _PATHS[exporter] if url.path in {"", "/"} else url.path
    return Collector(exporter, url.hostname, port or _PORTS[exporter], path)


def is_address(host: str) -> bool:
    """Whether this is an IP address and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
