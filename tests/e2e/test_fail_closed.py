"""F1 to F6, each with real requests through real sidecars: a mistake in a policy refuses, and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import world
from world import account, group_ref, manifests, route_group, target, thing

if TYPE_CHECKING:
    from echo_mesh import EchoMesh

WEB = "http://web-v1.test/"
ALL = {"name": "all", "pathRegex": ".*", "methods": ["*"]}


def refused(mesh: EchoMesh, name: str, rule: str) -> None:
    """The caller is answered 403, and a Problem with the rule's number names the object."""
    assert mesh.status("client", WEB) == 403
    rules = {problem["rule"] for problem in mesh.problems(name)}
    assert rule in rules, f"{name} has problems {rules}"


def test_a1_no_rule_refuses(mesh: EchoMesh) -> None:
    assert mesh.status("client", WEB) == 403


def test_the_right_rule_lets_in_whom_it_names_and_nobody_else(mesh: EchoMesh) -> None:
    mesh.write("allow.yaml", world.allow_http("web-v1", "client"))
    assert mesh.status("client", WEB) == 200
    assert mesh.status("other", WEB) == 403


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2", "v1alpha3"])
def test_f1_empty_sources_never_mean_anyone(mesh: EchoMesh, version: str) -> None:
    body = {"destination": account("web-v1"), "sources": []}
    rules = [group_ref("all", "all")]
    fields = {**body, "specs": rules} if version == "v1alpha1" else {"spec": {**body, "rules": rules}}
    mesh.write("f1.yaml", manifests(
        route_group("all", ALL), thing(f"access.smi-spec.io/{version}", "TrafficTarget", "nobody", **fields)
    ))  # fmt: skip
    assert mesh.status("client", WEB) == 403
    assert {problem["rule"] for problem in mesh.problems("nobody")} & {"A7", "F1"}


def test_f2_a_missing_route_object_grants_nothing(mesh: EchoMesh) -> None:
    mesh.write("f2.yaml", manifests(target("missing", "web-v1", [account("client")], [group_ref("nowhere")])))
    refused(mesh, "missing", "F2")


def test_f2_a_rule_of_an_unknown_kind_grants_nothing_and_the_others_stand(mesh: EchoMesh) -> None:
    rules = [{"kind": "GRPCRoute", "name": "get"}]
    mesh.write("f2.yaml", manifests(target("odd", "web-v1", [account("client")], rules)))
    refused(mesh, "odd", "F2")
    mesh.write("f2.yaml", manifests(
        route_group("get", {"name": "get", "methods": ["GET"]}),
        target("odd", "web-v1", [account("client")], [*rules, group_ref("get")]),
    ))  # fmt: skip
    assert mesh.status("client", WEB) == 200
    assert mesh.status("client", WEB, "--method", "POST") == 403


def test_f3_an_http_rule_opens_no_tcp_port(mesh: EchoMesh) -> None:
    mesh.write("f3.yaml", world.allow_http("lines", "client"))
    for service, port in (("lines", "9000"), ("greeter", "9001")):
        answer = mesh.echo("client", "dial", f"{service}.test", port)
        assert (answer["first"], answer["echo"], answer["closed"]) == ("", "", True)
    assert mesh.problems("allow-lines")


@pytest.mark.parametrize("kind", ["User", "Group", "serviceaccount", "Service"])
def test_f4_a_source_of_another_kind_grants_nothing(mesh: EchoMesh, kind: str) -> None:
    source = {**account("client"), "kind": kind}
    mesh.write("f4.yaml", manifests(route_group("all", ALL), target("kinds", "web-v1", [source], [group_ref("all")])))
    refused(mesh, "kinds", "F4")


def test_f5_overlapping_targets_add_up_in_any_order(mesh: EchoMesh) -> None:
    narrow = manifests(
        route_group("narrow", {"name": "get", "methods": ["GET"], "pathRegex": "/a"}),
        target("narrow", "web-v1", [account("client")], [group_ref("narrow")]),
    )
    wide = manifests(
        route_group("wide", {"name": "post", "methods": ["POST"], "pathRegex": "/"}),
        target("wide", "web-v1", [account("client")], [group_ref("wide")]),
    )
    for first, second in ((narrow, wide), (wide, narrow)):
        mesh.write("1.yaml", first)
        mesh.write("2.yaml", second)
        assert mesh.status("client", WEB + "a") == 200
        assert mesh.status("client", WEB + "a", "--method", "POST") == 200
        assert mesh.status("client", WEB + "b") == 403
        mesh.remove("1.yaml", "2.yaml")


@pytest.mark.parametrize("regex", ["/(unclosed", "/a(?=b)", "/a{2000}", "[z-a]"])
def test_a9_a_regex_that_re2_rejects_grants_nothing_and_leaves_its_neighbours(mesh: EchoMesh, regex: str) -> None:
    mesh.write("a9.yaml", manifests(
        route_group("paths", {"name": "bad", "pathRegex": regex}, {"name": "good", "pathRegex": "/good"}),
        target("paths", "web-v1", [account("client")], [group_ref("paths")]),
    ))  # fmt: skip
    assert mesh.status("client", WEB) == 403
    assert mesh.status("client", WEB + "good") == 200
    (problem,) = [problem for problem in mesh.problems("paths") if problem["kind"] == "HTTPRouteGroup"]
    assert problem["rule"] == "A9"
    assert problem["field"] == "spec.matches[0].pathRegex"
    assert problem["file"].endswith("a9.yaml")


def test_f6_what_envoy_would_refuse_is_never_sent(mesh: EchoMesh) -> None:
    """Every object above and these are read, set aside or translated; no sidecar ever rejects anything."""
    mesh.write("f6.yaml", manifests(
        route_group("odd", {"name": "long", "pathRegex": "(a|b|c|d|e|f|g){1,100}" * 3},
                    {"name": "header", "headers": {"x y": "1"}}, {"name": "control", "headers": {"x": "a\u0000b"}},
                    {"name": "method", "methods": ["GET\n"]}, {"name": "fine", "pathRegex": "/fine"}),
        target("odd", "web-v1", [account("client")], [group_ref("odd")]),
    ))  # fmt: skip
    assert mesh.problems("odd")
    assert mesh.status("client", WEB + "fine") == 200
    states = {state["state"] for proxy in mesh.proxies() for state in proxy["types"].values()}
    assert "rejected" not in states
