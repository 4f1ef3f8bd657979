"""Modes by mesh, namespace, workload and port: the nearest word counts, and a wrong one means the stricter (A1, H3)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from kube.objects import ContainerPort, Meta, Pod
from kube.problem import Ref
from mesh.model import Mesh, PodId
from mesh.settings import Access, MeshSettings, Mtls
from mesh_objects import (
    account,
    app,
    build,
    deployment,
    enrolled_namespace,
    entry,
    group,
    http,
    identity,
    inbound,
    match,
    namespace,
    pod,
    port,
    port_id,
    problems,
    service,
    slice_of,
    target,
    weft,
    workload,
)
from smi.resources import Anything

PORTS = (ContainerPort(8080), ContainerPort(9000))
ITEMS = [group("items", match("all")), target("t", "web", rules=[http("items")])]


def said(words: Mapping[str, str]) -> Pod:
    """A pod with these annotations."""
    made = pod("web-1", *PORTS)
    return replace(made, metadata=replace(made.metadata, annotations={**made.metadata.annotations, **weft(words)}))


def opened(mesh: Mesh) -> dict[int, bool]:
    return {item.port: item.open for item in workload(mesh, "web-1").ports}


@pytest.mark.parametrize(
    ("setting", "of_namespace", "of_pod", "want"),
    [
        (Access.ENFORCED, None, None, False),
        (Access.PERMISSIVE, None, None, True),
        (Access.PERMISSIVE, "enforced", None, False),
        (Access.ENFORCED, "permissive", None, True),
        (Access.ENFORCED, None, "permissive", True),
        (Access.ENFORCED, "permissive", "enforced", False),
        (Access.PERMISSIVE, None, "off", False),
        (Access.PERMISSIVE, "off", None, False),
    ],
)
def test_a1_the_nearest_word_on_access_counts_and_a_wrong_one_means_enforced(
    setting: Access, of_namespace: str | None, of_pod: str | None, want: bool
) -> None:
    mesh = build(
        service("web"),
        namespace(access=of_namespace) if of_namespace else namespace(),
        pod("web-1", access=of_pod) if of_pod else pod("web-1"),
        settings=MeshSettings(access=setting),
    )
    assert inbound(mesh, "web-1").open is want
    assert bool(problems(mesh, "A1")) is ("off" in {of_namespace, of_pod})


@pytest.mark.parametrize(
    ("words", "want"),
    [
        ({"open_ports": "9000"}, {8080: False, 9000: True}),
        ({"open_ports": "9000", "access": "permissive"}, {8080: True, 9000: True}),
        ({"enforced_ports": "9000"}, {8080: False, 9000: False}),
        ({"enforced_ports": "9000", "access": "permissive"}, {8080: True, 9000: False}),
        ({"open_ports": "7000"}, {7000: True, 8080: False, 9000: False}),
    ],
)
def test_a1_a_ports_own_word_comes_before_its_workloads(words: dict[str, str], want: dict[int, bool]) -> None:
    mesh = build(said(words))
    assert opened(mesh) == want
    assert not problems(mesh, "A1")


def test_a1_a_port_that_is_both_open_and_enforced_is_enforced() -> None:
    mesh = build(pod("web-1", *PORTS, open_ports="8080,9000", enforced_ports="9000"))
    assert opened(mesh) == {8080: True, 9000: False}
    assert [problem.field for problem in problems(mesh, "A1")] == ["metadata.annotations[weft.dev/open-ports]"]


def test_a1_where_it_is_unclear_which_port_is_to_be_enforced_all_are() -> None:
    mesh = build(namespace(access="permissive"), pod("web-1", *PORTS, open_ports="8080", enforced_ports="http"))
    assert opened(mesh) == {8080: False, 9000: False}
    assert [problem.object for problem in problems(mesh, "A1")] == [Ref("Pod", "shop", "web-1")]


def test_a1_a_word_that_is_no_port_opens_none() -> None:
    mesh = build(pod("web-1", *PORTS, open_ports="http, 99999, 9000"))
    assert opened(mesh) == {8080: False, 9000: True}
    assert len(problems(mesh, "A1")) == 2


def test_a1_rules_hold_on_the_ports_that_are_not_open() -> None:
    mesh = build(service("web"), ITEMS, pod("web-1", *PORTS, open_ports="9000"))
    assert [rule.identities for rule in inbound(mesh, "web-1").http_rules] == [(identity("client"),)]
    assert inbound(mesh, "web-1", 9000).http_rules == ()


@pytest.mark.parametrize(
    ("words", "want"),
    [
        ({"permissive_ports": "9000"}, {8080: Mtls.STRICT, 9000: Mtls.PERMISSIVE}),
        ({"strict_ports": "9000", "mtls": "permissive"}, {8080: Mtls.PERMISSIVE, 9000: Mtls.STRICT}),
        ({"strict_ports": "9000", "permissive_ports": "9000"}, {8080: Mtls.STRICT, 9000: Mtls.STRICT}),
        ({"strict_ports": "x", "mtls": "permissive"}, {8080: Mtls.STRICT, 9000: Mtls.STRICT}),
    ],
)
def test_h3_a_ports_own_word_comes_before_its_workloads(words: dict[str, str], want: dict[int, Mtls]) -> None:
    mesh = build(said(words))
    assert {item.port: item.mtls for item in workload(mesh, "web-1").ports} == want
    wrong = words.get("strict_ports") in {"x", words.get("permissive_ports")}
    assert bool(problems(mesh, "H3")) is wrong


def test_a_change_of_the_namespaces_access_gives_no_pod_another_role() -> None:
    made = [build(namespace(access=word), pod("web-1", *PORTS)) for word in ("enforced", "permissive")]
    assert made[0].proxies == made[1].proxies


def test_pods_with_other_access_have_other_roles() -> None:
    mesh = build(pod("web-1", *PORTS), pod("web-2", *PORTS, access="permissive"), pod("web-3", *PORTS, open_ports="9"))
    assert len(set(mesh.proxies.values())) == 3


def test_a16_everyone_is_told_of_an_open_workload_in_an_enforced_namespace() -> None:
    plain = [*app("client", "10.0.0.1"), *app("api", "10.0.0.3"), service("web", ip="10.96.0.9")]
    mesh = build(plain, pod("web-1", ip="10.0.0.2", access="permissive"))
    scope = mesh.scopes[identity("client")]
    assert scope.destinations == {port_id("web")}
    assert scope.pods == {PodId("shop", "web-1")}


def test_a16_a_service_with_open_and_ruled_pods_is_told_to_everyone() -> None:
    mesh = build(
        *app("client", "10.0.0.1"),
        *[service("web", ip="10.96.0.9"), pod("web-1", ip="10.0.0.2"), pod("web-2", ip="10.0.0.3", open_ports="8080")],
    )
    scope = mesh.scopes[identity("client")]
    assert scope.destinations == {port_id("web")}
    assert scope.pods == {PodId("shop", "web-2")}


def test_a16_who_is_granted_an_enforced_workload_is_told_of_it_wherever_its_service_is_exported_to() -> None:
    """In a permissive namespace the export limits who is told; a grant on an enforced pod there counts as ever."""
    caller = pod("client-1", space="far", ip="10.0.0.9")
    web: list[Anything] = [
        service("web", ip="10.96.0.9"),
        pod("web-1", ip="10.0.0.2", access="enforced"),
        group("items", match("all")),
    ]
    kept = namespace(access="permissive", export_to=".")
    told = [
        build(caller, kept, web, target("t", "web", [account("client", space)], [http("items")])).scopes[
            identity("client", "far")
        ]
        for space in ("shop", "far")
    ]
    assert told[0].destinations == frozenset()
    assert told[1].destinations == {port_id("web")}
    assert told[1].pods == {PodId("shop", "web-1")}


def test_a16_scaling_an_open_workload_to_zero_changes_nobodys_answer() -> None:
    made = deployment("web")
    labels = made.spec.template.metadata.labels
    template = replace(made.spec.template, metadata=Meta(labels=labels, annotations={"weft.dev/access": "permissive"}))
    scaled = replace(made, spec=replace(made.spec, template=template))
    mesh = build(enrolled_namespace(), *app("client", "10.0.0.1"), service("web", ip="10.96.0.9"), scaled)
    assert port_id("web") in mesh.scopes[identity("client")].destinations


def test_a16_a_service_without_selector_may_lead_to_an_open_pod() -> None:
    mesh = build(
        *app("client", "10.0.0.1"),
        service("web", port(), selector={}, ip="10.96.0.9"),
        pod("web-1", ContainerPort(8080), ip="10.0.0.2", access="permissive"),
        slice_of("web", entry("web-1", "10.0.0.2")),
    )
    assert port_id("web") in mesh.scopes[identity("client")].destinations
