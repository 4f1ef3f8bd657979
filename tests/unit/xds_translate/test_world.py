from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

import shop_mesh as shop
from mesh.model import Endpoint, HttpRule, InboundPort, Mesh, MeshedAddress, Protocol, ServiceId, TcpRule
from mesh.settings import Mtls
from proxy import ports
from xds import pb
from xds.resource import ENDPOINTS, ROUTES, SECRET, TYPES, Resource
from xds.snapshot import World
from xds.translate.transport import NOBODY
from xds.translate.world import TranslateSettings, Translator

BUNDLE = "the trust bundle"


def translate(mesh: Mesh) -> World:
    return Translator(TranslateSettings()).translate(mesh, BUNDLE)


def everything(world: World) -> Iterator[Resource]:
    for snapshot in world.roles.values():
        for named in snapshot.resources.values():
            yield from named.values()


def test_the_ports_are_those_the_redirect_rules_use() -> None:
    made = TranslateSettings()
    assert (made.outbound_port, made.inbound_port) == (ports.OUTBOUND, ports.INBOUND)


def test_every_resource_stands_under_its_own_name_and_type() -> None:
    for snapshot in translate(shop.shop()).roles.values():
        assert list(snapshot.resources) == list(TYPES)
        for kind, named in snapshot.resources.items():
            assert all(name == made.name and made.type_url == kind for name, made in named.items())


def test_roles_share_what_is_not_their_own() -> None:
    mesh = shop.shop()
    mesh = replace(mesh, scopes=dict.fromkeys(mesh.scopes, mesh.scopes[shop.STOREFRONT]))
    roles = translate(mesh).roles
    for kind in TYPES:
        for name, made in roles["storefront"].resources[kind].items():
            if name not in {"inbound", "outbound"}:
                assert roles["inventory"].resources[kind][name] is made


def test_another_replica_changes_no_resource() -> None:
    mesh = shop.shop()
    more = replace(mesh, proxies={**mesh.proxies, shop.pod("another"): "catalog"})
    assert list(everything(translate(mesh))) == list(everything(translate(more)))


def test_an_endpoint_that_goes_changes_its_own_resource_only() -> None:
    translator = Translator(TranslateSettings())
    mesh = shop.shop()
    before = translator.translate(mesh, BUNDLE)
    gone = replace(mesh, endpoints={**mesh.endpoints, shop.CATALOG_V2_PORT: ()})
    after = translator.translate(gone, BUNDLE)
    assert after.roles["catalog"] is before.roles["catalog"]
    for kind in TYPES:
        old, new = before.roles["storefront"].resources[kind], after.roles["storefront"].resources[kind]
        if kind == ENDPOINTS:
            assert {name for name in new if new[name] is not old[name]} == {"shop/catalog-v2/80"}
        else:
            assert new is old


def test_the_same_mesh_again_is_the_same_world() -> None:
    translator = Translator(TranslateSettings())
    before = translator.translate(shop.shop(), BUNDLE)
    after = translator.translate(shop.shop(), BUNDLE)
    assert all(after.roles[role] is before.roles[role] for role in before.roles)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=7), max_size=8))
def test_what_came_before_makes_no_difference(steps: list[int]) -> None:
    translator = Translator(TranslateSettings())
    for step in steps:
        mesh = variant(step)
        incremental = translator.translate(mesh, BUNDLE)
        fresh = translate(mesh)
        assert incremental == fresh


def variant(number: int) -> Mesh:
    """A Mesh that differs from the others in the three bits of its number: endpoints, rules, services."""
    mesh = shop.shop()
    if number & 1:
        mesh = replace(mesh, endpoints={**mesh.endpoints, shop.ODD_PORT: (Endpoint("10.77.0.7", 1, None),)})
    if number & 2:
        mesh = shop.with_port(mesh, "catalog", InboundPort(8080, Protocol.HTTP, Mtls.STRICT, open=True))
    if number & 4:
        rest = {port: made for port, made in mesh.destinations.items() if port != shop.ODD_PORT}
        another = MeshedAddress("10.96.9.9", 9, Protocol.TCP, ServiceId("shop", "another"))
        mesh = replace(mesh, destinations=rest, meshed_addresses=(another,))
    return mesh


def callers(mesh: Mesh, workload: str, port: int) -> list[str]:
    body = translate(mesh).roles[workload].resources[SECRET][f"inbound/{port}"].body
    context = pb.Secret.FromString(body).validation_context
    return [san.matcher.exact or san.matcher.prefix for san in context.match_typed_subject_alt_names]


def test_f1_f3_a_tcp_port_without_a_rule_names_a_caller_that_does_not_exist() -> None:
    mesh = shop.shop()
    assert callers(mesh, "inventory", 9000) == [NOBODY]
    nobody = (TcpRule("TrafficTarget shop/empty", ()),)
    port = InboundPort(5432, Protocol.TCP, Mtls.STRICT, open=False, tcp_rules=nobody)
    assert callers(shop.with_port(mesh, "inventory", port), "inventory", 5432) == [NOBODY]


def test_f5_the_tcp_callers_are_the_union_of_all_rules() -> None:
    rules = (TcpRule("b", (shop.STOREFRONT, shop.CATALOG)), TcpRule("a", (shop.STOREFRONT, shop.INTRUDER)))
    port = InboundPort(5432, Protocol.TCP, Mtls.STRICT, open=False, tcp_rules=rules)
    want = [who.uri for who in (shop.CATALOG, shop.INTRUDER, shop.STOREFRONT)]
    assert callers(shop.with_port(shop.shop(), "inventory", port), "inventory", 5432) == want


def test_f1_http_rules_without_callers_make_no_policy() -> None:
    rules = (HttpRule("TrafficTarget shop/empty", (), ()),)
    port = InboundPort(8080, Protocol.HTTP, Mtls.STRICT, open=False, http_rules=rules)
    snapshot = translate(shop.with_port(shop.shop(), "catalog", port)).roles["catalog"]
    config = pb.RouteConfiguration.FromString(snapshot.resources[ROUTES]["inbound/8080"].body)
    per_route = pb.RBACPerRoute()
    config.virtual_hosts[0].typed_per_filter_config["envoy.filters.http.rbac"].Unpack(per_route)
    assert per_route.rbac.HasField("rules")
    assert per_route.rbac.rules.action == pb.RBAC.ALLOW
    assert not per_route.rbac.rules.policies
