"""What `weft stat` and `weft edges` tell of 10,000 requests is what the callers counted, to the request."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import world
from echo_mesh import EchoMesh
from running_mesh import WEFT

PATHS = {"/open": 6000, "/closed": 1500}
"""What the rule lets in and what it does not, by number of requests."""
SPLIT = 2500
"""Requests to the Service that is split."""

Counted = tuple[EchoMesh, Counter[tuple[str, str]]]


def pods() -> str:
    """A caller and two servers that nobody else uses, a rule, and a split with an unlike pair of weights."""
    names = ("surveyor", "surveyed", "surveyed-too")
    labels = {name: {"app": name, "part": "surveyed" if name != "surveyor" else "surveyor"} for name in names}
    accounts = [world.thing("v1", "ServiceAccount", name) for name in names]
    open_ = world.route_group("surveyed", {"name": "open", "pathRegex": "/(open)?", "methods": ["GET"]})
    targets = [
        world.target(name, name, [world.account("surveyor")], [world.group_ref("surveyed")]) for name in names[1:]
    ]
    return "\n---\n".join([
        world.manifests(
            *accounts, world.deployment("surveyor", "surveyor", ["sleep", "infinity"], [], labels["surveyor"]),
            *(world.deployment(name, name, world.http(name), [8080], labels[name]) for name in names[1:]),
            *(world.service(name, {"app": name}, ("http", 80, 8080)) for name in names[1:]),
            world.service("survey", {"part": "surveyed"}, ("http", 80, 8080)), open_, *targets,
        ),
        world.split("survey", "survey", {"surveyed": 80, "surveyed-too": 20}),
    ])  # fmt: skip


def weft(mesh: EchoMesh, *words: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    command = [*WEFT, *words, "--name", mesh.name, "-n", world.NAMESPACE, "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rows(mesh: EchoMesh, *words: str) -> dict[str, dict[str, Any]]:
    """The lines by name."""
    return {row["name"]: row for row in weft(mesh, *words, "-t", "10m")["rows"]}


@pytest.fixture(scope="module")
def counted(running: EchoMesh) -> Iterator[Counted]:
    """What the callers counted, by who answered and code; the sidecars have told all of it."""
    weft(running, "stat")  # from now on new pods' counts are known from their first request on
    running.write("traffic.yaml", pods())
    running.wait_until(lambda: {"surveyor", "surveyed", "surveyed-too"} <= running.ready_apps(), "the pods are ready")
    asked = {f"http://surveyed{path}": number for path, number in PATHS.items()} | {"http://survey/": SPLIT}
    clients = [running.start_echo("surveyor", "get", url, str(number)) for url, number in asked.items()]
    seen: Counter[tuple[str, str]] = Counter()
    for process in clients:
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        # A refusal carries no name; only one Service has them here.
        seen.update((answer.get("name") or "surveyed", str(answer["status"])) for answer in json.loads(out))

    def all_told() -> bool:
        served = rows(running, "stat", "deploy")
        sent = rows(running, "stat", "deploy", "--to", "ns/test").get("surveyor", {"requests": 0})
        both = sum(served[name]["requests"] for name in ("surveyed", "surveyed-too"))
        return bool(min(both, sent["requests"]) >= seen.total())

    running.wait_until(all_told, "every request is told", 60)
    yield running, seen
    running.remove("traffic.yaml")


def test_m2_what_servers_are_told_to_have_served_is_what_the_callers_counted(counted: Counted) -> None:
    mesh, seen = counted
    told = rows(mesh, "stat", "deploy")
    codes = {
        (name, code): number for name in ("surveyed", "surveyed-too") for code, number in told[name]["codes"].items()
    }
    assert codes == seen
    assert seen.total() == sum(PATHS.values()) + SPLIT == 10_000
    assert [told[name]["failures"] for name in ("surveyed", "surveyed-too")] == [0, 0]


def test_m1_a_split_shows_each_backends_share(counted: Counted) -> None:
    mesh, seen = counted
    found = {row["backend"]["name"]: row for row in weft(mesh, "stat", "ts", "survey", "-t", "10m")["rows"]}
    assert {name: row["backend"]["weight"] for name, row in found.items()} == {"surveyed": 80, "surveyed-too": 20}
    assert sum(row["requests"] for row in found.values()) == SPLIT
    assert found["surveyed-too"]["requests"] == seen["surveyed-too", "200"]
    assert found["surveyed-too"]["backend"]["share"] == seen["surveyed-too", "200"] / SPLIT


def test_m1_edges_tell_the_same_as_the_callers_saw_it(counted: Counted) -> None:
    mesh, seen = counted
    found = weft(mesh, "edges", "-t", "10m")["rows"]
    told = {row["name"]: row["requests"] for row in found if row["peer"]["name"] == "surveyor"}
    wanted: Counter[str] = Counter()
    for (name, _), number in seen.items():
        wanted[name] += number
    assert told == wanted


def test_a_table_is_printed_for_people(counted: Counted) -> None:
    mesh, _ = counted
    done = subprocess.run(
        [*WEFT, "stat", "svc", "--name", mesh.name, "-t", "10m"], capture_output=True, text=True, check=True, timeout=60
    )
    heading, *lines = done.stdout.splitlines()
    assert heading.split() == ["NAMESPACE", "NAME", "MESHED", "SUCCESS", "RPS", "P50", "P95", "P99", "TCP"]
    (line,) = [line.split() for line in lines if line.split()[1] == "surveyed-too"]
    assert line[2:4] == ["1/1", "100.00%"]
    assert line[5].endswith("ms")
    assert "Over the last" in done.stderr
