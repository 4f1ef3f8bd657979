"""Pods get their sidecar when they are made: an API server asks `weft webhook` as the chart tells it to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from api_server import ApiServer
from raw_api import JSON_PATCH, MERGE, STRATEGIC, RawApi
from weft_webhook import WebhookProcess, injecting

GOLDEN = Path(__file__).parents[1] / "golden" / "inject"
INJECT = "weft.dev/inject"
WEB = {"name": "web", "image": "web"}


@pytest.fixture(scope="module")
def webhook(api_server: ApiServer, api: RawApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebhookProcess]:
    with injecting(api_server, api, tmp_path_factory.mktemp("webhook")) as running:
        yield running


@pytest.fixture
def pods(api: RawApi, webhook: WebhookProcess, namespace: str) -> str:
    """The path of the pods of an enrolled namespace."""
    enrol(api, namespace, "enabled")
    return f"/api/v1/namespaces/{namespace}/pods"


def enrol(api: RawApi, namespace: str, word: str | None) -> None:
    labels = {"metadata": {"labels": {INJECT: word}}}
    api("PATCH", f"/api/v1/namespaces/{namespace}", labels, content_type=MERGE).expect(200)


def pod(name: str = "web", *, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": labels or {}}
    return {"metadata": metadata, "spec": {"containers": [WEB], **spec}}


def names(made: dict[str, Any]) -> list[str]:
    return [container["name"] for container in made["spec"].get("initContainers") or ()]


def test_a_pod_of_an_enrolled_namespace_has_its_sidecar(api: RawApi, pods: str) -> None:
    probe = {"httpGet": {"path": "/up", "port": 8080}, "periodSeconds": 7}
    made = api("POST", pods, pod(containers=[{**WEB, "readinessProbe": probe}])).expect(201)
    assert names(made) == ["weft-redirect", "weft-proxy"]
    assert made["metadata"]["annotations"]["weft.dev/injected"] == "true"
    asked = made["spec"]["containers"][0]["readinessProbe"]
    assert (asked["httpGet"]["port"], asked["httpGet"]["path"]) == (15021, "/probe/web/readiness")
    assert asked["periodSeconds"] == 7
    assert api("GET", f"{pods}/web").document["spec"] == made["spec"]


@pytest.mark.parametrize("word", ["disabled", None, "on"])
def test_a_pod_whose_label_says_enabled_has_it_whatever_its_namespace_says(
    api: RawApi, pods: str, namespace: str, word: str | None
) -> None:
    enrol(api, namespace, word)
    settled(api, pods, injected=False)
    assert names(api("POST", pods, pod(labels={INJECT: "enabled"})).expect(201)) == ["weft-redirect", "weft-proxy"]


def test_a_pod_whose_label_says_disabled_has_none(api: RawApi, pods: str) -> None:
    made = api("POST", pods, pod(labels={INJECT: "disabled"})).expect(201)
    assert names(made) == []
    assert "annotations" not in made["metadata"]


def test_a_pod_of_any_other_namespace_is_not_asked_about(api: RawApi, pods: str, namespace: str) -> None:
    enrol(api, namespace, None)
    settled(api, pods, injected=False)
    assert names(api("POST", pods, pod()).expect(201)) == []


def settled(api: RawApi, pods: str, *, injected: bool) -> None:
    """Wait until the API server's own view of the namespace has its new label."""
    while bool(names(api("POST", pods, pod("probe"), dryRun="All").expect(201))) != injected:
        pass


def test_a_dry_run_shows_the_sidecar_and_keeps_nothing(api: RawApi, pods: str) -> None:
    assert names(api("POST", pods, pod(), dryRun="All").expect(201)) == ["weft-redirect", "weft-proxy"]
    assert api("GET", f"{pods}/web").code == 404


def test_a_pod_that_gets_its_name_later_has_it_too(api: RawApi, pods: str) -> None:
    asked = {"metadata": {"generateName": "web-"}, "spec": {"containers": [WEB]}}
    made = api("POST", pods, asked).expect(201)
    assert made["metadata"]["name"].startswith("web-")
    assert names(made) == ["weft-redirect", "weft-proxy"]


