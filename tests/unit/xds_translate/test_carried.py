"""HTTP/1.1 carried in HTTP/2 between sidecars (docs/decisions/0100)."""

from __future__ import annotations

from dataclasses import replace

import shop_mesh as shop
from mesh.model import Endpoint
from xds.resource import CLUSTER, ENDPOINTS
from xds.translate.endpoints import backend_endpoints
from xds.translate.naming import Flavour
from xds.translate.world import TranslateSettings, Translator

MESHED, PLAIN = Endpoint("10.0.0.1", 80, shop.CATALOG), Endpoint("10.0.0.2", 80, None)


def hosts(flavour: Flavour) -> bytes:
    return backend_endpoints(shop.CATALOG_PORT, flavour, (MESHED, PLAIN)).body


def test_h4_what_is_carried_in_http2_never_goes_to_a_pod_without_sidecar() -> None:
    assert b"10.0.0.1" in hosts(Flavour.CARRIED)
    assert b"10.0.0.2" not in hosts(Flavour.CARRIED)
    assert b"10.0.0.2" in hosts(Flavour.HTTP)


def test_h4_a_backend_has_another_cluster_once_everybody_behind_it_has_a_sidecar() -> None:
    """Another, not a changed one: its requests are led there before the old one goes."""
    mixed = shop.shop()
    backend = replace(mixed.backends[shop.CATALOG_V2_PORT], all_meshed=True)
    whole = replace(mixed, backends={**mixed.backends, shop.CATALOG_V2_PORT: backend})
    names = []
    for mesh in (mixed, whole):
        made = Translator(TranslateSettings()).translate(mesh, "bundle").roles["storefront"].resources
        told = {*made[CLUSTER], *made[ENDPOINTS]}
        names.append({name for name in told if name.startswith("shop/catalog-v2")})
    assert names == [{"shop/catalog-v2/80"}, {"shop/catalog-v2/80/http2"}]
