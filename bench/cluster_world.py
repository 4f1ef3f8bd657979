"""A mesh in an API server: namespaces, Services with their EndpointSlices, running pods, TrafficSplits.

Rule: pods are as large as real ones (probes, environment, volumes, what kubelets write), since most of what following
them costs is reading what nobody needs. Controllers are not needed and make nothing here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from kube.client import ApiError, Client
from kube.enrolment import INJECTED

Manifest = dict[str, Any]

NAMESPACE: Final = "bench"
CORE: Final = f"/api/v1/namespaces/{NAMESPACE}"
MERGE: Final = "application/merge-patch+json"
AT_ONCE: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSize:
    """How much there is. Pods are dealt out to the Services in turn."""

    services: int
    pods: int
    splits: int
    accounts: int = 20

    def pods_of(self, service: int) -> range:
        """The pods of a Service."""
        return range(service, self.pods, self.services)


def address(pod: int) -> str:
    """A pod's address."""
    return f"10.{128 + pod // 65536}.{pod // 256 % 256}.{pod % 256}"


def account(number: int) -> Manifest:
    return {"metadata": {"name": f"sa{number}"}}


def service(number: int) -> Manifest:
    return {"metadata": {"name": f"s{number}"}, "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}


def endpoint_slice(size: ClusterSize, number: int) -> Manifest:
    endpoints = [
        {"addresses": [address(pod)], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": f"p{pod}"}}
        for pod in size.pods_of(number)
    ]
    return {
        "metadata": {"name": f"s{number}-x", "labels": {"kubernetes.io/service-name": f"s{number}"}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def split(size: ClusterSize, number: int) -> Manifest:
    other = (number + 1) % size.services
    backends = [{"service": f"s{number}", "weight": 90}, {"service": f"s{other}", "weight": 10}]
    return {
        "apiVersion": "split.smi-spec.io/v1alpha4",
        "kind": "TrafficSplit",
        "metadata": {"name": f"split{number}"},
        "spec": {"service": f"s{number}", "backends": backends},
    }


def pod(size: ClusterSize, number: int) -> Manifest:
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10, "failureThreshold": 3}
    app = {
        "name": "app",
        "image": "registry.example/shop/app:1.4.2",
        "ports": [{"containerPort": 8080, "name": "http"}],
        "env": [{"name": f"SETTING_{each}", "value": f"some value {each}"} for each in range(12)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "readinessProbe": probe,
        "livenessProbe": probe,
        "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}],
    }
    return {
        "metadata": {
            "name": f"p{number}",
            "labels": {"app": f"s{number % size.services}", "pod-template-hash": "5d4f8c7b9"},
            "annotations": {INJECTED: "true"},
        },
        "spec": {
            "serviceAccountName": f"sa{number % size.accounts}",
            "nodeName": f"node-{number % 100}",
            "containers": [app, {**app, "name": "weft-proxy"}],
            "volumes": [{"name": "config", "configMap": {"name": "app"}}],
        },
    }


def running(number: int, beat: int = 0) -> Manifest:
    """What a kubelet writes; `beat` is a change that nobody here reads."""
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "message": f"beat {beat}"}
        for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    ip = address(number)
    return {"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions}}


async def fill(client: Client, size: ClusterSize, pods: int) -> None:
    """Create everything, but only so many of the pods."""
    for name in (NAMESPACE, "weft-system"):
        await client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
    splits = f"/apis/split.smi-spec.io/v1alpha4/namespaces/{NAMESPACE}/trafficsplits"

    def steps() -> Iterator[Callable[[], Coroutine[Any, Any, Any]]]:
        for number in range(size.services):
            yield partial(client.request, "POST", f"{CORE}/services", body=service(number))
            yield partial(client.request, "POST", slices, body=endpoint_slice(size, number))
        for number in range(size.splits):
            yield partial(client.request, "POST", splits, body=split(size, number))
        for number in range(pods):
            yield partial(_run_pod, client, size, number)

    for number in range(size.accounts):
        await client.request("POST", f"{CORE}/serviceaccounts", body=account(number))
    await together(steps())


async def _run_pod(client: Client, size: ClusterSize, number: int) -> None:
    await client.request("POST", f"{CORE}/pods", body=pod(size, number))
    await beat(client, number, 0)


async def beat(client: Client, number: int, count: int) -> None:
    """One status write of a pod."""
    body = running(number, count)
    await client.request("PATCH", f"{CORE}/pods/p{number}/status", body=body, content_type=MERGE, seconds=60)


async def together(steps: Iterator[Callable[[], Coroutine[Any, Any, Any]]]) -> None:
    """Do all steps, some at a time. A server that is overloaded is asked again."""

    async def worker() -> None:
        for step in steps:
            for _ in range(20):
                try:
                    await step()
                    break
                except ApiError as error:
                    if error.code == 409:
                        break
                    if error.code not in {429, 500, 503, 504}:
                        raise
                    await asyncio.sleep(1)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(worker())


async def paced(rate: float, seconds: float) -> AsyncIterator[int]:
    """Numbers at a rate, for so long; late ones come at once."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in range(int(rate * seconds)):
        if loop.time() > started + seconds:
            return
        due = started + number / rate
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        yield number
