"""Two meshes with a CA each, and a sidecar of either: who is let in is by name, and each name by its own roots."""

from __future__ import annotations

import json
from dataclasses import replace

import shop_mesh as shop
from ca.authority import bundle_secret
from fake_authority import FakeAuthority
from mesh.model import HttpRule, Identity, InboundPort, Mesh, Protocol, TcpRule
from mesh.settings import Mtls
from shop_mesh import CATALOG_IP, INVENTORY_IP
from sidecars import Sidecars
from talk import GREETING, get, greet, heard, mirror
from xds.names import node_id
from xds.peers import Peers
from xds.resource import SECRET
from xds.translate.world import TranslateSettings, Translator

OURS, THEIRS = shop.TRUST_DOMAIN, "other.example"
STRANGER = Identity(THEIRS, "shop", "storefront")


class TwoMeshes:
    """Catalog and inventory are ours; the storefront is a pod of the other mesh, and calls them."""

    def __init__(self, lab: Sidecars) -> None:
        self._lab = lab
        self._roots = {OURS: lab.authority, THEIRS: FakeAuthority("theirs")}
        self._leaves = {
            domain: {identity: authority.secrets(identity)[0] for identity in (shop.CATALOG, shop.INVENTORY, STRANGER)}
            for domain, authority in self._roots.items()
        }
        self._forged = self._roots[THEIRS].secrets(shop.STOREFRONT)[0]
        self._translators = {domain: Translator(TranslateSettings()) for domain in self._roots}

    def apply(self, mesh: Mesh, *, federated: bool = True, forged: bool = False) -> None:
        """Tell the sidecars. `forged`: their root vouches for an identity of ours, which the caller then shows."""
        self._tell(OURS, mesh, ("catalog", "inventory"), federated=federated)
        self._tell(THEIRS, theirs(), ("storefront",), forged=forged)

    def _tell(
        self, domain: str, mesh: Mesh, pods: tuple[str, ...], *, federated: bool = True, forged: bool = False
    ) -> None:
        other = THEIRS if domain == OURS else OURS
        bundle = self._roots[domain].bundle
        foreign = ((other, self._roots[other].bundle),) if federated else ()
        peers = Peers(domain, (domain,), foreign, gone=() if federated else (other,))
        world = self._translators[domain].translate(mesh, bundle, peers)
        trusted = bundle_secret(bundle.encode(), domain, peers)
        for name in pods:
            snapshot = world.roles[world.proxies[shop.pod(name)]]
            leaf = self._forged if forged else self._leaves[domain][snapshot.identity]
            secrets = {**snapshot.resources[SECRET], leaf.name: leaf, trusted.name: trusted}
            self._lab.ads.publish(node_id(shop.pod(name)), {**snapshot.resources, SECRET: secrets})


def theirs() -> Mesh:
    """The other mesh, as far as it matters here: its storefront knows our Services and whom to expect there."""
    mesh = shop.shop()
    storefront = replace(mesh.workloads["storefront"], identity=STRANGER)
    return replace(
        mesh,
        workloads={**mesh.workloads, "storefront": storefront},
        scopes={**mesh.scopes, STRANGER: mesh.scopes[shop.STOREFRONT]},
    )


def ours(*callers: Identity, open_to_all: bool = False) -> Mesh:
    """Our mesh, where these may call the catalog by HTTP and the inventory by TCP."""
    http = (HttpRule("TrafficTarget shop/api", callers, ()),) if callers else ()
    tcp = (TcpRule("TrafficTarget shop/db", callers),) if callers else ()
    web = InboundPort(8080, Protocol.HTTP, Mtls.STRICT, open_to_all, () if open_to_all else http)
    lines = InboundPort(5432, Protocol.TCP, Mtls.STRICT, open_to_all, (), () if open_to_all else tcp)
    return shop.with_port(shop.with_port(shop.shop(), "catalog", web), "inventory", lines)


async def shown(lab: Sidecars) -> set[str]:
    """The serial numbers of the certificates that the caller shows."""
    found = json.loads(await lab.pods["storefront"].admin("/certs"))["certificates"]
    return {each["serial_number"] for used in found for each in used["cert_chain"]}


async def answers(lab: Sidecars, status: int, line: bytes) -> None:
    """Wait until the caller gets this by HTTP and by TCP."""
    caller = lab.pods["storefront"]

    async def both() -> bool:
        return (await get(caller, CATALOG_IP, 80)).status == status and await heard(caller, INVENTORY_IP, 5432) == line

    await lab.until(both, f"{status} and {line!r}")


async def test_a_caller_of_another_mesh_is_let_in_by_grant_and_by_the_roots_of_its_own_trust_domain(
    lab: Sidecars,
) -> None:
    await lab.pods["catalog"].serve(8080, mirror)
    await lab.pods["inventory"].serve(5432, greet)
    meshes = TwoMeshes(lab)

    meshes.apply(ours(STRANGER))
    await answers(lab, 200, GREETING)
    seen = (await get(lab.pods["storefront"], CATALOG_IP, 80)).body
    assert f"URI={STRANGER.uri}" in seen

    meshes.apply(ours())
    await answers(lab, 403, b"")
    meshes.apply(ours(open_to_all=True))
    await answers(lab, 403, b"")
    meshes.apply(ours(STRANGER))
    await answers(lab, 200, GREETING)

    # HTTP connections of before stand, and their requests are refused; for TCP each is a new handshake.
    for mesh in (ours(STRANGER), ours(open_to_all=True)):
        meshes.apply(mesh, federated=False)
        await answers(lab, 403, b"")
    meshes.apply(ours(STRANGER))
    await answers(lab, 200, GREETING)


async def test_the_roots_of_another_mesh_never_vouch_for_an_identity_of_ours(lab: Sidecars) -> None:
    await lab.pods["catalog"].serve(8080, mirror)
    await lab.pods["inventory"].serve(5432, greet)
    meshes, before = TwoMeshes(lab), await shown(lab)
    meshes.apply(ours(shop.STOREFRONT), forged=True)

    async def changed() -> bool:
        return (await shown(lab)).isdisjoint(before)

    await lab.until(changed, "the caller shows the forged certificate alone")
    for name in ("catalog", "inventory"):

        async def refused(name: str = name) -> bool:
            await get(lab.pods["storefront"], CATALOG_IP, 80)
            await heard(lab.pods["storefront"], INVENTORY_IP, 5432)
            found = await lab.pods[name].stats("inbound.ssl.fail_verify_error")
            return found.get("listener.inbound.ssl.fail_verify_error", 0) > 3

        await lab.until(refused, f"{name} refuses the handshake")
    assert (await get(lab.pods["storefront"], CATALOG_IP, 80)).status == 503
    assert await heard(lab.pods["storefront"], INVENTORY_IP, 5432) == b""