def test_a_bad_annotation_refuses_the_pod_and_is_named(api: RawApi, pods: str) -> None:
    asked = pod()
    asked["metadata"]["annotations"] = {"weft.dev/exclude-inbound-ports": "http"}
    answer = api("POST", pods, asked)
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.message.startswith(
        'admission webhook "namespaces.inject.weft.dev" denied the request: '
        "metadata.annotations[weft.dev/exclude-inbound-ports]: must be ports from 1 to 65535"
    )
    assert [cause["field"] for cause in answer.causes] == ["metadata.annotations[weft.dev/exclude-inbound-ports]"]
    assert api("GET", f"{pods}/web").code == 404


def test_a_pod_that_is_left_alone_says_why(api: RawApi, pods: str) -> None:
    answer = api("POST", pods, pod(hostNetwork=True))
    made = answer.expect(201)
    why = "it uses its node's network, where redirection would take the node's traffic"
    assert any(f"gets no sidecar of Weft: {why}" in warning for warning in answer.warnings)
    assert made["metadata"]["annotations"] == {"weft.dev/not-injected": why}
    assert names(made) == []


@pytest.mark.parametrize("where", ["kube-system", "weft-system"])
def test_kubernetes_own_pods_and_ours_are_left_alone_and_say_why(
    api: RawApi, webhook: WebhookProcess, where: str
) -> None:
    answer = api("POST", f"/api/v1/namespaces/{where}/pods", pod(labels={INJECT: "enabled"}), dryRun="All")
    assert names(answer.expect(201)) == []
    assert any(f"namespace {where} is " in warning for warning in answer.warnings)


def test_an_injected_pod_that_is_applied_again_is_not_injected_twice(api: RawApi, pods: str) -> None:
    made = api("POST", pods, pod(), dryRun="All").expect(201)
    again = {"metadata": {"name": "copy", "annotations": made["metadata"]["annotations"]}, "spec": made["spec"]}
    assert names(api("POST", pods, again).expect(201)) == ["weft-redirect", "weft-proxy"]


def test_an_ephemeral_container_joins_an_injected_pod(api: RawApi, pods: str) -> None:
    before = api("POST", pods, pod()).expect(201)
    debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox", "targetContainerName": "web"}]}}
    path = f"{pods}/web/ephemeralcontainers"
    after = api("PATCH", path, debug, content_type=STRATEGIC).expect(200)
    assert [each["name"] for each in after["spec"]["ephemeralContainers"]] == ["debug"]
    assert after["spec"]["initContainers"] == before["spec"]["initContainers"]


def test_labels_of_a_running_pod_may_change(api: RawApi, pods: str) -> None:
    api("POST", pods, pod()).expect(201)
    step = [{"op": "add", "path": "/metadata/labels", "value": {INJECT: "disabled"}}]
    made = api("PATCH", f"{pods}/web", step, content_type=JSON_PATCH).expect(200)
    assert names(made) == ["weft-redirect", "weft-proxy"]


def shape(case: str, word: str) -> dict[str, Any]:
    """The pod of a golden case, with what an API server wants of any pod, and this word as its label."""
    asked: dict[str, Any] = yaml.safe_load((GOLDEN / case / "input.yaml").read_text())["pod"]
    metadata = asked.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), INJECT: word}
    kept = {name: value for name, value in metadata.items() if name != "ownerReferences"}
    asked["metadata"] = {"name": "web", **kept, "labels": labels}
    asked["spec"].pop("ephemeralContainers", None)  # they join a pod that runs
    for group in ("initContainers", "containers"):
        for container in asked["spec"].get(group) or ():
            container.setdefault("image", "image")
    return asked


INJECTED = sorted(path.parent.name for path in GOLDEN.glob("*/want.yaml") if "pod:" in path.read_text())


@pytest.mark.parametrize("case", INJECTED)
def test_a_pod_of_any_shape_is_one_to_the_api_server_with_its_sidecar_too(api: RawApi, pods: str, case: str) -> None:
    api("POST", pods, shape(case, "disabled"), dryRun="All").expect(201)
    made = api("POST", pods, shape(case, "enabled"), dryRun="All").expect(201)
    assert "weft-proxy" in names(made)
