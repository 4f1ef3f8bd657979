"""The injector in clusters of several kinds: controllers, restricted namespaces, CNI, other meshes, outages."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from api_server import ApiServer
from raw_api import MERGE, RawApi
from registered_webhook import configuration, hook, path_of
from webhook_server import Review, WebhookServer, allowed, patched
from weft_webhook import ROOT, WebhookProcess, injecting

INJECT = "weft.dev/inject"
APPS = "/apis/apps/v1/namespaces"
WEB = {"name": "web", "image": "web"}
RESTRICTED = {
    "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [{**WEB, "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}],
}


@pytest.fixture
def webhook(
    api_server: ApiServer, api: RawApi, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[WebhookProcess]:
    """The process, with the options that the test names by `options`."""
    words, marks = getattr(request, "param", ((), False))
    with injecting(api_server, api, tmp_path, *words, marks=marks) as running:
        yield running


def options(*words: str, marks: bool = False) -> pytest.MarkDecorator:
    """Run the webhook with these."""
    return pytest.mark.parametrize("webhook", [(words, marks)], indirect=True, ids=[" ".join(words) or "marks"])


@pytest.fixture
def enrolled(api: RawApi, webhook: WebhookProcess, namespace: str) -> str:
    """The test's namespace, enrolled."""
    label(api, namespace, **{INJECT: "enabled"})
    return namespace


def label(api: RawApi, namespace: str, **labels: str) -> None:
    api("PATCH", f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": labels}}, content_type=MERGE).expect(200)


def annotate(api: RawApi, namespace: str, **annotations: str) -> None:
    body = {"metadata": {"annotations": annotations}}
    api("PATCH", f"/api/v1/namespaces/{namespace}", body, content_type=MERGE).expect(200)


def pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def pod(name: str = "web", spec: Any = None, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "spec": spec or {"containers": [WEB]}}


def deployment(**annotations: str) -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels, "annotations": annotations}, "spec": {"containers": [WEB]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "web"}, "spec": spec}


def names(made: dict[str, Any], group: str = "initContainers") -> list[str]:
    return [container["name"] for container in made["spec"].get(group) or ()]


def first_pod(api: RawApi, namespace: str, selector: str) -> dict[str, Any]:
    """The first pod with this label, as soon as there is one."""
    with api.watch(pods(namespace), labelSelector=selector) as events:
        return next(event["object"] for event in events if event["type"] == "ADDED")


