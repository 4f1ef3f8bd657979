"""Two replicas on one API server replace the root: proxies of both are waited for, and everybody is told in time."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from api_server import ApiServer
from ca.rotation import Wish
from ca.settling import Lifetimes
from cluster_objects import bound_token
from controlplane.duties.serving import CERTIFICATE, NAME
from kube.client import Client
from kube.settings import ClientSettings
from openssl import refusal, split
from replicas import Proxy, Replica, make_meshed_pod, until
from rotation_world import name_of as leaf_domain
from xds import pb
from xds.names import BUNDLE_SECRET, LEAF_SECRET
from xds.resource import SECRET

RENAMED = "shop.example"
SHORT = Lifetimes(leaf=timedelta(seconds=10))


@pytest.fixture
async def replicas(api_server: ApiServer, namespace: str, tmp_path: Path) -> AsyncIterator[tuple[Replica, Replica]]:
    clients = [
        await Client.open(ClientSettings(kubeconfig=api_server.admin_kubeconfig, context=None)) for _ in range(2)
    ]
    begun = [
        await Replica.start(client, namespace, f"weft-{number}_x", tmp_path / f"admin-{number}", SHORT)
        for number, client in enumerate(clients)
    ]
    yield begun[0], begun[1]
    for replica, client in zip(begun, clients, strict=True):
        await replica.end()
        await client.close()


@pytest.fixture
async def proxies(
    client: Client, namespace: str, replicas: tuple[Replica, Replica]
) -> AsyncIterator[tuple[Proxy, Proxy]]:
    """One at each replica."""
    made = []
    for number, name in enumerate(("web", "db")):
        uid = await make_meshed_pod(client, namespace, name, f"10.9.1.{number + 1}")
        token = await bound_token(client, namespace, name, f"{name}-1", uid)
        plane = replicas[number].plane
        made.append(Proxy(f"{namespace}/{name}-1", token, plane.authority.bundle_pem()))
        made[-1].connect(plane.server.port)
    yield made[0], made[1]
    for proxy in made:
        await proxy.close()


def secret(proxy: Proxy, name: str) -> pb.Secret:
    return pb.Secret.FromString(proxy.model.bodies[SECRET, name])


async def test_the_root_is_replaced_when_the_proxies_of_both_replicas_have_acknowledged(
    client: Client, namespace: str, replicas: tuple[Replica, Replica], proxies: tuple[Proxy, Proxy], tmp_path: Path
) -> None:
    await until(lambda: any(replica.leading for replica in replicas), "one leads")
    await until(lambda: all(LEAF_SECRET in proxy.model.holds.get(SECRET, {}) for proxy in proxies), "all have leaves")
    follower = next(replica.plane.authority for replica in replicas if not replica.leading)
    old = follower.bundle_pem()
    await follower.ask(Wish.ROOT)
    await until(
        lambda: all(replica.plane.authority.issuers.root.certificate_pem != old for replica in replicas),
        "both sign with the new root",
    )
    both = follower.bundle_pem()
    assert len(split(both)) == 2
    for proxy in proxies:
        trusted = secret(proxy, BUNDLE_SECRET).validation_context.trusted_ca.inline_bytes
        assert trusted == both, "nobody signs with it before all have it"
    new = follower.issuers.root.certificate_pem
    await until(lambda: all(under(proxy, new, tmp_path) for proxy in proxies), "both have leaves under the new root")
    found = await client.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/weft-root")
    assert found["data"]["root.pem"].encode() == both
    webhook = await client.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{NAME}")
    served = b64decode(webhook["data"][CERTIFICATE])
    assert refusal(tmp_path, new, served) == ""
    assert refusal(tmp_path, old, served) == "", "a caller that knows the old root alone verifies it, too"
    await until(
        lambda: all(replica.plane.authority.bundle_pem() == new for replica in replicas), "the old root is retired"
    )
    kept = await client.request("GET", f"/api/v1/namespaces/{namespace}/secrets/weft-ca")
    assert sorted(kept["data"]) == [
        "crossed.pem", "intermediate.pem", "replica.weft-0_x", "replica.weft-1_x", "root.pem",
    ]  # fmt: skip


def under(proxy: Proxy, root: bytes, folder: Path) -> bool:
    """Whether the proxy's leaf leads to this root."""
    chain = secret(proxy, LEAF_SECRET).tls_certificate.certificate_chain.inline_bytes
    return refusal(folder, root, chain) == ""


async def test_the_trust_domain_is_changed_when_the_proxies_of_both_replicas_accept_both_names(
    client: Client, namespace: str, replicas: tuple[Replica, Replica], proxies: tuple[Proxy, Proxy]
) -> None:
    await until(lambda: any(replica.leading for replica in replicas), "one leads")
    await until(lambda: all(LEAF_SECRET in proxy.model.holds.get(SECRET, {}) for proxy in proxies), "all have leaves")
    follower = next(replica.plane.authority for replica in replicas if not replica.leading)
    await follower.rename(RENAMED)
    await until(
        lambda: all(replica.plane.authority.issuers.domains.signs == RENAMED for replica in replicas),
        "both sign with the new name",
    )
    assert follower.peers.domains == ("cluster.local", RENAMED)
    await until(lambda: all(name_of(proxy) == RENAMED for proxy in proxies), "both have leaves of the new name")
    await follower.ask(Wish.BACK)
    await until(
        lambda: all(replica.plane.authority.issuers.domains.signs == "cluster.local" for replica in replicas),
        "both sign with the old name again",
    )
    kept = await client.request("GET", f"/api/v1/namespaces/{namespace}/secrets/weft-ca")
    assert "trust-domain.json" in kept["data"]


def name_of(proxy: Proxy) -> str:
    """The trust domain of the proxy's leaf."""
    return leaf_domain(secret(proxy, LEAF_SECRET).tls_certificate.certificate_chain.inline_bytes)
