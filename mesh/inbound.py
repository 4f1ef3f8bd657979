"""The ports a workload listens on: what Services send to it and what its containers declare, with protocol and mTLS.

Rule: a port is named by the number the container listens on, which is the number traffic arrives on (rule V7).
Where declarations contradict each other the port is looked into, so that both kinds of rule hold on it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from kube.enrolment import SIDECAR_CONTAINERS, SIDECAR_PORTS
from kube.objects import ContainerPort, PodSpec
from kube.problem import Problem, Ref, Severity
from mesh.model import Protocol
from mesh.modes import PodModes
from mesh.protocols import named_protocol
from mesh.services import MeshPort, MeshService
from mesh.settings import Access, Mtls


@dataclass(frozen=True, slots=True)
class RolePort:
    """A port of a role, before any rule is looked at. `access` None: what the namespace says (rule A1).

    `http1`: somebody declares the port to speak HTTP/1.1.
    """

    number: int
    protocol: Protocol
    mtls: Mtls
    access: Access | None = None
    http1: bool = False


@dataclass(frozen=True, slots=True)
class _Use:
    """A port of a Service that leads to a container port."""

    service: MeshService
    port: MeshPort


def listens_on(spec: PodSpec) -> tuple[ContainerPort, ...]:
    """The TCP ports that the app's own containers declare."""
    return tuple(
        port
        for container in (*spec.init_containers, *spec.containers)
        if container.name not in SIDECAR_CONTAINERS
        for port in container.ports
        if port.protocol == "TCP" and 0 < port.container_port < 65536
    )


def taken_ports(pod: Ref, listening: Iterable[ContainerPort]) -> tuple[Problem, ...]:
    """What is wrong with an app that declares one of the sidecar's own ports."""
    taken = [port.container_port for port in listening if port.container_port in SIDECAR_PORTS]
    message = "Port {} is the sidecar's own, so the app can't listen on it; no traffic is let in there."
    return tuple(Problem(pod, "spec.containers", message.format(number), "ports") for number in taken)


def ports_of(
    listening: tuple[ContainerPort, ...], services: Iterable[MeshService], modes: PodModes
) -> tuple[tuple[RolePort, ...], list[Problem]]:
    """The ports of a pod that declares `listening` and is selected by `services`, sorted by number."""
    protocols = {port.container_port: named_protocol(port.name, port.container_port) for port in listening}
    protocols |= {number: named_protocol("", number) for number in modes.declared - protocols.keys()}
    http1 = {number for number, protocol in protocols.items() if protocol is Protocol.HTTP}
    problems = []
    for number, uses in sorted(_uses(listening, services).items()):
        spoken = {use.port.protocol for use in uses}
        if len(spoken) > 1:
            problems.append(_contradiction(number, uses))
        (http1.add if Protocol.HTTP in spoken else http1.discard)(number)
        protocols[number] = Protocol.DETECT if len(spoken) > 1 else spoken.pop()
    return tuple(
        RolePort(number, protocol, modes.mtls_of(number), modes.access_of(number), number in http1)
        for number, protocol in sorted(protocols.items())
        if number not in SIDECAR_PORTS
    ), problems


def _uses(listening: tuple[ContainerPort, ...], services: Iterable[MeshService]) -> dict[int, list[_Use]]:
    """The Service ports that lead to each container port. A name that no container declares leads nowhere."""
    numbers = {port.name: port.container_port for port in reversed(listening)}
    uses: dict[int, list[_Use]] = defaultdict(list)
    for service in services:
        for port in service.ports:
            number = port.target if isinstance(port.target, int) else numbers.get(port.target)
            if number is not None:
                uses[number].append(_Use(service, port))
    return uses


def _contradiction(number: int, uses: list[_Use]) -> Problem:
    last = max(uses, key=lambda use: use.port.id)
    said = ", ".join(f"{use.port.id} says {use.port.protocol}" for use in sorted(uses, key=lambda use: use.port.id))
    message = f"Container port {number} is declared with different protocols ({said}); connections are looked into."
    return Problem(last.service.ref, f"spec.ports[{last.port.index}]", message, "H2", Severity.WARNING)
