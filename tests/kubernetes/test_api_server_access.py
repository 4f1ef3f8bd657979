"""Contract: who may do what, and what tokens of ServiceAccounts are worth."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api_server import ApiServer
from raw_api import Answer, RawApi

RBAC = "/apis/rbac.authorization.k8s.io/v1"
AUDIENCE = "weft.test"
TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
SLOW_CACHE = 12.0
"""Seconds after which an API server has surely forgotten that a token was good (10 in Kubernetes)."""


@pytest.fixture
def alice(api_server: ApiServer, namespace: str) -> RawApi:
    """A user who may do nothing yet."""
    return RawApi(api_server.kubeconfig_as(f"alice-{namespace}", ["readers"]))


def grant(api: RawApi, namespace: str, *rules: dict[str, Any]) -> None:
    """A Role with these rules for alice. It is in force a moment later."""
    base = f"{RBAC}/namespaces/{namespace}"
    api("POST", f"{base}/roles", {"metadata": {"name": "alice"}, "rules": list(rules)}).expect(201)
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": f"alice-{namespace}"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "alice"}
    body = {"metadata": {"name": "alice"}, "subjects": [subject], "roleRef": role}
    api("POST", f"{base}/rolebindings", body).expect(201)


def until(code: int, ask: Callable[[], Answer]) -> Answer:
    """The answer once it has this code: what RBAC says follows what was written a moment later."""
    while (answer := ask()).code != code:
        time.sleep(0.02)
    return answer


def test_who_may_not_is_told_what(alice: RawApi, namespace: str) -> None:
    user = f"alice-{namespace}"
    base = f"/api/v1/namespaces/{namespace}"
    refused = alice("GET", f"{base}/secrets/a")
    assert (refused.code, refused.reason) == (403, "Forbidden")
    assert refused.message == (
        f'secrets "a" is forbidden: User "{user}" cannot get resource "secrets" in API group "" '
        f'in the namespace "{namespace}"'
    )
    assert refused.document["details"] == {"name": "a", "kind": "secrets"}
    listed = alice("GET", "/apis/apps/v1/deployments")
    assert listed.message == (
        f'deployments.apps is forbidden: User "{user}" cannot list resource "deployments" in API group "apps" '
        "at the cluster scope"
    )
    assert listed.document["details"] == {"group": "apps", "kind": "deployments"}
    status = alice("PATCH", f"{base}/pods/a/status", {}, content_type="application/merge-patch+json")
    assert 'cannot patch resource "pods/status" in API group ""' in status.message


def test_nobody_is_told_more_than_a_path(api_server: ApiServer, alice: RawApi) -> None:
    assert alice("GET", "/version").code == 200
    assert alice("GET", "/api").code == 200
    assert alice("GET", "/metrics").code == 403


def test_a_role_allows_its_verbs_in_its_namespace(api: RawApi, alice: RawApi, namespace: str) -> None:
    base = f"/api/v1/namespaces/{namespace}/configmaps"
    grant(api, namespace, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]})
    until(200, lambda: alice("GET", base))
    assert alice("GET", f"{base}/none").code == 404
    assert alice("POST", base, {"metadata": {"name": "a"}}).code == 403
    assert alice("GET", "/api/v1/configmaps").code == 403
    assert alice("GET", "/api/v1/namespaces/default/configmaps").code == 403
    with alice.watch(base) as events:
        assert next(events)["type"] == "ADDED"


def test_a_rule_may_be_for_named_objects_and_subresources(api: RawApi, alice: RawApi, namespace: str) -> None:
    named = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mine"], "verbs": ["get", "update"]}
    grant(api, namespace, named, {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]})
    base = f"/api/v1/namespaces/{namespace}"
    until(404, lambda: alice("GET", f"{base}/secrets/mine"))
    assert alice("GET", f"{base}/secrets/other").code == 403
    assert alice("GET", f"{base}/secrets").code == 403
    assert alice("GET", f"{base}/secrets", fieldSelector="metadata.name=mine").code == 403
    assert alice("PATCH", f"{base}/pods/a/status", {}, content_type="application/merge-patch+json").code == 404
    assert alice("PATCH", f"{base}/pods/a", {}, content_type="application/merge-patch+json").code == 403


def test_a_binding_that_goes_takes_the_right_along(api: RawApi, alice: RawApi, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    grant(api, namespace, {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})
    until(200, lambda: alice("GET", path))
    api("DELETE", f"{RBAC}/namespaces/{namespace}/rolebindings/alice").expect(200)
    assert until(403, lambda: alice("GET", path)).reason == "Forbidden"


def test_one_may_ask_what_one_may(api: RawApi, alice: RawApi, namespace: str) -> None:
    grant(api, namespace, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]})
    until(404, lambda: alice("GET", f"/api/v1/namespaces/{namespace}/configmaps/none"))
    for verb, allowed in (("get", True), ("delete", False)):
        asked = {"namespace": namespace, "verb": verb, "resource": "configmaps"}
        body: dict[str, Any] = {"spec": {"resourceAttributes": asked}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        assert alice("POST", path, body).expect(201)["status"]["allowed"] is allowed
        body = {"spec": {"resourceAttributes": asked, "user": f"alice-{namespace}"}}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        assert api("POST", path, body).expect(201)["status"]["allowed"] is allowed
        assert alice("POST", path, body).code == 403


def token_for(api: RawApi, namespace: str, pod: dict[str, Any] | None = None, **spec: Any) -> str:
    asked: dict[str, Any] = {"audiences": [AUDIENCE], "expirationSeconds": 3600, **spec}
    if pod is not None:
        known = {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        asked["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", **known}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    answer = api("POST", path, {"spec": asked}).expect(201)
    return str(answer["status"]["token"])


def reviewed(api: RawApi, token: str, *audiences: str) -> dict[str, Any]:
    body = {"spec": {"token": token, "audiences": list(audiences or [AUDIENCE])}}
    status: dict[str, Any] = api("POST", TOKENS, body).expect(201)["status"]
    return status


@pytest.fixture
def pod(api: RawApi, namespace: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "app", "image": "app"}]}
    body = {"metadata": {"name": "a"}, "spec": spec}
    made: dict[str, Any] = api("POST", f"/api/v1/namespaces/{namespace}/pods", body).expect(201)
    return made


def test_a_token_names_its_account_and_its_pod(api: RawApi, namespace: str, pod: dict[str, Any]) -> None:
    status = reviewed(api, token_for(api, namespace, pod))
    assert status["authenticated"] is True
    assert status["audiences"] == [AUDIENCE]
    user = status["user"]
    assert user["username"] == f"system:serviceaccount:{namespace}:default"
    assert set(user["groups"]) == {
        "system:serviceaccounts",
        f"system:serviceaccounts:{namespace}",
        "system:authenticated",
    }
    extra = user["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["a"]
    assert extra["authentication.kubernetes.io/pod-uid"] == [pod["metadata"]["uid"]]
    account = api("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default").expect(200)
    assert user["uid"] == account["metadata"]["uid"]


def test_a_token_says_what_it_is(api: RawApi, namespace: str, pod: dict[str, Any]) -> None:
    token = token_for(api, namespace, pod)
    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert claims["aud"] == [AUDIENCE]
    assert claims["sub"] == f"system:serviceaccount:{namespace}:default"
    assert 3590 <= claims["exp"] - claims["iat"] <= 3610
    assert claims["kubernetes.io"]["namespace"] == namespace
    assert claims["kubernetes.io"]["pod"] == {"name": "a", "uid": pod["metadata"]["uid"]}


def test_a_token_of_another_audience_is_none(api: RawApi, namespace: str) -> None:
    status = reviewed(api, token_for(api, namespace, audiences=["other"]))
    assert not status.get("authenticated")
    assert "user" not in status or not status["user"]
    assert status["error"]


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", ""])
def test_what_is_no_token_is_none(api: RawApi, token: str) -> None:
    answer = api("POST", TOKENS, {"spec": {"token": token, "audiences": [AUDIENCE]}})
    assert answer.code == (201 if token else 400)
    if token:
        assert not answer.document["status"].get("authenticated")


def test_a_forged_token_is_none(api: RawApi, namespace: str) -> None:
    head, body, signature = token_for(api, namespace).split(".")
    forged = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    forged["sub"] = "system:serviceaccount:kube-system:default"
    other = base64.urlsafe_b64encode(json.dumps(forged).encode()).decode().rstrip("=")
    assert not reviewed(api, f"{head}.{other}.{signature}").get("authenticated")


def test_a_token_dies_with_its_pod(api: RawApi, namespace: str, pod: dict[str, Any]) -> None:
    token = token_for(api, namespace, pod)
    assert reviewed(api, token)["authenticated"] is True
    api("DELETE", f"/api/v1/namespaces/{namespace}/pods/a", gracePeriodSeconds="0").expect(200)
    deadline = time.monotonic() + SLOW_CACHE
    while reviewed(api, token).get("authenticated"):
        assert time.monotonic() < deadline, "the token outlived its pod"
        time.sleep(0.1)
    body = {"metadata": {"name": "a"}, "spec": pod["spec"]}
    body["spec"] = {"containers": [{"name": "app", "image": "app"}]}
    api("POST", f"/api/v1/namespaces/{namespace}/pods", body).expect(201)
    assert not reviewed(api, token).get("authenticated")


def test_a_token_is_made_for_the_pod_that_there_is(api: RawApi, namespace: str, pod: dict[str, Any]) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    for known, code in (({"name": "a", "uid": "other"}, 409), ({"name": "none"}, 404)):
        bound = {"apiVersion": "v1", "kind": "Pod", **known}
        assert api("POST", path, {"spec": {"audiences": [AUDIENCE], "boundObjectRef": bound}}).code == code
    none = path.replace("/default/", "/none/")
    assert api("POST", none, {"spec": {"audiences": [AUDIENCE]}}).code == 404
    short = api("POST", path, {"spec": {"audiences": [AUDIENCE], "expirationSeconds": 60}})
    assert (short.code, [each["field"] for each in short.causes]) == (422, ["spec.expirationSeconds"])


def test_a_token_for_the_api_server_opens_it(
    api_server: ApiServer, api: RawApi, namespace: str, tmp_path: Path
) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    token = api("POST", path, {"spec": {"expirationSeconds": 3600}}).expect(201)["status"]["token"]
    kubeconfig = tmp_path / "kubeconfig"
    ca = base64.b64encode(api_server.ca_pem).decode()
    for shown, code in ((token, 403), (token_for(api, namespace), 401), ("nonsense", 401)):
        cluster = {"server": api_server.url, "certificate-authority-data": ca}
        document = {"clusters": [{"cluster": cluster}], "users": [{"user": {"token": shown}}]}
        kubeconfig.write_text(json.dumps(document))
        answer = RawApi(kubeconfig)("GET", f"/api/v1/namespaces/{namespace}/configmaps")
        assert answer.code == code
        if code == 403:
            assert f'User "system:serviceaccount:{namespace}:default"' in answer.message
        else:
            assert (answer.reason, answer.message) == ("Unauthorized", "Unauthorized")


def test_an_admin_may_act_as_others(api: RawApi, namespace: str) -> None:
    answer = api("GET", f"/api/v1/namespaces/{namespace}/secrets", headers={"Impersonate-User": "bob"})
    assert (answer.code, 'User "bob" cannot list' in answer.message) == (403, True)
