from __future__ import annotations

import pytest

from kube.objects import ContainerPort
from kube.problem import Ref, Severity
from mesh.model import HttpRule, InboundPort, Mesh, TcpRule
from mesh.settings import Access, MeshSettings
from mesh_objects import (
    account,
    app,
    build,
    group,
    http,
    identity,
    inbound,
    match,
    namespace,
    pod,
    port,
    problems,
    service,
    target,
    tcp,
    tcp_route,
    udp,
    udp_route,
)
from smi.kinds import RuleRef, Subject, TrafficTarget
from smi.resources import Anything

READ = match("read", "/items", "GET")
WRITE = match("write", "/items", "POST")
ITEMS = group("items", READ, WRITE)
CLIENT = (identity("client"),)

MANY: list[Anything] = [
    service("api", port(80), port(81, "tcp", target=5000), port(82, "web", target=9000)),
    pod("api-1"),
    ITEMS,
    tcp_route("every"),
    tcp_route("web-only", 8080),
    tcp_route("raw", 5000, 9000),
    udp_route("datagrams"),
]
"""A workload with an HTTP port 8080, a TCP port 5000 and a port 9000 that is looked into."""

HTTP_PORT, TCP_PORT, DETECT_PORT = 8080, 5000, 9000


def ports(mesh: Mesh) -> dict[int, InboundPort]:
    return {number: inbound(mesh, "api-1", number) for number in (HTTP_PORT, TCP_PORT, DETECT_PORT)}


def granted(mesh: Mesh) -> dict[int, str]:
    """What each port has: `h` an HTTP rule with matches, `H` one for every request, `t` a TCP rule."""
    found = {}
    for number, item in ports(mesh).items():
        found[number] = "".join("h" if rule.matches else "H" for rule in item.http_rules) + "t" * len(item.tcp_rules)
    return {number: letters for number, letters in found.items() if letters}


def test_a1_default_deny_means_no_rules_and_not_open() -> None:
    for item in ports(build(MANY)).values():
        assert (item.open, item.http_rules, item.tcp_rules) == (False, (), ())


@pytest.mark.parametrize(
    ("annotation", "setting", "is_open"),
    [
        (None, Access.ENFORCED, False),
        (None, Access.PERMISSIVE, True),
        ("permissive", Access.ENFORCED, True),
        ("enforced", Access.PERMISSIVE, False),
        ("Permissive", Access.PERMISSIVE, False),
    ],
)
def test_a1_a_permissive_namespace_is_open_and_targets_there_are_not_enforced(
    annotation: str | None, setting: Access, is_open: bool
) -> None:
    mesh = build(
        MANY,
        namespace() if annotation is None else namespace(access=annotation),
        target("t", "api", rules=[http("items")]),
        settings=MeshSettings(access=setting),
    )
    item = inbound(mesh, "api-1")
    assert item.open is is_open
    assert bool(item.http_rules) is not is_open


def test_a1_a_word_that_is_no_mode_is_a_problem() -> None:
    [problem] = build(namespace(access="open")).problems
    assert (problem.rule, problem.field) == ("A1", "metadata.annotations[weft.dev/access]")


def test_a2_identity_is_the_service_account_in_the_trust_domain() -> None:
    mesh = build(MANY, target("t", "api", rules=[http("items")]), settings=MeshSettings(trust_domain="example.org"))
    [rule] = inbound(mesh, "api-1").http_rules
    assert [item.uri for item in rule.identities] == ["spiffe://example.org/ns/shop/sa/client"]


def test_a3_an_empty_namespace_is_the_targets_own_and_sources_may_name_others() -> None:
    mesh = build(MANY, target("t", "api", ["client", account("client", "far")], [http("items")]))
    [rule] = inbound(mesh, "api-1").http_rules
    assert rule.identities == (identity("client", "far"), identity("client"))


def test_a3_a_destination_in_another_namespace_is_refused() -> None:
    mesh = build(MANY, target("t", account("api", "shop"), rules=[http("items")], space="evil"))
    assert granted(mesh) == {}
    [problem] = problems(mesh, "A3")
    assert problem.field == "spec.destination.namespace"


def test_a3_another_workload_is_not_opened() -> None:
    mesh = build(MANY, app("other", "10.0.0.9"), target("t", "other", rules=[http("items")]))
    assert granted(mesh) == {}


@pytest.mark.parametrize(
    ("rules", "want"),
    [
        # port rules and HTTP rules must both hold (A4)
        ([http("items"), tcp("web-only")], {HTTP_PORT: "h"}),
        ([http("items"), tcp("raw")], {DETECT_PORT: "h"}),
        ([http("items"), tcp("every")], {HTTP_PORT: "h", DETECT_PORT: "h"}),
        # routes of one kind are alternatives (A4)
        ([tcp("web-only"), tcp("raw")], {HTTP_PORT: "H", TCP_PORT: "t", DETECT_PORT: "Ht"}),
        # UDPRoute stands alone and adds nothing here (A4)
        ([udp("datagrams")], {}),
        ([udp("datagrams"), http("items")], {HTTP_PORT: "h", DETECT_PORT: "h"}),
        ([udp("datagrams"), tcp("web-only")], {HTTP_PORT: "H"}),
        # TCPRoutes only: every request on those ports (A5)
        ([tcp("web-only")], {HTTP_PORT: "H"}),
        ([tcp("every")], {HTTP_PORT: "H", TCP_PORT: "t", DETECT_PORT: "Ht"}),
        # HTTP rules only: nothing on TCP ports (A8, F3)
        ([http("items")], {HTTP_PORT: "h", DETECT_PORT: "h"}),
    ],
)
def test_a4_a5_a8_what_rules_of_several_kinds_grant_on_each_kind_of_port(
    rules: list[RuleRef], want: dict[int, str]
) -> None:
    assert granted(build(MANY, target("t", "api", rules=rules))) == want


