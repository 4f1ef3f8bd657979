"""The smallest delta ADS server a real Envoy is content with, so that translation is tried without `xds/server.py`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import grpc
import grpc.aio

from xds import pb
from xds.resource import CLUSTER, ENDPOINTS, LISTENER, TYPES, Resource

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
Contents = Mapping[str, Mapping[str, Resource]]


class Stream:
    """One Envoy: what it asked for, what it was sent, what it refused."""

    def __init__(self) -> None:
        self.wanted: dict[str, set[str]] = {}
        self.sent: dict[str, dict[str, str]] = {}
        self.changed = asyncio.Event()


class FakeAds:
    """`publish` says what a node should have; `pushed` and `rejected` tell what became of it."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "ads.sock"
        self.pushed: list[tuple[str, str, list[str], list[str]]] = []
        self.rejected: list[str] = []
        self._contents: dict[str, Contents] = {}
        self._streams: dict[str, Stream] = {}
        self._nonces = itertools.count(1)
        self._server = grpc.aio.server()

    async def __aenter__(self) -> FakeAds:
        handler = grpc.stream_stream_rpc_method_handler(self._serve)
        service, method = METHOD.lstrip("/").split("/")
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        self._server.add_insecure_port(f"unix:{self.socket}")
        await self._server.start()
        self.socket.chmod(0o777)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    def publish(self, node: str, contents: Contents) -> None:
        self._contents[node] = contents
        if stream := self._streams.get(node):
            stream.changed.set()

    async def _serve(self, requests: AsyncIterator[bytes], _context: object) -> AsyncIterator[bytes]:
        stream = Stream()
        first = pb.DeltaDiscoveryRequest.FromString(await anext(requests))
        node = first.node.id
        self._streams[node] = stream
        self._take(stream, first)
        reader = asyncio.create_task(self._read(stream, requests))
        try:
            while not reader.done():
                await stream.changed.wait()
                stream.changed.clear()
                for response in self._responses(node, stream):
                    yield response
        finally:
            reader.cancel()

    async def _read(self, stream: Stream, requests: AsyncIterator[bytes]) -> None:
        try:
            async for request in requests:
                self._take(stream, pb.DeltaDiscoveryRequest.FromString(request))
        finally:
            stream.changed.set()

    def _take(self, stream: Stream, request: pb.DeltaDiscoveryRequest) -> None:
        kind = request.type_url
        if request.HasField("error_detail"):
            self.rejected.append(request.error_detail.message)
        names = stream.wanted.setdefault(kind, set())
        if kind in {CLUSTER, LISTENER}:
            names.add("*")
        names.update(request.resource_names_subscribe)
        names.difference_update(request.resource_names_unsubscribe)
        for name in request.resource_names_subscribe:
            stream.sent.setdefault(kind, {}).pop(name, None)
        stream.changed.set()

    def _responses(self, node: str, stream: Stream) -> list[bytes]:
        made = []
        for kind in TYPES:
            if kind not in stream.wanted:
                continue
            names, sent = stream.wanted[kind], stream.sent.get(kind)
            have = {n: r for n, r in self._contents[node].get(kind, {}).items() if "*" in names or n in names}
            old = sent or {}
            new = [r for n, r in have.items() if old.get(n) != r.version]
            gone = [n for n in old if n not in have]
            if sent is not None and not new and not gone:
                continue
            stream.sent[kind] = {n: r.version for n, r in have.items()}
            if kind == CLUSTER:
                for resource in new:
                    stream.sent.get(ENDPOINTS, {}).pop(resource.name, None)
            self.pushed.append((node, kind, sorted(r.name for r in new), sorted(gone)))
            head = pb.DeltaDiscoveryResponse(type_url=kind, nonce=str(next(self._nonces)), removed_resources=gone)
            made.append(head.SerializeToString() + b"".join(r.entry for r in new))
        return made
