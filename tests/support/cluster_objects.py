"""Objects a cluster would have, made through the API server: ServiceAccounts, Pods, and their tokens."""

from __future__ import annotations

import asyncio
from typing import Any

from kube.client import ApiError, Client
from mesh.model import PodId


async def make_service_account(client: Client, namespace: str, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    await client.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", body=body)


async def make_pod(client: Client, namespace: str, name: str, account: str, **metadata: Any) -> str:
    """A pod that nothing runs; its uid."""
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {
            "serviceAccountName": account,
            "automountServiceAccountToken": False,
            "containers": [{"name": "app", "image": "example.invalid/app"}],
        },
    }
    made = await client.request("POST", f"/api/v1/namespaces/{namespace}/pods", body=body)
    return str(made["metadata"]["uid"])


async def remove_pod(client: Client, namespace: str, name: str) -> None:
    """Gone at once, as after its grace period."""
    await client.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", query={"gracePeriodSeconds": "0"})


async def bound_token(
    client: Client,
    namespace: str,
    account: str,
    pod: str = "",
    uid: str = "",
    *,
    audience: str = "weft",
) -> str:
    """A token as the kubelet asks for it."""
    spec: dict[str, Any] = {"audiences": [audience], "expirationSeconds": 3600}
    if pod:
        spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    made = await client.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", body=body)
    return str(made["status"]["token"])


class LivePods:
    """The uids of pods by asking the API server beforehand: a source that is always in step."""

    def __init__(self) -> None:
        self.uids: dict[PodId, str] = {}

    def __call__(self, pod: PodId) -> str | None:
        return self.uids.get(pod)


async def gone(client: Client, path: str) -> bool:
    """Whether there is nothing at this path."""
    try:
        await client.request("GET", path)
    except ApiError as error:
        return error.code == 404
    return False


async def eventually(client: Client, path: str, seconds: float = 20) -> dict[str, Any]:
    """What is at this path, as soon as there is something."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                found: dict[str, Any] = await client.request("GET", path)
            except ApiError:
                await asyncio.sleep(0.05)  # nobody but the API server knows
            else:
                return found
