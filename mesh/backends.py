"""What changes slowly about a Service's endpoints: which identities answer there, and whether all have a sidecar.

Rule: both come from the pods a Service selects, ready or not, so that readiness and scaling change no Backend.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.model import Backend, Identity
from mesh.services import MeshService
from mesh.workloads import Members


@dataclass(frozen=True, slots=True)
class Answering:
    """A Service, the pods it selects (None: it has no selector, or they are not known), and those at its endpoints."""

    service: MeshService
    selected: Members | None
    present: Members


@dataclass(frozen=True, slots=True)
class ServiceBackends:
    """The Backends of a Service, one per port. A Service is meshed when some identity answers there."""

    service: MeshService
    identities: tuple[Identity, ...]
    backends: tuple[Backend, ...]


def asked(service: MeshService, selected: Members | None, present: Members) -> Answering:
    """What decides who answers for a Service."""
    return Answering(service, selected, present)


def answer(given: Answering) -> ServiceBackends:
    """The Backends of every port of a Service."""
    selected = given.selected or Members()
    identities = tuple(sorted({*selected.identities, *given.present.identities}))
    # Of a Service without selector the EndpointSlices decide, which change fast and tell nothing of ports.
    all_meshed = given.selected is not None and bool(identities) and not (selected.plain or given.present.plain)
    backends = tuple(
        Backend(port.id, port.protocol, identities, all_meshed, given.service.remote is not None)
        for port in given.service.ports
    )
    return ServiceBackends(given.service, identities, backends)
