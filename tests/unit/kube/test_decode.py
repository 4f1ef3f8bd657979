"""Kubernetes' own objects: only what is read arrives, and a mistake names its field as kubectl does."""

from __future__ import annotations

from typing import Any

import pytest

from kube.decode import KINDS, decode
from kube.objects import EndpointSlice, Namespace, Pod, RawDocument, Service
from kube.problem import Origin


def document(kind: str = "Service", api_version: str = "v1", /, **fields: Any) -> RawDocument:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", "namespace": "b"}, **fields}


@pytest.mark.parametrize(("api_version", "kind"), sorted(KINDS))
def test_every_kind_is_read(api_version: str, kind: str) -> None:
    found = decode(document(kind, api_version))
    assert type(found.object) is KINDS[api_version, kind]
    assert found.problems == ()


def test_a_service_keeps_what_is_read_and_drops_the_rest() -> None:
    spec = {"clusterIP": "10.0.0.1", "ports": [{"port": 80, "targetPort": "http", "nodePort": 30000}]}
    found = decode(document(spec=spec, status={"loadBalancer": {}})).object
    assert isinstance(found, Service)
    assert found.spec.cluster_ip == "10.0.0.1"
    assert [(port.port, port.target_port) for port in found.spec.ports] == [(80, "http")]


def test_fields_that_are_not_read_change_nothing() -> None:
    noisy = document(status={"x": 1})
    noisy["metadata"] = {**noisy["metadata"], "resourceVersion": "7", "managedFields": [{"manager": "x"}]}
    assert decode(noisy).object == decode(document()).object


def test_null_means_that_a_field_is_not_there() -> None:
    raw = document(spec={"ports": None, "selector": None, "clusterIPs": [None]})
    raw["metadata"]["labels"] = None
    found = decode({**raw, "spec": {"ports": None, "selector": None}}).object
    assert isinstance(found, Service)
    assert found.spec.ports == ()
    assert decode(raw).problems[0].field == "spec.clusterIPs[0]"


def test_a_namespace_lives_in_no_namespace() -> None:
    found = decode(document("Namespace")).object
    assert isinstance(found, Namespace)
    assert found.ref.namespace == ""


def test_an_endpoint_slice_and_a_pod_are_read() -> None:
    slice_ = decode(
        document(
            "EndpointSlice",
            "discovery.k8s.io/v1",
            addressType="IPv4",
            endpoints=[{"addresses": ["10.1.0.1"], "conditions": {"ready": True}, "targetRef": {"name": "p"}}],
            ports=[{"name": "http", "port": 8080}],
        )
    ).object
    assert isinstance(slice_, EndpointSlice)
    assert slice_.endpoints[0].conditions.ready is True
    pod = decode(document("Pod", status={"podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}]})).object
    assert isinstance(pod, Pod)
    assert pod.status.pod_ip == "10.1.0.1"


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"spec": {"ports": [{"port": "80"}]}}, "spec.ports[0].port", "must be a whole number, not text"),
    ({"spec": {"ports": [{"port": 80}, {}]}}, "spec.ports[1].port", "is missing"),
    ({"spec": {"ports": {"port": 80}}}, "spec.ports", "must be a list, not a map"),
    ({"spec": []}, "spec", "must be a map, not a list"),
    ({"spec": {"selector": {"app": True}}}, "spec.selector[app]", "must be text, not true (write it in quotes)"),
    ({"spec": {"ports": [{"port": 80.5}]}}, "spec.ports[0].port", "must be a whole number, not a number"),
    ({"metadata": {"namespace": "b"}}, "metadata.name", "is missing"),
    ({"metadata": {"name": 7, "namespace": "b"}}, "metadata.name", "must be text, not a number (write it in quotes)"),
    ({"metadata": {"name": "a/b", "namespace": "b"}}, "metadata.name", "'a/b' is no name"),
    ({"metadata": {"name": "a.b", "namespace": "b"}}, "metadata.name", "'a.b' is no name"),
    ({"metadata": {"name": "a", "namespace": "b/sa/c"}}, "metadata.namespace", "'b/sa/c' is no name"),
    ({"metadata": {"name": "a"}}, "metadata.namespace", "is missing"),
    ({"metadata": None}, "metadata", "is missing"),
    ({"metadata": "a"}, "metadata", "must be a map, not text"),
]


@pytest.mark.parametrize(("fields", "field", "fault"), MISTAKES)
def test_a_mistake_is_a_problem_with_its_field(fields: dict[str, Any], field: str, fault: str) -> None:
    found = decode(document(**fields), lambda path: Origin(f"at {path}", 3))
    assert found.object is None
    (problem,) = found.problems
    assert problem.field == field
    assert fault in problem.message
    assert problem.message.endswith("the object is set aside.")
    assert problem.origin == Origin(f"at {field}", 3)
