"""The xDS server: gRPC streams in, bytes out. Who may connect, for how long, and what they share.

Rule: nothing is encoded or decoded here, and no stream waits for another. A stream's identity comes from its token, and
its node must be a pod of that identity; all else is refused with a reason.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import grpc
import grpc.aio
import structlog

from xds.admission import Admission, AdmissionSettings, Place
from xds.cache import Cache
from xds.peer import Authenticator, Peer, Refused, Unknown
from xds.refusals import Refusals, address_of
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET
from xds.session import Commons, Ending, Session
from xds.snapshot import SecretSource
from xds.status import Counters, ProxyStatus, State, TypeStatus
from xds.wire import ProtocolFault

__all__ = ["Certificate", "Counters", "ProxyStatus", "ServerSettings", "State", "TypeStatus", "XdsServer"]

log = structlog.get_logger(__name__)

SERVICES: Final[Mapping[str, Mapping[str, tuple[bool, str]]]] = {
    "envoy.service.discovery.v3.AggregatedDiscoveryService": {
        "DeltaAggregatedResources": (True, ""),
        "StreamAggregatedResources": (False, ""),
    },
    "envoy.service.cluster.v3.ClusterDiscoveryService": {
        "DeltaClusters": (True, CLUSTER),
        "StreamClusters": (False, CLUSTER),
    },
    "envoy.service.endpoint.v3.EndpointDiscoveryService": {
        "DeltaEndpoints": (True, ENDPOINTS),
        "StreamEndpoints": (False, ENDPOINTS),
    },
    "envoy.service.listener.v3.ListenerDiscoveryService": {
        "DeltaListeners": (True, LISTENER),
        "StreamListeners": (False, LISTENER),
    },
    "envoy.service.route.v3.RouteDiscoveryService": {
        "DeltaRoutes": (True, ROUTES),
        "StreamRoutes": (False, ROUTES),
    },
    "envoy.service.extension.v3.ExtensionConfigDiscoveryService": {
        "DeltaExtensionConfigs": (True, EXTENSION),
        "StreamExtensionConfigs": (False, EXTENSION),
    },
    "envoy.service.secret.v3.SecretDiscoveryService": {
        "DeltaSecrets": (True, SECRET),
        "StreamSecrets": (False, SECRET),
    },
}
"""gRPC service → method → whether it is incremental, and the one type it serves (empty: all of them)."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The server's own: a PEM chain, leaf first, and its PEM key."""

    chain: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"Certificate({len(self.chain)} bytes of chain)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where and how to serve.

    `certificate` is asked at every handshake, from a thread of gRPC's, so a renewed one needs no restart; without one
    the server speaks plaintext, which only tests should. A port of 0 picks a free one.
    """

    address: str = "127.0.0.1"
    port: int = 0
    certificate: Callable[[], Certificate] | None = None
    first_request: timedelta = timedelta(seconds=15)
    """How long a new stream may say nothing."""
    expiry_grace: timedelta = timedelta(seconds=60)
    """A stream ends at a random moment of this span after its token's expiry."""
    max_connection_age: timedelta | None = timedelta(hours=10)
    """Connections end after this (gRPC adds ±10 %), so that replicas share the load again (rule R76)."""
    max_connection_grace: timedelta = timedelta(minutes=2)
    ping_interval: timedelta = timedelta(seconds=30)
    ping_timeout: timedelta = timedelta(seconds=10)
    receive_limit: int = 32 * 1024 * 1024
    """Bytes of one request. A node alone has 61 KB, a thousand names 58 KB (rule R78)."""
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    """How many new streams get their configuration at once (rule R77)."""


class TurnedAway(ProtocolFault):
    """Not even looked at, since its address was refused too often. It is counted, and not logged each time."""


