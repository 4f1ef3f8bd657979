"""A source and an API server that misbehaves, as only the fake can be told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from cluster_world import Followed, create, followed
from kube.client import Client, ClientSettings
from kube.problem import Ref
from tests.fakes.server import FakeApiServer

NAMESPACE = "faulty"


def service(name: str) -> dict[str, object]:
    spec = {"ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


@pytest.fixture
def fake() -> Iterator[FakeApiServer]:
    server = FakeApiServer.start(controllers=False)
    yield server
    server.stop()


@pytest.fixture
async def client(fake: FakeApiServer) -> AsyncIterator[Client]:
    opened = await Client.open(ClientSettings(fake.admin_kubeconfig))
    await create(opened, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    yield opened
    await opened.close()


@pytest.fixture
async def world(client: Client) -> AsyncIterator[Followed]:
    await create(client, service("first"))
    async with followed(client) as following:
        await following.until(lambda known: Ref("Service", NAMESPACE, "first") in known.objects)
        yield following


async def last(world: Followed, client: Client) -> set[str]:
    """The Services once the newest write is known."""
    await create(client, service("last"))
    known = await world.until(lambda known: Ref("Service", NAMESPACE, "last") in known.objects)
    first = Ref("Service", NAMESPACE, "first")
    assert all(first in state.objects for state in world.history), "what exists was never missing"
    return {ref.name for ref in known.objects if ref.kind == "Service" and ref.namespace == NAMESPACE}


async def test_lines_that_are_cut_and_lines_that_come_twice_lose_and_invent_nothing(
    world: Followed, client: Client, fake: FakeApiServer
) -> None:
    fake.faults.cut_lines = 3
    fake.faults.duplicate_lines = 5
    for name in ("a", "b", "c"):
        await create(client, service(name))
    await client.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/services/b")
    assert await last(world, client) == {"first", "a", "c", "last"}
    assert fake.faults.cut_lines == 0


@pytest.mark.parametrize("code", [401, 403, 410, 429, 500, 503])
async def test_refusals_only_cost_time(world: Followed, client: Client, fake: FakeApiServer, code: int) -> None:
    await asyncio.to_thread(fake.go_away)
    fake.faults.refuse("GET /api/v1/services", code, 3)
    await asyncio.to_thread(fake.come_back)
    assert await last(world, client) == {"first", "last"}
    assert world.source.upstream.kinds["Service"].read
