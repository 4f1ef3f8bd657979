"""What a source makes of an API server that goes away, forgets, or loses a kind and gets it back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api_server import ApiServer
from cluster_world import PATIENCE, Followed, create, followed, install, uninstall, when
from kube.client import ApiError, ApiUnavailable, Client
from kube.problem import Ref
from sources.upstream import Upstream

_numbers = itertools.count(1)


def service(namespace: str, name: str) -> dict[str, Any]:
    spec = {"ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def split(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "split.smi-spec.io/v1alpha4",
        "kind": "TrafficSplit",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"service": "web", "backends": [{"service": "web", "weight": 1}]},
    }


async def patiently(client: Client, document: dict[str, Any]) -> None:
    """Create it as soon as the server is there again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                assert await create(client, document)
                return
            except (ApiUnavailable, ApiError):
                await asyncio.sleep(0.1)


@pytest.fixture
async def namespace(client: Client) -> AsyncIterator[str]:
    """A fresh namespace. Controllers that lost the API server may take a minute to notice, so nobody waits for them."""
    name = f"survival-{next(_numbers)}"
    await patiently(client, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await client.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
async def world(client: Client, namespace: str) -> AsyncIterator[Followed]:
    """A source that has read everything, in a cluster without SMI's kinds and with one Service."""
    await uninstall(client)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web", "namespace": namespace}}
    assert await create(client, account)
    assert await create(client, service(namespace, "first"))
    async with followed(client) as following:
        await following.until(lambda known: Ref("Service", namespace, "first") in known.objects)
        yield following


def never_missing(world: Followed, *refs: Ref) -> bool:
    return all(ref in state.objects for ref in refs for state in world.history)


def all_in_step(upstream: Upstream) -> bool:
    return not upstream.waiting and upstream.stale_since is None


async def test_nothing_is_said_before_everything_was_read(world: Followed, namespace: str) -> None:
    first = world.history[0]
    assert Ref("Namespace", "", namespace) in first.objects
    assert Ref("ServiceAccount", namespace, "web") in first.objects
    assert Ref("Service", namespace, "first") in first.objects
    assert not world.source.upstream.kinds["TrafficSplit"].served


async def test_a_change_while_the_server_restarts_arrives_and_nothing_goes_missing(
    world: Followed, api_server: ApiServer, client: Client, namespace: str
) -> None:
    await asyncio.to_thread(api_server.restart)
    await patiently(client, service(namespace, "second"))
    await world.until(lambda known: Ref("Service", namespace, "second") in known.objects)
    assert never_missing(world, Ref("Service", namespace, "first"), Ref("Namespace", "", namespace))
    await when(lambda: all_in_step(world.source.upstream))


async def test_while_the_server_is_away_the_last_state_stays_and_says_so(
    world: Followed, api_server: ApiServer, client: Client, namespace: str
) -> None:
    upstream = world.source.upstream
    await asyncio.to_thread(api_server.go_away)
    try:
        await when(lambda: len(upstream.troubles) >= 7)
        assert upstream.stale_since is not None
        assert not upstream.waiting
        assert Ref("Service", namespace, "first") in world.source.current().objects
    finally:
        await asyncio.to_thread(api_server.come_back)
    await patiently(client, service(namespace, "second"))
    await world.until(lambda known: Ref("Service", namespace, "second") in known.objects)
    await when(lambda: all_in_step(upstream))
    assert never_missing(world, Ref("Service", namespace, "first"))


async def test_a_server_that_forgot_old_versions_is_listed_anew_without_a_gap(
    world: Followed, api_server: ApiServer, client: Client, namespace: str
) -> None:
    await asyncio.to_thread(api_server.compact)
    if not api_server.real:  # the real one was restarted by that
        await asyncio.to_thread(api_server.restart)
    await patiently(client, service(namespace, "second"))
    await world.until(lambda known: Ref("Service", namespace, "second") in known.objects)
    assert never_missing(world, Ref("Service", namespace, "first"), Ref("Namespace", "", namespace))


async def test_a_kind_is_followed_once_it_is_installed_and_again_after_it_was_removed(
    world: Followed, client: Client, namespace: str
) -> None:
    one, two = Ref("TrafficSplit", namespace, "one"), Ref("TrafficSplit", namespace, "two")
    await install(client, "trafficsplits")
    assert await create(client, split(namespace, "one"))
    await world.until(lambda known: one in known.objects)

    await uninstall(client, "trafficsplits")
    await world.until(lambda known: one not in known.objects)
    await when(lambda: not world.source.upstream.kinds["TrafficSplit"].served)
    assert all_in_step(world.source.upstream)

    await install(client, "trafficsplits")
    assert await create(client, split(namespace, "two"))
    await world.until(lambda known: two in known.objects)
    assert one not in world.history[-1].objects
    await uninstall(client, "trafficsplits")


async def test_a_write_that_changes_nothing_we_read_tells_nobody(
    world: Followed, client: Client, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/services/first/status"
    merge = "application/merge-patch+json"
    seen = {
        "type": "Seen",
        "status": "True",
        "reason": "Test",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    await client.request("PATCH", path, body={"status": {"conditions": [seen]}}, content_type=merge)
    assert await create(client, service(namespace, "second"))
    before = len(world.history)
    await world.until(lambda known: Ref("Service", namespace, "second") in known.objects)
    first = Ref("Service", namespace, "first")
    assert len({id(state.objects[first]) for state in world.history[before - 1 :]}) == 1
