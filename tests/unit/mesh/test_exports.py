"""Whom a Service is told to under permissive access, and which pods are told of at scale (rule A16)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kube.objects import ContainerPort, Service
from mesh import scopes
from mesh.model import Mesh, PodId, PortId
from mesh.settings import Access, MeshSettings
from mesh_objects import (
    app,
    build,
    group,
    http,
    identity,
    match,
    namespace,
    pod,
    port_id,
    problems,
    service,
    target,
    weft,
)
from smi.resources import Anything
from xds.names import OUTBOUND_LISTENER
from xds.resource import LISTENER
from xds.translate.world import TranslateSettings, Translator

OPEN = MeshSettings(access=Access.PERMISSIVE)
PORT = ContainerPort(8080, "http")
FAR, NEAR = identity("far", "away"), identity("near")
CALLERS: list[Anything] = [pod("far-1", PORT, space="away", ip="10.1.0.1"), pod("near-1", PORT, ip="10.1.0.2")]


def exporting(objects: list[Anything], to: str) -> list[Anything]:
    """The same objects; every Service says to whom it is exported."""
    return [
        replace(item, metadata=replace(item.metadata, annotations=weft({"export-to": to})))
        if isinstance(item, Service)
        else item
        for item in objects
    ]


def told(mesh: Mesh, port: PortId) -> set[str]:
    """The namespaces whose callers are told of this port."""
    return {caller.namespace for caller, scope in mesh.scopes.items() if port in scope.destinations}


@pytest.mark.parametrize(
    ("to", "namespaces"),
    [
        (".", {"shop"}),
        ("*", {"shop", "away"}),
        ("away", {"away"}),
        ("., away", {"shop", "away"}),
        ("elsewhere", set()),
        ("*, elsewhere", {"shop", "away"}),
    ],
)
def test_a16_a_permissive_service_is_told_where_it_is_exported_to(to: str, namespaces: set[str]) -> None:
    mesh = build(exporting(app("web", "10.0.0.2"), to), CALLERS, settings=OPEN)
    assert told(mesh, port_id("web")) == namespaces
    assert mesh.problems == ()


def test_a16_without_the_annotation_everyone_is_told() -> None:
    assert told(build(app("web", "10.0.0.2"), CALLERS, settings=OPEN), port_id("web")) == {"shop", "away"}


def test_a16_a_namespace_speaks_for_its_services_and_a_service_for_itself() -> None:
    shop = namespace(export_to=".")
    web, api = app("web", "10.0.0.2"), exporting(app("api", "10.0.0.3"), "*")
    mesh = build(shop, web, api, CALLERS, settings=OPEN)
    assert told(mesh, port_id("web")) == {"shop"}
    assert told(mesh, port_id("api")) == {"shop", "away"}


@pytest.mark.parametrize(("to", "wrong"), [("Shop!", "'Shop!'"), ("", "No namespace"), (" , ", "No namespace")])
def test_a16_a_word_that_is_no_namespace_is_a_problem_and_exports_to_nobody(to: str, wrong: str) -> None:
    mesh = build(exporting(app("web", "10.0.0.2"), to), CALLERS, settings=OPEN)
    (problem,) = problems(mesh, "A16")
    assert wrong in problem.message
    assert problem.field == "metadata.annotations[weft.dev/export-to]"
    assert told(mesh, port_id("web")) == {"shop"}


def test_a16_good_words_beside_a_bad_one_count() -> None:
    mesh = build(exporting(app("web", "10.0.0.2"), "away, -"), CALLERS, settings=OPEN)
    assert len(problems(mesh, "A16")) == 1
    assert told(mesh, port_id("web")) == {"away"}


def test_a16_under_default_deny_exports_change_nothing() -> None:
    def mesh(to: str) -> Mesh:
        rule = target("t", "web", ["near"], rules=[http("items")])
        return build(exporting(app("web", "10.0.0.2"), to), CALLERS, group("items", match("all")), rule)

    assert mesh("away").scopes == mesh("*").scopes
    assert port_id("web") in mesh("away").scopes[NEAR].destinations


def test_a16_a_service_without_sidecars_is_told_to_everyone() -> None:
    mesh = build(exporting(app("plain", "10.0.0.2", meshed=False), "."), CALLERS, settings=OPEN)
    assert told(mesh, port_id("plain")) == {"shop", "away"}


def test_a16_a_meshed_service_that_is_not_exported_is_refused_by_the_caller_s_own_sidecar() -> None:
    mesh = build(exporting(app("web", "10.0.0.2"), "."), CALLERS, settings=OPEN)
    world = Translator(TranslateSettings()).translate(mesh, "bundle")
    near, far = (world.roles[world.proxies[pod]].resources[LISTENER] for pod in (PodId("shop", "near-1"), FAR_POD))
    # Its address stands in the outbound listener, to be refused; only who is told has a listener that takes it first.
    assert b"10.96.0.2" in far[OUTBOUND_LISTENER].body
    assert far[OUTBOUND_LISTENER] == near[OUTBOUND_LISTENER]
    assert {name for name in near if "web" in name and "10.96.0.2" in str(near[name].body)}
    assert not {name for name in far if name != OUTBOUND_LISTENER and "10.96.0.2" in str(far[name].body)}


FAR_POD = PodId("away", "far-1")


def test_callers_of_other_namespaces_go_on_sharing_one_scope() -> None:
    others: list[Anything] = [pod(f"c-{number}", space=f"n{number}", ip=f"10.2.0.{number + 1}") for number in range(5)]
    mesh = build(exporting(app("web", "10.0.0.2"), "."), others, settings=OPEN)
    assert len({id(mesh.scopes[identity("c", f"n{number}")]) for number in range(5)}) == 1


def many(count: int, space: str = "shop", first: int = 1) -> list[Anything]:
    return [pod(f"many-{number}", PORT, space=space, ip=f"10.3.{first}.{number + 1}") for number in range(count)]


def test_h5_few_pods_are_told_of_to_everyone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "DIRECT_PODS", 5)
    mesh = build(many(3), CALLERS, settings=OPEN)
    assert mesh.scopes[FAR].pods == mesh.scopes[NEAR].pods == set(mesh.pods)
    assert len(mesh.pods) == 5


def test_h5_beyond_the_limit_callers_are_told_of_their_own_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "DIRECT_PODS", 5)
    mesh = build(many(4), CALLERS, settings=OPEN)  # with the callers six
    assert mesh.scopes[FAR].pods == {FAR_POD}
    assert mesh.scopes[NEAR].pods == {each for each in mesh.pods if each.namespace == "shop"}
    crowded = build(many(6), CALLERS, settings=OPEN)
    assert crowded.scopes[FAR].pods == {FAR_POD}
    assert crowded.scopes[NEAR].pods == frozenset()


def test_h5_pods_of_headless_services_are_always_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "DIRECT_PODS", 5)
    mesh = build(many(20), service("many", ip="None"), CALLERS, settings=OPEN)
    headless = {each for each in mesh.pods if each.name.startswith("many")}
    assert len(headless) == 20
    assert headless <= mesh.scopes[FAR].pods
    assert headless <= mesh.scopes[NEAR].pods


def test_a16_pods_of_a_headless_service_are_told_where_it_is_exported_to() -> None:
    mesh = build(many(2), exporting([service("many", ip="None")], "."), CALLERS, settings=OPEN)
    headless = {each for each in mesh.pods if each.name.startswith("many")}
    assert headless <= mesh.scopes[NEAR].pods
    assert headless.isdisjoint(mesh.scopes[FAR].pods)


def test_a16_other_pods_are_told_where_their_namespace_exports_to() -> None:
    mesh = build(namespace(export_to="."), many(2), CALLERS, settings=OPEN)
    assert mesh.scopes[FAR].pods == {FAR_POD}
    assert mesh.scopes[NEAR].pods == set(mesh.pods)


def test_the_scope_of_a_large_permissive_mesh_stays_small() -> None:
    crowd = [each for space in range(20) for each in many(100, f"n{space}", space)]
    mesh = build(crowd, settings=OPEN)
    assert len(mesh.pods) == 2_000
    assert max(len(scope.pods) for scope in mesh.scopes.values()) <= scopes.DIRECT_PODS
