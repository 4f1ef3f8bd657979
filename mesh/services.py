"""Services as the mesh sees them: addresses, TCP ports, what each speaks, and which pods they select.

Rule: one Service object alone decides all of it, and what Envoy would refuse is set aside here with a Problem (F6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address

from kube.objects import Service
from kube.problem import Problem, Ref
from mesh.exports import UNSAID, Written, read_exports
from mesh.federated import remote_identity
from mesh.model import Identity, MeshedAddress, PortId, Protocol, ServiceId
from mesh.protocols import service_protocol


@dataclass(frozen=True, slots=True)
class MeshPort:
    """A TCP port of a Service. `target` is a container port's number or name; `index` is its place in the object."""

    id: PortId
    name: str
    protocol: Protocol
    target: int | str
    index: int


@dataclass(frozen=True, slots=True)
class MeshService:
    """A Service that can be a destination. `addresses` is empty for headless ones, `ports` for ExternalName ones.

    `selector` is sorted; empty means that no pod is selected and only EndpointSlices tell. `remote` is who answers
    there, where that is somebody of another mesh.
    """

    id: ServiceId
    external: bool
    addresses: tuple[str, ...]
    ports: tuple[MeshPort, ...]
    selector: tuple[tuple[str, str], ...]
    publish_not_ready: bool
    export_to: Written = UNSAID
    remote: Identity | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def headless(self) -> bool:
        """Whether its name leads to the addresses of its pods."""
        return not self.external and not self.addresses

    @property
    def ref(self) -> Ref:
        """How Problems name this Service."""
        return Ref("Service", self.id.namespace, self.id.name)

    def port(self, number: int) -> PortId | None:
        """The port of this number, if there is one."""
        return next((port.id for port in self.ports if port.id.port == number), None)


def read_service(service: Service) -> MeshService:
    """What a Service object says. UDP and SCTP ports are left out: they are not proxied."""
    spec = service.spec
    own = ServiceId(service.namespace, service.name)
    external = spec.type == "ExternalName"
    addresses, bad_addresses = _addresses(service)
    ports, bad_ports = _ports(own, service)
    export_to = read_exports(service.ref, service.namespace, service.metadata.annotations)
    remote, bad_remote = remote_identity(service)
    return MeshService(
        id=own,
        external=external,
        addresses=() if external else addresses,
        ports=() if external else ports,
        selector=tuple(sorted(spec.selector.items())),
        publish_not_ready=spec.publish_not_ready_addresses,
        export_to=export_to,
        remote=remote,
        problems=(*bad_addresses, *bad_ports, *export_to.problems, *bad_remote),
    )


def uncontested(services: Mapping[tuple[str, str], MeshService]) -> Mapping[tuple[str, str], MeshService]:
    """The same Services, but an address and port of two belongs to the first by name: Envoy takes it only once (F6)."""
    owners: dict[tuple[str, int], ServiceId] = {}
    return {key: _without(service, _contested(service, owners)) for key, service in services.items()}


def meshed_addresses(services: Iterable[MeshService]) -> tuple[MeshedAddress, ...]:
    """Every address and port of these Services, sorted (rule A16)."""
    found = [
        MeshedAddress(address, port.id.port, port.protocol, service.id)
        for service in services
        for address in service.addresses
        for port in service.ports
    ]
    return tuple(sorted(found, key=lambda item: (item.address, item.port, item.service)))


def is_address(text: str) -> bool:
    """Whether this is an IP address, which is all that Envoy takes for an endpoint or a listener."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _addresses(service: Service) -> tuple[tuple[str, ...], list[Problem]]:
    spec = service.spec
    written = [text for text in spec.cluster_ips or (spec.cluster_ip,) if text not in {"", "None"}]
    problems = [
        Problem(service.ref, "spec.clusterIPs", f"{text!r} is no IP address; it is left out.", "F6")
        for text in written
        if not is_address(text)
    ]
    return tuple(dict.fromkeys(text for text in written if is_address(text))), problems


def _contested(service: MeshService, owners: dict[tuple[str, int], ServiceId]) -> dict[str, ServiceId]:
    """The addresses of a Service that another one has with the same port. Notes down the Service as their owner."""
    contested = {}
    for address in service.addresses:
        for port in service.ports:
            owner = owners.setdefault((address, port.id.port), service.id)
            if owner != service.id:
                contested[address] = owner
    return contested


def _without(service: MeshService, contested: Mapping[str, ServiceId]) -> MeshService:
    if not contested:
        return service
    problems = tuple(
        Problem(service.ref, "spec.clusterIPs", f"{address} belongs to Service {owner} already; it is left out.", "F6")
        for address, owner in contested.items()
    )
    addresses = tuple(address for address in service.addresses if address not in contested)
    return replace(service, addresses=addresses, problems=(*service.problems, *problems))


def _ports(service: ServiceId, written: Service) -> tuple[tuple[MeshPort, ...], list[Problem]]:
    ports: dict[int, MeshPort] = {}
    problems = []
    for index, port in enumerate(written.spec.ports):
        if port.protocol != "TCP":
            continue
        target = port.target_port or port.port
        wrong = [number for number in (port.port, target) if isinstance(number, int) and not 0 < number < 65536]
        if wrong:
            problems.append(_bad_port(written, index, f"{wrong[0]} is no port number; the port is left out."))
        elif port.port in ports:
            problems.append(_bad_port(written, index, f"Port {port.port} is there twice; only the first counts."))
        else:
            ports[port.port] = MeshPort(PortId(service, port.port), port.name, service_protocol(port), target, index)
    return tuple(ports.values()), problems


def _bad_port(service: Service, index: int, message: str) -> Problem:
    return Problem(service.ref, f"spec.ports[{index}]", message, "F6")
