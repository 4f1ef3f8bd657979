"""A control plane's xDS server in a test: real gRPC and TLS, with an authenticator and secrets made of values.

Rule: what is pushed is read from the server's own counters, what arrives from the other side.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import grpc.aio

from bootstrapped import certificate
from mesh.model import Identity, PodId
from xds import pb
from xds.cache import Cache
from xds.peer import Peer, Refused, Unknown
from xds.resource import SECRET, TYPES, Resource
from xds.server import Certificate, ServerSettings, XdsServer
from xds.snapshot import Named, Snapshot, World
from xds_client import IDENTITY, Got, read_delta, read_sotw, resource

POD = PodId("shop", "storefront-1")
NODE = "shop/storefront-1"
ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"


@dataclass
class Tokens:
    """Knows tokens by heart. An unknown one is refused without being repeated."""

    known: dict[str, Peer] = field(default_factory=dict)
    away: bool = False

    async def authenticate(self, token: str) -> Peer:
        if self.away:
            raise Unknown("nobody can check this token now")
        if token not in self.known:
            raise Refused("this token was not signed by us")
        return self.known[token]


@dataclass
class Secrets:
    """Gives every identity the same secrets and counts how often it is asked."""

    named: Mapping[str, Resource] = field(default_factory=lambda: {"leaf": resource(SECRET, "leaf")})
    asked: list[Identity] = field(default_factory=list)
    broken: bool = False
    pause: float = 0.0

    async def secrets(self, identity: Identity) -> Named:
        self.asked.append(identity)
        await asyncio.sleep(self.pause)
        if self.broken:
            raise OSError("the CA folder is gone")
        return self.named


def peer(identity: Identity = IDENTITY, pod: PodId | None = POD, seconds: float = 3600) -> Peer:
    return Peer(identity, pod, time.time() + seconds)


def world_of(*resources: Resource, identity: Identity = IDENTITY, pods: tuple[PodId, ...] = (POD,)) -> World:
    """One role for all these pods."""
    by_type = {url: {each.name: each for each in resources if each.type_url == url} for url in TYPES}
    return World({"role": Snapshot(identity, by_type)}, dict.fromkeys(pods, "role"))


class Lab:
    """A server with its cache; `restart` is a new process with the same configuration and port."""

    def __init__(self, **settings: Any) -> None:
        self.own = certificate()
        self.tokens = Tokens({"good": peer()})
        self.secrets = Secrets()
        self.cache = Cache()
        self.settings = {"certificate": lambda: Certificate(self.own.pem, self.own.key), **settings}
        self.server = self._made(0)

    def _made(self, port: int) -> XdsServer:
        return XdsServer(self.cache, self.secrets, self.tokens, ServerSettings(**{**self.settings, "port": port}))

    async def __aenter__(self) -> Self:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(0)

    async def restart(self, world: World) -> None:
        """Another control plane takes this one's place: nothing is known of the streams that were."""
        port = self.server.port
        await self.server.stop(0)
        self.cache = Cache()
        self.cache.publish(world)
        self.server = self._made(port)
        await self.server.start()

    @asynccontextmanager
    async def client(self, token: str = "good", method: str = "DeltaAggregatedResources") -> AsyncIterator[Client]:
        """A stream of a client that trusts the server's certificate of this moment."""
        credentials = grpc.ssl_channel_credentials(self.own.pem)
        target = f"127.0.0.1:{self.server.port}"
        options = [("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(target, credentials, options=options) as channel:
            path = method if method.startswith("/") else ADS + method
            metadata = (("authorization", f"Bearer {token}"),) if token else ()
            yield Client(channel.stream_stream(path)(metadata=metadata), "Delta" in path)


class Client:
    """A raw stream: says bytes, reads bytes."""

    def __init__(self, call: Any, delta: bool) -> None:
        self.call = call
        self.delta = delta

    async def say(self, type_url: str, *names: str, node: str = "", nonce: str = "") -> None:
        if self.delta:
            await self.call.write(pb.DeltaDiscoveryRequest(
                type_url=type_url, node={"id": node}, resource_names_subscribe=names, response_nonce=nonce
            ).SerializeToString())  # fmt: skip
        else:
            await self.call.write(pb.DiscoveryRequest(
                type_url=type_url, node={"id": node}, resource_names=names, response_nonce=nonce
            ).SerializeToString())  # fmt: skip

    async def read(self, seconds: float = 5) -> Got:
        """The next response, acknowledged."""
        data = await asyncio.wait_for(self.call.read(), seconds)
        assert data is not grpc.aio.EOF, await self.ending()
        got = read_delta(data) if self.delta else read_sotw(data)
        await self.say(got.type_url, nonce=got.nonce)
        return got

    async def silent(self, seconds: float = 0.2) -> bool:
        """Whether nothing comes for so long. The stream can't be read afterwards."""
        try:
            await asyncio.wait_for(self.call.read(), seconds)
        except TimeoutError:
            return True
        return False

    async def ending(self) -> tuple[grpc.StatusCode, str]:
        """How the stream ends."""
        code = await asyncio.wait_for(self.call.code(), 5)
        return code, await self.call.details()
