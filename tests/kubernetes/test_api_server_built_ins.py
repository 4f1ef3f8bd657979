"""Contract: what an API server and its controllers do with the built-in kinds that a mesh lives on."""

from __future__ import annotations

from typing import Any

import pytest

from api_objects import CONTAINER, pod, until
from api_server import ApiServer
from raw_api import MERGE, STRATEGIC, Answer, RawApi

INIT = {**CONTAINER, "name": "init"}
FIRST = "spec.containers[0]"
MOUNT = {"name": "none", "mountPath": "/x"}
HOOK = {"preStop": {"exec": {"command": ["a"]}}}


@pytest.fixture
def core(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}"


def test_a_namespace_comes_with_its_account_and_the_root_certificate(
    api_server: ApiServer, api: RawApi, namespace: str, core: str
) -> None:
    shown = api("GET", f"/api/v1/namespaces/{namespace}").expect(200)
    assert shown["metadata"]["labels"] == {"kubernetes.io/metadata.name": namespace}
    assert (shown["spec"]["finalizers"], shown["status"]["phase"]) == (["kubernetes"], "Active")
    assert api("GET", f"{core}/serviceaccounts/default").code == 200
    root = until(lambda: api("GET", f"{core}/configmaps/kube-root-ca.crt").document.get("data"))
    assert root["ca.crt"].strip() == api_server.ca_pem.decode().strip()


def test_a_namespace_that_is_deleted_takes_everything_along_and_nothing_new(
    controllers: ApiServer, api: RawApi, namespace: str
) -> None:
    name = f"{namespace}-gone"
    api("POST", "/api/v1/namespaces", {"metadata": {"name": name}}).expect(201)
    held = {"metadata": {"name": "held", "finalizers": ["weft.test/hold"]}}
    api("POST", f"/api/v1/namespaces/{name}/configmaps", held).expect(201)
    shown = api("DELETE", f"/api/v1/namespaces/{name}").expect(200)
    assert shown["status"]["phase"] == "Terminating"
    late = api("POST", f"/api/v1/namespaces/{name}/configmaps", {"metadata": {"name": "late"}})
    assert (late.code, late.reason) == (403, "Forbidden")
    assert late.causes[0]["reason"] == "NamespaceTerminating"
    path = f"/api/v1/namespaces/{name}/configmaps/held"
    until(lambda: api("GET", path).document["metadata"].get("deletionTimestamp"))
    api("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE).expect(200)
    assert until(lambda: api("GET", f"/api/v1/namespaces/{name}").code == 404)


def test_a_pod_gets_its_defaults(api: RawApi, core: str) -> None:
    made = api("POST", f"{core}/pods", pod()).expect(201)
    spec = made["spec"]
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")
    assert (spec["restartPolicy"], spec["dnsPolicy"], spec["terminationGracePeriodSeconds"]) == (
        "Always",
        "ClusterFirst",
        30,
    )
    (container,) = spec["containers"]
    assert (container["imagePullPolicy"], container["terminationMessagePath"]) == (
        "IfNotPresent",
        "/dev/termination-log",
    )
    (mount,) = container["volumeMounts"]
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    (volume,) = spec["volumes"]
    sources = [next(iter(source)) for source in volume["projected"]["sources"]]
    assert sources[:3] == ["serviceAccountToken", "configMap", "downwardAPI"]  # distributions add to it
    assert made["status"]["phase"] == "Pending"
    assert (spec["preemptionPolicy"], spec["priority"]) == ("PreemptLowerPriority", 0)


def test_a_pod_of_an_account_that_is_not_there_is_refused(api: RawApi, core: str, namespace: str) -> None:
    answer = api("POST", f"{core}/pods", pod(serviceAccountName="none"))
    assert (answer.code, answer.reason) == (403, "Forbidden")
    assert answer.message == (
        f'pods "a" is forbidden: error looking up service account {namespace}/none: serviceaccount "none" not found'
    )


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"containers": []}, "spec.containers"),
        ({"containers": [{"name": "app"}]}, "spec.containers[0].image"),
        ({"containers": [CONTAINER, CONTAINER]}, "spec.containers[1].name"),
        ({"containers": [{**CONTAINER, "ports": [{"containerPort": 70000}]}]}, f"{FIRST}.ports[0].containerPort"),
        ({"containers": [{**CONTAINER, "volumeMounts": [MOUNT]}]}, f"{FIRST}.volumeMounts[0].name"),
        ({"restartPolicy": "Sometimes"}, "spec.restartPolicy"),
        ({"initContainers": [{**INIT, "restartPolicy": "Never!"}]}, "spec.initContainers[0].restartPolicy"),
        ({"initContainers": [{**INIT, "lifecycle": HOOK}]}, "spec.initContainers[0].lifecycle"),
    ],
)
def test_a_pod_that_can_not_be_is_refused(api: RawApi, core: str, changed: dict[str, Any], field: str) -> None:
    answer = api("POST", f"{core}/pods", pod(**changed))
    assert answer.code == 422
    assert field in [each["field"] for each in answer.causes]


