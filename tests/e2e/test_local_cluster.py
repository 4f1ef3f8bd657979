"""A local cluster without a mesh: pods, probes, endpoints, edits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bare_node import BareNode
from local.state import problems

PROBE = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1}

ASK = """
import sys, time, urllib.request
started = time.monotonic()
try:
    told = urllib.request.urlopen(sys.argv[1], timeout=20).status
except OSError as error:
    told = type(getattr(error, "reason", error)).__name__
print(told, time.monotonic() - started)
"""
"""A program that asks for a URL: prints the status or what went wrong, and after how many seconds."""


def deployment(name: str, replicas: int, **container: Any) -> dict[str, Any]:
    """A Deployment of HTTP servers in the manifest's folder."""
    server = {
        "name": "app", "command": ["python3", "-m", "http.server", "$(PORT)"],
        "env": [{"name": "PORT", "value": "8080"}],
        "ports": [{"name": "http", "containerPort": 8080}], "readinessProbe": PROBE,
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "template": {
            "metadata": {"labels": {"app": name}}, "spec": {"containers": [{**server, **container}]}}},
    }  # fmt: skip


def service(name: str, app: str, **spec: Any) -> dict[str, Any]:
    """A Service for a Deployment."""
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": ports, **spec},
    }  # fmt: skip