def test_pods_of_a_deployment_have_their_sidecar_and_the_template_does_not(
    api: RawApi, controllers: ApiServer, enrolled: str
) -> None:
    api("POST", f"{APPS}/{enrolled}/deployments", deployment()).expect(201)
    made = first_pod(api, enrolled, "app=web")
    assert names(made) == ["weft-redirect", "weft-proxy"]
    assert made["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"
    kept = api("GET", f"{APPS}/{enrolled}/deployments/web").document["spec"]["template"]
    assert names(kept) == []


def test_a_deployment_with_a_bad_annotation_is_refused_when_it_is_applied(api: RawApi, enrolled: str) -> None:
    asked = deployment(**{"weft.dev/proxy-concurrency": "many"})
    answer = api("POST", f"{APPS}/{enrolled}/deployments", asked)
    assert (answer.code, answer.reason) == (422, "Invalid")
    field = "spec.template.metadata.annotations[weft.dev/proxy-concurrency]"
    assert [cause["field"] for cause in answer.causes] == [field]


def test_a_deployment_in_a_namespace_that_no_label_of_ours_names_is_none_of_our_business(
    api: RawApi, webhook: WebhookProcess, namespace: str
) -> None:
    asked = deployment(**{"weft.dev/proxy-concurrency": "many"})
    api("POST", f"{APPS}/{namespace}/deployments", asked).expect(201)


def test_a_word_that_enrols_nobody_is_warned_of(api: RawApi, webhook: WebhookProcess, namespace: str) -> None:
    body = {"metadata": {"labels": {INJECT: "true"}}}
    answer = api("PATCH", f"/api/v1/namespaces/{namespace}", body, content_type=MERGE)
    answer.expect(200)
    assert any(f"metadata.labels[{INJECT}]: 'true' means nothing" in warning for warning in answer.warnings)


def test_a_controller_whose_pods_are_refused_says_why(api: RawApi, controllers: ApiServer, enrolled: str) -> None:
    asked = deployment(**{"weft.dev/proxy-concurrency": "many"})
    api("POST", f"{APPS}/{enrolled}/replicasets", asked).expect(201)
    with api.watch(f"{APPS}/{enrolled}/replicasets") as events:
        said = next(
            condition["message"]
            for event in events
            for condition in event["object"].get("status", {}).get("conditions") or ()
            if condition["type"] == "ReplicaFailure"
        )
    assert "metadata.annotations[weft.dev/proxy-concurrency]: must be a number of threads" in said


def test_a_jobs_pod_has_a_native_sidecar_that_ends_after_it(api: RawApi, controllers: ApiServer, enrolled: str) -> None:
    spec = {"template": {"spec": {"containers": [WEB], "restartPolicy": "Never"}}}
    api("POST", f"/apis/batch/v1/namespaces/{enrolled}/jobs", {"metadata": {"name": "once"}, "spec": spec}).expect(201)
    made = first_pod(api, enrolled, "job-name=once")
    # A native sidecar (KEP-753) is ended when all other containers have ended, so the Job completes.
    assert [each.get("restartPolicy") for each in made["spec"]["initContainers"]] == [None, "Always"]
    assert names(made, "containers") == ["web"]


def test_a_restricted_namespace_refuses_the_container_that_redirects(api: RawApi, enrolled: str) -> None:
    label(api, enrolled, **{"pod-security.kubernetes.io/enforce": "restricted"})
    answer = api("POST", pods(enrolled), pod(spec=RESTRICTED))
    assert (answer.code, answer.reason) == (403, "Forbidden")
    assert "weft-redirect" in answer.message
    assert "weft-proxy" not in answer.message


@options("--redirect", "cni")
def test_a_restricted_namespace_admits_the_sidecar_where_a_plugin_redirects(api: RawApi, enrolled: str) -> None:
    label(api, enrolled, **{"pod-security.kubernetes.io/enforce": "restricted"})
    answer = api("POST", pods(enrolled), pod(spec=RESTRICTED))
    assert names(answer.expect(201)) == ["weft-proxy"]
    assert answer.warnings == ()


@options("--native-sidecars", "off")
def test_before_native_sidecars_it_is_the_first_container(api: RawApi, enrolled: str) -> None:
    made = api("POST", pods(enrolled), pod()).expect(201)
    assert (names(made), names(made, "containers")) == (["weft-redirect"], ["weft-proxy", "web"])
    answer = api("POST", pods(enrolled), pod("once", {"containers": [WEB], "restartPolicy": "Never"}))
    assert names(answer.expect(201), "containers") == ["web"]
    assert any("it has to end by itself" in warning for warning in answer.warnings)


@options(marks=True)
def test_other_meshes_marks_enrol_pods_with_the_rights_of_the_chart(
    api: RawApi, webhook: WebhookProcess, namespace: str
) -> None:
    assert names(api("POST", pods(namespace), pod("before")).expect(201)) == []
    annotate(api, namespace, **{"linkerd.io/inject": "enabled"})
    assert names(api("POST", pods(namespace), pod("marked")).expect(201)) == ["weft-redirect", "weft-proxy"]
    out = pod("out", annotations={"linkerd.io/inject": "disabled"})
    assert names(api("POST", pods(namespace), out).expect(201)) == []
    istio = pod("istio", labels={"sidecar.istio.io/inject": "true"})
    annotate(api, namespace, **{"linkerd.io/inject": "disabled"})
    assert names(api("POST", pods(namespace), istio).expect(201)) == ["weft-redirect", "weft-proxy"]


@options(marks=True)
def test_a_pod_that_has_another_meshes_sidecar_is_left_alone_and_says_so(
    api: RawApi, webhook: WebhookProcess, namespace: str
) -> None:
    annotate(api, namespace, **{"linkerd.io/inject": "enabled"})
    answer = api("POST", pods(namespace), pod(spec={"containers": [WEB, {"name": "linkerd-proxy", "image": "l"}]}))
    made = answer.expect(201)
    why = "it has a sidecar of Linkerd already"
    assert made["metadata"]["annotations"] == {"weft.dev/not-injected": why}
    assert any(why in warning for warning in answer.warnings)


@options(marks=True)
def test_an_outage_holds_up_only_pods_that_a_label_of_ours_enrols(
    api: RawApi, webhook: WebhookProcess, enrolled: str
) -> None:
    assert webhook.end() == 0
    refused = api("POST", pods(enrolled), pod())
    assert (refused.code, refused.reason) == (500, "InternalError")
    assert 'failed calling webhook "namespaces.inject.weft.dev"' in refused.message
    for where in ("default", "kube-system", "weft-system"):
        marked = pod(labels={INJECT: "enabled"}) if where != "default" else pod()
        assert names(api("POST", pods(where), marked, dryRun="All").expect(201)) == []
    opted_out = pod("out", labels={INJECT: "disabled"})
    assert names(api("POST", pods(enrolled), opted_out).expect(201)) == []


def test_what_a_later_webhook_adds_is_probed_through_the_sidecar_too(api: RawApi, enrolled: str) -> None:
    agent = {"name": "agent", "image": "agent", "readinessProbe": {"tcpSocket": {"port": 7000}}}

    def add_agent(review: Review) -> Review:
        known = [each["name"] for each in review["request"]["object"]["spec"]["containers"]]
        step = {"op": "add", "path": "/spec/containers/-", "value": agent}
        return allowed(review) if "agent" in known else patched(review, step)

    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    with WebhookServer(add_agent) as late:
        # Webhook configurations are asked in the order of their names: this one after ours.
        entry = hook("late", enrolled, rules=[rule], clientConfig=late.client_config())
        api("POST", path_of("Mutating"), configuration("Mutating", "zz-late", entry)).expect(201)
        try:
            made = api("POST", pods(enrolled), pod(), dryRun="All").expect(201)
            while "agent" not in names(made, "containers"):
                made = api("POST", pods(enrolled), pod(), dryRun="All").expect(201)
        finally:
            api("DELETE", path_of("Mutating", "zz-late"))
    asked = next(each for each in made["spec"]["containers"] if each["name"] == "agent")["readinessProbe"]
    assert (asked["httpGet"]["path"], asked["httpGet"]["port"]) == ("/probe/agent/readiness", 15021)
    assert names(made) == ["weft-redirect", "weft-proxy"]


def test_a_new_certificate_is_served_without_a_restart(api: RawApi, webhook: WebhookProcess, enrolled: str) -> None:
    assert "first.test" in served(webhook)
    webhook.renew("second.test")
    webhook.logged("certificate")
    assert "second.test" in served(webhook)
    assert names(api("POST", pods(enrolled), pod()).expect(201)) == ["weft-redirect", "weft-proxy"]


def served(webhook: WebhookProcess) -> list[str]:
    """The names in the certificate that a new connection is shown."""
    trust = ssl.create_default_context(cadata=ROOT.pem.decode())
    with (
        socket.create_connection(("127.0.0.1", webhook.port)) as plain,
        trust.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    found = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.DNSName)
