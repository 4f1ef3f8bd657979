"""One pod's AdmissionReview and its answer."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from json_patch import applied
from webhook.annotations import NOT_INJECTED
from webhook.decision import NamespaceView
from webhook.inject import inject
from webhook.review import Outcome, Reviewed, ReviewError, admission_request, review
from webhook.settings import InjectorSettings

SETTINGS = InjectorSettings()


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"generateName": "web-"}, "spec": {"containers": [{"name": "web", "image": "web"}], **spec}}


def question(asked: Any = None, **request: Any) -> dict[str, Any]:
    made = {
        "uid": "u-1",
        "operation": "CREATE",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "shop",
        "object": asked if asked is not None else pod(),
        **request,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": made}


def reviewed(document: dict[str, Any], *, settings: InjectorSettings = SETTINGS, selected: bool = True) -> Reviewed:
    request = admission_request(document)
    return review(request, NamespaceView(request.namespace), settings, selected=selected)


def patched(document: dict[str, Any], done: Reviewed) -> Any:
    assert done.document["response"]["patchType"] == "JSONPatch"
    steps = json.loads(base64.b64decode(done.document["response"]["patch"]))
    return applied(document["request"]["object"], steps)


def test_the_patch_makes_what_the_injector_makes() -> None:
    document = question()
    done = reviewed(document)
    response = done.document["response"]
    assert (response["uid"], response["allowed"], done.outcome) == ("u-1", True, Outcome.INJECTED)
    assert patched(document, done) == inject(pod(), NamespaceView("shop"), SETTINGS, everything=True).pod
    assert done.document["apiVersion"] == "admission.k8s.io/v1"
    assert done.document["kind"] == "AdmissionReview"


def test_asked_again_it_changes_nothing() -> None:
    document = question()
    again = reviewed(question(patched(document, reviewed(document))))
    assert again.document["response"]["allowed"] is True
    assert "patch" not in again.document["response"]
    assert "warnings" not in again.document["response"]


def test_a_bad_annotation_is_refused_with_its_name() -> None:
    asked = pod()
    asked["metadata"]["annotations"] = {"weft.dev/proxy-log-level": "loud"}
    done = reviewed(question(asked))
    response = done.document["response"]
    assert (response["allowed"], done.outcome) == (False, Outcome.REFUSED)
    assert (response["status"]["code"], response["status"]["reason"]) == (422, "Invalid")
    field = "metadata.annotations[weft.dev/proxy-log-level]"
    assert response["status"]["message"].startswith(f"{field}: must be one of trace, debug, ")
    assert [cause["field"] for cause in response["status"]["details"]["causes"]] == [field]


@pytest.mark.parametrize(
    ("asked", "namespace", "why"),
    [
        (pod(hostNetwork=True), "shop", "it uses its node's network, where redirection would take the node's traffic"),
        (pod(), "kube-system", "namespace kube-system is Kubernetes' own"),
        (pod(), "weft-system", "namespace weft-system is the control plane's own"),
        (pod(initContainers=[{"name": "linkerd-proxy"}]), "shop", "it has a sidecar of Linkerd already"),
    ],
)
def test_a_pod_that_is_left_alone_though_it_is_enrolled_says_why(asked: Any, namespace: str, why: str) -> None:
    document = question(asked, namespace=namespace)
    done = reviewed(document)
    assert done.document["response"]["warnings"] == [f"Pod {namespace}/web- gets no sidecar of Weft: {why}"]
    made = patched(document, done)
    assert made["metadata"].pop("annotations") == {NOT_INJECTED: why}
    assert made == asked
    assert done.outcome is Outcome.LEFT_ALONE


def test_a_pod_that_nobody_enrolled_is_left_alone_without_a_word() -> None:
    response = reviewed(question(), selected=False).document["response"]
    assert response["allowed"] is True
    assert not {"patch", "warnings"} & response.keys()


@pytest.mark.parametrize(
    "request_",
    [
        {"operation": "UPDATE"},
        {"operation": "DELETE", "object": None},
        {"subResource": "ephemeralcontainers", "operation": "UPDATE"},
        {"subResource": "exec", "operation": "CONNECT"},
        {"resource": {"group": "apps", "version": "v1", "resource": "deployments"}},
    ],
)
def test_what_is_no_pod_that_is_being_made_is_let_pass(request_: dict[str, Any]) -> None:
    response = reviewed(question(**request_)).document["response"]
    assert response == {"uid": "u-1", "allowed": True}


def test_a_dry_run_is_answered_as_any_other() -> None:
    document = question()
    assert reviewed(question(dryRun=True)).document == reviewed(document).document


def test_warnings_are_as_short_as_the_api_server_wants_them() -> None:
    asked = pod(hostNetwork=True)
    asked["metadata"]["generateName"] = "n" * 400
    [warning] = reviewed(question(asked)).document["response"]["warnings"]
    assert len(warning) == 256


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "this is no AdmissionReview"),
        ([], "this is no AdmissionReview"),
        ({**question(), "apiVersion": "admission.k8s.io/v1beta1"}, "'admission.k8s.io/v1beta1' is not spoken here"),
        ({**question(), "request": None}, "its request can't be read"),
        ({**question(), "request": {"uid": 3}}, "its request can't be read"),
        ({**question(), "request": {}}, "its request can't be read"),
    ],
)
def test_what_is_no_question_is_told_so(document: Any, words: str) -> None:
    with pytest.raises(ReviewError, match=words.replace(".", r"\.")):
        admission_request(document)


@pytest.mark.parametrize("asked", [None, 3, {}, {"spec": {"containers": "x"}}])
def test_what_is_no_pod_is_refused(asked: Any) -> None:
    document = question()
    document["request"]["object"] = asked
    assert reviewed(document).document["response"]["status"]["code"] == 422
