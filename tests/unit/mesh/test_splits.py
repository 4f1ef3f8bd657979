from __future__ import annotations

import pytest

from kube.objects import Service
from kube.problem import Origin, Severity
from mesh.model import Share
from mesh_objects import (
    app,
    build,
    entry,
    external,
    group,
    http,
    match,
    pod,
    port,
    port_id,
    problems,
    service,
    shares,
    slice_of,
    split,
    tcp_route,
)
from smi.kinds import RuleRef
from smi.resources import Anything

SHOP = [*app("web", "10.0.0.1"), *app("v1", "10.0.0.2"), *app("v2", "10.0.0.3")]
TCP_SHOP = [
    *app("web", "10.0.0.1", protocol="tcp"),
    *app("v1", "10.0.0.2", protocol="tcp"),
    *app("v2", "10.0.0.3", protocol="tcp"),
]
BETA = group("beta", match("new", "/new"))


@pytest.mark.parametrize(
    "name", ["web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local", "web.shop.svc.cluster.local.", "WEB"]
)
def test_t1_every_form_of_the_name_means_the_same_service(name: str) -> None:
    mesh = build(SHOP, split("s", name, ("v1.shop.svc", 1)))
    assert shares(mesh, "web") == {"v1": 1}
    assert not mesh.problems


@pytest.mark.parametrize("name", ["web.other", "web.other.svc.cluster.local", "web.shop.example", "web.shop.svc.x", ""])
def test_t1_another_namespace_or_domain_is_refused_and_the_root_serves(name: str) -> None:
    mesh = build(SHOP, split("s", name, ("v1", 1)))
    assert shares(mesh, "web") == {"web": 1}
    [problem] = problems(mesh, "T1")
    assert problem.field == "spec.service"
    assert problem.object.name == "s"


def test_t1_a_root_that_does_not_exist_is_a_problem() -> None:
    [problem] = build(SHOP, split("s", "nothing", ("v1", 1))).problems
    assert (problem.rule, problem.field) == ("T1", "spec.service")


def test_t1_an_external_name_root_is_a_problem() -> None:
    [problem] = build(SHOP, external("far"), split("s", "far", ("v1", 1))).problems
    assert "ExternalName" in problem.message


def test_t2_weights_are_kept_relative_whatever_their_sum() -> None:
    assert shares(build(SHOP, split("s", "web", ("v1", 1000), ("v2", 500))), "web") == {"v1": 1000, "v2": 500}


def test_t2_weight_zero_stays_a_share_while_another_has_weight() -> None:
    assert shares(build(SHOP, split("s", "web", ("v1", 0), ("v2", 5))), "web") == {"v1": 0, "v2": 5}


def test_t2_weights_too_large_for_envoy_keep_their_proportion() -> None:
    found = shares(build(SHOP, split("s", "web", ("v1", 3 * 10**12), ("v2", 10**12))), "web")
    assert sum(found.values()) < 2**32
    assert found["v1"] / found["v2"] == pytest.approx(3, rel=1e-6)


def test_t2_the_smallest_weight_beside_a_huge_one_does_not_become_zero() -> None:
    found = shares(build(SHOP, split("s", "web", ("v1", 10**15), ("v2", 1))), "web")
    assert found["v2"] == 1
    assert sum(found.values()) < 2**32


@pytest.mark.parametrize("backends", [[("v1", 0), ("v2", 0)], [("nothing", 1)], []])
def test_t3_without_weight_or_usable_backend_there_are_no_shares_but_a_reason(backends: list[tuple[str, int]]) -> None:
    mesh = build(SHOP, split("s", "web", *backends))
    [route] = mesh.destinations[port_id("web")].routes
    assert route.shares == ()
    assert "TrafficSplit shop/s" in route.reason
    assert mesh.destinations[port_id("web")].tcp_shares == ()
    [problem] = problems(mesh, "T3")
    assert problem.field == "spec.backends"


def test_t4_a_backend_equal_to_the_root_means_its_own_endpoints() -> None:
    mesh = build(SHOP, split("s", "web", ("web", 3), ("v1", 1)))
    assert shares(mesh, "web") == {"web": 3, "v1": 1}
    assert not mesh.problems


def test_t5_a_backend_that_is_a_root_itself_means_its_endpoints() -> None:
    mesh = build(SHOP, split("s", "web", ("v1", 1)), split("t", "v1", ("v2", 1)))
    assert shares(mesh, "web") == {"v1": 1}
    assert shares(mesh, "v1") == {"v2": 1}


