"""A Builder kept across edits means the same as a fresh one, whatever is edited and in whatever order it arrives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kube.objects import ContainerPort, EndpointSlice, Namespace, Pod, Service
from kube.problem import Ref
from mesh.build import Builder
from mesh.model import HttpRule, Identity, Mesh, Protocol, TcpRule
from mesh.settings import Access, Egress, MeshSettings
from mesh_objects import (
    app,
    deployment,
    enrolled_namespace,
    entry,
    group,
    http,
    match,
    namespace,
    pod,
    port,
    service,
    slice_of,
    split,
    target,
    tcp,
    tcp_route,
    udp,
    udp_route,
)
from smi.kinds import (
    EgressPolicy,
    EgressPort,
    EgressProtocol,
    HttpMatch,
    HTTPRouteGroup,
    IdentityBinding,
    LabelRequirement,
    RuleRef,
    Subject,
    TCPRoute,
    TrafficSplit,
    TrafficTarget,
)
from smi.resources import Anything, Resources

KINDS = ("HTTPRouteGroup", "TCPRoute", "UDPRoute", "HTTPRoute")
NAMES = st.sampled_from(["a", "b", "c"])
SPACES = st.sampled_from(["shop", "shop", "far"])
PORT_NAMES = st.sampled_from(["http", "tcp", "web", "grpc"])
NUMBERS = st.sampled_from([80, 81, 8080, 9000])
RULES = st.lists(
    st.builds(
        RuleRef,
        kind=st.sampled_from(["HTTPRouteGroup", "HTTPRouteGroup", "TCPRoute", "TCPRoute", "UDPRoute", "HTTPRoute"]),
        name=NAMES,
        matches=st.none() | st.lists(NAMES, max_size=2).map(tuple),
    ),
    max_size=3,
)
SUBJECTS = st.builds(
    Subject,
    kind=st.sampled_from([*["ServiceAccount"] * 7, "IdentityBinding", "Group"]),
    name=NAMES,
    namespace=st.sampled_from(["", "", "", "shop", "far"]),
    port=st.sampled_from([None, None, None, 80, 8080]),
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
        **draw(st.sampled_from([{}, {}, {"access": "permissive"}, {"access": "enforced"}, {"open_ports": "80"}])),
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
    roots = st.sampled_from(["a", "b", "a", "b", "c.shop", "a.far", "missing"])
    backends = draw(st.lists(st.tuples(roots, st.integers(0, 2**33)), max_size=3))
    created = draw(st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]))
    return split(draw(NAMES), draw(roots), *backends, matches=draw(RULES), created=created)


@st.composite
def groups(draw: st.DrawFn) -> HTTPRouteGroup:
    found = draw(st.lists(st.builds(match, NAMES, st.sampled_from([None, "/x", "/y"])), max_size=2))
    return group(draw(NAMES), *found, invalid=draw(st.lists(NAMES, max_size=1)))


@st.composite
def namespaces(draw: st.DrawFn) -> Namespace:
    word = draw(st.sampled_from(["enforced", "enrolled", "permissive", "wrong"]))
    name = draw(SPACES)
    return enrolled_namespace(name) if word == "enrolled" else namespace(name, access=word)


BINDINGS: st.SearchStrategy[IdentityBinding] = st.builds(
    IdentityBinding,
    namespace=SPACES,
    name=NAMES,
    api_version=st.just(""),
    service_account=st.sampled_from(["", "a"]),
    spiffe_identities=st.sampled_from([(), ("cluster.local/ns/shop/sa/b",), ("other/ns/shop/sa/b",), ("wrong",)]),
    pod_selector=st.sampled_from([(), (LabelRequirement(key="app", operator="In", values=("a", "b")),)]),
)
TARGETS: st.SearchStrategy[TrafficTarget] = st.builds(
    target, NAMES, SUBJECTS, st.lists(SUBJECTS, max_size=2), RULES, space=SPACES
)
AIMED_RULES = st.lists(
    st.sampled_from(
        [
            *[http("a"), http("b", "a"), tcp("a"), tcp("b")] * 4,
            *[http("missing"), http("a", "missing"), tcp("missing"), udp("c")],
            RuleRef(kind="HTTPRoute", name="a"),
        ]
    ),
    min_size=1,
    max_size=3,
)
AIMED: st.SearchStrategy[TrafficTarget] = st.builds(
    target, NAMES, NAMES, st.lists(NAMES, min_size=1, max_size=2) | st.lists(SUBJECTS, max_size=2), AIMED_RULES
)
"""TrafficTargets that mostly grant something."""
TCP_ROUTES: st.SearchStrategy[TCPRoute] = st.builds(
    lambda name, numbers: tcp_route(name, *numbers), NAMES, st.lists(NUMBERS, max_size=2)
)
POLICIES: st.SearchStrategy[EgressPolicy] = st.builds(
    EgressPolicy,
    namespace=SPACES,
    name=NAMES,
    api_version=st.just("weft.dev/v1alpha1"),
    sources=st.lists(NAMES, min_size=1, max_size=2).map(tuple),
    ports=st.just((EgressPort(number=80, protocol=EgressProtocol.HTTP),)),
    hosts=st.sampled_from([("a.test",), ("*.test",), ("a.svc",)]),
    matches=st.none() | st.lists(st.builds(RuleRef, kind=st.just("HTTPRouteGroup"), name=NAMES), max_size=2).map(tuple),
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
    BINDINGS,
    POLICIES,
    st.builds(udp_route, NAMES),
    st.builds(deployment, NAMES, account=NAMES, space=SPACES),
)
ACCESS = st.sampled_from([*[Access.ENFORCED] * 4, Access.PERMISSIVE])
SETTINGS = st.builds(MeshSettings, access=ACCESS)
EGRESS = st.sampled_from(Egress)
DRAFTS = st.builds(MeshSettings, access=ACCESS, egress=EGRESS, identity_bindings=st.booleans())
"""For what holds whatever a TrafficTarget names; whom bindings name has tests of its own."""
GOOD: list[Anything] = [
    *app("a", "10.0.0.1"),
    *app("b", "10.0.0.2", protocol="web"),
    *app("c", "10.0.0.3", protocol="tcp"),
    *[group(name, match("a", f"/{name}"), match("b")) for name in "ab"],
    *[tcp_route("a"), tcp_route("b", 8080), udp_route("c")],
]
"""A world that makes sense, so that what is drawn on top of it meets something."""


@st.composite
def worlds(draw: st.DrawFn) -> dict[Ref, Anything]:
    kept = draw(st.sampled_from([GOOD, GOOD, GOOD[::2], []]))
    drawn = draw(st.lists(OBJECTS, max_size=12))
    aimed = draw(st.lists(AIMED, min_size=1, max_size=4)) + draw(st.lists(splits(), max_size=2))
    first, then = (drawn, kept) if draw(st.booleans()) else (kept, drawn)
    return {item.ref: item for item in [*first, *then, *aimed]}


WORLDS = worlds()


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
@given(histories(), DRAFTS)
def test_a_builder_kept_across_edits_equals_a_fresh_one(
    history: list[dict[Ref, Anything]], chosen: MeshSettings
) -> None:
    kept = Builder(chosen)
    for world in history:
        one, other = kept.build(Resources(world)), Builder(chosen).build(Resources(world))
        assert one == other
        assert in_order(one) == in_order(other)


@settings(deadline=None, max_examples=100)
@given(WORLDS, DRAFTS, st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(world: dict[Ref, Anything], chosen: MeshSettings, random: object) -> None:
    items = list(world.items())
    shuffled = items.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random
    one, other = (Builder(chosen).build(Resources(dict(found))) for found in (items, shuffled))
    assert one == other
    assert in_order(one) == in_order(other)


@settings(deadline=None, max_examples=100)
@given(WORLDS, DRAFTS)
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
def test_a4_a5_rules_are_exactly_what_the_targets_say(world: dict[Ref, Anything], chosen: MeshSettings) -> None:
    mesh = Builder(chosen).build(Resources(world))
    targets = {str(item.ref): item for item in world.values() if isinstance(item, TrafficTarget)}
    for workload in mesh.workloads.values():
        for inbound in workload.ports:
            http_rules = {rule.origin: rule.matches for rule in inbound.http_rules}
            tcp_rules = {rule.origin for rule in inbound.tcp_rules}
            for name, origin in targets.items():
                requests, connections = said(world, origin, inbound.port)
                if inbound.open or not concerns(origin, workload.identity):
                    requests, connections = None, False
                if inbound.protocol is Protocol.DETECT and requests is None:
                    connections = False  # whatever is not HTTP at first sight may be HTTP all the same
                if inbound.protocol is Protocol.TCP:
                    requests = None
                assert (set(http_rules[name]) if name in http_rules else None) == requests
                assert (name in tcp_rules) is (connections and not inbound.protocol.is_http)


@settings(deadline=None, max_examples=300)
@given(WORLDS, SETTINGS)
def test_a5_every_rule_without_matches_stems_from_a_target_of_tcp_routes_only(
    world: dict[Ref, Anything], chosen: MeshSettings
) -> None:
    mesh = Builder(chosen).build(Resources(world))
    targets = {str(item.ref): item for item in world.values() if isinstance(item, TrafficTarget)}
    rules = [rule for workload in mesh.workloads.values() for port in workload.ports for rule in port.http_rules]
    for rule in rules:
        if not rule.matches:
            assert {item.kind for item in targets[rule.origin].rules} - {"UDPRoute"} == {"TCPRoute"}


@settings(deadline=None, max_examples=150)
@given(WORLDS, SETTINGS)
def test_t8_only_a_split_without_matches_takes_all_requests(world: dict[Ref, Anything], chosen: MeshSettings) -> None:
    mesh = Builder(chosen).build(Resources(world))
    found = {str(item.ref): item for item in world.values() if isinstance(item, TrafficSplit)}
    for destination in mesh.destinations.values():
        last = destination.routes[-1]
        if last.origin in found and destination.protocol is not Protocol.TCP:
            assert not found[last.origin].matches


@settings(deadline=None, max_examples=150)
@given(WORLDS, DRAFTS)
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


def said(world: dict[Ref, Anything], origin: TrafficTarget, number: int) -> tuple[set[HttpMatch] | None, bool]:
    """The requests a target allows on a port (None: none at all, empty: every one), and whether other connections.

    Written from rules A4 to A8, F2 and V7, and on purpose not the way the mesh does it.
    """
    found = {kind: [rule for rule in origin.rules if rule.kind == kind] for kind in KINDS}
    routes = [world.get(Ref("TCPRoute", origin.namespace, rule.name)) for rule in found["TCPRoute"]]
    ports = [set(route.ports) or {number} for route in routes if isinstance(route, TCPRoute)]
    on_port = number in set().union(*ports) if found["TCPRoute"] else True
    if not on_port or origin.destination.port not in {None, number}:
        return None, False
    if found["HTTPRouteGroup"] or not found["TCPRoute"]:
        allowed = {item for rule in found["HTTPRouteGroup"] for item in chosen_matches(world, origin, rule)}
        return allowed or None, False
    return None if found["HTTPRoute"] else set(), True


def chosen_matches(world: dict[Ref, Anything], origin: TrafficTarget, rule: RuleRef) -> list[HttpMatch]:
    named = world.get(Ref("HTTPRouteGroup", origin.namespace, rule.name))
    matches = named.matches if isinstance(named, HTTPRouteGroup) else ()
    return [item for item in matches if not rule.matches or item.name in rule.matches]


def concerns(origin: TrafficTarget, identity: Identity) -> bool:
    """Whether a target is well-formed and about this identity."""
    to = origin.destination
    right_kind = to.kind == "ServiceAccount" and to.name == identity.service_account
    here = to.namespace in {"", origin.namespace} and origin.namespace == identity.namespace
    return right_kind and here and bool(sources(origin))


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
