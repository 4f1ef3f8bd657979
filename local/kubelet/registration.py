"""The Node object of this machine, and the Lease by which a cluster knows that it lives.

Rule: a node of that name that is another's is left alone. Nothing of the machine is shown but what the kubelet shows.
Source: Kubernetes pages "Nodes" and "Leases"; API reference, core/v1 NodeStatus.
"""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kube.client import ApiError, ApiUnavailable, Client
from kube.clock import Clock
from local.addresses import PodAddresses
from local.kubelet.status import timestamp
from local.settings import ClusterSettings

VERSION: Final = "weft"
"""What stands where a node's kubelet has its version; nodes that say something else are not ours."""

MOST_PODS: Final = 110
"""Pods that the node says it takes: the kubelet's default."""

LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
RENEW: Final = 10.0
LEASE_SECONDS: Final = 40
HEARTBEAT: Final = 30
"""Renewals of the Lease between two writes of the status: five minutes, as the kubelet's."""

NOT_READY: Final = "node.kubernetes.io/not-ready"
"""A taint that the API server puts on new nodes, for a controller to take away that may not be there."""

STRATEGIC: Final = "application/strategic-merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"


class NodeTakenError(Exception):
    """There is a node of this name, and it is not ours; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A node by its name. `run` keeps it alive, `withdraw` says that it has gone."""

    client: Client
    clock: Clock
    name: str
    settings: ClusterSettings

    @property
    def labels(self) -> dict[str, str]:
        """What pods choose nodes by."""
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        return {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": machine}

    async def register(self) -> None:
        """Make the Node, or take it over where it is ours. Raises NodeTakenError, ApiError and ApiUnavailable."""
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": self.labels}}
        try:
            await self.client.request("POST", "/api/v1/nodes", body=body)
        except ApiError as error:
            if error.code != 409:
                raise
            found = await self.client.request("GET", self._path)
            version = ((found.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion") or VERSION
            if version != VERSION:
                raise NodeTakenError(
                    f"the cluster has a node named {self.name} that is not ours (its kubelet is {version}); "
                    "name this one with --node-name"
                ) from error
        await self._heartbeat(ready=True, since=self.clock.now())
        await self._untaint()

    async def run(self) -> None:
        """Renew until cancelled; an API server that is away is asked again."""
        for beat in _count():
            try:
                await self._renew()
                if beat % HEARTBEAT == 0:
                    await self._heartbeat(ready=True)
            except (ApiError, ApiUnavailable):
                pass  # the followers tell of it, and the next beat comes
            await self.clock.sleep(RENEW)

    async def withdraw(self) -> None:
        """Say that the node runs nothing any more. Raises ApiError and ApiUnavailable."""
        await self._heartbeat(ready=False, since=self.clock.now())

    @property
    def _path(self) -> str:
        return f"/api/v1/nodes/{self.name}"

    async def _heartbeat(self, *, ready: bool, since: datetime | None = None) -> None:
        """Write the status; `since` is when it became ready or ceased to be, unless that is known already."""
        condition = {
            "type": "Ready",
            "status": "True" if ready else "False",
            "reason": "WeftReady" if ready else "WeftEnded",
            "message": "weft up runs" if ready else "weft up has ended",
            "lastHeartbeatTime": timestamp(self.clock.now()),
            **({"lastTransitionTime": timestamp(since)} if since is not None else {}),
        }
        status = {
            "conditions": [condition],
            "addresses": [
                {"type": "InternalIP", "address": PodAddresses(self.settings.pod_network).gateway},
                {"type": "Hostname", "address": self.name},
            ],
            "capacity": _capacity(),
            "allocatable": _capacity(),
            "nodeInfo": _info(),
        }
        await self.client.request("PATCH", f"{self._path}/status", body={"status": status}, content_type=STRATEGIC)

    async def _untaint(self) -> None:
        found = await self.client.request("GET", self._path)
        taints = (found.get("spec") or {}).get("taints") or []
        kept = [each for each in taints if each.get("key") != NOT_READY]
        if kept != taints:
            steps = [
                {"op": "test", "path": "/spec/taints", "value": taints},
                {"op": "replace", "path": "/spec/taints", "value": kept},
            ]
            await self.client.request("PATCH", self._path, body=steps, content_type=JSON_PATCH)

    async def _renew(self) -> None:
        now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}
        try:
            await self.client.request(
                "PATCH", f"{LEASES}/{self.name}", body={"spec": spec}, content_type="application/merge-patch+json"
            )
        except ApiError as error:
            if error.code != 404:
                raise
            metadata = {"name": self.name, "namespace": "kube-node-lease"}
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            await self.client.request("POST", LEASES, body=body)


async def registered(registration: Registration, tell: Any) -> None:
    """Register as soon as the API server can be reached. Raises NodeTakenError and ApiError."""
    told = ""
    while True:
        try:
            await registration.register()
        except ApiUnavailable as error:
            if str(error) != told:
                told = str(error)
                tell("waiting", told)
            await asyncio.sleep(1)
        else:
            return


def _count() -> Iterator[int]:
    beat = 0
    while True:
        yield beat
        beat += 1


def _capacity() -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": str(os.cpu_count() or 1), "memory": f"{memory // 1024}Ki", "pods": str(MOST_PODS)}


def _info() -> dict[str, str]:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    unknown = dict.fromkeys(("machineID", "systemUUID", "bootID"), "")
    return {
        **unknown,
        "kernelVersion": platform.release(),
        "osImage": platform.system(),
        "containerRuntimeVersion": "weft://processes",
        "kubeletVersion": VERSION,
        "kubeProxyVersion": VERSION,
        "operatingSystem": "linux",
        "architecture": machine,
    }
