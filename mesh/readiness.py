"""Which backends of splits have nobody to take their share (rule T13).

Rule: endpoints change fast, so this looks at nothing but the ports it was told to watch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kube.problem import Problem, Severity
from mesh.model import Endpoint, PortId
from mesh.routes import Watch


def unready(watches: Iterable[Watch], endpoints: Mapping[PortId, tuple[Endpoint, ...]]) -> list[Problem]:
    """A warning for each backend that has weight and a port without ready endpoints."""
    problems = []
    for watch in watches:
        empty = ", ".join(str(port.port) for port in watch.ports if not endpoints.get(port))
        if empty:
            message = (
                f"Service {watch.backend.service} has no ready endpoint on port {empty}; "
                f"its share of the requests, weight {watch.backend.weight}, is answered 503."
            )
            field = f"spec.backends[{watch.backend.index}].service"
            problems.append(watch.split.problem(field, message, "T13", Severity.WARNING))
    return problems