class XdsServer:
    """ADS and the services of single types, incremental and state of the world."""

    def __init__(
        self, cache: Cache, secrets: SecretSource, authenticator: Authenticator, settings: ServerSettings
    ) -> None:
        self._commons = Commons(cache, secrets)
        self._authenticator = authenticator
        self._settings = settings
        self._server: grpc.aio.Server | None = None
        self._port = 0
        self._sessions: set[Session] = set()
        self._admission = Admission(settings.admission)
        self.refusals = Refusals()
        """Tokens that were refused, by reason and by where they came from."""

    @property
    def port(self) -> int:
        """The bound port."""
        return self._port

    @property
    def counters(self) -> Counters:
        """What was sent, refused and rejected so far."""
        return self._commons.counters

    @property
    def assembled(self) -> int:
        """How many responses were put together so far; each goes to every stream that needs the same."""
        return self._commons.assembler.assembled

    @property
    def admission(self) -> Admission:
        """Who had to wait because many came at once."""
        return self._admission

    def proxies(self) -> list[ProxyStatus]:
        """One for each stream, by node."""
        return sorted((session.status() for session in self._sessions), key=lambda status: status.node)

    async def start(self) -> None:
        """Bind and serve. Raises RuntimeError where the address can't be bound."""
        self._server = grpc.aio.server(options=_options(self._settings))
        self._server.add_generic_rpc_handlers(tuple(
            grpc.method_handlers_generic_handler(service, {name: self._method(*kind) for name, kind in methods.items()})
            for service, methods in SERVICES.items()
        ))  # fmt: skip
        where = f"{self._settings.address}:{self._settings.port}"
        if self._settings.certificate is None:
            self._port = self._server.add_insecure_port(where)
        else:
            self._port = self._server.add_secure_port(where, _credentials(self._settings.certificate))
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """End all streams so that proxies go elsewhere, and wait for that at most `grace` seconds."""
        for session in self._sessions:
            session.end(Ending("UNAVAILABLE", "this control plane is shutting down"))
        if self._server is not None:
            await self._server.stop(grace)

    def _method(self, delta: bool, only_type: str) -> grpc.RpcMethodHandler:
        async def serve(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
            await self._serve(requests, context, delta, only_type)

        return grpc.stream_stream_rpc_method_handler(serve)

    async def _serve(
        self,
        requests: AsyncIterator[bytes],
        context: grpc.aio.ServicerContext[bytes, bytes],
        delta: bool,
        only_type: str,
    ) -> None:
        """One stream from its first byte to its last. All its tasks end with it."""
        try:
            peer = await self._authenticated(context)
            session = Session(self._commons, peer, self._commons.machine(delta, only_type))
            ending = await self._hold(session, peer, requests, context)
        except ProtocolFault as fault:
            self.counters.refused[fault.code] += 1
            if not isinstance(fault, TurnedAway):
                log.warning("stream refused", code=fault.code, reason=fault.text, peer=context.peer())
            ending = Ending(fault.code, fault.text)
        if ending is not None:
            await context.abort(grpc.StatusCode[ending.code], ending.text)

    async def _authenticated(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> Peer:
        """Who is there. Raises ProtocolFault."""
        if not self._commons.cache.ready:
            raise ProtocolFault("UNAVAILABLE", "this control plane has not read its configuration yet")
        bearer = next((str(value) for key, value in context.invocation_metadata() or () if key == "authorization"), "")
        scheme, _, token = bearer.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ProtocolFault("UNAUTHENTICATED", "no bearer token in the authorization metadata")
        address = address_of(context.peer())
        if wait := self.refusals.wait(address):
            raise TurnedAway("UNAVAILABLE", f"too many tokens from {address} were refused; wait {wait:.0f} s")
        try:
            return await self._authenticator.authenticate(token.strip())
        except Refused as refused:
            self.refusals.refused(address, str(refused))
            raise ProtocolFault("UNAUTHENTICATED", str(refused)) from None
        except Unknown as unknown:
            raise ProtocolFault("UNAVAILABLE", str(unknown)) from None

    async def _hold(
        self,
        session: Session,
        peer: Peer,
        requests: AsyncIterator[bytes],
        context: grpc.aio.ServicerContext[bytes, bytes],
    ) -> Ending | None:
        """Serve until one side ends it; the reason if it is ours. Raises ProtocolFault where it can't begin."""
        incoming = aiter(requests)
        try:
            first = await asyncio.wait_for(anext(incoming, None), self._settings.first_request.total_seconds())
        except TimeoutError:
            raise ProtocolFault("DEADLINE_EXCEEDED", "no first request") from None
        if first is None:
            return None
        try:
            await session.begin(first, self._lifetime(peer))
            self._sessions.add(session)
            self.counters.streams += 1
            log.info("proxy connected", node=session.node, identity=peer.identity.uri)
            reader = asyncio.create_task(_read(incoming, session))
            try:
                await _write(session, context.write, self._admission)
            finally:
                reader.cancel()
        finally:
            self._sessions.discard(session)
            session.close()
        return self._ended(session)

    def _ended(self, session: Session) -> Ending | None:
        ending = session.ending
        if ending is None or ending.code == "OK":
            return None
        self.counters.ended[ending.code] += 1
        log.info("stream ended", node=session.node, code=ending.code, reason=ending.text)
        return ending

    def _lifetime(self, peer: Peer) -> float:
        # Spread, so that streams opened with equal tokens do not all come back at once.
        grace = random.uniform(0, self._settings.expiry_grace.total_seconds())  # noqa: S311 - no secret
        return peer.expires - time.time() + grace


async def _read(requests: AsyncIterator[bytes], session: Session) -> None:
    try:
        async for data in requests:
            session.on_request(data)
    except Exception:
        # Our own failure costs this stream alone; the proxy keeps what it has and comes back.
        log.exception("request failed", node=session.node)
        session.end(Ending("INTERNAL", "this control plane failed on the request"))
    finally:
        session.end(Ending("OK", "the client has left"))


async def _write(session: Session, send: Callable[[bytes], Awaitable[Any]], admission: Admission) -> None:
    """Send what is due, one after the other: the transport's own window is what holds a slow stream back."""
    place: Place | None = None
    try:
        while True:
            await session.due.wait()
            if place is None and session.known:
                place = await admission.enter()
            session.due.clear()
            if session.ending is not None:
                return
            for response in session.pull():
                await send(response.data)
            if place is not None and place.held and session.brought_up():
                place.free()
    finally:
        if place is not None:
            place.free()


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    """Channel arguments of gRPC core, as grpc/impl/channel_arg_names.h spells them."""
    options = [
        ("grpc.max_receive_message_length", settings.receive_limit),
        ("grpc.max_send_message_length", -1),
        # Envoy pings as often as its bootstrap says; the default here would cut it off after two (rule R75).
        ("grpc.http2.min_ping_interval_without_data_ms", 1000),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", _milliseconds(settings.ping_interval)),
        ("grpc.keepalive_timeout_ms", _milliseconds(settings.ping_timeout)),
        ("grpc.so_reuseport", 0),
    ]
    if settings.max_connection_age is not None:
        options.append(("grpc.max_connection_age_ms", _milliseconds(settings.max_connection_age)))
        options.append(("grpc.max_connection_age_grace_ms", _milliseconds(settings.max_connection_grace)))
    return options


def _milliseconds(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)


def _credentials(certificate: Callable[[], Certificate]) -> grpc.ServerCredentials:
    """TLS that asks for the certificate at each handshake, and keeps the last one while it is unchanged."""
    current = certificate()

    def fetch() -> Any:
        nonlocal current
        latest = certificate()
        if latest == current:
            return None
        current = latest
        return _configuration(latest)

    return grpc.dynamic_ssl_server_credentials(_configuration(current), fetch)


def _configuration(certificate: Certificate) -> Any:
    return grpc.ssl_server_certificate_configuration([(certificate.key, certificate.chain)])
