"""Rules of TrafficSplit that are about names, order and absence, end to end: who answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import world

if TYPE_CHECKING:
    from echo_mesh import EchoMesh

WEB = "http://web.test/"


@pytest.fixture(autouse=True)
def _everyone_may_call(mesh: EchoMesh) -> None:
    mesh.write_unsettled("allow-1.yaml", world.allow_http("web-v1", "client"))
    mesh.write("allow-2.yaml", world.allow_http("web-v2", "client"))


def test_t1_the_full_name_of_the_root_is_the_root_and_another_namespaces_is_refused(mesh: EchoMesh) -> None:
    for root in ("web", "web.test", "web.test.svc", "web.test.svc.cluster.local"):
        mesh.write("split.yaml", world.split("web", root, {"web-v2": 1}))
        assert mesh.names("client", WEB, 10) == {"web-v2": 10}
    mesh.write("split.yaml", world.split("web", "web.elsewhere", {"web-v2": 1}))
    assert set(mesh.names("client", WEB, 40)) == {"web-v1", "web-v2"}
    (problem,) = mesh.problems("web")
    assert (problem["rule"], problem["field"]) == ("T1", "spec.service")


def test_t3_without_a_usable_backend_the_503_names_the_split_on_tcp_the_connection_is_closed(mesh: EchoMesh) -> None:
    mesh.write_unsettled("allow-tcp.yaml", world.allow_tcp("lines", "client"))
    mesh.write_unsettled("tcp.yaml", world.split("no-lines", "lines", {"nowhere": 1}))
    mesh.write("split.yaml", world.split("no-web", "web", {"nowhere": 1, "lines": 2}))
    (answer,) = mesh.echo("client", "get", WEB)
    assert (answer["status"], "test/no-web" in answer["body"]) == (503, True)
    closed = mesh.echo("client", "dial", "lines.test", "9000", "--wait", "0.2")
    assert (closed["echo"], closed["closed"]) == ("", True)
    assert {"T3", "T6"} == {problem["rule"] for problem in mesh.problems("no-web")}


def test_t5_t8_a_backend_that_is_a_root_itself_means_its_endpoints(mesh: EchoMesh) -> None:
    mesh.write_unsettled("inner.yaml", world.split("inner", "web-v2", {"web-v1": 1}))
    mesh.write("outer.yaml", world.split("outer", "web", {"web-v2": 1}))
    assert mesh.names("client", WEB, 10) == {"web-v2": 10}
    assert mesh.names("client", "http://web-v2.test/", 10) == {"web-v1": 10}


def test_t9_splits_with_matches_go_first_and_of_those_without_the_oldest_alone_counts(mesh: EchoMesh) -> None:
    mesh.write_unsettled("group.yaml", world.manifests(
        world.route_group("beta", {"name": "beta", "headers": {"x-beta": "^on$"}}),
        world.route_group("any", {"name": "any", "headers": {"x-beta": "."}}),
    ))  # fmt: skip
    # In files the order of names and lines is age.
    mesh.write_unsettled("split-1.yaml", world.split("rest", "web", {"web-v1": 1}))
    mesh.write_unsettled("split-2.yaml", world.split("beta", "web", {"web-v2": 1}, "beta"))
    mesh.write_unsettled("split-3.yaml", world.split("any", "web", {"web-v1": 1}, "any"))
    mesh.write("split-4.yaml", world.split("late", "web", {"web-v2": 1}))
    assert mesh.names("client", WEB, 10, "-H", "x-beta=on") == {"web-v2": 10}
    assert mesh.names("client", WEB, 10, "-H", "x-beta=off") == {"web-v1": 10}
    assert mesh.names("client", WEB, 10) == {"web-v1": 10}
    (problem,) = mesh.problems("late")
    assert (problem["rule"], "test/rest is older" in problem["message"]) == ("T9", True)


def test_t10_the_same_backend_twice_adds_up(mesh: EchoMesh) -> None:
    backends = [{"service": name, "weight": weight} for name, weight in (("web-v1", 1), ("web-v2", 1), ("web-v1", 2))]
    split = world.thing(
        "split.smi-spec.io/v1alpha2", "TrafficSplit", "twice", spec={"service": "web", "backends": backends}
    )
    mesh.write("split.yaml", json.dumps(split))
    counts = mesh.names("client", WEB, 400)
    assert abs(counts["web-v1"] - 300) <= 4 * (400 * 0.75 * 0.25) ** 0.5, counts


def test_t13_a_backend_without_endpoints_keeps_its_share_of_503s(mesh: EchoMesh) -> None:
    mesh.write_unsettled("v3.yaml", world.manifests(world.service("web-v3", {"version": "v3"}, ("http", 80, 8080))))
    mesh.write("split.yaml", world.split("web", "web", {"web-v1": 3, "web-v3": 1}))
    counts = mesh.names("client", WEB, 400)
    assert set(counts) == {"web-v1", "503"}
    assert abs(counts["503"] - 100) <= 4 * (400 * 0.25 * 0.75) ** 0.5, counts
    (problem,) = mesh.problems("web")
    assert (problem["rule"], "weight 1" in problem["message"]) == ("T13", True)