def test_a4_a_rule_about_udp_says_that_it_changes_nothing() -> None:
    mesh = build(MANY, target("t", "api", rules=[http("items"), udp("datagrams")]))
    (problem,) = problems(mesh, "A4")
    assert (problem.field, problem.severity) == ("spec.rules[1]", Severity.WARNING)
    assert "UDPRoute shop/datagrams" in problem.message


def test_a4_routes_of_one_kind_are_alternatives() -> None:
    other = group("other", match("x", "/x"))
    mesh = build(MANY, other, target("t", "api", rules=[http("items", "read"), http("other")]))
    [rule] = inbound(mesh, "api-1").http_rules
    assert rule == HttpRule("TrafficTarget shop/t", CLIENT, (READ, *other.matches))


def test_a4_several_targets_add_up() -> None:
    mesh = build(
        MANY,
        target("t", "api", rules=[http("items", "read")]),
        target("u", "api", ["writer"], rules=[http("items", "write")]),
    )
    assert inbound(mesh, "api-1").http_rules == (
        HttpRule("TrafficTarget shop/t", CLIENT, (READ,)),
        HttpRule("TrafficTarget shop/u", (identity("writer"),), (WRITE,)),
    )


def test_a6_without_match_names_all_matches_of_the_group_count() -> None:
    mesh = build(MANY, target("t", "api", rules=[http("items")]))
    assert inbound(mesh, "api-1").http_rules[0].matches == (READ, WRITE)


def test_a6_an_unknown_match_name_grants_nothing_for_that_name() -> None:
    mesh = build(MANY, target("t", "api", rules=[http("items", "read", "nothing")]))
    assert inbound(mesh, "api-1").http_rules[0].matches == (READ,)
    [problem] = problems(mesh, "A6")
    assert problem.field == "spec.rules[0].matches[1]"


def test_a6_only_unknown_match_names_grant_nothing_at_all() -> None:
    mesh = build(MANY, target("t", "api", rules=[http("items", "nothing")]))
    assert granted(mesh) == {}


def test_a7_no_rules_or_no_sources_grant_nothing() -> None:
    mesh = build(MANY, target("t", "api"), target("u", "api", [], [http("items")]))
    assert granted(mesh) == {}
    assert [(item.object.name, item.field) for item in problems(mesh, "A7")] == [
        ("t", "spec.rules"),
        ("u", "spec.sources"),
    ]


def test_a8_http_rules_on_tcp_ports_alone_are_a_warning() -> None:
    only = tcp_route("only-tcp", 5000)
    mesh = build(MANY, only, target("t", "api", rules=[http("items"), tcp("only-tcp")]))
    [problem] = problems(mesh, "A8")
    assert problem.severity is Severity.WARNING
    assert "5000" in problem.message
    assert problems(build(MANY, target("t", "api", rules=[http("items")])), "A8") == []


def test_a9_to_a11_conditions_reach_the_rule_as_they_are() -> None:
    fancy = group("fancy", match("f", "/a.*", "GET", "PUT", headers={"host": "x"}))
    mesh = build(MANY, fancy, target("t", "api", rules=[http("fancy")]))
    assert inbound(mesh, "api-1").http_rules[0].matches == fancy.matches


def test_a11_a_match_without_conditions_stays_a_match_and_allows_every_request() -> None:
    every = group("anything", match("all"))
    mesh = build(MANY, every, target("t", "api", rules=[http("anything")]))
    assert inbound(mesh, "api-1").http_rules[0].matches == every.matches


def test_a13_rules_change_and_the_role_stays() -> None:
    before = build(MANY)
    after = build(MANY, target("t", "api", rules=[http("items")]))
    assert before.proxies == after.proxies
    assert before.workloads != after.workloads


def test_a14_a_backend_with_another_account_needs_its_own_target() -> None:
    mesh = build(MANY, app("other", "10.0.0.9"), target("t", "api", rules=[http("items")]))
    assert inbound(mesh, "other-1").http_rules == ()


def test_f1_empty_sources_never_mean_anyone() -> None:
    mesh = build(MANY, target("t", "api", [], [tcp("every")]))
    assert granted(mesh) == {}


