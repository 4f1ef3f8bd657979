"""Two replicas on one API server: they serve the same, one writes, and a proxy that moves is sent nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from api_server import ApiServer
from cluster_objects import bound_token, eventually, remove_pod
from controlplane.client import AdminClient
from kube.client import Client
from kube.settings import ClientSettings
from replicas import Proxy, Replica, make_meshed_pod, until
from xds import pb
from xds.names import LEAF_SECRET
from xds.peer import Reason
from xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET

Start = Callable[[str], Awaitable[Replica]]
Join = Callable[..., Awaitable[Proxy]]


@pytest.fixture
async def start(api_server: ApiServer, namespace: str, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts replicas, each with a client of its own; they end with the test."""
    begun: list[tuple[Replica, Client]] = []

    async def start(instance: str) -> Replica:
        client = await Client.open(ClientSettings(kubeconfig=api_server.admin_kubeconfig, context=None))
        replica = await Replica.start(client, namespace, instance, tmp_path / instance)
        begun.append((replica, client))
        return replica

    yield start
    for replica, client in begun:
        await replica.end()
        await client.close()


@pytest.fixture
async def uids(client: Client, namespace: str) -> dict[str, str]:
    """Two meshed pods, each with its own identity and Service."""
    return {
        name: await make_meshed_pod(client, namespace, name, f"10.9.0.{number}")
        for number, name in enumerate(("web", "db"), 1)
    }


@pytest.fixture
async def join(client: Client, namespace: str, uids: dict[str, str]) -> AsyncIterator[Join]:
    """Proxies with tokens as the kubelet would give them."""
    made: list[Proxy] = []

    async def join(name: str, replica: Replica, node: str = "") -> Proxy:
        token = await bound_token(client, namespace, name, f"{name}-1", uids[name])
        made.append(Proxy(f"{namespace}/{node or name}-1", token, replica.plane.authority.bundle_pem()))
        made[-1].connect(replica.plane.server.port)
        return made[-1]

    yield join
    for proxy in made:
        await proxy.close()


def whole(proxy: Proxy, namespace: str) -> bool:
    """Whether the proxy has everything it needs to call both Services."""
    held = proxy.model.holds
    wanted = {f"{namespace}/{name}/80" for name in ("web", "db")}
    # Between sidecars HTTP goes over HTTP/2, through clusters of their own (docs/decisions/0100).
    clusters = {f"{name}/http2" for name in wanted}
    return (
        clusters <= held.get(CLUSTER, {}).keys()
        and clusters <= held.get(ENDPOINTS, {}).keys()
        and {f"outbound/{name}" for name in wanted} <= held.get(LISTENER, {}).keys() & held.get(ROUTES, {}).keys()
        and LEAF_SECRET in held.get(SECRET, {})
    )


async def test_one_of_two_leads_and_when_it_ends_the_other_does(client: Client, namespace: str, start: Start) -> None:
    first, second = await start("weft-0_a"), await start("weft-1_b")
    await until(lambda: first.leading or second.leading, "one leads")
    assert not (first.leading and second.leading)
    holder, other = (first, second) if first.leading else (second, first)
    await holder.end()
    await until(lambda: other.leading, "the other leads")
    status = other.plane.status.cluster
    assert status is not None
    assert status.view()["leader"] == status.view()["instance"]


async def test_a_proxy_that_moves_to_another_replica_is_sent_its_new_leaf_and_nothing_else(
    namespace: str, start: Start, join: Join
) -> None:
    first, second = await start("weft-0_a"), await start("weft-1_b")
    proxy = await join("web", first)
    await until(lambda: whole(proxy, namespace), "the proxy has everything")
    before = {url: dict(held) for url, held in proxy.model.holds.items()}
    await first.end()
    await until(lambda: proxy.ending is not None, "its stream ends")
    assert proxy.ending is not None
    assert proxy.ending[0] == grpc.StatusCode.UNAVAILABLE
    proxy.connect(second.plane.server.port)
    await until(lambda: proxy.resent, "something is sent")
    await until(lambda: second.plane.server.proxies() and in_step(second), "everything is acknowledged")
    # Namespaces of other tests may still be going meanwhile, and their Services with them.
    assert [each for each in proxy.resent if each[0] == SECRET or namespace in each[1]] == [(SECRET, LEAF_SECRET)]
    after = {url: dict(held) for url, held in proxy.model.holds.items()}
    assert of(namespace, after) == of(namespace, before)
    assert proxy.model.needless == []


def of(namespace: str, holds: dict[str, dict[str, str]]) -> dict[tuple[str, str], str]:
    """The versions of what belongs to this namespace, by type and name."""
    return {
        (url, name): version for url, held in holds.items() for name, version in held.items() if f"{namespace}/" in name
    }


def in_step(replica: Replica) -> bool:
    return all(
        state.state in {"synced", "never"} for proxy in replica.plane.server.proxies() for state in proxy.types.values()
    )


async def test_a_replica_that_ends_is_not_ready_first_and_serves_those_it_has_meanwhile(
    namespace: str, start: Start, join: Join
) -> None:
    replica = await start("weft-0_a")
    proxy = await join("web", replica)
    await until(lambda: whole(proxy, namespace), "the proxy has everything")
    assert replica.plane.status.ready
    replica.stop.set()
    await until(lambda: not replica.plane.status.ready, "it says that it is not ready")
    await until(lambda: proxy.ending is not None, "the stream ends")


async def test_a_token_opens_its_own_pods_stream_only(namespace: str, start: Start, join: Join) -> None:
    replica = await start("weft-0_a")
    proxy = await join("web", replica, node="db")
    await until(lambda: proxy.ending is not None, "the stream is refused")
    assert replica.plane.server.counters.refused == {"PERMISSION_DENIED": 1}
    assert proxy.resent == []


