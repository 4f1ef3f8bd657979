"""What changes slowly about a Service's endpoints: which identities answer there.

Rule: identities come from the pods a Service selects, ready or not, so that readiness and scaling change no Backend.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.model import Backend, Identity
from mesh.services import MeshService


@dataclass(frozen=True, slots=True)
class Answering:
    """A Service, the identities of the pods it selects, and those found among its endpoints."""

    service: MeshService
    selected: tuple[Identity, ...]
    present: tuple[Identity, ...]


@dataclass(frozen=True, slots=True)
class ServiceBackends:
    """The Backends of a Service, one per port. A Service is meshed when some identity answers there."""

    service: MeshService
    identities: tuple[Identity, ...]
    backends: tuple[Backend, ...]


def asked(service: MeshService, selected: tuple[Identity, ...] | None, present: tuple[Identity, ...]) -> Answering:
    """What decides who answers for a Service; None where it selects no pods."""
    return Answering(service, selected or (), present)


def answer(given: Answering) -> ServiceBackends:
    """The Backends of every port of a Service."""
    identities = tuple(sorted({*given.selected, *given.present}))
    backends = tuple(Backend(port.id, port.protocol, identities) for port in given.service.ports)
    return ServiceBackends(given.service, identities, backends)