def write(folder: Path, **files: list[dict[str, Any]]) -> None:
    """Write files of manifests."""
    for name, objects in files.items():
        (folder / f"{name}.yaml").write_text("\n---\n".join(json.dumps(item) for item in objects))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder below one that only its owner may pass through, as pytest makes it."""
    made = tmp_path / "manifests"
    made.mkdir()
    return made


@pytest.fixture
def node(folder: Path) -> Iterator[BareNode]:
    """A cluster of two web pods and a caller."""
    caller = deployment("caller", 1, command=["sleep", "infinity"], readinessProbe=None)
    headless = service("web-pods", "web", clusterIP="None")
    write(folder, web=[deployment("web", 2), service("web", "web"), headless], caller=[caller])
    with BareNode(f"test-{os.getpid()}", folder) as running:
        running.until(lambda: len(running.ready()) == 3, "all pods are ready")
        yield running


def test_pods_have_addresses_and_reach_each_other_by_name(node: BareNode) -> None:
    answer = node.run("default/caller", "python3", "-c", ASK, "http://web-pods:8080/")
    assert answer.split()[0] == "200"
    hosts = node.run("default/caller", "cat", "/etc/hosts")
    for pod in node.pods().values():
        assert pod["address"].startswith("10.244.")
    cluster_ip = node.objects("Service")["web"]["spec"]["clusterIP"]
    assert f"{cluster_ip} web web.default web.default.svc web.default.svc.cluster.local" in hosts
    assert "10.244.0.1 weft.weft-system weft.weft-system.svc" in hosts


def test_an_unknown_name_fails_at_once_and_a_cluster_ip_is_refused_without_a_sidecar(node: BareNode) -> None:
    for url, failure in (("http://nowhere.example", "gaierror"), ("http://web", "OSError")):
        kind, seconds = node.run("default/caller", "python3", "-c", ASK, url).split()
        assert kind == failure
        assert float(seconds) < 1


def test_an_app_is_nobody_without_capabilities_and_leaves_the_machine_as_it_is(node: BareNode) -> None:
    assert node.run("default/caller", "id", "-u").strip() == "65534"
    status = node.run("default/caller", "cat", "/proc/self/status")
    assert {line.split()[1] for line in status.splitlines() if line.startswith("Cap")} == {"0" * 16}
    assert node.run("default/caller", "ls", "-A", "/run").strip() == ""
    assert node.run("default/caller", "hostname").startswith("caller-")


def test_readiness_decides_the_endpoints(folder: Path, node: BareNode) -> None:
    assert [conditions["ready"] for conditions in node.endpoints("web").values()] == [True, True]
    broken = deployment("web", 2, readinessProbe={**PROBE, "httpGet": {"path": "/absent", "port": "http"}})
    write(folder, broken=[deployment("late", 1, readinessProbe=broken["spec"]["template"]["spec"]["containers"][0]
                                     ["readinessProbe"]), service("late", "late")])  # fmt: skip
    node.until(lambda: node.endpoints("late"), "the pod has an address")
    assert [conditions["ready"] for conditions in node.endpoints("late").values()] == [False]
    (folder / "absent").write_text("present")
    node.until(lambda: [c["ready"] for c in node.endpoints("late").values()] == [True], "the probe has succeeded")
    (folder / "absent").unlink()
    node.until(lambda: [c["ready"] for c in node.endpoints("late").values()] == [False], "the probe has failed")


def test_scaling_an_edited_file_takes_effect(folder: Path, node: BareNode) -> None:
    before = set(node.ready())
    write(folder, web=[deployment("web", 4), service("web", "web")])
    node.until(lambda: len(node.endpoints("web")) == 4 and len(node.ready()) == 5, "four are ready")
    assert before <= set(node.ready())
    write(folder, web=[deployment("web", 1), service("web", "web")])
    node.until(lambda: len(node.endpoints("web")) == 1 and len(node.pods()) == 2, "one is left")


def test_a_new_template_replaces_pods_without_a_gap(folder: Path, node: BareNode) -> None:
    old = {name for name in node.ready() if name.startswith("web")}
    write(folder, web=[deployment("web", 2, env=[{"name": "PORT", "value": "8080"}, {"name": "NEW", "value": "1"}]),
                       service("web", "web")])  # fmt: skip
    fewest = 2

    def replaced() -> bool:
        nonlocal fewest
        fewest = min(fewest, sum(conditions["ready"] for conditions in node.endpoints("web").values()))
        return not old & {name.split("/")[1] for name in node.pods()}

    node.until(replaced, "the old pods are gone")
    assert fewest == 2
    assert len([name for name in node.ready() if name.startswith("web")]) == 2


def test_a_removed_file_ends_its_pods_and_a_half_written_one_does_not(folder: Path, node: BareNode) -> None:
    (folder / "web.yaml").write_text((folder / "web.yaml").read_text()[:200] + "\n  - [")
    (folder / "caller.yaml").unlink()
    node.until(lambda: not any("caller" in name for name in node.pods()), "the caller is gone")
    assert len(node.ready()) == 2


def test_a_container_that_ends_is_started_again(node: BareNode) -> None:
    pod = next(name for name in node.pods() if "/web" in name)
    pid = node.pods()[pod]["containers"]["app"]["process"]["pid"]
    node.run(pod, "sh", "-c", f"kill -9 {pid}")
    node.until(lambda: node.pods()[pod]["containers"]["app"]["restarts"] == 1, "it was started again")
    node.until(lambda: node.pods()[pod]["ready"], "it is ready again")


def test_a_container_without_a_command_is_a_problem_and_the_others_run(folder: Path, node: BareNode) -> None:
    write(folder, image=[deployment("image", 1, command=None)])
    node.until(lambda: "container app has no command" in node.log.read_text(), "the problem is told")
    assert len(node.ready()) == 3
    node.until(lambda: "spec.template.spec.containers[0].command" in problems(node.name)[0], "it is shown as well")


def test_stateful_pods_have_names_of_their_own(folder: Path, node: BareNode) -> None:
    stateful = deployment("db", 2) | {"kind": "StatefulSet"}
    stateful["spec"]["serviceName"] = "db"
    write(folder, db=[stateful, service("db", "db", clusterIP="None")])
    node.until(lambda: {"db-0", "db-1"} <= set(node.ready()), "both are ready")
    node.until(lambda: "db-1.db.default.svc" in node.run("default/caller", "cat", "/etc/hosts"), "its name is known")
    answer = node.run("default/caller", "python3", "-c", ASK, "http://db-1.db:8080/")
    assert answer.split()[0] == "200"


def test_a_single_file_is_followed_when_an_editor_replaces_it(folder: Path) -> None:
    sleeper = deployment("one", 1, command=["sleep", "infinity"], readinessProbe=None)
    write(folder, one=[sleeper])
    with BareNode(f"file-{os.getpid()}", folder / "one.yaml") as node:
        node.until(lambda: len(node.ready()) == 1, "the pod is ready")
        write(folder, draft=[deployment("two", 1, command=["sleep", "infinity"], readinessProbe=None)])
        (folder / "draft.yaml").replace(folder / "one.yaml")
        node.until(lambda: [name[:3] for name in node.ready()] == ["two"] and len(node.pods()) == 1, "it was replaced")
