"""A whole mesh in a cluster of one machine: objects applied to an API server run here, obey, and go again.

The node takes every pod that no node has, so these tests have an API server of their own.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from api_server import ApiServer, start_api_server
from bare_node import alive, descendants, until_gone
from cluster_node import WEFT, ClusterNode, condition, is_ready, path_of, shop
from controlplane.client import AdminClient
from local.requirements import unmet
from local.state import control_socket
from shown_commands import essence, shown

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FIRST_HOUR = Path(__file__).parents[2] / "docs" / "first-hour.md"
ALL = 5
"""Pods of the shop."""


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
    """The shop, running and ready, with its access rules."""
    with ClusterNode(server, tmp_path_factory.mktemp("node"), f"shop-{os.getpid()}") as running:
        running.apply(shop("access"))
        running.until_ready("shop", ALL)
        running.until(lambda: ask(running, "shop/storefront")["statuses"] == {"200": 1}, "the storefront is let in")
        yield running


def ask(node: ClusterNode, pod: str, count: int = 1) -> dict[str, Any]:
    return node.ask(pod, "http://catalog/", count)


def split(**weights: int) -> dict[str, Any]:
    backends = [{"service": f"catalog-{version}", "weight": weight} for version, weight in weights.items()]
    return {
        "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
        "metadata": {"name": "catalog-canary", "namespace": "shop"},
        "spec": {"service": "catalog", "backends": backends},
    }  # fmt: skip


def bare(name: str, *command: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "app", "image": "none", "command": list(command)}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"containers": [container], **spec},
    }  # fmt: skip


def test_who_is_let_in_gets_answers_by_mutual_tls_and_others_are_refused(node: ClusterNode) -> None:
    allowed = ask(node, "shop/storefront", 5)
    assert allowed["statuses"] == {"200": 5}
    assert allowed["last"]["caller"] == "spiffe://cluster.local/ns/shop/sa/storefront"
    assert ask(node, "shop/intruder", 3)["statuses"] == {"403": 3}


def test_a_pod_says_where_it_runs_and_how_its_containers_are(node: ClusterNode) -> None:
    pod = node.pod("shop", "storefront")
    assert pod["spec"]["nodeName"] == node.name
    status = pod["status"]
    assert status["phase"] == "Running"
    assert (status["hostIP"], status["podIP"][:7]) == ("10.244.0.1", "10.244.")
    assert [(each["name"], each["ready"]) for each in status["initContainerStatuses"]] == [
        ("weft-redirect", True),
        ("weft-proxy", True),
    ]
    assert {condition(pod, kind) for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")} == {"True"}


def test_a_split_is_obeyed_and_obeyed_again_when_it_changes(node: ClusterNode) -> None:
    for weights, version in ((split(v1=0, v2=1), "v2"), (split(v1=1, v2=0), "v1")):
        node.apply([weights])
        node.until(lambda v=version: ask(node, "shop/storefront", 5)["versions"] == {v: 5}, f"{version} answers")  # type: ignore[misc]


def test_a1_an_annotation_opens_a_running_workload_and_weft_describe_says_why(node: ClusterNode) -> None:
    (pod,) = [each for each in node.pods("shop") if each["metadata"]["name"].startswith("catalog-v1-")]
    name, url = pod["metadata"]["name"], "http://catalog-v1/"
    annotate(node, name, "permissive")
    node.until(lambda: node.ask("shop/intruder", url)["statuses"] == {"200": 1}, "the intruder is let in")
    why = {"value": "permissive", "because": f"annotation weft.dev/access of Pod shop/{name}"}
    assert described(node, "pod", name)["modes"]["access"] == why
    annotate(node, name, None)
    node.until(lambda: node.ask("shop/intruder", url)["statuses"] == {"403": 1}, "the intruder is refused again")
    assert described(node, "pod", name)["modes"]["access"] == {"value": "enforced", "because": "the mesh's setting"}
    (after,) = [each for each in node.pods("shop") if each["metadata"]["name"] == name]
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]


def annotate(node: ClusterNode, pod: str, access: str | None) -> None:
    """As `kubectl annotate pod` does; None takes the annotation away."""
    notes = {"metadata": {"annotations": {"weft.dev/access": access}}}
    merge = "application/merge-patch+json"
    node.api("PATCH", f"/api/v1/namespaces/shop/pods/{pod}", notes, content_type=merge).expect()


def described(node: ClusterNode, kind: str, name: str) -> dict[str, Any]:
    socket = control_socket(node.name)
    assert socket is not None
    found: dict[str, Any] = AdminClient(socket).get(f"/describe/{kind}/shop/{name}")
    return found


def test_commands_of_the_first_hour_print_what_its_page_shows(node: ClusterNode) -> None:
    """The first line of a table or a sentence, and of `weft tap` the refusal with its reason."""

    def printed(words: tuple[str, ...]) -> str:
        command = [*WEFT, *words, "--name", node.name]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout

    node.apply([split(v1=90, v2=10)])
    node.until(lambda: "catalog-canary" in str(described(node, "service", "catalog")), "the split is known")
    ending = {"proxies", "stat", "edges", "authz"}
    commands = [
        each for each in shown(FIRST_HOUR, "weft") if each.words[0] in ending or each.words[-2:] == ("--max", "1")
    ]
    with ThreadPoolExecutor(len(commands)) as together:
        answers = list(together.map(printed, [each.words for each in commands]))
    assert {each.words[0] for each in commands} == {*ending, "tap"}
    for each, answer in zip(commands, answers, strict=True):
        line = -1 if each.words[0] == "tap" else 0
        assert essence(answer)[line] == each.lines[line], each.words


def test_a_pod_that_ends_by_itself_has_succeeded_and_its_sidecar_has_ended(node: ClusterNode) -> None:
    words = ("python3", "-m", "weft_shop", "ask", "http://catalog/", "--count", "2")
    once = bare("once", *words, restartPolicy="Never", serviceAccountName="storefront")
    node.apply([once])
    node.until(lambda: node.pod("shop", "once")["status"].get("phase") == "Succeeded", "it has succeeded")
    status = node.pod("shop", "once")["status"]
    (app,) = status["containerStatuses"]
    assert app["state"]["terminated"]["exitCode"] == 0
    assert all("terminated" in each["state"] for each in status["initContainerStatuses"])
    node.api("DELETE", path_of(once)).expect()
    node.until(lambda: node.api("GET", path_of(once)).code == 404, "it is gone")


def test_a_token_is_refused_once_its_pod_is_deleted(node: ClusterNode) -> None:
    former = node.pod("shop", "storefront")["metadata"]["name"]
    token = node.run(f"shop/{former}", "cat", "/var/run/secrets/weft/token", container="weft-proxy").strip()
    assert reviewed(node, token)["user"]["username"] == "system:serviceaccount:shop:storefront"
    node.api("DELETE", f"/api/v1/namespaces/shop/pods/{former}").expect(200)
    node.until(lambda: former not in {each["metadata"]["name"] for each in node.pods("shop")}, "it is gone")
    # A real API server remembers for some seconds that the token was good.
    node.until(lambda: not reviewed(node, token).get("authenticated"), "its token is refused")
    node.until_ready("shop", ALL)
    node.until(lambda: ask(node, "shop/storefront")["statuses"] == {"200": 1}, "its successor is let in")


def reviewed(node: ClusterNode, token: str) -> dict[str, Any]:
    spec = {"token": token, "audiences": ["weft"]}
    answer = node.api("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": spec}).expect(201)
    found: dict[str, Any] = answer["status"]
    return found


def test_a_node_that_ended_says_so_and_takes_up_its_pods_when_it_is_back(
    server: ApiServer, node: ClusterNode, tmp_path: Path
) -> None:
    assert node.end() == 0
    assert not any(is_ready(pod) for pod in node.pods("shop"))
    assert condition(node.api("GET", f"/api/v1/nodes/{node.name}").expect(200), "Ready") == "False"
    for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        assert node.api("GET", f"/apis/admissionregistration.k8s.io/v1/{kind}").expect(200)["items"] == []
    crd = node.api("GET", f"{DEFINITIONS}/trafficsplits.split.smi-spec.io").expect(200)
    assert crd["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["name"] == "weft-webhook"
    before = {pod["metadata"]["uid"] for pod in node.pods("shop")}
    with ClusterNode(server, tmp_path, node.name) as again:
        again.until_ready("shop", ALL)
        pods = again.pods("shop")
        assert {pod["metadata"]["uid"] for pod in pods} == before
        assert {each["restartCount"] for pod in pods for each in pod["status"]["containerStatuses"]} == {1}
        again.until(lambda: ask(again, "shop/storefront")["statuses"] == {"200": 1}, "the storefront is let in again")
        assert ask(again, "shop/intruder")["statuses"] == {"403": 1}


def test_killed_it_leaves_no_process_and_the_next_one_takes_over_its_webhook(server: ApiServer, tmp_path: Path) -> None:
    name = f"killed-{os.getpid()}"
    with ClusterNode(server, tmp_path, name) as node:
        below = list(descendants(node.process.pid))
        assert len(alive(below)) == len(below) > 3
        node.process.kill()
        node.process.wait()
        until_gone(below)
    configuration = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/weft-webhook"
    former = node.api("GET", configuration).expect(200)["webhooks"][0]["clientConfig"]["url"]
    with ClusterNode(server, tmp_path, name):
        assert node.api("GET", configuration).expect(200)["webhooks"][0]["clientConfig"]["url"] != former
    assert node.api("GET", configuration).code == 404


def test_where_another_weft_is_asked_nothing_begins(server: ApiServer, tmp_path: Path) -> None:
    other = ClusterNode(server, tmp_path, f"second-{os.getpid()}")
    collection = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    other.api("POST", collection, {"metadata": {"name": "weft-webhook"}}).expect(201)
    try:
        with pytest.raises(AssertionError, match="this cluster has a Weft already"), other:
            pass
    finally:
        other.api("DELETE", f"{collection}/weft-webhook")
    assert other.process.returncode == 1


def test_without_privileges_the_same_is_allowed_and_refused(server: ApiServer, tmp_path: Path) -> None:
    # All but the one that the kernel asks for where user 0 is mapped (user_namespaces(7)).
    become = ("setpriv", "--inh-caps=-all", "--bounding-set=-all,+setfcap") if os.geteuid() == 0 else ()
    with ClusterNode(server, tmp_path, f"unprivileged-{os.getpid()}", become=become) as node:
        node.apply(shop("access"))
        # Pods of another node stay with it; their successors come here.
        for pod in node.pods("shop"):
            node.api("DELETE", f"/api/v1/namespaces/shop/pods/{pod['metadata']['name']}", gracePeriodSeconds="0")
        node.until_ready("shop", ALL)
        assert {pod["spec"]["nodeName"] for pod in node.pods("shop")} == {node.name}
        node.until(lambda: ask(node, "shop/storefront")["statuses"] == {"200": 1}, "the storefront is let in")
        assert ask(node, "shop/intruder", 3)["statuses"] == {"403": 3}
