"""The node's agent: keeps the pods that an API server binds to this node, until it is stopped.

Rule: the API server decides what should run, this node says how it is. Every part is made here and passed by argument.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from kube.client import ApiError, ApiUnavailable, Client, ClientSettings
from kube.clock import SYSTEM_CLOCK, Clock
from kube.collection import Key
from kube.events import EventWriter
from kube.objects import RawDocument
from local.control_plane import ControlPlaneProcess
from local.folders import replace_file
from local.host import Host
from local.kubelet.binding import bind_all
from local.kubelet.credentials import RequestedTokens
from local.kubelet.following import Followed, Upstream
from local.kubelet.kept import KeptPod, Site
from local.kubelet.registration import Registration, registered
from local.kubelet.world import World
from local.lives import Lives
from local.pod import RETRY, PodLife
from local.process import many_users, reap_orphans
from local.relay import Handler, relay
from local.sandbox import open_bridge
from local.settings import ClusterSettings, Event
from local.state import NODE
from local.visibility import Reopened, needed, reopen

PODS = "/api/v1/pods"

CONTROLLER = "weft.dev/node"
"""In whose name the node writes Events."""

CONTROL_PLANE_PATIENCE = 10.0
"""Seconds that pods wait for the control plane at most; in a cluster it first takes the Lease and makes its CA."""

WITHDRAWAL = 3.0
"""Seconds that the API server may take, at the end, to hear that nothing runs here any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Which API server, and who we are to it.

    `kubeconfig` names a server on 127.0.0.1 at `port`, which bytes reach through the Unix socket `socket`. `bind`:
    pods without a node are bound to this one.
    """

    cluster: ClusterSettings
    kubeconfig: Path
    port: int
    socket: Path
    name: str = "weft"
    bind: bool = True
    clock: Clock = field(default=SYSTEM_CLOCK)


class Agent:
    """One node of a cluster. `run` once, inside a node's namespaces (`local.node.enter`)."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._cluster = settings.cluster
        self._changed = asyncio.Event()
        self._unbound_changed = asyncio.Event()
        self._kept: dict[str, KeptPod] = {}
        self._control_plane = ControlPlaneProcess(self._cluster, self._changed.set)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then end the pods. They stay in the API server, and a later run takes them up again.

        Raises SandboxError when the node can't be set up, NodeTakenError when its name is taken, and kube.client's
        errors when the API server refuses.
        """
        os.umask(0o022)
        cluster = self._cluster
        await open_bridge(cluster.pod_network)
        reopened = await reopen(needed(cluster.paths), cluster.state / "reopened") if many_users() else {}
        # Bytes to the API server leave the node through a file.
        async with relay(self._listen, lambda: asyncio.open_unix_connection(self._settings.socket)):
            client = await Client.open(ClientSettings(self._settings.kubeconfig))
            try:
                await self._run(client, reopened, stop)
            finally:
                await client.close()

    async def _listen(self, handler: Handler) -> asyncio.Server:
        return await asyncio.start_server(handler, "127.0.0.1", self._settings.port)

    async def _run(self, client: Client, reopened: Reopened, stop: asyncio.Event) -> None:
        settings, cluster = self._settings, self._cluster
        upstream = Upstream(client, settings.clock, self._told)
        world = World(upstream, cluster, self._values_changed, self._changed.set)
        tokens = RequestedTokens(client, settings.clock)
        host = Host(
            cluster, many_users(), reopened, tokens, world.values, self._changed.set, settings.name, settings.clock
        )
        node = Registration(client, settings.clock, settings.name, cluster)
        async with asyncio.TaskGroup() as tasks:
            self._lives = Lives(host, tasks)
            self._site = Site(
                client, settings.clock, self._lives, host.address, cluster.paths[0], self._naming(world),
                cluster.observe, EventWriter(client, settings.name, CONTROLLER),
            )  # fmt: skip
            owned = [
                tasks.create_task(reap_orphans(), name="orphans"),
                tasks.create_task(self._control_plane.run(), name="control plane"),
                tasks.create_task(world.run(), name="world"),
                tasks.create_task(self._publish(world), name="publish"),
                tasks.create_task(self._keep_pods(upstream, world, node, host), name="pods"),
            ]
            await stop.wait()
            for task in owned[3:]:
                task.cancel()
            await asyncio.gather(self._withdraw(node), self._lives.end())
            for task in owned:
                task.cancel()

    async def _keep_pods(self, upstream: Upstream, world: World, node: Registration, host: Host) -> None:
        """Register the node, then keep its pods."""
        await registered(node, self._told)
        self._cluster.observe(Event(f"Node {node.name}", "ready"))
        await world.whole()
        # Sidecars that find nobody would try again only after a while.
        await self._control_plane.answers(host.address, CONTROL_PLANE_PATIENCE)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(node.run(), name="heartbeat")
            bound: Followed[RawDocument] = Followed(
                upstream, PODS, _kept_part, lambda key: self._pod_changed(key, bound, tasks),
                selector=f"spec.nodeName={node.name}",
            )  # fmt: skip
            tasks.create_task(bound.run(), name="bound pods")
            if self._settings.bind:
                tasks.create_task(self._bind(upstream, node), name="binding")

    def _pod_changed(self, key: Key, bound: Followed[RawDocument], tasks: asyncio.TaskGroup) -> None:
        document = bound.get(key)
        uid = document["metadata"]["uid"] if document is not None else ""
        for kept in list(self._kept.values()):
            if (kept.key.namespace, kept.key.name) == key:
                kept.tell(document if kept.uid == uid else None)
        if document is not None and uid not in self._kept:
            kept = self._kept[uid] = KeptPod(document, self._site)
            tasks.create_task(self._keep(kept), name=f"pod {kept.key} of the API server")

    async def _keep(self, kept: KeptPod) -> None:
        """The one place where a failure of ours about a pod is caught: it is looked at anew, the others go on."""
        while True:
            try:
                await kept.run()
            except Exception as error:
                self._cluster.observe(Event(f"Pod {kept.key}", "failed", f"{type(error).__name__}: {error}"))
                await asyncio.sleep(RETRY)
            else:
                del self._kept[kept.uid]
                return

    async def _bind(self, upstream: Upstream, node: Registration) -> None:
        unbound: Followed[RawDocument] = Followed(
            upstream, PODS, _kept_part, lambda _key: self._unbound_changed.set(), selector="spec.nodeName="
        )
        observe = self._cluster.observe

        def tell(subject: str, what: str, text: str) -> None:
            observe(Event(subject, what, text))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(unbound.run(), name="pods without a node")
            while True:
                await self._unbound_changed.wait()
                self._unbound_changed.clear()
                again = await bind_all(upstream.client, list(unbound.values()), node.name, node.labels, tell)
                if again:
                    asyncio.get_running_loop().call_later(RETRY, self._unbound_changed.set)

    async def _publish(self, world: World) -> None:
        """Tell everybody whenever something has changed: pods their names, kept pods to look, people who runs where."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            named = self._naming(world)
            try:
                for pod in self._lives:
                    named(pod)
                replace_file(self._cluster.state / NODE, msgspec.json.encode(self._described()), 0o600)
            except OSError as error:
                self._told("waiting", str(error))
                asyncio.get_running_loop().call_later(RETRY, self._changed.set)
            for kept in self._kept.values():
                kept.wake()

    def _described(self) -> dict[str, Any]:
        refused = [f"Pod {kept.key}: {kept.refusal}" for kept in self._kept.values() if kept.refusal]
        return {"pods": self._lives.describe(), "control_plane": self._control_plane.pid, "problems": refused}

    @staticmethod
    def _naming(world: World) -> Callable[[PodLife], None]:
        def named(pod: PodLife) -> None:
            pod.folder.write_names(world.hosts(pod.plan.key.namespace, pod.address, pod.plan.key.name))

        return named

    def _values_changed(self, namespace: str) -> None:
        for pod in self._lives:
            if pod.plan.key.namespace == namespace:
                pod.folder.sources_changed()

    async def _withdraw(self, node: Registration) -> None:
        """As far as there is time: pods that are no longer ready first, then the node."""
        with contextlib.suppress(TimeoutError, ApiError, ApiUnavailable):
            async with asyncio.timeout(WITHDRAWAL):
                await asyncio.gather(*(kept.withdraw() for kept in self._kept.values()), return_exceptions=True)
                await node.withdraw()

    def _told(self, what: str, text: str) -> None:
        self._cluster.observe(Event("API server", what, text))


def _kept_part(document: RawDocument) -> RawDocument:
    """A pod without what nobody reads here."""
    document["metadata"].pop("managedFields", None)
    return {"apiVersion": "v1", "kind": "Pod", **document}
