"""TrafficSplits, end to end (rules T), by counting who answers."""

from __future__ import annotations

import json
import time
from math import sqrt
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


def within(count: int, total: int, share: float) -> bool:
    """Whether a count lies within four standard deviations of its share (1 in 16,000 by chance)."""
    return abs(count - total * share) <= 4 * sqrt(total * share * (1 - share))


def test_t12_without_a_split_the_roots_own_endpoints_answer(mesh: EchoMesh) -> None:
    assert set(mesh.names("client", WEB, 50)) == {"web-v1", "web-v2"}


@pytest.mark.parametrize(("one", "two"), [(1000, 500), (90, 10), (0, 100), (1, 0)])
def test_t2_t11_weights_are_relative_and_hold_per_request_over_one_connection(
    mesh: EchoMesh, one: int, two: int
) -> None:
    mesh.write("split.yaml", world.split("web", "web", {"web-v1": one, "web-v2": two}))
    counts = mesh.names("client", WEB, 1000)
    assert sum(counts.values()) == 1000
    assert within(counts.get("web-v1", 0), 1000, one / (one + two)), counts
    assert within(counts.get("web-v2", 0), 1000, two / (one + two)), counts


def test_t3_all_weights_zero_answers_503_and_names_the_split(mesh: EchoMesh) -> None:
    mesh.write("split.yaml", world.split("nothing", "web", {"web-v1": 0, "web-v2": 0}))
    (answer,) = mesh.echo("client", "get", WEB)
    assert answer["status"] == 503
    assert "test/nothing" in answer["body"]
    assert "T3" in {problem["rule"] for problem in mesh.problems("nothing")}


def test_t4_a_backend_equal_to_the_root_means_its_endpoints(mesh: EchoMesh) -> None:
    mesh.write("split.yaml", world.split("web", "web-v1", {"web-v1": 50, "web-v2": 50}))
    counts = mesh.names("client", "http://web-v1.test/", 400)
    assert within(counts["web-v1"], 400, 0.5)


def test_t6_a_missing_backend_is_left_out_and_joins_when_it_appears(mesh: EchoMesh) -> None:
    mesh.write("split.yaml", world.split("web", "web", {"web-v1": 1, "web-v3": 1}))
    assert mesh.names("client", WEB, 40) == {"web-v1": 40}
    assert "T6" in {problem["rule"] for problem in mesh.problems("web")}
    mesh.write("v3.yaml", world.manifests(world.service("web-v3", {"version": "v2"}, ("http", 80, 8080))))
    mesh.wait_until(lambda: "web-v2" in mesh.names("client", WEB, 40), "the new backend joins")


def test_t7_a_tcp_port_is_split_per_connection(mesh: EchoMesh) -> None:
    mesh.write_unsettled("tcp.yaml", world.manifests(
        world.service("wire", {"app": "lines"}, ("tcp", 9001, 9000)),
        world.service("wire-a", {"app": "lines"}, ("tcp", 9001, 9000)),
        world.service("wire-b", {"app": "lines"}, ("tcp", 9001, 9001)),
    ))  # fmt: skip
    mesh.write_unsettled("allow-tcp.yaml", world.allow_tcp("lines", "client"))
    mesh.write("split.yaml", world.split("wire", "wire", {"wire-b": 1, "wire-a": 0}))
    mesh.wait_until(lambda: bool(mesh.echo("client", "dial", "wire.test", "9001")["first"]), "wire-b answers")
    assert mesh.echo("client", "dial", "wire.test", "9001", "--wait", "0.2")["first"] == "greeter: hello\n"
    held = mesh.start_echo("client", "hold", "wire.test", "9001", "4")
    time.sleep(1)
    mesh.write("split.yaml", world.split("wire", "wire", {"wire-b": 0, "wire-a": 1}))
    assert mesh.echo("client", "dial", "wire.test", "9001", "--wait", "0.2")["echo"] == "lines: ping\n"
    result = json.loads(held.communicate(timeout=30)[0])
    assert result["error"] == "", "a connection that exists is not dropped by a change of weights"
    assert result["lines"] > 50


def test_t8_requests_that_match_follow_the_split_all_others_the_root(mesh: EchoMesh) -> None:
    mesh.write_unsettled("group.yaml", world.manifests(
        world.route_group("firefox", {"name": "firefox", "headers": {"user-agent": ".*Firefox.*"}})
    ))  # fmt: skip
    mesh.write("split.yaml", world.split("ab", "web-v1", {"web-v2": 1}, "firefox"))
    assert mesh.names("client", "http://web-v1.test/", 20, "-H", "user-agent=Firefox/1") == {"web-v2": 20}
    assert mesh.names("client", "http://web-v1.test/", 20, "-H", "user-agent=Chrome") == {"web-v1": 20}


def test_t8_a_missing_group_matches_nothing(mesh: EchoMesh) -> None:
    mesh.write("split.yaml", world.split("ab", "web-v1", {"web-v2": 1}, "nowhere"))
    assert mesh.names("client", "http://web-v1.test/", 20) == {"web-v1": 20}


def test_t2_t12_a_change_of_weights_under_load_loses_no_request(mesh: EchoMesh) -> None:
    mesh.write("split.yaml", world.split("web", "web", {"web-v1": 1, "web-v2": 0}))
    load = mesh.start_echo("client", "load", WEB, "6")
    for one in (0, 1, 0):
        time.sleep(0.5)
        mesh.write("split.yaml", world.split("web", "web", {"web-v1": one, "web-v2": 1 - one}))
    mesh.remove("split.yaml")
    result = json.loads(load.communicate(timeout=60)[0])
    assert result["errors"] == []
    assert set(result["counts"]) == {"200", "web-v1", "web-v2"}
    assert result["connections"] == 1


def test_a14_a_split_gives_no_access_to_its_backends(mesh: EchoMesh) -> None:
    mesh.remove("allow-2.yaml")
    mesh.write("split.yaml", world.split("web", "web-v1", {"web-v2": 1}))
    assert mesh.names("client", "http://web-v1.test/", 10) == {"403": 10}
