"""Rules of TrafficTarget that are about what its parts mean together, end to end: who is let in where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.state import pods
from webhook.sidecar import PROXY
from world import account, group_ref, manifests, route_group, target, thing

if TYPE_CHECKING:
    from echo_mesh import EchoMesh

WEB = "http://web-v1.test/"
ALL = route_group("all", {"name": "all", "pathRegex": ".*", "methods": ["*"]})
PATHS = route_group("paths", {"name": "a", "pathRegex": "/a"}, {"name": "b", "pathRegex": "/b"})


def tcp_route(name: str, *ports: int) -> dict[str, Any]:
    return thing("specs.smi-spec.io/v1alpha4", "TCPRoute", name, spec={"matches": {"ports": list(ports)}})


def tcp(name: str) -> dict[str, Any]:
    return {"kind": "TCPRoute", "name": name}


def statuses(mesh: EchoMesh, *paths: str) -> list[int]:
    return [mesh.status("client", WEB + path) for path in paths]


def hears(mesh: EchoMesh, service: str, port: int) -> bool:
    """Whether a TCP service answers the client."""
    return bool(mesh.echo("client", "dial", f"{service}.test", str(port), "--wait", "0.2")["echo"])


def test_a3_without_a_namespace_the_targets_own_is_meant_and_no_other_can_be_opened(mesh: EchoMesh) -> None:
    nameless = {"kind": "ServiceAccount", "name": "client"}
    elsewhere = {"metadata": {"name": "foreign", "namespace": "elsewhere"}}
    mesh.write("a3.yaml", manifests(
        ALL | elsewhere, target("foreign", "web-v1", [account("client")], [group_ref("foreign")]) | elsewhere
    ))  # fmt: skip
    assert statuses(mesh, "") == [403]
    (problem,) = mesh.problems("foreign")
    assert (problem["rule"], problem["field"]) == ("A3", "spec.destination.namespace")
    own = target("own", "web-v1", [nameless], [group_ref("all")])
    own["spec"]["destination"] = {"kind": "ServiceAccount", "name": "web-v1"}
    mesh.write("a3.yaml", manifests(ALL, own))
    assert statuses(mesh, "") == [200]


def test_a4_ports_and_requests_must_both_hold_and_several_targets_add_up(mesh: EchoMesh) -> None:
    both = target("both", "web-v1", [account("client")], [tcp("elsewhere"), group_ref("paths", "a")])
    mesh.write("a4.yaml", manifests(PATHS, tcp_route("elsewhere", 9999), both))
    assert statuses(mesh, "a") == [403]
    alternatives = [tcp("elsewhere"), tcp("here"), group_ref("paths", "a"), group_ref("more")]
    more = route_group("more", {"name": "c", "pathRegex": "/c"})
    mesh.write("a4.yaml", manifests(
        PATHS, more, tcp_route("elsewhere", 9999), tcp_route("here", 8080),
        target("both", "web-v1", [account("client")], alternatives),
    ))  # fmt: skip
    assert statuses(mesh, "a", "b", "c") == [200, 403, 200]
    mesh.write("more.yaml", manifests(target("too", "web-v1", [account("client")], [group_ref("paths", "b")])))
    assert statuses(mesh, "a", "b", "c", "d") == [200, 200, 200, 403]


def test_a4_a_rule_about_udp_opens_nothing_and_says_so(mesh: EchoMesh) -> None:
    names = thing("specs.smi-spec.io/v1alpha4", "UDPRoute", "names", spec={"matches": {"ports": [53]}})
    rule = {"kind": "UDPRoute", "name": "names"}
    mesh.write("udp.yaml", manifests(names, target("udp", "web-v1", [account("client")], [rule])))
    assert statuses(mesh, "") == [403]
    assert {(problem["rule"], problem["severity"]) for problem in mesh.problems("udp")} == {("A4", "warning")}
    assert "passes the mesh by" in mesh.problems("names")[0]["message"]


def test_a5_tcp_routes_alone_open_every_request_on_their_ports(mesh: EchoMesh) -> None:
    mesh.write("a5.yaml", manifests(
        tcp_route("here", 8080), target("tcp", "web-v1", [account("client")], [tcp("here")]),
        tcp_route("every"), target("lines", "lines", [account("client")], [tcp("every")]),
    ))  # fmt: skip
    assert statuses(mesh, "", "any/path?x=1") == [200, 200]
    assert hears(mesh, "lines", 9000)
    assert hears(mesh, "greeter", 9001)
    mesh.write(
        "a5.yaml", manifests(tcp_route("one", 9001), target("lines", "lines", [account("client")], [tcp("one")]))
    )
    assert not hears(mesh, "lines", 9000)
    assert hears(mesh, "greeter", 9001)


def test_a6_a_rule_without_matches_means_all_and_an_unknown_name_none(mesh: EchoMesh) -> None:
    mesh.write("a6.yaml", manifests(PATHS, target("paths", "web-v1", [account("client")], [group_ref("paths")])))
    assert statuses(mesh, "a", "b", "c") == [200, 200, 403]
    rules = [group_ref("paths", "b", "c")]
    mesh.write("a6.yaml", manifests(PATHS, target("paths", "web-v1", [account("client")], rules)))
    assert statuses(mesh, "a", "b", "c") == [403, 200, 403]
    (problem,) = [problem for problem in mesh.problems("paths") if problem["kind"] == "TrafficTarget"]
    assert (problem["rule"], problem["field"]) == ("A6", "spec.rules[0].matches[1]")


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"])
def test_a7_no_rules_grant_nothing_in_any_version(mesh: EchoMesh, version: str) -> None:
    body = {"destination": account("web-v1"), "sources": [account("client")]}
    fields = body if version == "v1alpha1" else {"spec": body}
    mesh.write("a7.yaml", manifests(thing(f"access.smi-spec.io/{version}", "TrafficTarget", "empty", **fields)))
    assert statuses(mesh, "") == [403]
    assert [problem["rule"] for problem in mesh.problems("empty")] == ["A7"]


def test_a8_http_rules_grant_nothing_on_a_tcp_port_and_say_so(mesh: EchoMesh) -> None:
    mesh.write("a8.yaml", manifests(ALL, target("http", "lines", [account("client")], [group_ref("all")])))
    assert not hears(mesh, "lines", 9000)
    assert [problem["rule"] for problem in mesh.problems("http")] == ["A8"]


def test_v7_v9_what_conformance_suites_write_is_read_as_they_mean_it(mesh: EchoMesh) -> None:
    """`matches` at the top of a v1alpha4 group; a port in quotes in a v1alpha3 target, which has no field for one."""
    group = thing("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", "top", matches=[
        {"name": "metrics", "pathRegex": "/metrics", "methods": ["*"]}
    ])  # fmt: skip
    for port, status in (("8080", 200), ("9091", 403)):
        narrowed = target("narrowed", "web-v1", [account("client")], [group_ref("top", "metrics")])
        narrowed["spec"]["destination"]["port"] = port
        mesh.write("v9.yaml", manifests(group, narrowed))
        assert statuses(mesh, "metrics", "echo") == [status, 403]
    assert {(problem["rule"], problem["severity"]) for problem in mesh.problems("narrowed")} == {("V7", "warning")}


def test_a12_a16_who_is_refused_is_logged_on_both_sides_with_the_reason(mesh: EchoMesh) -> None:
    mesh.write("a12.yaml", manifests(PATHS, target("paths", "web-v1", [account("client")], [group_ref("paths")])))
    assert statuses(mesh, "a12-by-the-server") == [200]
    assert statuses(mesh, "elsewhere-a12") == [403]
    assert mesh.status("other", WEB + "elsewhere-a12") == 403
    served = refusals(mesh, "web-v1", "/elsewhere-a12")
    assert {line["source"] for line in served} == {"spiffe://cluster.local/ns/test/sa/client"}
    assert {line["reason"] for line in served} == {"rbac_access_denied_matched_policy[none]"}
    own = refusals(mesh, "other", "/elsewhere-a12")
    assert {line["source"] for line in own} == {"other.test"}
    assert {line["reason"] for line in own} == {"no TrafficTarget lets this workload call it"}


def refusals(mesh: EchoMesh, pod: str, path: str) -> list[dict[str, Any]]:
    """What the sidecar of a pod logged of refused requests for a path, once it has logged any."""
    (described,) = [found for name, found in pods(mesh.name).items() if name.startswith(f"test/{pod}-")]
    log = Path(described["containers"][PROXY]["log"])
    found: list[dict[str, Any]] = []

    def logged() -> bool:
        lines = [json.loads(line) for line in log.read_text().splitlines() if '"event":"refused"' in line]
        found[:] = [line for line in lines if line.get("path") == path]
        return bool(found)

    mesh.wait_until(logged, f"{pod} has logged the refusal of {path}")
    return found


def test_f4_an_identity_binding_lets_in_whom_it_names_and_nobody_else(mesh: EchoMesh) -> None:
    def grant(schemes: dict[str, Any]) -> str:
        source = {"kind": "IdentityBinding", "name": "callers"}
        return manifests(
            ALL,
            thing("access.smi-spec.io/v1alpha4", "IdentityBinding", "callers", spec={"schemes": schemes}),
            target("bound", "web-v1", [source], [group_ref("all")]) | {"apiVersion": "access.smi-spec.io/v1alpha4"},
        )

    mesh.write("binding.yaml", grant({"spiffeIdentities": ["cluster.local/ns/test/sa/client"]}))
    assert [mesh.status(caller, WEB) for caller in ("client", "other")] == [200, 403]
    # `plain` has the account of `other` and not its label: no certificate tells the two apart.
    mesh.write("binding.yaml", grant({"podLabelSelector": {"matchLabels": {"app": "other"}}}))
    assert [mesh.status(caller, WEB) for caller in ("client", "other")] == [403, 403]
    assert "ServiceAccount other" in mesh.problems("callers")[0]["message"]
    anybody = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["other", "plain"]}]}
    mesh.write("binding.yaml", grant({"podLabelSelector": anybody}))
    assert [mesh.status(caller, WEB) for caller in ("client", "other")] == [403, 200]
