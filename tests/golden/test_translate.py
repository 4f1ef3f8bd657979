"""What Envoy is sent for a Mesh, one case per subject, and that the real Envoy accepts all of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

import shop_mesh as shop
from fake_authority import FakeAuthority
from mesh.model import Endpoint, HttpRule, InboundPort, Mesh, Protocol, Route, Share
from mesh.settings import Mtls
from smi.kinds import HeaderMatch, HttpMatch
from static_bootstrap import refused_by_envoy
from xds.readable import readable
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET
from xds.translate.world import TranslateSettings, Translator

FOLDER = Path(__file__).parent / "translate"
BUNDLE = "the trust bundle"


@dataclass(frozen=True)
class Case:
    """A Mesh, the role that is looked at, and the resources the case is about."""

    role: str
    shown: tuple[tuple[str, str], ...]
    mesh: Mesh


def _mixed_endpoints() -> Mesh:
    mesh = shop.shop()
    mixed = (
        Endpoint("10.77.0.2", 8080, shop.CATALOG),
        Endpoint("10.77.0.4", 8080, None),
        Endpoint("10.77.0.5", 8080, shop.CATALOG, ready=False),
        Endpoint("not an address", 8080, None),
        Endpoint("10.77.0.2", 8080, shop.CATALOG),
    )
    return replace(mesh, endpoints={**mesh.endpoints, shop.CATALOG_PORT: mixed})


def _zero_weight() -> Mesh:
    mesh = shop.shop()
    inventory = replace(
        mesh.destinations[shop.INVENTORY_PORT],
        tcp_shares=(Share(shop.INVENTORY_PORT, 0), Share(shop.ODD_PORT, 2)),
    )
    catalog = replace(
        mesh.destinations[shop.CATALOG_PORT], routes=(shop.split((shop.CATALOG_PORT, 0), (shop.CATALOG_V2_PORT, 1)),)
    )
    changed = {shop.INVENTORY_PORT: inventory, shop.CATALOG_PORT: catalog}
    return replace(mesh, destinations={**mesh.destinations, **changed})


def _no_tcp_backend() -> Mesh:
    mesh = shop.shop()
    inventory = replace(mesh.destinations[shop.INVENTORY_PORT], tcp_shares=())
    return replace(mesh, destinations={**mesh.destinations, shop.INVENTORY_PORT: inventory})


def _matches() -> Mesh:
    mesh = shop.shop()
    beta = HeaderMatch(name="x-beta", regex="yes|true$")
    matches = (
        HttpMatch(name="everything"),
        HttpMatch(name="one-method", methods=frozenset({"GET"})),
        HttpMatch(name="path", path_regex="/(a|b)/[0-9]+"),
        HttpMatch(name="headers", headers=(beta, HeaderMatch(name="host", regex="^shop\\."))),
    )
    catalog = replace(
        mesh.destinations[shop.CATALOG_PORT], routes=(Route(matches, (Share(shop.CATALOG_PORT, 1),), "split shop/ab"),)
    )
    rules = (
        HttpRule("TrafficTarget shop/one", (shop.STOREFRONT, shop.INVENTORY), matches),
        HttpRule("TrafficTarget shop/one", (shop.INTRUDER,), ()),
        HttpRule("TrafficTarget shop/no-sources", (), matches),
    )
    mesh = replace(mesh, destinations={**mesh.destinations, shop.CATALOG_PORT: catalog})
    ruled = InboundPort(8080, Protocol.HTTP, Mtls.STRICT, open=False, http_rules=rules)
    return shop.with_port(mesh, "catalog", ruled)


CASES = {
    "outbound-http": Case(
        "storefront",
        ((LISTENER, "outbound/shop/catalog/80"), (ROUTES, "outbound/shop/catalog/80"), (CLUSTER, "shop/catalog/80")),
        shop.shop(),
    ),
    "outbound-tcp": Case(
        "storefront",
        (
            (LISTENER, "outbound/shop/inventory/5432"),
            (EXTENSION, "outbound/shop/inventory/5432"),
            (CLUSTER, "shop/inventory/5432/tcp"),
        ),
        shop.shop(),
    ),
    "h2-outbound-detect": Case("storefront", ((LISTENER, "outbound/shop/odd/9"),), shop.shop()),
    "h2-outbound-http2": Case("storefront", ((CLUSTER, "shop/grpc/90"),), shop.shop()),
    "h4-unmeshed-endpoints": Case("storefront", ((ENDPOINTS, "shop/catalog/80"),), _mixed_endpoints()),
    "h5-pod-address": Case(
        "storefront",
        (
            (LISTENER, "pod/shop/inventory/5432"),
            (LISTENER, "pod/shop/inventory/9000"),
            (CLUSTER, "pod/shop/inventory/tcp"),
            (CLUSTER, "pod/shop/inventory/http"),
        ),
        shop.shop(),
    ),
    "h6-a16-outbound-listener": Case("storefront", ((LISTENER, "outbound"), (CLUSTER, "passthrough")), shop.shop()),
    "h6-egress-refused": Case("catalog", ((LISTENER, "outbound"),), replace(shop.shop(), meshed_addresses=())),
    "t2-zero-weight": Case(
        "storefront",
        ((ROUTES, "outbound/shop/catalog/80"), (EXTENSION, "outbound/shop/inventory/5432")),
        _zero_weight(),
    ),
    "t3-unusable-http": Case("storefront", ((ROUTES, "outbound/shop/empty/80"),), shop.shop()),
    "t3-unusable-tcp": Case("storefront", ((EXTENSION, "outbound/shop/inventory/5432"),), _no_tcp_backend()),
    "t8-a9-a10-a11-matches": Case(
        "storefront",
        ((ROUTES, "outbound/shop/catalog/80"),),
        _matches(),
    ),
    "a4-f1-http-rules": Case("catalog", ((ROUTES, "inbound/8080"),), _matches()),
    "a1-open": Case("inventory", ((ROUTES, "inbound/9090"),), shop.shop()),
    "f3-tcp-callers": Case("inventory", ((SECRET, "inbound/5432"), (SECRET, "inbound/9000")), shop.shop()),
    "h3-inbound-strict-and-permissive": Case("inventory", ((LISTENER, "inbound"),), shop.shop()),
    "inbound-clusters": Case("inventory", ((CLUSTER, "inbound"), (CLUSTER, "inbound/http2")), shop.shop()),
}


@pytest.mark.parametrize("name", CASES)
def test_is_sent_as_wanted(name: str, update_golden: bool) -> None:
    case = CASES[name]
    snapshot = Translator(TranslateSettings()).translate(case.mesh, BUNDLE).roles[case.role]
    made = [json.loads(json.dumps(readable(snapshot.resources[kind][resource]))) for kind, resource in case.shown]
    text = yaml.safe_dump_all(made, width=120)
    want = FOLDER / name / "want.yaml"
    if update_golden:
        want.parent.mkdir(parents=True, exist_ok=True)
        want.write_text(text)
    assert text == want.read_text()


def test_no_case_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_f6_envoy_accepts_every_role_of_every_case(name: str, tmp_path: Path) -> None:
    authority = FakeAuthority()
    world = Translator(TranslateSettings()).translate(CASES[name].mesh, authority.bundle)
    for snapshot in world.roles.values():
        assert refused_by_envoy(snapshot, authority.secrets(snapshot.identity), tmp_path) == ""
