"""Contract: Services, their endpoints, Deployments and owners: what controllers make of what was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from api_objects import CONTAINER, deployment, pod, ready, until
from api_server import ApiServer
from raw_api import MERGE, STRATEGIC, RawApi


@pytest.fixture
def core(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}"


@pytest.fixture
def apps(namespace: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}"


def test_a_service_gets_an_address_and_defaults(api: RawApi, core: str) -> None:
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    spec = api("POST", f"{core}/services", service).expect(201)["spec"]
    assert spec["clusterIP"].startswith("10.96.")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert (spec["type"], spec["sessionAffinity"]) == ("ClusterIP", "None")
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"], spec["internalTrafficPolicy"]) == (
        ["IPv4"],
        "SingleStack",
        "Cluster",
    )
    headless = {"metadata": {"name": "db"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}
    assert api("POST", f"{core}/services", headless).expect(201)["spec"]["clusterIPs"] == ["None"]
    taken = {"metadata": {"name": "two"}, "spec": {"clusterIP": spec["clusterIP"], "ports": [{"port": 80}]}}
    answer = api("POST", f"{core}/services", taken)
    assert (answer.code, answer.causes[0]["field"]) == (422, "spec.clusterIPs")
    moved = api("PATCH", f"{core}/services/web", {"spec": {"clusterIP": "10.96.200.200"}}, content_type=MERGE)
    assert moved.code == 422


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "spec.ports"),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 80}, {"port": 81}]}, "spec.ports[0].name"),
        ({"ports": [{"port": 80, "name": "Web"}]}, "spec.ports[0].name"),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}, "spec.ports[1]"),
    ],
)
def test_a_service_that_can_not_be_is_refused(api: RawApi, core: str, spec: dict[str, Any], field: str) -> None:
    answer = api("POST", f"{core}/services", {"metadata": {"name": "web"}, "spec": spec})
    assert answer.code == 422
    assert field in [each["field"] for each in answer.causes]


def test_a_service_is_named_by_a_label_that_begins_with_a_letter(api: RawApi, core: str) -> None:
    for name, code in (("web.v1", 422), ("Web", 422), ("web-1", 201)):
        service = {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}
        assert api("POST", f"{core}/services", service).code == code, name


def slices(api: RawApi, namespace: str, service: str) -> list[dict[str, Any]]:
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    found: list[dict[str, Any]] = api("GET", path, labelSelector=f"kubernetes.io/service-name={service}").expect(200)[
        "items"
    ]
    return found


@pytest.fixture
def node(api: RawApi, namespace: str) -> Iterator[str]:
    """A node: without one a pod that is bound to it is no endpoint."""
    name = f"node-{namespace}"
    api("POST", "/api/v1/nodes", {"metadata": {"name": name}}).expect(201)
    yield name
    api("DELETE", f"/api/v1/nodes/{name}").expect(200)


def endpoints(api: RawApi, namespace: str, service: str) -> list[dict[str, Any]]:
    return [each for slice_ in slices(api, namespace, service) for each in slice_["endpoints"] or []]


def web_service(api: RawApi, core: str) -> None:
    ports = [{"port": 80, "name": "http", "targetPort": "web"}]
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}}
    api("POST", f"{core}/services", service).expect(201)


def web_pod(api: RawApi, core: str, name: str, node: str) -> dict[str, Any]:
    container = {**CONTAINER, "ports": [{"name": "web", "containerPort": 8080}]}
    body = pod(name, {"app": "web"}, nodeName=node, containers=[container])
    made: dict[str, Any] = api("POST", f"{core}/pods", body).expect(201)
    return made


def test_a_service_without_pods_has_a_slice_of_nothing(
    controllers: ApiServer, api: RawApi, namespace: str, core: str
) -> None:
    web_service(api, core)
    (slice_,) = until(lambda: slices(api, namespace, "web"))
    assert (slice_["endpoints"], slice_["ports"]) == (None, None)


def test_a_service_has_the_endpoints_of_its_pods(
    controllers: ApiServer, api: RawApi, namespace: str, core: str, node: str
) -> None:
    web_service(api, core)
    uid = web_pod(api, core, "a", node)["metadata"]["uid"]
    ready(api, core, "a", "10.1.2.3")
    (shown,) = until(lambda: [each for each in endpoints(api, namespace, "web") if each["conditions"]["ready"]])
    assert shown["addresses"] == ["10.1.2.3"]
    assert shown["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert (shown["targetRef"]["kind"], shown["targetRef"]["name"], shown["targetRef"]["uid"]) == ("Pod", "a", uid)
    assert shown["nodeName"] == node
    (slice_,) = slices(api, namespace, "web")
    assert slice_["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert slice_["addressType"] == "IPv4"
    assert slice_["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
    (owner,) = slice_["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Service", "web", True)
    api("DELETE", f"{core}/pods/a").expect(200)
    (gone,) = until(lambda: [each for each in endpoints(api, namespace, "web") if not each["conditions"]["ready"]])
    assert gone["conditions"] == {"ready": False, "serving": True, "terminating": True}


def test_a_pod_without_an_address_or_whose_node_is_not_there_is_no_endpoint(
    controllers: ApiServer, api: RawApi, namespace: str, core: str, node: str
) -> None:
    web_service(api, core)
    web_pod(api, core, "nowhere", "no-such-node")
    ready(api, core, "nowhere", "10.1.2.3")
    web_pod(api, core, "starting", node)
    web_pod(api, core, "there", node)
    ready(api, core, "there", "10.1.2.4")
    found = until(lambda: endpoints(api, namespace, "web"))
    assert [each["targetRef"]["name"] for each in found] == ["there"]


def test_an_endpoint_may_not_be_loopback(api: RawApi, namespace: str) -> None:
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    body = {"metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}]}
    answer = api("POST", path, body)
    assert (answer.code, answer.causes[0]["field"]) == (422, "endpoints[0].addresses[0]")


def pods_of(api: RawApi, core: str, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api("GET", f"{core}/pods", labelSelector=f"app={name}").expect(200)["items"]
    return [each for each in found if "deletionTimestamp" not in each["metadata"]]


def test_a_deployment_makes_pods_and_makes_them_anew(controllers: ApiServer, api: RawApi, core: str, apps: str) -> None:
    made = api("POST", f"{apps}/deployments", deployment()).expect(201)
    assert made["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}
    first = until(lambda: found if len(found := pods_of(api, core, "web")) == 2 else None)
    template = first[0]["metadata"]["labels"]["pod-template-hash"]
    (owner,) = first[0]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("ReplicaSet", f"web-{template}", True)
    assert first[0]["metadata"]["generateName"] == f"web-{template}-"
    for number, each in enumerate(first):
        ready(api, core, each["metadata"]["name"], f"10.1.0.{number + 1}")
    until(lambda: api("GET", f"{apps}/deployments/web").document["status"].get("availableReplicas") == 2)
    restart = {"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}}
    api("PATCH", f"{apps}/deployments/web", restart, content_type=STRATEGIC).expect(200)

    def renewed() -> bool:
        found = pods_of(api, core, "web")
        for number, each in enumerate(found):
            if not each["status"].get("podIP"):
                ready(api, core, each["metadata"]["name"], f"10.1.1.{number + 1}")
        hashes = {each["metadata"]["labels"]["pod-template-hash"] for each in found}
        return len(found) == 2 and template not in hashes

    until(renewed)
    api("DELETE", f"{apps}/deployments/web", {"propagationPolicy": "Background"}).expect(200)
    assert until(lambda: pods_of(api, core, "web") == [])


def test_a_deployment_that_can_not_be_is_refused(api: RawApi, apps: str) -> None:
    wrong = deployment()
    wrong["spec"]["selector"]["matchLabels"] = {"app": "other"}
    answer = api("POST", f"{apps}/deployments", wrong)
    assert (answer.code, answer.causes[0]["field"]) == (422, "spec.template.metadata.labels")


def test_what_is_owned_goes_with_its_owner(controllers: ApiServer, api: RawApi, core: str) -> None:
    owner = api("POST", f"{core}/configmaps", {"metadata": {"name": "owner"}}).expect(201)["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    for name, known in (("owned", reference), ("orphan", {**reference, "uid": "00000000-0000-0000-0000-000000000000"})):
        body = {"metadata": {"name": name, "ownerReferences": [known]}}
        api("POST", f"{core}/configmaps", body).expect(201)
    assert until(lambda: api("GET", f"{core}/configmaps/orphan").code == 404)
    assert api("GET", f"{core}/configmaps/owned").code == 200
    api("DELETE", f"{core}/configmaps/owner").expect(200)
    assert until(lambda: api("GET", f"{core}/configmaps/owned").code == 404)
