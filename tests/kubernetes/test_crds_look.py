"""What admission says of objects that are not there, looked for with nothing but the rights of the chart's account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from api_server import ApiServer
from chart_documents import one, rendered
from kube.client import Client, ClientSettings
from raw_api import RawApi
from smi_cluster import SmiCluster, smi_cluster
from webhook.look import looks
from webhook.validate import Validator

RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module")
def cluster(api: RawApi, shared_namespace: str) -> Iterator[SmiCluster]:
    with smi_cluster(api, shared_namespace) as made:
        yield made


@pytest.fixture
async def webhook(api_server: ApiServer, api: RawApi, cluster: SmiCluster) -> AsyncIterator[Client]:
    """A client of the webhook's ServiceAccount, with the ClusterRole of the chart."""
    name = f"weft-webhook-{cluster.namespace}"
    documents = rendered(namespace=cluster.namespace)
    for kind, path in (("ClusterRole", "clusterroles"), ("ClusterRoleBinding", "clusterrolebindings")):
        document = one(documents, kind, "weft-webhook")
        document["metadata"]["name"] = name
        if kind == "ClusterRoleBinding":
            document["roleRef"]["name"] = name
        api("POST", f"{RBAC}/{path}", document).expect(201)
    opened = await _account(api_server, f"system:serviceaccount:{cluster.namespace}:weft-webhook")
    yield opened
    await opened.close()
    api("DELETE", f"{RBAC}/clusterrolebindings/{name}")
    api("DELETE", f"{RBAC}/clusterroles/{name}")


async def _account(api_server: ApiServer, user: str) -> Client:
    kubeconfig = await asyncio.to_thread(api_server.kubeconfig_as, user, ("system:authenticated",))
    return await Client.open(ClientSettings(kubeconfig=kubeconfig))


def split(cluster: SmiCluster) -> dict[str, Any]:
    spec = {"service": "web", "backends": [{"service": "web-v1", "weight": 1}, {"service": "web-v2", "weight": 1}]}
    metadata = {"name": "canary", "namespace": cluster.namespace}
    return {"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": metadata, "spec": spec}


def target(cluster: SmiCluster) -> dict[str, Any]:
    account = {"kind": "ServiceAccount", "name": "a"}
    rule = {"kind": "HTTPRouteGroup", "name": "routes", "matches": ["there", "missing"]}
    spec = {"destination": account, "sources": [account], "rules": [rule]}
    metadata = {"name": "t", "namespace": cluster.namespace}
    return {"apiVersion": "access.smi-spec.io/v1alpha3", "kind": "TrafficTarget", "metadata": metadata, "spec": spec}


async def warned(client: Client, raw: dict[str, Any]) -> list[str]:
    """The fields that warnings are about."""
    validator = Validator(look=looks(client))
    request = {"uid": "1", "operation": "CREATE", "object": raw, "namespace": raw["metadata"]["namespace"]}
    response = (await asyncio.to_thread(validator.review, {"request": request}))["response"]
    assert response["allowed"]
    return [warning.partition(": ")[0] for warning in response.get("warnings", [])]


async def test_t6_a_service_is_missed_until_it_is_there(cluster: SmiCluster, webhook: Client) -> None:
    services = f"/api/v1/namespaces/{cluster.namespace}/services"
    port = {"ports": [{"port": 80}]}
    for name in ("web", "web-v1"):
        cluster.api("POST", services, {"metadata": {"name": name}, "spec": port}).expect(201)
    raw = split(cluster)
    assert await warned(webhook, raw) == ["spec.backends[1].service"]
    cluster.api("POST", services, {"metadata": {"name": "web-v2"}, "spec": port}).expect(201)
    assert await warned(webhook, raw) == []


async def test_f2_a_route_is_missed_until_it_is_there(cluster: SmiCluster, webhook: Client) -> None:
    raw = target(cluster)
    assert await warned(webhook, raw) == ["spec.rules[0]"]
    group = {
        "apiVersion": "specs.smi-spec.io/v1alpha2",
        "kind": "HTTPRouteGroup",
        "metadata": {"name": "routes"},
        "matches": [{"name": "there"}],
    }
    cluster.create(group).expect(201)
    assert await warned(webhook, raw) == ["spec.rules[0].matches[1]"]


async def test_without_the_right_to_look_nothing_is_missed(api_server: ApiServer, cluster: SmiCluster) -> None:
    nobody = await _account(api_server, "nobody-in-particular")
    try:
        assert await warned(nobody, target(cluster)) == []
    finally:
        await nobody.close()
