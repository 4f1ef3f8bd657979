"""One object of an API server: the fast reading agrees with the reading of manifests, whatever the document holds."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.objects import Deployment, Pod, Service
from smi.decode import read
from smi.kinds import TrafficSplit
from sources.objects import reader

POD: dict[str, Any] = {
    "metadata": {"name": "web-1", "namespace": "shop", "uid": "u", "labels": {"app": "web"}, "resourceVersion": "7"},
    "spec": {"serviceAccountName": "web", "containers": [{"name": "app", "ports": [{"containerPort": 8080}]}]},
    "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "phase": "Running", "conditions": []},
}


def raw(document: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(document).encode())


def test_an_item_of_a_list_is_told_what_it_is() -> None:
    found = reader("v1", "Pod")(raw(POD)).object
    assert isinstance(found, Pod)
    assert (found.kind, found.api_version, found.status.pod_ip) == ("Pod", "v1", "10.0.0.1")
    assert found == read({"apiVersion": "v1", "kind": "Pod", **POD}).object


def test_a_null_is_a_field_that_is_not_there() -> None:
    template = {"metadata": {"creationTimestamp": None, "labels": {"app": "web"}}, "spec": POD["spec"]}
    document = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": template}}
    found = reader("apps/v1", "Deployment")(raw(document)).object
    assert isinstance(found, Deployment)
    assert found.spec.template.metadata.labels == {"app": "web"}


def test_smi_objects_are_read_in_the_version_they_were_asked_for_in() -> None:
    spec = {"service": "web", "backends": [{"service": "web", "weight": "500m"}]}
    document = {
        "metadata": {"name": "s", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec,
    }
    found = reader("split.smi-spec.io/v1alpha1", "TrafficSplit")(raw(document)).object
    assert isinstance(found, TrafficSplit)
    assert (found.backends[0].weight, found.created) == (500, "2026-01-01T00:00:00Z")


@pytest.mark.parametrize("document", [{"metadata": {"name": "Bad_Name", "namespace": "shop"}}, {"metadata": {}}, [], 3])
def test_what_can_not_be_read_is_set_aside_with_a_problem(document: object) -> None:
    found = reader("v1", "Service")(raw(document))
    assert found.object is None
    assert found.problems


@pytest.mark.parametrize("depth", [400, 900, 5000])
def test_a_field_nested_without_end_sets_the_object_aside(depth: int) -> None:
    deep = b'{"metadata":{"name":"s","namespace":"shop"},"spec":{"service":"web","backends":%s}}'
    document = msgspec.Raw(deep % (b"[" * depth + b"]" * depth))
    for api_version, kind in (("split.smi-spec.io/v1alpha4", "TrafficSplit"), ("v1", "Service")):
        found = reader(api_version, kind)(document)
        assert found.object is None or kind == "Service", "a Service has no such field"
        assert bool(found.problems) == (found.object is None)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70000) | st.text("ab-0", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=4,
)
ports = st.lists(
    st.dictionaries(st.sampled_from(["port", "name", "targetPort", "protocol"]), values, max_size=3), max_size=2
)
services = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({"name": st.sampled_from(["web", "Web", ""]), "namespace": st.just("shop")})},
    optional={
        "spec": values | st.fixed_dictionaries({}, optional={"ports": ports, "selector": values, "type": values})
    },
)


@given(services)
def test_the_fast_way_and_the_slow_way_agree(document: dict[str, Any]) -> None:
    fast = reader("v1", "Service")(raw(document))
    slow = read({**json.loads(json.dumps(document)), "apiVersion": "v1", "kind": "Service"})
    assert fast == slow
    assert fast.object is None or isinstance(fast.object, Service)
