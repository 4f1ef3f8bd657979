"""A node without a mesh: which pods it takes, how it says what is wrong, and how pods end.

The node takes every pod that no node has, so these tests have an API server of their own.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api_server import ApiServer, start_api_server
from cluster_node import ClusterNode, condition, is_ready, path_of
from local.requirements import unmet
from raw_api import STRATEGIC

SLEEP = ["sleep", "infinity"]
PROBED: dict[str, Any] = {
    "app": {
        "readinessProbe": {
            "exec": {"command": ["test", "-e", "/run/here/ready"]}, "periodSeconds": 1, "failureThreshold": 1,
        },
        "volumeMounts": [{"name": "here", "mountPath": "/run/here"}],
    },
    "volumes": [{"name": "here", "emptyDir": {}}],
}  # fmt: skip
"""A pod that is ready while a file is there."""
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    if missing := unmet():
        pytest.skip("; ".join(each.sentence for each in missing))
    found = start_api_server()
    if not found.controllers:
        found.stop()
        pytest.skip("KUBEBUILDER_ASSETS holds no kube-controller-manager")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def node(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterNode]:
    with ClusterNode(server, tmp_path_factory.mktemp("node"), f"pods-{os.getpid()}", "--no-webhook") as running:
        yield running


@pytest.fixture
def space(node: ClusterNode) -> str:
    """A fresh namespace with its default account."""
    name = f"pods-{next(_numbers)}"
    node.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    node.until(lambda: node.api("GET", account).code == 200, "the namespace has its account")
    return name


def pod(namespace: str, name: str = "web", command: list[str] | None = SLEEP, **spec: Any) -> dict[str, Any]:
    container = {"name": "app", "image": "none", **({"command": command} if command else {}), **spec.pop("app", {})}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, **spec},
    }  # fmt: skip


def read(node: ClusterNode, document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = node.api("GET", path_of(document)).expect(200)
    return found


def waiting(found: dict[str, Any]) -> dict[str, str]:
    """Why the container does not run."""
    statuses = found["status"].get("containerStatuses") or [{}]
    state: dict[str, str] = statuses[0].get("state", {}).get("waiting", {})
    return state


def gone(node: ClusterNode, document: dict[str, Any]) -> bool:
    return node.api("GET", path_of(document)).code == 404


def test_a_pod_bound_by_name_runs_and_one_of_another_scheduler_is_left_alone(node: ClusterNode, space: str) -> None:
    bound, other = pod(space, nodeName=node.name), pod(space, "other", schedulerName="another")
    node.apply([other, bound])
    node.until(lambda: is_ready(read(node, bound)), "it is ready")
    assert "nodeName" not in read(node, other)["spec"]


def test_a_pod_that_can_not_run_here_says_why_with_its_field(node: ClusterNode, space: str) -> None:
    wrong = pod(space, command=None)
    node.apply([wrong])
    node.until(lambda: waiting(read(node, wrong)).get("reason") == "CannotRunHere", "it says so")
    said = waiting(read(node, wrong))["message"]
    assert said.startswith("spec.containers[0].command: container app has no command")
    events = f"/apis/events.k8s.io/v1/namespaces/{space}/events"
    node.until(lambda: [each["note"] for each in node.api("GET", events).document["items"]] == [said], "an Event")
    node.api("DELETE", path_of(wrong)).expect(200)
    node.until(lambda: gone(node, wrong), "it is gone")


def test_a_pod_waits_for_what_it_refers_to_and_sees_it_change(node: ClusterNode, space: str) -> None:
    volume = {"name": "told", "configMap": {"name": "words"}}
    mount = {"name": "told", "mountPath": "/run/told"}
    reader = pod(space, volumes=[volume], app={"volumeMounts": [mount]})
    node.apply([reader])
    missing = f"ConfigMap {space}/words does not exist"
    node.until(lambda: waiting(read(node, reader)).get("message") == missing, "it says what is missing")
    for text in ("one", "two"):
        metadata = {"name": "words", "namespace": space}
        node.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"word": text}}])
        node.until(lambda: is_ready(read(node, reader)), "it is ready")
        node.until(lambda t=text: node.run(f"{space}/web", "cat", "/run/told/word") == t, f"it reads {text}")  # type: ignore[misc]


def test_readiness_follows_the_probe_and_the_gates_of_others(node: ClusterNode, space: str) -> None:
    gate = "example.com/open"
    gated = pod(space, **PROBED, readinessGates=[{"conditionType": gate}])
    node.apply([gated])
    node.until(lambda: condition(read(node, gated), "Initialized") == "True", "it runs")
    assert condition(read(node, gated), "ContainersReady") == "False"
    node.run(f"{space}/web", "touch", "/run/here/ready")
    node.until(lambda: condition(read(node, gated), "ContainersReady") == "True", "its probe succeeds")
    assert not is_ready(read(node, gated))
    body = {"status": {"conditions": [{"type": gate, "status": "True"}]}}
    node.api("PATCH", f"{path_of(gated)}/status", body, content_type=STRATEGIC).expect(200)
    node.until(lambda: is_ready(read(node, gated)), "it is ready")
    node.run(f"{space}/web", "rm", "/run/here/ready")
    node.until(lambda: not is_ready(read(node, gated)), "its probe fails")
    assert condition(read(node, gated), gate) == "True"


def test_a_container_that_fails_is_started_again_or_fails_its_pod(node: ClusterNode, space: str) -> None:
    fails = ["sh", "-c", "exit 3"]
    again, once = pod(space, "again", fails), pod(space, "once", fails, restartPolicy="Never")
    node.apply([again, once])
    node.until(
        lambda: read(node, again)["status"].get("containerStatuses", [{}])[0].get("restartCount", 0) > 1, "again"
    )
    node.until(lambda: read(node, once)["status"]["phase"] == "Failed", "it has failed")
    (status,) = read(node, once)["status"]["containerStatuses"]
    assert (status["restartCount"], status["state"]["terminated"]["exitCode"]) == (0, 3)


def test_a_deleted_pod_gets_its_grace_and_a_forced_one_none(node: ClusterNode, space: str) -> None:
    trap = "trap 'sleep 1; exit 0' TERM; touch /run/here/ready; sleep infinity & wait"
    polite = pod(space, "polite", ["sh", "-c", trap], **PROBED)
    polite["spec"]["terminationGracePeriodSeconds"] = 30
    ignore = "trap '' TERM; touch /run/here/ready; while :; do sleep 1; done"
    stubborn = pod(space, "stubborn", ["sh", "-c", ignore], **PROBED)
    stubborn["spec"]["terminationGracePeriodSeconds"] = 600
    node.apply([polite, stubborn])
    node.until(lambda: is_ready(read(node, polite)) and is_ready(read(node, stubborn)), "both are ready")
    with node.api.watch(f"/api/v1/namespaces/{space}/pods", fieldSelector="metadata.name=polite") as events:
        node.api("DELETE", path_of(polite)).expect(200)
        last = next(event["object"] for event in events if event["type"] == "DELETED")
    assert last["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    node.api("DELETE", path_of(stubborn)).expect(200)
    node.api("DELETE", path_of(stubborn), gracePeriodSeconds="0")
    node.until(lambda: gone(node, stubborn), "it is gone")
    node.until(lambda: node.told(f"Pod {space}/stubborn", "gone"), "nothing of it is left here")


def test_a_name_that_another_node_has_is_refused(node: ClusterNode, server: ApiServer, tmp_path: Path) -> None:
    taken = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "taken"}}
    node.api("POST", "/api/v1/nodes", taken).expect(201)
    info = {"status": {"nodeInfo": {**read_info(node), "kubeletVersion": "v1.36.2"}}}
    node.api("PATCH", "/api/v1/nodes/taken/status", info, content_type=STRATEGIC).expect(200)
    other = ClusterNode(server, tmp_path, f"other-{os.getpid()}", "--no-webhook", "--node-name", "taken")
    with pytest.raises(AssertionError, match="a node named taken that is not ours"), other:
        pass
    assert other.process.returncode == 1


def read_info(node: ClusterNode) -> dict[str, str]:
    found: dict[str, str] = node.api("GET", f"/api/v1/nodes/{node.name}").expect(200)["status"]["nodeInfo"]
    return found


def test_while_the_api_server_is_away_pods_run_and_what_happened_is_told_later(
    node: ClusterNode, server: ApiServer, space: str
) -> None:
    probed = pod(space, **PROBED)
    node.apply([probed])
    node.until(lambda: condition(read(node, probed), "Initialized") == "True", "it runs")
    server.go_away()
    try:
        node.run(f"{space}/web", "touch", "/run/here/ready")
        node.until(lambda: node.told(f"Pod {space}/web app", "ready"), "its probe succeeds")
    finally:
        server.come_back()
    node.until(lambda: is_ready(read(node, probed)), "the API server knows")
    assert read(node, probed)["status"]["containerStatuses"][0]["restartCount"] == 0
