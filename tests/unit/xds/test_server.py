"""Who may connect, what ends a stream, and what streams share; over real gRPC and TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import grpc.aio
import pytest
from structlog.testing import capture_logs

from bootstrapped import certificate
from live_envoy import until
from mesh.model import Identity, PodId
from xds.peer import Reason
from xds.resource import CLUSTER, ENDPOINTS, SECRET
from xds.server import State, TransportKind
from xds_client import IDENTITY, resource
from xds_lab import NODE, POD, Lab, peer, world_of

OTHER = Identity("cluster.local", "shop", "intruder")


@pytest.fixture(params=TransportKind)
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    async with Lab(transport=request.param) as lab:
        lab.cache.publish(world_of(resource(CLUSTER, "a"), resource(ENDPOINTS, "a")))
        yield lab


async def refused(lab: Lab, token: str = "good", node: str | None = NODE) -> tuple[grpc.StatusCode, str]:
    """How a stream ends that says this node; None says nothing, for who is refused before: grpc.aio makes an
    INTERNAL of its own of a status that comes while it writes."""
    async with lab.client(token) as client:
        if node is not None:
            await client.say(CLUSTER, node=node)
        return await client.ending()


async def test_a_proxy_that_proves_itself_is_served(lab: Lab) -> None:
    async with lab.client() as client:
        await client.say(CLUSTER, node=NODE)
        assert (await client.read()).resources == {"a": resource(CLUSTER, "a").version}


async def test_r1_only_the_first_request_needs_a_node(lab: Lab) -> None:
    async with lab.client() as client:
        await client.say(CLUSTER, node=NODE)
        await client.read()
        await client.say(ENDPOINTS, "a")
        assert (await client.read()).type_url == ENDPOINTS


async def test_r2_a_first_request_without_a_node_is_refused(lab: Lab) -> None:
    assert await refused(lab, node="") == (grpc.StatusCode.INVALID_ARGUMENT, "the first request has no node.id")
    code, words = await refused(lab, node="no-slash")
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "namespace/pod" in words


async def test_r4_an_aggregated_stream_without_a_type_is_ended(lab: Lab) -> None:
    async with lab.client() as client:
        await client.say("", node=NODE)
        assert (await client.ending())[0] == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "method",
    ["/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
     "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters"],
)  # fmt: skip
async def test_r4_a_service_of_one_type_knows_its_type(lab: Lab, method: str) -> None:
    async with lab.client(method=method) as client:
        await client.say("", node=NODE)
        assert (await client.read()).type_url == CLUSTER
    async with lab.client(method=method) as client:
        await client.say(ENDPOINTS, node=NODE)
        assert (await client.ending())[0] == grpc.StatusCode.INVALID_ARGUMENT


async def test_bytes_that_are_no_request_end_the_stream(lab: Lab) -> None:
    async with lab.client() as client:
        await client.say(CLUSTER, node=NODE)
        await client.read()
        await client.call.write(b"\xff\xff\xff")
        assert (await client.ending())[0] == grpc.StatusCode.INVALID_ARGUMENT


async def test_r8_two_streams_of_one_node_are_both_served(lab: Lab) -> None:
    async with lab.client() as old, lab.client() as new:
        for client in (old, new):
            await client.say(CLUSTER, node=NODE)
            assert (await client.read()).resources
        assert len(lab.server.proxies()) == 2


async def test_r9_before_the_first_world_streams_are_refused() -> None:
    async with Lab() as lab:
        code, words = await refused(lab, node=None)
        assert code == grpc.StatusCode.UNAVAILABLE
        assert "not read its configuration" in words


async def test_a_missing_or_bad_token_is_refused_and_never_logged(lab: Lab) -> None:
    with capture_logs() as logs:
        assert (await refused(lab, token="", node=None))[0] == grpc.StatusCode.UNAUTHENTICATED
        assert (await refused(lab, token="stolen-and-wrong", node=None))[0] == grpc.StatusCode.UNAUTHENTICATED
    assert lab.server.counters.refused["UNAUTHENTICATED"] == 2
    assert [line["event"] for line in logs] == ["stream refused"] * 2
    assert "stolen-and-wrong" not in str(logs)


async def test_a_token_bound_to_another_pod_is_refused(lab: Lab) -> None:
    lab.tokens.known["theirs"] = peer(pod=PodId("shop", "storefront-2"))
    code, words = await refused(lab, token="theirs")
    assert code == grpc.StatusCode.PERMISSION_DENIED
    assert "bound to pod shop/storefront-2, not to shop/storefront-1" in words


async def test_a_pod_of_another_identity_is_refused(lab: Lab) -> None:
    lab.tokens.known["theirs"] = peer(OTHER, pod=None)
    code, words = await refused(lab, token="theirs")
    assert code == grpc.StatusCode.PERMISSION_DENIED
    assert words == f"pod {NODE} runs as {IDENTITY.uri}, but the token is {OTHER.uri}'s"
    assert lab.server.counters.resources.total() == 0


async def test_a_pod_that_becomes_another_identity_s_is_cut_off_at_once(lab: Lab) -> None:
    async with lab.client() as client:
        await client.say(CLUSTER, node=NODE)
        await client.read()
        lab.cache.publish(world_of(resource(CLUSTER, "theirs"), identity=OTHER))
        assert (await client.ending())[0] == grpc.StatusCode.PERMISSION_DENIED
    assert lab.server.counters.resources[CLUSTER] == 1


async def test_a_pod_that_is_not_known_yet_waits_and_is_answered_once_it_is(lab: Lab) -> None:
    lab.tokens.known["young"] = peer(pod=None)
    async with lab.client("young") as client:
        await client.say(CLUSTER, node="shop/storefront-2")
        await until(lambda: bool(lab.server.proxies()), "the stream is there")
        assert not lab.server.proxies()[0].known
        lab.cache.publish(world_of(resource(CLUSTER, "a"), pods=(POD, PodId("shop", "storefront-2"))))
        assert (await client.read()).resources


async def test_a_pod_that_becomes_known_as_another_identity_gets_nothing(lab: Lab) -> None:
    lab.tokens.known["young"] = peer(OTHER, pod=None)
    async with lab.client("young") as client:
        await client.say(CLUSTER, node="shop/storefront-2")
        await until(lambda: bool(lab.server.proxies()), "the stream is there")
        lab.cache.publish(world_of(resource(CLUSTER, "a"), pods=(POD, PodId("shop", "storefront-2"))))
        assert (await client.ending())[0] == grpc.StatusCode.PERMISSION_DENIED
    assert lab.server.counters.resources.total() == 0


async def test_a_stream_ends_a_bounded_time_after_its_token_s_expiry() -> None:
    async with Lab(expiry_grace=timedelta(seconds=0.2)) as lab:
        lab.cache.publish(world_of(resource(CLUSTER, "a")))
        lab.tokens.known["short"] = peer(seconds=0.3)
        async with lab.client("short") as client:
            await client.say(CLUSTER, node=NODE)
            await client.read()
            code, words = await client.ending()
    assert code == grpc.StatusCode.UNAUTHENTICATED
    assert "expired" in words


async def test_a_stream_that_says_nothing_is_ended() -> None:
    async with Lab(first_request=timedelta(seconds=0.1)) as lab:
        lab.cache.publish(world_of())
        async with lab.client() as client:
            assert (await client.ending())[0] == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_secrets_are_of_the_stream_s_identity_and_asked_for_once(lab: Lab) -> None:
    lab.secrets.pause = 0.1
    async with lab.client() as one, lab.client() as two:
        for client in (one, two):
            await client.say(SECRET, "leaf", node=NODE)
        for client in (one, two):
            assert list((await client.read()).resources) == ["leaf"]
        assert lab.secrets.asked == [IDENTITY]
        lab.cache.publish_secrets(IDENTITY, {"leaf": resource(SECRET, "leaf", 1)})
        for client in (one, two):
            assert (await client.read()).resources == {"leaf": resource(SECRET, "leaf", 1).version}


async def test_without_secrets_a_stream_is_sent_away_and_may_come_back(lab: Lab) -> None:
    lab.secrets.broken = True
    code, words = await refused(lab)
    assert code == grpc.StatusCode.UNAVAILABLE
    assert IDENTITY.uri in words
    lab.secrets.broken = False
    await test_a_proxy_that_proves_itself_is_served(lab)


async def test_one_change_is_put_together_once_for_all_streams(lab: Lab) -> None:
    pods = tuple(PodId("shop", f"p{number}") for number in range(5))
    lab.tokens.known["any"] = peer(pod=None)
    lab.cache.publish(world_of(resource(CLUSTER, "a"), pods=pods))
    async with lab.client("any") as a, lab.client("any") as b, lab.client("any") as c:
        for number, client in enumerate((a, b, c)):
            await client.say(CLUSTER, node=f"shop/p{number}")
            await client.read()
        await asyncio.sleep(0.1)
        assembled, woken = lab.server.assembled, lab.cache.wakeups
        lab.cache.publish(world_of(resource(CLUSTER, "a", 1), pods=pods))
        for client in (a, b, c):
            assert (await client.read()).resources == {"a": resource(CLUSTER, "a", 1).version}
        assert lab.server.assembled == assembled + 1
        assert lab.cache.wakeups == woken + 3


async def test_a_change_wakes_the_streams_that_subscribed_to_its_name_alone(lab: Lab) -> None:
    lab.cache.publish(world_of(resource(ENDPOINTS, "a"), resource(ENDPOINTS, "b")))
    async with lab.client() as one, lab.client() as two, lab.client() as three:
        for client, name in ((one, "a"), (two, "b"), (three, "a")):
            await client.say(ENDPOINTS, name, node=NODE)
            await client.read()
        woken, pushed = lab.cache.wakeups, lab.server.counters.pushes.total()
        lab.cache.publish(world_of(resource(ENDPOINTS, "a"), resource(ENDPOINTS, "b", 1)))
        assert lab.cache.wakeups == woken + 1
        assert list((await two.read()).resources) == ["b"]
        lab.cache.publish(world_of(resource(ENDPOINTS, "a", 1), resource(ENDPOINTS, "b", 1)))
        assert lab.cache.wakeups == woken + 3
        assert list((await one.read()).resources) == ["a"]
        assert list((await three.read()).resources) == ["a"]
        assert lab.server.counters.pushes.total() == pushed + 3


async def test_a_client_that_does_not_read_delays_nobody(lab: Lab) -> None:
    big = [resource(CLUSTER, f"{number}-" + "x" * 2000) for number in range(1000)]
    lab.cache.publish(world_of(*big))
    async with lab.client() as slow, lab.client() as quick:
        await slow.say(CLUSTER, node=NODE)
        await quick.say(CLUSTER, node=NODE)
        await quick.read()
        for content in range(50):
            lab.cache.publish(world_of(*big[:-1], resource(CLUSTER, "last", content)))
            while "last" not in (await quick.read()).resources:
                pass
        pushes = sorted(proxy.types["Cluster"].pushes for proxy in lab.server.proxies())
        assert pushes[0] == 1  # nothing queues up behind what was not acknowledged


async def test_r60_a_stream_that_ends_leaves_nothing_behind(lab: Lab) -> None:
    async with lab.client() as client:
        await client.say(CLUSTER, node=NODE)
        await client.read()
    await until(lambda: not lab.server.proxies(), "the stream is gone")
    assert not lab.cache.has_secrets(IDENTITY)
    woken = lab.cache.wakeups
    lab.cache.publish(world_of(resource(CLUSTER, "a", 1)))
    assert lab.cache.wakeups == woken


async def test_the_server_s_own_certificate_is_renewed_without_a_restart(lab: Lab) -> None:
    await test_a_proxy_that_proves_itself_is_served(lab)
    lab.own = certificate()
    await test_a_proxy_that_proves_itself_is_served(lab)


async def test_stop_tells_proxies_to_go_elsewhere(lab: Lab) -> None:
    async with lab.client() as client:
        await client.say(CLUSTER, node=NODE)
        await client.read()
        await lab.server.stop(1)
        code, words = await client.ending()
    assert code == grpc.StatusCode.UNAVAILABLE
    assert "shutting down" in words


async def test_proxies_tells_how_each_type_stands(lab: Lab) -> None:
    async with lab.client() as client:
        await client.say(CLUSTER, node=NODE)
        got = await client.read()
        await client.say(ENDPOINTS, "a")
        await asyncio.wait_for(client.call.read(), 5)  # not acknowledged
        await asyncio.sleep(0.1)
        (status,) = lab.server.proxies()
        assert (status.node, status.protocol, status.identity) == (NODE, "delta", IDENTITY.uri)
        clusters = status.types["Cluster"]
        assert (clusters.state, clusters.nonce, clusters.pushes) == (State.SYNCED, got.nonce, 1)
        assert status.types["ClusterLoadAssignment"].state == State.PENDING
        lab.cache.publish(world_of(resource(CLUSTER, "a"), resource(ENDPOINTS, "a", 1)))
        assert lab.server.proxies()[0].types["ClusterLoadAssignment"].state == State.STALE


async def test_an_address_of_many_bad_tokens_waits_and_its_lines_in_the_log_are_bounded(lab: Lab) -> None:
    with capture_logs() as logs:
        answers = [await refused(lab, token="wrong", node=None) for _ in range(15)]
        good, words = await refused(lab, token="good", node=None)
    assert answers[0] == (grpc.StatusCode.UNAUTHENTICATED, "this token was not signed by us")
    assert answers[-1][0] == good == grpc.StatusCode.UNAVAILABLE
    assert words.startswith("too many tokens from 127.0.0.1 were refused")
    assert len([line for line in logs if line["event"] == "stream refused"]) < 15
    assert lab.server.refusals.by_reason.keys() == {Reason.INVALID}
    assert lab.server.refusals.turned_away >= 4


async def test_while_nobody_can_check_tokens_a_proxy_is_told_to_come_again(lab: Lab) -> None:
    lab.tokens.away = True
    assert await refused(lab, node=None) == (grpc.StatusCode.UNAVAILABLE, "nobody can check this token now")
    assert lab.server.refusals.by_reason.total() == 0