def test_a_native_sidecar_may_have_probes_and_hooks(api: RawApi, core: str) -> None:
    probe = {"httpGet": {"path": "/ready", "port": 15021}}
    hook = {"preStop": {"httpGet": {"path": "/drain", "port": 15000}}}
    sidecar = {**CONTAINER, "name": "proxy", "restartPolicy": "Always", "startupProbe": probe, "lifecycle": hook}
    made = api("POST", f"{core}/pods", pod(initContainers=[sidecar])).expect(201)
    (shown,) = made["spec"]["initContainers"]
    assert (shown["restartPolicy"], shown["startupProbe"]["httpGet"]["scheme"]) == ("Always", "HTTP")
    assert shown["startupProbe"]["periodSeconds"] == 10


def test_a_running_pod_keeps_its_spec(api: RawApi, core: str) -> None:
    api("POST", f"{core}/pods", pod()).expect(201)
    answer = api("PATCH", f"{core}/pods/a", {"spec": {"hostNetwork": True}}, content_type=MERGE)
    assert (answer.code, answer.causes[0]["reason"]) == (422, "FieldValueForbidden")
    image = [{"name": "app", "image": "app:2"}]
    assert api("PATCH", f"{core}/pods/a", {"spec": {"containers": image}}, content_type=STRATEGIC).code == 200


def test_an_ephemeral_container_is_added_by_its_own_path(api: RawApi, core: str) -> None:
    debug = {"name": "debug", "image": "debug:1", "targetContainerName": "app"}
    assert api("POST", f"{core}/pods", pod(ephemeralContainers=[debug])).code == 422
    api("POST", f"{core}/pods", pod()).expect(201)
    path, change = f"{core}/pods/a/ephemeralcontainers", {"spec": {"ephemeralContainers": [debug]}}
    shown = api("PATCH", path, change, content_type=STRATEGIC).expect(200)
    assert [each["name"] for each in shown["spec"]["ephemeralContainers"]] == ["debug"]
    assert [each["name"] for each in shown["spec"]["containers"]] == ["app"]
    gone = api("PATCH", path, {"spec": {"ephemeralContainers": []}}, content_type=MERGE)
    assert (gone.code, gone.causes[0]["field"]) == (422, "spec.ephemeralContainers")
    astray = {**debug, "name": "other", "targetContainerName": "none"}
    change = {"spec": {"ephemeralContainers": [debug, astray]}}
    assert api("PATCH", path, change, content_type=STRATEGIC).code == 422


def test_a_pod_is_bound_once(api: RawApi, core: str) -> None:
    api("POST", f"{core}/pods", pod()).expect(201)
    target = {"apiVersion": "v1", "kind": "Node", "name": "node-a"}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}, "target": target}
    assert api("POST", f"{core}/pods/a/binding", binding).expect(201)["status"] == "Success"
    shown = api("GET", f"{core}/pods/a").expect(200)
    assert shown["spec"]["nodeName"] == "node-a"
    scheduled = next(each for each in shown["status"]["conditions"] if each["type"] == "PodScheduled")
    assert scheduled["status"] == "True"
    assert api("POST", f"{core}/pods/a/binding", binding).code == 409
    listed = api("GET", "/api/v1/pods", fieldSelector="spec.nodeName=node-a").expect(200)["items"]
    assert shown["metadata"]["uid"] in [each["metadata"]["uid"] for each in listed]


