"""A running app joins the mesh: modes change under traffic, pods with and without sidecar share a Service (A1, H)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

import world
from world import manifests

if TYPE_CHECKING:
    from echo_mesh import EchoMesh

MIXED = "http://mixed.test/"
CALLER = "spiffe://cluster.local/ns/test/sa/client"
AS_LONG_AS_NEEDED = ("60", "--while-open")
OUTSIDE = {"weft.dev/inject": "disabled"}


def mixed_pods() -> str:
    """Two Deployments behind one Service, one with a sidecar."""
    return manifests(
        world.thing("v1", "ServiceAccount", "mixed"),
        world.deployment("mixed-new", "mixed", world.http("new"), [8080], {"part": "mixed"}),
        world.deployment("mixed-old", "mixed", world.http("old"), [8080], {"part": "mixed", **OUTSIDE}),
        world.service("mixed", {"part": "mixed"}, ("http", 80, 8080)),
    )


def annotated(**modes: str) -> str:
    """The base with these modes of its namespace."""
    space, *others = world.base().split("\n---\n")
    document = json.loads(space)
    document["metadata"]["annotations"] = {f"weft.dev/{key}": value for key, value in modes.items()}
    return "\n---\n".join([json.dumps(document), *others])


@pytest.fixture
def adopting(mesh: EchoMesh) -> Iterator[EchoMesh]:
    """The namespace's own modes are as they were when the test is done."""
    yield mesh
    mesh.write("base.yaml", world.base())


def answers(mesh: EchoMesh, count: int = 40) -> dict[str, set[bool]]:
    """Who answers calls of the Service, and whether they learn who calls."""
    found: dict[str, set[bool]] = {}
    for answer in mesh.echo("client", "get", MIXED, str(count)):
        headers = {name.lower(): value for name, value in answer.get("headers", {}).items()}
        known = CALLER in headers.get("x-forwarded-client-cert", "")
        found.setdefault(str(answer.get("name") or answer["status"]), set()).add(known)
    return found


def test_h4_pods_with_and_without_sidecar_share_a_service_each_called_in_its_own_way(adopting: EchoMesh) -> None:
    mesh = adopting
    mesh.write_unsettled("mixed.yaml", mixed_pods())
    mesh.write("rule.yaml", world.allow_http("mixed", "client"))
    mesh.wait_until(lambda: {"mixed-new", "mixed-old"} <= mesh.ready_apps(), "both are ready")
    mesh.settle()
    assert answers(mesh) == {"new": {True}, "old": {False}}
    new, old = (f"http://{mesh.pod_address(name)}:8080/" for name in ("mixed-new", "mixed-old"))
    assert (mesh.status("plain", new), mesh.status("plain", old)) == (0, 200)
    mesh.write("base.yaml", annotated(mtls="permissive"))
    assert (mesh.status("plain", new), mesh.status("plain", old)) == (403, 200)
    mesh.write("base.yaml", annotated(mtls="permissive", access="permissive"))
    assert (mesh.status("plain", new), mesh.status("plain", old)) == (200, 200)
    assert answers(mesh) == {"new": {True}, "old": {False}}, "meshed callers go on by mutual TLS"


def test_h4_a_rolling_restart_brings_sidecars_to_a_service_without_a_failed_request(adopting: EchoMesh) -> None:
    mesh = adopting
    mesh.write_unsettled("mixed.yaml", moving(OUTSIDE))
    mesh.write("rule.yaml", world.allow_http("mixed", "client"))
    mesh.wait_until(lambda: "mixed" in mesh.ready_apps(), "it is ready")
    mesh.settle()
    assert answers(mesh, 4) == {"mixed": {False}}
    load = mesh.start_echo("client", "load", MIXED, *AS_LONG_AS_NEEDED)
    mesh.write_unsettled("mixed.yaml", moving({}))
    mesh.wait_until(lambda: answers(mesh, 10) == {"mixed": {True}}, "only new pods answer")
    result = json.loads(load.communicate(timeout=30)[0])
    assert (set(result["counts"]), result["errors"]) == ({"200", "mixed"}, [])


def moving(labels: dict[str, str]) -> str:
    """Two replicas of one Deployment, with a sidecar or without."""
    made = world.deployment("mixed", "mixed", world.http("mixed"), [8080])
    made["spec"]["replicas"] = 2
    template = made["spec"]["template"]
    template["metadata"]["labels"] = {**template["metadata"]["labels"], **labels}
    # As any app should that is taken out of its Service while it is called: it goes on a little.
    template["spec"]["containers"][0]["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", "1"]}}}
    pods = world.service("mixed", {"app": "mixed"}, ("http", 80, 8080))
    return manifests(world.thing("v1", "ServiceAccount", "mixed"), made, pods)


