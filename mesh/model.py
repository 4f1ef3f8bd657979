"""The Mesh: what all objects mean together, as frozen values that compare by content.

Rule: nothing here knows which proxy asks. A Destination is the same for every caller, a Workload the same for all its
replicas; who sees what is `Mesh.scopes`. Words: see the glossary in docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from kube.problem import Problem
from mesh.settings import AccessLog, Egress, Mtls
from smi.kinds import EgressPort, HttpMatch


class Identity(NamedTuple):
    """A ServiceAccount of a trust domain (rule A2)."""

    # The ids here are tuples because every round looks up thousands of them: hashing a tuple runs no Python. They equal
    # any tuple of the same values, so no mapping has ids of two kinds as its keys.

    trust_domain: str
    namespace: str
    service_account: str

    @property
    def uri(self) -> str:
        """The SPIFFE ID, as it stands in the certificate's URI SAN (SPIFFE-ID §2)."""
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


class ServiceId(NamedTuple):
    """Names a Service."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class PortId(NamedTuple):
    """Names a port of a Service by number: the key of Destinations and of Backends."""

    service: ServiceId
    port: int

    def __str__(self) -> str:
        return f"{self.service}/{self.port}"


class PodId(NamedTuple):
    """Names a pod, and so its proxy."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Protocol(StrEnum):
    """What is spoken on a port (rule H2). HTTP covers 1.1, HTTP2 also gRPC; TCP is everything not looked into."""

    HTTP = "http"
    HTTP2 = "http2"
    TCP = "tcp"
    DETECT = "detect"

    @property
    def is_http(self) -> bool:
        """Whether requests are known to be HTTP without looking."""
        return self in {Protocol.HTTP, Protocol.HTTP2}


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address of a Backend. `identity` None: the pod is not meshed, it is spoken to in plaintext (rule H4)."""

    address: str
    port: int
    identity: Identity | None
    ready: bool = True
    pod: PodId | None = None


@dataclass(frozen=True, slots=True)
class Backend:
    """What changes slowly about a service port's endpoints; Endpoints themselves change fast and live apart.

    `identities` are those its meshed endpoints may present, sorted. `all_meshed`: nobody without a sidecar answers.
    `remote`: they are another mesh's.
    """

    id: PortId
    protocol: Protocol
    identities: tuple[Identity, ...]
    all_meshed: bool = False
    remote: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """A Backend and its weight among its neighbours. Weights are relative; a total of 0 never occurs (rule T3)."""

    backend: PortId
    weight: int


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests go that match any of `matches`; an empty tuple matches all.

    No shares: requests are answered 503 with `reason` as the body (rule T3). `origin` names the split or the service.
    """

    matches: tuple[HttpMatch, ...]
    shares: tuple[Share, ...]
    origin: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """A service port as a caller sees it.

    `addresses` are the Service's own (ClusterIPs; empty for headless). `routes` are tried in order, the last one
    matches all. On a TCP port, or for connections found not to be HTTP, only `tcp_shares` counts (rule T7).
    """

    id: PortId
    addresses: tuple[str, ...]
    protocol: Protocol
    routes: tuple[Route, ...]
    tcp_shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class PodDestination:
    """A meshed pod's port reached by the pod's own addresses: headless Services and direct calls (rule H5)."""

    pod: PodId
    addresses: tuple[str, ...]
    port: int
    identity: Identity


@dataclass(frozen=True, slots=True)
class HttpRule:
    """Callers that may send requests matching any of `matches` (empty: all). `origin` names the TrafficTarget."""

    origin: str
    identities: tuple[Identity, ...]
    matches: tuple[HttpMatch, ...]


@dataclass(frozen=True, slots=True)
class TcpRule:
    """Callers that may open connections that are not looked into."""

    origin: str
    identities: tuple[Identity, ...]


@dataclass(frozen=True, slots=True)
class InboundPort:
    """A port a workload listens on, with who may use it.

    `open` (rule A1, permissive namespace): everyone the transport lets in may call; the rules are empty then.
    Otherwise no rule means nobody. `http1`: requests reach the app as HTTP/1.1, gRPC aside, however they arrive here.
    """

    port: int
    protocol: Protocol
    mtls: Mtls
    open: bool
    http_rules: tuple[HttpRule, ...] = ()
    tcp_rules: tuple[TcpRule, ...] = ()
    http1: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """A role: what all proxies with the same identity, ports and modes have in common.

    `id` is stable text made of what distinguishes roles and stays the same when rules change.
    """

    id: str
    identity: Identity
    egress: Egress
    mtls: Mtls
    ports: tuple[InboundPort, ...]
    access_log: AccessLog = AccessLog.OFF


@dataclass(frozen=True, slots=True)
class Scope:
    """What the sidecars of one identity are told about (rule A16): never more than needed to give the right answers."""

    destinations: frozenset[PortId] = frozenset()
    pods: frozenset[PodId] = frozenset()
    backends: frozenset[PortId] = frozenset()
    """Backends of the destinations above, and so of their routes."""


@dataclass(frozen=True, slots=True)
class MeshedAddress:
    """An address and port of a meshed Service; refused by the caller's own sidecar unless in its Scope (rule A16)."""

    address: str
    port: int
    protocol: Protocol
    service: ServiceId


@dataclass(frozen=True, slots=True)
class EgressGrant:
    """That addresses outside the mesh may be called on `ports`, as `origin` (an EgressPolicy) says.

    With `hosts` only, by these names, at whatever address they have; with `cidrs` only, at these addresses; with both,
    both must hold (rules E4, E5). `requests` are the HTTP requests that may be sent, None: every one.
    """

    origin: str
    hosts: tuple[str, ...]
    cidrs: tuple[str, ...]
    ports: tuple[EgressPort, ...]
    requests: tuple[HttpMatch, ...] | None = None


@dataclass(frozen=True, slots=True)
class Mesh:
    """The whole."""

    destinations: Mapping[PortId, Destination] = field(default_factory=dict)
    backends: Mapping[PortId, Backend] = field(default_factory=dict)
    endpoints: Mapping[PortId, tuple[Endpoint, ...]] = field(default_factory=dict)
    pods: Mapping[PodId, tuple[PodDestination, ...]] = field(default_factory=dict)
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    proxies: Mapping[PodId, str] = field(default_factory=dict)
    """Every meshed pod and the id of its Workload."""
    scopes: Mapping[Identity, Scope] = field(default_factory=dict)
    """One for every identity that a Workload has."""
    meshed_addresses: tuple[MeshedAddress, ...] = ()
    egress: Mapping[Identity, tuple[EgressGrant, ...]] = field(default_factory=dict)
    """What each identity may call outside the mesh, where that is refused otherwise (rules H6, E1)."""
    problems: tuple[Problem, ...] = ()