def test_a_bound_pod_is_deleted_gently_and_one_that_is_not_at_once(api: RawApi, core: str) -> None:
    api("POST", f"{core}/pods", pod("bound", nodeName="node-a")).expect(201)
    api("POST", f"{core}/pods", pod("free")).expect(201)
    api("DELETE", f"{core}/pods/free").expect(200)
    assert api("GET", f"{core}/pods/free").code == 404
    shown = api("DELETE", f"{core}/pods/bound").expect(200)
    assert shown["metadata"]["deletionGracePeriodSeconds"] == 30
    assert api("GET", f"{core}/pods/bound").expect(200)["metadata"]["deletionTimestamp"]
    api("DELETE", f"{core}/pods/bound", gracePeriodSeconds="0").expect(200)
    assert api("GET", f"{core}/pods/bound").code == 404


def test_a_lease_is_what_was_written(api: RawApi, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    spec = {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-02T03:04:05.000000Z",
        "renewTime": "2026-01-02T03:04:05.678901Z",
        "leaseTransitions": 0,
    }
    made = api("POST", path, {"metadata": {"name": "weft"}, "spec": spec}).expect(201)
    assert made["spec"] == spec
    late = {**made, "spec": {**spec, "holderIdentity": "b"}}
    api("PUT", f"{path}/weft", late).expect(200)
    assert api("PUT", f"{path}/weft", late).code == 409
    odd = api("POST", path, {"metadata": {"name": "x"}, "spec": {**spec, "leaseDurationSeconds": 0}})
    assert (odd.code, odd.causes[0]["field"]) == (422, "spec.leaseDurationSeconds")


def test_an_event_tells_of_an_object(api: RawApi, namespace: str, core: str) -> None:
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    event = {
        "metadata": {"generateName": "a-"},
        "eventTime": "2026-01-02T03:04:05.678901Z",
        "reportingController": "weft.dev/control-plane",
        "reportingInstance": "weft-0",
        "action": "Translate",
        "reason": "BackendMissing",
        "type": "Warning",
        "note": "there is no Service v2",
        "regarding": {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "namespace": namespace, "uid": "u"},
    }
    api("POST", path, event).expect(201)
    (old,) = api("GET", f"{core}/events", fieldSelector="involvedObject.name=a").expect(200)["items"]
    assert (old["involvedObject"]["uid"], old["message"], old["reason"]) == (
        "u",
        "there is no Service v2",
        "BackendMissing",
    )
    assert old["reportingComponent"] == "weft.dev/control-plane"
    for missing in ("eventTime", "reportingController", "reportingInstance", "action", "reason", "type"):
        answer: Answer = api("POST", path, {name: value for name, value in event.items() if name != missing})
        assert answer.code == 422, missing
    assert api("POST", path, {**event, "note": "x" * 1025}).code == 422


def test_pod_security_refuses_what_a_restricted_namespace_may_not_run(api: RawApi, namespace: str, core: str) -> None:
    labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    api("PATCH", f"/api/v1/namespaces/{namespace}", labels, content_type=MERGE).expect(200)
    context = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    good = {**CONTAINER, "securityContext": context}

    def refused() -> Answer | None:
        answer = api("POST", f"{core}/pods", pod("probe"), dryRun="All")
        return answer if answer.code == 403 else None

    answer = until(refused)
    assert 'pods "probe" is forbidden: violates PodSecurity "restricted:latest"' in answer.message
    assert api("POST", f"{core}/pods", pod("good", containers=[good])).code == 201
    admin = {**good, "securityContext": {**context, "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}}
    answer = api("POST", f"{core}/pods", pod("admin", containers=[admin]))
    assert (answer.code, "unrestricted capabilities" in answer.message) == (403, True)
