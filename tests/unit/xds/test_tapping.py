"""Who may tell requests, to whom they are told, and how much: over real gRPC and TLS, on both transports."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest

from http2_peer import Peer as Http2Peer
from http2_peer import message
from live_envoy import until
from mesh.model import PodId
from xds import pb
from xds.names import TAP, TAP_SWITCH
from xds.resource import CLUSTER, RUNTIME
from xds.server import TransportKind
from xds.switches import Switches
from xds.tapping import BYTES_PER_SECOND, METHOD, Budget
from xds.told import BY_RULES, NOT_GRANTED, NOT_PERMITTED, Told, told
from xds.transport.limits import TRUSTED_WINDOW
from xds_client import IDENTITY, resource
from xds_lab import NODE, POD, Lab, peer, world_of

CALLER = "spiffe://cluster.local/ns/shop/sa/intruder"


@pytest.fixture(params=TransportKind)
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    async with Lab(transport=request.param) as lab:
        lab.cache.publish(world_of(resource(CLUSTER, "a")))
        yield lab


def entry(path: str = "/items?card=4711", status: int = 200, details: str = "via_upstream") -> pb.HTTPAccessLogEntry:
    found = pb.HTTPAccessLogEntry(protocol_version=pb.HTTPAccessLogEntry.HTTP2)
    common = found.common_properties
    common.downstream_local_address.socket_address.port_value = 8080
    common.downstream_direct_remote_address.socket_address.address = "10.0.0.9"
    common.tls_properties.peer_certificate_properties.subject_alt_name.add(uri=CALLER)
    common.start_time.FromMilliseconds(1_700_000_000_500)
    common.duration.FromMicroseconds(2500)
    found.request.request_method = pb.RequestMethod.GET
    found.request.authority, found.request.path = "catalog", path
    found.response.response_code.value, found.response.response_code_details = status, details
    return found


def logs(*entries: pb.HTTPAccessLogEntry, name: str = "inbound") -> bytes:
    found = pb.StreamAccessLogsMessage()
    found.identifier.log_name = name
    found.http_logs.log_entry.extend(entries or [entry()])
    return found.SerializeToString()


async def test_requests_of_a_watched_pod_are_told_to_who_watches_it(lab: Lab) -> None:
    mine: list[Told] = []
    others: list[Told] = []
    lab.server.taps.turn(lab.server.taps.watch(mine.append), [POD])
    lab.server.taps.turn(lab.server.taps.watch(others.append), [PodId("shop", "another")])
    async with lab.client(method=METHOD) as client:
        await client.call.write(logs())
        await until(lambda: bool(mine), "the request is told")
    assert mine == [
        Told(
            time=1_700_000_000.5, pod=POD, direction="inbound", source=CALLER, destination=IDENTITY.uri, peer=CALLER,
            port=8080, protocol="HTTP/2", method="GET", authority="catalog", path="/items", status=200,
            milliseconds=2.5,
        )
    ]  # fmt: skip
    assert others == []


@pytest.mark.parametrize("token", ["forged", "unbound", ""])
async def test_who_proves_to_be_no_pod_may_tell_nothing(lab: Lab, token: str) -> None:
    lab.tokens.known["unbound"] = peer(pod=None)
    heard: list[Told] = []
    lab.server.taps.turn(lab.server.taps.watch(heard.append), [PodId("shop", "watched")])
    async with lab.client(token, method=METHOD) as client:
        code, _ = await client.ending()
    assert code in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}
    assert heard == []


async def test_a_pod_that_is_watched_elsewhere_is_kept_waiting_and_heard_once_it_is_watched_here(lab: Lab) -> None:
    heard: list[Told] = []
    watcher = lab.server.taps.watch(heard.append)
    async with lab.client(method=METHOD) as client:
        await client.call.write(logs(entry("/unheard")))
        await until(lambda: lab.server.taps.waiting == 1, "the stream is kept")
        assert heard == []
        lab.server.taps.turn(watcher, [POD])
        await client.call.write(logs(entry("/heard")))
        await until(lambda: bool(heard), "the request is told")
    assert [request.path for request in heard] == ["/heard"]


async def test_a_stream_ends_when_nobody_watches_its_pod_any_more(lab: Lab) -> None:
    heard: list[Told] = []
    watcher = lab.server.taps.watch(heard.append)
    lab.server.taps.turn(watcher, [POD])
    async with lab.client(method=METHOD) as client:
        await client.call.write(logs())
        await until(lambda: bool(heard), "the stream is up")
        lab.server.taps.leave(watcher)
        assert await client.ending() == (grpc.StatusCode.UNAVAILABLE, "nobody watches this pod here")


async def test_bytes_that_are_no_message_end_their_stream(lab: Lab) -> None:
    lab.server.taps.turn(lab.server.taps.watch(lambda _: None), [POD])
    async with lab.client(method=METHOD) as client:
        await client.call.write(b"\xff\xff\xff")
        code, _ = await client.ending()
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_only_the_sidecar_of_a_watched_pod_is_switched_and_switched_back(lab: Lab) -> None:
    other = PodId("shop", "storefront-2")
    lab.cache.publish(world_of(resource(CLUSTER, "a"), pods=(POD, other)))
    lab.tokens.known["other"] = peer(pod=other)
    async with lab.client() as client, lab.client("other") as bystander:
        for each, node in ((client, NODE), (bystander, "shop/storefront-2")):
            await each.say(RUNTIME, TAP, node=node)
            # What is not there is said to be not there, so that Envoy need not wait for it (rule R41).
            assert (await each.read()).removed == [TAP]
        watcher = lab.server.taps.watch(lambda _: None)
        lab.server.taps.turn(watcher, [POD])
        assert list((await client.read()).resources) == [TAP]
        lab.server.taps.leave(watcher)
        assert (await client.read()).removed == [TAP]
        assert await bystander.silent()


async def test_a_sidecar_that_comes_back_while_it_is_watched_is_switched_on_at_once(lab: Lab) -> None:
    lab.server.taps.turn(lab.server.taps.watch(lambda _: None), [POD])
    async with lab.client() as client:
        await client.say(RUNTIME, TAP, node=NODE)
        assert list((await client.read()).resources) == [TAP]


async def test_a_sidecar_that_a_control_plane_switched_on_and_died_is_switched_off_by_the_next(lab: Lab) -> None:
    lab.server.taps.turn(lab.server.taps.watch(lambda _: None), [POD])
    async with lab.client() as client:
        await client.say(RUNTIME, TAP, node=NODE)
        version = (await client.read()).resources[TAP]
    await lab.restart(world_of(resource(CLUSTER, "a")))
    async with lab.client() as client:
        back = pb.DeltaDiscoveryRequest(type_url=RUNTIME, node={"id": NODE}, resource_names_subscribe=[TAP])
        back.initial_resource_versions[TAP] = version
        await client.call.write(back.SerializeToString())
        assert (await client.read()).removed == [TAP]


async def test_two_who_watch_one_pod_are_both_needed_to_switch_it_off(lab: Lab) -> None:
    taps, one, two = lab.server.taps, lab.server.taps.watch(print), lab.server.taps.watch(print)
    taps.turn(one, [POD])
    taps.turn(two, [POD])
    taps.leave(one)
    assert taps.watched(POD)
    taps.leave(two)
    assert not taps.watched(POD)


async def test_a_stream_that_has_asked_for_its_runtime_alone_is_not_brought_up(lab: Lab) -> None:
    async with lab.client() as client:
        await client.say(RUNTIME, TAP, node=NODE)
        await client.read()
        await until(lambda: lab.server.proxies()[0].types["Runtime"].state == "synced", "it is answered")
        assert lab.server.holders(CLUSTER).lacking == {NODE}


def test_the_switch_is_a_percentage_of_envoys_runtime() -> None:
    switches = Switches(lambda _: None)
    assert switches.layer(POD) is None
    switches.watch([POD])
    layer = switches.layer(POD)
    assert layer is not None
    runtime = pb.Runtime.FromString(layer.named[TAP].body)
    assert dict(runtime.layer) == {TAP_SWITCH: 100.0}


def test_what_comes_faster_than_the_budget_is_not_read_until_the_next_second() -> None:
    now = [0.0]
    budget = Budget(now=lambda: now[0])
    assert budget.take(BYTES_PER_SECOND - 1)
    assert budget.take(10), "a message that begins within the budget is read"
    assert not budget.take(1)
    now[0] = 0.99
    assert not budget.take(1)
    now[0] = 1.0
    assert budget.take(1)


def test_a_stream_that_is_held_is_given_no_more_room_until_it_may_go_on() -> None:
    client = Http2Peer()
    number = client.open()
    call = client.server.heard[0].call
    call.trust()
    client.exchange()
    call.hold()
    for _ in range(2):
        client.say(number, message(b"x" * (TRUSTED_WINDOW // 2 - 50)))
    assert client.h2.local_flow_control_window(number) < 100
    call.go_on()
    client.exchange()
    assert client.h2.local_flow_control_window(number) == TRUSTED_WINDOW


@pytest.mark.parametrize(
    ("details", "name", "status", "cluster", "reason"),
    [
        ("rbac_access_denied_matched_policy[none]", "inbound", 403, "inbound", BY_RULES),
        ("cluster_not_found", "outbound", 403, "shop/catalog/80", NOT_PERMITTED),
        ("direct_response", "outbound/it is closed", 403, "", "it is closed"),
        ("rbac_access_denied_matched_policy[none]", "outbound", 403, "", NOT_GRANTED),
        ("cluster_not_found", "outbound", 403, "egress/80/names", NOT_GRANTED),
        ("direct_response", "outbound", 403, "", NOT_GRANTED),
        ("no_healthy_upstream", "outbound", 503, "shop/catalog/80", "no healthy upstream"),
        ("via_upstream", "inbound", 403, "inbound", ""),
    ],
)
def test_a12_a_refusal_is_told_with_its_reason(details: str, name: str, status: int, cluster: str, reason: str) -> None:
    refused = entry(details=details, status=status)
    refused.common_properties.upstream_cluster = cluster
    (seen,) = told(pb.StreamAccessLogsMessage.FromString(logs(refused)), name, POD, IDENTITY)
    assert seen.reason == reason


def test_a_caller_without_a_certificate_is_told_by_its_address() -> None:
    plain = entry()
    plain.common_properties.tls_properties.Clear()
    (seen,) = told(pb.StreamAccessLogsMessage.FromString(logs(plain)), "inbound", POD, IDENTITY)
    assert seen.source == "10.0.0.9:0"


@pytest.mark.parametrize(
    ("cluster", "peer"),
    [("shop/catalog/80", "shop/catalog/80"), ("shop/catalog/80/http2", "shop/catalog/80"), ("", "10.96.0.7:8080")],
)
def test_on_the_callers_side_the_peer_is_the_service_that_was_chosen(cluster: str, peer: str) -> None:
    asked = entry()
    asked.common_properties.upstream_cluster = cluster
    asked.common_properties.downstream_local_address.socket_address.address = "10.96.0.7"
    (seen,) = told(pb.StreamAccessLogsMessage.FromString(logs(asked)), "outbound", POD, IDENTITY)
    assert (seen.peer, seen.source) == (peer, IDENTITY.uri)
