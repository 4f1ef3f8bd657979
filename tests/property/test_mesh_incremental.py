"""A Builder kept across edits means the same as a fresh one, whatever is edited and in whatever order it arrives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kube.objects import ContainerPort, EndpointSlice, Namespace, Pod, Service
from kube.problem import Ref
from mesh.build import Builder
from mesh.model import HttpRule, Mesh, Protocol, TcpRule
from mesh.settings import Access, MeshSettings
from mesh_objects import (
    deployment,
    enrolled_namespace,
    entry,
    group,
    match,
    namespace,
    pod,
    port,
    service,
    slice_of,
    split,
    target,
    tcp_route,
    udp_route,
)
from smi.kinds import HTTPRouteGroup, RuleRef, Subject, TCPRoute, TrafficSplit, TrafficTarget
from smi.resources import Anything, Resources

NAMES = st.sampled_from(["a", "b", "c"])
SPACES = st.sampled_from(["shop", "far"])
PORT_NAMES = st.sampled_from(["http", "tcp", "web", "grpc"])
NUMBERS = st.sampled_from([80, 81, 8080, 9000])
RULES = st.lists(
    st.builds(
        RuleRef,
        kind=st.sampled_from(["HTTPRouteGroup", "TCPRoute", "UDPRoute", "HTTPRoute"]),
        name=NAMES,
        matches=st.none() | st.lists(NAMES, max_size=2).map(tuple),
    ),
    max_size=3,
)
SUBJECTS = st.builds(
    Subject,
    kind=st.sampled_from(["ServiceAccount", "ServiceAccount", "ServiceAccount", "Group"]),
    name=NAMES,
    namespace=st.sampled_from(["", "", "shop", "far"]),
    port=st.none() | NUMBERS,
)


@st.composite
def services(draw: st.DrawFn) -> Service:
    ports = [port(draw(NUMBERS), draw(PORT_NAMES), draw(NUMBERS)) for _ in range(draw(st.integers(1, 2)))]
    selector = draw(st.sampled_from([{"app": "a"}, {"app": "b"}, {}]))
    ip = draw(st.sampled_from(["10.96.0.1", "10.96.0.2", "None", "nonsense"]))
    return service(draw(NAMES), *ports, space=draw(SPACES), ip=ip, selector=selector)


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    ports = tuple(
        ContainerPort(number, draw(PORT_NAMES)) for number in draw(st.lists(NUMBERS, max_size=2, unique=True))
    )
    return pod(
        f"{draw(NAMES)}-{draw(st.integers(1, 2))}",
        *ports,
        space=draw(SPACES),
        account=draw(NAMES),
        ip=draw(st.sampled_from(["10.0.0.1", "10.0.0.2", ""])),
        meshed=draw(st.booleans()),
        mtls=draw(st.sampled_from(["strict", "permissive", "wrong"])),
    )


@st.composite
def slices(draw: st.DrawFn) -> EndpointSlice:
    entries = [
        entry(
            draw(st.sampled_from(["", "a-1", "b-1", "c-2"])),
            draw(st.sampled_from(["10.0.0.1", "10.0.0.2", "nonsense"])),
            draw(st.sampled_from([True, False, None])),
            draw(st.booleans()),
            draw(st.booleans()),
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    name = f"s{draw(st.integers(1, 2))}"
    return slice_of(draw(NAMES), *entries, name=name, port=draw(PORT_NAMES), number=draw(NUMBERS), space=draw(SPACES))


@st.composite
def splits(draw: st.DrawFn) -> TrafficSplit:
    roots = st.sampled_from(["a", "b", "c.shop", "a.far", "missing"])
    backends = draw(st.lists(st.tuples(roots, st.integers(0, 2**33)), max_size=3))
    created = draw(st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]))
    return split(draw(NAMES), draw(roots), *backends, matches=draw(RULES), created=created)


@st.composite
def groups(draw: st.DrawFn) -> HTTPRouteGroup:
    found = draw(st.lists(st.builds(match, NAMES, st.sampled_from([None, "/x", "/y"])), max_size=2))
    return group(draw(NAMES), *found, invalid=draw(st.lists(NAMES, max_size=1)))


@st.composite
def namespaces(draw: st.DrawFn) -> Namespace:
    word = draw(st.sampled_from(["enforced", "permissive", "wrong", "enrolled"]))
    name = draw(SPACES)
    return enrolled_namespace(name) if word == "enrolled" else namespace(name, access=word)


TARGETS: st.SearchStrategy[TrafficTarget] = st.builds(
    target, NAMES, SUBJECTS, st.lists(SUBJECTS, max_size=2), RULES, space=SPACES
)
TCP_ROUTES: st.SearchStrategy[TCPRoute] = st.builds(
    lambda name, numbers: tcp_route(name, *numbers), NAMES, st.lists(NUMBERS, max_size=2)
)
OBJECTS: st.SearchStrategy[Anything] = st.one_of(
    services(),
    pods(),
    slices(),
    splits(),
    groups(),
    namespaces(),
    TARGETS,
    TARGETS,
    TCP_ROUTES,
    st.builds(udp_route, NAMES),
    st.builds(deployment, NAMES, account=NAMES, space=SPACES),
)
SETTINGS = st.builds(MeshSettings, access=st.sampled_from(Access))
WORLDS = st.lists(OBJECTS, max_size=25).map(lambda found: {item.ref: item for item in found})


@st.composite
def histories(draw: st.DrawFn) -> list[dict[Ref, Anything]]:
    """A world, and what becomes of it by adding, changing and removing objects."""
    world = dict(draw(WORLDS))
    history = [dict(world)]
    for _ in range(draw(st.integers(1, 4))):
        for item in draw(st.lists(OBJECTS, max_size=3)):
            world[item.ref] = item
        for ref in draw(st.lists(st.sampled_from(sorted(world)), max_size=2, unique=True)) if world else []:
            del world[ref]
        history.append(dict(world))
    return history


@settings(deadline=None, max_examples=150)
@given(histories(), SETTINGS)
def test_a_builder_kept_across_edits_equals_a_fresh_one(
    history: list[dict[Ref, Anything]], chosen: MeshSettings
) -> None:
    kept = Builder(chosen)
    for world in history:
        assert kept.build(Resources(world)) == Builder(chosen).build(Resources(world))


@settings(deadline=None, max_examples=100)
@given(WORLDS, SETTINGS, st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(world: dict[Ref, Anything], chosen: MeshSettings, random: object) -> None:
    items = list(world.items())
    shuffled = items.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random
    one, other = (Builder(chosen).build(Resources(dict(found))) for found in (items, shuffled))
    assert one == other
    assert in_order(one) == in_order(other)


@settings(deadline=None, max_examples=100)
@given(WORLDS, SETTINGS)
def test_the_same_again_is_the_identical_object(world: dict[Ref, Anything], chosen: MeshSettings) -> None:
    builder = Builder(chosen)
    first, ran = builder.build(Resources(dict(world))), builder.runs()
    second = builder.build(Resources(dict(reversed(world.items()))))
    assert builder.runs() == ran
    for part in ("destinations", "backends", "endpoints", "pods", "workloads", "proxies", "scopes"):
        assert getattr(first, part) is getattr(second, part)


@settings(deadline=None, max_examples=300)
@given(WORLDS, SETTINGS)
def test_never_more_access_than_a_target_says(world: dict[Ref, Anything], chosen: MeshSettings) -> None:
    mesh = Builder(chosen).build(Resources(world))
    targets = {str(item.ref): item for item in world.values() if isinstance(item, TrafficTarget)}
    for workload in mesh.workloads.values():
        for inbound in workload.ports:
            rules: list[HttpRule | TcpRule] = [*inbound.http_rules, *inbound.tcp_rules]
            for rule in rules:
                origin = targets[rule.origin]
                assert not inbound.open
                assert origin.destination.kind == "ServiceAccount"
                assert origin.destination.name == workload.identity.service_account
                assert origin.namespace == workload.identity.namespace
                assert origin.destination.port in {None, inbound.port}
                assert {item.service_account for item in rule.identities} <= sources(origin)
                assert rule.identities


@settings(deadline=None, max_examples=300)
@given(WORLDS, SETTINGS)
def test_a5_every_rule_without_matches_stems_from_a_target_of_tcp_routes_only(
    world: dict[Ref, Anything], chosen: MeshSettings
) -> None:
    mesh = Builder(chosen).build(Resources(world))
    targets = {str(item.ref): item for item in world.values() if isinstance(item, TrafficTarget)}
    for workload in mesh.workloads.values():
        for inbound in workload.ports:
            assert not (inbound.protocol is Protocol.TCP and inbound.http_rules)
            assert not (inbound.protocol.is_http and inbound.tcp_rules)
            for rule in inbound.http_rules:
                if not rule.matches:
                    assert {item.kind for item in targets[rule.origin].rules} - {"UDPRoute"} == {"TCPRoute"}
            for tcp_rule in inbound.tcp_rules:
                assert covered(world, targets[tcp_rule.origin], inbound.port)


@settings(deadline=None, max_examples=150)
@given(WORLDS, SETTINGS)
def test_what_the_model_refers_to_is_there(world: dict[Ref, Anything], chosen: MeshSettings) -> None:
    mesh = Builder(chosen).build(Resources(world))
    assert set(mesh.destinations) == set(mesh.backends) == set(mesh.endpoints)
    assert set(mesh.proxies.values()) == set(mesh.workloads)
    assert set(mesh.scopes) == {workload.identity for workload in mesh.workloads.values()}
    assert set(mesh.pods) <= set(mesh.proxies)
    for destination in mesh.destinations.values():
        assert not destination.routes[-1].matches
        assert all(route.matches for route in destination.routes[:-1])
        for route in destination.routes:
            assert bool(route.reason) is not bool(route.shares)
            assert {share.backend for share in route.shares} <= set(mesh.backends)
            assert not route.shares or 0 < sum(share.weight for share in route.shares) < 2**32
    for scope in mesh.scopes.values():
        assert scope.destinations <= scope.backends <= set(mesh.backends)
        assert scope.pods <= set(mesh.pods)


def covered(world: dict[Ref, Anything], origin: TrafficTarget, number: int) -> bool:
    """Whether some TCPRoute of a target is about this port."""
    named = [
        world.get(Ref("TCPRoute", origin.namespace, rule.name)) for rule in origin.rules if rule.kind == "TCPRoute"
    ]
    return any(isinstance(item, TCPRoute) and (not item.ports or number in item.ports) for item in named)


def sources(origin: TrafficTarget) -> set[str]:
    return {source.name for source in origin.sources if source.kind == "ServiceAccount"}


def in_order(mesh: Mesh) -> list[object]:
    """The order in which each mapping of the mesh is walked."""
    parts: list[Mapping[Any, Any]] = [
        mesh.destinations,
        mesh.backends,
        mesh.endpoints,
        mesh.pods,
        mesh.workloads,
        mesh.proxies,
    ]
    parts.append(mesh.scopes)
    return [*(list(part) for part in parts), mesh.problems]
