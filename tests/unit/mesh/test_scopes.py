from __future__ import annotations

from mesh.model import MeshedAddress, PodId, Protocol, Scope, ServiceId
from mesh.settings import Access, MeshSettings
from mesh_objects import (
    app,
    build,
    deployment,
    enrolled_namespace,
    group,
    http,
    identity,
    match,
    namespace,
    port_id,
    service,
    split,
    target,
    tcp,
    tcp_route,
)
from smi.resources import Anything

ITEMS = group("items", match("all"))
WORLD: list[Anything] = [
    *app("client", "10.0.0.1"),
    *app("web", "10.0.0.2"),
    *app("api", "10.0.0.3"),
    *app("plain", "10.0.0.4", meshed=False),
    ITEMS,
]
CLIENT = identity("client")


def test_a16_without_a_rule_only_services_outside_the_mesh_are_in_scope() -> None:
    mesh = build(WORLD)
    plain = frozenset({port_id("plain")})
    assert set(mesh.scopes) == {identity(name) for name in ("client", "web", "api")}
    assert mesh.scopes[CLIENT] == Scope(plain, frozenset(), plain)


def test_a16_a_rule_brings_the_destination_and_its_pods_into_the_callers_scope() -> None:
    mesh = build(WORLD, target("t", "web", rules=[http("items")]))
    scope = mesh.scopes[CLIENT]
    assert scope.destinations == scope.backends == {port_id("plain"), port_id("web")}
    assert scope.pods == {PodId("shop", "web-1")}
    assert mesh.scopes[identity("api")].destinations == {port_id("plain")}


def test_a16_a_tcp_rule_counts_like_an_http_rule() -> None:
    mesh = build(WORLD, tcp_route("every"), target("t", "web", rules=[tcp("every")]))
    assert port_id("web") in mesh.scopes[CLIENT].destinations


def test_a16_a_target_that_grants_nothing_brings_nothing() -> None:
    mesh = build(WORLD, target("t", "web", rules=[http("missing")]))
    assert port_id("web") not in mesh.scopes[CLIENT].destinations


def test_a16_a_destination_is_in_scope_for_those_who_may_call_one_of_its_backends() -> None:
    mesh = build(WORLD, split("s", "web", ("api", 1)), target("t", "api", rules=[http("items")]))
    scope = mesh.scopes[CLIENT]
    assert scope.destinations == {port_id("plain"), port_id("web"), port_id("api")}
    assert scope.backends == {port_id("plain"), port_id("web"), port_id("api")}


def test_a16_a_destination_brings_every_backend_of_its_routes() -> None:
    some = split("s", "web", ("api", 1), matches=[http("items")])
    mesh = build(WORLD, some, target("t", "web", rules=[http("items")]))
    assert mesh.scopes[CLIENT].destinations == {port_id("plain"), port_id("web")}
    assert mesh.scopes[CLIENT].backends == {port_id("plain"), port_id("web"), port_id("api")}


def test_a1_a_permissive_namespace_is_in_everyones_scope() -> None:
    mesh = build(WORLD, namespace(access="permissive"))
    assert mesh.scopes[CLIENT].destinations == set(mesh.destinations)
    assert mesh.scopes[CLIENT].pods == set(mesh.pods)


def test_callers_who_may_reach_the_same_share_one_scope() -> None:
    mesh = build(WORLD, settings=MeshSettings(access=Access.PERMISSIVE))
    assert len({id(scope) for scope in mesh.scopes.values()}) == 1


def test_scaling_to_zero_takes_nothing_out_of_scope() -> None:
    idle: list[Anything] = [enrolled_namespace(), service("idle", ip="10.96.0.9"), deployment("idle")]
    mesh = build(WORLD, idle, target("t", "idle", rules=[http("items")]))
    assert port_id("idle") in mesh.scopes[CLIENT].destinations


def test_a16_the_addresses_of_meshed_services_are_listed_in_order() -> None:
    mesh = build(WORLD)
    assert mesh.meshed_addresses == tuple(
        MeshedAddress(f"10.96.0.{number}", 80, Protocol.HTTP, ServiceId("shop", name))
        for number, name in [(1, "client"), (2, "web"), (3, "api")]
    )
