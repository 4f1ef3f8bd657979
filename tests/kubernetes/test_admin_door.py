"""The admin API of a replica in a cluster: who shows a token and has the right is answered, nobody else is."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator

import pytest

from chart_documents import one, rendered
from cluster_objects import bound_token, make_service_account
from cluster_world import create
from controlplane.door.tokens import AUDIENCE
from controlplane.install.after import after
from controlplane.kubernetes import control_plane
from controlplane.settings import KubernetesSettings
from kube.client import ApiError, Client
from own_address import own_address
from proxy import ports
from replicas import Replica, until

RBAC = "/apis/rbac.authorization.k8s.io/v1"


class Door:
    """The guarded admin API of one replica, as somebody elsewhere sees it."""

    def __init__(self, replica: Replica, client: Client, namespace: str, port: int) -> None:
        self.plane, self.client, self.namespace, self.port = replica.plane, client, namespace, port
        self._roots = ssl.create_default_context(cadata=replica.plane.authority.bundle_pem().decode())

    async def __call__(self, path: str, token: str = "", header: str = "authorization", method: str = "GET") -> int:
        return (await self.answer(path, token, header, method))[0]

    async def answer(self, path: str, token: str, header: str, method: str) -> tuple[int, str]:
        return await asyncio.to_thread(self._ask, path, token, header, method)

    async def token(self, account: str, audience: str) -> str:
        return await bound_token(self.client, self.namespace, account, audience=audience)

    def _ask(self, path: str, token: str, header: str, method: str) -> tuple[int, str]:
        request = urllib.request.Request(f"https://localhost:{self.port}{path}", method=method)
        if token:
            request.add_header(header, f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, context=self._roots, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture
async def door(client: Client, namespace: str) -> AsyncIterator[Door]:
    """A replica, the chart's roles for the admin API, and an account for each of them and for none."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = KubernetesSettings(
        namespace=namespace, instance="weft-0_a", xds_address="127.0.0.1", xds_port=0, admin_port=0,
        server_names=(f"weft.{namespace}.svc", "localhost"), admin_tls_address="127.0.0.1", admin_tls_port=port,
    )  # fmt: skip
    made = [path async for path in roles(client, namespace)]
    replica = Replica(await control_plane(settings, client))
    try:
        await until(lambda: replica.plane.status.rounds or replica.task.done(), "it has a world")
        yield Door(replica, client, namespace, port)
    finally:
        await replica.end()
        for path in reversed(made):
            await client.request("DELETE", path)


async def roles(client: Client, namespace: str) -> AsyncIterator[str]:
    documents = rendered(namespace=namespace)
    await make_service_account(client, namespace, "nobody")
    for name in ("weft-viewer", "weft-tap", "weft-ca-operator"):
        role = one(documents, "ClusterRole", name)
        role["metadata"]["name"] = unique = f"{name}-{namespace}"
        await client.request("POST", f"{RBAC}/clusterroles", body=role)
        yield f"{RBAC}/clusterroles/{unique}"
        await make_service_account(client, namespace, name)
        binding = {
            "metadata": {"name": unique},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": unique},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
        await client.request("POST", f"{RBAC}/clusterrolebindings", body=binding)
        yield f"{RBAC}/clusterrolebindings/{unique}"


async def test_a_token_and_a_right_are_needed(door: Door) -> None:
    """One world for all of it."""
    await strangers(door)
    viewer = await door.token("weft-viewer", AUDIENCE)
    for path in ("/status", "/problems", "/proxies", "/ca", "/ca/bundle", "/ca/federation", "/metrics"):
        assert await door(path, viewer, "weft-token") == 200, path
    assert await door("/config/shop/web-1", viewer, "weft-token") == 404
    assert await door("/ca/rotate", viewer, "weft-token", "POST") == 403
    assert await door("/tap?target=web", viewer, "weft-token") == 403
    assert await door("/openapi.json", viewer, "weft-token") == 403
    watcher = await door.token("weft-tap", AUDIENCE)
    assert await door("/tap?target=web", watcher, "weft-token") == 404, "no such pod: the door is open"
    assert await door("/proxies", watcher, "weft-token") == 403
    operator = await door.token("weft-ca-operator", AUDIENCE)
    assert await door("/ca/rotate", operator, "weft-token", "POST") == 200
    assert await door("/ca", operator, "weft-token") == 403


async def strangers(door: Door) -> None:
    assert await door("/healthz") == 200
    assert await door("/proxies") == 401
    assert await door("/proxies", "nonsense") == 401
    audiences = {"weft": 401, AUDIENCE: 403}
    for audience, code in audiences.items():
        assert await door("/proxies", await door.token("nobody", audience), "weft-token") == code
    sidecars = await door.token("weft-viewer", "weft")
    assert await door("/proxies", sidecars) == 401, "a sidecar's token is no token for this"
    assert await door("/proxies", await door.token("weft-viewer", AUDIENCE)) == 401
    code, words = await door.answer("/proxies", await door.token("nobody", AUDIENCE), "weft-token", "GET")
    who = f"system:serviceaccount:{door.namespace}:nobody"
    assert json.loads(words)["detail"] == f'User "{who}" cannot get resource "proxies" in API group "admin.weft.dev"'
    assert code == 403


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with own_address() as found:
        if found is None:
            pytest.skip("no address of our own can be made without root and iproute2")
        yield found


async def test_weft_check_asks_replicas_through_the_api_server(client: Client, namespace: str, address: str) -> None:
    """With a token of the chart's account, which it has made for that; from elsewhere the plain port says no more."""
    made = [path async for path in roles(client, namespace)]
    settings = KubernetesSettings(
        namespace=namespace, instance="weft-0_a", xds_address="127.0.0.1", xds_port=0,
        server_names=("localhost",), admin_address=address, admin_tls_address=address,
        admin_tls_port=ports.ADMIN_TLS,
    )  # fmt: skip
    replica = Replica(await control_plane(settings, client))
    try:
        await until(lambda: replica.plane.status.rounds or replica.task.done(), "it has a world")
        await control_plane_pod(client, namespace, address)
        told = [line.sentence async for line in after(client, namespace)]
        assert told[-2:] == [
            "All objects that were read are right",
            "All 0 connected proxies have accepted what they were sent",
        ]
        pods = f"/api/v1/namespaces/{namespace}/pods"
        plain = f"{pods}/weft-1:{ports.CONTROL_PLANE_ADMIN}/proxy"
        assert (await client.request("GET", f"{plain}/healthz")) == {"status": "ok"}
        with pytest.raises(ApiError) as refused:
            await client.request("GET", f"{plain}/proxies")
        assert refused.value.code == 403
        with pytest.raises(ApiError) as unknown:
            await client.request("GET", f"{pods}/https:weft-1:{ports.ADMIN_TLS}/proxy/proxies")
        assert unknown.value.code == 401, "who the API server knows is nobody here without a token"
    finally:
        await replica.end()
        for path in reversed(made):
            await client.request("DELETE", path)


async def control_plane_pod(client: Client, namespace: str, address: str) -> None:
    """A pod that stands for the replica."""
    await create(client, {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "weft-1", "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "weft", "app.kubernetes.io/component": "control-plane"},
        },
        "spec": {"serviceAccountName": "nobody", "containers": [{"name": "app", "image": "app"}]},
        "status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })  # fmt: skip
