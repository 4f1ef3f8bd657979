"""Control planes beside each other on one API server, a Service before them, and proxies that move between them.

Rule: a proxy here is the protocol's client (`xds_client`) over gRPC and TLS; what it was sent after a move is for
the test to judge.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import grpc.aio

from ca.settling import DEFAULT_LIFETIMES, Lifetimes
from cluster_world import create
from controlplane.kubernetes import control_plane
from controlplane.plane import ControlPlane
from controlplane.settings import KubernetesSettings
from kube.client import Client
from kube.enrolment import INJECTED
from mesh.settings import Access, MeshSettings
from xds import pb
from xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET
from xds_client import ModelClient

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
PATIENCE = 20.0


async def until(holds: Callable[[], Any], what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"waited in vain until {what}"
        await asyncio.sleep(0.01)


async def make_meshed_pod(client: Client, namespace: str, name: str, address: str) -> str:
    """A running pod with a sidecar, of a ServiceAccount and behind a Service of its name; the pod's uid."""
    labels = {"app": name}
    await create(client, {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    })  # fmt: skip
    await create(client, {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": f"{name}-1", "namespace": namespace, "labels": labels, "annotations": {INJECTED: "true"}},
        "spec": {
            "serviceAccountName": name,
            "containers": [{"name": "app", "image": "app", "ports": [{"containerPort": 8080}]}],
        },
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    })  # fmt: skip
    found = await client.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}-1")
    return str(found["metadata"]["uid"])


class Replica:
    """One control plane process, as a task."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(plane.run(self.stop))

    @classmethod
    async def start(
        cls,
        client: Client,
        namespace: str,
        instance: str,
        admin_socket: Path | None = None,
        lifetimes: Lifetimes = DEFAULT_LIFETIMES,
    ) -> Replica:
        """A replica that serves, with everything permitted so that proxies have much to be told."""
        settings = KubernetesSettings(
            namespace=namespace, instance=instance, xds_address="127.0.0.1", xds_port=0, admin_port=0,
            admin_socket=admin_socket, lifetimes=lifetimes,
            mesh=MeshSettings(access=Access.PERMISSIVE),
        )  # fmt: skip
        replica = cls(await control_plane(settings, client))
        await until(lambda: replica.plane.server.port or replica.task.done(), "it serves")
        return replica

    @property
    def leading(self) -> bool:
        """Whether it holds the lease."""
        status = self.plane.status.cluster
        return status is not None and bool(status.view()["leading"])

    async def end(self) -> None:
        """As SIGTERM does."""
        self.stop.set()
        await asyncio.wait_for(self.task, PATIENCE)


class Proxy:
    """A sidecar's side of ADS: subscribes as Envoy does, takes what it is sent, and keeps it when the stream ends."""

    def __init__(self, node: str, token: str, root: bytes) -> None:
        self.model = ModelClient(delta=True)
        self.resent: list[tuple[str, str]] = []
        """What came on the newest stream, by type and name."""
        self._node = node
        self._token = token
        self._root = root
        self._task: asyncio.Task[None] | None = None
        self.ending: tuple[grpc.StatusCode, str] | None = None

    def connect(self, port: int) -> None:
        """Begin a stream there."""
        self.resent = []
        self.ending = None
        if self.model.subscriptions:
            self.model.reconnect()
        else:
            self.model.subscribe(CLUSTER, wildcard=True)
            self.model.subscribe(LISTENER, wildcard=True)
            self.model.subscribe(SECRET, "leaf", "bundle")
        self._task = asyncio.create_task(self._run(port))

    async def close(self) -> None:
        """End the stream, if it has not ended."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self, port: int) -> None:
        credentials = grpc.ssl_channel_credentials(self._root)
        options = [("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
            metadata = (("authorization", f"Bearer {self._token}"),)
            call = channel.stream_stream(ADS)(metadata=metadata)
            try:
                await self._say(call, first=True)
                while (data := await call.read()) is not grpc.aio.EOF:
                    got = self.model.receive(data)
                    self.resent += [(got.type_url, name) for name in got.resources]
                    self._follow(got.type_url)
                    await self._say(call)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                pass
            self.ending = (await call.code(), await call.details())

    def _follow(self, type_url: str) -> None:
        """Ask for the endpoints of clusters, as Envoy does."""
        held = set(self.model.holds.get(type_url, {}))
        if type_url == CLUSTER:
            known = self.model.subscriptions.get(ENDPOINTS)
            if news := held - (known.names if known else set()):
                self.model.subscribe(ENDPOINTS, *sorted(news))
        if type_url == LISTENER:
            names = {name for name in held if name.startswith("outbound/")}
            known = self.model.subscriptions.get(ROUTES)
            if news := names - (known.names if known else set()):
                self.model.subscribe(ROUTES, *sorted(news))

    async def _say(self, call: Any, *, first: bool = False) -> None:
        for waiting in self.model.outbox.values():
            while waiting:
                request = pb.DeltaDiscoveryRequest.FromString(waiting.popleft())
                if first:
                    request.node.id, first = self._node, False
                await call.write(request.SerializeToString())


class Service:
    """What the Service `weft` is in a cluster: it leads new connections to a replica that says it is ready."""

    def __init__(self, path: Path) -> None:
        self.replicas: list[Replica] = []
        self.path = path
        self._server: asyncio.AbstractServer | None = None
        self._flows: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._accept, self.path)
        await asyncio.to_thread(self.path.chmod, 0o666)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for flow in self._flows:
            flow.cancel()
        await asyncio.gather(*self._flows, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ready = [replica for replica in self.replicas if replica.plane.status.ready]
        if not ready:
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", ready[0].plane.server.port)
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            flow = asyncio.create_task(_pour(source, sink))
            self._flows.add(flow)
            flow.add_done_callback(self._flows.discard)


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.close()