@pytest.mark.parametrize(
    ("rules", "want"),
    [
        # what is not there grants nothing, alone or beside others
        ([http("missing")], {}),
        ([tcp("missing")], {}),
        ([RuleRef(kind="HTTPRoute", name="items")], {}),
        ([http("broken")], {}),
        # the other rules stand
        ([http("missing"), http("items")], {HTTP_PORT: "h", DETECT_PORT: "h"}),
        ([tcp("missing"), tcp("web-only")], {HTTP_PORT: "H"}),
        ([RuleRef(kind="HTTPRoute", name="items"), http("items")], {HTTP_PORT: "h", DETECT_PORT: "h"}),
        # a missing half of a conjunction never widens the other half
        ([http("missing"), tcp("every")], {}),
        ([http("empty"), tcp("every")], {}),
        ([http("items", "nothing"), tcp("every")], {}),
        ([http("items"), tcp("missing")], {}),
        ([http("items"), tcp("broken")], {}),
        # an unknown kind beside TCPRoutes may have meant to narrow requests: connections stand where none can pass
        ([RuleRef(kind="HTTPRoute", name="items"), tcp("every")], {TCP_PORT: "t"}),
        # a group whose matches are all invalid
        ([http("empty")], {}),
        ([http("empty", "bad")], {}),
    ],
)
def test_f2_what_is_missing_invalid_or_unknown_grants_nothing(rules: list[RuleRef], want: dict[int, str]) -> None:
    broken = [Ref("HTTPRouteGroup", "shop", "broken"), Ref("TCPRoute", "shop", "broken")]
    mesh = build(MANY, group("empty", invalid=["bad"]), target("t", "api", rules=rules), invalid=broken)
    assert granted(mesh) == want
    assert [item for item in mesh.problems if item.object.name == "t"]


def test_f2_routes_of_another_namespace_are_not_found() -> None:
    mesh = build(
        MANY,
        target("t", account("api"), [account("client")], [http("items")], space="other"),
        pod("x-1", space="other"),
    )
    assert granted(mesh) == {}
    assert problems(mesh, "F2")


def test_f3_an_http_only_target_opens_no_tcp_port() -> None:
    item = ports(build(MANY, target("t", "api", rules=[http("items")])))[TCP_PORT]
    assert (item.http_rules, item.tcp_rules, item.open) == ((), (), False)


@pytest.mark.parametrize("kind", ["Group", "User", "Service", "IdentityBinding", ""])
def test_f4_other_kinds_grant_nothing_even_under_a_known_name(kind: str) -> None:
    odd = Subject(kind=kind, name="api")
    source = Subject(kind=kind, name="client")
    by_destination = build(MANY, target("t", odd, rules=[http("items")]))
    by_source = build(MANY, target("t", "api", [source], [http("items")]))
    assert granted(by_destination) == granted(by_source) == {}
    assert problems(by_destination, "F4")[0].field == "spec.destination.kind"
    assert problems(by_source, "F4")[0].field == "spec.sources[0].kind"


def test_f4_a_good_source_beside_a_bad_one_stands() -> None:
    mesh = build(MANY, target("t", "api", [Subject(kind="Group", name="client"), "other"], [http("items")]))
    assert inbound(mesh, "api-1").http_rules[0].identities == (identity("other"),)


def test_f5_the_union_holds_in_any_order() -> None:
    objects: list[Anything] = [
        *MANY,
        target("a", "api", rules=[http("items", "read")]),
        target("b", "api", rules=[http("items")]),
        target("c", "api", ["other"], rules=[tcp("every")]),
    ]
    assert build(objects) == build(objects[::-1])
    assert len(inbound(build(objects), "api-1").http_rules) == 3


@pytest.mark.parametrize(
    ("limit", "rules", "want"),
    [
        (8080, [http("items")], {HTTP_PORT: "h"}),
        (9000, [http("items"), tcp("raw")], {DETECT_PORT: "h"}),
        (8080, [tcp("raw")], {}),
        (5000, [tcp("every")], {TCP_PORT: "t"}),
        (80, [http("items")], {}),
    ],
)
def test_v7_the_destinations_port_is_a_container_port_and_narrows(
    limit: int, rules: list[RuleRef], want: dict[int, str]
) -> None:
    assert granted(build(MANY, target("t", account("api", port=limit), rules=rules))) == want


def test_rules_reach_ports_that_only_the_container_declares() -> None:
    lonely: list[Anything] = [pod("solo-1", ContainerPort(7000, "http-x")), ITEMS]
    mesh = build(lonely, target("t", "solo", rules=[http("items")]))
    assert inbound(mesh, "solo-1", 7000).http_rules


def test_problems_carry_the_place_in_the_files_and_are_sorted() -> None:
    objects: list[TrafficTarget] = [target(name, "api") for name in "cab"]
    mesh = build(MANY, *objects)
    assert [problem.object.name for problem in mesh.problems] == ["a", "b", "c"]


def test_a5_every_request_is_allowed_by_a_rule_without_matches() -> None:
    mesh = build(MANY, target("t", "api", rules=[tcp("every")]))
    item = ports(mesh)[DETECT_PORT]
    assert item.http_rules == (HttpRule("TrafficTarget shop/t", CLIENT, ()),)
    assert item.tcp_rules == (TcpRule("TrafficTarget shop/t", CLIENT),)