async def test_no_name_a_proxy_can_ask_for_gives_it_what_another_identity_or_role_has(
    client: Client, namespace: str, start: Start, join: Join
) -> None:
    replica = await start("weft-0_a")
    web, db = await join("web", replica), await join("db", replica)
    await until(lambda: whole(web, namespace) and whole(db, namespace), "both have everything")
    other = replica.plane.status.world
    mine = f"spiffe://cluster.local/ns/{namespace}/sa/web"
    theirs = f"spiffe://cluster.local/ns/{namespace}/sa/db"
    leaf = web.model.bodies[SECRET, LEAF_SECRET]
    assert mine.encode() in der_of(leaf)
    assert theirs.encode() not in der_of(leaf)
    # Every name there is for anybody, and names one could guess.
    everything = {
        url: {name for snapshot in other.roles.values() for name in snapshot.resources.get(url, {})}
        for url in (SECRET, LISTENER, CLUSTER)
    }
    everything[SECRET] |= {theirs, "db", f"{namespace}/db", f"{namespace}/db-1", f"leaf/{theirs}"}
    await web.close()
    for url, names in everything.items():
        web.model.subscribe(url, *sorted(names))
    web.connect(replica.plane.server.port)
    await until(lambda: in_step(replica) and len(replica.plane.server.proxies()) == 2, "all is answered")
    own = other.roles[other.proxies[next(pod for pod in other.proxies if str(pod) == f"{namespace}/web-1")]]
    for url in (LISTENER, CLUSTER):
        for name, version in web.model.holds[url].items():
            assert own.resources[url][name].version == version
    assert all(theirs.encode() not in der_of(web.model.bodies[SECRET, name]) for name in web.model.holds[SECRET])
    assert web.model.holds[SECRET].keys() <= {"leaf", "bundle", *own.resources.get(SECRET, {})}


def der_of(secret: bytes) -> bytes:
    """The secret's certificate, decoded; its own bytes where it holds none."""
    chain = pb.Secret.FromString(secret).tls_certificate.certificate_chain.inline_bytes
    return x509.load_pem_x509_certificate(chain).public_bytes(Encoding.DER) if chain else secret


async def test_a_token_is_worth_nothing_once_its_pod_is_gone(
    client: Client, namespace: str, start: Start, join: Join
) -> None:
    replica = await start("weft-0_a")
    proxy = await join("web", replica)
    await until(lambda: whole(proxy, namespace), "the proxy has everything")
    await proxy.close()
    await remove_pod(client, namespace, "web-1")
    await until(
        lambda: all(pod.name != "web-1" for pod in replica.plane.status.world.proxies), "the control plane knows"
    )
    proxy.connect(replica.plane.server.port)
    await until(lambda: proxy.ending is not None, "the stream is refused")
    # What the client sees depends on whether it was still writing; the server knows why.
    assert replica.plane.server.refusals.by_reason == {Reason.POD: 1}
    assert proxy.resent == []


async def test_what_envoy_refuses_is_told_on_the_service_in_its_words(
    client: Client, namespace: str, start: Start, join: Join
) -> None:
    replica = await start("weft-0_a")
    proxy = await join("web", replica)
    await until(lambda: whole(proxy, namespace), "the proxy has everything")
    cluster = f"{namespace}/db/80/http2"
    version = proxy.model.holds[CLUSTER].pop(cluster)
    proxy.model.bad.add((CLUSTER, cluster, version))
    await proxy.close()
    proxy.connect(replica.plane.server.port)
    query = {"fieldSelector": "involvedObject.kind=Service,involvedObject.name=db,reason=ConfigurationRejected"}
    async with asyncio.timeout(20):
        while True:
            listed = await client.request("GET", f"/api/v1/namespaces/{namespace}/events", query=query)
            if listed["items"]:
                break
            await asyncio.sleep(0.05)  # nobody but the API server knows
    (event,) = listed["items"]
    assert event["message"].startswith(
        f"Envoy refused Cluster {cluster} and goes on with what it had: refused {cluster}"
    )


async def test_every_namespace_can_check_who_the_control_plane_is(client: Client, namespace: str, start: Start) -> None:
    replica = await start("weft-0_a")
    root = replica.plane.authority.bundle_pem().decode()
    found = await eventually(client, f"/api/v1/namespaces/{namespace}/configmaps/weft-root")
    assert found["data"] == {"root.pem": root}


async def test_a_replica_tells_who_leads_how_the_ca_stands_and_what_became_of_tokens(
    namespace: str, start: Start, join: Join
) -> None:
    replica = await start("weft-0_a")
    proxy = await join("web", replica)
    await until(lambda: whole(proxy, namespace), "the proxy has everything")
    await until(lambda: replica.leading, "it leads")
    where = replica.plane.settings.admin_socket
    assert where is not None
    admin = AdminClient(where)
    status = await asyncio.to_thread(admin.get, "/status")
    assert (status["ready"], status["proxies"]) == (True, 1)
    cluster = status["cluster"]
    assert (cluster["leader"], cluster["leading"], cluster["tokens"]) == ("weft-0_a", True, {"reviewed": 1})
    assert cluster["certificate_authority"]["trouble"] == ""
    metrics = await asyncio.to_thread(admin.text, "/metrics")
    for line in ("weft_leader 1.0", 'weft_tokens_total{outcome="reviewed"} 1.0', "weft_ca_trouble 0.0"):
        assert f"\n{line}\n" in metrics
    assert "PRIVATE KEY" not in metrics + str(status)
