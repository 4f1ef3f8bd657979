"""The xDS server: which methods there are, who holds what all streams share, and what people are told about them.

Rule: nothing is encoded or decoded here, and no stream waits for another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from xds.admission import Admission, AdmissionSettings
from xds.cache import Cache
from xds.conversation import Conversation, Patience, Reception
from xds.peer import Authenticator, Peer
from xds.refusals import Refusals
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET
from xds.session import Commons, Ending
from xds.snapshot import SecretSource
from xds.status import Counters, ProxyStatus, State, TypeStatus
from xds.tapping import METHOD as ACCESS_LOGS
from xds.tapping import Taps
from xds.transport.call import Call, Certificate, Opener, Receiver, Transport, TransportSettings
from xds.transport.grpc_aio import GrpcAio
from xds.transport.listener import Listener

__all__ = [
    "Certificate",
    "Counters",
    "ProxyStatus",
    "ServerSettings",
    "State",
    "TransportKind",
    "TypeStatus",
    "XdsServer",
]

METHODS: Final[Mapping[str, tuple[str, str]]] = {
    "envoy.service.discovery.v3.AggregatedDiscoveryService": ("AggregatedResources", ""),
    "envoy.service.cluster.v3.ClusterDiscoveryService": ("Clusters", CLUSTER),
    "envoy.service.endpoint.v3.EndpointDiscoveryService": ("Endpoints", ENDPOINTS),
    "envoy.service.listener.v3.ListenerDiscoveryService": ("Listeners", LISTENER),
    "envoy.service.route.v3.RouteDiscoveryService": ("Routes", ROUTES),
    "envoy.service.extension.v3.ExtensionConfigDiscoveryService": ("ExtensionConfigs", EXTENSION),
    "envoy.service.secret.v3.SecretDiscoveryService": ("Secrets", SECRET),
}
"""gRPC service → how its methods end (after `Delta` or `Stream`), and the one type it serves (empty: all of them)."""

PATHS: Final[Mapping[str, tuple[bool, str]]] = {
    f"/{service}/{prefix}{name}": (prefix == "Delta", only_type)
    for service, (name, only_type) in METHODS.items()
    for prefix in ("Delta", "Stream")
}
"""Path → whether it is incremental, and the one type it serves."""


class TransportKind(StrEnum):
    """What carries the streams; both speak the same gRPC to clients."""

    OWN = "own"
    """HTTP/2 of our own on the event loop (docs/decisions/0054)."""
    GRPC = "grpc"
    """grpcio: costs more, and is there for whoever meets a client the other one does not get along with."""


TRANSPORTS: Final[Mapping[TransportKind, Callable[[TransportSettings, Opener], Transport]]] = {
    TransportKind.OWN: Listener,
    TransportKind.GRPC: GrpcAio,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings(TransportSettings):
    """Where and how to serve."""

    transport: TransportKind = TransportKind.OWN
    first_request: timedelta = timedelta(seconds=15)
    """How long a new stream may say nothing."""
    expiry_grace: timedelta = timedelta(seconds=60)
    """A stream ends at a random moment of this span after its token's expiry."""
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    """How many new streams get their configuration at once (rule R77)."""


@dataclass(frozen=True, slots=True)
class Holders:
    """Connected proxies by what they have of a type: all of it, not yet, or nothing, since no World has their pod."""

    holding: set[str] = field(default_factory=set)
    lacking: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)


class XdsServer:
    """ADS and the services of single types, incremental and state of the world."""

    def __init__(
        self, cache: Cache, secrets: SecretSource, authenticator: Authenticator, settings: ServerSettings
    ) -> None:
        self._reception = Reception(
            Commons(cache, secrets),
            authenticator,
            Admission(settings.admission),
            Patience(first_request=settings.first_request, expiry_grace=settings.expiry_grace),
        )
        self.taps = Taps(self._reception.commons.switches, self._reception.authenticated)
        """Who watches requests (`weft tap`)."""
        self._others: Mapping[str, Callable[[Call], Receiver | None]] = {ACCESS_LOGS: self.taps.open}
        self._transport = TRANSPORTS[settings.transport](settings, self._open)

    @property
    def port(self) -> int:
        """The bound port."""
        return self._transport.port

    @property
    def counters(self) -> Counters:
        """What was sent, refused and rejected so far."""
        return self._reception.commons.counters

    @property
    def refusals(self) -> Refusals:
        """Tokens that were refused, by reason and by where they came from."""
        return self._reception.refusals

    @property
    def assembled(self) -> int:
        """How many responses were put together so far; each goes to every stream that needs the same."""
        return self._reception.commons.assembler.assembled

    @property
    def admission(self) -> Admission:
        """Who had to wait because many came at once."""
        return self._reception.admission

    def proxies(self) -> list[ProxyStatus]:
        """One for each stream, by node."""
        sessions = self._reception.commons.sessions
        return sorted((session.status() for session in sessions), key=lambda status: status.node)

    def end_streams(self, over: Callable[[Peer], bool], ending: Ending) -> int:
        """End the streams of these peers; how many."""
        found = [each for each in self._reception.commons.sessions if each.ending is None and over(each.peer)]
        for session in found:
            session.end(ending)
        return len(found)

    def peers(self) -> list[Peer]:
        """Whose streams there are, one for each."""
        return [session.peer for session in self._reception.commons.sessions]

    def holders(self, *type_urls: str) -> Holders:
        """Who holds all there is of these types right now, by node id."""
        found = Holders()
        for session in self._reception.commons.sessions:
            if not session.known:
                found.unknown.add(session.node)
            elif all(map(session.holds_all, type_urls)):
                found.holding.add(session.node)
            else:
                found.lacking.add(session.node)
        return found

    async def start(self) -> None:
        """Bind and serve. Raises OSError or RuntimeError where the address can't be bound."""
        await self._transport.start()

    async def stop(self, grace: float) -> None:
        """End all streams so that proxies go elsewhere, and wait for that at most `grace` seconds."""
        for session in [*self._reception.commons.sessions]:
            session.end(Ending("UNAVAILABLE", "this control plane is shutting down"))
        await self._transport.stop(grace)

    def _open(self, path: str, call: Call) -> Receiver | None:
        method = PATHS.get(path)
        if method is None:
            other = self._others.get(path)
            return other(call) if other is not None else None
        delta, only_type = method
        return Conversation(self._reception, call, delta=delta, only_type=only_type)
