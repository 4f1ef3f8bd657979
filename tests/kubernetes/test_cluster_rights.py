"""A control plane with nothing but the rights the chart gives its ServiceAccount does all it has to."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator

import pytest

from api_server import ApiServer
from chart_documents import one, rendered
from cluster_objects import bound_token, eventually
from cluster_world import create, install, uninstall
from controlplane.cluster import Cluster
from controlplane.settings import DEFINITIONS
from kube.client import Client, ClientSettings
from replicas import Proxy, Replica, make_meshed_pod, until

RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture
async def confined(api_server: ApiServer, client: Client, namespace: str) -> AsyncIterator[Client]:
    """A client of the chart's ServiceAccount, installed into the test's namespace."""
    documents = rendered(namespace=namespace)
    name = f"weft-{namespace}"
    cluster_role, cluster_binding = one(documents, "ClusterRole", "weft"), one(documents, "ClusterRoleBinding", "weft")
    cluster_role["metadata"]["name"] = cluster_binding["metadata"]["name"] = name
    cluster_binding["roleRef"]["name"] = name
    await client.request("POST", f"{RBAC}/clusterroles", body=cluster_role)
    await client.request("POST", f"{RBAC}/clusterrolebindings", body=cluster_binding)
    for kind in ("Role", "RoleBinding"):
        path = f"{RBAC}/namespaces/{namespace}/{kind.lower()}s"
        await client.request("POST", path, body=one(documents, kind, "weft"))
    user = f"system:serviceaccount:{namespace}:weft"
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    kubeconfig = await asyncio.to_thread(api_server.kubeconfig_as, user, groups)
    opened = await Client.open(ClientSettings(kubeconfig=kubeconfig))
    yield opened
    await opened.close()
    await client.request("DELETE", f"{RBAC}/clusterrolebindings/{name}")
    await client.request("DELETE", f"{RBAC}/clusterroles/{name}")


@pytest.fixture
async def kinds(client: Client) -> AsyncIterator[None]:
    await uninstall(client)
    await install(client)
    yield
    await uninstall(client)


async def told(client: Client, namespace: str, name: str, events: int) -> dict[str, str]:
    """The words of a TrafficSplit's Events by reason, as soon as there are so many."""
    query = {"fieldSelector": f"involvedObject.kind=TrafficSplit,involvedObject.name={name}"}
    async with asyncio.timeout(20):
        while True:
            listed = await client.request("GET", f"/api/v1/namespaces/{namespace}/events", query=query)
            if len(listed["items"]) >= events:
                return {item["reason"]: item["message"] for item in listed["items"]}
            await asyncio.sleep(0.05)  # nobody but the API server knows


@pytest.mark.usefixtures("kinds")
async def test_the_rights_of_the_chart_are_enough(client: Client, confined: Client, namespace: str) -> None:
    uid = await make_meshed_pod(client, namespace, "web", "10.9.1.1")
    await create(client, {
        "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
        "metadata": {"name": "canary", "namespace": namespace},
        "spec": {
            "service": "web", "backends": [{"service": "web", "weight": 1}, {"service": "not-there", "weight": 1}]
        },
    })  # fmt: skip
    replica = await Replica.start(confined, namespace, "weft-0_a")
    try:
        token = await bound_token(client, namespace, "web", "web-1", uid)
        proxy = Proxy(f"{namespace}/web-1", token, replica.plane.authority.bundle_pem())
        proxy.connect(replica.plane.server.port)
        await until(lambda: proxy.resent, "the proxy is served")
        await proxy.close()
        cluster = replica.plane.status.cluster
        assert isinstance(cluster, Cluster)
        await until(lambda: cluster.view()["webhook_certificate_ends"], "the webhook has a certificate")
        events = await told(client, namespace, "canary", 2)
        assert events.keys() == {"BackendLeftOut", "BackendWithoutEndpoints"}
        assert f"There is no Service {namespace}/not-there" in events["BackendLeftOut"]
        found = await eventually(client, f"/api/v1/namespaces/{namespace}/configmaps/weft-root")
        await until(lambda: not cluster.view()["duties"], "all duties are done")
        assert found["data"]["root.pem"].encode() == replica.plane.authority.bundle_pem()
        secret = await client.request("GET", f"/api/v1/namespaces/{namespace}/secrets/weft-webhook-tls")
        assert b64decode(secret["data"]["ca.crt"]) == replica.plane.authority.bundle_pem()
        view = cluster.view()
        assert (view["leading"], view["duties"], view["certificate_authority"]["trouble"]) == (True, {}, "")
        assert replica.plane.status.upstream is not None
        assert replica.plane.status.upstream.troubles == {}
    finally:
        await replica.end()


def test_the_chart_and_the_control_plane_mean_the_same_crds() -> None:
    rules = one(rendered(), "ClusterRole", "weft")["rules"]
    (names,) = (rule["resourceNames"] for rule in rules if "customresourcedefinitions" in rule["resources"]
                and "patch" in rule["verbs"])  # fmt: skip
    assert sorted(names) == sorted(DEFINITIONS)
