"""Who holds what: a proxy counts once it has acknowledged all it wants, as it is offered now, and not before."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from live_envoy import until
from mesh.model import PodId
from xds import pb
from xds.resource import CLUSTER, LISTENER, SECRET
from xds.server import Holders, TransportKind
from xds_client import IDENTITY, Got, read_delta, resource
from xds_lab import NODE, Client, Lab, peer, world_of


@pytest.fixture(params=TransportKind)
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    async with Lab(transport=request.param) as lab:
        lab.cache.publish(world_of(resource(CLUSTER, "a"), resource(LISTENER, "l")))
        yield lab


async def take(client: Client) -> Got:
    """The next response, not acknowledged yet."""
    data = await client.call.read()
    return read_delta(data)


async def acknowledge(client: Client, got: Got) -> None:
    await client.say(got.type_url, nonce=got.nonce)


async def refuse(client: Client, got: Got) -> None:
    request = pb.DeltaDiscoveryRequest(type_url=got.type_url, response_nonce=got.nonce)
    request.error_detail.code, request.error_detail.message = 13, "no"
    await client.call.write(request.SerializeToString())


async def greet(client: Client) -> None:
    """Clusters and listeners, asked for, answered and acknowledged."""
    await client.say(CLUSTER, node=NODE)
    await client.read()
    await client.say(LISTENER)
    await client.read()


def holding(lab: Lab) -> Holders:
    return lab.server.holders(SECRET)


async def test_a_proxy_lacks_a_secret_until_it_acknowledges_it_and_again_when_it_changes(lab: Lab) -> None:
    async with lab.client() as client:
        await client.say(CLUSTER, node=NODE)
        await client.read()
        assert holding(lab).lacking == {NODE}, "it may have secrets of an earlier stream that it has not told of"
        await client.say(LISTENER)
        await client.read()
        await until(lambda: holding(lab).holding == {NODE}, "it wants no secret, so it holds no old one")
        await client.say(SECRET, "leaf")
        secret = await take(client)
        assert holding(lab).lacking == {NODE}
        await acknowledge(client, secret)
        await until(lambda: holding(lab).holding == {NODE}, "it has acknowledged")
        lab.cache.publish_secrets(IDENTITY, {"leaf": resource(SECRET, "leaf", 2)})
        assert holding(lab).lacking == {NODE}, "already before anything was sent"
        await client.read()
        await until(lambda: holding(lab).holding == {NODE}, "it has acknowledged the new one")


async def test_a_proxy_that_refuses_a_secret_lacks_it(lab: Lab) -> None:
    async with lab.client() as client:
        await greet(client)
        await client.say(SECRET, "leaf")
        await refuse(client, await take(client))
        await until(lambda: lab.server.counters.nacks.total() == 1, "it has refused")
        assert holding(lab).lacking == {NODE}


async def test_a_proxy_whose_pod_nobody_knows_is_told_apart(lab: Lab) -> None:
    lab.tokens.known["stranger"] = peer(pod=PodId("shop", "stranger-1"))
    async with lab.client("stranger") as client:
        await client.say(CLUSTER, node="shop/stranger-1")
        await until(lambda: holding(lab).unknown == {"shop/stranger-1"}, "its stream waits")
        assert not holding(lab).holding | holding(lab).lacking
