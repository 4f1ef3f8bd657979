"""How requests are observed beyond what is counted: whether they can be watched, and where traces and logs are sent.

Rule: the operator's choice, the same for the whole mesh; with the defaults no resource has anything of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xds.collector import Collector, Traces


@dataclass(frozen=True, slots=True, kw_only=True)
class Observing:
    """`tap`: sidecars can be told to tell their requests; their bootstrap has the cluster for it (proxy.tapping).

    `logs` is where the access log is sent (OTLP over gRPC); None: to standard output. Without `traces` there are none.
    """

    tap: bool = False
    traces: Traces | None = None
    logs: Collector | None = None


UNOBSERVED: Final = Observing()
