"""A source needs get, list and watch of what it reads, and nothing else; without them it says what is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api_server import ApiServer
from cluster_world import PLURALS, create, followed, install, uninstall, when
from kube.client import Client, ClientSettings
from kube.problem import Ref
from sources.kubernetes import KINDS

RBAC = "/apis/rbac.authorization.k8s.io/v1"


def role(name: str, left_out: str = "") -> dict[str, Any]:
    """Reading what a source reads, but for one kind."""
    rules = [
        {
            "apiGroups": [each.group or (each.place.api_version.rpartition("/")[0] if each.place else "")],
            "resources": [PLURALS[each.kind]],
            "verbs": ["get", "list", "watch"],
        }
        for each in KINDS
        if each.kind != left_out
    ]
    return {"metadata": {"name": name}, "rules": rules}


def binding(name: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
    }


@pytest.fixture(params=["", "Pod"])
async def reader(
    request: pytest.FixtureRequest, api_server: ApiServer, client: Client, namespace: str
) -> AsyncIterator[tuple[str, Client]]:
    """What the reader may not read, and its client."""
    name = f"reader-{namespace}"
    await client.request("POST", f"{RBAC}/clusterroles", body=role(name, request.param))
    await client.request("POST", f"{RBAC}/clusterrolebindings", body=binding(name))
    await uninstall(client)
    await install(client)
    opened = await Client.open(ClientSettings(kubeconfig=api_server.kubeconfig_as(name)))
    yield request.param, opened
    await opened.close()
    await uninstall(client)
    await client.request("DELETE", f"{RBAC}/clusterrolebindings/{name}")
    await client.request("DELETE", f"{RBAC}/clusterroles/{name}")


async def test_reading_is_enough_and_nothing_less_is(
    reader: tuple[str, Client], client: Client, namespace: str
) -> None:
    missing, reading = reader
    account = Ref("ServiceAccount", namespace, "default")
    target = {
        "apiVersion": "access.smi-spec.io/v1alpha3",
        "kind": "TrafficTarget",
        "metadata": {"name": "t", "namespace": namespace},
        "spec": {
            "destination": {"kind": "ServiceAccount", "name": "a", "namespace": namespace},
            "sources": [{"kind": "ServiceAccount", "name": "b", "namespace": namespace}],
            "rules": [{"kind": "TCPRoute", "name": "r"}],
        },
    }
    assert await create(client, target)
    async with followed(reading) as world:
        if not missing:
            known = await world.until(lambda known: Ref("TrafficTarget", namespace, "t") in known.objects)
            assert account in known.objects
            assert world.source.upstream.troubles == {}
            return
        upstream = world.source.upstream
        await when(lambda: upstream.waiting == (missing,) and bool(upstream.troubles))
        assert "forbidden" in upstream.troubles[missing]
        assert world.history == []
        assert not world.store.current.objects, "nothing is served before every kind is in step"