def test_t5_root_and_backends_may_select_the_same_pods() -> None:
    same = [service("all", selector={"app": "v1"}), slice_of("all", entry("v1-1", "10.0.0.2"))]
    mesh = build(SHOP, same, split("s", "all", ("v1", 1)))
    assert shares(mesh, "all") == {"v1": 1}
    assert mesh.endpoints[port_id("all")] == mesh.endpoints[port_id("v1")]


@pytest.mark.parametrize(
    "backend", [service("v3", port(number=81)), external("v3"), None], ids=["lacks the port", "ExternalName", "missing"]
)
def test_t6_an_unusable_backend_is_left_out_and_the_rest_share(backend: Service | None) -> None:
    extra = [] if backend is None else [backend]
    mesh = build(SHOP, extra, split("s", "web", ("v1", 1), ("v3", 9)))
    assert shares(mesh, "web") == {"v1": 1}
    [problem] = problems(mesh, "T6")
    assert problem.field == "spec.backends[1].service"


def test_t6_a_backend_of_another_namespace_is_left_out() -> None:
    mesh = build(SHOP, split("s", "web", ("v1.other", 1), ("v2", 1)))
    assert shares(mesh, "web") == {"v2": 1}
    assert problems(mesh, "T6")[0].field == "spec.backends[0].service"


def test_t7_all_ports_of_the_root_are_split() -> None:
    two = (port(80), port(81, "admin", target=9090))
    roots = [service(name, *two, ip=f"10.96.1.{number}") for number, name in enumerate(["a", "b"])]
    mesh = build(roots, split("s", "a", ("b", 1)))
    assert shares(mesh, "a", 80) == shares(mesh, "a", 81) == {"b": 1}


def test_t7_on_a_tcp_port_matches_is_ignored_with_a_warning() -> None:
    mesh = build(TCP_SHOP, BETA, split("s", "web", ("v1", 1), matches=[http("beta")]))
    assert mesh.destinations[port_id("web")].tcp_shares == (Share(port_id("v1"), 1),)
    [problem] = problems(mesh, "T7")
    assert problem.severity is Severity.WARNING


def test_t7_a_split_without_matches_decides_on_tcp_before_those_with() -> None:
    mesh = build(TCP_SHOP, BETA, split("s", "web", ("v1", 1), matches=[http("beta")]), split("t", "web", ("v2", 1)))
    assert mesh.destinations[port_id("web")].tcp_shares == (Share(port_id("v2"), 1),)


def test_t7_the_oldest_split_with_matches_decides_on_tcp() -> None:
    mesh = build(
        TCP_SHOP,
        BETA,
        split("a", "web", ("v1", 1), matches=[http("beta")], created="2026-02-02T00:00:00Z"),
        split("b", "web", ("v2", 1), matches=[http("beta")], created="2026-01-01T00:00:00Z"),
    )
    assert mesh.destinations[port_id("web")].tcp_shares == (Share(port_id("v2"), 1),)


def test_t8_matching_requests_follow_the_split_and_all_others_go_to_the_root() -> None:
    mesh = build(SHOP, BETA, split("s", "web", ("v1", 1), matches=[http("beta")]))
    some, rest = mesh.destinations[port_id("web")].routes
    assert some.matches == BETA.matches
    assert some.shares == (Share(port_id("v1"), 1),)
    assert (rest.matches, rest.shares) == ((), (Share(port_id("web"), 1),))


def test_t8_several_groups_are_merged() -> None:
    other = group("other", match("x", "/x"), match("y", "/y"))
    mesh = build(SHOP, BETA, other, split("s", "web", ("v1", 1), matches=[http("beta"), http("other", "y")]))
    some = mesh.destinations[port_id("web")].routes[0]
    assert [item.path_regex for item in some.matches] == ["/new", "/y"]


@pytest.mark.parametrize(
    "reference",
    [http("missing"), http("empty"), http("beta", "nothing"), RuleRef(kind="TCPRoute", name="ports"),
     RuleRef(kind="Unknown", name="beta")],
)  # fmt: skip
@pytest.mark.parametrize("shop", [SHOP, TCP_SHOP], ids=["http", "tcp"])
def test_t8_matches_that_come_to_nothing_match_nothing(reference: RuleRef, shop: list[Anything]) -> None:
    mesh = build(
        shop,
        BETA,
        group("empty", invalid=["bad"]),
        tcp_route("ports"),
        split("s", "web", ("v1", 1), matches=[reference]),
    )
    destination = mesh.destinations[port_id("web")]
    assert [(route.matches, route.shares) for route in destination.routes] == [((), (Share(port_id("web"), 1),))]
    assert destination.tcp_shares == (Share(port_id("web"), 1),)
    assert problems(mesh, "T8")


