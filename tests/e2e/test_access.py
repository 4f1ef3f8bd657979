"""Access by identity, end to end: grants, revocations, scoping, un-meshed callers and servers (rules A, H)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

import world
from world import account, group_ref, manifests, route_group, target

if TYPE_CHECKING:
    from echo_mesh import EchoMesh

WEB = "http://web-v1.test/"


def test_a9_path_regexes_are_anchored_at_the_start_only_and_see_no_query(mesh: EchoMesh) -> None:
    mesh.write("a9.yaml", manifests(
        route_group("api", {"name": "api", "pathRegex": "/api"}),
        target("api", "web-v1", [account("client")], [group_ref("api")]),
    ))  # fmt: skip
    answers = {path: mesh.status("client", WEB + path) for path in ("api", "apis", "api/x?y=1", "x/api", "x?a=/api")}
    assert answers == {"api": 200, "apis": 200, "api/x?y=1": 200, "x/api": 403, "x?a=/api": 403}


@pytest.mark.parametrize(
    "path", ["api/../admin", "api/%2e%2e/admin", "api/..%2fadmin", "api%2f..%2fadmin", "api\\..\\admin"]
)
def test_a9_no_spelling_of_a_path_gets_around_a_path_rule(mesh: EchoMesh, path: str) -> None:
    mesh.write("a9.yaml", manifests(
        route_group("api", {"name": "api", "pathRegex": "/api/"}),
        target("api", "web-v1", [account("client")], [group_ref("api")]),
    ))  # fmt: skip
    assert mesh.status("client", WEB + path) in {400, 403}


def test_a10_headers_of_one_match_must_all_hold(mesh: EchoMesh) -> None:
    mesh.write("a10.yaml", manifests(
        route_group("beta", {"name": "beta", "headers": [{"X-User": "b.ta"}, {"x-mode": "^on$"}]}),
        target("beta", "web-v1", [account("client")], [group_ref("beta")]),
    ))  # fmt: skip
    assert mesh.status("client", WEB, "-H", "x-user=the beta one", "-H", "x-mode=on") == 200
    assert mesh.status("client", WEB, "-H", "x-user=the beta one", "-H", "x-mode=once") == 403
    assert mesh.status("client", WEB, "-H", "x-user=the beta one") == 403


def test_a11_methods(mesh: EchoMesh) -> None:
    mesh.write("a11.yaml", manifests(
        route_group("get", {"name": "get", "methods": ["GET", "HEAD"]}),
        target("get", "web-v1", [account("client")], [group_ref("get")]),
    ))  # fmt: skip
    assert mesh.status("client", WEB) == 200
    assert mesh.status("client", WEB, "--method", "DELETE") == 403


def test_a12_a_refused_tcp_connection_is_closed_and_a_server_that_speaks_first_says_nothing(mesh: EchoMesh) -> None:
    mesh.write("a12.yaml", world.allow_tcp("lines", "client"))
    allowed = mesh.echo("client", "dial", "greeter.test", "9001")
    assert allowed["first"] == "greeter: hello\n"
    assert allowed["seconds"] < 0.9, "a server that speaks first is not delayed by detection (H2)"
    refused = mesh.echo("other", "dial", "greeter.test", "9001")
    assert (refused["first"], refused["echo"], refused["closed"]) == ("", "", True)


def test_a12_by_pod_address_too_a_refused_caller_hears_nothing(mesh: EchoMesh) -> None:
    """H5: the caller's own sidecar has no say about pod addresses out of its scope; the server's refuses."""
    address = mesh.pod_address("lines")
    mesh.write("a12.yaml", world.allow_tcp("lines", "client"))
    assert mesh.echo("client", "dial", address, "9001")["first"] == "greeter: hello\n"
    refused = mesh.echo("other", "dial", address, "9001")
    assert (refused["first"], refused["echo"], refused["closed"]) == ("", "", True)


def test_a13_a_grant_taken_back_ends_at_once_and_disturbs_nobody_else(mesh: EchoMesh) -> None:
    mesh.write_unsettled("client.yaml", world.allow_http("web-v1", "client"))
    mesh.write("other.yaml", world.allow_http("web-v1", "other").replace("allow-web-v1", "allow-other"))
    revoked, kept = (mesh.start_echo(caller, "load", WEB, "4") for caller in ("client", "other"))
    time.sleep(1)
    mesh.remove("client.yaml")
    assert mesh.status("client", WEB) == 403
    mesh.write("client.yaml", world.allow_http("web-v1", "client"))
    assert mesh.status("client", WEB) == 200
    one, two = (json.loads(load.communicate(timeout=30)[0]) for load in (revoked, kept))
    assert set(one["counts"]) == {"200", "403", "web-v1"}
    assert (set(two["counts"]), two["errors"], two["connections"]) == ({"200", "web-v1"}, [], 1)


def test_a13_other_callers_rules_come_and_go_without_dropping_an_open_connection(mesh: EchoMesh) -> None:
    mesh.write("client.yaml", world.allow_tcp("lines", "client"))
    held = mesh.start_echo("client", "hold", "greeter.test", "9001", "3")
    time.sleep(0.5)
    mesh.write("other.yaml", world.allow_tcp("lines", "other").replace("allow-lines", "allow-other"))
    assert mesh.echo("other", "dial", "greeter.test", "9001")["first"] == "greeter: hello\n"
    mesh.remove("other.yaml")
    assert mesh.echo("other", "dial", "greeter.test", "9001")["first"] == ""
    result = json.loads(held.communicate(timeout=30)[0])
    assert result["error"] == ""
    assert result["lines"] > 50


def test_a16_out_of_scope_services_answer_403_from_the_callers_own_sidecar(mesh: EchoMesh) -> None:
    (answer,) = mesh.echo("client", "get", WEB)
    assert answer["status"] == 403
    closed = mesh.echo("client", "dial", "lines.test", "9000")
    assert (closed["first"], closed["echo"], closed["closed"]) == ("", "", True)


def test_h1_any_host_header_works(mesh: EchoMesh) -> None:
    mesh.write("h1.yaml", world.allow_http("web-v1", "client"))
    for host in ("web-v1", "web-v1.test.svc.cluster.local.", "web-v1:80", "example.com", "WEB-V1.test:1234"):
        assert mesh.status("client", WEB, "--host", host) == 200


def test_h3_plaintext_from_a_caller_without_sidecar_is_refused(mesh: EchoMesh) -> None:
    mesh.write("h3.yaml", world.allow_http("web-v1", "client", "other"))
    url = f"http://{mesh.pod_address('web-v1')}:8080/"
    assert mesh.status("plain", url) == 0
    assert mesh.status("client", url) == 200


def test_h4_a_service_without_sidecar_is_reached_in_plaintext(mesh: EchoMesh) -> None:
    assert mesh.names("client", "http://quiet.test/", 3) == {"quiet": 3}


def test_a15_probes_keep_working_under_default_deny(mesh: EchoMesh) -> None:
    """Every pod of this mesh with a readiness probe became ready although no TrafficTarget exists."""
    assert {"web-v1", "web-v2", "lines"} <= mesh.ready_apps()