def test_h3_a1_modes_change_under_traffic_and_no_call_that_stays_allowed_fails(adopting: EchoMesh) -> None:
    mesh = adopting
    mesh.write("rule.yaml", world.allow_http("web-v1", "client"))
    mesh.write("lines.yaml", world.allow_tcp("lines", "client"))
    load = mesh.start_echo("client", "load", "http://web-v1.test/", *AS_LONG_AS_NEEDED)
    dialled = mesh.start_echo("client", "knock", "lines.test", "9000", *AS_LONG_AS_NEEDED)
    held = mesh.start_echo("client", "hold", "greeter.test", "9001", *AS_LONG_AS_NEEDED)
    plaintext = f"http://{mesh.pod_address('web-v1')}:8080/"
    for modes, plain, other in (
        ({"mtls": "permissive", "access": "permissive"}, 200, 200),
        ({"mtls": "permissive"}, 403, 403),
        ({}, 0, 403),
    ):
        mesh.write("base.yaml", annotated(**modes))
        assert (mesh.status("plain", plaintext), mesh.status("other", "http://web-v1.test/")) == (plain, other)
    assert load.poll() is None, "all of it happened under traffic"
    result, knocked, lines = (json.loads(each.communicate(timeout=30)[0]) for each in (load, dialled, held))
    assert (set(result["counts"]), result["errors"], result["connections"]) == ({"200", "web-v1"}, [], 1)
    assert (knocked["errors"], lines["error"]) == ([], "")
    assert knocked["lines"] > 10


def test_a1_h3_a_single_port_is_open_while_the_rest_is_enforced(adopting: EchoMesh) -> None:
    mesh = adopting
    script = f"python3 {world.ECHO} tcp 9100 two & exec python3 {world.ECHO} http 9101 two"
    made = world.deployment("two", "two", ["sh", "-c", script], [9100, 9101])
    notes = {"weft.dev/open-ports": "9101", "weft.dev/permissive-ports": "9101"}
    made["spec"]["template"]["metadata"]["annotations"] = notes
    ports = world.service("two", {"app": "two"}, ("tcp", 9100, 9100), ("http", 80, 9101))
    mesh.write_unsettled("two.yaml", manifests(world.thing("v1", "ServiceAccount", "two"), made, ports))
    mesh.wait_until(lambda: "two" in mesh.ready_apps(), "it is ready")
    mesh.settle()
    assert mesh.status("other", "http://two.test/") == 200
    assert mesh.status("plain", f"http://{mesh.pod_address('two')}:9101/") == 200
    closed = mesh.echo("other", "dial", "two.test", "9100")
    assert (closed["echo"], closed["closed"]) == ("", True)


@pytest.mark.parametrize("mtls", ["strict", "permissive"])
def test_a9_a10_a11_what_weft_authz_says_is_what_the_sidecar_does(adopting: EchoMesh, mtls: str) -> None:
    mesh = adopting
    mesh.write_unsettled("base.yaml", annotated(mtls=mtls))
    mesh.write("rule.yaml", manifests(
        world.route_group("api", {"name": "api", "pathRegex": "/api/", "methods": ["GET"]},
                          {"name": "user", "headers": [{"x-user": "^bob$"}]}),
        world.target("api", "web-v1", [world.account("client")], [world.group_ref("api")]),
    ))  # fmt: skip
    address = f"http://{mesh.pod_address('web-v1')}:8080"
    calls: list[tuple[str, str, tuple[str, ...], int]] = [
        ("client", "/api/x", (), 200),
        ("client", "/x/../%61pi//x", (), 200),
        ("client", "/api/%2e%2e/x", (), 403),
        ("client", "/api/a%2fb", (), 403),
        ("client", "/x", ("x-user", "bob"), 200),
        ("other", "/api/x", (), 403),
        ("plain", "/api/x", (), 403 if mtls == "permissive" else 0),
    ]
    for caller, path, header, status in calls:
        words = urlencode({
            "caller": "plaintext" if caller == "plain" else f"test/{caller}", "path": path,
            **({"header": ": ".join(header)} if header else {}),
        })  # fmt: skip
        said = mesh.get(f"/verdict/test/web-v1?{words}")
        url = address if caller == "plain" else "http://web-v1.test"
        sent = mesh.status(caller, url + path, *(("-H", "=".join(header)) if header else ()))
        assert (said["allowed"], {"": 200, "403": 403, "closed": 0}[said["answer"]]) == (sent == 200, sent), said
        assert sent == status, (caller, path)