def test_t8_a_split_that_matches_nothing_answers_nothing_with_503() -> None:
    mesh = build(SHOP, split("s", "web", ("v1", 0), matches=[http("missing")]))
    assert [problem.rule for problem in mesh.problems] == ["T8"]


def test_t8_a_missing_group_beside_a_good_one_takes_nothing_from_it() -> None:
    mesh = build(SHOP, BETA, split("s", "web", ("v1", 1), matches=[http("missing"), http("beta")]))
    assert mesh.destinations[port_id("web")].routes[0].matches == BETA.matches
    assert problems(mesh, "T8")[0].field == "spec.matches[0]"


def test_t8_a_match_without_conditions_matches_every_request() -> None:
    every = group("every", match("all"))
    mesh = build(SHOP, every, split("s", "web", ("v1", 1), matches=[http("every")]))
    assert mesh.destinations[port_id("web")].routes[0].matches == every.matches


def test_t9_splits_with_matches_come_first_oldest_first() -> None:
    other = group("other", match("x", "/x"))
    mesh = build(
        SHOP,
        BETA,
        other,
        split("a", "web", ("v1", 1), matches=[http("beta")], created="2026-03-01T00:00:00Z"),
        split("b", "web", ("v2", 1), matches=[http("other")], created="2026-02-01T00:00:00Z"),
        split("c", "web", ("v2", 7), created="2026-01-01T00:00:00Z"),
    )
    origins = [route.origin for route in mesh.destinations[port_id("web")].routes]
    assert origins == ["TrafficSplit shop/b", "TrafficSplit shop/a", "TrafficSplit shop/c"]


def test_t9_files_are_ordered_by_place() -> None:
    mesh = build(
        SHOP,
        BETA,
        split("a", "web", ("v1", 1), origin=Origin("b.yaml", 1)),
        split("z", "web", ("v2", 1), origin=Origin("a.yaml", 7)),
    )
    assert shares(mesh, "web") == {"v2": 1}


def test_t9_the_younger_split_without_matches_has_no_effect() -> None:
    mesh = build(
        SHOP,
        split("old", "web", ("v1", 1), created="2026-01-01T00:00:00Z"),
        split("young", "web", ("v2", 1), ("nothing", 1), created="2026-02-01T00:00:00Z"),
    )
    assert shares(mesh, "web") == {"v1": 1}
    [problem] = mesh.problems
    assert (problem.rule, problem.object.name) == ("T9", "young")


def test_t10_the_same_backend_twice_adds_up() -> None:
    assert shares(build(SHOP, split("s", "web", ("v1", 1), ("v1.shop", 2), ("v2", 1))), "web") == {"v1": 3, "v2": 1}


def test_t11_a_split_acts_for_services_that_are_not_meshed_too() -> None:
    plain = [*app("web", "10.0.0.1", meshed=False), *app("v1", "10.0.0.2", meshed=False)]
    assert shares(build(plain, split("s", "web", ("v1", 1))), "web") == {"v1": 1}


def test_t12_without_a_split_the_root_serves_itself() -> None:
    destination = build(SHOP).destinations[port_id("web")]
    [route] = destination.routes
    assert (route.matches, route.shares) == ((), (Share(port_id("web"), 1),))
    assert route.origin == "Service shop/web"
    assert destination.tcp_shares == route.shares


def test_t13_a_backend_without_ready_endpoints_keeps_its_share_with_a_warning() -> None:
    idle = [service("v3"), slice_of("v3", entry("v3-1", "10.0.0.9", ready=False)), pod("v3-1", ip="10.0.0.9")]
    mesh = build(SHOP, idle, split("s", "web", ("v1", 1), ("v3", 1)))
    assert shares(mesh, "web") == {"v1": 1, "v3": 1}
    [problem] = mesh.problems
    assert (problem.rule, problem.field) == ("T13", "spec.backends[1].service")
    assert problem.severity is Severity.WARNING


def test_t13_weight_zero_needs_no_endpoints() -> None:
    assert not build(SHOP, service("v3"), split("s", "web", ("v1", 1), ("v3", 0))).problems
